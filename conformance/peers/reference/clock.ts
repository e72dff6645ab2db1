/** The machine's clock with a lead that can be made longer: timers that have become due by it fire at once. */
import type { Clock } from 'mcp-triggers-experimental/server';

interface Waiting {
  readonly at: number;
  readonly run: () => void;
  timer: NodeJS.Timeout;
}

const LONGEST_MS = 2 ** 31 - 1;

export class LeadingClock implements Clock {
  #leadMs: number;
  readonly #waiting = new Set<Waiting>();

  constructor(leadMs: number) {
    this.#leadMs = leadMs;
  }

  now(): number {
    return Date.now() + this.#leadMs;
  }

  after(delayMs: number, run: () => void): () => void {
    const waiting: Waiting = {
      at: this.now() + delayMs,
      run,
      timer: undefined as unknown as NodeJS.Timeout,
    };
    this.#arm(waiting);
    return () => {
      clearTimeout(waiting.timer);
      this.#waiting.delete(waiting);
    };
  }

  /** Goes forward. What is due by then has run, in its order, when this returns. */
  advance(ms: number): void {
    this.#leadMs += ms;
    const due = [...this.#waiting]
      .filter(({ at }) => at <= this.now())
      .toSorted((a, b) => a.at - b.at);
    for (const waiting of due) this.#fire(waiting);
    for (const waiting of this.#waiting) {
      clearTimeout(waiting.timer);
      this.#arm(waiting);
    }
  }

  #arm(waiting: Waiting): void {
    this.#waiting.add(waiting);
    waiting.timer = setTimeout(
      () => this.#fire(waiting),
      Math.min(Math.max(0, waiting.at - this.now()), LONGEST_MS),
    );
    waiting.timer.unref();
  }

  #fire(waiting: Waiting): void {
    // Cancelled by one that fired before it.
    if (!this.#waiting.delete(waiting)) return;
    clearTimeout(waiting.timer);
    if (waiting.at > this.now()) this.#arm(waiting);
    else waiting.run();
  }
}
