/** Time under a test's control: it stands still until it is moved. */
import type { Clock } from '../protocol/lib/clock.ts';

/** A clock for tests of anything that takes one. */
export interface ManualClock extends Clock {
  /**
   * Moves time and runs what falls due on the way, in order of its instant, then of its request; also what those timers ask for.
   */
  advance(ms: number): void;
  /** The same, with a turn of the event loop after each timer and at the end, so that what it started can go on. */
  run(ms: number): Promise<void>;
  /** Sets the time without running anything, as a machine's clock that is put right does. Timers wait on. */
  jump(ms: number): void;
  /** Timers that have not run and were not cancelled. */
  readonly pending: number;
  /** Milliseconds until the next one; null when there is none. */
  readonly nextIn: number | null;
}

interface Timer {
  readonly at: number;
  readonly run: () => void;
}

/** `start` is the first answer of `now()`, in epoch milliseconds. */
export function manualClock(start = Date.UTC(2026, 0, 1)): ManualClock {
  let now = start;
  /** Time as timers see it: moved by `advance` and `run` only. */
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
  /** Runs the first timer due by `end`; false when there is none. */
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
