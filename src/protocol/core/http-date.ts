/**
 * Parses an HTTP-date in the three formats that a recipient must accept (RFC 9110, section 5.6.7).
 * `Date.parse` accepts far more than this grammar.
 */

const MONTHS = ['Jan', 'Feb', 'Mar', 'Apr', 'May', 'Jun', 'Jul', 'Aug', 'Sep', 'Oct', 'Nov', 'Dec'];
const MONTH = `(?<month>${MONTHS.join('|')})`;
const TIME = '(?<hour>[0-9]{2}):(?<minute>[0-9]{2}):(?<second>[0-9]{2})';
const FORMATS = [
  // Sun, 06 Nov 1994 08:49:37 GMT
  new RegExp(
    `^(?:Mon|Tue|Wed|Thu|Fri|Sat|Sun), (?<day>[0-9]{2}) ${MONTH} (?<year>[0-9]{4}) ${TIME} GMT$`,
  ),
  // Sunday, 06-Nov-94 08:49:37 GMT
  new RegExp(
    `^(?:Mon|Tues|Wednes|Thurs|Fri|Satur|Sun)day, (?<day>[0-9]{2})-${MONTH}-(?<year>[0-9]{2}) ${TIME} GMT$`,
  ),
  // Sun Nov  6 08:49:37 1994
  new RegExp(
    `^(?:Mon|Tue|Wed|Thu|Fri|Sat|Sun) ${MONTH} (?<day>[ 0-9][0-9]) ${TIME} (?<year>[0-9]{4})$`,
  ),
];
const DAY_MS = 86_400_000;

/**
 * Returns the days since 1970-01-01 in the proleptic Gregorian calendar. Counts years from March, so
 * that a leap day is the last day of its year.
 */
function daysFromEpoch(year: number, month: number, day: number): number {
  const marchYear = month < 3 ? year - 1 : year;
  const monthFromMarch = (month + 9) % 12;
  const leapDays =
    Math.floor(marchYear / 4) - Math.floor(marchYear / 100) + Math.floor(marchYear / 400);
  return (
    marchYear * 365 + leapDays + Math.floor((monthFromMarch * 153 + 2) / 5) + day - 1 - 719_468
  );
}

/**
 * Completes a two-digit year. If the year of this century is more than 50 years ahead, the text means
 * the most recent past year with those digits (RFC 9110).
 */
function fullYear(digits: string, now: number): number {
  if (digits.length === 4) return Number(digits);
  const thisYear = 1970 + Math.floor(now / (365.2425 * DAY_MS));
  const year = thisYear - (thisYear % 100) + Number(digits);
  return year > thisYear + 50 ? year - 100 : year;
}

/**
 * Returns the instant in epoch milliseconds; null when the text is not an HTTP-date. `now` resolves
 * two-digit years.
 */
export function parseHttpDate(text: string, now: number): number | null {
  for (const format of FORMATS) {
    const parts = format.exec(text)?.groups;
    if (parts === undefined) continue;
    const [hour, minute, second] = [
      Number(parts['hour']),
      Number(parts['minute']),
      Number(parts['second']),
    ];
    const month = MONTHS.indexOf(parts['month']!) + 1;
    const day = Number(parts['day']);
    const year = fullYear(parts['year']!, now);
    const days = daysFromEpoch(year, month, day);
    // Second 60 is a leap second. A day beyond the end of its month (31 Feb) is invalid.
    const nextMonth =
      month === 12 ? daysFromEpoch(year + 1, 1, 1) : daysFromEpoch(year, month + 1, 1);
    if (hour > 23 || minute > 59 || second > 60 || day < 1 || days >= nextMonth) return null;
    return days * DAY_MS + ((hour * 60 + minute) * 60 + second) * 1000;
  }
  return null;
}
