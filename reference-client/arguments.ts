/** Parses arguments and options of the command line into protocol values. */
import { check, type Position, type Selection } from 'mcp-triggers-experimental';

/**
 * The error for a wrong command line. The message says what was expected, and contains no secret.
 */
export class UsageError extends Error {
  override readonly name = 'UsageError';
}

const UNITS: Readonly<Record<string, number>> = {
  ms: 1,
  s: 1000,
  m: 60_000,
  h: 3_600_000,
  d: 86_400_000,
};

/** A lifetime, as the params of a call have it. */
export type Lifetime = { readonly ttlMs: number } | { readonly noExpiry: true };

/** Parses `--ttl`, for example `90s`, `1h`, `7d`; `none` = no expiry. */
export function lifetime(text: string): Lifetime {
  if (text === 'none') return { noExpiry: true };
  const ttlMs = parseDuration(text);
  return ttlMs === undefined || ttlMs < 1 || ttlMs > LIFETIME_MAX_MS
    ? fail('--ttl must be a time such as 90s, 15m, 1h or 7d, at most ten years, or "none".')
    : { ttlMs };
}

/** Ten years. */
const LIFETIME_MAX_MS = 315_576_000_000;

/** Parses a time such as `90s` or `15m` into milliseconds. */
export const duration =
  (name: string) =>
  (text: string): number =>
    parseDuration(text) ?? fail(`${name} must be a time such as 90s, 15m, 1h or 7d.`);

/** Longest time after which an event is skipped: what the server permits. */
export const SKIP_AFTER_MAX_MS = 86_400_000;

/** Parses the time of `--skip-after`, for example `90s` or `1h`, into ms. */
export function skipTime(text: string): number {
  const ms = duration('--skip-after')(text);
  if (ms < 1 || ms > SKIP_AFTER_MAX_MS)
    throw new UsageError('--skip-after must be a time from 1ms to 24h, such as 90s or 1h.');
  return ms;
}

/** Longest wait for more events that the protocol permits. */
const LINGER_MAX_MS = 60_000;

/** Parses the time of `--linger`, for example `500ms` or `5s`, into ms. */
export function lingerTime(text: string): number {
  const ms = duration('--linger')(text);
  if (ms > LINGER_MAX_MS)
    throw new UsageError('--linger must be a time of at most 60s, such as 500ms or 5s.');
  return ms;
}

function parseDuration(text: string): number | undefined {
  const [, count, unit] = /^([0-9]{1,9})(ms|s|m|h|d)$/.exec(text) ?? [];
  return count === undefined || unit === undefined ? undefined : Number(count) * UNITS[unit]!;
}

function fail(problem: string): never {
  throw new UsageError(problem);
}

/** Parses a whole number from `min` to `max`. */
export const count =
  (name: string, min: number, max: number) =>
  (text: string): number => {
    const value = Number(text);
    if (!/^[0-9]{1,16}$/.test(text) || value < min || value > max)
      throw new UsageError(`${name} must be a whole number from ${min} to ${max}.`);
    return value;
  };

/** Collects the values of a repeated option, each of which must be one of `choices`. */
export const oneOf =
  <T extends string>(name: string, choices: readonly T[]) =>
  (text: string, previous: readonly T[] = []): T[] => {
    const choice = choices.find((one) => one === text);
    return choice === undefined
      ? fail(`${name} must be one of ${choices.join(', ')}.`)
      : [...previous, choice];
  };

/**
 * Collects `name=value` of a repeated option. A value that is valid JSON becomes its JSON value,
 * any other becomes a string.
 */
export const argument =
  (option: string) =>
  (text: string, previous: Readonly<Record<string, unknown>> = {}): Record<string, unknown> => {
    const at = text.indexOf('=');
    if (at < 1) throw new UsageError(`${option} must have the form name=value.`);
    return { ...previous, [text.slice(0, at)]: jsonOrText(text.slice(at + 1)) };
  };

function jsonOrText(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return text;
  }
}

/** Parses `--select`: one selection or an array of selections, as JSON. */
export function selections(text: string): Selection[] {
  let parsed: unknown;
  try {
    parsed = JSON.parse(text);
  } catch {
    throw new UsageError('--select must be JSON, for example [{"name":"github.push"}].');
  }
  const list = Array.isArray(parsed) ? parsed : [parsed];
  const checked = check('SubscribeRequestParams', { key: 'selection', select: list });
  if (!checked.ok)
    throw new UsageError(
      `--select is not valid: expected ${checked.expected} at ${checked.path || 'the root'}.`,
    );
  return checked.value.select;
}

/** Parses `--since`: any text that `Date` can parse, converted to RFC 3339. */
export function instant(text: string): string {
  const time = Date.parse(text);
  if (Number.isNaN(time))
    throw new UsageError('--since must be a date and time such as 2026-11-21T10:00:00Z.');
  return new Date(time).toISOString();
}

/** Parses `--key`. */
export function subscriptionKey(text: string): string {
  if (!/^[A-Za-z0-9_.~:-]{1,128}$/.test(text))
    throw new UsageError(
      '--key must be 1 to 128 letters, digits, "_", ".", "~", ":" or "-", all of them ASCII.',
    );
  return text;
}

/** Parses a position from its two parts. */
export function position(epoch: string, sequence: string): Position {
  if (!/^[A-Za-z0-9_-]{8,64}$/.test(epoch))
    throw new UsageError(
      'The epoch must be 8 to 64 letters, digits, "_" or "-". Copy it from the output of "get".',
    );
  return { epoch, sequence: count('The sequence', 0, Number.MAX_SAFE_INTEGER)(sequence) };
}

/** Splits `--stdio` into a command and its arguments. Text in quotes is one argument. */
export function commandLine(line: string): [command: string, ...args: string[]] {
  const found = [...line.matchAll(/(?:"([^"]*)"|'([^']*)'|([^\s"']+))+/g)].map(([word]) =>
    word.replace(
      /"([^"]*)"|'([^']*)'/g,
      (_, double?: string, single?: string) => double ?? single ?? '',
    ),
  );
  const [command, ...args] = found;
  if (command === undefined)
    throw new UsageError('--stdio must be a command, for example "node server.js".');
  return [command, ...args];
}
