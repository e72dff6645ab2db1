/**
 * Steps of callback delivery: an attempt is claimed, answered or lost; the endpoint proves its
 * consent or fails to.
 */
import { isAcceptableAck, backoffMs } from './attempt.ts';
import { InvariantError, requireInteger } from './invariant.ts';
import { BATCH_EVENTS_MAX, FAILING_MAX_MS, isConfigLimit, PARTIAL_PAUSE_MS } from './policy.ts';
import {
  deliverable,
  HEALTHY,
  nextProbeAt,
  refuse,
  resetCounters,
  resumed,
  settle,
  unchanged,
} from './state.ts';
import type {
  Attempt,
  Effect,
  GapReason,
  Health,
  Input,
  Outcome,
  Step,
  Subscription,
} from './types.ts';

type InputOf<T extends Input['type']> = Extract<Input, { type: T }>;

/**
 * Starts an attempt. Only one is in flight at a time, and it starts directly after the acknowledged
 * number (SEP: Callback).
 */
export function claim(
  subscription: Subscription,
  { to, events, first, leaseMs }: InputOf<'claim'>,
  now: number,
): Step {
  requireInteger('claim.leaseMs', leaseMs, 1);
  const { acked, head, attempt, callback } = subscription;
  const probe = to === acked;
  const allowed = probe
    ? callback !== null && attempt === null
    : deliverable(subscription, now) && Number.isSafeInteger(to) && to > acked && to <= head;
  if (!allowed) return refuse(subscription, 'not_deliverable');
  requireInteger('claim.events', events, 0);
  const plausible =
    first === null ? events === 0 : events > 0 && first > acked && first + events - 1 <= to;
  if (!plausible)
    throw new InvariantError(
      'invalid_input',
      `claim: ${events} events, the first with number ${first}, do not fit into ${acked + 1} to ${to}. Fix the caller.`,
    );
  const started: Attempt = {
    id: subscription.attempts + 1,
    after: acked,
    to,
    events,
    first,
    leaseUntil: now + leaseMs,
  };
  const next = {
    ...subscription,
    attempt: started,
    attempts: started.id,
    retryAt: null,
    sent: Math.max(subscription.sent, to),
  };
  return { subscription: next, effects: [{ type: 'attempt', attempt: started }] };
}

/** Applies the answer to the attempt in flight. Rejects the answer to any other attempt. */
export function answer(
  subscription: Subscription,
  { attempt, outcome, jitter }: InputOf<'answer'>,
  now: number,
): Step {
  const current = subscription.attempt;
  if (current === null || current.id !== attempt) return refuse(subscription, 'stale_attempt');
  return settleAttempt(subscription, current, outcome, jitter, now);
}

/** Ends the attempt in flight with this outcome. For an expired lease the outcome is a timeout. */
export function settleAttempt(
  subscription: Subscription,
  attempt: Attempt,
  outcome: Outcome,
  jitter: number,
  now: number,
): Step {
  const ended: Subscription = { ...subscription, attempt: null };
  switch (outcome.kind) {
    case 'acked':
      return isAcceptableAck(outcome.ack, outcome.reject, attempt)
        ? acknowledged(ended, attempt, outcome.ack, outcome.reject, now)
        : failed(
            ended,
            attempt,
            { kind: 'transient', category: 'no_ack', retryAfterMs: null },
            jitter,
            now,
          );
    case 'gone':
      return gone(ended, jitter, now);
    case 'too_large':
      return tooLarge(ended, attempt, jitter, now);
    case 'refused':
      return refused(ended, attempt, jitter, now);
    default:
      return failed(ended, attempt, outcome, jitter, now);
  }
}

function acknowledged(
  subscription: Subscription,
  attempt: Attempt,
  ack: number,
  reject: number | null,
  now: number,
): Step {
  const { health } = subscription;
  const probe = attempt.to === attempt.after;
  // Rejecting a number that this delivery reports as a gap acknowledges the gap. Otherwise the gap
  // would be delivered and rejected forever.
  const rejectsGap = reject !== null && ack === attempt.after && reject !== attempt.first;
  const acked = Math.max(subscription.acked, rejectsGap ? reject : ack);
  const effects: Effect[] = [];
  // Another drain may have acknowledged the number, or retention may have dropped it; then there is
  // nothing to reject. The new gap is above `acked`, so that the next delivery reports it.
  if (reject !== null && reject > Math.max(acked, subscription.floor))
    effects.push({ type: 'gap', from: reject, to: reject, reason: 'rejected' });
  if (acked > subscription.acked) effects.push({ type: 'wake' });
  const next: Subscription = {
    ...subscription,
    acked,
    retryAt: acked < attempt.to ? now + PARTIAL_PAUSE_MS : null,
    batchLimit: probe ? subscription.batchLimit : grown(subscription.batchLimit),
    // An acknowledged empty delivery does not erase the reason of a suspension, because it does not
    // end it.
    health: {
      ...HEALTHY,
      lastDeliveryAt: probe ? health.lastDeliveryAt : now,
      lastError: subscription.suspendedAt === null ? null : health.lastError,
    },
  };
  return settle(next, effects, now);
}

function grown(batchLimit: number | null): number | null {
  return batchLimit === null || batchLimit * 2 >= BATCH_EVENTS_MAX ? null : batchLimit * 2;
}

type Failure = Extract<Outcome, { kind: 'transient' | 'config' }>;

function failed(
  subscription: Subscription,
  attempt: Attempt,
  failure: Failure,
  jitter: number,
  now: number,
): Step {
  const before = subscription.health;
  const isConfig = failure.kind === 'config';
  const health: Health = {
    attempts: before.attempts + 1,
    configFailures: isConfig ? before.configFailures + 1 : 0,
    configFailingSince: isConfig ? (before.configFailingSince ?? now) : null,
    transientSince: isConfig ? null : (before.transientSince ?? now),
    failingSince: before.failingSince ?? now,
    lastError: failure.category,
    lastDeliveryAt: before.lastDeliveryAt,
  };
  const exhausted =
    isConfigLimit(health.configFailures, health.configFailingSince, now) ||
    now - (health.failingSince ?? now) >= FAILING_MAX_MS;
  const retryAfterMs = failure.kind === 'transient' ? failure.retryAfterMs : null;
  const waiting: Subscription = {
    ...subscription,
    health,
    retryAt: now + backoffMs(health.attempts, jitter, retryAfterMs),
  };
  const notBefore = retryAfterMs === null ? null : now + retryAfterMs;
  // A delivery of gaps only reports what was skipped, and cannot be skipped itself.
  if (failure.kind === 'transient' && isStuck(waiting, now) && attempt.first !== null)
    return skip(waiting, attempt.first, 'skipped', notBefore, now);
  return exhausted
    ? suspend({ ...waiting, retryAt: notBefore }, jitter, now)
    : settle(waiting, [], now);
}

/**
 * Whether transient failures have held up the callback for so long that the client wants an event
 * skipped.
 */
function isStuck({ callback, health: { transientSince } }: Subscription, now: number): boolean {
  const skipAfterMs = callback?.skipAfterMs ?? Number.POSITIVE_INFINITY;
  return transientSince !== null && now - transientSince >= skipAfterMs;
}

/**
 * Records one event of the attempt as a gap and continues with the next (SEP:
 * Suspension). `notBefore`, the end of the endpoint's `Retry-After`, replaces the backoff.
 */
function skip(
  subscription: Subscription,
  sequence: number,
  reason: GapReason,
  notBefore: number | null,
  now: number,
): Step {
  // `acked` stays below the gap, because only the client acknowledges and the next delivery must
  // report the gap.
  const effects: Effect[] =
    sequence > Math.max(subscription.acked, subscription.floor)
      ? [{ type: 'gap', from: sequence, to: sequence, reason }]
      : [];
  return settle(
    { ...subscription, retryAt: notBefore, health: resetCounters(subscription.health) },
    effects,
    now,
  );
}

function suspend(subscription: Subscription, jitter: number, now: number): Step {
  if (subscription.suspendedAt !== null) return unchanged(subscription);
  const probeAt = Math.max(nextProbeAt(now, jitter, now), subscription.retryAt ?? 0);
  return {
    subscription: { ...subscription, suspendedAt: now, probeAt },
    effects: [{ type: 'announce' }],
  };
}

/**
 * Handles 413. With several events, halves the batch without counting a failure; a single event
 * becomes a gap.
 */
function tooLarge(subscription: Subscription, attempt: Attempt, jitter: number, now: number): Step {
  // A delivery without events cannot be made smaller, so its 413 is a configuration error.
  if (attempt.first === null)
    return failed(subscription, attempt, { kind: 'config', category: 'http_4xx' }, jitter, now);
  if (attempt.events > 1)
    return settle({ ...subscription, batchLimit: Math.floor(attempt.events / 2) }, [], now);
  const health: Health = { ...subscription.health, lastError: 'http_4xx' };
  return skip({ ...subscription, batchLimit: 1, health }, attempt.first, 'too_large', null, now);
}

/** Handles an answer by which the endpoint rejects an event forever. */
function refused(subscription: Subscription, attempt: Attempt, jitter: number, now: number): Step {
  // With several events the answer does not say which one it rejects.
  if (attempt.events !== 1 || attempt.first === null)
    return failed(subscription, attempt, { kind: 'config', category: 'http_4xx' }, jitter, now);
  return skip(
    { ...subscription, health: { ...subscription.health, lastError: 'http_4xx' } },
    attempt.first,
    'rejected',
    null,
    now,
  );
}

/**
 * Handles 410: suspends the callback at once. Keeps URL and secret, because a gateway in front of
 * the endpoint can answer 410 by mistake.
 */
function gone(subscription: Subscription, jitter: number, now: number): Step {
  const { health: before } = subscription;
  const health: Health = {
    ...before,
    attempts: before.attempts + 1,
    failingSince: before.failingSince ?? now,
    lastError: 'gone',
  };
  return suspend({ ...subscription, health, retryAt: null }, jitter, now);
}

/**
 * Records the result of a verification. A proof resumes a suspended callback; without consent the
 * callback is suspended (SEP: Verification). A failed probe changes only
 * the time of the next one, so that the health keeps the reason of the suspension.
 */
export function verified(
  subscription: Subscription,
  { ok, jitter }: InputOf<'verified'>,
  now: number,
): Step {
  const { callback, suspendedAt } = subscription;
  if (callback === null) return unchanged(subscription);
  if (ok) {
    const proven = { ...subscription, callback: { ...callback, verifiedAt: now } };
    return suspendedAt === null
      ? settle(proven, [], now)
      : settle(resumed(proven), [{ type: 'announce' }], now);
  }
  if (suspendedAt !== null) {
    const probeAt = nextProbeAt(suspendedAt, jitter, now);
    return { subscription: { ...subscription, probeAt }, effects: [] };
  }
  const health: Health = { ...subscription.health, lastError: 'challenge_failed' };
  return suspend({ ...subscription, health }, jitter, now);
}
