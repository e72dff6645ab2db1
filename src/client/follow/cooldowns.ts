/** Which rungs were tried and did not work, and for how long they are left alone. */
import type { Clock } from '../../protocol/lib/clock.ts';
import type { ModeName } from './types.ts';

/** A rung is left alone twice as long each time, until this. */
const DOUBLINGS_MAX = 6;

export class Cooldowns {
  readonly #clock: Clock;
  readonly #firstMs: number;
  readonly #tried = new Map<ModeName, { readonly times: number; readonly until: number }>();
  readonly #notes = new Map<ModeName, unknown>();

  constructor(clock: Clock, firstMs: number) {
    this.#clock = clock;
    this.#firstMs = firstMs;
  }

  /** It was tried. */
  refuse(mode: ModeName, error: unknown): void {
    const times = (this.#tried.get(mode)?.times ?? 0) + 1;
    this.#tried.set(mode, {
      times,
      until: this.#clock.now() + this.#firstMs * 2 ** Math.min(times - 1, DOUBLINGS_MAX),
    });
    this.#notes.set(mode, error);
  }

  /** It could not even be tried: the server says why. */
  note(mode: ModeName, error: unknown): void {
    this.#notes.set(mode, error);
  }

  isRefused(mode: ModeName): boolean {
    return (this.#tried.get(mode)?.until ?? -Infinity) > this.#clock.now();
  }

  /** Why the best of them is not to be had; undefined = none was ever offered. */
  reason(modes: readonly ModeName[]): unknown {
    return modes.map((mode) => this.#notes.get(mode)).find((error) => error !== undefined);
  }
}
