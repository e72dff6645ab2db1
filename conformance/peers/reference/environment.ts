/**
 * The system clock with an adjustable lead. Timers that become due when the lead grows fire at
 * once.
 */
import { lookup } from 'node:dns';
import type { Clock, Resolve } from 'mcp-triggers-experimental/server';

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

  /** Advances the clock. Everything due by then has run, in order, when this returns. */
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
    // An earlier timer canceled this one.
    if (!this.#waiting.delete(waiting)) return;
    clearTimeout(waiting.timer);
    if (waiting.at > this.now()) this.#arm(waiting);
    else waiting.run();
  }
}

/** Resolves to an address that callbacks may not use. */
export const NAME_INSIDE = 'inside.conformance.example';

export const resolveName: Resolve = (name, options, callback) => {
  if (name === NAME_INSIDE) callback(null, [{ address: '10.1.2.3', family: 4 }]);
  // RFC 6761: names under .invalid never resolve.
  else if (name.endsWith('.invalid'))
    callback(Object.assign(new Error('no such name'), { code: 'ENOTFOUND' }), []);
  else lookup(name, options, callback);
};
