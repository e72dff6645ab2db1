/** Tests callback delivery: claims, answers, failures and consent, one situation per test. */
import { describe, test } from 'vitest';
import assert from 'node:assert/strict';
import {
  deliverable,
  dueAt,
  etagOf,
  callbackStateOf,
  step,
  type Outcome,
  type Subscription,
} from '../../../src/protocol/core/index.ts';
import {
  acked,
  ackAt,
  answer,
  append,
  attempt,
  CALLBACK,
  claim,
  DAY,
  effect,
  GONE,
  HOUR,
  MINUTE,
  feed,
  refusal,
  REFUSED,
  SECOND,
  subscription,
  T0,
  TIMEOUT,
  TOO_LARGE,
  types,
  withLog,
} from './fixtures.ts';

describe('a claim', () => {
  test('[cb-start] starts after acked, raises the highest number that may be acknowledged, and holds a lease', () => {
    const claimed = feed(withLog(5, 2, { sent: 2 }), [claim(4, 3)]);
    const started = { id: 1, after: 2, to: 4, events: 2, first: 3, leaseUntil: T0 + 20 * SECOND };
    assert.deepEqual(claimed.effects, [{ type: 'attempt', attempt: started }]);
    assert.deepEqual(
      [claimed.subscription.attempt, claimed.subscription.sent, dueAt(claimed.subscription)],
      [started, 4, started.leaseUntil],
    );
  });

  test('[cb-one-lease] is refused while another is in flight', () => {
    assert.equal(
      refusal(feed(withLog(5), [claim(2, 1)]).subscription, claim(5, 1)),
      'not_deliverable',
    );
  });

  test('[sub-paused] is refused while paused or suspended, without a callback and before retryAt', () => {
    for (const state of [
      { paused: true },
      { suspendedAt: T0 },
      { callback: null },
      { retryAt: T0 + 1 },
    ]) {
      assert.equal(
        refusal(withLog(5, 0, state), claim(5, 1)),
        'not_deliverable',
        JSON.stringify(state),
      );
    }
    assert.equal(refusal(withLog(5, 0, { retryAt: T0 }), claim(5, 1)), undefined);
  });

  test('is refused beyond head', () => {
    assert.equal(refusal(withLog(5), claim(6, 1)), 'not_deliverable');
  });

  test('that covers no number is a probe, allowed while paused or suspended but not beside another attempt', () => {
    for (const state of [{}, { paused: true }, { suspendedAt: T0 }])
      assert.equal(refusal(withLog(5, 3, state), claim(3, null)), undefined);
    assert.equal(refusal(withLog(5, 3, { callback: null }), claim(3, null)), 'not_deliverable');
    assert.equal(
      refusal(feed(withLog(5, 3), [claim(3, null)]).subscription, claim(3, null)),
      'not_deliverable',
    );
  });

  test('whose events cannot lie in its range is a programming error and throws', () => {
    for (const wrong of [
      claim(5, 1, 6),
      claim(5, 3, 4),
      claim(5, null, 1),
      claim(5, 1, 0),
      claim(5, 6, 1),
    ]) {
      assert.throws(
        () => step(withLog(5), wrong, T0),
        { code: 'invalid_input' },
        JSON.stringify(wrong),
      );
    }
  });
});

describe('an acknowledging answer', () => {
  const inFlight = feed(withLog(9, 2), [claim(6, 3)]).subscription;

  test('[ans-ack ans-partial] moves acked to the number it names, and delivery continues after it, not within 100 ms', () => {
    const after = feed(inFlight, [answer(1, acked(4))], T0 + 5);
    assert.deepEqual(
      [
        after.subscription.acked,
        after.subscription.attempt,
        after.subscription.health.lastDeliveryAt,
      ],
      [4, null, T0 + 5],
    );
    assert.deepEqual(types(after), ['wake']);
    assert.equal(dueAt(after.subscription), T0 + 105);
    assert.equal(refusal(after.subscription, claim(9, 5), T0 + 104), 'not_deliverable');
    assert.deepEqual(types(feed(after.subscription, [{ type: 'tick' }], T0 + 105)), ['ready']);
  });

  test('[ans-ack] of everything is followed by the rest at once', () => {
    assert.deepEqual(types(feed(inFlight, [answer(1, acked(6))])), ['wake', 'ready']);
  });

  test('[ans-no-ack] that names a number outside its delivery moves nothing and counts as no_ack', () => {
    for (const outcome of [acked(1), acked(7), acked(9), acked(3.5), acked(Number.NaN)]) {
      const { subscription: after } = feed(inFlight, [answer(1, outcome)]);
      assert.deepEqual(
        [after.acked, after.health.lastError, after.health.attempts],
        [2, 'no_ack', 1],
        JSON.stringify(outcome),
      );
    }
  });

  test('[ans-no-ack] that settles nothing counts as no_ack', () => {
    assert.equal(feed(inFlight, [answer(1, acked(2))]).subscription.health.lastError, 'no_ack');
  });

  test('[ans-reject] with a rejection makes that number a gap, which the next delivery reports', () => {
    const after = feed(inFlight, [answer(1, acked(3, 4))]);
    assert.equal(after.subscription.acked, 3);
    assert.deepEqual(effect(after, 'gap'), { type: 'gap', from: 4, to: 4, reason: 'rejected' });
    assert.equal(
      effect(feed(after.subscription, [claim(9, 5)], T0 + 100), 'attempt')?.attempt.after,
      3,
    );
  });

  test('[ans-reject-other] that rejects a number other than the next counts as no_ack', () => {
    for (const outcome of [acked(3, 3), acked(3, 5), acked(6, 7), acked(2, 2)]) {
      const after = feed(inFlight, [answer(1, outcome)]);
      assert.deepEqual(
        [after.subscription.acked, after.subscription.health.lastError, effect(after, 'gap')],
        [2, 'no_ack', undefined],
      );
    }
  });

  test('that rejects a number which the delivery reported as a gap settles the number', () => {
    const gapFirst = feed(withLog(9, 2, { floor: 4 }), [claim(9, 5)]).subscription;
    const after = feed(gapFirst, [answer(1, acked(2, 3))]);
    assert.deepEqual([after.subscription.acked, effect(after, 'gap')], [3, undefined]);
  });

  test('rejects nothing that another drain has acknowledged in the meantime', () => {
    const after = feed(inFlight, [ackAt(5), answer(1, acked(3, 4))]);
    assert.deepEqual([after.subscription.acked, effect(after, 'gap')], [5, undefined]);
  });

  test('[ack-cumulative] never moves acked back below what another drain acknowledged', () => {
    assert.equal(feed(inFlight, [ackAt(6), answer(1, acked(3))]).subscription.acked, 6);
  });

  test('of an attempt that has ended changes nothing', () => {
    const next = feed(inFlight, [answer(1, acked(6)), claim(9, 7)]).subscription;
    for (const outcome of [acked(6), TIMEOUT, REFUSED, TOO_LARGE, GONE]) {
      assert.equal(refusal(next, answer(1, outcome)), 'stale_attempt');
      assert.equal(refusal(withLog(3), answer(0, outcome)), 'stale_attempt');
    }
  });

  test('[retry-success] resets the record of failures', () => {
    const failing = attempt(
      attempt(withLog(3), TIMEOUT, T0, 0).subscription,
      REFUSED,
      T0,
      0,
    ).subscription;
    const { health, retryAt } = attempt(failing, acked(3), T0 + 1).subscription;
    assert.deepEqual(health, {
      attempts: 0,
      configFailures: 0,
      configFailingSince: null,
      transientSince: null,
      failingSince: null,
      lastError: null,
      lastDeliveryAt: T0 + 1,
    });
    assert.equal(retryAt, null);
  });
});

describe('a failing callback', () => {
  test('[retry-backoff retry-cap] waits longer after each failure, at most five minutes, always within the jitter', () => {
    let state = withLog(1);
    let now = T0;
    const waits: number[] = [];
    for (let failure = 0; failure < 12; failure += 1) {
      state = attempt(state, TIMEOUT, now, 0.999_999).subscription;
      waits.push(Math.round((state.retryAt! - now) / SECOND));
      assert.equal(deliverable(state, state.retryAt! - 1), false);
      now = state.retryAt!;
    }
    assert.deepEqual(waits, [1, 2, 4, 8, 16, 32, 64, 128, 256, 300, 300, 300]);
  });

  test('is retried by the tick that dueAt asked for', () => {
    const { subscription: failed } = attempt(withLog(1), TIMEOUT, T0);
    assert.equal(dueAt(failed), T0 + 500);
    const early = feed(failed, [{ type: 'tick' }], T0 + 499);
    assert.deepEqual([early.subscription, early.effects], [failed, []]);
    const due = feed(failed, [{ type: 'tick' }], T0 + 500);
    assert.deepEqual([due.subscription.retryAt, types(due)], [null, ['ready']]);
  });

  test('[ans-retry-after] waits as long as the endpoint asks, and longer if the backoff is longer', () => {
    const busy = (retryAfterMs: number): Outcome => ({
      kind: 'transient',
      category: 'http_5xx',
      retryAfterMs,
    });
    assert.equal(attempt(withLog(1), busy(60_000), T0).subscription.retryAt, T0 + 60_000);
    assert.equal(attempt(withLog(1), busy(100), T0).subscription.retryAt, T0 + 500);
  });

  test('[ans-retry-after] waits as long as the endpoint asks even if it was suspended for that failure and resumed at once', () => {
    const day = withLog(1, 0, {
      health: { ...subscription().health, attempts: 9, failingSince: T0 - DAY },
    });
    for (const callback of [CALLBACK, { ...CALLBACK, skipAfterMs: HOUR }]) {
      const { subscription: after } = attempt(
        {
          ...day,
          callback,
          health: { ...day.health, transientSince: day.health.failingSince },
        },
        { kind: 'transient', category: 'http_5xx', retryAfterMs: 60_000 },
        T0,
      );
      const { subscription: resumed } = feed(after, [
        { type: 'configure', change: { resume: true } },
      ]);
      assert.deepEqual(
        [
          callbackStateOf(resumed),
          deliverable(resumed, T0 + 59_999),
          dueAt(resumed),
          deliverable(resumed, T0 + 60_000),
        ],
        ['ok', false, T0 + 60_000, true],
      );
    }
  });

  test('[retry-config-limit retry-suspend] is suspended at the fifth configuration failure in a row, with the log kept', () => {
    let state = withLog(3, 1);
    for (let failure = 1; failure <= 4; failure += 1)
      state = attempt(state, REFUSED, T0 + (failure - 1) * 5 * MINUTE, 0).subscription;
    assert.equal(callbackStateOf(state), 'failing');
    const fifth = attempt(state, REFUSED, T0 + 20 * MINUTE, 0);
    assert.deepEqual(
      [callbackStateOf(fifth.subscription), fifth.subscription.head, fifth.subscription.acked],
      ['suspended', 3, 1],
    );
    assert.deepEqual(types(fifth), ['announce']);
    assert.equal(etagOf(fifth.subscription), etagOf(state));
    assert.notEqual(dueAt(fifth.subscription), fifth.subscription.retryAt);
  });

  test('one other failure in between restarts the count of five', () => {
    let state = withLog(3);
    for (const outcome of [
      REFUSED,
      REFUSED,
      REFUSED,
      REFUSED,
      TIMEOUT,
      REFUSED,
      REFUSED,
      REFUSED,
      REFUSED,
    ])
      state = attempt(state, outcome, T0, 0).subscription;
    const late = T0 + 10 * MINUTE;
    assert.equal(callbackStateOf(state), 'failing');
    assert.equal(callbackStateOf(attempt(state, REFUSED, late, 0).subscription), 'suspended');
    const three = { ...state, health: { ...state.health, configFailures: 3 } };
    assert.equal(callbackStateOf(attempt(three, REFUSED, late, 0).subscription), 'failing');
  });

  test('[retry-config-limit] five configuration failures within ten minutes do not suspend, a later one does', () => {
    let state = withLog(3);
    for (let failure = 1; failure <= 9; failure += 1)
      state = attempt(state, REFUSED, T0 + failure, 0).subscription;
    assert.equal(callbackStateOf(state), 'failing');
    const early = attempt(state, REFUSED, T0 + 10 * MINUTE, 0).subscription;
    assert.equal(
      callbackStateOf(early),
      'failing',
      'one millisecond before ten minutes have passed',
    );
    assert.equal(
      callbackStateOf(attempt(state, REFUSED, T0 + 10 * MINUTE + 1, 0).subscription),
      'suspended',
    );
  });

  test('[retry-config-limit] ten minutes count from the first of the configuration failures in a row, not from the first failure', () => {
    const late = T0 + 20 * MINUTE;
    let state = attempt(withLog(3), TIMEOUT, T0, 0).subscription;
    for (let failure = 0; failure < 6; failure += 1)
      state = attempt(state, REFUSED, late + failure, 0).subscription;
    assert.equal(callbackStateOf(state), 'failing');
    // A transient failure interrupts the row.
    state = attempt(state, TIMEOUT, late + 9 * MINUTE, 0).subscription;
    state = attempt(state, REFUSED, late + 11 * MINUTE, 0).subscription;
    assert.equal(callbackStateOf(state), 'failing');
  });

  test('[retry-time-limit] is suspended once it has failed for 24 hours', () => {
    const long = withLog(3, 0, {
      ttlMs: null,
      expiresAt: null,
      callback: { ...CALLBACK, verifiedAt: T0 + DAY },
    });
    const { subscription: first } = attempt(long, TIMEOUT, T0, 0);
    const { subscription: late } = attempt(first, TIMEOUT, T0 + DAY - 1, 0);
    assert.equal(callbackStateOf(late), 'failing');
    assert.equal(callbackStateOf(attempt(late, TIMEOUT, T0 + DAY, 0).subscription), 'suspended');
  });

  const skipping = {
    callback: { ...CALLBACK, skipAfterMs: HOUR },
    ttlMs: null,
    expiresAt: null,
    health: {
      ...subscription().health,
      attempts: 9,
      failingSince: T0 - HOUR,
      transientSince: T0 - HOUR,
    },
  };

  test('[retry-skip] with skipAfterMs skips the first event after that time, resets the counters and continues', () => {
    const early = attempt(withLog(3, 1, skipping), TIMEOUT, T0 - 1, 0);
    assert.equal(effect(early, 'gap'), undefined);
    const due = attempt(withLog(3, 1, skipping), TIMEOUT, T0, 0);
    assert.deepEqual(effect(due, 'gap'), { type: 'gap', from: 2, to: 2, reason: 'skipped' });
    assert.deepEqual(types(due), ['gap', 'ready']);
    const { health, retryAt } = due.subscription;
    assert.deepEqual(
      [health.attempts, health.configFailures, health.failingSince, health.lastError, retryAt],
      [0, 0, null, 'timeout', null],
    );
  });

  test('[retry-skip-config] a configuration failure skips nothing and suspends as usual', () => {
    let state = withLog(3, 1, skipping);
    for (let failure = 1; failure <= 5; failure += 1) {
      const after = attempt(state, REFUSED, T0 + failure * HOUR, 0);
      assert.equal(effect(after, 'gap'), undefined);
      state = after.subscription;
    }
    assert.equal(callbackStateOf(state), 'suspended');
  });

  test('[gap-same-everywhere ack-only-said] skipping an event leaves acked below the gap, so that every drain still reports it', () => {
    const onlyGaps = feed(withLog(3, 1, skipping), [claim(3, 3)]).subscription;
    const after = feed(onlyGaps, [answer(1, TIMEOUT)]);
    assert.equal(after.subscription.acked, 1);
    assert.deepEqual(effect(after, 'gap'), { type: 'gap', from: 3, to: 3, reason: 'skipped' });
  });

  test('[retry-time-limit] with only gaps to report skips nothing, and is suspended after a day', () => {
    const state = withLog(3, 1, { ...skipping, floor: 3 });
    const after = attempt(state, TIMEOUT, T0, 0);
    assert.deepEqual(
      [
        effect(after, 'gap'),
        callbackStateOf(after.subscription),
        after.subscription.health.attempts,
      ],
      [undefined, 'failing', 10],
    );
    const day = { ...state, callback: { ...skipping.callback, verifiedAt: T0 + DAY } };
    assert.equal(callbackStateOf(attempt(day, TIMEOUT, T0 + DAY, 0).subscription), 'suspended');
  });

  test('does not skip what another drain has acknowledged in the meantime', () => {
    const after = feed(withLog(3, 0, skipping), [claim(3, 1), ackAt(2), answer(1, TIMEOUT)]);
    assert.equal(effect(after, 'gap'), undefined);
    assert.equal(after.subscription.health.failingSince, null);
  });

  test('a lease that expires counts as a timeout, with the longest delay', () => {
    const state = feed(withLog(3), [claim(3, 1)]).subscription;
    assert.equal(feed(state, [{ type: 'tick' }], T0 + 20 * SECOND - 1).subscription, state);
    const lost = feed(state, [{ type: 'tick' }], T0 + 20 * SECOND).subscription;
    assert.deepEqual(
      [lost.attempt, lost.health.lastError, lost.retryAt],
      [null, 'timeout', T0 + 21 * SECOND],
    );
    assert.equal(refusal(lost, answer(1, acked(3)), T0 + 20 * SECOND), 'stale_attempt');
  });

  test('[retry-restart] a new process repeats the attempt at once and does not count it as a failure', () => {
    const after = feed(feed(withLog(3), [claim(3, 1)]).subscription, [{ type: 'recover' }]);
    assert.deepEqual(
      [after.subscription.attempt, after.subscription.health.attempts, types(after)],
      [null, 0, ['ready']],
    );
  });
});

describe('413', () => {
  test('[ans-413] halves the events of the delivery, at once and without counting as a failure', () => {
    let state = withLog(100);
    const limits: (number | null)[] = [];
    for (let events = 100; events > 1; events = state.batchLimit!) {
      const after = feed(state, [claim(events, 1), answer(state.attempts + 1, TOO_LARGE)]);
      assert.deepEqual(types(after), ['ready']);
      assert.equal(after.subscription.health.attempts, 0);
      state = after.subscription;
      limits.push(state.batchLimit);
    }
    assert.deepEqual(limits, [50, 25, 12, 6, 3, 1]);
  });

  test('[ans-413] counts events, not numbers: a range of 10 numbers with 2 events is followed by one event', () => {
    assert.equal(
      feed(withLog(10), [claim(10, 1, 2), answer(1, TOO_LARGE)]).subscription.batchLimit,
      1,
    );
  });

  test('the limit grows back with each success and is lifted at 100', () => {
    let state = withLog(9, 0, { batchLimit: 12 });
    const limits: (number | null)[] = [];
    for (let sequence = 1; sequence <= 5; sequence += 1) {
      state = feed(state, [
        claim(sequence, sequence),
        answer(state.attempts + 1, acked(sequence)),
      ]).subscription;
      limits.push(state.batchLimit);
    }
    assert.deepEqual(limits, [24, 48, 96, null, null]);
  });

  test('the limit does not grow with the answer to a probe, which shows nothing about the size', () => {
    const state = withLog(9, 2, { batchLimit: 12 });
    const after = feed(state, [claim(2, null), answer(1, acked(2))]).subscription;
    assert.equal(after.batchLimit, 12);
  });

  test('[ans-413] for a single event makes it a too_large gap at once', () => {
    const skipped = feed(withLog(4, 0, { floor: 1 }), [claim(2, 2), answer(1, TOO_LARGE)]);
    assert.deepEqual(effect(skipped, 'gap'), { type: 'gap', from: 2, to: 2, reason: 'too_large' });
    assert.deepEqual(types(skipped), ['gap', 'ready']);
  });

  test('[ans-413] for gaps only, and for a probe, is a configuration failure', () => {
    for (const state of [withLog(3, 0, { floor: 3 }), withLog(3, 3)]) {
      const { health, batchLimit } = feed(state, [
        claim(3, null),
        answer(1, TOO_LARGE),
      ]).subscription;
      assert.deepEqual(
        [health.configFailures, health.lastError, batchLimit],
        [1, 'http_4xx', null],
      );
    }
  });
});

describe('an event that the endpoint refuses permanently', () => {
  const NEVER: Outcome = { kind: 'refused' };

  test('becomes a rejected gap at once, without a wait', () => {
    const skipped = feed(withLog(4, 0, { floor: 1 }), [claim(2, 2), answer(1, NEVER)]);
    assert.deepEqual(effect(skipped, 'gap'), { type: 'gap', from: 2, to: 2, reason: 'rejected' });
    assert.deepEqual(types(skipped), ['gap', 'ready']);
    const {
      callback,
      health: { lastError, failingSince },
      retryAt,
    } = skipped.subscription;
    assert.deepEqual(
      [callback === null, lastError, failingSince, retryAt],
      [false, 'http_4xx', null, null],
    );
  });

  test('is a configuration failure when the answer does not identify the event', () => {
    for (const to of [2, 3])
      assert.equal(
        feed(withLog(3), [claim(to, 1), answer(1, NEVER)]).subscription.health.configFailures,
        1,
      );
    assert.equal(
      feed(withLog(3, 0, { floor: 3 }), [claim(3, null), answer(1, NEVER)]).subscription.health
        .configFailures,
      1,
    );
  });
});

describe('410', () => {
  test('[ans-gone] suspends the callback, keeps URL and secret, and keeps the log', () => {
    const after = attempt(withLog(3), GONE, T0);
    const { callback, head, acked: confirmed, health, suspendedAt } = after.subscription;
    assert.deepEqual([callback, head, confirmed, suspendedAt], [CALLBACK, 3, 0, T0]);
    assert.deepEqual([health.attempts, health.lastError, types(after)], [1, 'gone', ['announce']]);
  });
});

describe('a suspended callback', () => {
  const failing = {
    ...subscription().health,
    attempts: 9,
    configFailures: 5,
    configFailingSince: T0 - HOUR,
    transientSince: null,
    failingSince: T0 - HOUR,
    lastError: 'http_4xx',
  } as const;
  const suspended: Subscription = withLog(3, 1, {
    suspendedAt: T0,
    probeAt: T0 + 60 * SECOND,
    health: failing,
  });

  test('[sub-only-client-resumes] stays suspended when an empty delivery is acknowledged', () => {
    const after = feed(suspended, [claim(1, null), answer(1, acked(1))]).subscription;
    assert.deepEqual(
      [callbackStateOf(after), after.health.lastError, deliverable(after, T0)],
      ['suspended', 'http_4xx', false],
    );
  });

  test('[sub-only-client-resumes sub-resume-continues] is resumed by a proof: counters at zero, last error kept, delivery continues after acked', () => {
    const after = feed(suspended, [{ type: 'verified', ok: true, jitter: 0 }]);
    assert.deepEqual(
      [callbackStateOf(after.subscription), types(after), after.subscription.probeAt],
      ['ok', ['announce', 'ready'], null],
    );
    assert.deepEqual(after.subscription.health, {
      attempts: 0,
      configFailures: 0,
      configFailingSince: null,
      transientSince: null,
      failingSince: null,
      lastError: 'http_4xx',
      lastDeliveryAt: null,
    });
    assert.equal(effect(feed(after.subscription, [claim(3, 2)]), 'attempt')?.attempt.after, 1);
  });

  test('[sub-only-client-resumes] is not resumed by a stream, an acknowledgement, an event, time or a restart', () => {
    for (const input of [
      { type: 'drain', after: 0, to: 3 },
      ackAt(2),
      append(),
      { type: 'tick' },
      { type: 'recover' },
      { type: 'verified', ok: false, jitter: 0 },
      { type: 'configure', change: { ttlMs: HOUR, paused: true, callback: { ...CALLBACK } } },
    ] as const) {
      assert.equal(callbackStateOf(feed(suspended, [input]).subscription), 'suspended', input.type);
    }
  });

  test('[sub-only-client-resumes] is resumed by another secret and another URL', () => {
    for (const callback of [
      { ...CALLBACK, secret: 'whsec_new' },
      { ...CALLBACK, url: 'https://elsewhere.example/' },
    ]) {
      const after = feed(suspended, [{ type: 'configure', change: { callback } }]).subscription;
      assert.deepEqual([callbackStateOf(after), after.probeAt], ['ok', null]);
    }
  });

  test('[retry-probe] is due for a challenge with pauses that grow to an hour; a failed one changes nothing else', () => {
    for (const [jitter, pauses] of [
      [0, [1, 2, 4, 8, 16, 32, 60, 60]],
      [1, [0.5, 0.75, 1.125, 1.6875]],
    ] as const) {
      let state = attempt(
        withLog(1, 0, { ttlMs: null, expiresAt: null, health: { ...failing, configFailures: 9 } }),
        REFUSED,
        T0,
        jitter,
      ).subscription;
      assert.equal(callbackStateOf(state), 'suspended');
      let now = T0;
      const waits: number[] = [];
      for (const _ of pauses) {
        assert.equal(dueAt(state), state.probeAt);
        waits.push((state.probeAt! - now) / (60 * SECOND));
        now = state.probeAt!;
        const { health } = state;
        const after = feed(state, [{ type: 'verified', ok: false, jitter }], now);
        assert.deepEqual([after.effects, after.subscription.health], [[], health]);
        state = after.subscription;
      }
      // The second pause begins after a minute, and equals the time since the suspension.
      assert.deepEqual(waits, jitter === 0 ? [1, 1, 2, 4, 8, 16, 32, 60] : waits);
      assert.ok(waits.every((wait, at) => at === 0 || (wait <= 60 && wait >= waits[at - 1]! / 2)));
    }
  });
});

describe('consent', () => {
  const forever = withLog(3, 1, {
    ttlMs: null,
    expiresAt: null,
    retention: { maxAgeMs: 30 * DAY, maxEvents: 1000 },
  });

  test('[cbv-daily] without expiry, lapses after 24 hours: it is due again, and nothing is sent until it is verified', () => {
    assert.equal(dueAt(forever), T0 + DAY);
    assert.deepEqual(
      [deliverable(forever, T0 + DAY - 1), deliverable(forever, T0 + DAY)],
      [true, false],
    );
    const proved = feed(forever, [{ type: 'verified', ok: true, jitter: 0 }], T0 + DAY);
    assert.deepEqual(
      [types(proved), dueAt(proved.subscription), etagOf(proved.subscription)],
      [['ready'], T0 + 2 * DAY, etagOf(forever)],
    );
  });

  test('[cbv-daily] suspends when refused, and nothing is sent after a resume until it is proved', () => {
    {
      const refused = feed(forever, [{ type: 'verified', ok: false, jitter: 0 }], T0 + DAY);
      assert.deepEqual(
        [
          callbackStateOf(refused.subscription),
          refused.subscription.health.lastError,
          types(refused),
        ],
        ['suspended', 'challenge_failed', ['announce']],
      );
      const resumed = feed(
        refused.subscription,
        [{ type: 'configure', change: { resume: true } }],
        T0 + DAY + HOUR,
      );
      assert.deepEqual(
        [callbackStateOf(resumed.subscription), types(resumed)],
        ['ok', ['announce']],
      );
      assert.equal(dueAt(resumed.subscription), T0 + DAY);
      assert.deepEqual(
        types(
          feed(resumed.subscription, [{ type: 'verified', ok: true, jitter: 0 }], T0 + DAY + HOUR),
        ),
        ['ready'],
      );
    }
  });

  test('without a callback is refused', () => {
    const without = withLog(1, 0, { callback: null });
    assert.equal(feed(without, [{ type: 'verified', ok: false, jitter: 0 }]).subscription, without);
  });
});
