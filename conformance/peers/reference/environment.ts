/** The environment of the reference server under test: its clock and its resolver. */
import { lookup } from 'node:dns';
import type { Clock, Resolve } from 'mcp-triggers-experimental/server';

interface Waiting {
  readonly at: number;
  readonly run: () => void;
  timer: NodeJS.Timeout;
}

const LONGEST_MS = 2 ** 31 - 1;

/**
 * The system clock, which `advance` sets ahead. Timers that become due by an advance fire at once.
 */
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

  /** Advances the clock. When it returns, every timer that became due has run, in order. */
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

/** A host name that resolves to an address that callbacks may not use. */
export const NAME_INSIDE = 'inside.conformance.example';

export const resolveName: Resolve = (name, options, callback) => {
  if (name === NAME_INSIDE) callback(null, [{ address: '10.1.2.3', family: 4 }]);
  // RFC 6761: names under .invalid never resolve.
  else if (name.endsWith('.invalid'))
    callback(Object.assign(new Error('no such name'), { code: 'ENOTFOUND' }), []);
  else lookup(name, options, callback);
};
