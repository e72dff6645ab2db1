/** Tests the log: numbers, acknowledgement, retention and epochs, one situation per test. */
import { describe, test } from 'vitest';
import assert from 'node:assert/strict';
import {
  deliverable,
  dueAt,
  isOversized,
  oldest,
  step,
  trimDueAt,
  type Input,
  type Subscription,
} from '../../../src/protocol/core/index.ts';
import {
  ackAt,
  append,
  claim,
  DAY,
  effect,
  EPOCH,
  feed,
  refusal,
  subscription,
  T0,
  types,
  withLog,
} from './fixtures.ts';

describe('numbering', () => {
  test('[log-contiguous] starts at 1, and each append continues from head', () => {
    const one = feed(subscription(), [append()]).subscription;
    assert.equal(one.head, 1);
    assert.equal(feed(one, [append(3)]).subscription.head, 4);
  });

  test('[retry-suspend] continues while paused, suspended and without a callback, and makes nothing ready', () => {
    for (const status of [{ paused: true }, { suspendedAt: T0 }, { callback: null }]) {
      const after = feed(subscription(status), [append(2)]);
      assert.equal(after.subscription.head, 2);
      assert.deepEqual(types(after), ['wake']);
    }
  });

  test('makes the callback ready once nothing is in flight', () => {
    const first = feed(subscription(), [append()]);
    assert.deepEqual(types(first), ['wake', 'ready']);
    const busy = feed(first.subscription, [claim(1, 1)]).subscription;
    assert.deepEqual(types(feed(busy, [append()])), ['wake']);
  });

  test('[log-no-silent-loss] ends a log that would pass 2^53 - 1 with `failed`', () => {
    const full = subscription({
      head: Number.MAX_SAFE_INTEGER - 1,
      floor: Number.MAX_SAFE_INTEGER - 1,
    });
    assert.equal(feed(full, [append(1)]).subscription.head, Number.MAX_SAFE_INTEGER);
    const ended = feed(full, [append(2)]);
    assert.equal(ended.subscription.head, Number.MAX_SAFE_INTEGER - 1);
    assert.deepEqual(ended.effects, [{ type: 'terminated', reason: 'failed' }]);
  });

  test('throws for a count that is not a positive integer, as a programming error', () => {
    for (const count of [0, -1, 1.5, Number.NaN])
      assert.throws(() => step(subscription(), append(count), T0), { code: 'invalid_input' });
  });
});

describe('acknowledgement', () => {
  const log = withLog(9, 2, { sent: 6, callback: null });

  test('[ack-cumulative] acknowledging 5 acknowledges everything up to 5 and frees the window of streams', () => {
    const after = feed(log, [ackAt(5)]);
    assert.equal(after.subscription.acked, 5);
    assert.deepEqual(types(after), ['wake']);
  });

  test('[ack-cumulative] each number can be acknowledged by itself, one after the other', () => {
    let state = log;
    for (const sequence of [3, 4, 5, 6]) {
      state = feed(state, [ackAt(sequence)]).subscription;
      assert.equal(state.acked, sequence);
    }
  });

  test('[ack-cumulative] acknowledging 2 or less again changes nothing', () => {
    for (const sequence of [0, 1, 2]) {
      const after = feed(log, [ackAt(sequence)]);
      assert.equal(after.subscription, log);
      assert.deepEqual(after.effects, []);
    }
  });

  test('[ack-sent] refuses to acknowledge a number that exists but was never sent', () => {
    assert.equal(refusal(log, ackAt(6)), undefined);
    assert.equal(refusal(log, ackAt(7)), 'position');
    assert.equal(refusal(log, ackAt(10)), 'position');
  });

  test('[pos-epoch] refuses a position of another epoch even where its number would be valid', () => {
    assert.equal(refusal(log, ackAt(3, 'another-epoch')), 'epoch');
    assert.equal(refusal(log, ackAt(99, 'another-epoch')), 'epoch');
  });

  test('refuses numbers that are not positions', () => {
    for (const sequence of [-1, 1.5, Number.NaN, Infinity])
      assert.equal(refusal(log, ackAt(sequence)), 'position');
  });

  test('[ack-only-said] draining moves the bound of acknowledgements, never acked itself', () => {
    const after = feed(log, [{ type: 'drain', after: 2, to: 9 }]);
    assert.deepEqual([after.subscription.sent, after.subscription.acked], [9, 2]);
    assert.deepEqual(after.effects, []);
    assert.equal(feed(log, [{ type: 'drain', after: 2, to: 3 }]).subscription, log);
  });

  test('[ack-sent] a range that starts above what was sent does not move the bound; one that overlaps it does', () => {
    const drained = (after: number, to: number): number =>
      feed(log, [{ type: 'drain', after, to }]).subscription.sent;
    assert.deepEqual(
      [drained(7, 9), drained(8, 9), drained(6, 9), drained(0, 8), drained(0, 4)],
      [6, 6, 9, 8, 6],
    );
  });

  test('refuses to drain beyond head', () => {
    assert.equal(refusal(log, { type: 'drain', after: 2, to: 10 }), 'position');
  });

  test('an acknowledgement on another drain leaves the callback without work, attempt in flight or not', () => {
    const busy = feed(withLog(3), [claim(3, 1), ackAt(3)]).subscription;
    assert.equal(deliverable({ ...busy, attempt: null }, T0), false);
  });
});

describe('retention', () => {
  const small = { retention: { maxAgeMs: DAY, maxEvents: 100 }, callback: null };

  test('[gap-retention-announced] keeps exactly maxEvents, but trims only when 64 more have accumulated', () => {
    const full = feed(subscription(small), [append(164)]);
    assert.equal(full.subscription.floor, 0);
    const over = feed(full.subscription, [append()]);
    assert.equal(over.subscription.floor, 65);
    assert.deepEqual(over.effects, [{ type: 'trim', upTo: 65 }, { type: 'wake' }]);
    assert.equal(over.subscription.head - over.subscription.floor, 100);
  });

  test('trims a large log when a tenth more has accumulated', () => {
    const large = subscription({ retention: { maxAgeMs: DAY, maxEvents: 1000 } });
    assert.equal(feed(large, [append(1100)]).subscription.floor, 0);
    assert.equal(feed(large, [append(1101)]).subscription.floor, 101);
  });

  test('[gap-retention-announced] a log above maxBytes is due at once, until a trim has counted what is left', () => {
    const retention = { maxAgeMs: DAY, maxEvents: 1000, maxBytes: 1_000_000 };
    const bytes = (state: Subscription) => [state.bytes, isOversized(state), trimDueAt(state)];
    const add = (bytesOfOne: number): Input => ({
      type: 'append',
      count: 1,
      acceptedAt: T0,
      bytes: bytesOfOne,
    });
    const later = T0 + DAY + DAY / 16;
    const full = feed(subscription({ retention, callback: null }), [add(1_000_000), add(262_144)]);
    assert.deepEqual(bytes(full.subscription), [1_262_144, false, later]);
    const over = feed(full.subscription, [add(1)]);
    assert.deepEqual(bytes(over.subscription), [1_262_145, true, T0]);
    const unlimited = { ...over.subscription, retention: { maxAgeMs: DAY, maxEvents: 1000 } };
    assert.equal(isOversized(unlimited), false);
    const trim = { type: 'trim', upTo: 1, oldestAt: T0 } as const;
    const trimmed = feed(over.subscription, [{ ...trim, bytes: 262_145 }]);
    assert.deepEqual(bytes(trimmed.subscription), [262_145, false, later]);
    assert.deepEqual(trimmed.effects, [{ type: 'trim', upTo: 1 }]);
    const uncounted = feed(over.subscription, [trim]);
    assert.equal(uncounted.subscription.bytes, 1_262_145, 'an upper bound');
    const unknown = { ...over.subscription, bytes: null };
    assert.deepEqual(bytes(feed(unknown, [add(5)]).subscription), [null, true, T0]);
    const empty = feed(unknown, [{ type: 'trim', upTo: 9, oldestAt: null }]);
    assert.deepEqual(bytes(empty.subscription), [0, false, null]);
  });

  test('[gap-retention-announced] trimming unacknowledged numbers moves neither acked nor the gaps that are still to be reported', () => {
    const trimmed = feed(withLog(9, 2), [{ type: 'trim', upTo: 5, oldestAt: T0 + 7 }]);
    const { acked, floor, head, oldestAt } = trimmed.subscription;
    assert.deepEqual(
      { acked, floor, head, oldestAt },
      { acked: 2, floor: 5, head: 9, oldestAt: T0 + 7 },
    );
    assert.deepEqual(trimmed.effects, [{ type: 'trim', upTo: 5 }]);
    assert.equal(deliverable(trimmed.subscription, T0), true);
  });

  test('a log trimmed to its head still reports its gap', () => {
    const empty = feed(withLog(3, 1), [{ type: 'trim', upTo: 3, oldestAt: null }]).subscription;
    assert.equal(empty.oldestAt, null);
    assert.equal(deliverable(empty, T0), true);
    assert.deepEqual(effect(feed(empty, [claim(3, null)]), 'attempt')?.attempt, {
      id: 1,
      after: 1,
      to: 3,
      events: 0,
      first: null,
      leaseUntil: T0 + 20_000,
    });
  });

  test('[gap-oldest] oldest is one above the last trimmed number, and head + 1 when the log holds no events', () => {
    assert.equal(oldest(withLog(9, 0, { floor: 4 })), 5);
    assert.equal(oldest(subscription()), 1);
    assert.equal(oldest(withLog(3, 3, { floor: 3 })), 4);
  });

  test('trimming never passes head and never goes back', () => {
    const log = withLog(5, 5, { floor: 2 });
    assert.equal(feed(log, [{ type: 'trim', upTo: 99, oldestAt: null }]).subscription.floor, 5);
    const back = feed(log, [{ type: 'trim', upTo: 1, oldestAt: T0 + 1 }]);
    assert.deepEqual(
      [back.subscription.floor, back.subscription.oldestAt, back.effects],
      [2, T0 + 1, []],
    );
  });

  test('age is checked again a sixteenth of the limit after the oldest event is due, and every trim moves that time on', () => {
    const log = withLog(5, 0, { ...small, ttlMs: null, expiresAt: null });
    const due = T0 + DAY + DAY / 16;
    assert.equal(trimDueAt(log), due);
    assert.equal(dueAt(log), due);
    assert.equal(
      dueAt(feed(log, [{ type: 'trim', upTo: 1, oldestAt: T0 + 5 }], due).subscription),
      due + 5,
    );
    // The store cannot tell how old the rest is, so the check is repeated in a day rather than at
    // once.
    assert.equal(
      dueAt(feed(log, [{ type: 'trim', upTo: 1, oldestAt: null }], due).subscription),
      due + DAY + DAY / 16,
    );
    assert.equal(
      dueAt(feed(log, [{ type: 'trim', upTo: 5, oldestAt: null }], due).subscription),
      null,
    );
  });

  test('the first event after an empty log sets the age again', () => {
    const empty = withLog(3, 3, { floor: 3, oldestAt: null });
    assert.equal(
      feed(empty, [{ type: 'append', count: 1, acceptedAt: T0 + 9 }]).subscription.oldestAt,
      T0 + 9,
    );
  });
});

describe('epochs', () => {
  test('[log-epoch-renumber etag-config] the acknowledged part is dropped and the rest is renumbered from 1', () => {
    const rotated = feed(withLog(9, 4, { floor: 2 }), [
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
    const { head, floor } = feed(withLog(9, 4, { floor: 6 }), [
      { type: 'rotate', epoch: 'epoch-two' },
    ]).subscription;
    assert.deepEqual({ head, floor }, { head: 5, floor: 2 });
  });

  test('without acknowledged numbers nothing moves', () => {
    assert.deepEqual(
      types(feed(withLog(2, 0, { callback: null }), [{ type: 'rotate', epoch: 'epoch-two' }])),
      ['announce', 'wake'],
    );
  });

  test('[pos-epoch] positions and answers of the old epoch are void', () => {
    const { subscription: rotated } = feed(withLog(9, 4), [
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
