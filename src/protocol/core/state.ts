/**
 * Questions about a subscription that change nothing: what may be done with it now, and when something will be due. Also the
 * ways a step can end.
 */
import { TRIM_SLACK_AGE_FRACTION } from './policy.ts';
import { consented, reverifyAt } from './verification.ts';
import type {
  Effect,
  StepRefusal,
  Status,
  Step,
  Subscription,
  TerminationReason,
} from './types.ts';

/** `suspended` wins over `paused`: it is the one that needs the client's attention. */
export function statusOf(subscription: Subscription): Status {
  if (subscription.suspended) return 'suspended';
  return subscription.paused ? 'paused' : 'active';
}

/** The lowest number still retained; `head + 1` when nothing is. */
export function oldest(subscription: Subscription): number {
  return subscription.floor + 1;
}

/** From `expiresAt` on a subscription can only end, whether or not the `tick` that ends it has come yet. */
export function expired(subscription: Subscription, now: number): boolean {
  return subscription.expiresAt !== null && subscription.expiresAt <= now;
}

/** The callback has something to send and nothing but `retryAt` can be in the way. */
function waiting(subscription: Subscription): boolean {
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

/** A callback attempt may start now (SEP: Callback). */
export function deliverable(subscription: Subscription, now: number): boolean {
  const { retryAt } = subscription;
  return (
    waiting(subscription) &&
    !expired(subscription, now) &&
    consented(subscription, now) &&
    (retryAt === null || retryAt <= now)
  );
}

/** When retention by age is to be looked at next; null when nothing is retained. */
export function trimDueAt(subscription: Subscription): number | null {
  const { oldestAt, retention, terminated } = subscription;
  if (oldestAt === null || terminated !== null) return null;
  return oldestAt + retention.maxAgeMs + Math.floor(retention.maxAgeMs * TRIM_SLACK_AGE_FRACTION);
}

/**
 * The earliest instant at which something happens without anybody asking: expiry, the end of a lease, a retry, the end of a
 * secret's rotation window (all by a `tick` input), retention by age (`trimDueAt`, by a `trim` input) and consent that must be
 * proved again (`reverifyAt`, by a `verified` input). Null = never.
 */
export function dueAt(subscription: Subscription): number | null {
  if (subscription.terminated !== null) return null;
  const { expiresAt, attempt, retryAt, callback } = subscription;
  const candidates = [
    expiresAt,
    attempt === null ? null : attempt.leaseUntil,
    waiting(subscription) ? retryAt : null,
    callback === null ? null : callback.previousUntil,
    trimDueAt(subscription),
    reverifyAt(subscription),
  ];
  let earliest: number | null = null;
  for (const at of candidates)
    if (at !== null && (earliest === null || at < earliest)) earliest = at;
  return earliest;
}

/** The very same object comes back, so that a caller can see by `===` that nothing has to be saved. */
export function refuse(subscription: Subscription, kind: StepRefusal['kind']): Step {
  return { subscription, effects: [], refused: { kind } };
}

export function unchanged(subscription: Subscription): Step {
  return { subscription, effects: [] };
}

/** A step that ends here: `ready` is added, last, when it leaves the callback deliverable. */
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
