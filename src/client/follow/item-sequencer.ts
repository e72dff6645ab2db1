/**
 * From what rungs yield to what the application gets: numbered, without what it has had, with every loss and every change of what can
 * be relied on, and remembered when it is done (SEP: When a peer lacks the extension).
 */
import type { Position, Selection } from '../../../spec-schema/draft/schema.ts';
import type { Ledger } from '../../protocol/ledger/ledger.ts';
import { LocalError } from '../../protocol/wire/errors.ts';
import { direction, isSame, withNumbers } from './guarantee.ts';
import { place, showsLoss, type Numbered } from './numbers.ts';
import { isModeName, MODE_TRAITS } from './modes/index.ts';
import type { Deduplicator } from './deduplicator.ts';
import { AckTracker, type Entry } from './ack-tracker.ts';
import type {
  FollowedEvent,
  FollowedGap,
  FollowGuarantee,
  FollowItem,
  ModeChange,
  ModeName,
  ModeYield,
  ServerNumber,
} from './types.ts';

export interface ItemSequencerOptions {
  /** Of the items; undefined where one log has all selections. */
  readonly selectionOf: (mode: ModeName) => Selection | undefined;
  readonly ledger: Ledger;
  readonly server: string;
  /** Name the selections in the ledger. */
  readonly keys: readonly string[];
  /** Names their subscription on the mode `triggers`. */
  readonly triggersKey: string;
  readonly ack: 'auto' | 'manual';
  readonly seen: Deduplicator;
  /** What could be relied on before, by another teller. */
  readonly before: FollowGuarantee | undefined;
}

/** Why there is another guarantee. */
interface Why {
  /** The mode before was tried and did not work. */
  readonly wasRefused?: boolean;
  readonly error?: unknown;
}

type Yielded<T extends ModeYield['type']> = Extract<ModeYield, { type: T }>;
type Unhanded =
  | Omit<FollowedEvent, 'ack' | 'mode' | 'selection'>
  | Omit<FollowedGap, 'ack' | 'mode' | 'selection'>;

export class ItemSequencer {
  readonly #o: ItemSequencerOptions;
  #ackTracker!: AckTracker;
  /** A save that failed; told with the next item. */
  #unsaved: { readonly error: unknown } | undefined;
  #mode: ModeName | undefined;
  #isSelfAcknowledging = false;
  /** What the mode itself guarantees, and what the application was told last. */
  #own: FollowGuarantee | undefined;
  #told: FollowGuarantee | undefined;
  /** The server's numbers are seen on this mode. */
  #isNumbered = false;
  #last: Numbered | undefined;
  /** For a while nobody was looking; told as soon as somebody is. */
  #isUnwatched: boolean;
  #count = 0;

  constructor(options: ItemSequencerOptions) {
    this.#o = options;
    this.#told = options.before;
    this.#isUnwatched = options.before !== undefined;
  }

  get guarantee(): FollowGuarantee | undefined {
    return this.#mode && this.#told;
  }

  async load(): Promise<void> {
    const { ledger, server, keys } = this.#o;
    const records = await Promise.all(keys.map((key) => ledger.load('mark', server, key)));
    const [record] = records;
    const mode = record && isModeName(record.mode) ? record.mode : undefined;
    if (records.some((one) => one !== undefined)) this.#isUnwatched = true;
    this.#ackTracker = new AckTracker(
      { mode, mark: record?.mark ?? null, number: record?.number ?? null },
      async (progress) => {
        for (const key of keys)
          await ledger.save({
            kind: 'mark',
            server,
            key,
            mode: progress.mode!,
            mark: progress.mark,
            number: progress.number,
          });
      },
    );
  }

  /** Resolves when everything that the application has finished is saved. */
  async flush(): Promise<void> {
    await this.#ackTracker?.flush();
  }

  /* -------------------------------------------------- rungs ------------------------------------------------------------ */

  /** Another mode, or the same again. Resolves with the mark from which it goes on; undefined = from now. */
  async enter(mode: ModeName, acknowledgesItself: boolean): Promise<string | undefined> {
    const { marks } = MODE_TRAITS[mode];
    const { mode: before, mark, number } = this.#ackTracker.progress;
    const goesOn = isModeName(before) && MODE_TRAITS[before].marks === marks;
    this.#isSelfAcknowledging = acknowledgesItself;
    this.#o.seen.turn();
    if (this.#mode !== mode) {
      this.#mode = mode;
      this.#isNumbered = false;
      // Another way to the same events may count them in another log.
      this.#last = before === mode ? (number ?? undefined) : undefined;
    }
    if (before !== mode)
      this.#ackTracker.skip({ mode, number: null, ...(goesOn ? {} : { mark: null }) });
    if (marks === 'position')
      return (await this.#o.ledger.load('position', this.#o.server, this.#o.triggersKey)) && '';
    return goesOn ? (mark ?? undefined) : undefined;
  }

  /** What the mode promises, if that is news. */
  *promise(
    offered: FollowGuarantee,
    { wasRefused = false, error }: Why = {},
  ): Generator<ModeChange> {
    this.#own = offered;
    const from = this.#told;
    const to = this.#isNumbered && offered.mode === from?.mode ? withNumbers(offered) : offered;
    if (isSame(from, to)) return;
    this.#told = to;
    const selection = this.#o.selectionOf(to.mode);
    yield {
      type: 'mode',
      ...(selection ? { selection } : {}),
      ...(from ? { from } : {}),
      to,
      reason: from === undefined ? 'chosen' : wasRefused ? 'refused' : direction(from, to),
      ...(error === undefined ? {} : { error }),
    };
  }

  /** The mode has stopped working. */
  left(): void {
    this.#isUnwatched = true;
  }

  /** The mode works. That nobody was looking before it, and that this cannot be made up for, is told. */
  *arrived(first: ModeYield, mark: string | undefined): Generator<FollowItem> {
    const isTold = mark !== undefined || (first.type === 'gap' && first.reason === 'unwatched');
    if (this.#isUnwatched && !isTold) yield* this.#hand({ type: 'gap', reason: 'unwatched' });
    this.#isUnwatched = false;
  }

  /* -------------------------------------------------- items ------------------------------------------------------------ */

  /** Returns whether that was an event or a gap which the application had not had. */
  *take(one: ModeYield): Generator<FollowItem, boolean> {
    switch (one.type) {
      case 'mark':
        this.#ackTracker.skip({ mark: one.mark });
        return false;
      case 'guarantee':
        yield* this.promise(one.guarantee);
        return false;
      case 'loss':
        yield one.item;
        return false;
      case 'gap':
        return yield* this.#gap(one);
      case 'event':
        return yield* this.#event(one);
    }
  }

  *#gap({ reason, numbers, shown = [], ...entry }: Yielded<'gap'>): Generator<FollowItem, boolean> {
    if (this.#last !== undefined && showsLoss(this.#last, shown)) return this.#skip(entryOf(entry));
    yield* this.#hand({ type: 'gap', reason, ...(numbers ? { numbers } : {}) }, entryOf(entry));
    return true;
  }

  *#event({ event, number, ...rest }: Yielded<'event'>): Generator<FollowItem, boolean> {
    const { seen } = this.#o;
    const mode = this.#mode!;
    const { isOccurrence } = MODE_TRAITS[mode];
    // Below `events/*` an identifier is that of a state, and a state may come back.
    const hasIdentity = isOccurrence || mode === 'triggers';
    const isKnown = isOccurrence ? seen.has(event) : hasIdentity && seen.hadBefore(event);
    if (isOccurrence) yield* this.#place(number, isKnown);
    const entry = entryOf({ ...rest, ...(isOccurrence && number ? { number: bare(number) } : {}) });
    if (isKnown) return this.#skip(entry);
    if (hasIdentity) seen.add(event);
    yield* this.#hand(
      { type: 'event', number: number ?? { by: 'client', count: ++this.#count }, event },
      entry,
    );
    return true;
  }

  /** What the application does not get is done with as soon as everything before it is. */
  #skip(entry: Entry): false {
    if (!this.#isSelfAcknowledging) this.#ackTracker.skip(entry);
    return false;
  }

  /** What the number of an occurrence says about those before. */
  *#place(number: ServerNumber | undefined, isKnown: boolean): Generator<FollowItem> {
    if (this.#isNumbered !== (number !== undefined)) {
      this.#isNumbered = number !== undefined;
      yield* this.promise(this.#own!);
    }
    if (!number) return;
    const now = bare(number);
    const before = this.#last;
    const where = place(before, now);
    if (where === 'behind') {
      if (isKnown) return;
      throw new LocalError(
        'peer_misbehaved',
        `The server broke the protocol: number ${now.sequence} came after ${before!.sequence} and had not been there.`,
        { reason: 'number' },
      );
    }
    this.#last = now;
    if (where === 'replaced') yield { type: 'lost', reason: 'replaced', last: positionOf(before!) };
    if (typeof where !== 'object') return;
    if (where.kind === 'epoch')
      yield {
        type: 'epoch',
        previous: positionOf(before!),
        current: { epoch: now.epoch, sequence: 0 },
      };
    if (where.to >= where.from)
      yield* this.#hand({
        type: 'gap',
        reason: 'missing',
        numbers: {
          subscriptionId: now.subscriptionId,
          epoch: now.epoch,
          from: where.from,
          to: where.to,
        },
      });
  }

  /** One item: the application is done with it when it says so, or when it asks for the next. */
  *#hand(item: Unhanded, entry: Entry = {}): Generator<FollowItem> {
    if (this.#unsaved) throw this.#unsaved.error;
    const mode = this.#mode!;
    const selection = this.#o.selectionOf(mode);
    const ack = this.#isSelfAcknowledging
      ? async () => {
          await entry.done?.();
        }
      : this.#ackTracker.hand(entry);
    yield { ...item, mode, ...(selection ? { selection } : {}), ack };
    if (this.#o.ack === 'auto' && !this.#isSelfAcknowledging)
      ack().catch((error: unknown) => {
        this.#unsaved = { error };
      });
  }
}

const bare = ({ subscriptionId, epoch, sequence }: ServerNumber): Numbered => ({
  subscriptionId,
  epoch,
  sequence,
});
const positionOf = ({ epoch, sequence }: Numbered): Position => ({ epoch, sequence });

function entryOf({
  mark,
  number,
  done,
}: {
  readonly mark?: string;
  readonly number?: Numbered;
  readonly done?: () => void | Promise<void>;
}): Entry {
  return {
    ...(mark === undefined ? {} : { mark }),
    ...(number ? { number } : {}),
    ...(done ? { done } : {}),
  };
}
