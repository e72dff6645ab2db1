/** What lifetime a subscription gets, and when its client is told to come back (SEP: Lifetime). */
import { requireInteger } from './invariant.ts';
import { RENEW_FRACTION_MAX, RENEW_FRACTION_MIN } from './policy.ts';

/** What lifetimes a server grants, in milliseconds (SEP: Lifetime). */
export interface TtlPolicy {
  /** A shorter suggestion is raised to this: it is announced as `minTtlMs`. */
  readonly minMs: number;
  /** A longer suggestion is cut to this: it is announced as `maxTtlMs`. */
  readonly maxMs: number;
  /** When the client suggests nothing. */
  readonly defaultMs: number;
  /** Whether a suggested `null` is granted; if not, it gets `maxMs`. */
  readonly allowNoExpiry: boolean;
}

/**
 * The granted lifetime in ms, null = no expiry. Never more than was suggested, except for the announced floor. An omitted
 * suggestion means the default, null means "no expiry", which a server that cannot promise it answers with its maximum.
 */
export function grantTtl(suggested: number | null | undefined, policy: TtlPolicy): number | null {
  if (suggested === null) return policy.allowNoExpiry ? null : policy.maxMs;
  const wanted = suggested ?? policy.defaultMs;
  requireInteger('ttlMs', wanted, 0);
  return Math.min(Math.max(wanted, policy.minMs), policy.maxMs);
}

/** When to renew, in ms from now; null when there is nothing to renew. `jitter` is uniform in [0, 1). */
export function renewAfter(granted: number | null, jitter: number): number | null {
  if (granted === null) return null;
  return Math.floor(
    granted * (RENEW_FRACTION_MIN + (RENEW_FRACTION_MAX - RENEW_FRACTION_MIN) * jitter),
  );
}
