/**
 * Passes deliveries to the application: in order, each number once, one delivery of a key at a time.
 * Saves a position before it is acknowledged (SEP: Applying a delivery).
 */
import type {
  Delivery,
  TriggerEvent,
  Position,
  Rejection,
} from '../../spec-schema/draft/schema.ts';
import { advance, begin, receive, type Cursor } from '../protocol/core/apply.ts';
import type {
  ElsewhereItem,
  EpochItem,
  EventItem,
  GapItem,
  LostItem,
  TerminatedItem,
} from '../protocol/ledger/items.ts';
import { recordName, type Ledger } from '../protocol/ledger/ledger.ts';
import { RecentEvents } from '../protocol/ledger/recent-events.ts';
import { LocalError } from '../protocol/wire/errors.ts';
import { KeyedMutex } from '../protocol/lib/keyed-mutex.ts';
import type { SubscriptionRef } from './registry.ts';

/** The items for {@link Apply}, which receives them one at a time and in order. */
export type ReceiverItem =
  EventItem | GapItem | ElsewhereItem | EpochItem | LostItem | TerminatedItem;

/**
 * The result of {@link Apply}. `reject` means that the event can never be accepted; the reason is for
 * the operator of the server and is cut after 256 characters.
 */
export type ApplyResult = void | 'reject' | { readonly reject: string };

/**
 * Applies one item. Resolving means that it is stored; after an error it comes again. Resolve within
 * the server's deadline: store the event first and process it afterwards.
 */
export type Apply = (
  item: ReceiverItem,
  context: SubscriptionRef & { readonly subscriptionId: string },
) => ApplyResult | Promise<ApplyResult>;

/**
 * Reads the log with one `triggers/pull` from `after`, and resolves with the delivery. Null = the
 * application does without the numbers that it has missed.
 */
export type PullMissed = (
  missed: SubscriptionRef & { readonly subscriptionId: string; readonly after: Position },
) => Promise<Delivery | null>;

/**
 * A problem for the operator. Contains no secret and nothing of an event.
 *
 * `missing_numbers`: the numbers `expected` to `after` never arrived, and nobody has acknowledged
 * them; pull them and pass them to `accept`. `pull_failed`: `pullMissed` threw `error`, or its
 * deliveries do not continue; it is called again when the delivery is repeated. `stale`: a message
 * of a former log or epoch was rejected. `apply_failed`: `apply` threw `error`; the item comes
 * again.
 */
export type Problem = SubscriptionRef & { readonly subscriptionId: string } & (
    | {
        readonly kind: 'missing_numbers';
        readonly epoch: string;
        readonly expected: number;
        readonly after: number;
      }
    | { readonly kind: 'pull_failed'; readonly error: unknown }
    | { readonly kind: 'stale' }
    | { readonly kind: 'apply_failed'; readonly error: unknown }
  );

/** The time by which a delivery must be answered. */
export interface Deadline {
  /** Fires at that time or soon after. */
  readonly signal: AbortSignal;
  /** Whether the time has passed according to the clock, because the timer of `signal` can be late. */
  readonly passed: () => boolean;
}

export interface ApplierOptions {
  readonly ledger: Ledger;
  readonly apply: Apply;
  readonly pullMissed?: PullMissed | undefined;
  readonly onProblem: (problem: Problem) => void;
}

/**
 * The position up to which everything was applied, and the event of the delivery that can never be
 * accepted.
 */
export type Applied = Position & {
  readonly reject?: Rejection;
  /** The delivery says that the subscription has ended, and the application has not stored that. */
  readonly unfinished?: true;
};

const REASON_CHARS_MAX = 256;
const REJECTED = 'The receiver can never accept this event.';

export class Applier {
  readonly #o: ApplierOptions;
  readonly #mutex = new KeyedMutex();
  readonly #cursors = new Map<string, Cursor>();
  readonly #recent = new Map<string, RecentEvents>();
  readonly #saved = new Map<string, Cursor>();
  /** The logs whose end the application has stored. A restart can tell it again. */
  readonly #ended = new Map<string, string>();

  constructor(options: ApplierOptions) {
    this.#o = options;
  }

  /** Returns the position of a key; null = nothing was applied yet. */
  async position({ audience, key }: SubscriptionRef): Promise<Cursor | null> {
    const name = recordName('position', audience, key);
    return (
      this.#cursors.get(name) ?? (await this.#o.ledger.load('position', audience, key)) ?? null
    );
  }

  /**
   * Applies a delivery, saves the new position and resolves with it. When the deadline passes first,
   * resolves with the position so far while the work continues; a delivery whose turn comes after the
   * deadline is not applied. Rejects with the errors of the ledger.
   */
  async accept(ref: SubscriptionRef, delivery: Delivery, deadline?: Deadline): Promise<Applied> {
    const name = recordName('position', ref.audience, ref.key);
    let reject: Rejection | undefined;
    const work = this.#mutex.run(name, async () => {
      if (deadline?.passed() === true) return;
      // The log of an ended subscription is gone, so that nothing can be read any more.
      if (!(await this.#readMissed(name, ref, delivery)) && !delivery.terminated) return;
      reject = await this.#apply(name, ref, delivery);
    });
    await (deadline ? Promise.race([work, fired(deadline.signal)]) : work);
    const cursor = await this.position(ref);
    const position = {
      epoch: cursor?.epoch ?? delivery.epoch,
      sequence: cursor?.sequence ?? delivery.afterSequence,
    };
    if (cursor && this.#saved.get(name) !== cursor) await this.#save(name, ref, cursor);
    const isUnfinished = delivery.terminated && this.#ended.get(name) !== logOf(delivery);
    return {
      ...position,
      ...(reject ? { reject } : {}),
      ...(isUnfinished ? { unfinished: true } : {}),
    };
  }

  /** Forgets the position of a key. */
  async forget({ audience, key }: SubscriptionRef): Promise<void> {
    const name = recordName('position', audience, key);
    await this.#mutex.run(name, async () => {
      this.#cursors.delete(name);
      this.#recent.delete(name);
      this.#saved.delete(name);
      this.#ended.delete(name);
      await this.#o.ledger.remove('position', audience, key);
    });
  }

  /**
   * Reads the numbers before the delivery that another reader has acknowledged, if the application
   * wants them. Returns false when they could not be read yet.
   */
  async #readMissed(name: string, ref: SubscriptionRef, delivery: Delivery): Promise<boolean> {
    const { pullMissed } = this.#o;
    if (!pullMissed) return true;
    const { subscriptionId } = delivery;
    for (;;) {
      const before = await this.position(ref);
      const after = before && startOfMissed(before, delivery);
      if (after === null) return true;
      try {
        const missed = await pullMissed({ ...ref, subscriptionId, after });
        if (missed === null) return true;
        await this.#apply(name, ref, missed);
        if ((await this.position(ref)) === before) throw noProgress();
      } catch (error) {
        this.#o.onProblem({ kind: 'pull_failed', ...ref, subscriptionId, error });
        return false;
      }
    }
  }

  async #apply(
    name: string,
    ref: SubscriptionRef,
    delivery: Delivery,
  ): Promise<Rejection | undefined> {
    const { subscriptionId, epoch, afterSequence: after } = delivery;
    const context = { ...ref, subscriptionId };
    // Without a stored position, start where the delivery starts.
    let cursor = (await this.position(ref)) ?? begin({ subscriptionId, epoch, sequence: after });
    try {
      let received = receive<TriggerEvent>(cursor, delivery);
      if (received.kind === 'moved') {
        await this.#o.apply(lossOf(cursor, received.cursor, received.replaced), context);
        cursor = received.cursor;
        this.#cursors.set(name, cursor);
        this.#recent.get(name)?.renumbered();
        received = receive<TriggerEvent>(cursor, delivery);
      }
      if (received.kind === 'hole') {
        this.#o.onProblem({
          kind: 'missing_numbers',
          ...context,
          epoch,
          expected: received.expected,
          after: received.after,
        });
        await this.#end(name, delivery, cursor, context);
        return undefined;
      }
      if (received.kind !== 'apply') {
        this.#o.onProblem({ kind: 'stale', ...context });
        return undefined;
      }
      this.#cursors.set(name, cursor);
      for (const entry of received.entries) {
        const reason = await this.#applyItem(name, entry, context);
        // The position includes a rejected event, because the server continues after it.
        cursor = advance(cursor, entry.position.sequence);
        this.#cursors.set(name, cursor);
        if (reason !== undefined) return { sequence: entry.position.sequence, reason };
      }
      await this.#end(name, delivery, cursor, context);
    } catch (error) {
      this.#o.onProblem({ kind: 'apply_failed', ...context, error });
    }
    return undefined;
  }

  /** Reports the end of the subscription once, if the delivery says that it has ended. */
  async #end(
    name: string,
    delivery: Delivery,
    { sequence }: Cursor,
    context: SubscriptionRef & { readonly subscriptionId: string },
  ): Promise<void> {
    const { epoch, terminated } = delivery;
    if (!terminated || this.#ended.get(name) === logOf(delivery)) return;
    const { reason } = terminated;
    await this.#o.apply({ type: 'terminated', reason, position: { epoch, sequence } }, context);
    this.#ended.set(name, logOf(delivery));
  }

  /**
   * Applies one event, gap or range. Returns the reason if the application can never accept the
   * event.
   */
  async #applyItem(
    name: string,
    item: EventItem | GapItem | ElsewhereItem,
    context: SubscriptionRef & { readonly subscriptionId: string },
  ): Promise<string | undefined> {
    const recent = this.#recent.get(name) ?? new RecentEvents();
    this.#recent.set(name, recent);
    if (item.type === 'event' && recent.isRepeated(item.event)) return undefined;
    const result = await this.#o.apply(item, context);
    if (item.type !== 'event') return undefined;
    if (result === undefined) recent.add(item.event);
    if (result === 'reject') return REJECTED;
    return result === undefined ? undefined : result.reject.slice(0, REASON_CHARS_MAX);
  }

  async #save(name: string, { audience, key }: SubscriptionRef, cursor: Cursor): Promise<void> {
    const { subscriptionId, epoch, sequence, past } = cursor;
    await this.#o.ledger.save({
      kind: 'position',
      server: audience,
      key,
      subscriptionId,
      epoch,
      sequence,
      past,
    });
    this.#saved.set(name, cursor);
  }
}

/**
 * Returns the position from which to read the numbers before the delivery that another reader has
 * acknowledged; null = this one has missed none.
 */
function startOfMissed(cursor: Cursor, delivery: Delivery): Position | null {
  const received = receive<TriggerEvent>(cursor, delivery);
  if (received.kind === 'moved') return startOfMissed(received.cursor, delivery);
  if (received.kind !== 'apply' || received.entries[0]?.type !== 'elsewhere') return null;
  return { epoch: cursor.epoch, sequence: cursor.sequence };
}

const noProgress = (): LocalError =>
  new LocalError(
    'config_invalid',
    'The delivery of `pullMissed` does not continue at `after`, or was not applied. Resolve with the result of a pull from `after`, or with null.',
  );

/** Names the log of a delivery. */
const logOf = ({ subscriptionId, epoch }: Delivery): string => `${subscriptionId}\n${epoch}`;

/** Returns the item that reports a new epoch, or that another log has replaced this one. */
function lossOf(before: Cursor, now: Cursor, replaced: boolean): EpochItem | LostItem {
  const previous = { epoch: before.epoch, sequence: before.sequence };
  if (replaced) return { type: 'lost', reason: 'replaced', last: previous };
  return { type: 'epoch', previous, current: { epoch: now.epoch, sequence: now.sequence } };
}

/** Resolves when the signal fires. */
export const fired = (signal: AbortSignal): Promise<void> =>
  new Promise((resolve) => {
    if (signal.aborted) return resolve();
    signal.addEventListener('abort', () => resolve(), { once: true });
  });
