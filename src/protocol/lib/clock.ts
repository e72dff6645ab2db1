/** The clock and its timers as an interface, so that tests control time; and the system's clock. */

/** Current time and timers. */
export interface Clock {
  /** Epoch milliseconds; may jump, as a system clock does. */
  now(): number;
  /**
   * Calls `run` once after `delayMs`; the returned function cancels the timer. A `background` timer
   * does not keep the process alive.
   */
  after(delayMs: number, run: () => void, options?: { readonly background?: boolean }): () => void;
}

/** The longest delay of `setTimeout`; a longer one overflows and fires immediately. */
export const TIMER_MAX_MS = 2 ** 31 - 1;

/** The system's clock. A delay above `TIMER_MAX_MS` (2,147,483,647 ms) is shortened to it. */
export const systemClock: Clock = {
  now: () => Date.now(),
  after(delayMs, run, options) {
    const timer = setTimeout(run, Math.min(Math.max(0, delayMs), TIMER_MAX_MS));
    if (options?.background === true) timer.unref();
    return () => clearTimeout(timer);
  },
};

/** Wraps a clock so that none of its timers keeps the process alive. */
export const backgroundClock = (clock: Clock): Clock => ({
  now: () => clock.now(),
  after: (delayMs, run) => clock.after(delayMs, run, { background: true }),
});

/** Resolves after `delayMs`, or when `signal` fires; the caller checks which. */
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
