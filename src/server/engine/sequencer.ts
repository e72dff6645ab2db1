/**
 * Accepts events, then assigns their sequence numbers. One commit makes an event durable in the
 * accept log; the source waits for that commit only. Numbers are assigned in the order of
 * acceptance: in the same commit if few subscriptions match, otherwise in bounded chunks that
 * continue from a durable checkpoint, so that one event for ten thousand subscriptions does not
 * block others (SEP: The log).
 */
import type { Selection } from '../../protocol/core/types.ts';
import type { Clock } from '../../protocol/lib/clock.ts';
import { LocalError } from '../../protocol/wire/errors.ts';
import { eventBytes } from '../../protocol/wire/envelope.ts';
import type { AcceptedEvent, Checkpoint, ReadEntry, Store } from '../store/port.ts';
import type { Catalog } from './catalog.ts';
import { Matcher, type Selecting } from './matcher.ts';
import { checkEvent, type CheckedEvent } from './new-event.ts';
import type { Log, Meter, Random } from './ports.ts';
import type { LoadedSubscription, SubscriptionCache } from './subscription-cache.ts';
import { eventWrite, gapIn, stored } from './stored-event.ts';
import type { UnitOfWork } from './unit-of-work.ts';
import type { Accepted, NewEvent, NewGap } from './verbs.ts';

/**
 * Most entries added in one commit. Events with more matches are accepted first and get their
 * numbers in chunks of this size.
 */
const CHUNK = 1024;
/** Most events accepted in one commit. */
const INTAKE = 1000;
/** Accepted events read from the store at once. */
const PAGE = 64;
/** Pause after assigning numbers failed. */
const RETRY_MS = 1000;
/** A checked event that waits for the commit that accepts it. */
interface PendingEvent extends CheckedEvent {
  resolve(accepted: Accepted): void;
  reject(cause: unknown): void;
}

/** An accepted event with its parsed data. */
type WholeEvent = AcceptedEvent & { readonly data: unknown };

export interface SequencerOptions {
  readonly store: Store;
  readonly cache: SubscriptionCache;
  readonly unitOfWork: UnitOfWork;
  readonly catalog: Catalog;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Log;
  readonly meter: Meter;
  /** Most entries added in one commit; default 1024. */
  readonly chunk?: number | undefined;
  /** Most bytes of an event's data that are stored; more make the event a gap. */
  readonly maxEventBytes: number;
  /** Why no events are accepted at the moment; null = they are. */
  refusal(): LocalError | null;
}

export class Sequencer {
  readonly #o: SequencerOptions;
  readonly #chunk: number;
  readonly #matcher: Matcher;
  /** Functions that revert the uncommitted changes of the index, newest last. */
  readonly #undo: (() => void)[] = [];
  /**
   * Grows with every rollback. If it differs after an `await`, decisions made before the `await`
   * are void.
   */
  #generation = 0;
  #closed = false;
  /** Offsets of events that were redacted before all their numbers were assigned. */
  readonly #redacted = new Set<number>();
  /** Events that wait for acceptance, in the order of `emit`. */
  #pending: PendingEvent[] = [];
  #accepting = false;
  #assigning = false;
  #lastOffset = 0;
  /** The last offset on disk. */
  #durableOffset = 0;
  #checkpoint: Checkpoint = { offset: 0, row: 0 };
  /** The checkpoint on disk. */
  #durableCheckpoint: Checkpoint = { offset: 0, row: 0 };
  /** Entries added since `#assign` last committed. */
  #added = 0;
  /** Callers of `settled`. */
  #waitingForIdle: { resolve(): void; reject(cause: unknown): void }[] = [];
  /** Callers of `caughtUp`. Resolved when no event lacks a number, even if only for one turn. */
  #waitingForCatchUp: (() => void)[] = [];
  /** Callers of `close`. */
  #waitingForStop: (() => void)[] = [];

  constructor(options: SequencerOptions) {
    this.#o = options;
    this.#chunk = options.chunk ?? CHUNK;
    this.#matcher = new Matcher(options.catalog, options.log);
  }

  /** Offset of the newest accepted event; the log of a new subscription starts after it. */
  get lastOffset(): number {
    return this.#lastOffset;
  }
  /** The number of accepted events that do not have all their sequence numbers yet. */
  get lag(): number {
    return this.#lastOffset - this.#checkpoint.offset;
  }

  /** Continues from the store's last offset and checkpoint. */
  start(lastOffset: number, checkpoint: Checkpoint): void {
    this.#lastOffset = lastOffset;
    this.#durableOffset = lastOffset;
    this.#checkpoint = checkpoint;
    this.#durableCheckpoint = checkpoint;
    this.resume();
  }

  /**
   * Accepts an event; resolves once it is durable. Throws or rejects with `LocalError`, and then
   * the event is not accepted.
   */
  emit(event: NewEvent | NewGap): Promise<Accepted> {
    const refusal = this.#o.refusal();
    if (refusal !== null) return Promise.reject(refusal);
    const checked = checkEvent(event, this.#o);
    return new Promise((resolve, reject) => {
      this.#pending.push({ ...checked, resolve, reject });
      if (!this.#accepting) {
        this.#accepting = true;
        // All events emitted in one turn are accepted in one commit.
        setImmediate(() => void this.#acceptPending());
      }
    });
  }

  /**
   * Resolves when every event accepted so far has its numbers. Rejects with `LocalError` `closed`.
   */
  settled(): Promise<void> {
    if (this.#closed) return Promise.reject(closed());
    if (!this.#accepting && !this.#assigning && this.lag === 0) return Promise.resolve();
    return new Promise((resolve, reject) => this.#waitingForIdle.push({ resolve, reject }));
  }

  /**
   * Resolves when no accepted event waits for its numbers. The caller must change a selection in
   * the same turn, because an event belongs to the subscriptions that matched when it was accepted.
   */
  async caughtUp(): Promise<void> {
    while (this.lag > 0) {
      if (this.#closed) throw closed();
      await new Promise<void>((resolve) => this.#waitingForCatchUp.push(resolve));
    }
  }

  /** Adds a stored subscription to the match index, at start. */
  load(row: number, principal: string, select: readonly Selection[]): void {
    this.#matcher.set(row, principal, select);
  }

  /**
   * Changes the selections of a subscription in the match index; null = none. If the commit of this
   * turn fails, `before` applies again.
   */
  follow(
    { row, state: { principal } }: LoadedSubscription,
    select: readonly Selection[] | null,
    before: readonly Selection[] | null,
  ): void {
    this.#matcher.set(row, principal, select);
    const undo = (): void => this.#matcher.set(row, principal, before);
    this.#undo.push(undo);
    this.#o.unitOfWork.afterCommit(() => void this.#undo.splice(this.#undo.indexOf(undo), 1));
  }

  /** Whether an earlier event belongs in the log of a new subscription with these selections. */
  async selects(subscription: Selecting, event: AcceptedEvent): Promise<boolean> {
    const whole = await this.#whole(event);
    return this.#matcher.matches(subscription, whole) && this.#matcher.accepts(subscription, whole);
  }

  /** Adds an earlier event that `selects` approved to a log that has just been created. */
  replay(loaded: LoadedSubscription, event: AcceptedEvent): void {
    this.#append(loaded, event);
  }

  /**
   * Accepts an event for this log only, which has just been created, and appends it. `acceptedAt`
   * in epoch milliseconds.
   */
  acceptInto(loaded: LoadedSubscription, event: CheckedEvent, acceptedAt: number): void {
    const { unitOfWork } = this.#o;
    const { data, text, ...checked } = event;
    const isBehind = this.lag > 0;
    this.#lastOffset += 1;
    const offset = this.#lastOffset;
    const accepted: AcceptedEvent = {
      ...checked,
      ...stored(text),
      audience: [],
      offset,
      acceptedAt,
    };
    unitOfWork.write(eventWrite(accepted, text));
    if (this.#matcher.accepts(loaded.state, { ...accepted, data })) this.#append(loaded, accepted);
    // Nobody is in its audience, so it has all its numbers. If earlier events lack some, the
    // checkpoint reaches it after them.
    if (!isBehind) this.#moveTo({ offset, row: 0 });
    unitOfWork.afterCommit(() => {
      this.#durableOffset = Math.max(this.#durableOffset, offset);
      if (this.lag > 0) this.#startAssigning();
    });
  }

  /**
   * Must be called when an event's data is redacted, because the event may still lack some of its
   * numbers.
   */
  redact(offset: number): void {
    if (offset > this.#checkpoint.offset) this.#redacted.add(offset);
  }

  /** Returns to the state on disk, after a failed commit. */
  rollback(): void {
    this.#generation += 1;
    this.#checkpoint = this.#durableCheckpoint;
    // Offsets that were not written are reused, so a new log must not start after one of them.
    this.#lastOffset = this.#durableOffset;
    this.#added = 0;
    // An event that is redacted on disk is read without its data.
    this.#redacted.clear();
    for (const undo of this.#undo.splice(0).reverse()) undo();
    this.#resolveCatchUp();
  }

  /** Continues to assign numbers, after the start or a failed commit. */
  resume(): void {
    if (this.lag > 0) this.#startAssigning();
    else this.#resolveWaiting();
  }

  /**
   * Stops accepting and assigning; resolves when the current commit is done. The next start
   * continues at the checkpoint.
   */
  async close(): Promise<void> {
    this.#closed = true;
    if (this.#accepting || this.#assigning)
      await new Promise<void>((resolve) => this.#waitingForStop.push(resolve));
    for (const { reject } of this.#waitingForIdle.splice(0)) reject(closed());
    for (const resolve of this.#waitingForCatchUp.splice(0)) resolve();
  }

  /* -------------------- accepting ------------------------------------------------------------- */

  async #acceptPending(): Promise<void> {
    while (this.#pending.length > 0) {
      const pending = this.#pending.splice(0, INTAKE);
      try {
        await this.#accept(pending);
      } catch (cause) {
        for (const event of pending) event.reject(cause);
      }
    }
    this.#accepting = false;
    this.#resolveWaiting();
  }

  async #accept(pending: readonly PendingEvent[]): Promise<void> {
    const { cache, unitOfWork, clock, meter } = this.#o;
    const isDuplicate = await this.#duplicates(pending);
    const fresh = pending.filter((_, at) => isDuplicate[at] === false);
    const expected = fresh.map((event) => this.#matcher.rows(event));
    if (this.#fitsOneCommit(expected)) await cache.load(rowsOf(expected));
    // No await between here and the commit. Matching again finds exactly the subscriptions that
    // exist now.
    const matches = fresh.map((event) => this.#matcher.rows(event));
    const inline =
      this.lag === 0 &&
      !this.#assigning &&
      this.#fitsOneCommit(matches) &&
      rowsOf(matches).every((row) => cache.get(row) !== undefined);
    const acceptedAt = clock.now();
    fresh.forEach(({ scope, name, eventId, gap, audience, text, data }, at) => {
      this.#lastOffset += 1;
      const offset = this.#lastOffset;
      const identity = { offset, scope, name, eventId };
      const event: AcceptedEvent = { ...identity, gap, audience, acceptedAt, ...stored(text) };
      unitOfWork.write(eventWrite(event, text));
      if (inline)
        for (const row of matches[at]!) this.#appendTo(cache.get(row)!, { ...event, data });
    });
    if (inline && fresh.length > 0) this.#moveTo({ offset: this.#lastOffset, row: 0 });
    const upTo = this.#lastOffset;
    unitOfWork.afterCommit(() => {
      this.#durableOffset = upTo;
    });
    await unitOfWork.commit();
    meter.count('triggers_events_accepted_total', fresh.length);
    meter.count('triggers_events_duplicate_total', pending.length - fresh.length);
    pending.forEach(({ eventId, gap, resolve }, at) => {
      const duplicate = isDuplicate[at] === true;
      resolve({ eventId, duplicate, gap: duplicate ? null : gap });
    });
    if (this.lag > 0) this.#startAssigning();
  }

  /**
   * For each event, whether the accept log or an earlier event of the same commit has its scope,
   * name and id.
   */
  async #duplicates(pending: readonly PendingEvent[]): Promise<boolean[]> {
    const known = await this.#o.store.known(pending);
    const seen = new Set<string>();
    return pending.map(({ scope, name, eventId }, at) => {
      const identity = JSON.stringify([scope, name, eventId]);
      if (known[at] !== null || seen.has(identity)) return true;
      seen.add(identity);
      return false;
    });
  }

  #fitsOneCommit(matches: readonly (readonly number[])[]): boolean {
    return matches.reduce((sum, rows) => sum + rows.length, 0) <= this.#chunk;
  }

  /* -------------------- assigning numbers ----------------------------------------------------- */

  #appendTo(loaded: LoadedSubscription, event: WholeEvent): void {
    if (loaded.ended || loaded.createdOffset >= event.offset) return;
    if (this.#matcher.accepts(loaded.state, event)) this.#append(loaded, event);
  }

  /** Appends an event to one log with the next number. */
  #append(loaded: LoadedSubscription, event: AcceptedEvent): void {
    const { unitOfWork } = this.#o;
    const { offset, acceptedAt, encoded, dataBytes } = event;
    const gap = gapIn(loaded.state, event);
    const sequence = loaded.state.head + 1;
    const entry: ReadEntry = {
      sequence,
      offset,
      gap,
      encoded: gap === null ? encoded : null,
      acceptedAt,
      ...(gap === null && dataBytes !== undefined ? { dataBytes } : {}),
    };
    loaded.append(entry);
    unitOfWork.write({ type: 'entry', row: loaded.row, entry: { sequence, offset, gap } });
    const { refused } = unitOfWork.step(loaded, {
      type: 'append',
      count: 1,
      acceptedAt,
      bytes: entry.encoded === null ? 0 : eventBytes(entry.encoded) + (entry.dataBytes ?? 0),
    });
    if (refused !== undefined)
      throw new Error(
        'The match index contains a subscription that has ended. Remove it with follow() when it ends.',
      );
  }

  /** The event with its data; reads them from the store if they are kept apart. */
  async #whole(event: AcceptedEvent): Promise<WholeEvent> {
    if (event.encoded === null) return { ...event, data: null };
    if (event.dataBytes === undefined)
      return { ...event, data: (JSON.parse(event.encoded) as { data: unknown }).data };
    const text = await this.#o.store.data(event.offset);
    // It was redacted after it was read.
    if (text === null) return { ...event, encoded: null, data: null };
    return { ...event, data: JSON.parse(text) as unknown };
  }

  #moveTo(checkpoint: Checkpoint): void {
    this.#checkpoint = checkpoint;
    this.#resolveCatchUp();
    this.#o.unitOfWork.write({ type: 'checkpoint', checkpoint });
    this.#o.unitOfWork.afterCommit(() => {
      this.#durableCheckpoint = checkpoint;
    });
  }

  #startAssigning(): void {
    if (this.#assigning || this.#closed) return;
    this.#assigning = true;
    void this.#catchUp().then(
      () => {
        this.#assigning = false;
        this.#resolveWaiting();
      },
      (cause) => {
        this.#assigning = false;
        this.#resolveWaiting();
        this.#o.log.error({ err: cause }, 'assigning sequence numbers failed; retrying in 1 s');
        this.#o.clock.after(RETRY_MS, () => this.resume());
      },
    );
  }

  async #catchUp(): Promise<void> {
    const { unitOfWork, store } = this.#o;
    while (this.lag > 0 && !this.#closed) {
      const upTo = this.#lastOffset;
      await unitOfWork.commit();
      const generation = this.#generation;
      const events = await store.accepted(this.#checkpoint.offset, PAGE);
      for (const event of events) {
        if (this.#isVoid(generation) || !(await this.#assign(event, generation))) break;
      }
      if (generation !== this.#generation) continue;
      // The store has no event at these offsets. Without this step the loop would never end.
      if (events.length === 0) this.#moveTo({ offset: upTo, row: 0 });
      await unitOfWork.commit();
    }
    this.#redacted.clear();
  }

  #isVoid(generation: number): boolean {
    return this.#closed || generation !== this.#generation;
  }

  /**
   * Assigns the numbers of one event in all matching logs. Commits after each full chunk; a smaller
   * rest shares a commit with the next events. Resolves with false when a rollback or `close`
   * interrupts it.
   */
  async #assign(event: AcceptedEvent, generation: number): Promise<boolean> {
    const { cache, unitOfWork } = this.#o;
    const whole = await this.#whole(event);
    for (;;) {
      const after = this.#checkpoint.row;
      const expected = this.#matcher
        .rows(whole)
        .filter((row) => row > after)
        .slice(0, this.#chunk);
      await cache.load(expected);
      if (this.#isVoid(generation)) return false;
      // No await between here and the commit. Matching again skips subscriptions that ended during
      // the load; those created meanwhile have a later `createdOffset` and get no number.
      const rows = this.#matcher.rows(whole).filter((row) => row > after);
      const isLast = rows.length <= this.#chunk;
      const chunk = rows.slice(0, this.#chunk);
      if (chunk.some((row) => cache.get(row) === undefined && !expected.includes(row))) continue;
      const stored = this.#redacted.has(event.offset) ? { ...whole, encoded: null } : whole;
      for (const row of chunk) {
        const loaded = cache.get(row);
        if (loaded !== undefined) this.#appendTo(loaded, stored);
      }
      this.#added += chunk.length;
      this.#moveTo(
        isLast
          ? { offset: event.offset, row: 0 }
          : { offset: this.#checkpoint.offset, row: chunk.at(-1)! },
      );
      if (isLast && this.#added < this.#chunk) return true;
      this.#added = 0;
      await unitOfWork.commit();
      // Lets callbacks, pulls and other events run between chunks.
      await new Promise((resolve) => setImmediate(resolve));
      if (isLast) return true;
      if (this.#isVoid(generation)) return false;
    }
  }

  /* -------------------- waiting --------------------------------------------------------------- */

  #resolveCatchUp(): void {
    if (this.lag === 0) for (const resolve of this.#waitingForCatchUp.splice(0)) resolve();
  }

  #resolveWaiting(): void {
    if (this.#accepting || this.#assigning) return;
    for (const resolve of this.#waitingForStop.splice(0)) resolve();
    if (this.lag > 0) return;
    for (const { resolve } of this.#waitingForIdle.splice(0)) resolve();
  }
}

const closed = (): LocalError =>
  new LocalError(
    'closed',
    'The engine is closed. Accepted events get their sequence numbers when it starts again.',
  );

const rowsOf = (matches: readonly (readonly number[])[]): number[] => [...new Set(matches.flat())];
