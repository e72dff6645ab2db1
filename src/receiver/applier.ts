/**
 * Passes deliveries to the application: in order, each number once, one delivery of a key at a time.
 * Saves a position before it is acknowledged (SEP: Applying a delivery).
 */
import type { Delivery, Event, Position, Rejection } from '../../spec-schema/draft/schema.ts';
import { advance, begin, receive, type Cursor } from '../protocol/core/apply.ts';
import type {
  EpochItem,
  EventItem,
  GapItem,
  LostItem,
  TerminatedItem,
} from '../protocol/ledger/items.ts';
import { recordName, type Ledger } from '../protocol/ledger/ledger.ts';
import { RecentEvents } from '../protocol/ledger/recent-events.ts';
import { KeyedMutex } from '../protocol/lib/keyed-mutex.ts';
import type { SubscriptionRef } from './registry.ts';

/** The items for {@link Apply}, which receives them one at a time and in order. */
export type ReceiverItem = EventItem | GapItem | EpochItem | LostItem | TerminatedItem;

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
 * A problem for the operator. Contains no secret and nothing of an event.
 *
 * `missing_numbers`: the numbers `expected` to `after` never arrived, for example after a backup was
 * restored; pull them and pass them to `accept`. `stale`: a message of a former log or epoch was
 * rejected. `apply_failed`: `apply` threw `error`; the item comes again.
 */
export type Problem = SubscriptionRef & { readonly subscriptionId: string } & (
    | {
        readonly kind: 'missing_numbers';
        readonly epoch: string;
        readonly expected: number;
        readonly after: number;
      }
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
  readonly onProblem: (problem: Problem) => void;
}

/**
 * The position up to which everything was applied, and the event of the delivery that can never be
 * accepted.
 */
export type Applied = Position & { readonly reject?: Rejection };

const REASON_CHARS_MAX = 256;
const REJECTED = 'The receiver can never accept this event.';

export class Applier {
  readonly #o: ApplierOptions;
  readonly #mutex = new KeyedMutex();
  readonly #cursors = new Map<string, Cursor>();
  readonly #recent = new Map<string, RecentEvents>();
  readonly #saved = new Map<string, Cursor>();

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
      if (deadline?.passed() !== true) reject = await this.#apply(name, ref, delivery);
    });
    await (deadline ? Promise.race([work, fired(deadline.signal)]) : work);
    const cursor = await this.position(ref);
    const position = {
      epoch: cursor?.epoch ?? delivery.epoch,
      sequence: cursor?.sequence ?? delivery.after,
    };
    if (cursor && this.#saved.get(name) !== cursor) await this.#save(name, ref, cursor);
    return reject ? { ...position, reject } : position;
  }

  /** Forgets the position of a key. */
  async forget({ audience, key }: SubscriptionRef): Promise<void> {
    const name = recordName('position', audience, key);
    await this.#mutex.run(name, async () => {
      this.#cursors.delete(name);
      this.#recent.delete(name);
      this.#saved.delete(name);
      await this.#o.ledger.remove('position', audience, key);
    });
  }

  async #apply(
    name: string,
    ref: SubscriptionRef,
    delivery: Delivery,
  ): Promise<Rejection | undefined> {
    const { subscriptionId, epoch, after } = delivery;
    const context = { ...ref, subscriptionId };
    // Without a stored position, start where the delivery starts.
    let cursor = (await this.position(ref)) ?? begin({ subscriptionId, epoch, sequence: after });
    try {
      let received = receive<Event>(cursor, delivery);
      if (received.kind === 'moved') {
        await this.#o.apply(lossOf(cursor, received.cursor, received.replaced), context);
        cursor = received.cursor;
        this.#cursors.set(name, cursor);
        this.#recent.get(name)?.renumbered();
        received = receive<Event>(cursor, delivery);
      }
      if (received.kind === 'hole') {
        this.#o.onProblem({
          kind: 'missing_numbers',
          ...context,
          epoch,
          expected: received.expected,
          after: received.after,
        });
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
      if (delivery.terminated)
        await this.#o.apply(
          {
            type: 'terminated',
            reason: delivery.terminated.reason,
            position: { epoch, sequence: cursor.sequence },
          },
          context,
        );
    } catch (error) {
      this.#o.onProblem({ kind: 'apply_failed', ...context, error });
    }
    return undefined;
  }

  /** Applies one event or gap. Returns the reason if the application can never accept the event. */
  async #applyItem(
    name: string,
    item: EventItem | GapItem,
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

/** Returns the item that reports a new epoch, or that another log has replaced this one. */
function lossOf(before: Cursor, now: Cursor, replaced: boolean): EpochItem | LostItem {
  const previous = { epoch: before.epoch, sequence: before.sequence };
  if (replaced) return { type: 'lost', reason: 'replaced', last: previous };
  return { type: 'epoch', previous, current: { epoch: now.epoch, sequence: now.sequence } };
}

const fired = (signal: AbortSignal): Promise<void> =>
  new Promise((resolve) => {
    if (signal.aborted) return resolve();
    signal.addEventListener('abort', () => resolve(), { once: true });
  });
