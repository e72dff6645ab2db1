/** The log: numbers, acknowledgement, retention and epochs, one situation a test. */
import { describe, test } from 'vitest';
import assert from 'node:assert/strict';
import { deliverable, dueAt, oldest, step, trimDueAt } from '../../../src/protocol/core/index.ts';
import {
  ackAt,
  append,
  claim,
  DAY,
  effect,
  EPOCH,
  play,
  refusal,
  subscription,
  T0,
  types,
  withLog,
} from './fixtures.ts';

describe('numbering', () => {
  test('[log-contiguous] the first number is 1 and each append goes on from head', () => {
    const one = play(subscription(), [append()]).subscription;
    assert.equal(one.head, 1);
    assert.equal(play(one, [append(3)]).subscription.head, 4);
  });

  test('[sub-numbering-goes-on] paused, suspended and without a callback, numbers are still assigned, and nothing becomes ready', () => {
    for (const status of [{ paused: true }, { suspended: true }, { callback: null }]) {
      const after = play(subscription(status), [append(2)]);
      assert.equal(after.subscription.head, 2);
      assert.deepEqual(types(after), ['wake']);
    }
  });

  test('an append makes the callback ready, once nothing is in flight', () => {
    const first = play(subscription(), [append()]);
    assert.deepEqual(types(first), ['wake', 'ready']);
    const busy = play(first.subscription, [claim(1, 1)]).subscription;
    assert.deepEqual(types(play(busy, [append()])), ['wake']);
  });

  test('[log-limit] a log that would pass 2^53 - 1 ends with `failed` instead', () => {
    const full = subscription({
      head: Number.MAX_SAFE_INTEGER - 1,
      floor: Number.MAX_SAFE_INTEGER - 1,
    });
    assert.equal(play(full, [append(1)]).subscription.head, Number.MAX_SAFE_INTEGER);
    const ended = play(full, [append(2)]);
    assert.equal(ended.subscription.head, Number.MAX_SAFE_INTEGER - 1);
    assert.deepEqual(ended.effects, [{ type: 'terminated', reason: 'failed' }]);
  });

  test('a count that is no positive integer is a defect of the caller, not an answer', () => {
    for (const count of [0, -1, 1.5, Number.NaN])
      assert.throws(() => step(subscription(), append(count), T0), { code: 'invalid_input' });
  });
});

describe('acknowledgement', () => {
  const log = withLog(9, 2, { sent: 6, callback: null });

  test('[ack-cumulative] acknowledging 5 acknowledges all up to 5 and gives streams their credit', () => {
    const after = play(log, [ackAt(5)]);
    assert.equal(after.subscription.acked, 5);
    assert.deepEqual(types(after), ['wake']);
  });

  test('[ack-cumulative] each number can be acknowledged by itself, one after the other', () => {
    let state = log;
    for (const sequence of [3, 4, 5, 6]) {
      state = play(state, [ackAt(sequence)]).subscription;
      assert.equal(state.acked, sequence);
    }
  });

  test('[ack-below ack-monotonic] acknowledging 2 or less again changes nothing at all', () => {
    for (const sequence of [0, 1, 2]) {
      const after = play(log, [ackAt(sequence)]);
      assert.equal(after.subscription, log);
      assert.deepEqual(after.effects, []);
    }
  });

  test('[ack-sent] acknowledging what was never sent is refused, although it has a number', () => {
    assert.equal(refusal(log, ackAt(6)), undefined);
    assert.equal(refusal(log, ackAt(7)), 'position');
    assert.equal(refusal(log, ackAt(10)), 'position');
  });

  test('[pos-epoch] a position of another epoch is refused even where its number would do', () => {
    assert.equal(refusal(log, ackAt(3, 'another-epoch')), 'epoch');
    assert.equal(refusal(log, ackAt(99, 'another-epoch')), 'epoch');
  });

  test('numbers that are no positions are refused', () => {
    for (const sequence of [-1, 1.5, Number.NaN, Infinity])
      assert.equal(refusal(log, ackAt(sequence)), 'position');
  });

  test('[ack-only-said stream-no-ack pull-no-ack] draining moves what may be acknowledged, never what is', () => {
    const after = play(log, [{ type: 'drain', to: 9, resume: false }]);
    assert.deepEqual([after.subscription.sent, after.subscription.acked], [9, 2]);
    assert.deepEqual(after.effects, []);
    assert.equal(play(log, [{ type: 'drain', to: 3, resume: false }]).subscription, log);
  });

  test('draining beyond head is refused', () => {
    assert.equal(refusal(log, { type: 'drain', to: 10, resume: false }), 'position');
  });

  test('an acknowledgement on another drain frees the callback of the work, attempt in flight or not', () => {
    const busy = play(withLog(3), [claim(3, 1), ackAt(3)]).subscription;
    assert.equal(deliverable({ ...busy, attempt: null }, T0), false);
  });
});

describe('retention', () => {
  const small = { retention: { maxAgeMs: DAY, maxEvents: 100 }, callback: null };

  test('[gap-retention-kept] maxEvents is kept exactly, but trimmed only when 64 more have gathered', () => {
    const full = play(subscription(small), [append(164)]);
    assert.equal(full.subscription.floor, 0);
    const over = play(full.subscription, [append()]);
    assert.equal(over.subscription.floor, 65);
    assert.deepEqual(over.effects, [{ type: 'trim', upTo: 65 }, { type: 'wake' }]);
    assert.equal(over.subscription.head - over.subscription.floor, 100);
  });

  test('a tenth is the slack of a large log', () => {
    const large = subscription({ retention: { maxAgeMs: DAY, maxEvents: 1000 } });
    assert.equal(play(large, [append(1100)]).subscription.floor, 0);
    assert.equal(play(large, [append(1101)]).subscription.floor, 101);
  });

  test('[gap-retention-announced] trimming what is not acknowledged moves neither acked nor what is still to be reported', () => {
    const trimmed = play(withLog(9, 2), [{ type: 'trim', upTo: 5, oldestAt: T0 + 7 }]);
    const { acked, floor, head, oldestAt } = trimmed.subscription;
    assert.deepEqual(
      { acked, floor, head, oldestAt },
      { acked: 2, floor: 5, head: 9, oldestAt: T0 + 7 },
    );
    assert.deepEqual(trimmed.effects, [{ type: 'trim', upTo: 5 }]);
    assert.equal(deliverable(trimmed.subscription, T0), true);
  });

  test('a log trimmed to its head still has its gap to report', () => {
    const empty = play(withLog(3, 1), [{ type: 'trim', upTo: 3, oldestAt: null }]).subscription;
    assert.equal(empty.oldestAt, null);
    assert.equal(deliverable(empty, T0), true);
    assert.deepEqual(effect(play(empty, [claim(3, null)]), 'attempt')?.attempt, {
      id: 1,
      after: 1,
      to: 3,
      events: 0,
      first: null,
      leaseUntil: T0 + 20_000,
    });
  });

  test('[gap-oldest] oldest is one above the last trimmed number, and head + 1 when nothing is held', () => {
    assert.equal(oldest(withLog(9, 0, { floor: 4 })), 5);
    assert.equal(oldest(subscription()), 1);
    assert.equal(oldest(withLog(3, 3, { floor: 3 })), 4);
  });

  test('trimming never goes beyond head, and never back', () => {
    const log = withLog(5, 5, { floor: 2 });
    assert.equal(play(log, [{ type: 'trim', upTo: 99, oldestAt: null }]).subscription.floor, 5);
    const back = play(log, [{ type: 'trim', upTo: 1, oldestAt: T0 + 1 }]);
    assert.deepEqual(
      [back.subscription.floor, back.subscription.oldestAt, back.effects],
      [2, T0 + 1, []],
    );
  });

  test('age is looked at again a sixteenth after the oldest event is due, and every trim moves that instant on', () => {
    const log = withLog(5, 0, { ...small, ttlMs: null, expiresAt: null });
    const due = T0 + DAY + DAY / 16;
    assert.equal(trimDueAt(log), due);
    assert.equal(dueAt(log), due);
    assert.equal(
      dueAt(play(log, [{ type: 'trim', upTo: 1, oldestAt: T0 + 5 }], due).subscription),
      due + 5,
    );
    // The store cannot tell how old the rest is: look again in a day rather than at once.
    assert.equal(
      dueAt(play(log, [{ type: 'trim', upTo: 1, oldestAt: null }], due).subscription),
      due + DAY + DAY / 16,
    );
    assert.equal(
      dueAt(play(log, [{ type: 'trim', upTo: 5, oldestAt: null }], due).subscription),
      null,
    );
  });

  test('the first event after an empty log sets the age again', () => {
    const empty = withLog(3, 3, { floor: 3, oldestAt: null });
    assert.equal(
      play(empty, [{ type: 'append', count: 1, acceptedAt: T0 + 9 }]).subscription.oldestAt,
      T0 + 9,
    );
  });
});

describe('epochs', () => {
  test('[log-epoch-renumber etag-epoch] the acknowledged part goes, the rest is numbered again from 1', () => {
    const rotated = play(withLog(9, 4, { floor: 2 }), [
      claim(9, 5),
      { type: 'rotate', epoch: 'epoch-two' },
    ]);
    const { epoch, head, acked, sent, floor, attempt, version } = rotated.subscription;
    assert.deepEqual(
      { epoch, head, acked, sent, floor, attempt, version },
      { epoch: 'epoch-two', head: 5, acked: 0, sent: 0, floor: 0, attempt: null, version: 2 },
    );
    assert.deepEqual(rotated.effects.slice(0, 2), [
      { type: 'trim', upTo: 4 },
      { type: 'renumber', by: 4 },
    ]);
    assert.deepEqual(types(rotated).slice(2), ['announce', 'wake', 'ready']);
  });

  test('what was trimmed before it was acknowledged stays a gap in the new epoch', () => {
    const { head, floor } = play(withLog(9, 4, { floor: 6 }), [
      { type: 'rotate', epoch: 'epoch-two' },
    ]).subscription;
    assert.deepEqual({ head, floor }, { head: 5, floor: 2 });
  });

  test('with nothing acknowledged nothing has to move', () => {
    assert.deepEqual(
      types(play(withLog(2, 0, { callback: null }), [{ type: 'rotate', epoch: 'epoch-two' }])),
      ['announce', 'wake'],
    );
  });

  test('[pos-epoch] positions and answers of the old epoch count for nothing', () => {
    const { subscription: rotated } = play(withLog(9, 4), [
      claim(9, 5),
      { type: 'rotate', epoch: 'epoch-two' },
    ]);
    assert.equal(refusal(rotated, ackAt(5, EPOCH)), 'epoch');
    assert.equal(refusal(rotated, ackAt(1, 'epoch-two')), 'position');
    assert.equal(
      refusal(rotated, {
        type: 'answer',
        attempt: 1,
        jitter: 0,
        outcome: { kind: 'acked', ack: 9, reject: null },
      }),
      'stale_attempt',
    );
  });

  test('an epoch cannot follow itself', () => {
    assert.throws(() => step(withLog(1), { type: 'rotate', epoch: EPOCH }, T0), {
      code: 'invalid_input',
    });
  });
});
