/**
 * Reads deliveries of one log: applies the rule of the core, follows the log into new epochs, and
 * collects every loss to report to the application (SEP: Applying a delivery, Recovery by the
 * client).
 */
import type {
  Delivery,
  TriggerEvent,
  FinalPosition,
  Position,
  Subscription,
} from '../../../spec-schema/draft/schema.ts';
import { advance, begin, move, receive, type Cursor } from '../../protocol/core/apply.ts';
import type {
  ElsewhereItem,
  EpochItem,
  EventItem,
  GapItem,
  LostItem,
} from '../../protocol/ledger/items.ts';
import type { PositionRecord } from '../../protocol/ledger/ledger.ts';
import { RecentEvents } from '../../protocol/ledger/recent-events.ts';
import { misbehaved } from '../sdk/peer-error.ts';

/** An item with a position in the log. */
export type EntryItem = EventItem | GapItem | ElsewhereItem;
type Named = Pick<Subscription, 'subscriptionId' | 'epoch' | 'acked'>;

export class LogReader {
  readonly #recent = new RecentEvents();
  readonly #moved: (cursor: Cursor) => void;
  #cursor: Cursor;
  /** Losses that are not reported to the application yet. */
  #losses: (EpochItem | LostItem)[] = [];
  /** Whether the end of the log was reported. */
  #isGone = false;

  /** `moved` runs whenever the cursor enters another epoch or another log, or goes back. */
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

  /** The next loss to report. */
  nextLoss(): EpochItem | LostItem | undefined {
    return this.#losses.shift();
  }
  get hasLosses(): boolean {
    return this.#losses.length > 0;
  }

  /**
   * Returns the new entries of a delivery; null = it belongs to an epoch that is over, or to
   * another log. Throws `LocalError` `peer_misbehaved`.
   */
  read(delivery: Delivery): readonly EntryItem[] | null {
    const received = receive<TriggerEvent>(this.#cursor, delivery);
    switch (received.kind) {
      case 'apply':
        return received.entries;
      case 'moved':
        if (received.replaced) return null;
        this.leaveEpoch(delivery.epoch);
        return this.read(delivery);
      case 'stale':
        return null;
      case 'hole':
        throw misbehaved('hole', `numbers ${received.expected} to ${received.after} are missing`);
      case 'unsound':
        throw misbehaved(
          'delivery',
          `number ${received.at} of a delivery is missing, repeated or out of order`,
        );
    }
  }

  /** Whether this is a late message of an epoch that is over, or of another log. */
  isForeign(delivery: Delivery): boolean {
    const received = receive<TriggerEvent>(this.#cursor, delivery);
    return received.kind === 'stale' || (received.kind === 'moved' && received.replaced);
  }

  /** Whether the delivery starts after numbers that only another reader has acknowledged. */
  misses(delivery: Delivery): boolean {
    let received = receive<TriggerEvent>(this.#cursor, delivery);
    if (received.kind === 'moved' && !received.replaced)
      received = receive<TriggerEvent>(received.cursor, delivery);
    return received.kind === 'apply' && received.entries[0]?.type === 'elsewhere';
  }

  /**
   * Moves past an entry. Returns false when the application has had the same event under another
   * number.
   */
  movePast(entry: EntryItem): boolean {
    this.#cursor = advance(this.#cursor, entry.position.sequence);
    if (entry.type !== 'event') return true;
    const repeated = this.#recent.isRepeated(entry.event);
    this.#recent.add(entry.event);
    return !repeated;
  }

  /**
   * Enters a new epoch: the server lost the log and numbers its rest from 1 again. Throws
   * `LocalError` `peer_misbehaved` for an epoch that is over.
   */
  leaveEpoch(epoch: string): void {
    const { past } = this.#cursor;
    // A delivery of an epoch that was left is never applied (SEP: Applying a delivery).
    if (epoch === this.#cursor.epoch || past.includes(epoch))
      throw misbehaved('epoch', 'it announces a new epoch but names an old one');
    const previous = this.position;
    this.#go({ ...this.#cursor, epoch, sequence: 0 });
    this.#losses.push({ type: 'epoch', previous, current: this.position });
  }

  /**
   * Goes back, because the log ends at `has`. Throws `LocalError` `peer_misbehaved` when `has` is
   * not before the position that was read.
   */
  rewind(final: FinalPosition, has: number): void {
    if (final.epoch !== this.#cursor.epoch) return this.leaveEpoch(final.epoch);
    if (has >= this.#cursor.sequence || final.acked > has)
      throw misbehaved('position', 'it rejects a position that it has');
    this.#lose('rewound', final);
    this.#goto({ ...this.#cursor, sequence: final.acked });
  }

  /** Reports that the log is gone. */
  lose(reason: LostItem['reason'], final?: FinalPosition): void {
    this.#lose(reason, final);
    this.#isGone = true;
  }

  /**
   * Whether the server has another subscription now, and the end of this one was not reported yet.
   */
  isReplacedBy({ subscriptionId }: Named): boolean {
    return !this.#isGone && subscriptionId !== this.#cursor.subscriptionId;
  }

  /** Continues with the subscription that the server has now. */
  adopt({ subscriptionId, epoch, acked }: Named): void {
    if (this.#isGone || subscriptionId !== this.#cursor.subscriptionId)
      this.#go({ subscriptionId, epoch, sequence: acked });
    else if (epoch !== this.#cursor.epoch) this.leaveEpoch(epoch);
    this.#isGone = false;
  }

  #lose(reason: LostItem['reason'], final: FinalPosition | undefined): void {
    this.#losses.push({ type: 'lost', reason, last: this.position, ...(final ? { final } : {}) });
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
