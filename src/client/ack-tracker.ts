/**
 * Acknowledges the items that the application has finished: cumulatively, many items per attempt,
 * one attempt at a time. An attempt saves the position before it sends it. After a crash in
 * between, the next process sends the saved position again (SEP: Acknowledgement).
 */
import type { Position } from '../../spec-schema/draft/schema.ts';
import type { Clock } from '../protocol/lib/clock.ts';

export interface AckTrackerOptions {
  readonly clock: Clock;
  /** Makes the position survive a crash of this process. */
  readonly save: (position: Position) => Promise<void>;
  /**
   * Called after the save. Sends the position to the server, or answers the requests that wait for
   * it.
   */
  readonly send: (position: Position) => Promise<void>;
  /**
   * Called after a failed attempt. Returns the milliseconds until the next one, or null to reject
   * the callers that wait for it.
   */
  readonly onFailure: (error: unknown) => number | null;
  /** Milliseconds for which finished items are collected before an attempt. */
  readonly delayMs: number;
  /** Items after which an attempt starts without that delay. */
  readonly batch: number;
}

interface Waiter {
  readonly sequence: number;
  readonly resolve: () => void;
  readonly reject: (error: unknown) => void;
}

export class AckTracker {
  readonly #o: AckTrackerOptions;
  #epoch: string;
  /** The application has finished everything up to here. */
  #done: number;
  /** Saved and sent up to here. */
  #confirmed: number;
  /** Items after `#done` that the application never gets, in order. */
  #skipped: number[] = [];
  #waiters: Waiter[] = [];
  #attempt: Promise<void> | undefined;
  #cancelTimer: (() => void) | undefined;
  readonly #onDone = new Set<() => void>();
  #closedWith: { readonly reason: unknown } | undefined;
  /**
   * Counts calls of `restart`. An attempt that began before the last one has no effect any more.
   */
  #generation = 0;

  /**
   * `confirmed`: the sequence up to which the server has confirmed acknowledgements. A `start`
   * after it is sent again.
   */
  constructor(start: Position, confirmed: number, options: AckTrackerOptions) {
    this.#o = options;
    this.#epoch = start.epoch;
    this.#done = start.sequence;
    this.#confirmed = Math.min(confirmed, start.sequence);
  }

  get done(): Position {
    return { epoch: this.#epoch, sequence: this.#done };
  }
  get #isPending(): boolean {
    return this.#done > this.#confirmed;
  }

  /**
   * The application has finished everything up to `position`. Positions of another epoch are
   * ignored.
   */
  finish(position: Position): void {
    if (position.epoch !== this.#epoch || position.sequence <= this.#done) return;
    this.#done = position.sequence;
    this.#passSkipped();
    for (const listener of this.#onDone) listener();
    this.#schedule();
  }

  /** The application never gets this item, so it is finished as soon as every item before it is. */
  skip(sequence: number): void {
    this.#skipped.push(sequence);
    const before = this.#done;
    this.#passSkipped();
    if (this.#done > before) this.#schedule();
  }

  /** Resolves when `position` is saved and sent. Rejects with the reason of {@link close}. */
  confirmed(position: Position): Promise<void> {
    if (position.epoch !== this.#epoch || position.sequence <= this.#confirmed)
      return Promise.resolve();
    if (this.#closedWith) return Promise.reject(this.#closedWith.reason);
    return new Promise((resolve, reject) => {
      this.#waiters.push({ sequence: position.sequence, resolve, reject });
      this.#schedule();
    });
  }

  /** Finishes everything up to `position`; resolves when that is saved and sent. */
  async acknowledge(position: Position): Promise<void> {
    this.finish(position);
    await this.confirmed(position);
  }

  /** Resolves when the application has finished `position`, or `stop` has fired. */
  finished({ epoch, sequence }: Position, stop: AbortSignal): Promise<void> {
    return new Promise((resolve) => {
      const check = (): void => {
        const isFinished = epoch === this.#epoch && this.#done >= sequence;
        if (!isFinished && !stop.aborted) return;
        this.#onDone.delete(check);
        stop.removeEventListener('abort', check);
        resolve();
      };
      this.#onDone.add(check);
      stop.addEventListener('abort', check);
      check();
    });
  }

  /**
   * Saves the position and resolves with it, for a pull that acknowledges it in its own request.
   * Undefined = nothing is left to acknowledge.
   */
  async take(): Promise<Position | undefined> {
    this.#cancel();
    await this.#attempt;
    if (!this.#isPending) return undefined;
    // A pull may stay open for long. If a caller waits, an acknowledgement is sent at once instead.
    if (this.#waiters.length > 0) return void (await this.flush());
    return this.saved();
  }

  /** The server has confirmed the acknowledgement of everything up to `position`. */
  settle({ epoch, sequence }: Position): void {
    if (epoch !== this.#epoch) return;
    this.#confirmed = Math.max(this.#confirmed, sequence);
    for (const { resolve } of this.#takeWaiters(this.#confirmed)) resolve();
  }

  /**
   * Continues at another position: in another epoch, in another log, or further back in this one.
   * Resolves the callers that wait for an old position.
   */
  restart(start: Position): void {
    this.#generation += 1;
    this.#epoch = start.epoch;
    this.#done = start.sequence;
    this.#confirmed = start.sequence;
    this.#skipped = [];
    for (const waiter of this.#waiters.splice(0)) waiter.resolve();
    for (const listener of this.#onDone) listener();
  }

  /** Saves the position that the application has finished, and resolves with it. */
  async saved(): Promise<Position> {
    const position = this.done;
    await this.#o.save(position);
    return position;
  }

  /** Saves and sends at once, without the delay. Rejects with the error of the attempt. */
  async flush(): Promise<void> {
    this.#cancel();
    while (this.#attempt) await this.#attempt;
    if (!this.#isPending) return;
    const position = this.done;
    const work = this.#saveAndSend(position);
    this.#attempt = work
      .catch(() => undefined)
      .then(() => {
        this.#attempt = undefined;
        if (this.#done > position.sequence) this.#schedule();
      });
    await work;
  }

  /** Schedules an attempt if an earlier one failed and left something to acknowledge. */
  resume(): void {
    if (this.#isPending) this.#schedule();
  }

  /** Stops sending. Rejects the callers that still wait, and later ones, with `reason`. */
  close(reason: unknown): void {
    this.#closedWith ??= { reason };
    this.#cancel();
    for (const waiter of this.#waiters.splice(0)) waiter.reject(reason);
  }

  #passSkipped(): void {
    while (this.#skipped[0] !== undefined && this.#skipped[0] <= this.#done + 1)
      this.#done = Math.max(this.#done, this.#skipped.shift()!);
  }

  #takeWaiters(upTo: number): readonly Waiter[] {
    const taken = this.#waiters.filter(({ sequence }) => sequence <= upTo);
    this.#waiters = this.#waiters.filter(({ sequence }) => sequence > upTo);
    return taken;
  }

  #schedule(): void {
    if (this.#closedWith || this.#attempt) return;
    if (this.#done - this.#confirmed >= this.#o.batch) return this.#run();
    this.#cancelTimer ??= this.#o.clock.after(this.#o.delayMs, () => this.#run());
  }

  #run(): void {
    this.#cancel();
    if (this.#attempt || this.#closedWith || !this.#isPending) return;
    const generation = this.#generation;
    const position = this.done;
    this.#attempt = this.#saveAndSend(position).then(
      () => {
        this.#attempt = undefined;
        if (this.#isPending) this.#schedule();
      },
      (error: unknown) => {
        this.#attempt = undefined;
        if (generation === this.#generation) this.#failed(error, position.sequence);
        else if (this.#isPending) this.#schedule();
      },
    );
  }

  #failed(error: unknown, attempted: number): void {
    const retryMs = this.#o.onFailure(error);
    if (retryMs === null) {
      for (const { reject } of this.#takeWaiters(attempted)) reject(error);
      if (this.#waiters.length > 0) this.#schedule();
    } else if (!this.#closedWith)
      this.#cancelTimer ??= this.#o.clock.after(retryMs, () => this.#run());
  }

  async #saveAndSend(position: Position): Promise<void> {
    const generation = this.#generation;
    await this.#o.save(position);
    if (generation !== this.#generation) return;
    await this.#o.send(position);
    if (generation === this.#generation) this.settle(position);
  }

  #cancel(): void {
    this.#cancelTimer?.();
    this.#cancelTimer = undefined;
  }
}
