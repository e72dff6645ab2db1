/**
 * The constants the step function decides by (SEP: Limits). They are fixed rather than configured so that a state means the
 * same thing to every process that loads it.
 */

const SECOND_MS = 1000;
const HOUR_MS = 3600 * SECOND_MS;
const DAY_MS = 24 * HOUR_MS;

/* backoff: full jitter below base * 2^(n - 1), capped at minutes because order makes every retry head-of-line */
export const BACKOFF_BASE_MS = SECOND_MS;
export const BACKOFF_MAX_MS = 300 * SECOND_MS;
export const RETRY_AFTER_MAX_MS = HOUR_MS;

/* when a callback has failed for good */
export const CONFIG_FAILURES_MAX = 5;
export const FAILING_MAX_MS = DAY_MS;

/** A batch limit that has grown back to this many events is lifted. */
export const BATCH_EVENTS_MAX = 100;

/** A proof of consent stands this long; a subscription without expiry is verified again this often. */
export const CONSENT_MS = DAY_MS;

/* Retention bounds are trimmed with slack, in batches: trimming one event per append would double the cost of an append. */
export const TRIM_SLACK_EVENTS_MIN = 64;
export const TRIM_SLACK_FRACTION = 1 / 10;
export const TRIM_SLACK_AGE_FRACTION = 1 / 16;

/* the renew hint is uniform between these fractions of the grant, so that clients do not arrive together */
export const RENEW_FRACTION_MIN = 0.5;
export const RENEW_FRACTION_MAX = 0.8;
