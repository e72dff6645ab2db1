/**
 * The constants of the step function, and the policies of lifetime and consent (SEP: Limits). The
 * constants are not configurable, so that every process treats a stored state in the same way.
 */
import { requireInteger } from './invariant.ts';

const SECOND_MS = 1000;
const HOUR_MS = 3600 * SECOND_MS;
const DAY_MS = 24 * HOUR_MS;

/* backoff: full jitter below base * 2^(n - 1); the cap is low because one failing event blocks those after it */
export const BACKOFF_BASE_MS = SECOND_MS;
export const BACKOFF_MAX_MS = 300 * SECOND_MS;
export const RETRY_AFTER_MAX_MS = HOUR_MS;

/**
 * Shortest wait after an answer that acknowledges a part. A receiver that acknowledges one event at
 * a time would otherwise get requests as fast as it answers.
 */
export const PARTIAL_PAUSE_MS = 100;

/**
 * A callback is suspended after this many consecutive failures that look like a configuration
 * error, if the first of them is at least `CONFIG_FAILING_MS` ago. A restart of the endpoint or of
 * what it depends on takes less time.
 */
export const CONFIG_FAILURES_MAX = 5;
export const CONFIG_FAILING_MS = 600 * SECOND_MS;
/** Time of continuous failure after which a callback is suspended; the longest `skipAfterMs`. */
export const FAILING_MAX_MS = DAY_MS;

/* Pauses between two challenges to a suspended callback. */
export const PROBE_MIN_MS = 60 * SECOND_MS;
export const PROBE_MAX_MS = HOUR_MS;

/** Most events in one callback delivery. A `batchLimit` that grows to this value is removed. */
export const BATCH_EVENTS_MAX = 100;

/**
 * Time after which a proof of consent is no longer valid. A subscription without expiry is then
 * verified again.
 */
export const CONSENT_MS = DAY_MS;

/* A log is trimmed when it exceeds its retention by this slack: one trim per append would double the cost of an append. */
export const TRIM_SLACK_EVENTS_MIN = 64;
export const TRIM_SLACK_BYTES_MIN = 262_144;
export const TRIM_SLACK_FRACTION = 1 / 10;
export const TRIM_SLACK_AGE_FRACTION = 1 / 16;

/* `renewAfterMs` is uniform between these fractions of the grant, so that clients do not renew all at once. */
export const RENEW_FRACTION_MIN = 0.5;
export const RENEW_FRACTION_MAX = 0.8;

/**
 * Whether this many consecutive failures that look like a configuration error, the first of them at
 * `since`, reach the limit at `now`.
 */
export function isConfigLimit(failures: number, since: number | null, now: number): boolean {
  return failures >= CONFIG_FAILURES_MAX && since !== null && now - since >= CONFIG_FAILING_MS;
}

/** The lifetimes that a server grants, in milliseconds (SEP: Lifetime). */
export interface TtlPolicy {
  /** A shorter suggestion is raised to this value; announced as `minTtlMs`. */
  readonly minMs: number;
  /** A longer suggestion is cut to this value; announced as `maxTtlMs`. */
  readonly maxMs: number;
  /** Granted when the client suggests nothing. */
  readonly defaultMs: number;
  /** Whether no expiry is granted; otherwise `maxMs` is. */
  readonly allowNoExpiry: boolean;
}

/** The time for which a proof of consent is valid for the same principal and URL. */
export interface ConsentPolicy {
  readonly cacheMs: number;
}

/** The lifetime that a client suggests, as the params of a call have it. */
export interface SuggestedLifetime {
  /** In ms. Absent = the server's default. */
  readonly ttlMs?: number;
  readonly noExpiry?: true;
}

/**
 * Returns the lifetime to grant in ms; null = no expiry. It is longer than the suggestion only if the
 * suggestion is below the announced minimum. Throws `InvariantError` `invalid_input` if the suggestion
 * is not a whole number of at least 1.
 */
export function grantTtl({ ttlMs, noExpiry }: SuggestedLifetime, policy: TtlPolicy): number | null {
  if (noExpiry === true) return policy.allowNoExpiry ? null : policy.maxMs;
  const wanted = ttlMs ?? policy.defaultMs;
  requireInteger('ttlMs', wanted, 1);
  return Math.min(Math.max(wanted, policy.minMs), policy.maxMs);
}

/**
 * Returns when to renew, in ms from now; null when the grant does not expire. `jitter` is uniform in
 * [0, 1).
 */
export function renewAfter(granted: number | null, jitter: number): number | null {
  if (granted === null) return null;
  return Math.floor(
    granted * (RENEW_FRACTION_MIN + (RENEW_FRACTION_MAX - RENEW_FRACTION_MIN) * jitter),
  );
}

/** Bounds that a server chooses for all subscriptions. */
export interface Bounds {
  /**
   * Time after which a suspended subscription without expiry ends if nothing reads it, in
   * milliseconds; null = never.
   */
  readonly maxSuspendedMs: number | null;
}

/** No bounds. */
export const UNBOUNDED: Bounds = { maxSuspendedMs: null };

/**
 * Share of `maxSuspendedMs` by which reading has to move `endsAt`. A client that polls would
 * otherwise cause a write with every call.
 */
export const READ_STEP = 1 / 64;
