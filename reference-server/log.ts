/**
 * Structured logs on stderr. Secrets are removed in two ways: members with certain names are
 * redacted, and known secrets and text that has the form of a secret are replaced in every line.
 */
import { pino, type Logger } from 'pino';

/** Names of members that are redacted, at the top level of a line and one level below. */
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

/** The same members in pino's notation. */
const redactPaths: readonly string[] = REDACTED.flatMap((name) => [name, `*.${name}`]);

/**
 * Text that has the form of a secret: a `whsec_` secret, a JWT or JWS, a bearer header, the token
 * in a callback URL.
 */
const SECRET_PATTERNS = [
  /whsec_[A-Za-z0-9+/=]{8,}/g,
  /\beyJ[A-Za-z0-9_-]{6,}\.[A-Za-z0-9_-]*\.[A-Za-z0-9_-]*/g,
  /\bBearer\s+[^\s"\\]+/gi,
  /([?&]cb=)[^\s"\\&]+/g,
];

const REPLACEMENT = '[secret]';

/** Receives complete lines. */
export interface LineSink {
  write(line: string): void;
}

export interface LogOptions {
  readonly level: 'debug' | 'info' | 'warn' | 'error';
  /** `json` = one JSON object per line; `text` = for reading in a terminal. */
  readonly format: 'json' | 'text';
  /**
   * Returns the known secrets. Called for every line, because secrets are added while the server
   * runs.
   */
  readonly secrets: () => readonly string[];
  readonly out: LineSink;
}

/** Creates a pino logger that writes no secrets. */
export function createLog({ level, format, secrets, out }: LogOptions): Logger {
  return pino(
    {
      level,
      base: null,
      redact: { paths: [...redactPaths], censor: REPLACEMENT },
      serializers: { err: printedError },
      formatters: { level: (label) => ({ level: label }) },
    },
    {
      write: (line: string) =>
        out.write(withoutSecrets(format === 'text' ? readable(line) : line, secrets())),
    },
  );
}

/** The members of an error that are logged. */
interface PrintedError {
  readonly type: string;
  readonly message: string;
  readonly code?: string | number;
  readonly stack?: string;
  readonly cause?: PrintedError;
}

const CAUSES_MAX = 5;

/**
 * Selects the members of an error that are logged. All others are omitted, because they may contain
 * requests, URLs or secrets at any depth.
 */
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

/** Replaces known secrets, and text that has the form of a secret. */
export function withoutSecrets(line: string, secrets: readonly string[]): string {
  let safe = line;
  for (const secret of secrets)
    if (secret !== '')
      safe = safe
        .replaceAll(secret, REPLACEMENT)
        .replaceAll(JSON.stringify(secret).slice(1, -1), REPLACEMENT);
  for (const pattern of SECRET_PATTERNS) safe = safe.replace(pattern, REPLACEMENT);
  return safe;
}

interface Line {
  readonly level: string;
  readonly time: number;
  readonly msg?: string;
  readonly err?: PrintedError;
  readonly [field: string]: unknown;
}

/**
 * A line as text: `09:30:00.000 warn  message field=value`, then the stacks of the error and its
 * causes.
 */
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
