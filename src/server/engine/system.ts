/** The machine's own clock and chance, and a silent log: what `createEngine` uses unless told otherwise. */
import { randomBytes, randomInt } from 'node:crypto';
import type { Clock, Log, Meter, Random } from './ports.ts';

/** `setTimeout` overflows above this and would fire at once. */
const LONGEST_TIMER_MS = 2 ** 31 - 1;

/** The wall clock in epoch milliseconds, and timers that do not keep a process alive by themselves. */
export const systemClock: Clock = {
  now: () => Date.now(),
  after(delayMs, run) {
    const timer = setTimeout(run, Math.min(Math.max(0, delayMs), LONGEST_TIMER_MS));
    timer.unref();
    return () => clearTimeout(timer);
  },
};

/** Cryptographically strong chance. */
export const systemRandom: Random = {
  uniform: () => randomInt(2 ** 47) / 2 ** 47,
  token: (bytes) => randomBytes(bytes).toString('base64url'),
};

const nothing = (): void => undefined;

/** Reports nothing. */
export const silentLog: Log = { debug: nothing, info: nothing, warn: nothing, error: nothing };

/** Counts nothing. */
export const silentMeter: Meter = { count: nothing, observe: nothing, gauge: nothing };
