/** A clock for tests: time stands still until the test advances it. */
import type { Clock } from '../protocol/lib/clock.ts';

/** A clock with timers that a test controls. */
export interface ManualClock extends Clock {
  /**
   * Advances the time and runs the timers that become due, including timers that another one creates.
   * Timers of the same time run in the order of creation.
   */
  advance(ms: number): void;
  /**
   * Like {@link advance}, but waits for a turn of the event loop before the first timer, after each
   * timer and at the end, so that asynchronous work proceeds.
   */
  run(ms: number): Promise<void>;
  /** Changes the time without running timers, as an adjustment of the system clock does. */
  jump(ms: number): void;
  /** The number of timers that have neither run nor been canceled. */
  readonly pending: number;
  /** Milliseconds until the next timer; null without a timer. */
  readonly nextIn: number | null;
}

interface Timer {
  readonly at: number;
  readonly run: () => void;
}

/** Creates a clock that starts at `start`, in epoch milliseconds (default: start of 2026, UTC). */
export function manualClock(start = Date.UTC(2026, 0, 1)): ManualClock {
  let now = start;
  /** The time of the timers in ms from the start, which `jump` does not change. */
  let elapsed = 0;
  const timers = new Set<Timer>();

  const next = (): Timer | undefined => {
    let first: Timer | undefined;
    for (const timer of timers) if (first === undefined || timer.at < first.at) first = timer;
    return first;
  };
  const moveTo = (at: number): void => {
    now += at - elapsed;
    elapsed = at;
  };
  /** Runs the first timer that is due by `end`; returns whether there was one. */
  const fire = (end: number): boolean => {
    const timer = next();
    if (timer === undefined || timer.at > end) return false;
    timers.delete(timer);
    moveTo(Math.max(elapsed, timer.at));
    timer.run();
    return true;
  };

  return {
    now: () => now,
    after(delayMs, run) {
      const timer = { at: elapsed + Math.max(0, delayMs), run };
      timers.add(timer);
      return () => void timers.delete(timer);
    },
    advance(ms) {
      const end = elapsed + ms;
      while (fire(end));
      moveTo(end);
    },
    async run(ms) {
      const end = elapsed + ms;
      await turn();
      while (fire(end)) await turn();
      moveTo(Math.max(elapsed, end));
      await turn();
    },
    jump(ms) {
      now += ms;
    },
    get pending() {
      return timers.size;
    },
    get nextIn() {
      const timer = next();
      return timer === undefined ? null : Math.max(0, timer.at - elapsed);
    },
  };
}

const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));
