/**
 * Functions that the steps share: a callback's state, a subscription's consent, due times and health, and the
 * possible results of a step.
 */
import {
  CONSENT_MS,
  PROBE_MAX_MS,
  PROBE_MIN_MS,
  TRIM_SLACK_AGE_FRACTION,
  TRIM_SLACK_BYTES_MIN,
  TRIM_SLACK_FRACTION,
  type ConsentPolicy,
} from './policy.ts';
import type {
  CallbackState,
  Effect,
  Health,
  StepRefusal,
  Step,
  Subscription,
  TerminationReason,
} from './types.ts';

/**
 * Returns the state of the callback on the wire, which says nothing about `paused` (SEP: The
 * callback of a subscription).
 */
export function callbackStateOf({ suspendedAt, health }: Subscription): CallbackState {
  if (suspendedAt !== null) return 'suspended';
  return health.attempts > 0 ? 'failing' : 'ok';
}

/**
 * Returns the ETag, which changes exactly when the configuration or the epoch does (SEP: ETags). It
 * contains the epoch, because a store that lost writes may have lost configuration changes as well;
 * without the epoch, later changes would reach a version that a client already knows. The last eight
 * characters of the epoch suffice; its prefix would not.
 */
export function etagOf(subscription: Pick<Subscription, 'epoch' | 'version'>): string {
  return `${subscription.version.toString(36)}-${subscription.epoch.slice(-8)}`;
}

/** Returns the lowest retained number; `head + 1` when nothing is retained. */
export function oldest(subscription: Subscription): number {
  return subscription.floor + 1;
}

/**
 * Whether `expiresAt` or `endsAt` has passed. Nothing can renew the subscription then, even before
 * the `tick` that ends it.
 */
export function expired({ expiresAt, endsAt }: Subscription, now: number): boolean {
  return (expiresAt !== null && expiresAt <= now) || (endsAt !== null && endsAt <= now);
}

/**
 * Whether the callback has something to send, and is not paused, suspended or busy with an attempt.
 * Expiry, consent and `retryAt` are not checked.
 */
function isPending(subscription: Subscription): boolean {
  const { callback, paused, suspendedAt, terminated, attempt, acked, head } = subscription;
  return (
    callback !== null &&
    !paused &&
    suspendedAt === null &&
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
 * Whether an endpoint must prove its consent now, because it never did for this principal and URL or
 * because the last proof is too old (SEP: Verification). `verifiedAt` is the time of the last proof;
 * null = never.
 */
export function needsVerification(
  verifiedAt: number | null,
  now: number,
  policy: ConsentPolicy = { cacheMs: CONSENT_MS },
): boolean {
  // A proof from the future (the clock was set back) is ignored: it could stay valid for years.
  return verifiedAt === null || verifiedAt > now || now - verifiedAt >= policy.cacheMs;
}

/**
 * Whether the proof of consent allows sending events. For a subscription without expiry the proof
 * lapses after a day.
 */
function hasConsent({ callback, ttlMs }: Subscription, now: number): boolean {
  return callback !== null && (ttlMs !== null || now - callback.verifiedAt < CONSENT_MS);
}

/**
 * Returns when the server must challenge the callback without a call by the client; null = never. A
 * suspended callback is probed. Without expiry, consent is verified daily. A paused callback
 * receives nothing that needs consent.
 */
export function reverifyAt(subscription: Subscription): number | null {
  const { callback, ttlMs, paused, suspendedAt, probeAt, terminated } = subscription;
  if (callback === null || paused || terminated !== null) return null;
  if (suspendedAt !== null) return probeAt;
  return ttlMs === null ? callback.verifiedAt + CONSENT_MS : null;
}

/**
 * Returns when to probe a suspended callback next. The pauses grow with the time of the suspension,
 * from a minute to an hour, and are at most halved by `jitter`.
 */
export function nextProbeAt(suspendedAt: number, jitter: number, now: number): number {
  const pause = Math.min(PROBE_MAX_MS, Math.max(PROBE_MIN_MS, now - suspendedAt));
  return now + Math.round(pause * (1 - jitter / 2));
}

/**
 * Whether the log may have more bytes than its retention allows: count them, and `trim`. True also
 * while they are unknown.
 */
export function isOversized({ bytes, retention, floor, head }: Subscription): boolean {
  const { maxBytes } = retention;
  if (maxBytes === undefined || floor === head) return false;
  const slack = Math.max(TRIM_SLACK_BYTES_MIN, Math.floor(maxBytes * TRIM_SLACK_FRACTION));
  return bytes === null || bytes > maxBytes + slack;
}

/**
 * Returns when retention is due: by age, or at once by bytes; null when nothing is retained or the
 * subscription ended.
 */
export function trimDueAt(subscription: Subscription): number | null {
  const { oldestAt, retention, terminated } = subscription;
  if (oldestAt === null || terminated !== null) return null;
  if (isOversized(subscription)) return oldestAt;
  return oldestAt + retention.maxAgeMs + Math.floor(retention.maxAgeMs * TRIM_SLACK_AGE_FRACTION);
}

/**
 * Returns the earliest instant at which something is due; null = never. Due can be: expiry, the end
 * of a long suspension, the end of a lease, a retry, the end of a secret's rotation window (all handled by `tick`), retention by
 * age or bytes (`trimDueAt`, handled by `trim`) and a new proof of consent (`reverifyAt`, handled
 * by `verified`).
 */
export function dueAt(subscription: Subscription): number | null {
  if (subscription.terminated !== null) return null;
  const { expiresAt, endsAt, attempt, retryAt, callback } = subscription;
  const candidates = [
    expiresAt,
    endsAt,
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
  configFailingSince: null,
  transientSince: null,
  failingSince: null,
  lastError: null,
  lastDeliveryAt: null,
};

/** Resets the failure counters. Keeps `lastError`, which stays visible until the next success. */
export function resetCounters(health: Health): Health {
  return { ...HEALTHY, lastError: health.lastError, lastDeliveryAt: health.lastDeliveryAt };
}

/**
 * Ends a suspension. Called only when the client asks for it or brings another URL or secret, and
 * when the endpoint proved its consent (SEP: Suspension).
 */
export function resumed(subscription: Subscription): Subscription {
  return {
    ...subscription,
    suspendedAt: null,
    probeAt: null,
    health: resetCounters(subscription.health),
  };
}

/**
 * The result of a rejected input. Its subscription is the identical object, so that a caller can see
 * by `===` that there is nothing to save.
 */
export function refuse(subscription: Subscription, kind: StepRefusal['kind']): Step {
  return { subscription, effects: [], refused: { kind } };
}

export function unchanged(subscription: Subscription): Step {
  return { subscription, effects: [] };
}

/** The result of a step that may have made the callback deliverable: appends `ready` if it is. */
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
