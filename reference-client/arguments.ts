/** Reads what is written on the command line into protocol values. Every refusal says what was expected. */
import { check, type Position, type Selection } from 'mcp-triggers-experimental';
import { UsageError } from './usage-error.ts';

const UNITS: Readonly<Record<string, number>> = {
  ms: 1,
  s: 1000,
  m: 60_000,
  h: 3_600_000,
  d: 86_400_000,
};

/** A lifetime such as `90s`, `1h`, `7d`; `none` = no expiry. */
export function ttl(text: string): number | null {
  return text === 'none'
    ? null
    : (span(text) ?? refuse('--ttl must look like 90s, 15m, 1h or 7d, or be "none".'));
}

/** A time such as `90s`, `15m`. */
export const duration =
  (name: string) =>
  (text: string): number =>
    span(text) ?? refuse(`${name} must look like 90s, 15m, 1h or 7d.`);

function span(text: string): number | undefined {
  const [, count, unit] = /^([0-9]{1,9})(ms|s|m|h|d)$/.exec(text) ?? [];
  return count === undefined || unit === undefined ? undefined : Number(count) * UNITS[unit]!;
}

function refuse(problem: string): never {
  throw new UsageError(problem);
}

/** A whole number from `min` to `max`. */
export const count =
  (name: string, min: number, max: number) =>
  (text: string): number => {
    const value = Number(text);
    if (!/^[0-9]{1,16}$/.test(text) || value < min || value > max)
      throw new UsageError(`${name} must be a whole number from ${min} to ${max}.`);
    return value;
  };

/** Collects values, each of which must be one of these. */
export const oneOf =
  <T extends string>(name: string, choices: readonly T[]) =>
  (text: string, sofar: readonly T[] = []): T[] => {
    const choice = choices.find((one) => one === text);
    return choice === undefined
      ? refuse(`${name} must be one of ${choices.join(', ')}.`)
      : [...sofar, choice];
  };

/** Collects `--arg name=value`. A value that is JSON is taken as JSON, everything else as text. */
export function argument(
  text: string,
  sofar: Readonly<Record<string, unknown>> = {},
): Record<string, unknown> {
  const at = text.indexOf('=');
  if (at < 1) throw new UsageError('--arg must look like name=value.');
  return { ...sofar, [text.slice(0, at)]: jsonOr(text.slice(at + 1)) };
}

function jsonOr(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return text;
  }
}

/** `--select`: one selection or an array of them, as JSON. */
export function selections(text: string): Selection[] {
  let parsed: unknown;
  try {
    parsed = JSON.parse(text);
  } catch {
    throw new UsageError('--select must be JSON, for example [{"name":"github.push"}].');
  }
  const list = Array.isArray(parsed) ? parsed : [parsed];
  const checked = check('SubscribeParams', { select: list });
  if (!checked.ok)
    throw new UsageError(
      `--select: expected ${checked.expected} at ${checked.path || 'the root'}.`,
    );
  return checked.value.select;
}

/** An instant in the form the protocol has it; anything a `Date` reads is taken. */
export function instant(text: string): string {
  const time = Date.parse(text);
  if (Number.isNaN(time))
    throw new UsageError('--since must be an instant such as 2026-11-21T10:00:00Z.');
  return new Date(time).toISOString();
}

/** `epoch` and `sequence` as two words. */
export function position(epoch: string, sequence: string): Position {
  if (!/^[A-Za-z0-9_-]{8,64}$/.test(epoch))
    throw new UsageError(
      'The epoch must be 8 to 64 letters, digits, "_" or "-", as "get" shows it.',
    );
  return { epoch, sequence: count('The sequence', 0, Number.MAX_SAFE_INTEGER)(sequence) };
}

/** Splits a command line into words; quotes keep words together. */
export function words(line: string): [command: string, ...args: string[]] {
  const found = [...line.matchAll(/(?:"([^"]*)"|'([^']*)'|([^\s"']+))+/g)].map(([word]) =>
    word.replace(
      /"([^"]*)"|'([^']*)'/g,
      (_, double?: string, single?: string) => double ?? single ?? '',
    ),
  );
  const [command, ...args] = found;
  if (command === undefined) throw new UsageError('--stdio must name a command.');
  return [command, ...args];
}
