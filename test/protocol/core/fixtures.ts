/** A subscription to start from, and short helpers that act on it, for every test of the core. */
import assert from 'node:assert/strict';
import {
  create,
  step,
  type Effect,
  type Input,
  type Outcome,
  type StepRefusal,
  type Step,
  type Subscription,
} from '../../../src/protocol/core/index.ts';

/** An arbitrary instant; its digits make mistaken units visible. */
export const T0 = 1_800_000_000_000;
export const SECOND = 1000;
export const MINUTE = 60 * SECOND;
export const HOUR = 60 * MINUTE;
export const DAY = 24 * HOUR;
export const EPOCH = 'epochAAAAAAAAAAAAAAAAA';

export const CALLBACK = {
  url: 'https://receiver.example/hook',
  secret: 'whsec_old',
  previousSecret: null,
  previousUntil: null,
  verifiedAt: T0,
};

export function subscription(overrides: Partial<Subscription> = {}): Subscription {
  const fresh = create(
    {
      subscriptionId: 'sub_test',
      principal: 'local',
      key: 'key',
      select: [{ name: 'note.created', arguments: { list: 'a' } }],
      callback: CALLBACK,
      ttlMs: HOUR,
      retention: { maxAgeMs: 7 * DAY, maxEvents: 10_000 },
      epoch: EPOCH,
    },
    T0,
  );
  return { ...fresh, ...overrides };
}

/** A log with `head` numbers, `acked` of them acknowledged and all sent. */
export function withLog(
  head: number,
  acked = 0,
  overrides: Partial<Subscription> = {},
): Subscription {
  return subscription({ head, acked, sent: head, oldestAt: head === 0 ? null : T0, ...overrides });
}

/** Feeds inputs in order, none of which may be refused. Returns the last step. */
export function feed(start: Subscription, inputs: readonly Input[], now = T0): Step {
  let last: Step = { subscription: start, effects: [] };
  for (const input of inputs) {
    last = step(last.subscription, input, now);
    assert.equal(last.refused, undefined, `${input.type} was refused: ${last.refused?.kind}`);
  }
  return last;
}

export function refusal(
  start: Subscription,
  input: Input,
  now = T0,
): StepRefusal['kind'] | undefined {
  const { subscription: after, effects, refused } = step(start, input, now);
  if (refused !== undefined) {
    assert.equal(after, start, 'a refusal returns the identical object');
    assert.deepEqual(effects, [], 'a refusal has no effects');
  }
  return refused?.kind;
}

export const append = (count = 1): Input => ({ type: 'append', count, acceptedAt: T0 });
export const ackAt = (sequence: number, epoch = EPOCH): Input => ({
  type: 'ack',
  position: { epoch, sequence },
});
export const answer = (attempt: number, outcome: Outcome, jitter = 0.5): Input => ({
  type: 'answer',
  attempt,
  outcome,
  jitter,
});
export const acked = (ack: number, reject: number | null = null): Outcome => ({
  kind: 'acked',
  ack,
  reject,
});
export const TIMEOUT: Outcome = { kind: 'transient', category: 'timeout', retryAfterMs: null };
export const REFUSED: Outcome = { kind: 'config', category: 'http_4xx' };
export const TOO_LARGE: Outcome = { kind: 'too_large' };
export const GONE: Outcome = { kind: 'gone' };

/** Claims everything above `after` as events; `events` and `first` override that. */
export function claim(
  to: number,
  first: number | null,
  events = first === null ? 0 : to - first + 1,
): Input {
  return { type: 'claim', to, first, events, leaseMs: 20 * SECOND };
}

/** Claims everything pending and answers it; advances past a retry first. */
export function attempt(state: Subscription, outcome: Outcome, now: number, jitter = 0.5): Step {
  const from = Math.max(state.acked, state.floor) + 1;
  const { subscription: started } = feed(
    state,
    [{ type: 'tick' }, claim(state.head, from > state.head ? null : from)],
    now,
  );
  return feed(started, [answer(started.attempts, outcome, jitter)], now);
}

export function effect<T extends Effect['type']>(
  step: Step,
  type: T,
): Extract<Effect, { type: T }> | undefined {
  return step.effects.find((one): one is Extract<Effect, { type: T }> => one.type === type);
}

export const types = (step: Step): Effect['type'][] => step.effects.map(({ type }) => type);
