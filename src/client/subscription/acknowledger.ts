/**
 * Says to the server how far the application has come: cumulative, one call at a time, many items per call. What is said has
 * been saved in the ledger before (SEP: Acknowledgement).
 */
import type { Position } from '../../../spec-schema/draft/schema.ts';
import type { Clock } from '../../protocol/lib/clock.ts';

export interface AcknowledgerOptions {
  readonly clock: Clock;
  /** Makes the position survive a crash of this side. */
  readonly save: (position: Position) => Promise<void>;
  /** Tells the server. */
  readonly send: (position: Position) => Promise<void>;
  /** An attempt failed. Returns after how long to try again, or null when that is pointless: then who waits for it learns why. */
  readonly failed: (error: unknown) => number | null;
  /** Items are collected for this long. */
  readonly delayMs: number;
  /** Or until there are so many numbers. */
  readonly batch: number;
}

interface Waiter {
  readonly sequence: number;
  readonly resolve: () => void;
  readonly reject: (error: unknown) => void;
}

export class Acknowledger {
  readonly #o: AcknowledgerOptions;
  #epoch: string;
  /** What the application has finished. */
  #done: number;
  /** What the server has confirmed. */
  #confirmed: number;
  #waiters: Waiter[] = [];
  #running: Promise<void> | undefined;
  #cancelTimer: (() => void) | undefined;
  readonly #onDone = new Set<() => void>();
  #closed = false;
  /** Counts restarts. */
  #generation = 0;

  /** `acked` is what the server holds acknowledged; what the ledger is ahead of that is said again. */
  constructor(start: Position, acked: number, options: AcknowledgerOptions) {
    this.#o = options;
    this.#epoch = start.epoch;
    this.#done = start.sequence;
    this.#confirmed = Math.min(acked, start.sequence);
  }

  get done(): Position {
    return { epoch: this.#epoch, sequence: this.#done };
  }
  get pending(): boolean {
    return this.#done > this.#confirmed;
  }

  /** The application is done with everything up to here. Positions of another epoch mean nothing any more. */
  finish(position: Position): void {
    if (position.epoch !== this.#epoch || position.sequence <= this.#done) return;
    this.#done = position.sequence;
    for (const listener of this.#onDone) listener();
    this.#schedule();
  }

  /** Resolves when the server has confirmed this position. */
  confirmed(position: Position): Promise<void> {
    if (position.epoch !== this.#epoch || position.sequence <= this.#confirmed)
      return Promise.resolve();
    return new Promise((resolve, reject) => {
      this.#waiters.push({ sequence: position.sequence, resolve, reject });
      this.#schedule();
    });
  }

  /** Resolves when the application has finished this position, or `stop` has fired. */
  finished({ epoch, sequence }: Position, stop: AbortSignal): Promise<void> {
    return new Promise((resolve) => {
      const look = (): void => {
        const finished = epoch === this.#epoch && this.#done >= sequence;
        if (!finished && !stop.aborted) return;
        this.#onDone.delete(look);
        stop.removeEventListener('abort', look);
        resolve();
      };
      this.#onDone.add(look);
      stop.addEventListener('abort', look);
      look();
    });
  }

  /** For a pull, which acknowledges in the same round trip: what there is to say, saved. */
  async take(): Promise<Position | undefined> {
    this.#cancel();
    await this.#running;
    if (!this.pending) return undefined;
    // Somebody waits for the confirmation, and a pull may stay open for long.
    if (this.#waiters.length > 0) return void (await this.flush());
    return this.saved();
  }

  /** The server has heard of it. */
  settle({ epoch, sequence }: Position): void {
    if (epoch !== this.#epoch) return;
    this.#confirmed = Math.max(this.#confirmed, sequence);
    this.#waiters = this.#waiters.filter((waiter) => {
      if (waiter.sequence > this.#confirmed) return true;
      waiter.resolve();
      return false;
    });
  }

  /** The log has a new life, or there is another log. What waits for the old one is over. */
  restart(start: Position): void {
    this.#generation += 1;
    this.#epoch = start.epoch;
    this.#done = start.sequence;
    this.#confirmed = start.sequence;
    for (const waiter of this.#waiters.splice(0)) waiter.resolve();
    for (const listener of this.#onDone) listener();
  }

  /** What the application has finished, once it is saved. */
  async saved(): Promise<Position> {
    const position = this.done;
    await this.#o.save(position);
    return position;
  }

  /** Says now what there is to say. Rejects with what went wrong. */
  async flush(): Promise<void> {
    this.#cancel();
    await this.#running;
    if (this.pending) await this.#say();
  }

  /** What could not be said before is said again. */
  resume(): void {
    if (this.pending) this.#schedule();
  }

  /** Nothing is said any more; whoever still waits learns why. */
  close(reason: unknown): void {
    this.#closed = true;
    this.#cancel();
    for (const waiter of this.#waiters.splice(0)) waiter.reject(reason);
  }

  #schedule(): void {
    if (this.#closed || this.#running) return;
    if (this.#done - this.#confirmed >= this.#o.batch) return this.#run();
    this.#cancelTimer ??= this.#o.clock.after(this.#o.delayMs, () => this.#run());
  }

  #run(): void {
    this.#cancel();
    if (this.#running || this.#closed || !this.pending) return;
    const life = this.#generation;
    this.#running = this.#say().then(
      () => {
        this.#running = undefined;
        if (this.pending) this.#schedule();
      },
      (error: unknown) => {
        this.#running = undefined;
        // What was said of a log that is over may fail as it likes.
        if (life !== this.#generation) return this.pending ? this.#schedule() : undefined;
        const again = this.#o.failed(error);
        if (again === null) for (const waiter of this.#waiters.splice(0)) waiter.reject(error);
        else if (!this.#closed) this.#cancelTimer ??= this.#o.clock.after(again, () => this.#run());
      },
    );
  }

  async #say(): Promise<void> {
    const life = this.#generation;
    const position = await this.saved();
    if (life !== this.#generation) return;
    await this.#o.send(position);
    if (life === this.#generation) this.settle(position);
  }

  #cancel(): void {
    this.#cancelTimer?.();
    this.#cancelTimer = undefined;
  }
}
