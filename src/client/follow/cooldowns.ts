/** Which rungs were tried and did not work, and for how long they are left alone. */
import type { Clock } from '../../protocol/lib/clock.ts';
import type { RungName } from './types.ts';

/** A rung is left alone twice as long each time, until this. */
const DOUBLINGS_MAX = 6;

export class Refusals {
  readonly #clock: Clock;
  readonly #firstMs: number;
  readonly #tried = new Map<RungName, { readonly times: number; readonly until: number }>();
  readonly #notes = new Map<RungName, unknown>();

  constructor(clock: Clock, firstMs: number) {
    this.#clock = clock;
    this.#firstMs = firstMs;
  }

  /** It was tried. */
  refuse(rung: RungName, error: unknown): void {
    const times = (this.#tried.get(rung)?.times ?? 0) + 1;
    this.#tried.set(rung, { times, until: this.#clock.now() + this.#firstMs * 2 ** Math.min(times - 1, DOUBLINGS_MAX) });
    this.#notes.set(rung, error);
  }

  /** It could not even be tried: the server says why. */
  note(rung: RungName, error: unknown): void {
    this.#notes.set(rung, error);
  }

  isRefused(rung: RungName): boolean { return (this.#tried.get(rung)?.until ?? -Infinity) > this.#clock.now(); }

  /** Why the best of them is not to be had; undefined = none was ever offered. */
  reason(rungs: readonly RungName[]): unknown {
    return rungs.map((rung) => this.#notes.get(rung)).find((error) => error !== undefined);
  }
}
