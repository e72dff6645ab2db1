/**
 * The ports of the engine except store and clock: randomness, outbound requests, log and meter,
 * with their defaults.
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
  /** This many random bytes as base64url. */
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
   * Header values must be printable ASCII. Some names (`host`, `content-length`, `cookie`, …) are
   * forbidden.
   */
  readonly headers: Readonly<Record<string, string>>;
  readonly body: Uint8Array;
  /** Total deadline in milliseconds, including the connection. */
  readonly deadlineMs: number;
}

/**
 * The response, with at most 8 KiB of its body, or the category of the failure (SEP: Failure
 * categories). The message of `cause` is fixed for each category and contains no URL, so that a
 * blocked address looks the same as a closed port.
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
   * Sends one request. Resolves also when the request fails; rejects only for a forbidden header
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
  /** Details for debugging. */
  debug(fields: object, message: string): void;
  /** Normal operation. */
  info(fields: object, message: string): void;
  /** Needs attention, but not at once, for example a callback with a private address. */
  warn(fields: object, message: string): void;
  /** The server cannot do its work at the moment, for example because a commit failed. */
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

/** Discards all log lines. */
export const silentLog: Log = { debug: nothing, info: nothing, warn: nothing, error: nothing };

/** Discards all metrics. */
export const silentMeter: Meter = { count: nothing, observe: nothing, gauge: nothing };
