/**
 * The stream and pull drains: readers that wait. A stream sends what its credit allows, then waits for an acknowledgement, a
 * new number, or the next heartbeat; a long poll waits once. One timer serves them all (SEP: Stream, Pull).
 */
import type { TerminationReason } from '../core/types.ts';
import { STREAM_HEARTBEAT_MS, STREAM_STALLED_MS } from '../wire/limits.ts';
import type { Book, Held } from './book.ts';
import type { Clock, Meter, Store } from './ports.ts';
import { deliveryOf, emptyRange, rangeOf, readStore, readTail, type Range, type ReadLimits } from './reader.ts';
import type { StreamSink } from './verbs.ts';

/** How often heartbeats and stalls are looked at: the precision of both. */
const LOOK_MS = 1000;

export interface Window { readonly events: number; readonly bytes: number }

/** Something that waits for news of one subscription. */
interface Listener {
  /** There may be something new. */
  wake(): void;
  /** Configuration or status changed: worth an empty delivery. */
  announce(): void;
  ended(reason: TerminationReason): void;
  /** The server is going away. */
  close(): void;
  /** The clock ticked. */
  look(now: number): void;
}

export interface StreamsOptions {
  readonly store: Store;
  readonly book: Book;
  readonly clock: Clock;
  readonly meter: Meter;
  readonly heartbeatMs?: number;
  readonly stalledMs?: number;
}

/** What is sent on one stream and not acknowledged yet. */
class Credit {
  readonly #window: Window;
  readonly #sent: { readonly sequence: number; readonly bytes: number }[] = [];
  #bytes = 0;

  constructor(window: Window) { this.#window = window; }

  get idle(): boolean { return this.#sent.length === 0; }
  get full(): boolean { return this.#sent.length >= this.#window.events || this.#bytes >= this.#window.bytes; }
  get room(): ReadLimits {
    return { events: this.#window.events - this.#sent.length, bytes: this.#window.bytes - this.#bytes };
  }
  /** Whether the first event of a range would burst the window. With nothing in flight, one event always may, however large. */
  bursts(range: Range): boolean {
    const first = range.events[0];
    return first !== undefined && !this.idle && this.#bytes + Buffer.byteLength(first) > this.#window.bytes;
  }

  spend(range: Range): void {
    range.sequences.forEach((sequence, at) => {
      const bytes = Buffer.byteLength(range.events[at]!);
      this.#sent.push({ sequence, bytes });
      this.#bytes += bytes;
    });
  }

  /** Returns whether anything came back. */
  settle(acked: number): boolean {
    let count = 0;
    while (count < this.#sent.length && this.#sent[count]!.sequence <= acked) {
      this.#bytes -= this.#sent[count]!.bytes;
      count += 1;
    }
    this.#sent.splice(0, count);
    return count > 0;
  }
}

export class Streams {
  readonly #o: StreamsOptions;
  readonly #listeners = new Map<number, Set<Listener>>();
  #open = 0;
  #looking: (() => void) | null = null;
  #closed = false;

  constructor(options: StreamsOptions) {
    this.#o = options;
  }

  get open(): number { return this.#open; }

  wake(row: number): void { for (const one of this.#listeners.get(row) ?? []) one.wake(); }
  announce(row: number): void { for (const one of this.#listeners.get(row) ?? []) one.announce(); }
  ended(row: number, reason: TerminationReason): void { for (const one of [...(this.#listeners.get(row) ?? [])]) one.ended(reason); }
  /** After a failed commit memory was thrown away: everybody looks again. */
  wakeAll(): void { for (const row of this.#listeners.keys()) this.wake(row); }

  close(): void {
    this.#closed = true;
    for (const all of this.#listeners.values()) for (const one of [...all]) one.close();
    this.#looking?.();
    this.#looking = null;
  }

  #add(held: Held, listener: Listener): () => void {
    const { row } = held;
    const all = this.#listeners.get(row) ?? new Set();
    all.add(listener);
    this.#listeners.set(row, all);
    held.listeners = all.size;
    this.#open += 1;
    this.#look();
    return () => {
      if (!all.delete(listener)) return;
      this.#open -= 1;
      if (all.size === 0) this.#listeners.delete(row);
      const now = this.#o.book.peek(row);
      if (now !== undefined) now.listeners = all.size;
    };
  }

  /** One timer for all streams and polls, running only while there are any. */
  #look(): void {
    if (this.#looking !== null || this.#closed) return;
    this.#looking = this.#o.clock.after(LOOK_MS, () => {
      this.#looking = null;
      const now = this.#o.clock.now();
      for (const all of this.#listeners.values()) for (const one of [...all]) one.look(now);
      if (this.#open > 0) this.#look();
    });
  }

  /** Waits for news, at most until `until`. Resolves at once when the signal has fired. */
  wait(held: Held, until: number, signal?: AbortSignal): Promise<void> {
    if (signal?.aborted === true || this.#closed) return Promise.resolve();
    return new Promise((resolve) => {
      const done = (): void => { remove(); signal?.removeEventListener('abort', done); cancel(); resolve(); };
      const remove = this.#add(held, { wake: done, announce: () => undefined, ended: done, close: done, look: () => undefined });
      const cancel = this.#o.clock.after(until - this.#o.clock.now(), done);
      signal?.addEventListener('abort', done, { once: true });
    });
  }

  /** Runs one stream until it ends. `after` is where the client stands. */
  async run(row: number, after: number, window: Window, sink: StreamSink, signal: AbortSignal): Promise<void> {
    const { book, clock, meter } = this.#o;
    const first = await book.one(row);
    if (first === undefined) return;
    const heartbeatMs = this.#o.heartbeatMs ?? STREAM_HEARTBEAT_MS;
    const stalledMs = this.#o.stalledMs ?? STREAM_STALLED_MS;
    const credit = new Credit(window);
    const { epoch } = first.state;
    let cursor = after;
    let speak = true; // the first message goes out at once
    let stop = signal.aborted || this.#closed;
    let reason: TerminationReason | null = null;
    let last = first.state;
    let sentAt = clock.now();
    let progressAt = clock.now();
    let blocked = false;
    let ring: (() => void) | null = null;
    let rung = false;
    const wake = (): void => { rung = true; ring?.(); };
    const abort = (): void => { stop = true; wake(); };
    const remove = this.#add(first, {
      wake,
      announce: () => { speak = true; wake(); },
      ended: (why) => { reason = why; wake(); },
      close: abort,
      look: (now) => {
        if (now - sentAt >= heartbeatMs) { speak = true; wake(); }
        // A full window without an acknowledgement: the reader stopped reading, or forgot to say so. Its log waits.
        if (blocked && now - progressAt >= stalledMs) abort();
      },
    });
    signal.addEventListener('abort', abort, { once: true });
    try {
      while (!stop) {
        rung = false;
        const held = await book.one(row);
        if (held === undefined || held.ended) {
          if (reason !== null && !stop) await this.#send(sink, deliveryOf(last, emptyRange(cursor), { terminated: { reason } }));
          return;
        }
        // Numbers of the old epoch mean nothing now; the client comes back, is told, and starts anew.
        if (held.state.epoch !== epoch) return;
        last = held.state;
        held.listeners = this.#listeners.get(row)?.size ?? 0;
        if (credit.settle(held.state.acked)) progressAt = clock.now();
        const next = credit.full ? emptyRange(cursor) : await this.#next(row, cursor, credit.room);
        if (next === null) continue;
        const range = credit.bursts(next) ? emptyRange(cursor) : next;
        blocked = range.last === cursor && cursor < held.state.head;
        if (range.last > cursor) {
          const now = book.peek(row);
          if (now === undefined || now.ended || now.state.epoch !== epoch) continue;
          // On disk first that these were sent, so that an acknowledgement is never above it, also after a crash.
          book.step(now, { type: 'drain', to: range.last, resume: false });
          await book.commit();
          if (stop) break;
          cursor = range.last;
          credit.spend(range);
          progressAt = clock.now();
          speak = false;
          sentAt = clock.now();
          last = book.peek(row)?.state ?? now.state;
          await this.#send(sink, deliveryOf(last, range));
          meter.count('triggers_events_delivered_total', range.events.length, { drain: 'stream' });
          continue;
        }
        if (speak) {
          speak = false;
          sentAt = clock.now();
          await this.#send(sink, deliveryOf(last, emptyRange(cursor)));
          continue;
        }
        if (!rung && !stop) await new Promise<void>((resolve) => { ring = resolve; });
        ring = null;
      }
    } finally {
      remove();
      signal.removeEventListener('abort', abort);
    }
  }

  async #send(sink: StreamSink, json: string): Promise<void> {
    await sink.send({ json, params: JSON.parse(json) as object });
  }

  /** The next range after `cursor`; null when the subscription left memory meanwhile. */
  async #next(row: number, cursor: number, room: ReadLimits): Promise<Range | null> {
    const { book, store } = this.#o;
    const held = book.peek(row);
    if (held === undefined) return null;
    if (cursor >= held.state.head) return emptyRange(cursor);
    const fromTail = readTail(held, cursor, room);
    if (fromTail !== null) return fromTail;
    await book.commit();
    const before = book.peek(row);
    if (before === undefined) return null;
    const entries = await readStore(store, before, cursor, room);
    const now = book.peek(row);
    return now === undefined ? null : rangeOf(now.state, cursor, entries, room);
  }
}
