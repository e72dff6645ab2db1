/**
 * Reads instants. Peers write UTC with three decimals and `Z`, and accept every date-time of RFC
 * 3339 (SEP: Basics).
 */

const DATE_TIME =
  /^(\d{4})-(0[1-9]|1[0-2])-(0[1-9]|[12]\d|3[01])T([01]\d|2[0-3]):([0-5]\d):([0-5]\d|60)(?:\.(\d+))?(?:Z|([+-])([01]\d|2[0-3]):([0-5]\d))$/i;
const [MINUTE_MS, DAY_MS] = [60_000, 86_400_000];
/** RFC 3339 can express the years 0000 to 9999. */
const [YEAR_0, YEAR_10000] = [utc(0, 1, 1), utc(10_000, 1, 1)];

/**
 * Returns epoch milliseconds; a time between two milliseconds is given as the half. Returns NaN for
 * text that is not an RFC 3339 date-time, for a day that the calendar does not have, and for an instant
 * outside the years 0000 to 9999 of UTC. A leap second is the first second of the next day.
 */
export function parseInstant(text: string): number {
  const fields = DATE_TIME.exec(text);
  if (fields === null) return NaN;
  const number = (at: number): number => Number(fields[at] ?? 0);
  const date = utc(number(1), number(2), number(3));
  if (new Date(date).getUTCDate() !== number(3)) return NaN;
  const offset = (number(9) * 60 + number(10)) * MINUTE_MS;
  const minute =
    date + (number(4) * 60 + number(5)) * MINUTE_MS + (fields[8] === '-' ? offset : -offset);
  if (number(6) === 60 && modulo(minute, DAY_MS) !== DAY_MS - MINUTE_MS) return NaN;
  const decimals = (fields[7] ?? '').padEnd(3, '0');
  const between = /[1-9]/.test(decimals.slice(3)) ? 0.5 : 0;
  const at = minute + number(6) * 1000 + Number(decimals.slice(0, 3)) + between;
  return isWritable(at) ? at : NaN;
}

/** Whether an instant, in epoch milliseconds, is in the years 0000 to 9999. */
export const isWritable = (at: number): boolean => at >= YEAR_0 && at < YEAR_10000;

/** `Date.UTC` would take the years 0 to 99 for 1900 to 1999. */
function utc(year: number, month: number, day: number): number {
  return new Date(0).setUTCFullYear(year, month - 1, day);
}

const modulo = (value: number, by: number): number => ((value % by) + by) % by;
