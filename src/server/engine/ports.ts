/**
 * The engine's ports to the world besides store and clock: randomness, outbound requests,
 * a log and a meter. A port that has a default has it here.
 */
import { randomBytes, randomInt } from 'node:crypto';

/* -------------------- randomness -------------------------------------------------------------- */

/**
 * A source of randomness. Must be cryptographically strong in production: ids, epochs and
 * challenges come from it.
 */
export interface Random {
  /** Uniform in [0, 1). */
  uniform(): number;
  /** base64url of this many random bytes. */
  token(bytes: number): string;
}

/** Cryptographically strong randomness of `node:crypto`. */
export const systemRandom: Random = {
  uniform: () => randomInt(2 ** 47) / 2 ** 47,
  token: (bytes) => randomBytes(bytes).toString('base64url'),
};

/** A new epoch. It never starts with `-`: a command line would read it as an option. */
export const newEpoch = (random: Random): string => `ep_${random.token(16)}`;

/* -------------------- outbound requests ------------------------------------------------------- */

/** One POST to a callback. */
export interface OutboundRequest {
  /** The callback URL: a secret. */
  readonly url: string;
  /**
   * Printable ASCII. Headers that belong to the HTTP client (`host`, `content-length`, `cookie`, …)
   * are rejected.
   */
  readonly headers: Readonly<Record<string, string>>;
  readonly body: Uint8Array;
  /** Total deadline in milliseconds, including the connection. */
  readonly deadlineMs: number;
}

/**
 * The response, or the fixed category of the failure (SEP: Failure categories). Keeps at most 8 KiB
 * of the body. `cause` has one fixed sentence and no URL, so that a refused address looks the same
 * as one that does not answer.
 */
export type OutboundResult =
  | {
      readonly kind: 'response';
      readonly status: number;
      readonly contentType: string | null;
      readonly retryAfter: string | null;
      readonly body: Uint8Array;
    }
  | {
      readonly kind: 'failure';
      readonly category: 'connection_refused' | 'timeout' | 'tls_error';
      readonly cause: Error;
    };

/** The only way to make an outbound request; `createEgress` creates one. */
export interface Egress {
  /**
   * Applies the static rules to a callback URL (SEP: Destination rules) and returns its normal
   * form. Throws `WireError` `InvalidParams` for path `/callback/url`.
   */
  check(url: string): string;
  /**
   * Sends one request. Resolves for failures too; rejects only for a header that must not be sent
   * (`TypeError`).
   */
  post(request: OutboundRequest): Promise<OutboundResult>;
  /** Waits for requests in flight, then closes every connection. */
  close(): Promise<void>;
}

/* -------------------- logs and metrics -------------------------------------------------------- */

/**
 * A structured log; a subset of pino's interface. Never receives a secret, a token or a callback
 * URL.
 */
export interface Log {
  /** Helps while debugging. */
  debug(fields: object, message: string): void;
  /** Normal operation. */
  info(fields: object, message: string): void;
  /** Worth a look when there is time, for example a callback that points at a private address. */
  warn(fields: object, message: string): void;
  /** The server currently breaks a promise, for example because a commit failed. */
  error(fields: object, message: string): void;
}

/** Receives metrics. Their names are listed in `docs/architecture.md`, section Metrics. */
export interface Meter {
  /** Adds `by` (default 1) to a counter. */
  count(name: string, by?: number, labels?: Readonly<Record<string, string>>): void;
  /** Adds one observation to a histogram; durations are in seconds. */
  observe(name: string, value: number, labels?: Readonly<Record<string, string>>): void;
  /** Registers a value that is read at every scrape. */
  gauge(name: string, read: () => number): void;
}

const nothing = (): void => undefined;

/** Logs nothing. */
export const silentLog: Log = { debug: nothing, info: nothing, warn: nothing, error: nothing };

/** Counts nothing. */
export const silentMeter: Meter = { count: nothing, observe: nothing, gauge: nothing };
