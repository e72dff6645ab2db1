/**
 * How long a proof of consent stands (SEP: Verification). A callback is challenged before its first event, again when its URL
 * or principal changes, and daily when the subscription has no expiry that would make the client come back.
 */
import { CONSENT_MS } from './policy.ts';
import type { Subscription } from './types.ts';

export interface ConsentPolicy {
  /** A proof for the same principal and URL is good for this long. */
  readonly cacheMs: number;
}

/** `verifiedAt`: when this principal last proved consent for this URL; null = never. */
export function needsVerification(
  verifiedAt: number | null,
  now: number,
  policy: ConsentPolicy = { cacheMs: CONSENT_MS },
): boolean {
  // A proof from the future (a clock set back) counts as none: trusting it could mean for ever.
  return verifiedAt === null || verifiedAt > now || now - verifiedAt >= policy.cacheMs;
}

/**
 * Whether events may be sent on the proof at hand. Without expiry the proof wears out after a day, so that a pull, which resumes
 * a suspended callback, cannot make it deliver before consent is proved again.
 */
export function consented({ callback, ttlMs }: Subscription, now: number): boolean {
  return callback !== null && (ttlMs !== null || now - callback.verifiedAt < CONSENT_MS);
}

/** When consent must be proved again without the client asking; null = never by itself. */
export function reverifyAt(subscription: Subscription): number | null {
  const { callback, ttlMs, paused, suspended, terminated } = subscription;
  // With an expiry the renewal is the moment to ask; paused or suspended, nothing is sent that would need consent.
  if (callback === null || ttlMs !== null || paused || suspended || terminated !== null)
    return null;
  return callback.verifiedAt + CONSENT_MS;
}
