/** When to try again: exponential backoff with full jitter; which errors are worth another try (SEP: Recovery by the client). */
import { LocalError, WireError } from '../protocol/wire/errors.ts';
import { RETRY_AFTER_MAX_MS } from '../protocol/core/policy.ts';

/** How pauses grow: the n-th is uniform between 0 and `baseMs` doubled n times, never more than `maxMs`. */
export interface BackoffOptions {
  /** Milliseconds. Default 500. */
  readonly baseMs?: number;
  /** Milliseconds. Default 30,000. */
  readonly maxMs?: number;
  /** Uniform in [0, 1). Default: `Math.random`; nothing secret depends on it. */
  readonly random?: () => number;
}

export class Backoff {
  readonly #baseMs: number;
  readonly #maxMs: number;
  readonly #random: () => number;
  #attempts = 0;

  constructor({ baseMs = 500, maxMs = 30_000, random = Math.random }: BackoffOptions = {}) {
    this.#baseMs = baseMs;
    this.#maxMs = maxMs;
    this.#random = random;
  }

  get attempts(): number {
    return this.#attempts;
  }

  /** The next pause; never shorter than what the peer asked for, up to an hour. */
  next(error?: unknown): number {
    const ceiling = Math.min(this.#maxMs, this.#baseMs * 2 ** this.#attempts);
    this.#attempts += 1;
    return Math.max(askedFor(error), Math.round(ceiling * this.#random()));
  }

  reset(): void {
    this.#attempts = 0;
  }
}

function askedFor(error: unknown): number {
  return error instanceof WireError && error.is('ResourceExhausted')
    ? Math.min(error.data.retryAfterMs ?? 0, RETRY_AFTER_MAX_MS)
    : 0;
}

/** The peer, or the way to it, is out of order at the moment. */
export function isTransient(error: unknown): boolean {
  if (error instanceof LocalError) return error.code === 'unreachable' || error.code === 'timeout';
  if (!(error instanceof WireError)) return false;
  // A quota that names no time frees itself by no waiting.
  return (
    error.is('InternalError') ||
    (error.is('ResourceExhausted') && error.data.retryAfterMs !== undefined)
  );
}
