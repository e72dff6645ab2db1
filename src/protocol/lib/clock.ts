/** This side's time: handed in, so that a test can own it. */

/** Time, handed in. */
export interface Clock {
  /** Epoch milliseconds; may jump. */
  now(): number;
  /** Runs `run` once after `delayMs`; returns what cancels that. `background` timers do not keep a process alive. */
  after(delayMs: number, run: () => void, options?: { readonly background?: boolean }): () => void;
}

/** `setTimeout` overflows above this and would fire at once. */
export const TIMER_MAX_MS = 2 ** 31 - 1;

/** The machine's own clock. */
export const systemClock: Clock = {
  now: () => Date.now(),
  after(delayMs, run, options) {
    const timer = setTimeout(run, Math.min(Math.max(0, delayMs), TIMER_MAX_MS));
    if (options?.background === true) timer.unref();
    return () => clearTimeout(timer);
  },
};

/** Resolves after `delayMs`, or as soon as `signal` has fired; the caller looks which. */
export function sleep(clock: Clock, delayMs: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    if (signal.aborted) return resolve();
    const done = (): void => {
      cancel();
      signal.removeEventListener('abort', done);
      resolve();
    };
    const cancel = clock.after(delayMs, done);
    signal.addEventListener('abort', done, { once: true });
  });
}
