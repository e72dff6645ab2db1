/**
 * Laws that hold for every single step, whatever the state and the input. `lawful(step)` is a
 * `step` that throws when one is broken.
 */
import assert from 'node:assert/strict';
import {
  deliverable,
  dueAt,
  etagOf,
  type Input,
  type Step,
  type Subscription,
  type step,
} from '../../../src/protocol/core/index.ts';

function frozen<T>(value: T): T {
  if (typeof value !== 'object' || value === null || Object.isFrozen(value)) return value;
  for (const member of Object.values(value)) frozen(member);
  return Object.freeze(value);
}

function* numbersIn(value: unknown): Generator<number> {
  if (typeof value === 'number') yield value;
  else if (typeof value === 'object' && value !== null)
    for (const member of Object.values(value)) yield* numbersIn(member);
}

/** The members that count as configuration (SEP: ETags). */
const configuration = (state: Subscription): string =>
  JSON.stringify([
    state.select,
    state.callback === null
      ? null
      : [state.callback.url, state.callback.secret, state.callback.skipAfterMs],
    state.ttlMs,
    state.paused,
  ]);

/** The only inputs that may move `acked` (SEP: Acknowledgement). */
const MOVES_ACKED: ReadonlySet<Input['type']> = new Set(['ack', 'answer', 'rotate']);

type Law = (before: Subscription, input: Input, now: number, result: Step) => void;

const LAWS: Readonly<Record<string, Law>> = {
  'a refusal or an idle step returns the identical object'(
    before,
    _input,
    _now,
    { subscription, effects, refused },
  ) {
    if (refused === undefined) return;
    assert.equal(subscription, before);
    assert.deepEqual(effects, []);
  },
  'after the end everything is refused'(before, _input, _now, { refused }) {
    if (before.terminated !== null) assert.equal(refused?.kind, 'terminated');
  },
  'every number is an integer'(_before, _input, _now, { subscription, effects }) {
    for (const number of numbersIn([subscription, effects]))
      assert.ok(Number.isSafeInteger(number), `${number}`);
  },
  'counters are in order'(
    _before,
    _input,
    _now,
    { subscription: { acked, sent, head, floor, oldestAt, bytes } },
  ) {
    assert.ok(acked >= 0 && acked <= sent && sent <= head && floor >= 0 && floor <= head);
    assert.equal(oldestAt === null, floor === head);
    assert.ok(bytes === null || bytes >= 0);
  },
  'within an epoch nothing goes back, and only the permitted inputs move acked'(
    before,
    input,
    _now,
    { subscription: after },
  ) {
    if (after.epoch !== before.epoch) return assert.equal(input.type, 'rotate');
    for (const counter of ['acked', 'sent', 'head', 'floor', 'attempts', 'version'] as const)
      assert.ok(after[counter] >= before[counter], counter);
    if (after.head > before.head) assert.equal(input.type, 'append');
    if (after.acked > before.acked) assert.ok(MOVES_ACKED.has(input.type), input.type);
  },
  'the ETag changes exactly when the configuration or the epoch does'(
    before,
    _input,
    _now,
    { subscription: after },
  ) {
    assert.equal(
      etagOf(after) !== etagOf(before),
      configuration(after) !== configuration(before) || after.epoch !== before.epoch,
    );
  },
  'one attempt at a time, each from acked, each with a new id'(
    before,
    _input,
    _now,
    { subscription: after, effects },
  ) {
    for (const effect of effects) {
      if (effect.type !== 'attempt') continue;
      assert.equal(before.attempt, null);
      assert.equal(effect.attempt.after, before.acked);
      assert.ok(effect.attempt.id > before.attempts && effect.attempt.to <= after.sent);
    }
  },
  'gaps lie above what is acknowledged and held'(
    _before,
    _input,
    _now,
    { subscription: { acked, floor, head }, effects },
  ) {
    for (const effect of effects)
      if (effect.type === 'gap')
        assert.ok(
          effect.from > acked &&
            effect.from > floor &&
            effect.to <= head &&
            effect.from <= effect.to,
        );
  },
  'ready comes last, is true, and is never forgotten'(
    before,
    _input,
    now,
    { subscription: after, effects, refused },
  ) {
    const at = effects.findIndex(({ type }) => type === 'ready');
    if (at >= 0) assert.ok(at === effects.length - 1 && deliverable(after, now));
    if (refused === undefined && deliverable(after, now) && !deliverable(before, now))
      assert.ok(at >= 0, 'it became deliverable without a ready effect');
  },
  'work that waits for a time is due by that time'(_before, _input, now, { subscription: after }) {
    if (
      after.retryAt === null ||
      deliverable(after, now) ||
      !deliverable(after, Math.max(now, after.retryAt))
    )
      return;
    assert.ok(dueAt(after)! <= after.retryAt);
  },
  'only the word of the client, another callback and a proof resume a suspended callback'(
    before,
    input,
    _now,
    { subscription: after },
  ) {
    if (before.suspendedAt === null || after.suspendedAt !== null) return;
    const isAsked =
      input.type === 'configure' &&
      (input.change.resume === true ||
        after.callback?.url !== before.callback?.url ||
        after.callback?.secret !== before.callback?.secret);
    const isProven = input.type === 'verified' && input.ok;
    assert.ok(isAsked || isProven || after.callback === null, input.type);
  },
  'a suspended callback is probed'(_before, _input, now, { subscription: after }) {
    const { callback, paused, suspendedAt, probeAt, terminated } = after;
    assert.equal(probeAt === null, suspendedAt === null);
    if (suspendedAt === null || callback === null || paused || terminated !== null) return;
    assert.ok(dueAt(after)! <= Math.max(now, probeAt!));
  },
};

export function lawful(real: typeof step): typeof step {
  return (before, input, now) => {
    const result = real(frozen(before), frozen(input), now);
    for (const [law, check] of Object.entries(LAWS)) {
      try {
        check(before, input, now, result);
      } catch (cause) {
        throw new Error(
          `${input.type} broke the law: ${law}\nbefore ${JSON.stringify(before)}\ninput ${JSON.stringify(input)}\nafter ${JSON.stringify(result)}`,
          { cause },
        );
      }
    }
    return result;
  };
}
