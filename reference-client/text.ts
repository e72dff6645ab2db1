/** How things look in a terminal. What came from a peer is made harmless first: it must not be able to move the cursor. */

const CONTROL = /[\p{Cc}\p{Cf}\p{Zl}\p{Zp}]/gu;

/** One line without control characters. */
export const printable = (text: string): string => text.replace(CONTROL, ' ');

/** Cut to `width` characters, with a sign that it was cut. */
export const cut = (text: string, width: number): string =>
  text.length <= width ? text : `${text.slice(0, Math.max(0, width - 1))}…`;

/** What stands for an object inside an event: the first of these members that it has. */
const HANDLES = ['full_name', 'login', 'name', 'title', 'path', 'number', 'id', 'sha'];

/** One line that says what an event's data is about. */
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
  const handle = HANDLES.map((name) => (value as Record<string, unknown>)[name]).find(
    (one) => typeof one === 'string' || typeof one === 'number',
  );
  return handle === undefined ? undefined : brief(handle);
}

const DURATIONS: readonly (readonly [unit: string, ms: number])[] = [
  ['d', 86_400_000],
  ['h', 3_600_000],
  ['min', 60_000],
  ['s', 1000],
  ['ms', 1],
];

/** `5400000` as `1.5 h`. */
export function duration(ms: number): string {
  const [unit, size] = DURATIONS.find(([, one]) => ms >= one) ?? ['ms', 1];
  return `${Math.round((ms / size) * 10) / 10} ${unit}`;
}

/** Rows of name and value below each other; rows without a value are left out. */
export function rows(
  list: readonly (readonly [name: string, value: string | undefined])[],
): string {
  const there = list.filter((row): row is readonly [string, string] => row[1] !== undefined);
  const width = Math.max(...there.map(([name]) => name.length));
  return there.map(([name, value]) => `  ${name.padEnd(width)}  ${printable(value)}`).join('\n');
}
