/**
 * Functions of a subscription that steps share: its status, what may happen to it now, when
 * something falls due, its health record, and the results with which a step can end.
 */
import { CONSENT_MS, TRIM_SLACK_AGE_FRACTION, type ConsentPolicy } from './policy.ts';
import type {
  Effect,
  Health,
  StepRefusal,
  Status,
  Step,
  Subscription,
  TerminationReason,
} from './types.ts';

/** `suspended` takes precedence over `paused`, because it needs the client's attention. */
export function statusOf(subscription: Subscription): Status {
  if (subscription.suspended) return 'suspended';
  return subscription.paused ? 'paused' : 'active';
}

/**
 * The ETag (SEP: ETags). Changes exactly when the configuration or the epoch does. It contains the
 * epoch because a store that lost writes may have lost configuration changes as well, and would
 * otherwise count back up to a version that a client knows.
 */
export function etagOf(subscription: Pick<Subscription, 'epoch' | 'version'>): string {
  return `${subscription.epoch.slice(0, 8)}-${subscription.version.toString(36)}`;
}

/** The lowest retained number; `head + 1` when nothing is retained. */
export function oldest(subscription: Subscription): number {
  return subscription.floor + 1;
}

/**
 * Whether `expiresAt` has passed. The subscription can then only end, even before the `tick` that
 * ends it.
 */
export function expired(subscription: Subscription, now: number): boolean {
  return subscription.expiresAt !== null && subscription.expiresAt <= now;
}

/** Whether the callback has something to send and nothing but `retryAt` can delay it. */
function isPending(subscription: Subscription): boolean {
  const { callback, paused, suspended, terminated, attempt, acked, head } = subscription;
  return (
    callback !== null &&
    !paused &&
    !suspended &&
    terminated === null &&
    attempt === null &&
    acked < head
  );
}

/** Whether a callback attempt may start now (SEP: Callback). */
export function deliverable(subscription: Subscription, now: number): boolean {
  const { retryAt } = subscription;
  return (
    isPending(subscription) &&
    !expired(subscription, now) &&
    hasConsent(subscription, now) &&
    (retryAt === null || retryAt <= now)
  );
}

/**
 * Whether an endpoint must prove consent before its first event, after a change of URL or
 * principal, or again (SEP: Verification). `verifiedAt`: when this principal last proved consent
 * for this URL; null = never.
 */
export function needsVerification(
  verifiedAt: number | null,
  now: number,
  policy: ConsentPolicy = { cacheMs: CONSENT_MS },
): boolean {
  // A proof from the future (after the clock was set back) is ignored: it could stay valid forever.
  return verifiedAt === null || verifiedAt > now || now - verifiedAt >= policy.cacheMs;
}

/**
 * Whether the proof of consent allows sending events. Without expiry the proof lapses after a day,
 * so that a pull, which resumes a suspended callback, cannot start deliveries before consent is
 * proved again.
 */
function hasConsent({ callback, ttlMs }: Subscription, now: number): boolean {
  return callback !== null && (ttlMs !== null || now - callback.verifiedAt < CONSENT_MS);
}

/** When the server must verify consent again by itself; null = never. */
export function reverifyAt(subscription: Subscription): number | null {
  const { callback, ttlMs, paused, suspended, terminated } = subscription;
  // With an expiry, renewals verify. A paused or suspended callback receives nothing that needs
  // consent.
  if (callback === null || ttlMs !== null || paused || suspended || terminated !== null)
    return null;
  return callback.verifiedAt + CONSENT_MS;
}

/** When retention by age is due; null when nothing is retained. */
export function trimDueAt(subscription: Subscription): number | null {
  const { oldestAt, retention, terminated } = subscription;
  if (oldestAt === null || terminated !== null) return null;
  return oldestAt + retention.maxAgeMs + Math.floor(retention.maxAgeMs * TRIM_SLACK_AGE_FRACTION);
}

/**
 * The earliest instant at which something falls due: expiry, the end of a lease, a retry, the end
 * of a secret's rotation window (all handled by `tick`), retention by age (`trimDueAt`, handled by
 * `trim`) and a new proof of consent (`reverifyAt`, handled by `verified`). Null = never.
 */
export function dueAt(subscription: Subscription): number | null {
  if (subscription.terminated !== null) return null;
  const { expiresAt, attempt, retryAt, callback } = subscription;
  const candidates = [
    expiresAt,
    attempt === null ? null : attempt.leaseUntil,
    isPending(subscription) ? retryAt : null,
    callback === null ? null : callback.previousUntil,
    trimDueAt(subscription),
    reverifyAt(subscription),
  ];
  let earliest: number | null = null;
  for (const at of candidates)
    if (at !== null && (earliest === null || at < earliest)) earliest = at;
  return earliest;
}

/** The health of a callback without failures. */
export const HEALTHY: Health = {
  attempts: 0,
  configFailures: 0,
  failingSince: null,
  lastError: null,
  lastDeliveryAt: null,
};

/** Resets the counters. `lastError` stays visible until the next success. */
export function resetCounters(health: Health): Health {
  return { ...HEALTHY, lastError: health.lastError, lastDeliveryAt: health.lastDeliveryAt };
}

/**
 * Ends a suspension. Only a client resumes: by a renewal, an update or a pull (SEP: Failure and
 * suspension).
 */
export function resumed(subscription: Subscription): Subscription {
  return {
    ...subscription,
    suspended: false,
    version: subscription.version + 1,
    health: resetCounters(subscription.health),
  };
}

/** Returns the identical object, so that `===` shows a caller that nothing must be saved. */
export function refuse(subscription: Subscription, kind: StepRefusal['kind']): Step {
  return { subscription, effects: [], refused: { kind } };
}

export function unchanged(subscription: Subscription): Step {
  return { subscription, effects: [] };
}

/** The result of a step. Appends `ready` when the callback is deliverable afterwards. */
export function settle(subscription: Subscription, effects: readonly Effect[], now: number): Step {
  return {
    subscription,
    effects: deliverable(subscription, now) ? [...effects, { type: 'ready' }] : effects,
  };
}

export function end(subscription: Subscription, reason: TerminationReason, now: number): Step {
  return {
    subscription: { ...subscription, attempt: null, terminated: { reason, at: now } },
    effects: [{ type: 'terminated', reason }],
  };
}
