/** Steps of the log itself: numbers are assigned, sent, acknowledged, trimmed, and renumbered when an epoch ends. */
import { requireInteger, InvariantError } from './invariant.ts';
import { TRIM_SLACK_EVENTS_MIN, TRIM_SLACK_FRACTION } from './policy.ts';
import { end, refuse, settle, unchanged } from './state.ts';
import { resumed } from './health.ts';
import type { Effect, Input, Step, Subscription } from './types.ts';

type InputOf<T extends Input['type']> = Extract<Input, { type: T }>;

/**
 * SEP: The log. Numbering goes on whatever the callback does: paused, suspended and failing are no reason to skip a number.
 */
export function append(
  subscription: Subscription,
  { count, acceptedAt }: InputOf<'append'>,
  now: number,
): Step {
  requireInteger('append.count', count, 1);
  const head = subscription.head + count;
  if (head > Number.MAX_SAFE_INTEGER) return end(subscription, 'failed', now);
  const { maxEvents } = subscription.retention;
  const slack = Math.max(TRIM_SLACK_EVENTS_MIN, Math.floor(maxEvents * TRIM_SLACK_FRACTION));
  const over = head - subscription.floor > maxEvents + slack;
  const floor = over ? head - maxEvents : subscription.floor;
  // After a trim the new oldest event is younger than `oldestAt` says. The bound stays valid, and the next trim by age, which
  // looks into the log anyway, makes it exact.
  const oldestAt = subscription.oldestAt ?? acceptedAt;
  const effects: Effect[] = over
    ? [{ type: 'trim', upTo: floor }, { type: 'wake' }]
    : [{ type: 'wake' }];
  return settle({ ...subscription, head, floor, oldestAt }, effects, now);
}

/** Retention dropped entries. What was not acknowledged among them is from now on covered by a `retention` gap. */
export function trim(
  subscription: Subscription,
  { upTo, oldestAt }: InputOf<'trim'>,
  now: number,
): Step {
  requireInteger('trim.upTo', upTo, 0);
  const floor = Math.max(subscription.floor, Math.min(upTo, subscription.head));
  // Something is retained but its age is not known: count it from now, which keeps it a little too long rather than not at all.
  const known = floor === subscription.head ? null : (oldestAt ?? now);
  if (floor === subscription.floor && known === subscription.oldestAt)
    return unchanged(subscription);
  const effects: Effect[] = floor > subscription.floor ? [{ type: 'trim', upTo: floor }] : [];
  return { subscription: { ...subscription, floor, oldestAt: known }, effects };
}

/** SEP: Acknowledgement. Cumulative and monotonic, never above what was sent, never across epochs. */
export function ack(subscription: Subscription, { position }: InputOf<'ack'>, now: number): Step {
  const { sequence, epoch } = position;
  if (epoch !== subscription.epoch) return refuse(subscription, 'epoch');
  if (!Number.isSafeInteger(sequence) || sequence < 0 || sequence > subscription.sent)
    return refuse(subscription, 'position');
  if (sequence <= subscription.acked) return unchanged(subscription);
  return settle({ ...subscription, acked: sequence }, [{ type: 'wake' }], now);
}

/**
 * A stream or pull is about to send; recorded first, because the ceiling of an acknowledgement must be on disk before it can
 * come.
 */
export function drain(
  subscription: Subscription,
  { to, resume }: InputOf<'drain'>,
  now: number,
): Step {
  if (!Number.isSafeInteger(to) || to < 0 || to > subscription.head)
    return refuse(subscription, 'position');
  const sent = Math.max(subscription.sent, to);
  if (resume && subscription.suspended)
    return settle({ ...resumed(subscription), sent }, [{ type: 'announce' }], now);
  return sent === subscription.sent
    ? unchanged(subscription)
    : { subscription: { ...subscription, sent }, effects: [] };
}

/**
 * SEP: Epochs. The acknowledged part of the old epoch goes; the rest is numbered again from 1. Positions of the old epoch are
 * refused from here on, so nothing can be acknowledged unseen.
 */
export function rotate(
  subscription: Subscription,
  { epoch }: InputOf<'rotate'>,
  now: number,
): Step {
  if (epoch === subscription.epoch)
    throw new InvariantError(
      'invalid_input',
      'rotate needs an epoch that was never used before: draw a new one',
    );
  const { acked: by, head, floor } = subscription;
  const moved: Effect[] =
    by === 0
      ? []
      : [
          { type: 'trim', upTo: by },
          { type: 'renumber', by },
        ];
  const next: Subscription = {
    ...subscription,
    epoch,
    head: head - by,
    acked: 0,
    sent: 0,
    floor: Math.max(0, floor - by),
    oldestAt: Math.max(floor, by) === head ? null : subscription.oldestAt,
    attempt: null,
    // Attempts of the lost life may be in flight under numbers that the store forgot; no subscription makes one per millisecond.
    attempts: Math.max(subscription.attempts, now),
    version: subscription.version + 1,
  };
  return settle(next, [...moved, { type: 'announce' }, { type: 'wake' }], now);
}
