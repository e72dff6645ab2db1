/**
 * A trace of a run: every message between the kit and the peer as one JSON object on a line,
 * without secrets. The scenario that a message belongs to follows the asynchronous calls.
 */
import { AsyncLocalStorage } from 'node:async_hooks';
import { createWriteStream, type WriteStream } from 'node:fs';
import { once } from 'node:events';
import type { IncomingMessage, ServerResponse } from 'node:http';

/** Characters of a body that a trace keeps. */
const BODY_MAX = 65_536;

/** One message. */
export interface Traced {
  readonly from: 'kit' | 'peer';
  /** The kind of the message, for example `request` or `callback answer`. */
  readonly what: string;
  /** HTTP method and address, of requests. */
  readonly to?: string;
  /** HTTP status, of responses. */
  readonly status?: number;
  readonly headers?: Readonly<Record<string, unknown>>;
  /** Parsed JSON, or the text of any other body. */
  readonly body?: unknown;
}

/** Records a message. */
export type Recorder = (message: Traced) => void;

const REMOVED = '…';
/** Headers whose whole value is a secret. */
const SECRET_HEADERS = new Set(['authorization', 'mcp-session-id', 'cookie', 'set-cookie']);
/** Secrets that are recognized by their form. */
const PATTERNS: readonly (readonly [pattern: RegExp, replacement: string])[] = [
  [/whsec_[A-Za-z0-9+/=_-]+/g, `whsec_${REMOVED}`],
  [/eyJ[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+/g, REMOVED],
  [/([?&]cb=)[^"&\s\\]+/g, `$1${REMOVED}`],
  [/(\/callback\/)[A-Za-z0-9_-]{8,}/g, `$1${REMOVED}`],
];

/** Writes a trace to a file. */
export class Trace {
  readonly #file: WriteStream;
  readonly #secrets = new Set<string>();
  #failure: Error | undefined;

  private constructor(file: WriteStream) {
    this.#file = file;
    file.on('error', (error) => {
      this.#failure = error;
    });
  }

  /** Creates the file, or empties it. Rejects when that is not possible. */
  static async to(path: string): Promise<Trace> {
    const file = createWriteStream(path, { mode: 0o600 });
    await once(file, 'open');
    return new Trace(file);
  }

  /** Removes this value from every later message. */
  hide(...secrets: readonly (string | undefined)[]): void {
    for (const secret of secrets)
      if (secret !== undefined && secret !== '') this.#secrets.add(secret);
  }

  record(scenario: string | undefined, { headers, body, ...message }: Traced): void {
    const line = JSON.stringify({
      at: new Date().toISOString(),
      ...(scenario === undefined ? {} : { scenario }),
      ...message,
      ...(headers === undefined ? {} : { headers: withoutSecrets(headers) }),
      ...(body === undefined || body === '' ? {} : { body: limited(body) }),
    });
    this.#file.write(`${this.#clean(line)}\n`);
  }

  #clean(line: string): string {
    let text = line;
    for (const secret of this.#secrets)
      text = text.replaceAll(JSON.stringify(secret).slice(1, -1), REMOVED);
    for (const [pattern, replacement] of PATTERNS) text = text.replace(pattern, replacement);
    return text;
  }

  /** Resolves when everything is written. Rejects when something could not be written. */
  async close(): Promise<void> {
    this.#file.end();
    if (!this.#file.closed) await once(this.#file, 'close');
    if (this.#failure !== undefined) throw this.#failure;
  }
}

const withoutSecrets = (headers: Readonly<Record<string, unknown>>): object =>
  Object.fromEntries(
    Object.entries(headers).map(([name, value]) => [
      name,
      SECRET_HEADERS.has(name.toLowerCase()) ? REMOVED : value,
    ]),
  );

function limited(body: unknown): unknown {
  const text = typeof body === 'string' ? body : JSON.stringify(body);
  if (text.length > BODY_MAX)
    return `${text.slice(0, BODY_MAX)}${REMOVED} (${text.length} characters)`;
  return body;
}

const running = new AsyncLocalStorage<{ readonly trace?: Trace; readonly scenario?: string }>();

/** Runs `run` with a trace. */
export const traced = <T>(trace: Trace | undefined, run: () => Promise<T>): Promise<T> =>
  running.run(trace === undefined ? {} : { trace }, run);

/** Runs `run`; messages in it belong to this scenario. */
export const inScenario = <T>(scenario: string, run: () => Promise<T>): Promise<T> =>
  running.run({ ...running.getStore(), scenario }, run);

/** Removes these values from the current trace. */
export const hide = (...secrets: readonly (string | undefined)[]): void =>
  running.getStore()?.trace?.hide(...secrets);

/** Records messages of the current trace and scenario, also from where the caller is not known. */
export function recorder(): Recorder {
  const { trace, scenario } = running.getStore() ?? {};
  return trace === undefined ? () => undefined : (message) => trace.record(scenario, message);
}

/** JSON as a value; any other text as it is. */
export function parsed(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return text;
  }
}

/**
 * Records a request that the kit serves, and everything that is written to its response. A message
 * of an event stream is recorded when it is complete.
 */
export function recordServed(
  record: Recorder,
  what: string,
  request: IncomingMessage,
  body: string,
  response: ServerResponse,
): void {
  record({
    from: 'peer',
    what,
    to: `${request.method ?? ''} ${request.url ?? ''}`,
    headers: request.headers,
    body: parsed(body),
  });
  let text = '';
  const say = (): void => {
    record({
      from: 'kit',
      what: `${what} answer`,
      status: response.statusCode,
      body: parsed(text.trim()),
    });
    text = '';
  };
  const { write, end } = response;
  const note = (chunk: unknown): void => {
    if (typeof chunk === 'string' || Buffer.isBuffer(chunk)) text += chunk.toString();
  };
  response.write = ((...args: Parameters<typeof write>) => {
    note(args[0]);
    if (/(\r?\n){2}$/.test(text)) say();
    return write.apply(response, args);
  }) as typeof write;
  response.end = ((...args: Parameters<typeof end>) => {
    note(args[0]);
    say();
    return end.apply(response, args);
  }) as typeof end;
}
