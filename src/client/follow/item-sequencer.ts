/**
 * Turns the values that modes yield into items for the application: numbers them, drops
 * repetitions, reports every loss and every change of the guarantee, and saves the progress once
 * items are finished (SEP: When a peer lacks the extension).
 */
import type { Position, Selection } from '../../../spec-schema/draft/schema.ts';
import type { Ledger } from '../../protocol/ledger/ledger.ts';
import { misbehaved } from '../sdk/peer-error.ts';
import { directionOf, isSameGuarantee, withServerNumbers } from './guarantee.ts';
import { isModeName, modeTraits, type ModeName } from './mode-table.ts';
import { ProgressTracker, type ProgressStep } from './progress.ts';
import type {
  EventYield,
  FollowedEvent,
  FollowedGap,
  FollowGuarantee,
  FollowItem,
  GapYield,
  ModeChange,
  ModeYield,
  ServerNumber,
} from './types.ts';

export interface ItemSequencerOptions {
  /** The selection of a mode's items; undefined if one log has all selections. */
  readonly selectionOf: (mode: ModeName) => Selection | undefined;
  readonly ledger: Ledger;
  readonly server: string;
  /** The names of the selections in the ledger. */
  readonly keys: readonly string[];
  /** The `key` of their subscription in the mode `triggers`. */
  readonly triggersKey: string;
  readonly ack: 'auto' | 'manual';
  readonly seen: Deduplicator;
  /** The guarantee of the track that this one replaces; undefined = this is the first. */
  readonly before: FollowGuarantee | undefined;
}

/** Why the guarantee changes. */
interface Reason {
  /** The mode that was used before did not work. */
  readonly wasRefused?: boolean;
  readonly error?: unknown;
}

export class ItemSequencer {
  readonly #o: ItemSequencerOptions;
  #progress: ProgressTracker | undefined;
  /** The error of a failed save, thrown instead of the next item. */
  #unsaved: { readonly error: unknown } | undefined;
  #mode: ModeName | undefined;
  #acknowledgesItself = false;
  /** The guarantee of the mode itself. */
  #offered: FollowGuarantee | undefined;
  /** The guarantee that was announced last. */
  #announced: FollowGuarantee | undefined;
  /** The events of this mode carry the server's sequence numbers. */
  #isNumbered = false;
  #last: LogNumber | undefined;
  /** The client was not watching for a while; reported as soon as a mode works. */
  #isUnwatched: boolean;
  #count = 0;

  constructor(options: ItemSequencerOptions) {
    this.#o = options;
    this.#announced = options.before;
    this.#isUnwatched = options.before !== undefined;
  }

  get guarantee(): FollowGuarantee | undefined {
    return this.#mode && this.#announced;
  }

  /** Loads the progress from the ledger. */
  async load(): Promise<void> {
    const { ledger, server, keys } = this.#o;
    const records = await Promise.all(keys.map((key) => ledger.load('mark', server, key)));
    const [record] = records;
    const mode = record && isModeName(record.mode) ? record.mode : undefined;
    if (records.some((one) => one !== undefined)) this.#isUnwatched = true;
    this.#progress = new ProgressTracker(
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
    await this.#progress?.flush();
  }

  /* -------------------------------------------------- modes ------------------------------------------------------------ */

  /**
   * Begins a run of a mode: the same mode as before or another. Resolves with the mark to continue
   * from; undefined = start with what happens from now on.
   */
  async startRun(mode: ModeName, acknowledgesItself: boolean): Promise<string | undefined> {
    const { marks } = modeTraits(mode);
    const { mode: before, mark, number } = this.#progress!.progress;
    const continues = isModeName(before) && modeTraits(before).marks === marks;
    this.#acknowledgesItself = acknowledgesItself;
    this.#o.seen.startRun();
    if (this.#mode !== mode) {
      this.#mode = mode;
      this.#isNumbered = false;
      // Another mode may number the same events in another log.
      this.#last = before === mode ? (number ?? undefined) : undefined;
    }
    if (before !== mode)
      this.#progress!.skip({ mode, number: null, ...(continues ? {} : { mark: null }) });
    if (marks === 'position')
      return (await this.#o.ledger.load('position', this.#o.server, this.#o.triggersKey)) && '';
    return continues ? (mark ?? undefined) : undefined;
  }

  /** Announces the guarantee of the mode, if it differs from the last one. */
  *announce(
    offered: FollowGuarantee,
    { wasRefused = false, error }: Reason = {},
  ): Generator<ModeChange> {
    this.#offered = offered;
    const from = this.#announced;
    const to =
      this.#isNumbered && offered.mode === from?.mode ? withServerNumbers(offered) : offered;
    if (isSameGuarantee(from, to)) return;
    this.#announced = to;
    const selection = this.#o.selectionOf(to.mode);
    yield {
      type: 'mode',
      ...(selection ? { selection } : {}),
      ...(from ? { from } : {}),
      to,
      reason: from === undefined ? 'chosen' : wasRefused ? 'refused' : directionOf(from, to),
      ...(error === undefined ? {} : { error }),
    };
  }

  /** The run of the mode has ended: from now on the client is not watching. */
  endRun(): void {
    this.#isUnwatched = true;
  }

  /**
   * Called with the first value of a run, which shows that the mode works. Yields a gap for the
   * time without watching, unless the mode continues from a mark or reports that gap itself.
   */
  *firstYield(first: ModeYield, mark: string | undefined): Generator<FollowItem> {
    const isKnown = mark !== undefined || (first.type === 'gap' && first.reason === 'unwatched');
    if (this.#isUnwatched && !isKnown) yield* this.#yieldItem({ type: 'gap', reason: 'unwatched' });
    this.#isUnwatched = false;
  }

  /* -------------------------------------------------- items ------------------------------------------------------------ */

  /**
   * Yields the items for one value of a mode. Returns whether it was an event or a gap that the
   * application did not have yet.
   */
  *accept(one: ModeYield): Generator<FollowItem, boolean> {
    switch (one.type) {
      case 'mark':
        this.#progress!.skip({ mark: one.mark });
        return false;
      case 'guarantee':
        yield* this.announce(one.guarantee, {
          wasRefused: one.error !== undefined,
          error: one.error,
        });
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

  *#gap({ reason, numbers, shown = [], ...rest }: GapYield): Generator<FollowItem, boolean> {
    if (this.#last !== undefined && showsLoss(this.#last, shown)) return this.#skip(stepOf(rest));
    yield* this.#yieldItem({ type: 'gap', reason, ...(numbers ? { numbers } : {}) }, stepOf(rest));
    return true;
  }

  *#event({ event, number, ...rest }: EventYield): Generator<FollowItem, boolean> {
    const { seen } = this.#o;
    const mode = this.#mode!;
    const { isOccurrence } = modeTraits(mode);
    // In plain MCP an identifier is the hash of a state, and a state may come back.
    const hasIdentity = isOccurrence || mode === 'triggers';
    const isKnown = isOccurrence ? seen.has(event) : hasIdentity && seen.hadInEarlierRun(event);
    if (isOccurrence) yield* this.#follow(number, isKnown);
    const step = stepOf({
      ...rest,
      ...(isOccurrence && number ? { number: logNumberOf(number) } : {}),
    });
    if (isKnown) return this.#skip(step);
    if (hasIdentity) seen.add(event);
    yield* this.#yieldItem(
      { type: 'event', number: number ?? { by: 'client', count: ++this.#count }, event },
      step,
    );
    return true;
  }

  #skip(step: ProgressStep): false {
    if (!this.#acknowledgesItself) this.#progress!.skip(step);
    return false;
  }

  /** Follows the server's numbers: yields every loss that the number of an event shows. */
  *#follow(number: ServerNumber | undefined, isKnown: boolean): Generator<FollowItem> {
    if (this.#isNumbered !== (number !== undefined)) {
      this.#isNumbered = number !== undefined;
      yield* this.announce(this.#offered!);
    }
    if (!number) return;
    const now = logNumberOf(number);
    const before = this.#last;
    const relation = relationOf(before, now);
    if (relation === 'behind') {
      if (isKnown) return;
      throw misbehaved(
        'number',
        `a new event with number ${now.sequence} came after number ${before!.sequence}`,
      );
    }
    this.#last = now;
    if (relation === 'replaced')
      yield { type: 'lost', reason: 'replaced', last: positionOf(before!) };
    if (typeof relation !== 'object') return;
    if (relation.kind === 'epoch')
      yield {
        type: 'epoch',
        previous: positionOf(before!),
        current: { epoch: now.epoch, sequence: 0 },
      };
    if (relation.to >= relation.from)
      yield* this.#yieldItem({
        type: 'gap',
        reason: 'missing',
        numbers: {
          subscriptionId: now.subscriptionId,
          epoch: now.epoch,
          from: relation.from,
          to: relation.to,
        },
      });
  }

  /**
   * Yields one item. It is finished by its `ack`, or, with `ack: 'auto'`, when the application asks
   * for the next item.
   */
  *#yieldItem(
    item:
      | Omit<FollowedEvent, 'ack' | 'mode' | 'selection'>
      | Omit<FollowedGap, 'ack' | 'mode' | 'selection'>,
    step: ProgressStep = {},
  ): Generator<FollowItem> {
    if (this.#unsaved) throw this.#unsaved.error;
    const mode = this.#mode!;
    const selection = this.#o.selectionOf(mode);
    const ack = this.#acknowledgesItself
      ? async () => {
          await step.done?.();
        }
      : this.#progress!.add(step);
    yield { ...item, mode, ...(selection ? { selection } : {}), ack };
    if (this.#o.ack === 'auto' && !this.#acknowledgesItself)
      ack().catch((error: unknown) => {
        this.#unsaved = { error };
      });
  }
}

const logNumberOf = ({ subscriptionId, epoch, sequence }: ServerNumber): LogNumber => ({
  subscriptionId,
  epoch,
  sequence,
});
const positionOf = ({ epoch, sequence }: LogNumber): Position => ({ epoch, sequence });

function stepOf({
  mark,
  number,
  done,
}: {
  readonly mark?: string;
  readonly number?: LogNumber;
  readonly done?: () => void | Promise<void>;
}): ProgressStep {
  return {
    ...(mark === undefined ? {} : { mark }),
    ...(number ? { number } : {}),
    ...(done ? { done } : {}),
  };
}

/* -------------------------------------------------- numbers of the server ---------------------------------------------- */

/** A sequence number and the log that it belongs to. */
export type LogNumber = Omit<ServerNumber, 'by'>;

/** The relation of a number to the one before it. */
export type NumberRelation =
  | 'next'
  /** No number came before it. */
  | 'first'
  /** Not above the last one: a repetition, or a server that counts backwards. */
  | 'behind'
  /** The numbers `from` to `to` are missing. */
  | { readonly kind: 'gap'; readonly from: number; readonly to: number }
  /**
   * A new epoch, in which the numbers `from` to `to` were not seen. If `to` is below `from`, none
   * is missing.
   */
  | { readonly kind: 'epoch'; readonly from: number; readonly to: number }
  /** Another log. */
  | 'replaced';

export function relationOf(last: LogNumber | undefined, now: LogNumber): NumberRelation {
  if (last === undefined) return 'first';
  if (last.subscriptionId !== now.subscriptionId) return 'replaced';
  if (last.epoch !== now.epoch) return { kind: 'epoch', from: 1, to: now.sequence - 1 };
  if (now.sequence <= last.sequence) return 'behind';
  return now.sequence === last.sequence + 1
    ? 'next'
    : { kind: 'gap', from: last.sequence + 1, to: now.sequence - 1 };
}

/** Whether the numbers of consecutive events show that something is missing. */
export function showsLoss(last: LogNumber | undefined, numbers: readonly LogNumber[]): boolean {
  let before = last;
  for (const number of numbers) {
    const relation = relationOf(before, number);
    if (typeof relation === 'object' || relation === 'replaced') return true;
    before = number;
  }
  return false;
}

/* -------------------------------------------------- repetitions --------------------------------------------------------- */

type Identity = Pick<FollowedEvent['event'], 'name' | 'eventId'>;

const REMEMBERED_MAX = 10_000;

/**
 * Remembers the identifiers of the most recent events. A server of `events/*` may repeat an event,
 * and a mode may begin with events that an earlier mode has delivered (SEP: When a peer lacks the
 * extension).
 */
export class Deduplicator {
  /** By identifier: the run in which it was seen last. */
  readonly #runs: Map<string, number>;
  #run = 1;

  /** Starts with the identifiers that others have seen. */
  constructor(...others: readonly Deduplicator[]) {
    this.#runs = new Map(
      others
        .flatMap((other) => [...other.#runs.keys()])
        .slice(-REMEMBERED_MAX)
        .map((name) => [name, 0]),
    );
  }

  /** A run of a mode begins. */
  startRun(): void {
    this.#run += 1;
  }

  add(event: Identity): void {
    this.#runs.set(nameOf(event), this.#run);
    if (this.#runs.size > REMEMBERED_MAX) this.#runs.delete(this.#runs.keys().next().value!);
  }

  has(event: Identity): boolean {
    return this.#runs.has(nameOf(event));
  }

  /**
   * Whether an earlier run had the event. If only the same run had it, the log itself has the event
   * twice, so both are delivered.
   */
  hadInEarlierRun(event: Identity): boolean {
    return (this.#runs.get(nameOf(event)) ?? Infinity) < this.#run;
  }
}

/** No name contains a newline. */
const nameOf = ({ name, eventId }: Identity): string => `${name}\n${eventId}`;
