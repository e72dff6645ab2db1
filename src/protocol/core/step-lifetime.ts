/**
 * Steps of configuration and time: renewal, update, tick, recovery after a restart, and
 * termination.
 */
import { jsonEqual } from './canonical.ts';
import { classifyFailure } from './attempt.ts';
import { end, expired, HEALTHY, resetCounters, resumed, settle, unchanged } from './state.ts';
import { settleAttempt } from './step-callback.ts';
import type { Callback, Effect, Input, Step, Subscription } from './types.ts';

type InputOf<T extends Input['type']> = Extract<Input, { type: T }>;

/**
 * Applies a renewal or an update. Increments the version once if anything that the ETag covers
 * differs; a repeated call with the same values is not a change (SEP: ETags). The ETag does not
 * cover a suspension and its end.
 */
export function configure(
  subscription: Subscription,
  { change }: InputOf<'configure'>,
  now: number,
): Step {
  const before = subscription;
  let next = before;
  if (change.select !== undefined && !jsonEqual(change.select, before.select))
    next = { ...next, select: change.select };
  if (change.retention !== undefined && !jsonEqual(change.retention, before.retention))
    next = { ...next, retention: change.retention };
  if (change.paused === true && !before.paused) next = { ...next, paused: true };
  // Paused time does not count as failing time. A suspension keeps its reason.
  if (change.paused === false && before.paused) {
    const health = next.suspendedAt === null ? resetCounters(next.health) : next.health;
    next = { ...next, paused: false, health };
  }
  if (change.ttlMs !== undefined) {
    const expiresAt = change.ttlMs === null ? null : now + change.ttlMs;
    if (change.ttlMs !== before.ttlMs || expiresAt !== before.expiresAt)
      next = { ...next, ttlMs: change.ttlMs, expiresAt };
  }
  if (change.callback !== undefined) next = withCallback(next, change.callback);
  if (change.resume === true && next.suspendedAt !== null) next = resumed(next);
  if (next === before) return unchanged(before);
  const configured = !sameConfiguration(before, next);
  const version = configured ? before.version + 1 : before.version;
  const announced = configured || before.suspendedAt !== next.suspendedAt;
  return settle({ ...next, version }, announced ? [{ type: 'announce' }] : [], now);
}

/**
 * Returns the subscription with this callback. Another URL is another endpoint, so the attempt and
 * the health of the old one do not apply to it.
 */
function withCallback(subscription: Subscription, callback: Callback | null): Subscription {
  const before = subscription.callback;
  if (jsonEqual(callback, before)) return subscription;
  if (callback?.url !== before?.url)
    return {
      ...subscription,
      callback,
      attempt: null,
      retryAt: null,
      batchLimit: null,
      health: HEALTHY,
      suspendedAt: null,
      probeAt: null,
    };
  const next = { ...subscription, callback };
  // The endpoint is the same, so `Retry-After` still applies. The attempt in flight continues
  // unless a secret that may have signed its request is no longer in use.
  const inUse = [callback?.secret, callback?.previousSecret];
  const isDropped = [before?.secret, before?.previousSecret].some(
    (secret) => secret !== null && !inUse.includes(secret),
  );
  if (isDropped) next.attempt = null;
  // A new secret may fix earlier 401s, so failures count from zero and a suspension ends.
  return callback?.secret === before?.secret ? next : resumed(next);
}

/**
 * Whether everything that the ETag covers is the same. The ETag does not cover retention, a secret's
 * rotation window and the time of verification, which the client does not set.
 */
function sameConfiguration(a: Subscription, b: Subscription): boolean {
  return (
    a.select === b.select &&
    a.ttlMs === b.ttlMs &&
    a.paused === b.paused &&
    a.callback?.url === b.callback?.url &&
    a.callback?.secret === b.callback?.secret &&
    a.callback?.skipAfterMs === b.callback?.skipAfterMs &&
    jsonEqual(a.callback?.limits ?? null, b.callback?.limits ?? null) &&
    a.callback?.dialect === b.callback?.dialect
  );
}

/**
 * Does what is due, in this order: expiry or the end of a long suspension, an expired lease, a retry, the end of a rotation window.
 */
export function tick(subscription: Subscription, _input: InputOf<'tick'>, now: number): Step {
  if (expired(subscription, now))
    return end(subscription, subscription.endsAt === null ? 'expired' : 'failed', now);
  let next = subscription;
  let effects: readonly Effect[] = [];
  if (next.attempt !== null && next.attempt.leaseUntil <= now) {
    // Jitter 1: the longest delay suits an endpoint that does not answer.
    const lost = settleAttempt(next, next.attempt, classifyFailure('timeout'), 1, now);
    next = lost.subscription;
    effects = lost.effects.filter((effect) => effect.type !== 'ready');
  }
  if (next.retryAt !== null && next.retryAt <= now) next = { ...next, retryAt: null };
  const { callback } = next;
  if (callback !== null && callback.previousUntil !== null && callback.previousUntil <= now) {
    next = { ...next, callback: { ...callback, previousSecret: null, previousUntil: null } };
  }
  return settle(next, effects, now);
}

/**
 * Drops the attempt of a former process, because its answer cannot arrive here. Does not count as a
 * failure of the endpoint.
 */
export function recover(subscription: Subscription, _input: InputOf<'recover'>, now: number): Step {
  return settle(
    subscription.attempt === null ? subscription : { ...subscription, attempt: null },
    [],
    now,
  );
}

export function terminate(
  subscription: Subscription,
  { reason }: InputOf<'terminate'>,
  now: number,
): Step {
  return end(subscription, reason, now);
}
