/**
 * Accept, then number. One group commit makes events durable in the accept log, and the upstream's answer depends on that
 * alone. Numbering follows in the order of acceptance: in the same commit while the matches are few, in bounded chunks from
 * a durable checkpoint when they are many, so that one event to ten thousand subscriptions blocks nobody (SEP: Log).
 */
import { MatchIndex } from '../core/index.ts';
import type { Subscription } from '../core/types.ts';
import { encodeEvent } from '../wire/envelope.ts';
import { LocalError } from '../wire/errors.ts';
import { EVENT_BYTES_MAX } from '../wire/limits.ts';
import type { Book, Held } from './book.ts';
import type { Catalog } from './catalog.ts';
import type { AcceptedEvent, Checkpoint, Clock, Log, Meter, Random, ReadEntry, Store } from './ports.ts';
import type { Accepted, NewEvent } from './verbs.ts';

/** Most entries numbered in one commit. A batch with more matches is accepted first and numbered in chunks of this size. */
const CHUNK = 1024;
/** Events accepted in one commit. */
const INTAKE = 1000;
/** Most entries, and most bytes, kept in memory for one subscription. */
const TAIL_ENTRIES = 512;
const TAIL_BYTES = 2 * 1024 * 1024;

interface Arrival {
  readonly name: string;
  readonly eventId: string;
  readonly encoded: string;
  readonly data: unknown;
  resolve(accepted: Accepted): void;
  reject(cause: unknown): void;
}

export interface NumberingOptions {
  readonly store: Store;
  readonly book: Book;
  readonly catalog: Catalog;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Log;
  readonly meter: Meter;
  /** Why no event can be accepted just now, or null. */
  refusal(): LocalError | null;
}

export class Numbering {
  readonly #o: NumberingOptions;
  readonly index = new MatchIndex();
  #arrivals: Arrival[] = [];
  #taking = false;
  #numbering = false;
  #lastOffset = 0;
  #checkpoint: Checkpoint = { offset: 0, row: 0 };
  /** The checkpoint on disk. */
  #durable: Checkpoint = { offset: 0, row: 0 };
  /** Entries made since the last commit of the catch-up. */
  #entered = 0;
  #idle: (() => void)[] = [];

  constructor(options: NumberingOptions) {
    this.#o = options;
  }

  /** Offset of the newest accepted event; a new subscription starts after it. */
  get lastOffset(): number { return this.#lastOffset; }
  /** Accepted events not yet numbered everywhere. */
  get lag(): number { return this.#lastOffset - this.#checkpoint.offset; }

  /** Takes up where the store stands, and finishes what was accepted but not numbered. */
  start(lastOffset: number, checkpoint: Checkpoint): void {
    this.#lastOffset = lastOffset;
    this.#checkpoint = checkpoint;
    this.#durable = checkpoint;
    this.resume();
  }

  emit(event: NewEvent): Promise<Accepted> {
    const refused = this.#o.refusal();
    if (refused !== null) return Promise.reject(refused);
    this.#o.catalog.payload(event.name, event.data);
    const eventId = event.eventId ?? this.#o.random.token(16);
    const timestamp = instantOf(event.timestamp, this.#o.clock.now());
    const encoded = encodeEvent({ eventId, name: event.name, timestamp, data: event.data });
    return new Promise((resolve, reject) => {
      this.#arrivals.push({ name: event.name, eventId, encoded, data: event.data, resolve, reject });
      if (!this.#taking) {
        this.#taking = true;
        // What arrives in this turn is accepted together.
        setImmediate(() => void this.#take());
      }
    });
  }

  /** Resolves when everything accepted so far is numbered. */
  settled(): Promise<void> {
    if (!this.#taking && !this.#numbering && this.lag === 0) return Promise.resolve();
    return new Promise((resolve) => this.#idle.push(resolve));
  }

  async #take(): Promise<void> {
    while (this.#arrivals.length > 0) {
      const arrivals = this.#arrivals.splice(0, INTAKE);
      try {
        await this.#accept(arrivals);
      } catch (cause) {
        for (const arrival of arrivals) arrival.reject(cause);
      }
    }
    this.#taking = false;
    this.#rest();
  }

  async #accept(arrivals: readonly Arrival[]): Promise<void> {
    const { book, store, clock, meter } = this.#o;
    const known = await store.known(arrivals);
    const seen = new Set<string>();
    const duplicate = arrivals.map((arrival, at) => {
      const identity = `${arrival.name}\n${arrival.eventId}`;
      if (known[at] !== null || seen.has(identity)) return true;
      seen.add(identity);
      return false;
    });
    const fresh = arrivals.filter((_, at) => duplicate[at] === false);
    await book.hold(rowsOf(fresh.map((arrival) => this.#match(arrival.name, arrival.data))));
    // From here to the commit nothing is awaited, so matching again sees exactly the subscriptions that exist.
    const plan = fresh.map((arrival) => this.#match(arrival.name, arrival.data));
    const inline = this.lag === 0 && !this.#numbering && fits(plan) && rowsOf(plan).every((row) => book.peek(row) !== undefined);
    const acceptedAt = clock.now();
    fresh.forEach((arrival, at) => {
      this.#lastOffset += 1;
      const event: AcceptedEvent = { offset: this.#lastOffset, name: arrival.name, eventId: arrival.eventId, acceptedAt, encoded: arrival.encoded };
      book.write({ type: 'event', event });
      if (inline) for (const row of plan[at]!) this.#appendTo(book.peek(row)!, event, arrival.data);
    });
    if (inline && fresh.length > 0) this.#moveTo({ offset: this.#lastOffset, row: 0 });
    await book.commit();
    meter.count('triggers_events_accepted_total', fresh.length);
    meter.count('triggers_events_duplicate_total', arrivals.length - fresh.length);
    arrivals.forEach((arrival, at) => arrival.resolve({ eventId: arrival.eventId, duplicate: duplicate[at] === true }));
    if (this.lag > 0) this.#number();
  }

  /** Gives an event of the past its number in a log that has just been created with `since`. */
  replay(held: Held, event: AcceptedEvent): void {
    const data = dataOf(event);
    const scratch = new MatchIndex();
    scratch.add(held.row, held.state.select);
    if (scratch.match(event.name, (argument) => this.#attribute(event.name, argument, data)).length > 0) this.#enter(held, event, data);
  }

  #appendTo(held: Held, event: AcceptedEvent, data: unknown): void {
    if (!held.ended && held.createdOffset < event.offset) this.#enter(held, event, data);
  }

  /** Gives one event its number in one log. */
  #enter(held: Held, event: AcceptedEvent, data: unknown): void {
    if (!this.#accepts(held.state, event.name, data)) return;
    const { book } = this.#o;
    const gap = event.encoded !== null && fitsDelivery(event.encoded) ? null : 'too_large';
    const sequence = held.state.head + 1;
    const entry: ReadEntry = { sequence, offset: event.offset, gap, encoded: gap === null ? event.encoded : null, acceptedAt: event.acceptedAt };
    remember(held, entry);
    book.write({ type: 'entry', row: held.row, entry: { sequence, offset: event.offset, gap } });
    const { refused } = book.step(held, { type: 'append', count: 1, acceptedAt: event.acceptedAt });
    if (refused !== undefined) throw new Error('a subscription that has ended was still in the match index');
  }

  #match(name: string, data: unknown): number[] {
    const values = new Map<string, unknown>();
    return this.index.match(name, (argument) => {
      if (!values.has(argument)) values.set(argument, this.#attribute(name, argument, data));
      return values.get(argument);
    });
  }

  #attribute(name: string, argument: string, data: unknown): unknown {
    try {
      return this.#o.catalog.attribute(name, argument, data);
    } catch (cause) {
      this.#o.log.warn({ trigger: name, argument, cause }, 'reading an attribute failed; the event matches no subscription that filters by it');
      return undefined;
    }
  }

  /** The trigger type's own predicate, where it has one. */
  #accepts(state: Subscription, name: string, data: unknown): boolean {
    const predicate = this.#o.catalog.predicate(name);
    if (predicate === undefined) return true;
    return state.select.some((selection) => {
      if (selection.name !== name) return false;
      try {
        return predicate(selection.arguments, data);
      } catch (cause) {
        this.#o.log.warn({ trigger: name, cause }, 'a match predicate failed; the event does not match');
        return false;
      }
    });
  }

  #moveTo(checkpoint: Checkpoint): void {
    this.#checkpoint = checkpoint;
    this.#o.book.write({ type: 'checkpoint', checkpoint });
    this.#o.book.afterCommit(() => { this.#durable = checkpoint; });
  }

  /** A commit failed and memory was thrown away: go on from where the disk is. */
  rollback(): void {
    this.#checkpoint = this.#durable;
  }

  /** Numbers what was accepted and is not numbered yet, in order. */
  resume(): void {
    if (this.lag > 0) this.#number();
    else this.#rest();
  }

  #number(): void {
    if (this.#numbering) return;
    this.#numbering = true;
    const over = (): void => { this.#numbering = false; };
    void this.#catchUp().then(() => { over(); this.#rest(); }, (cause) => {
      over();
      this.#o.log.error({ cause }, 'numbering stopped; it goes on as soon as the store accepts writes again');
    });
  }

  async #catchUp(): Promise<void> {
    const { book, store } = this.#o;
    while (this.lag > 0) {
      const upTo = this.#lastOffset;
      await book.commit();
      const events = await store.accepted(this.#checkpoint.offset, 64);
      if (events.length === 0) {
        // Offsets whose commit failed were never used: there is nothing behind them.
        this.#moveTo({ offset: upTo, row: 0 });
        await book.commit();
        continue;
      }
      for (const event of events) await this.#numberOne(event);
      await book.commit();
    }
  }

  /** Numbers one event everywhere; commits after each chunk, the last (or only) one together with its neighbours. */
  async #numberOne(event: AcceptedEvent): Promise<void> {
    const { book } = this.#o;
    const data = dataOf(event);
    for (;;) {
      const after = this.#checkpoint.row;
      const rows = this.#match(event.name, data).filter((row) => row > after);
      const chunk = rows.slice(0, CHUNK);
      await book.hold(chunk);
      for (const row of chunk) {
        const held = book.peek(row);
        if (held !== undefined) this.#appendTo(held, event, data);
      }
      this.#entered += chunk.length;
      if (rows.length <= CHUNK) {
        this.#moveTo({ offset: event.offset, row: 0 });
        if (this.#entered < CHUNK) return;
      } else {
        this.#moveTo({ offset: this.#checkpoint.offset, row: chunk.at(-1)! });
      }
      this.#entered = 0;
      await book.commit();
      // Answers, pulls and other events have their turn between chunks.
      await new Promise((resolve) => setImmediate(resolve));
      if (rows.length <= CHUNK) return;
    }
  }

  #rest(): void {
    if (this.#taking || this.#numbering || this.lag > 0) return;
    const idle = this.#idle;
    this.#idle = [];
    for (const run of idle) run();
  }
}

/** Keeps a new entry in memory while somebody drains the log as it grows; a long tail is left to the store. */
function remember(held: Held, entry: ReadEntry): void {
  const { state } = held;
  const drained = state.callback !== null || held.listeners > 0;
  if (held.tail === null && drained && state.head === Math.max(state.acked, state.floor)) held.tail = [];
  if (held.tail === null) return;
  const size = entry.encoded?.length ?? 0;
  if (!drained || held.tail.length >= TAIL_ENTRIES || held.tailBytes + size > TAIL_BYTES) {
    held.tail = null;
    held.tailBytes = 0;
    return;
  }
  held.tail.push(entry);
  held.tailBytes += size;
}

const rowsOf = (plan: readonly (readonly number[])[]): number[] => [...new Set(plan.flat())];

const fits = (plan: readonly (readonly number[])[]): boolean => plan.reduce((sum, rows) => sum + rows.length, 0) <= CHUNK;

/** UTF-8 has at most three bytes for each UTF-16 unit, so most events need no count. */
const fitsDelivery = (encoded: string): boolean => encoded.length * 3 <= EVENT_BYTES_MAX || Buffer.byteLength(encoded) <= EVENT_BYTES_MAX;

const dataOf = (event: AcceptedEvent): unknown => (event.encoded === null ? null : (JSON.parse(event.encoded) as { data: unknown }).data);

function instantOf(given: number | string | undefined, now: number): string {
  const at = given === undefined ? now : typeof given === 'number' ? given : Date.parse(given);
  if (!Number.isFinite(at) || Math.abs(at) > 8.64e15) throw new LocalError('payload_invalid', "the event's timestamp must be epoch milliseconds or an RFC 3339 instant");
  return new Date(at).toISOString();
}
