/**
 * The stream and pull drains: readers that wait. This is the register of who waits for news of which subscription; one timer
 * serves them all (SEP: Stream, Pull).
 */
import type { Subscription, TerminationReason } from '../../protocol/core/types.ts';
import { STREAM_HEARTBEAT_MS, STREAM_STALLED_MS } from '../../protocol/wire/limits.ts';
import type { UnitOfWork, LoadedSubscription } from '../engine/unit-of-work.ts';
import type { Clock } from '../../protocol/lib/clock.ts';
import type { Meter } from '../engine/ports.ts';
import type { Store } from '../store/port.ts';
import { Stream, type Ended, type Window } from './stream.ts';
import type { LogListener, StreamSink } from '../engine/verbs.ts';

/** How often heartbeats and stalls are looked at: the precision of both. */
const LOOK_MS = 1000;

/** Something that waits for news of one subscription. */
interface Listener {
  /** There may be something new. */
  wake(): void;
  /** Configuration or status changed: worth an empty delivery. */
  announce(): void;
  /** The subscription is over; `last` is how it ended. */
  ended(reason: TerminationReason, last: Subscription): void;
  /** The server is going away. */
  close(): void;
  /** The clock ticked; the next tick comes `everyMs` later. */
  look(now: number, everyMs: number): void;
}

export interface StreamsOptions {
  readonly store: Store;
  readonly unitOfWork: UnitOfWork;
  readonly clock: Clock;
  readonly meter: Meter;
  readonly heartbeatMs?: number;
  readonly stalledMs?: number;
}

export class Streams {
  readonly #o: StreamsOptions;
  readonly #heartbeatMs: number;
  readonly #stalledMs: number;
  readonly #lookMs: number;
  readonly #listeners = new Map<number, Set<Listener>>();
  #open = 0;
  #looking: (() => void) | null = null;
  #closed = false;

  constructor(options: StreamsOptions) {
    this.#o = options;
    this.#heartbeatMs = options.heartbeatMs ?? STREAM_HEARTBEAT_MS;
    this.#stalledMs = options.stalledMs ?? STREAM_STALLED_MS;
    this.#lookMs = Math.min(LOOK_MS, this.#heartbeatMs / 2, this.#stalledMs / 2);
  }

  get open(): number {
    return this.#open;
  }

  wake(row: number): void {
    for (const one of this.#of(row)) one.wake();
  }
  announce(row: number): void {
    for (const one of this.#of(row)) one.announce();
  }
  ended(row: number, reason: TerminationReason, last: Subscription): void {
    for (const one of this.#of(row)) one.ended(reason, last);
  }
  /** After a failed commit memory was thrown away: everybody looks again. */
  wakeAll(): void {
    for (const row of [...this.#listeners.keys()]) this.wake(row);
  }

  close(): void {
    this.#closed = true;
    for (const row of [...this.#listeners.keys()]) for (const one of this.#of(row)) one.close();
    this.#looking?.();
    this.#looking = null;
  }

  /** A copy: who is told something may leave because of it. */
  #of(row: number): Listener[] {
    return [...(this.#listeners.get(row) ?? [])];
  }

  #add(loaded: LoadedSubscription, listener: Listener): () => void {
    const { row } = loaded;
    const all = this.#listeners.get(row) ?? new Set();
    all.add(listener);
    this.#listeners.set(row, all);
    loaded.listeners = all.size;
    this.#open += 1;
    this.#look();
    return () => {
      if (!all.delete(listener)) return;
      this.#open -= 1;
      if (all.size === 0 && this.#listeners.get(row) === all) this.#listeners.delete(row);
      const now = this.#o.unitOfWork.get(row);
      if (now !== undefined) now.listeners = all.size;
    };
  }

  /** One timer for all streams and polls, running only while there are any. */
  #look(): void {
    if (this.#looking !== null || this.#closed) return;
    this.#looking = this.#o.clock.after(this.#lookMs, () => {
      this.#looking = null;
      const now = this.#o.clock.now();
      for (const all of [...this.#listeners.values()])
        for (const one of [...all]) one.look(now, this.#lookMs);
      if (this.#open > 0) this.#look();
    });
  }

  /**
   * Waits for news, at most until `until`. Resolves at once when the signal has fired; with how the subscription ended if it
   * did, else with null.
   */
  wait(loaded: LoadedSubscription, until: number, signal?: AbortSignal): Promise<Ended | null> {
    if (signal?.aborted === true || this.#closed) return Promise.resolve(null);
    return new Promise((resolve) => {
      const finish = (ended: Ended | null): void => {
        remove();
        signal?.removeEventListener('abort', done);
        cancel();
        resolve(ended);
      };
      const done = (): void => finish(null);
      const remove = this.#add(loaded, {
        wake: done,
        close: done,
        ended: (reason, last) => finish({ reason, last }),
        announce: () => undefined,
        look: () => undefined,
      });
      const cancel = this.#o.clock.after(until - this.#o.clock.now(), done);
      signal?.addEventListener('abort', done, { once: true });
    });
  }

  /** Tells of news until the returned function is called. */
  watch(loaded: LoadedSubscription, listener: LogListener): () => void {
    const news = (): void => listener.news();
    const remove = this.#add(loaded, {
      wake: news,
      announce: news,
      close: () => undefined,
      look: () => undefined,
      ended: (reason) => {
        remove();
        listener.ended(reason);
      },
    });
    return remove;
  }

  /** Runs one stream until it ends. `after` is where the client stands. Rejects when the sink does. */
  async run(
    row: number,
    after: number,
    window: Window,
    sink: StreamSink,
    signal: AbortSignal,
  ): Promise<void> {
    const { store, unitOfWork, clock, meter } = this.#o;
    const loaded = await unitOfWork.getOrLoad(row);
    if (loaded === undefined || signal.aborted || this.#closed) return;
    const stream = new Stream(
      {
        store,
        unitOfWork,
        clock,
        meter,
        sink,
        window,
        heartbeatMs: this.#heartbeatMs,
        stalledMs: this.#stalledMs,
        listeners: () => this.#listeners.get(row)?.size ?? 0,
      },
      loaded,
      after,
    );
    const remove = this.#add(loaded, stream);
    const stop = (): void => stream.close();
    signal.addEventListener('abort', stop, { once: true });
    try {
      await stream.run();
    } finally {
      remove();
      signal.removeEventListener('abort', stop);
    }
  }
}
