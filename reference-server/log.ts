/**
 * Structured logs on stderr. Two nets keep secrets out: known member names are redacted, and every finished line is searched
 * for the secrets this process knows and for anything shaped like one, so that a new code path cannot leak by being forgotten.
 */
import { pino, type Logger } from 'pino';

/** Members that are never printed, wherever they stand in the top two levels of a line. */
const REDACTED = [
  'authorization',
  'cookie',
  'token',
  'access_token',
  'secret',
  'callback',
  'url',
  'proof',
  'challenge',
  'd',
  'key',
  'storeKey',
];

/** The first net's paths, in pino's notation. */
export const redactPaths: readonly string[] = REDACTED.flatMap((name) => [name, `*.${name}`]);

/** What looks like a secret, whoever's it is: a `whsec_` secret, a JWT or JWS, a bearer header, a callback URL's token. */
const SHAPES = [
  /whsec_[A-Za-z0-9+/=]{8,}/g,
  /\beyJ[A-Za-z0-9_-]{6,}\.[A-Za-z0-9_-]*\.[A-Za-z0-9_-]*/g,
  /\bBearer\s+[^\s"\\]+/gi,
  /([?&]cb=)[^\s"\\&]+/g,
];

const PRINTED = '[secret]';

/** Where finished lines go. */
export interface LineSink {
  write(line: string): void;
}

export interface LogOptions {
  readonly level: 'debug' | 'info' | 'warn' | 'error';
  /** `json` for machines, `text` for a person at a terminal. */
  readonly format: 'json' | 'text';
  /** Secrets this process knows. Read at every line, so that one made later is covered too. */
  readonly secrets: () => readonly string[];
  readonly out: LineSink;
}

/** A pino logger behind both nets. */
export function createLog({ level, format, secrets, out }: LogOptions): Logger {
  return pino(
    {
      level,
      base: null,
      redact: { paths: [...redactPaths], censor: PRINTED },
      serializers: { err: printedError },
      formatters: { level: (label) => ({ level: label }) },
    },
    {
      write: (line: string) =>
        out.write(withoutSecrets(format === 'text' ? readable(line) : line, secrets())),
    },
  );
}

/** An error as a line shows it. */
interface PrintedError {
  readonly type: string;
  readonly message: string;
  readonly code?: string | number;
  readonly stack?: string;
  readonly cause?: PrintedError;
}

const CAUSES_MAX = 5;

/** Names what a line shows of an error: its other members can hold a request, a URL or a secret at any depth. */
function printedError(error: unknown, depth = 0): PrintedError {
  if (!(error instanceof Error))
    return {
      type: typeof error,
      message: typeof error === 'string' ? error : 'The thrown value is not an error.',
    };
  const { code } = error as { readonly code?: unknown };
  return {
    type: error.name,
    message: error.message,
    ...(typeof code === 'string' || typeof code === 'number' ? { code } : {}),
    ...(error.stack === undefined ? {} : { stack: error.stack }),
    ...(error.cause === undefined || depth === CAUSES_MAX
      ? {}
      : { cause: printedError(error.cause, depth + 1) }),
  };
}

/** The second net. */
export function withoutSecrets(line: string, secrets: readonly string[]): string {
  let safe = line;
  for (const secret of secrets)
    if (secret !== '')
      safe = safe
        .replaceAll(secret, PRINTED)
        .replaceAll(JSON.stringify(secret).slice(1, -1), PRINTED);
  for (const shape of SHAPES) safe = safe.replace(shape, PRINTED);
  return safe;
}

interface Line {
  readonly level: string;
  readonly time: number;
  readonly msg?: string;
  readonly err?: PrintedError;
  readonly [field: string]: unknown;
}

/** `09:30:00.000 warn  message  field=value`, and below it the stacks of an error and its causes. */
function readable(json: string): string {
  const { level, time, msg = '', err, ...fields } = JSON.parse(json) as Line;
  const pairs = Object.entries(fields).map(
    ([name, value]) => ` ${name}=${typeof value === 'string' ? value : JSON.stringify(value)}`,
  );
  const stacks: string[] = [];
  for (let error = err; error !== undefined; error = error.cause)
    stacks.push(`${stacks.length === 0 ? '' : 'caused by: '}${error.stack ?? error.message}`);
  const stack = stacks.map((one) => `\n  ${one.replaceAll('\n', '\n  ')}`).join('');
  return `${new Date(time).toISOString().slice(11, 23)} ${level.padEnd(5)} ${msg}${pairs.join('')}${stack}\n`;
}
