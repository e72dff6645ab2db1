/**
 * Constants by which the step function decides, and the policies of lifetime and consent (SEP:
 * Limits). The constants are fixed rather than configured, so that every process that loads a state
 * reads it in the same way.
 */
import { requireInteger } from './invariant.ts';

const SECOND_MS = 1000;
const HOUR_MS = 3600 * SECOND_MS;
const DAY_MS = 24 * HOUR_MS;

/* backoff: full jitter below base * 2^(n - 1); the cap is low because one failing event blocks those after it */
export const BACKOFF_BASE_MS = SECOND_MS;
export const BACKOFF_MAX_MS = 300 * SECOND_MS;
export const RETRY_AFTER_MAX_MS = HOUR_MS;

/** Consecutive failures that look like a configuration error before `onFailure` applies. */
export const CONFIG_FAILURES_MAX = 5;
/** Time that a callback may fail before `onFailure` applies. */
export const FAILING_MAX_MS = DAY_MS;

/** Most events in one callback delivery. A batch limit that has grown to this value is removed. */
export const BATCH_EVENTS_MAX = 100;

/**
 * Validity of a proof of consent; a subscription without expiry is verified again after this time.
 */
export const CONSENT_MS = DAY_MS;

/* Trimming happens in batches, with slack: trimming one event per append would double the cost of an append. */
export const TRIM_SLACK_EVENTS_MIN = 64;
export const TRIM_SLACK_FRACTION = 1 / 10;
export const TRIM_SLACK_AGE_FRACTION = 1 / 16;

/* The renew hint is uniform between these fractions of the grant, so that clients do not renew all at once. */
export const RENEW_FRACTION_MIN = 0.5;
export const RENEW_FRACTION_MAX = 0.8;

/** Lifetimes that a server grants, in milliseconds (SEP: Lifetime). */
export interface TtlPolicy {
  /** A shorter suggestion is raised to this value; announced as `minTtlMs`. */
  readonly minMs: number;
  /** A longer suggestion is cut to this value; announced as `maxTtlMs`. */
  readonly maxMs: number;
  /** Granted when the client suggests nothing. */
  readonly defaultMs: number;
  /** Whether `null` (no expiry) is granted; otherwise `maxMs` is. */
  readonly allowNoExpiry: boolean;
}

/** Validity of a proof of consent for the same principal and URL. */
export interface ConsentPolicy {
  readonly cacheMs: number;
}

/**
 * The granted lifetime in ms; null = no expiry. Never longer than the suggestion, except for the
 * announced minimum. An omitted suggestion means the default, and null means no expiry.
 */
export function grantTtl(suggested: number | null | undefined, policy: TtlPolicy): number | null {
  if (suggested === null) return policy.allowNoExpiry ? null : policy.maxMs;
  const wanted = suggested ?? policy.defaultMs;
  requireInteger('ttlMs', wanted, 0);
  return Math.min(Math.max(wanted, policy.minMs), policy.maxMs);
}

/**
 * When to renew, in ms from now; null when the grant does not expire. `jitter` is uniform in [0,
 * 1).
 */
export function renewAfter(granted: number | null, jitter: number): number | null {
  if (granted === null) return null;
  return Math.floor(
    granted * (RENEW_FRACTION_MIN + (RENEW_FRACTION_MAX - RENEW_FRACTION_MIN) * jitter),
  );
}
