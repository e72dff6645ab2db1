/**
 * Where the reader stands in its log, and what it has to tell about it: the one rule of the core, the moves from one life of a
 * log to the next, and every loss that comes with them (SEP: Applying a delivery, Recovery by the client).
 */
import type {
  Delivery,
  Event,
  FinalPosition,
  Position,
  Subscription,
} from '../../../spec-schema/draft/schema.ts';
import {
  advance,
  begin,
  move,
  receive,
  type Cursor,
  type AppliedEntry,
} from '../../protocol/core/apply.ts';
import type { EpochItem, LostItem } from '../../protocol/ledger/items.ts';
import type { PositionRecord } from '../../protocol/ledger/ledger.ts';
import { RecentEvents } from '../../protocol/ledger/recent-events.ts';
import { LocalError } from '../../protocol/wire/errors.ts';

type Named = Pick<Subscription, 'subscriptionId' | 'epoch' | 'acked'>;

export class LogReader {
  readonly #recent = new RecentEvents();
  readonly #moved: (cursor: Cursor) => void;
  #cursor: Cursor;
  /** Losses that the application has not been told of. */
  #news: (EpochItem | LostItem)[] = [];
  /** The log is known to be gone and was reported. */
  #gone = false;

  /** `moved` runs whenever the cursor leaves one life of the log for another, or goes back in it. */
  constructor(
    record: PositionRecord | undefined,
    { subscriptionId, epoch, acked }: Named,
    moved: (cursor: Cursor) => void,
  ) {
    this.#cursor = record ? cursorOf(record) : begin({ subscriptionId, epoch, sequence: acked });
    this.#moved = moved;
  }

  get cursor(): Cursor {
    return this.#cursor;
  }
  get position(): Position {
    return positionOf(this.#cursor);
  }

  /** The next loss to tell. */
  news(): EpochItem | LostItem | undefined {
    return this.#news.shift();
  }
  get hasNews(): boolean {
    return this.#news.length > 0;
  }

  /** What of a delivery is new. Null = of a life that is over. Throws `LocalError` `peer_misbehaved`. */
  read(delivery: Delivery): readonly AppliedEntry<Event>[] | null {
    const verdict = receive<Event>(this.#cursor, delivery);
    switch (verdict.kind) {
      case 'apply':
        return verdict.entries;
      case 'moved':
        if (verdict.replaced) return null;
        this.leaveEpoch(delivery.epoch);
        return this.read(delivery);
      case 'stale':
        return null;
      case 'hole':
        throw misbehaved('hole', `numbers ${verdict.expected} to ${verdict.after} are missing`);
      case 'unsound':
        throw misbehaved(
          'delivery',
          `number ${verdict.at} is missing, doubled or out of order in a delivery`,
        );
    }
  }

  /** Whether this is a late message of a life of the log that is over, or of another log. */
  isForeign(delivery: Delivery): boolean {
    const verdict = receive<Event>(this.#cursor, delivery);
    return verdict.kind === 'stale' || (verdict.kind === 'moved' && verdict.replaced);
  }

  /** The entry is in the hands of the application from now on. False = it has had this very event, under another number. */
  hand(entry: AppliedEntry<Event>): boolean {
    this.#cursor = advance(this.#cursor, entry.position.sequence);
    if (entry.type !== 'event') return true;
    const repeated = this.#recent.isRepeated(entry.event);
    this.#recent.add(entry.event);
    return !repeated;
  }

  /** The server lost the log; its rest is numbered from 1 again. Throws `LocalError` `peer_misbehaved` when that life is over already. */
  leaveEpoch(epoch: string): void {
    const { past } = this.#cursor;
    // From a life that was left nothing is applied any more (SEP: Applying a delivery).
    if (epoch === this.#cursor.epoch || past.includes(epoch))
      throw misbehaved('epoch', 'it says that a log has a new life, and names an old one');
    const previous = this.position;
    this.#go({ ...this.#cursor, epoch, sequence: 0 });
    this.#news.push({ type: 'epoch', previous, current: this.position });
  }

  /** The server has less than it had sent: up to `has`. Throws `LocalError` `peer_misbehaved` when that is enough. */
  rewind(final: FinalPosition, has: number): void {
    if (final.epoch !== this.#cursor.epoch) return this.leaveEpoch(final.epoch);
    if (has >= this.#cursor.sequence || final.acked > has)
      throw misbehaved('position', 'it refuses a position that it has');
    this.#lose('rewound', final);
    this.#goto({ ...this.#cursor, sequence: final.acked });
  }

  /** The log is gone. */
  lose(reason: LostItem['reason'], final?: FinalPosition): void {
    this.#lose(reason, final);
    this.#gone = true;
  }

  /** The subscription as it is now: maybe another one, maybe in another life. True = it is another that nobody has reported. */
  isReplacedBy({ subscriptionId }: Named): boolean {
    return !this.#gone && subscriptionId !== this.#cursor.subscriptionId;
  }

  /** Goes on with the subscription that there is now. */
  adopt({ subscriptionId, epoch, acked }: Named): void {
    if (this.#gone || subscriptionId !== this.#cursor.subscriptionId)
      this.#go({ subscriptionId, epoch, sequence: acked });
    else if (epoch !== this.#cursor.epoch) this.leaveEpoch(epoch);
    this.#gone = false;
  }

  #lose(reason: LostItem['reason'], final: FinalPosition | undefined): void {
    this.#news.push({ type: 'lost', reason, last: this.position, ...(final ? { final } : {}) });
  }

  #go(to: {
    readonly subscriptionId: string;
    readonly epoch: string;
    readonly sequence: number;
  }): void {
    this.#goto(move(this.#cursor, to));
  }

  #goto(cursor: Cursor): void {
    this.#cursor = cursor;
    this.#recent.renumbered();
    this.#moved(cursor);
  }
}

const cursorOf = ({ subscriptionId, epoch, sequence, past }: PositionRecord): Cursor => ({
  subscriptionId,
  epoch,
  sequence,
  past,
});
const positionOf = ({ epoch, sequence }: Position): Position => ({ epoch, sequence });
export const misbehaved = (reason: string, problem: string) =>
  new LocalError('peer_misbehaved', `The server broke the protocol: ${problem}.`, { reason });
