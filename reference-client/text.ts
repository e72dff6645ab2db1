/**
 * Formats text for a terminal. Control characters in the text of a peer become spaces, because they
 * could move the cursor.
 */

const CONTROL = /[\p{Cc}\p{Cf}\p{Zl}\p{Zp}]/gu;

/** Replaces control characters and line breaks by spaces. */
export const printable = (text: string): string => text.replace(CONTROL, ' ');

/** Shortens text to `width` characters; `…` marks the cut. */
export const cut = (text: string, width: number): string =>
  text.length <= width ? text : `${text.slice(0, Math.max(0, width - 1))}…`;

/** The members that represent a nested object in a summary, in the order of preference. */
const LABELS = ['full_name', 'login', 'name', 'title', 'path', 'number', 'id', 'sha'];

/** Summarizes an event's data in one line. */
export function summary(data: unknown, width: number): string {
  if (typeof data !== 'object' || data === null)
    return cut(printable(JSON.stringify(data) ?? ''), width);
  const parts = Object.entries(data).flatMap(([name, value]) => {
    const short = brief(value);
    return short === undefined ? [] : [`${name}=${short}`];
  });
  return cut(printable(parts.join(' ')), width);
}

function brief(value: unknown): string | undefined {
  if (typeof value === 'string')
    return /^[^\s=]{1,40}$/.test(value) ? value : JSON.stringify(cut(value, 40));
  if (typeof value === 'number' || typeof value === 'boolean') return String(value);
  if (Array.isArray(value)) return value.length === 0 ? undefined : `[${value.length}]`;
  if (typeof value !== 'object' || value === null) return undefined;
  const label = LABELS.map((name) => (value as Record<string, unknown>)[name]).find(
    (one) => typeof one === 'string' || typeof one === 'number',
  );
  return label === undefined ? undefined : brief(label);
}

const DURATIONS: readonly (readonly [unit: string, ms: number])[] = [
  ['d', 86_400_000],
  ['h', 3_600_000],
  ['min', 60_000],
  ['s', 1000],
  ['ms', 1],
];

/** Formats milliseconds: `5400000` as `1.5 h`. */
export function duration(ms: number): string {
  const [unit, size] = DURATIONS.find(([, one]) => ms >= one) ?? ['ms', 1];
  return `${Math.round((ms / size) * 10) / 10} ${unit}`;
}

/** Formats names and values as aligned rows. Rows without a value are omitted. */
export function rows(
  list: readonly (readonly [name: string, value: string | undefined])[],
): string {
  const present = list.filter((row): row is readonly [string, string] => row[1] !== undefined);
  const width = Math.max(...present.map(([name]) => name.length));
  return present.map(([name, value]) => `  ${name.padEnd(width)}  ${printable(value)}`).join('\n');
}
