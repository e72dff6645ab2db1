/**
 * Applies deliveries to an application: in order, each number once, one delivery of a key at a time. How far it came is saved
 * before it is said (SEP: Applying a delivery).
 */
import type { Delivery, Event, Position, Rejection } from '../../spec-schema/draft/schema.ts';
import { advance, begin, receive, type Cursor, type AppliedEntry } from '../protocol/core/apply.ts';
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
import type { Who } from './registry.ts';

/** What an {@link Apply} is handed, one at a time and in order. */
export type ReceiverItem = EventItem | GapItem | EpochItem | LostItem | TerminatedItem;

/** Returned for an event: it can never be accepted. The reason is for the operator of the server, at most 256 characters. */
export type ApplyResult = void | 'reject' | { readonly reject: string };

/**
 * Takes one item. Resolving means that it is stored; throwing, that it comes again. Answer within the server's deadline: store
 * the event and work on it afterwards.
 */
export type Apply = (
  item: ReceiverItem,
  context: Who & { readonly subscriptionId: string },
) => ApplyResult | Promise<ApplyResult>;

/** What an operator should know. Holds no secret and nothing of an event. */
export type Problem = Who & { readonly subscriptionId: string } &
  /** Numbers `expected` to `after` never arrived here, for example after a restored backup: pull them and `accept` them. */
  (
    | {
        readonly kind: 'missing_numbers';
        readonly epoch: string;
        readonly expected: number;
        readonly after: number;
      }
    /** A late message of a log that has ended was refused. */
    | { readonly kind: 'stale' }
    /** `apply` threw; the item comes again. */
    | { readonly kind: 'apply_failed'; readonly error: unknown }
  );

/** Until when a delivery can be answered. */
export interface Deadline {
  /** Fires when it has passed, or soon after. */
  readonly signal: AbortSignal;
  /** Whether it has passed, by the clock: a timer can be late. */
  readonly passed: () => boolean;
}

export interface ApplierOptions {
  readonly ledger: Ledger;
  readonly apply: Apply;
  readonly onProblem: (problem: Problem) => void;
}

/** How far a key has been applied, and what was refused for good in the last delivery. */
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

  /** Where the key stands, saved; null when nothing of it was ever applied. */
  async position({ audience, key }: Who): Promise<Cursor | null> {
    const name = recordName('position', audience, key);
    return (
      this.#cursors.get(name) ?? (await this.#o.ledger.load('position', audience, key)) ?? null
    );
  }

  /**
   * Applies a delivery and resolves with where the key then stands. When the deadline passes first, the work goes on and the promise
   * resolves with what is applied so far; work that has not begun by then is left to the next attempt.
   */
  async accept(who: Who, delivery: Delivery, deadline?: Deadline): Promise<Applied> {
    const name = recordName('position', who.audience, who.key);
    let reject: Rejection | undefined;
    const work = this.#mutex.run(name, async () => {
      if (deadline?.passed() !== true) reject = await this.#apply(name, who, delivery);
    });
    await (deadline ? Promise.race([work, fired(deadline.signal)]) : work);
    const cursor = await this.position(who);
    const position = {
      epoch: cursor?.epoch ?? delivery.epoch,
      sequence: cursor?.sequence ?? delivery.after,
    };
    if (cursor && this.#saved.get(name) !== cursor) await this.#save(name, who, cursor);
    return reject ? { ...position, reject } : position;
  }

  /** Forgets how far the key was applied. */
  async forget({ audience, key }: Who): Promise<void> {
    const name = recordName('position', audience, key);
    await this.#mutex.run(name, async () => {
      this.#cursors.delete(name);
      this.#recent.delete(name);
      this.#saved.delete(name);
      await this.#o.ledger.remove('position', audience, key);
    });
  }

  async #apply(name: string, who: Who, delivery: Delivery): Promise<Rejection | undefined> {
    const { subscriptionId, epoch, after } = delivery;
    const context = { ...who, subscriptionId };
    // Nothing is stored: the sender's own start is the only one there is.
    let cursor = (await this.position(who)) ?? begin({ subscriptionId, epoch, sequence: after });
    try {
      let verdict = receive<Event>(cursor, delivery);
      if (verdict.kind === 'moved') {
        await this.#o.apply(lossOf(cursor, verdict.cursor, verdict.replaced), context);
        cursor = verdict.cursor;
        this.#cursors.set(name, cursor);
        this.#recent.get(name)?.renumbered();
        verdict = receive<Event>(cursor, delivery);
      }
      if (verdict.kind === 'hole') {
        this.#o.onProblem({
          kind: 'missing_numbers',
          ...context,
          epoch,
          expected: verdict.expected,
          after: verdict.after,
        });
        return undefined;
      }
      if (verdict.kind !== 'apply') {
        this.#o.onProblem({ kind: 'stale', ...context });
        return undefined;
      }
      this.#cursors.set(name, cursor);
      for (const entry of verdict.entries) {
        const reason = await this.#hand(name, entry, context);
        // A refused event is settled too: the server goes on after it.
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

  /** The reason, if the application can never accept it. */
  async #hand(
    name: string,
    entry: AppliedEntry<Event>,
    context: Who & { readonly subscriptionId: string },
  ): Promise<string | undefined> {
    const recent = this.#recent.get(name) ?? new RecentEvents();
    this.#recent.set(name, recent);
    if (entry.type === 'event' && recent.isRepeated(entry.event)) return undefined;
    const verdict = await this.#o.apply(entry, context);
    if (entry.type !== 'event') return undefined;
    if (verdict === undefined) recent.add(entry.event);
    if (verdict === 'reject') return REJECTED;
    return verdict === undefined ? undefined : verdict.reject.slice(0, REASON_CHARS_MAX);
  }

  async #save(name: string, { audience, key }: Who, cursor: Cursor): Promise<void> {
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

/** How the application is told that its log has another life, or another log has taken its place. */
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
