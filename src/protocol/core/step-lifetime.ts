/** Steps of configuration and time: renewals and updates, what a tick finds due, a new process, the end. */
import { jsonEqual } from './canonical.ts';
import { classifyFailure } from './attempt.ts';
import { HEALTHY, resetCounters, resumed } from './health.ts';
import { end, expired, settle, unchanged } from './state.ts';
import { settleAttempt } from './step-callback.ts';
import type { Callback, Effect, Input, Step, Subscription } from './types.ts';

type InputOf<T extends Input['type']> = Extract<Input, { type: T }>;

/**
 * A renewal or update. The version, and so the ETag, moves once if anything it covers really became different: repeating a
 * call, or being granted the same lifetime again, is not a change (SEP: ETags).
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
  if (change.onFailure !== undefined && change.onFailure !== before.onFailure)
    next = { ...next, onFailure: change.onFailure };
  if (change.paused === true && !before.paused) next = { ...next, paused: true };
  // Time that passed while nothing was tried is no time of failing.
  if (change.paused === false && before.paused)
    next = { ...next, paused: false, health: resetCounters(next.health) };
  if (change.ttlMs !== undefined) {
    const expiresAt = change.ttlMs === null ? null : now + change.ttlMs;
    if (change.ttlMs !== before.ttlMs || expiresAt !== before.expiresAt)
      next = { ...next, ttlMs: change.ttlMs, expiresAt };
  }
  if (change.callback !== undefined) next = withCallback(next, change.callback);
  if (change.resume === true && next.suspended) next = resumed(next);
  if (next === before) return unchanged(before);
  const configured = !sameConfiguration(before, next);
  const version = configured ? before.version + 1 : before.version;
  return settle({ ...next, version }, configured ? [{ type: 'announce' }] : [], now);
}

/** Another URL is another endpoint: nothing of the old one's record or attempt applies to it. */
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
    };
  if (callback?.secret === before?.secret) return { ...subscription, callback };
  // A new secret may be the cure for the old one's 401s, so failures are counted anew. But it is the same endpoint: an attempt in
  // flight goes on, since a second one beside it would break the order, and what `Retry-After` asked for stands.
  return { ...subscription, callback, health: resetCounters(subscription.health) };
}

/** What the ETag covers. A secret's rotation window and the time of verification come and go without the client's doing. */
function sameConfiguration(a: Subscription, b: Subscription): boolean {
  return (
    a.select === b.select &&
    a.ttlMs === b.ttlMs &&
    a.onFailure === b.onFailure &&
    a.paused === b.paused &&
    a.suspended === b.suspended &&
    a.callback?.url === b.callback?.url &&
    a.callback?.secret === b.callback?.secret &&
    a.callback?.dialect === b.callback?.dialect
  );
}

/** What is due happens, in this order: the end, a lost attempt, a retry, the end of a rotation window. */
export function tick(subscription: Subscription, _input: InputOf<'tick'>, now: number): Step {
  if (expired(subscription, now)) return end(subscription, 'expired', now);
  let next = subscription;
  let effects: readonly Effect[] = [];
  if (next.attempt !== null && next.attempt.leaseUntil <= now) {
    // No random number at hand, none needed: the longest delay is right for an endpoint that swallows requests.
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

/** The attempts of another process cannot be answered to this one. That is our accident and no failure of the endpoint. */
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
