/**
 * The callback drain: at most one attempt in flight for a subscription, many subscriptions at once. A claim is on disk before
 * its POST leaves; the answer is classified, stepped and on disk before the next (SEP: Callback).
 */
import { classifyFailure, deliverable } from '../../protocol/core/index.ts';
import type {
  Attempt,
  Outcome,
  Subscription,
  TerminationReason,
} from '../../protocol/core/types.ts';
import { BATCH_EVENTS_MAX } from '../../protocol/core/policy.ts';
import {
  CALLBACK_ANSWER_BYTES_MAX,
  CALLBACK_BODY_BYTES_MAX,
  CALLBACK_DEADLINE_MS,
} from '../../protocol/wire/limits.ts';
import { retryWhenFull, type UnitOfWork, type LoadedSubscription } from '../engine/unit-of-work.ts';
import type { CallbackDialect } from './dialect.ts';
import type { Dialects } from './dialects.ts';
import type { Clock } from '../../protocol/lib/clock.ts';
import type { Egress, Log, Meter, OutboundResult, Random } from '../engine/ports.ts';
import type { ReadEntry, Store } from '../store/port.ts';
import {
  ENVELOPE_BYTES,
  firstOf,
  rangeOf,
  readStore,
  readTail,
  type LogRange,
  type ReadLimits,
} from '../engine/reader.ts';
import type { MessageSigner } from './message-signer.ts';

/** The lease outlives the deadline, so that only a lost attempt is ever taken over. */
const LEASE_MS = 2 * CALLBACK_DEADLINE_MS;
/** How long a log that could not be read is left alone. */
const RETRY_MS = 1000;
/** How far is looked for the end of a run of gaps, where a message holds one event. */
const SINGLE_LOOK = 16;
/** How often a log that seems to end before its head is read again: numbers may be assigned faster than they are committed. */
const TRIES = 5;

export interface DispatcherOptions {
  readonly store: Store;
  readonly unitOfWork: UnitOfWork;
  readonly clock: Clock;
  readonly random: Random;
  readonly egress: Egress;
  readonly signer: MessageSigner;
  readonly dialects: Dialects;
  readonly log: Log;
  readonly meter: Meter;
  /** Attempts in flight at once, over all subscriptions. */
  readonly concurrency: number;
  readonly batchEvents?: number;
}

export class Dispatcher {
  readonly #o: DispatcherOptions;
  /** Rows with work that wait for a free place, first come, first served. */
  readonly #waiting = new Set<number>();
  /** Rows whose log is being read from the store. Each holds a place: it is going to need one. */
  readonly #reading = new Set<number>();
  /** By row, the attempt that this process claimed and has not settled; also one that was voided on its way. */
  readonly #mine = new Map<number, number>();
  /** Places taken: attempts whose answer has not come. */
  #inFlight = 0;
  /** Attempts whose answer is not on disk. */
  #unsettled = 0;
  #closing = false;
  #drained: (() => void)[] = [];

  constructor(options: DispatcherOptions) {
    this.#o = options;
  }

  get inFlight(): number {
    return this.#inFlight;
  }

  /** Whether the attempt in flight is of this process, and so will be settled by it. */
  owns({ row, state }: LoadedSubscription): boolean {
    return state.attempt !== null && this.#mine.get(row) === state.attempt.id;
  }

  /** There may be something to deliver. Claims at once when the log's end is in memory. */
  pump(loaded: LoadedSubscription): void {
    if (this.#closing || this.#reading.has(loaded.row) || !this.#ready(loaded)) return;
    // Who waits comes first, or a few busy callbacks would pass the places on among themselves for ever.
    if (this.#full || this.#waiting.size > 0) this.#waiting.add(loaded.row);
    else this.#start(loaded);
  }

  /** An attempt whose callback was replaced is void, but on its way all the same: the next one waits until it is back. */
  #ready({ row, state }: LoadedSubscription): boolean {
    return (
      !this.#mine.has(row) &&
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
      const range = readTail(loaded, loaded.state.acked, this.#limits(loaded));
      if (range === null) void this.#startFromStore(loaded.row);
      else if (range.last > range.after) this.#claim(loaded, range);
    } catch (cause) {
      this.#o.log.error(
        { row: loaded.row, err: cause },
        'a callback could not be claimed; it is tried again soon',
      );
      this.#later(loaded.row);
    }
  }

  /** Gives free places to those who wait. */
  #next(): void {
    for (const row of this.#waiting) {
      if (this.#full || this.#closing) return;
      this.#waiting.delete(row);
      if (this.#reading.has(row)) continue;
      const loaded = this.#o.unitOfWork.get(row);
      if (loaded === undefined) void this.#startFromStore(row);
      else if (this.#ready(loaded)) this.#start(loaded);
    }
  }

  async #startFromStore(row: number): Promise<void> {
    this.#reading.add(row);
    try {
      await this.#fromStore(row);
    } catch (cause) {
      this.#o.log.error(
        { row, err: cause },
        'reading a log for a callback failed; it is tried again soon',
      );
      this.#later(row);
    } finally {
      this.#reading.delete(row);
      this.#next();
    }
  }

  /** Nothing in the store makes this row due, so nobody else would come back to it. */
  #later(row: number): void {
    this.#o.clock.after(RETRY_MS, () => {
      if (this.#closing) return;
      this.#waiting.add(row);
      this.#next();
    });
  }

  /** Claims the next range of a log whose end is not in memory. */
  async #fromStore(row: number): Promise<void> {
    const { unitOfWork, store } = this.#o;
    for (let tries = 0; ; tries += 1) {
      // The store shows what is committed, so wait for what has been entered.
      await unitOfWork.commit();
      const loaded = await unitOfWork.getOrLoad(row);
      if (loaded === undefined || !this.#ready(loaded)) return;
      const limits = this.#limits(loaded);
      const {
        revision,
        state: { acked, epoch },
      } = loaded;
      const entries: readonly ReadEntry[] = await readStore(store, loaded, acked, limits);
      // Another drain may have acknowledged meanwhile, or a failed commit thrown memory away: then read again.
      if (
        !unitOfWork.isUnchanged(loaded, revision) ||
        loaded.state.acked !== acked ||
        loaded.state.epoch !== epoch
      )
        continue;
      if (this.#closing || !this.#ready(loaded)) return;
      const range = rangeOf(loaded.state, acked, entries, limits);
      if (range.last > range.after) return this.#claim(loaded, range);
      if (tries >= TRIES)
        throw new Error(
          `the store has no entry of this log after ${acked}, and its head is ${loaded.state.head}`,
        );
    }
  }

  /** Whether a message to its callback holds one thing only. */
  #isSingle({ state: { callback } }: LoadedSubscription): boolean {
    return callback !== null && this.#o.dialects.of(callback).single;
  }

  #limits(loaded: LoadedSubscription): ReadLimits {
    const { batchLimit } = loaded.state;
    const most = this.#isSingle(loaded) ? SINGLE_LOOK : (this.#o.batchEvents ?? BATCH_EVENTS_MAX);
    return {
      events: Math.min(batchLimit ?? most, most),
      bytes: CALLBACK_BODY_BYTES_MAX - ENVELOPE_BYTES,
    };
  }

  #claim(loaded: LoadedSubscription, read: LogRange): void {
    const { unitOfWork } = this.#o;
    const { row } = loaded;
    const range = this.#isSingle(loaded) ? firstOf(read) : read;
    const { refused } = unitOfWork.step(loaded, {
      type: 'claim',
      to: range.last,
      events: range.events.length,
      first: range.sequences[0] ?? null,
      leaseMs: LEASE_MS,
    });
    const { revision, state } = loaded;
    if (refused !== undefined || state.attempt === null) return;
    const { attempt } = state;
    this.#inFlight += 1;
    this.#unsettled += 1;
    this.#mine.set(row, attempt.id);
    let started = false;
    // Nobody is sent a number before it, and the claim, are on disk; nor a counter, so what is sent shows the state as of now.
    unitOfWork.afterCommit(() => {
      started = true;
      void this.#attempt(loaded, attempt, range, { state, revision });
    });
    void unitOfWork.commit().catch(() => {
      if (started) return;
      this.#inFlight -= 1;
      this.#release(row, attempt);
    });
  }

  async #attempt(
    claimed: LoadedSubscription,
    attempt: Attempt,
    range: LogRange,
    { state, revision }: Pick<LoadedSubscription, 'state' | 'revision'>,
  ): Promise<void> {
    const { row } = claimed;
    const { unitOfWork, clock, dialects, egress, signer, log, meter, random } = this.#o;
    const startedAt = clock.now();
    let place = true;
    /** Given back with the answer, so that the step that enters it can claim the next range into the same commit. */
    const leave = (): void => {
      if (place) this.#inFlight -= 1;
      place = false;
    };
    try {
      const loaded = await unitOfWork.getOrLoad(row);
      const callback = loaded?.state.callback ?? null;
      // Voided while its commit was written: the callback was replaced, or the subscription ended.
      if (loaded === undefined || callback === null || loaded.state.attempt?.id !== attempt.id)
        return;
      if (!unitOfWork.isUnchanged(claimed, revision)) return await this.#restart(loaded);
      const dialect = dialects.of(callback);
      const message = dialect.delivery({ state, callback, random }, range);
      // There are no words for it in this dialect.
      if (message === null) {
        leave();
        return await this.#settle(
          row,
          attempt,
          { kind: 'acked', ack: range.last, reject: null },
          0,
        );
      }
      const sealed = await signer.sign(
        message,
        callback,
        state.subscriptionId,
        dialect.serverSignature,
      );
      const result = await egress.post({
        url: callback.url,
        headers: sealed.headers,
        body: sealed.body,
        deadlineMs: CALLBACK_DEADLINE_MS,
      });
      leave();
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
          },
          'a callback attempt failed',
        );
      await this.#settle(row, attempt, outcome, random.uniform());
    } catch (cause) {
      // The lease runs out and the ordinary tick takes over; nothing is lost.
      log.error(
        { row, err: cause },
        'a callback attempt could not be settled; its lease will run out',
      );
    } finally {
      leave();
      this.#release(row, attempt);
    }
  }

  /** An event of the range became a gap while its claim was written. That is no failure of the endpoint: claim again. */
  async #restart(loaded: LoadedSubscription): Promise<void> {
    this.#mine.delete(loaded.row);
    this.#o.unitOfWork.step(loaded, { type: 'recover' });
    await this.#o.unitOfWork.commit();
  }

  async #settle(row: number, attempt: Attempt, outcome: Outcome, jitter: number): Promise<void> {
    const { unitOfWork } = this.#o;
    await retryWhenFull(async () => {
      const loaded = await unitOfWork.getOrLoad(row);
      if (loaded === undefined || loaded.ended) return;
      this.#mine.delete(row);
      unitOfWork.step(loaded, { type: 'answer', attempt: attempt.id, outcome, jitter });
      await unitOfWork.commit();
    });
  }

  #release(row: number, attempt: Attempt): void {
    this.#unsettled -= 1;
    if (this.#mine.get(row) === attempt.id) this.#mine.delete(row);
    // While it was on its way nobody could claim the next, if it was void. Who has nothing to claim must not stand in the queue:
    // others would line up behind.
    const loaded = this.#o.unitOfWork.get(row);
    if (loaded === undefined || this.#ready(loaded)) this.#waiting.add(row);
    if (!this.#closing) this.#next();
    else if (this.#unsettled === 0) for (const done of this.#drained.splice(0)) done();
  }

  /** The last word on a callback: one best-effort POST, outside the log. */
  async farewell(state: Subscription, reason: TerminationReason): Promise<void> {
    const { dialects, random, signer } = this.#o;
    const { callback } = state;
    if (callback === null || this.#closing || !dialects.speaks(callback)) return;
    const dialect = dialects.of(callback);
    const message = dialect.terminationNotice({ state, callback, random }, reason);
    if (message === null) return;
    const sealed = await signer.sign(
      message,
      callback,
      state.subscriptionId,
      dialect.serverSignature,
    );
    await this.#o.egress.post({
      url: callback.url,
      headers: sealed.headers,
      body: sealed.body,
      deadlineMs: CALLBACK_DEADLINE_MS,
    });
  }

  /** Starts no more attempts; resolves when those in flight are settled or after `patienceMs`. */
  async close(patienceMs: number): Promise<void> {
    this.#closing = true;
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

/** What an endpoint's answer to this range means. */
function outcomeOf(
  dialect: CallbackDialect,
  result: OutboundResult,
  range: LogRange,
  state: Subscription,
  now: number,
): Outcome {
  if (result.kind === 'failure') return classifyFailure(result.category);
  const { status, retryAfter } = result;
  const body = status >= 200 && status < 300 ? parse(result.body) : undefined;
  return dialect.classify({ status, retryAfter, body, now }, range, state);
}

/** JSON or undefined: an answer that is no JSON acknowledges nothing. */
export function parse(body: Uint8Array): unknown {
  if (body.byteLength === 0 || body.byteLength > CALLBACK_ANSWER_BYTES_MAX) return undefined;
  try {
    return JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(body));
  } catch {
    return undefined;
  }
}
