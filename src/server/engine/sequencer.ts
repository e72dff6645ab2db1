/**
 * Accept, then number. One group commit makes events durable in the accept log, and the upstream's answer depends on that
 * alone. Numbering follows in the order of acceptance: in the same commit while the matches are few, in bounded chunks from
 * a durable checkpoint when they are many, so that one event to ten thousand subscriptions blocks nobody (SEP: The log).
 */
import { MatchIndex } from '../../protocol/core/index.ts';
import type { Selection, Subscription } from '../../protocol/core/types.ts';
import { encodeEvent } from '../../protocol/wire/envelope.ts';
import { LocalError } from '../../protocol/wire/errors.ts';
import { EVENT_BYTES_MAX } from '../../protocol/wire/limits.ts';
import type { UnitOfWork, LoadedSubscription } from './unit-of-work.ts';
import type { Catalog } from './catalog.ts';
import type { AcceptedEvent, Checkpoint, ReadEntry, Store } from '../store/port.ts';
import type { Clock } from '../../protocol/lib/clock.ts';
import type { Log, Meter, Random } from './ports.ts';
import type { Accepted, NewEvent } from './verbs.ts';

/** Entries numbered in one commit. A batch with more matches is accepted first and numbered in chunks of this size. */
const CHUNK = 1024;
/** Events accepted in one commit. */
const INTAKE = 1000;
/** Most entries, and most bytes, kept in memory for one subscription. */
const TAIL_ENTRIES = 512;
const TAIL_BYTES = 2 * 1024 * 1024;
/** How long numbering rests after it could not read the store. */
const RETRY_MS = 1000;

/** As the schema has it. */
const EVENT_ID_CHARS_MAX = 256;

interface PendingEvent {
  readonly name: string;
  readonly eventId: string;
  readonly encoded: string;
  readonly data: unknown;
  resolve(accepted: Accepted): void;
  reject(cause: unknown): void;
}

export interface SequencerOptions {
  readonly store: Store;
  readonly unitOfWork: UnitOfWork;
  readonly catalog: Catalog;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Log;
  readonly meter: Meter;
  /** Most entries numbered in one commit; default 1024. */
  readonly chunk?: number;
  /** Why no event can be accepted just now, or null. */
  refusal(): LocalError | null;
}

export class Sequencer {
  readonly #o: SequencerOptions;
  readonly #chunk: number;
  readonly #index = new MatchIndex();
  /** Takes back what the index was told and the disk does not hold yet, newest last. */
  readonly #undo: (() => void)[] = [];
  /** Grows with every rollback: who has awaited something sees that what it knew is void. */
  #generation = 0;
  #closed = false;
  /** Redacted while numbering was behind. */
  readonly #withdrawn = new Set<number>();
  #arrivals: PendingEvent[] = [];
  #taking = false;
  #sequencer = false;
  #lastOffset = 0;
  /** The last offset on disk. */
  #durableOffset = 0;
  #checkpoint: Checkpoint = { offset: 0, row: 0 };
  /** The checkpoint on disk. */
  #durable: Checkpoint = { offset: 0, row: 0 };
  /** Entries made since the last commit of the catch-up. */
  #entered = 0;
  #idle: { resolve(): void; reject(cause: unknown): void }[] = [];
  /** Run when everything accepted is numbered, if only for this turn. */
  #level: (() => void)[] = [];
  #stopped: (() => void)[] = [];

  constructor(options: SequencerOptions) {
    this.#o = options;
    this.#chunk = options.chunk ?? CHUNK;
  }

  /** Offset of the newest accepted event; a new subscription starts after it. */
  get lastOffset(): number {
    return this.#lastOffset;
  }
  /** Accepted events not yet numbered everywhere. */
  get lag(): number {
    return this.#lastOffset - this.#checkpoint.offset;
  }

  /** Takes up where the store stands, and finishes what was accepted but not numbered. */
  start(lastOffset: number, checkpoint: Checkpoint): void {
    this.#lastOffset = lastOffset;
    this.#durableOffset = lastOffset;
    this.#checkpoint = checkpoint;
    this.#durable = checkpoint;
    this.resume();
  }

  emit(event: NewEvent): Promise<Accepted> {
    const refused = this.#o.refusal();
    if (refused !== null) return Promise.reject(refused);
    this.#o.catalog.payload(event.name, event.data);
    const eventId = event.eventId ?? this.#o.random.token(16);
    if (eventId.length < 1 || eventId.length > EVENT_ID_CHARS_MAX)
      throw new LocalError(
        'payload_invalid',
        `the event's eventId must have 1 to ${EVENT_ID_CHARS_MAX} characters: hash a longer one`,
      );
    const timestamp = instantOf(event.timestamp, this.#o.clock.now());
    const encoded = encodeEvent({ eventId, name: event.name, timestamp, data: event.data });
    return new Promise((resolve, reject) => {
      this.#arrivals.push({
        name: event.name,
        eventId,
        encoded,
        data: event.data,
        resolve,
        reject,
      });
      if (!this.#taking) {
        this.#taking = true;
        // What arrives in this turn is accepted together.
        setImmediate(() => void this.#take());
      }
    });
  }

  /** Resolves when everything accepted so far is numbered. Rejects with `LocalError` `closed`. */
  settled(): Promise<void> {
    if (this.#closed) return Promise.reject(closed());
    if (!this.#taking && !this.#sequencer && this.lag === 0) return Promise.resolve();
    return new Promise((resolve, reject) => this.#idle.push({ resolve, reject }));
  }

  /**
   * Resolves at a moment when no event waits for its numbers. What changes who matches must come then, in the same turn: an event
   * belongs to those who followed it when it was accepted.
   */
  async level(): Promise<void> {
    while (this.lag > 0) {
      if (this.#closed) throw closed();
      await new Promise<void>((resolve) => this.#level.push(resolve));
    }
  }

  /** A row as the store has it. */
  load(row: number, select: readonly Selection[]): void {
    this.#index.add(row, select);
  }

  /** From now on a row follows this; null = nothing any more. `before` is what it followed, for when the commit of this turn fails. */
  follow(
    row: number,
    select: readonly Selection[] | null,
    before: readonly Selection[] | null,
  ): void {
    const enter = (what: readonly Selection[] | null): void =>
      what === null ? this.#index.remove(row) : this.#index.add(row, what);
    enter(select);
    const undo = (): void => enter(before);
    this.#undo.push(undo);
    this.#o.unitOfWork.afterCommit(() => void this.#undo.splice(this.#undo.indexOf(undo), 1));
  }

  /** Accepts and numbers nothing more; resolves when what is under way is on disk. What is not numbered yet is at the next start. */
  async close(): Promise<void> {
    this.#closed = true;
    if (this.#taking || this.#sequencer)
      await new Promise<void>((resolve) => this.#stopped.push(resolve));
    for (const { reject } of this.#idle.splice(0)) reject(closed());
    for (const resolve of this.#level.splice(0)) resolve();
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

  async #accept(arrivals: readonly PendingEvent[]): Promise<void> {
    const { unitOfWork, store, clock, meter } = this.#o;
    const known = await store.known(arrivals);
    const seen = new Set<string>();
    const duplicate = arrivals.map((arrival, at) => {
      const identity = `${arrival.name}\n${arrival.eventId}`;
      if (known[at] !== null || seen.has(identity)) return true;
      seen.add(identity);
      return false;
    });
    const fresh = arrivals.filter((_, at) => duplicate[at] === false);
    const likely = fresh.map((arrival) => this.#match(arrival.name, arrival.data));
    if (this.#fits(likely)) await unitOfWork.load(rowsOf(likely));
    // From here to the commit nothing is awaited, so matching again sees exactly the subscriptions that exist.
    const plan = fresh.map((arrival) => this.#match(arrival.name, arrival.data));
    const inline =
      this.lag === 0 &&
      !this.#sequencer &&
      this.#fits(plan) &&
      rowsOf(plan).every((row) => unitOfWork.get(row) !== undefined);
    const acceptedAt = clock.now();
    fresh.forEach((arrival, at) => {
      this.#lastOffset += 1;
      const event: AcceptedEvent = {
        offset: this.#lastOffset,
        name: arrival.name,
        eventId: arrival.eventId,
        acceptedAt,
        encoded: arrival.encoded,
      };
      unitOfWork.write({ type: 'event', event });
      if (inline)
        for (const row of plan[at]!) this.#appendTo(unitOfWork.get(row)!, event, arrival.data);
    });
    if (inline && fresh.length > 0) this.#moveTo({ offset: this.#lastOffset, row: 0 });
    const upTo = this.#lastOffset;
    unitOfWork.afterCommit(() => {
      this.#durableOffset = upTo;
    });
    await unitOfWork.commit();
    meter.count('triggers_events_accepted_total', fresh.length);
    meter.count('triggers_events_duplicate_total', arrivals.length - fresh.length);
    arrivals.forEach((arrival, at) =>
      arrival.resolve({ eventId: arrival.eventId, duplicate: duplicate[at] === true }),
    );
    if (this.lag > 0) this.#number();
  }

  /** Few enough to be numbered in the commit that accepts them. */
  #fits(plan: readonly (readonly number[])[]): boolean {
    return plan.reduce((sum, rows) => sum + rows.length, 0) <= this.#chunk;
  }

  /** Gives an event of the past its number in a log that has just been created with `since`. */
  replay(loaded: LoadedSubscription, event: AcceptedEvent): void {
    const data = dataOf(event);
    const scratch = new MatchIndex();
    scratch.add(loaded.row, loaded.state.select);
    if (
      scratch.match(event.name, (argument) => this.#attribute(event.name, argument, data)).length >
      0
    )
      this.#enter(loaded, event, data);
  }

  #appendTo(loaded: LoadedSubscription, event: AcceptedEvent, data: unknown): void {
    if (!loaded.ended && loaded.createdOffset < event.offset) this.#enter(loaded, event, data);
  }

  /** Gives one event its number in one log. */
  #enter(loaded: LoadedSubscription, event: AcceptedEvent, data: unknown): void {
    if (!this.#accepts(loaded.state, event.name, data)) return;
    const { unitOfWork } = this.#o;
    const gap =
      event.encoded === null ? 'redacted' : fitsDelivery(event.encoded) ? null : 'too_large';
    const sequence = loaded.state.head + 1;
    const entry: ReadEntry = {
      sequence,
      offset: event.offset,
      gap,
      encoded: gap === null ? event.encoded : null,
      acceptedAt: event.acceptedAt,
    };
    remember(loaded, entry);
    unitOfWork.write({
      type: 'entry',
      row: loaded.row,
      entry: { sequence, offset: event.offset, gap },
    });
    const { refused } = unitOfWork.step(loaded, {
      type: 'append',
      count: 1,
      acceptedAt: event.acceptedAt,
    });
    if (refused !== undefined)
      throw new Error('a subscription that has ended was still in the match index');
  }

  #match(name: string, data: unknown): number[] {
    const values = new Map<string, unknown>();
    return this.#index.match(name, (argument) => {
      if (!values.has(argument)) values.set(argument, this.#attribute(name, argument, data));
      return values.get(argument);
    });
  }

  #attribute(name: string, argument: string, data: unknown): unknown {
    try {
      return this.#o.catalog.attribute(name, argument, data);
    } catch (cause) {
      this.#o.log.warn(
        { trigger: name, argument, err: cause },
        'reading an attribute failed; the event matches no subscription that filters by it',
      );
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
        this.#o.log.warn(
          { trigger: name, err: cause },
          'a match predicate failed; the event does not match',
        );
        return false;
      }
    });
  }

  #moveTo(checkpoint: Checkpoint): void {
    this.#checkpoint = checkpoint;
    this.#levelled();
    this.#o.unitOfWork.write({ type: 'checkpoint', checkpoint });
    this.#o.unitOfWork.afterCommit(() => {
      this.#durable = checkpoint;
    });
  }

  /** A commit failed and memory was thrown away: go on from where the disk is. */
  rollback(): void {
    this.#generation += 1;
    this.#checkpoint = this.#durable;
    // Offsets that were not written are used again. A log created meanwhile must not start after events that never were.
    this.#lastOffset = this.#durableOffset;
    this.#entered = 0;
    for (const undo of this.#undo.splice(0).reverse()) undo();
    this.#levelled();
  }

  /** An event's data was redacted: it may be on its way from the accept log to the logs. */
  withdraw(offset: number): void {
    if (offset > this.#checkpoint.offset) this.#withdrawn.add(offset);
  }

  #levelled(): void {
    if (this.lag === 0) for (const resolve of this.#level.splice(0)) resolve();
  }

  /** Numbers what was accepted and is not numbered yet, in order. */
  resume(): void {
    if (this.lag > 0) this.#number();
    else this.#rest();
  }

  #number(): void {
    if (this.#sequencer || this.#closed) return;
    this.#sequencer = true;
    void this.#catchUp().then(
      () => {
        this.#sequencer = false;
        this.#rest();
      },
      (cause) => {
        this.#sequencer = false;
        this.#rest();
        this.#o.log.error({ err: cause }, 'numbering stopped; it is tried again');
        this.#o.clock.after(RETRY_MS, () => this.resume());
      },
    );
  }

  async #catchUp(): Promise<void> {
    const { unitOfWork, store } = this.#o;
    while (this.lag > 0 && !this.#closed) {
      const upTo = this.#lastOffset;
      await unitOfWork.commit();
      const life = this.#generation;
      const events = await store.accepted(this.#checkpoint.offset, 64);
      for (const event of events) {
        if (this.#closed || life !== this.#generation || !(await this.#numberOne(event, life)))
          break;
      }
      if (life !== this.#generation) continue;
      // Offsets without an event hold nothing to number; waiting for one would be for ever.
      if (events.length === 0) this.#moveTo({ offset: upTo, row: 0 });
      await unitOfWork.commit();
    }
    this.#withdrawn.clear();
  }

  /**
   * Numbers one event everywhere; commits after each chunk, the last (or only) one together with its neighbours. False when it
   * had to stop on the way: a failed commit took back what was numbered before, or the engine is closing.
   */
  async #numberOne(event: AcceptedEvent, life: number): Promise<boolean> {
    const { unitOfWork } = this.#o;
    const data = dataOf(event);
    for (;;) {
      const after = this.#checkpoint.row;
      const likely = this.#match(event.name, data)
        .filter((row) => row > after)
        .slice(0, this.#chunk);
      await unitOfWork.load(likely);
      if (life !== this.#generation || this.#closed) return false;
      // From here to the commit nothing is awaited. Who came while rows were loaded has no right to this event; who left is not here.
      const rows = this.#match(event.name, data).filter((row) => row > after);
      const last = rows.length <= this.#chunk;
      const chunk = rows.slice(0, this.#chunk);
      if (chunk.some((row) => unitOfWork.get(row) === undefined && !likely.includes(row))) continue;
      for (const row of chunk) {
        const loaded = unitOfWork.get(row);
        if (loaded !== undefined)
          this.#appendTo(
            loaded,
            this.#withdrawn.has(event.offset) ? { ...event, encoded: null } : event,
            data,
          );
      }
      this.#entered += chunk.length;
      this.#moveTo(
        last
          ? { offset: event.offset, row: 0 }
          : { offset: this.#checkpoint.offset, row: chunk.at(-1)! },
      );
      if (last && this.#entered < this.#chunk) return true;
      this.#entered = 0;
      await unitOfWork.commit();
      // Answers, pulls and other events have their turn between chunks.
      await new Promise((resolve) => setImmediate(resolve));
      if (last) return true;
      if (life !== this.#generation || this.#closed) return false;
    }
  }

  #rest(): void {
    if (!this.#taking && !this.#sequencer) for (const resolve of this.#stopped.splice(0)) resolve();
    if (this.#taking || this.#sequencer || this.lag > 0) return;
    for (const { resolve } of this.#idle.splice(0)) resolve();
  }
}

/** Keeps a new entry in memory while somebody drains the log as it grows; a long tail is left to the store. */
function remember(loaded: LoadedSubscription, entry: ReadEntry): void {
  const { state } = loaded;
  const drained = state.callback !== null || loaded.listeners > 0;
  if (loaded.tail === null && drained && state.head === Math.max(state.acked, state.floor))
    loaded.tail = [];
  if (loaded.tail === null) return;
  const size = entry.encoded?.length ?? 0;
  if (!drained || loaded.tail.length >= TAIL_ENTRIES || loaded.tailBytes + size > TAIL_BYTES) {
    loaded.tail = null;
    loaded.tailBytes = 0;
    return;
  }
  loaded.tail.push(entry);
  loaded.tailBytes += size;
}

const closed = (): LocalError =>
  new LocalError(
    'closed',
    'the engine is closed: accepted events are numbered when it starts again',
  );

const rowsOf = (plan: readonly (readonly number[])[]): number[] => [...new Set(plan.flat())];

/** UTF-8 has at most three bytes for each UTF-16 unit, so most events need no count. */
const fitsDelivery = (encoded: string): boolean =>
  encoded.length * 3 <= EVENT_BYTES_MAX || Buffer.byteLength(encoded) <= EVENT_BYTES_MAX;

const dataOf = (event: AcceptedEvent): unknown =>
  event.encoded === null ? null : (JSON.parse(event.encoded) as { data: unknown }).data;

function instantOf(given: number | string | undefined, now: number): string {
  const at = given === undefined ? now : typeof given === 'number' ? given : Date.parse(given);
  if (!Number.isFinite(at) || Math.abs(at) > 8.64e15)
    throw new LocalError(
      'payload_invalid',
      "the event's timestamp must be epoch milliseconds or an RFC 3339 instant",
    );
  return new Date(at).toISOString();
}
