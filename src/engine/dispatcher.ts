/**
 * The callback drain: at most one attempt in flight for a subscription, many subscriptions at once. A claim is on disk before
 * its POST leaves; the answer is classified, stepped and on disk before the next (SEP: Callback).
 */
import { classifyAnswer, classifyFailure, deliverable } from '../core/index.ts';
import type { Attempt, Outcome } from '../core/types.ts';
import { CALLBACK_ANSWER_BYTES_MAX, CALLBACK_BATCH_EVENTS, CALLBACK_BODY_BYTES_MAX, CALLBACK_DEADLINE_MS } from '../wire/limits.ts';
import type { Book, Held } from './book.ts';
import type { Clock, Egress, Log, Meter, OutboundResult, Random, ReadEntry, Store } from './ports.ts';
import { deliveryOf, emptyRange, rangeOf, readStore, readTail, type Range, type ReadLimits } from './reader.ts';
import type { Sealer } from './sealer.ts';

/** Room for everything in a delivery that is not an event: keys, counters, gaps. */
const ENVELOPE_BYTES = 8 * 1024;
/** The lease outlives the deadline, so that only a lost attempt is ever taken over. */
const LEASE_MS = 2 * CALLBACK_DEADLINE_MS;

export interface DispatcherOptions {
  readonly store: Store;
  readonly book: Book;
  readonly clock: Clock;
  readonly random: Random;
  readonly egress: Egress;
  readonly sealer: Sealer;
  readonly log: Log;
  readonly meter: Meter;
  /** Attempts in flight at once, over all subscriptions. */
  readonly concurrency: number;
  readonly batchEvents?: number;
}

export class Dispatcher {
  readonly #o: DispatcherOptions;
  /** Rows with work that wait for a free place. */
  readonly #waiting = new Set<number>();
  /** Rows whose log is being read from the store. */
  readonly #reading = new Set<number>();
  #inFlight = 0;
  #closing = false;
  #drained: (() => void)[] = [];

  constructor(options: DispatcherOptions) {
    this.#o = options;
  }

  get inFlight(): number { return this.#inFlight; }

  /** There may be something to deliver. Claims in this very turn when the log's end is in memory. */
  pump(held: Held): void {
    if (this.#closing || this.#reading.has(held.row)) return;
    if (!deliverable(held.state, this.#o.clock.now())) return;
    if (this.#inFlight >= this.#o.concurrency) {
      this.#waiting.add(held.row);
      return;
    }
    const limits = this.#limits(held);
    const range = readTail(held, held.state.acked, limits);
    if (range === null) {
      this.#reading.add(held.row);
      // What the store can show is what is committed, so wait for this turn's commit.
      this.#o.book.afterCommit(() => void this.#pumpFromStore(held.row));
      return;
    }
    if (range.last > range.after) this.#claim(held, range);
  }

  async #pumpFromStore(row: number): Promise<void> {
    const { book, store, log } = this.#o;
    try {
      const before = await book.one(row);
      if (before === undefined || before.ended) return;
      const limits = this.#limits(before);
      const { acked, epoch } = before.state;
      const entries: readonly ReadEntry[] = await readStore(store, before, acked, limits);
      const held = book.peek(row);
      if (held === undefined) return;
      this.#reading.delete(row);
      // Another drain may have acknowledged meanwhile, or the epoch may have changed: then read again.
      if (held.state.acked !== acked || held.state.epoch !== epoch) { this.pump(held); return; }
      if (!deliverable(held.state, this.#o.clock.now())) return;
      const range = rangeOf(held.state, acked, entries, limits);
      if (range.last > range.after) this.#claim(held, range);
    } catch (cause) {
      log.error({ row, cause }, 'reading a log for a callback failed; it is tried again when something is due');
    } finally {
      this.#reading.delete(row);
    }
  }

  #limits(held: Held): ReadLimits {
    const most = this.#o.batchEvents ?? CALLBACK_BATCH_EVENTS;
    return { events: Math.min(held.state.batchLimit ?? most, most), bytes: CALLBACK_BODY_BYTES_MAX - ENVELOPE_BYTES };
  }

  #claim(held: Held, range: Range): void {
    const { attempt } = this.#o.book.step(held, { type: 'claim', to: range.last, events: range.events.length, first: range.sequences[0] ?? null, leaseMs: LEASE_MS }).subscription;
    if (attempt === null) return;
    this.#inFlight += 1;
    let started = false;
    // Nobody is sent a number before it, and the claim, are on disk.
    this.#o.book.afterCommit(() => { started = true; void this.#attempt(held.row, attempt, range); });
    void this.#o.book.commit().catch(() => { if (!started) this.#free(); });
  }

  /** An empty delivery that asks nothing but an answer. */
  probe(held: Held): void {
    if (this.#closing || held.state.attempt !== null || held.state.callback === null) return;
    this.#claim(held, emptyRange(held.state.acked));
  }

  async #attempt(row: number, attempt: Attempt, range: Range): Promise<void> {
    const { book, clock, egress, sealer, log, meter, random } = this.#o;
    const startedAt = clock.now();
    try {
      const held = await book.one(row);
      const callback = held?.state.callback ?? null;
      // Voided while its commit was written: the callback was replaced, or the subscription ended.
      if (held === undefined || callback === null || held.state.attempt?.id !== attempt.id) return;
      const sealed = await sealer.seal(held.state, callback, deliveryOf(held.state, range), range);
      const result = await egress.post({ url: callback.url, headers: sealed.headers, body: sealed.body, deadlineMs: CALLBACK_DEADLINE_MS });
      const outcome = outcomeOf(result, range, clock.now());
      meter.count('triggers_attempts_total', 1, { outcome: outcome.kind });
      meter.observe('triggers_attempt_seconds', (clock.now() - startedAt) / 1000);
      if (outcome.kind === 'acked') meter.count('triggers_events_delivered_total', range.events.length, { drain: 'callback' });
      else log.debug({ subscriptionId: held.state.subscriptionId, outcome: outcome.kind, status: result.kind === 'response' ? result.status : undefined }, 'a callback attempt failed');
      await this.#settle(row, attempt, outcome, random.uniform());
    } catch (cause) {
      // The lease runs out and the ordinary tick takes over; nothing is lost.
      log.error({ row, cause }, 'a callback attempt could not be settled; its lease will run out');
    } finally {
      this.#free();
    }
  }

  async #settle(row: number, attempt: Attempt, outcome: Outcome, jitter: number): Promise<void> {
    const { book } = this.#o;
    const held = await book.one(row);
    if (held === undefined || held.ended) return;
    // The place is free before the step, so that its `ready` can claim the next range into the same commit.
    this.#inFlight -= 1;
    try {
      book.step(held, { type: 'answer', attempt: attempt.id, outcome, jitter });
    } finally {
      this.#inFlight += 1;
    }
    await book.commit();
  }

  #free(): void {
    this.#inFlight -= 1;
    if (this.#closing) {
      if (this.#inFlight === 0) for (const done of this.#drained.splice(0)) done();
      return;
    }
    for (const row of this.#waiting) {
      if (this.#inFlight >= this.#o.concurrency) break;
      this.#waiting.delete(row);
      const held = this.#o.book.peek(row);
      if (held !== undefined) this.pump(held);
      else void this.#o.book.one(row).then((loaded) => { if (loaded !== undefined) this.pump(loaded); }, (cause) => this.#o.log.error({ row, cause }, 'a waiting callback could not be loaded'));
    }
  }

  /** The last word on a callback: one best-effort POST, outside the log. */
  async farewell(state: Held['state'], reason: NonNullable<Held['state']['terminated']>['reason']): Promise<void> {
    const { callback } = state;
    if (callback === null || this.#closing) return;
    const range = emptyRange(state.acked);
    const sealed = await this.#o.sealer.seal(state, callback, deliveryOf(state, range, { terminated: { reason } }), range);
    await this.#o.egress.post({ url: callback.url, headers: sealed.headers, body: sealed.body, deadlineMs: CALLBACK_DEADLINE_MS });
  }

  /** Starts no more attempts; resolves when those in flight are settled or after `patienceMs`. */
  async close(patienceMs: number): Promise<void> {
    this.#closing = true;
    if (this.#inFlight === 0) return;
    await new Promise<void>((resolve) => {
      const cancel = this.#o.clock.after(patienceMs, resolve);
      this.#drained.push(() => { cancel(); resolve(); });
    });
  }
}

/** What an endpoint's answer to this range means. */
export function outcomeOf(result: OutboundResult, range: Pick<Range, 'after' | 'last'>, now: number): Outcome {
  if (result.kind === 'failure') return classifyFailure(result.category);
  const { status, contentType, retryAfter } = result;
  const body = status >= 200 && status < 300 ? parse(result.body) : undefined;
  return classifyAnswer({ status, contentType, retryAfter, body, now }, { after: range.after, to: range.last });
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
