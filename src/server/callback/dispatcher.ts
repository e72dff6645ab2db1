/**
 * The callback drain: at most one attempt in flight per subscription, many subscriptions at once. A
 * claim is committed before its POST is sent, and the outcome is committed before the next claim
 * (SEP: Callback).
 */
import { deliverable } from '../../protocol/core/index.ts';
import type { Attempt, Callback, Outcome, Subscription } from '../../protocol/core/types.ts';
import { BATCH_EVENTS_MAX } from '../../protocol/core/policy.ts';
import { CALLBACK_BODY_BYTES_MAX, CALLBACK_DEADLINE_MS } from '../../protocol/wire/limits.ts';
import type { LoadedSubscription, SubscriptionCache } from '../engine/subscription-cache.ts';
import { retryWhenFull, type UnitOfWork } from '../engine/unit-of-work.ts';
import { outcomeOf } from './answer.ts';
import type { Dialects } from './dialects.ts';
import type { Clock } from '../../protocol/lib/clock.ts';
import type { Egress, Log, Meter, Random } from '../engine/ports.ts';
import type { ReadEntry, Store } from '../store/port.ts';
import {
  cutToBytes,
  ENVELOPE_BYTES,
  firstOf,
  rangeOf,
  readStore,
  readTail,
  type LogRange,
  type ReadLimits,
} from '../engine/reader.ts';
import type { MessageSigner } from './message-signer.ts';
import type { RatedCallback, RequestRate } from './request-rate.ts';

/** Lease of an attempt: longer than its deadline, so that only a lost attempt is repeated. */
const LEASE_MS = 2 * CALLBACK_DEADLINE_MS;
/** Delay after a failed claim. */
const RETRY_MS = 1000;
/** Entries read to find the end of a run of gaps, for dialects with one event per message. */
const SINGLE_READ_ENTRIES = 16;
/**
 * Most reads of a log that ends before its head. Several can be necessary, because numbers may be
 * assigned faster than they are committed.
 */
const READ_TRIES = 5;

/** Dependencies and limits of a {@link Dispatcher}. */
export interface DispatcherOptions {
  readonly store: Store;
  readonly cache: SubscriptionCache;
  readonly unitOfWork: UnitOfWork;
  readonly clock: Clock;
  readonly random: Random;
  readonly egress: Egress;
  readonly signer: MessageSigner;
  readonly dialects: Dialects;
  readonly rate: RequestRate;
  readonly log: Log;
  readonly meter: Meter;
  /** Most attempts in flight over all subscriptions. */
  readonly concurrency: number;
  /** Most events in one delivery; default `BATCH_EVENTS_MAX`. */
  readonly batchEvents?: number;
}

/** Delivers logs to callbacks. */
export class Dispatcher {
  readonly #o: DispatcherOptions;
  /** Rows with something to deliver that wait for a free slot, in order of arrival. */
  readonly #waiting = new Set<number>();
  /** Rows whose log is being read from the store. Each reserves a slot. */
  readonly #reading = new Set<number>();
  /**
   * By row, the id of the attempt that this process claimed and has not settled, even if it is
   * void.
   */
  readonly #claimed = new Map<number, number>();
  /** By row, what to call when its attempt has ended. */
  readonly #freeing = new Map<number, () => void>();
  /** Rows that wait until an instant, in epoch milliseconds, with the function that ends the wait. */
  readonly #held = new Map<number, { readonly at: number; readonly cancel: () => void }>();
  /** Used slots: attempts without an answer. */
  #inFlight = 0;
  /** Claims whose outcome is not committed yet. */
  #unsettled = 0;
  #closing = false;
  /** Callers of `close`. */
  #drained: (() => void)[] = [];

  constructor(options: DispatcherOptions) {
    this.#o = options;
  }

  /** Attempts without an answer. */
  get inFlight(): number {
    return this.#inFlight;
  }

  /** Whether this process claimed the attempt in flight and will settle it. */
  owns({ row, state }: LoadedSubscription): boolean {
    return state.attempt !== null && this.#claimed.get(row) === state.attempt.id;
  }

  /**
   * Until when an attempt of this row can still be answered, in epoch milliseconds; null = none is
   * in flight. It can be void, because its callback was replaced or its subscription ended.
   */
  busyUntil(row: number): number | null {
    return this.#claimed.has(row) ? this.#o.clock.now() + LEASE_MS : null;
  }

  /** Calls `run` once, when the attempt of this row that is in flight has ended. */
  whenFree(row: number, run: () => void): void {
    this.#freeing.set(row, run);
  }

  /**
   * Starts a delivery if there is something to deliver; claims immediately if the end of the log is
   * in memory.
   */
  pump(loaded: LoadedSubscription): void {
    if (this.#closing || this.#reading.has(loaded.row) || !this.#ready(loaded)) return;
    // Waiting rows come first; otherwise a few busy callbacks could take every slot.
    if (this.#full || this.#waiting.size > 0) this.#waiting.add(loaded.row);
    else this.#start(loaded);
  }

  /**
   * Whether a claim is possible now. Not while a void attempt, whose callback was replaced, is
   * still in flight.
   */
  #ready({ row, state }: LoadedSubscription): boolean {
    return (
      !this.#claimed.has(row) &&
      deliverable(state, this.#o.clock.now()) &&
      state.callback !== null &&
      this.#o.dialects.speaks(state.callback)
    );
  }

  get #full(): boolean {
    return this.#inFlight + this.#reading.size >= this.#o.concurrency;
  }

  #start(loaded: LoadedSubscription): void {
    try {
      if (this.#isBeyondRate(loaded)) return;
      const range = readTail(loaded, loaded.state.acked, this.#limits(loaded));
      if (range === null) void this.#startFromStore(loaded.row);
      else if (range.last > range.after) this.#claimUnlessHeld(loaded, range);
    } catch (cause) {
      this.#o.log.error({ row: loaded.row, err: cause }, 'claim failed; retrying in 1 s');
      this.#retryLater(loaded.row);
    }
  }

  /** Assigns free slots to waiting rows. */
  #next(): void {
    for (const row of this.#waiting) {
      if (this.#full || this.#closing) return;
      this.#waiting.delete(row);
      if (this.#reading.has(row)) continue;
      const loaded = this.#o.cache.get(row);
      if (loaded === undefined) void this.#startFromStore(row);
      else if (this.#ready(loaded)) this.#start(loaded);
    }
  }

  async #startFromStore(row: number): Promise<void> {
    this.#reading.add(row);
    try {
      await this.#claimFromStore(row);
    } catch (cause) {
      this.#o.log.error({ row, err: cause }, 'claim from the store failed; retrying in 1 s');
      this.#retryLater(row);
    } finally {
      this.#reading.delete(row);
      this.#next();
    }
  }

  /* -------------------- the limits of a callback ---------------------------------------------- */

  /** Claims the range, cut to the callback's `maxBytes`, unless the callback waits for more events. */
  #claimUnlessHeld(loaded: LoadedSubscription, read: LogRange): void {
    const range = this.#isSingle(loaded) ? firstOf(read) : this.#cut(loaded, read);
    if (!this.#isHeld(loaded, this.#lingerHold(loaded, range))) this.#claim(loaded, range);
  }

  #cut({ state }: LoadedSubscription, range: LogRange): LogRange {
    const { callback } = state;
    const maxBytes = callback?.limits?.maxBytes;
    if (callback === null || maxBytes === undefined) return range;
    const context = { state, callback, random: this.#o.random };
    const dialect = this.#o.dialects.of(callback);
    return cutToBytes(
      range,
      maxBytes,
      (part) => dialect.delivery(context, part)?.body.byteLength ?? 0,
    );
  }

  /** Whether `maxPerMinute` allows no request now; a timer then queues the row again. */
  #isBeyondRate(loaded: LoadedSubscription): boolean {
    const { state } = loaded;
    if (state.callback === null) return false;
    const at = this.#o.rate.heldUntil(ratedOf(state, state.callback));
    // Without a delay, the wait for more events goes on.
    return at !== null && this.#isHeld(loaded, at);
  }

  /**
   * Until when `lingerMs` delays this range; null = it does not. A range that ends before the head
   * is as large as the limits allow.
   */
  #lingerHold({ state }: LoadedSubscription, range: LogRange): number | null {
    const { maxEvents, lingerMs } = state.callback?.limits ?? {};
    const full =
      range.last < state.head || range.events.length >= (maxEvents ?? Number.POSITIVE_INFINITY);
    if (lingerMs === undefined || range.oldestAt === null || full) return null;
    // An event from the future (the clock was set back) does not wait for longer than `lingerMs`.
    return Math.min(range.oldestAt, this.#o.clock.now()) + lingerMs;
  }

  /** Whether a claim has to wait until `at`; a timer then queues the row again. */
  #isHeld({ row }: LoadedSubscription, at: number | null): boolean {
    const { clock } = this.#o;
    const now = clock.now();
    const held = this.#held.get(row);
    if (held?.at === at) return true;
    held?.cancel();
    this.#held.delete(row);
    if (at === null || at <= now) return false;
    const cancel = clock.after(at - now, () => {
      this.#held.delete(row);
      if (this.#closing) return;
      this.#waiting.add(row);
      this.#next();
    });
    this.#held.set(row, { at, cancel });
    return true;
  }

  /** Queues the row again after `RETRY_MS`. The scheduler does not, because the row is not due. */
  #retryLater(row: number): void {
    this.#o.clock.after(RETRY_MS, () => {
      if (this.#closing) return;
      this.#waiting.add(row);
      this.#next();
    });
  }

  /** Claims the next range of a log whose end is not in memory. */
  async #claimFromStore(row: number): Promise<void> {
    const { cache, unitOfWork, store } = this.#o;
    for (let tries = 0; ; tries += 1) {
      // The store returns only committed entries.
      await unitOfWork.commit();
      const loaded = await cache.getOrLoad(row);
      if (loaded === undefined || !this.#ready(loaded)) return;
      if (this.#isBeyondRate(loaded)) return;
      const limits = this.#limits(loaded);
      const {
        revision,
        state: { acked, epoch },
      } = loaded;
      const entries: readonly ReadEntry[] = await readStore(store, loaded, acked, limits);
      // Read again if meanwhile another drain acknowledged, an event became a gap, or a failed
      // commit discarded the loaded state.
      if (
        !cache.isUnchanged(loaded, revision) ||
        loaded.state.acked !== acked ||
        loaded.state.epoch !== epoch
      )
        continue;
      if (this.#closing || !this.#ready(loaded)) return;
      const range = rangeOf(loaded.state, acked, entries, limits);
      if (range.last > range.after) return this.#claimUnlessHeld(loaded, range);
      if (tries >= READ_TRIES)
        throw new Error(
          `The store has no log entry after ${acked}, although the head is ${loaded.state.head}. Check the store for lost entries.`,
        );
    }
  }

  /** Whether the dialect sends one event or gap per message. */
  #isSingle({ state: { callback } }: LoadedSubscription): boolean {
    return callback !== null && this.#o.dialects.of(callback).single;
  }

  #limits(loaded: LoadedSubscription): ReadLimits {
    const { batchLimit, callback } = loaded.state;
    const most = this.#isSingle(loaded)
      ? SINGLE_READ_ENTRIES
      : (this.#o.batchEvents ?? BATCH_EVENTS_MAX);
    return {
      events: Math.min(batchLimit ?? most, most, callback?.limits?.maxEvents ?? most),
      bytes: Math.min(
        CALLBACK_BODY_BYTES_MAX - ENVELOPE_BYTES,
        callback?.limits?.maxBytes ?? CALLBACK_BODY_BYTES_MAX,
      ),
    };
  }

  #claim(loaded: LoadedSubscription, range: LogRange): void {
    const { unitOfWork } = this.#o;
    const { row } = loaded;
    const { refused } = unitOfWork.step(loaded, {
      type: 'claim',
      to: range.last,
      events: range.events.length,
      first: range.sequences[0] ?? null,
      leaseMs: LEASE_MS,
    });
    const { revision, state } = loaded;
    if (refused !== undefined || state.attempt === null || state.callback === null) return;
    const { attempt } = state;
    const ended = this.#o.rate.start(ratedOf(state, state.callback));
    this.#inFlight += 1;
    this.#unsettled += 1;
    this.#claimed.set(row, attempt.id);
    let started = false;
    // Numbers and counters are sent only after they are committed with the claim. The message shows
    // the state at the time of the claim.
    unitOfWork.afterCommit(() => {
      started = true;
      void this.#attempt(loaded, attempt, range, { state, revision }, ended);
    });
    void unitOfWork.commit().catch(() => {
      if (started) return;
      ended();
      this.#inFlight -= 1;
      this.#release(row, attempt);
    });
  }

  async #attempt(
    claimed: LoadedSubscription,
    attempt: Attempt,
    range: LogRange,
    { state, revision }: Pick<LoadedSubscription, 'state' | 'revision'>,
    ended: () => void,
  ): Promise<void> {
    const { row } = claimed;
    const { cache, clock, dialects, egress, signer, log, meter, random } = this.#o;
    const startedAt = clock.now();
    let holdsSlot = true;
    /**
     * Releases the slot, and ends the request for its rate, when the answer arrives, so that the commit of its outcome can contain the
     * next claim.
     */
    const releaseSlot = (): void => {
      if (!holdsSlot) return;
      this.#inFlight -= 1;
      ended();
      holdsSlot = false;
    };
    try {
      const loaded = await cache.getOrLoad(row);
      const callback = loaded?.state.callback ?? null;
      // The attempt became void during the commit: its callback was replaced, or its subscription
      // ended.
      if (loaded === undefined || callback === null || loaded.state.attempt?.id !== attempt.id)
        return;
      if (!cache.isUnchanged(claimed, revision)) return await this.#restart(loaded);
      const dialect = dialects.of(callback);
      const message = dialect.delivery({ state, callback, random }, range);
      // Nothing to send for this range: it counts as acknowledged.
      if (message === null) {
        releaseSlot();
        return await this.#settle(
          row,
          attempt,
          { kind: 'acked', ack: range.last, reject: null },
          0,
        );
      }
      const signed = await signer.sign(
        message,
        callback,
        state.subscriptionId,
        dialect.serverSignature,
      );
      const result = await egress.post({
        url: callback.url,
        headers: signed.headers,
        body: signed.body,
        deadlineMs: CALLBACK_DEADLINE_MS,
      });
      releaseSlot();
      const outcome = outcomeOf(dialect, result, range, state, clock.now());
      meter.count('triggers_attempts_total', 1, { outcome: outcome.kind });
      meter.observe('triggers_attempt_seconds', (clock.now() - startedAt) / 1000);
      if (outcome.kind === 'acked')
        meter.count('triggers_events_delivered_total', range.events.length, { drain: 'callback' });
      else
        log.debug(
          {
            subscriptionId: state.subscriptionId,
            outcome: outcome.kind,
            status: result.kind === 'response' ? result.status : undefined,
            err: result.kind === 'failure' ? result.cause : undefined,
          },
          'attempt failed; its outcome decides whether it is repeated',
        );
      await this.#settle(row, attempt, outcome, random.uniform());
    } catch (cause) {
      // Nothing is lost: the scheduler ends the attempt when its lease expires, and the range is
      // claimed again.
      log.error(
        { row, err: cause },
        'attempt ended without a recorded outcome; retrying when its lease expires',
      );
    } finally {
      releaseSlot();
      this.#release(row, attempt);
    }
  }

  /**
   * Claims again, after an event of the range became a gap during the commit. Does not count as a
   * failure of the endpoint.
   */
  async #restart(loaded: LoadedSubscription): Promise<void> {
    this.#claimed.delete(loaded.row);
    this.#o.unitOfWork.step(loaded, { type: 'recover' });
    await this.#o.unitOfWork.commit();
  }

  async #settle(row: number, attempt: Attempt, outcome: Outcome, jitter: number): Promise<void> {
    const { cache, unitOfWork } = this.#o;
    await retryWhenFull(async () => {
      const loaded = await cache.getOrLoad(row);
      if (loaded === undefined || loaded.ended) return;
      this.#claimed.delete(row);
      unitOfWork.step(loaded, { type: 'answer', attempt: attempt.id, outcome, jitter });
      await unitOfWork.commit();
    });
  }

  #release(row: number, attempt: Attempt): void {
    this.#unsettled -= 1;
    if (this.#claimed.get(row) === attempt.id) this.#claimed.delete(row);
    if (!this.#claimed.has(row)) {
      this.#freeing.get(row)?.();
      this.#freeing.delete(row);
    }
    // A void attempt blocked the next claim until now. Rows that have nothing to claim must not
    // enter the queue, because others would wait behind them.
    const loaded = this.#o.cache.get(row);
    if (loaded === undefined || this.#ready(loaded)) this.#waiting.add(row);
    if (!this.#closing) this.#next();
    else if (this.#unsettled === 0) for (const done of this.#drained.splice(0)) done();
  }

  /** Stops claiming; resolves when the attempts in flight are settled, or after `patienceMs`. */
  async close(patienceMs: number): Promise<void> {
    this.#closing = true;
    for (const { cancel } of this.#held.values()) cancel();
    this.#held.clear();
    if (this.#unsettled === 0) return;
    await new Promise<void>((resolve) => {
      const cancel = this.#o.clock.after(patienceMs, resolve);
      this.#drained.push(() => {
        cancel();
        resolve();
      });
    });
  }
}

/** The callback of a subscription for its {@link RequestRate}. */
const ratedOf = (
  { subscriptionId, createdAt }: Subscription,
  { url, limits }: Callback,
): RatedCallback => ({
  subscriptionId,
  url,
  maxPerMinute: limits?.maxPerMinute,
  since: createdAt,
});
