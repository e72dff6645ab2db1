/**
 * Steps of the log: numbers are assigned, sent, acknowledged, trimmed, and renumbered when an epoch
 * ends.
 */
import { requireInteger, InvariantError } from './invariant.ts';
import { TRIM_SLACK_EVENTS_MIN, TRIM_SLACK_FRACTION } from './policy.ts';
import { end, refuse, settle, unchanged } from './state.ts';
import type { Effect, Input, Step, Subscription } from './types.ts';

type InputOf<T extends Input['type']> = Extract<Input, { type: T }>;

/**
 * Assigns `count` numbers, also in a paused, suspended or failing subscription (SEP: The log). Ends
 * the subscription as `failed` if a number would exceed 2^53 - 1.
 */
export function append(
  subscription: Subscription,
  { count, acceptedAt, bytes = 0 }: InputOf<'append'>,
  now: number,
): Step {
  requireInteger('append.count', count, 1);
  requireInteger('append.bytes', bytes, 0);
  const head = subscription.head + count;
  if (head > Number.MAX_SAFE_INTEGER) return end(subscription, 'failed', now);
  const { maxEvents } = subscription.retention;
  const slack = Math.max(TRIM_SLACK_EVENTS_MIN, Math.floor(maxEvents * TRIM_SLACK_FRACTION));
  const over = head - subscription.floor > maxEvents + slack;
  const floor = over ? head - maxEvents : subscription.floor;
  // After this trim, `oldestAt` may be earlier than the oldest event. It is still a lower bound, and
  // the next trim by age, which reads the log, makes it exact.
  const oldestAt = subscription.oldestAt ?? acceptedAt;
  const effects: Effect[] = over
    ? [{ type: 'trim', upTo: floor }, { type: 'wake' }]
    : [{ type: 'wake' }];
  const total = subscription.bytes === null ? null : subscription.bytes + bytes;
  return settle({ ...subscription, head, floor, oldestAt, bytes: total }, effects, now);
}

/** Records that retention dropped entries. A `retention` gap covers those not acknowledged. */
export function trim(
  subscription: Subscription,
  { upTo, oldestAt, bytes: counted }: InputOf<'trim'>,
  now: number,
): Step {
  requireInteger('trim.upTo', upTo, 0);
  const floor = Math.max(subscription.floor, Math.min(upTo, subscription.head));
  // If the age of the oldest event is unknown, counting from now retains it for too long, which is
  // safer than too short.
  const known = floor === subscription.head ? null : (oldestAt ?? now);
  const bytes = floor === subscription.head ? 0 : (counted ?? subscription.bytes);
  if (
    floor === subscription.floor &&
    known === subscription.oldestAt &&
    bytes === subscription.bytes
  )
    return unchanged(subscription);
  const effects: Effect[] = floor > subscription.floor ? [{ type: 'trim', upTo: floor }] : [];
  return { subscription: { ...subscription, floor, oldestAt: known, bytes }, effects };
}

/**
 * Acknowledges everything up to a position. `acked` never decreases. Rejects a position of another
 * epoch or beyond what was sent (SEP: Acknowledgement).
 */
export function ack(subscription: Subscription, { position }: InputOf<'ack'>, now: number): Step {
  const { sequence, epoch } = position;
  if (epoch !== subscription.epoch) return refuse(subscription, 'epoch');
  if (!Number.isSafeInteger(sequence) || sequence < 0 || sequence > subscription.sent)
    return refuse(subscription, 'position');
  if (sequence <= subscription.acked) return unchanged(subscription);
  return settle({ ...subscription, acked: sequence }, [{ type: 'wake' }], now);
}

/**
 * Records that a stream or pull is about to send numbers. `sent` is the upper bound of
 * acknowledgements, so it must be on disk before one can arrive. A range that starts above `sent`
 * does not raise it: the numbers in between were in no delivery (SEP: Acknowledgement).
 */
export function drain(subscription: Subscription, { after, to }: InputOf<'drain'>): Step {
  if (!Number.isSafeInteger(to) || to < 0 || to > subscription.head)
    return refuse(subscription, 'position');
  const sent = after > subscription.sent ? subscription.sent : Math.max(subscription.sent, to);
  return sent === subscription.sent
    ? unchanged(subscription)
    : { subscription: { ...subscription, sent }, effects: [] };
}

/**
 * Begins a new epoch: drops the acknowledged entries and renumbers the rest from 1. From then on
 * `ack` rejects positions of the old epoch, so that nothing unseen is acknowledged (SEP: Epochs).
 */
export function rotate(
  subscription: Subscription,
  { epoch }: InputOf<'rotate'>,
  now: number,
): Step {
  if (epoch === subscription.epoch)
    throw new InvariantError(
      'invalid_input',
      'rotate needs a new epoch. Pass one that was never used.',
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
    // Attempts whose ids the store lost may still be in flight. No subscription makes one attempt
    // per millisecond, so `now` is greater than every such id.
    attempts: Math.max(subscription.attempts, now),
    version: subscription.version + 1,
  };
  return settle(next, [...moved, { type: 'announce' }, { type: 'wake' }], now);
}
