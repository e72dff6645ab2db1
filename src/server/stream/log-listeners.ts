/**
 * The streams, pulls and bindings that wait for changes to a log. One timer serves all of them
 * (SEP: Stream, triggers/pull).
 */
import type { Subscription, TerminationReason } from '../../protocol/core/types.ts';
import type { Clock } from '../../protocol/lib/clock.ts';
import type { LoadedSubscription, SubscriptionCache } from '../engine/subscription-cache.ts';
import type { LogListener } from '../engine/verbs.ts';

/** The end of a subscription, as listeners receive it. */
export interface Ended {
  readonly reason: TerminationReason;
  /** The state at the end. */
  readonly last: Subscription;
}

/** A stream, pull or binding that waits for changes to one log. */
interface Listener {
  /** The log may have new entries. */
  wake(): void;
  /**
   * The configuration or status changed; a stream reports it, if necessary by an empty delivery.
   */
  announce(): void;
  /** The client has acknowledged a position, which it may have done before. */
  acknowledged(): void;
  /** The subscription ended. */
  ended(end: Ended): void;
  /** The engine is closing. */
  close(): void;
  /** Called every `everyMs` milliseconds. */
  tick(now: number, everyMs: number): void;
}

export interface LogListenersOptions {
  readonly cache: SubscriptionCache;
  readonly clock: Clock;
  /**
   * Time between two calls of `tick`, and thus the precision of heartbeats and of the detection of
   * unread streams.
   */
  readonly tickMs: number;
}

export class LogListeners {
  readonly #o: LogListenersOptions;
  readonly #listeners = new Map<number, Set<Listener>>();
  #size = 0;
  #cancelTick: (() => void) | null = null;
  #closed = false;

  constructor(options: LogListenersOptions) {
    this.#o = options;
  }

  /** Listeners of all logs. */
  get size(): number {
    return this.#size;
  }

  /** Listeners of one log. */
  sizeOf(row: number): number {
    return this.#listeners.get(row)?.size ?? 0;
  }

  wake(row: number): void {
    for (const listener of this.#of(row)) listener.wake();
  }
  announce(row: number): void {
    for (const listener of this.#of(row)) listener.announce();
  }
  acknowledged(row: number): void {
    for (const listener of this.#of(row)) listener.acknowledged();
  }
  ended(row: number, end: Ended): void {
    for (const listener of this.#of(row)) listener.ended(end);
  }
  /** Makes every listener read again after a failed commit. */
  wakeAll(): void {
    for (const row of [...this.#listeners.keys()]) this.wake(row);
  }

  get closed(): boolean {
    return this.#closed;
  }

  close(): void {
    this.#closed = true;
    for (const row of [...this.#listeners.keys()])
      for (const listener of this.#of(row)) listener.close();
    this.#cancelTick?.();
    this.#cancelTick = null;
  }

  /** The listeners of one log: a copy, because a listener may remove itself when it is called. */
  #of(row: number): Listener[] {
    return [...(this.#listeners.get(row) ?? [])];
  }

  /** Adds a listener; the returned function removes it. */
  add(loaded: LoadedSubscription, listener: Listener): () => void {
    const { row } = loaded;
    const all = this.#listeners.get(row) ?? new Set();
    all.add(listener);
    this.#listeners.set(row, all);
    loaded.setListeners(all.size);
    this.#size += 1;
    this.#armTick();
    return () => {
      if (!all.delete(listener)) return;
      this.#size -= 1;
      if (all.size === 0 && this.#listeners.get(row) === all) this.#listeners.delete(row);
      this.#o.cache.get(row)?.setListeners(all.size);
    };
  }

  /** Arms the timer, which runs only while there are listeners. */
  #armTick(): void {
    if (this.#cancelTick !== null || this.#closed) return;
    const { clock, tickMs } = this.#o;
    this.#cancelTick = clock.after(tickMs, () => {
      this.#cancelTick = null;
      const now = clock.now();
      for (const all of [...this.#listeners.values()])
        for (const listener of [...all]) listener.tick(now, tickMs);
      if (this.#size > 0) this.#armTick();
    });
  }

  /**
   * Waits until the log may have new entries, until the instant `until`, or until `signal` fires.
   * Resolves with the end of the subscription if it ended, otherwise with null.
   */
  wait(loaded: LoadedSubscription, until: number, signal?: AbortSignal): Promise<Ended | null> {
    if (signal?.aborted === true || this.#closed) return Promise.resolve(null);
    return new Promise((resolve) => {
      const finish = (end: Ended | null): void => {
        remove();
        signal?.removeEventListener('abort', done);
        cancel();
        resolve(end);
      };
      const done = (): void => finish(null);
      const remove = this.add(loaded, {
        wake: done,
        close: done,
        ended: finish,
        announce: () => undefined,
        acknowledged: () => undefined,
        tick: () => undefined,
      });
      const cancel = this.#o.clock.after(until - this.#o.clock.now(), done);
      signal?.addEventListener('abort', done, { once: true });
    });
  }

  /** Notifies `listener` until the returned function is called or the subscription ends. */
  watch(loaded: LoadedSubscription, listener: LogListener): () => void {
    const news = (): void => listener.news();
    const remove = this.add(loaded, {
      wake: news,
      announce: news,
      close: () => undefined,
      acknowledged: () => undefined,
      tick: () => undefined,
      ended: ({ reason }) => {
        remove();
        listener.ended(reason);
      },
    });
    return remove;
  }
}
