/** Tests configuration, ETag and time, one situation per test. */
import { describe, test } from 'vitest';
import assert from 'node:assert/strict';
import {
  deliverable,
  dueAt,
  etagOf,
  callbackStateOf,
  step,
  type Change,
  type Input,
  type Subscription,
} from '../../../src/protocol/core/index.ts';
import {
  acked,
  ackAt,
  answer,
  append,
  CALLBACK,
  claim,
  DAY,
  EPOCH,
  HOUR,
  feed,
  refusal,
  SECOND,
  subscription,
  T0,
  TIMEOUT,
  types,
  withLog,
} from './fixtures.ts';

const configure = (change: Change): Input => ({ type: 'configure', change });
const changesEtag = (state: Subscription, input: Input, now = T0): boolean =>
  etagOf(feed(state, [input], now).subscription) !== etagOf(state);

describe('the ETag', () => {
  const log = withLog(5, 1);

  test('is the version and the last eight characters of the epoch', () => {
    const end = EPOCH.slice(-8);
    assert.equal(etagOf({ epoch: EPOCH, version: 1 }), `1-${end}`);
    assert.equal(etagOf({ epoch: EPOCH, version: 1295 }), `zz-${end}`);
  });

  test('differs between epochs that begin alike, as those of the engine do', () => {
    const [one, other] = ['ep_firstAAAAAAAA', 'ep_firstBBBBBBBB'];
    assert.notEqual(etagOf({ epoch: one, version: 1 }), etagOf({ epoch: other, version: 1 }));
  });

  test('[etag-config] changes with every change of configuration', () => {
    const changes: Change[] = [
      { select: [{ name: 'note.created', arguments: { list: 'b' } }] },
      { select: [] },
      { callback: null },
      { callback: { ...CALLBACK, url: 'https://elsewhere.example/' } },
      { callback: { ...CALLBACK, secret: 'whsec_new' } },
      { ttlMs: HOUR + 1 },
      { ttlMs: null },
      { paused: true },
      { callback: { ...CALLBACK, skipAfterMs: HOUR } },
    ];
    for (const change of changes)
      assert.equal(changesEtag(log, configure(change)), true, JSON.stringify(change));
  });

  test('[etag-config] does not change with anything else', () => {
    const same: Input[] = [
      append(),
      ackAt(2),
      claim(5, 2),
      { type: 'drain', after: 0, to: 5 },
      { type: 'trim', upTo: 1, oldestAt: T0 },
      { type: 'tick' },
      { type: 'recover' },
      { type: 'verified', ok: true, jitter: 0 },
      { type: 'verified', ok: false, jitter: 0 },
      configure({ ttlMs: HOUR }),
      configure({}),
      configure({ resume: true }),
      configure({ paused: false }),
      configure({ select: [{ arguments: { list: 'a' }, name: 'note.created' }] }),
      configure({ retention: { maxAgeMs: 1, maxEvents: 1 } }),
      configure({ callback: { ...CALLBACK, verifiedAt: T0 + 1 } }),
    ];
    for (const input of same)
      assert.equal(changesEtag(log, input, T0 + 1), false, JSON.stringify(input));
    assert.equal(changesEtag({ ...log, suspendedAt: T0 }, configure({ resume: true })), false);
    const inFlight = feed(log, [claim(5, 2)]).subscription;
    for (const outcome of [acked(5), TIMEOUT])
      assert.equal(changesEtag(inFlight, answer(1, outcome)), false);
  });

  test('[etag-config] never returns to an old value, not even when the configuration does', () => {
    const there = feed(log, [configure({ paused: true })]).subscription;
    const back = feed(there, [configure({ paused: false })]).subscription;
    assert.equal(new Set([log, there, back].map(etagOf)).size, 3);
  });

  test('changes once for a call that changes several things', () => {
    const change: Change = {
      select: [],
      paused: true,
      ttlMs: 5,
      callback: null,
      resume: true,
    };
    assert.equal(
      feed({ ...log, suspendedAt: T0 }, [configure(change)]).subscription.version,
      log.version + 1,
    );
  });
});

describe('an update', () => {
  test('that changes nothing returns the identical object', () => {
    const log = withLog(3);
    assert.equal(
      feed(log, [configure({ ttlMs: HOUR, paused: false, callback: { ...CALLBACK } })])
        .subscription,
      log,
    );
  });

  test('renews: the expiry moves although nothing else does', () => {
    const renewed = feed(withLog(0), [configure({ ttlMs: HOUR, resume: true })], T0 + 1000);
    assert.deepEqual([renewed.subscription.expiresAt, renewed.effects], [T0 + 1000 + HOUR, []]);
  });

  test('[stream-changed] tells open streams what changed', () => {
    assert.deepEqual(types(feed(withLog(0), [configure({ paused: true })])), ['announce']);
  });

  test('that pauses stops new attempts and lets the one in flight count; unpausing continues', () => {
    const inFlight = feed(withLog(3), [claim(2, 1), configure({ paused: true })]).subscription;
    const after = feed(inFlight, [answer(1, acked(2))]);
    assert.deepEqual([after.subscription.acked, types(after)], [2, ['wake']]);
    assert.deepEqual(types(feed(after.subscription, [configure({ paused: false })])), [
      'announce',
      'ready',
    ]);
  });

  test('[retry-success] that unpauses resets the failure count, since nothing could succeed while paused', () => {
    const failing = withLog(3, 0, {
      paused: true,
      retryAt: T0 + 5,
      health: {
        ...subscription().health,
        attempts: 1,
        failingSince: T0 - DAY,
        lastError: 'timeout',
      },
    });
    const { health, retryAt } = feed(failing, [configure({ paused: false })]).subscription;
    assert.deepEqual(
      [health.attempts, health.failingSince, health.lastError, retryAt],
      [0, null, 'timeout', T0 + 5],
    );
  });

  test('to another URL voids the attempt in flight and starts with a clean record', () => {
    const failing = withLog(3, 0, {
      retryAt: T0 + HOUR,
      batchLimit: 3,
      health: { ...subscription().health, attempts: 4, lastError: 'timeout' },
    });
    const moved = feed(failing, [
      configure({ callback: { ...CALLBACK, url: 'https://elsewhere.example/' } }),
    ]);
    assert.deepEqual(
      [moved.subscription.retryAt, moved.subscription.batchLimit, moved.subscription.health],
      [null, null, subscription().health],
    );
    assert.deepEqual(types(moved), ['announce', 'ready']);
    const late = feed(withLog(3), [
      claim(3, 1),
      configure({ callback: { ...CALLBACK, url: 'https://elsewhere.example/' } }),
    ]).subscription;
    assert.equal(refusal(late, answer(1, acked(3))), 'stale_attempt');
  });

  test('[cb-one-lease] to another secret at the same URL keeps the attempt in flight', () => {
    const rotated = feed(withLog(3), [
      claim(3, 1),
      configure({
        callback: {
          ...CALLBACK,
          secret: 'whsec_new',
          previousSecret: CALLBACK.secret,
          previousUntil: T0 + 300 * SECOND,
        },
      }),
    ]);
    assert.deepEqual([rotated.subscription.attempt?.id, types(rotated)], [1, ['announce']]);
    assert.equal(feed(rotated.subscription, [answer(1, acked(3))]).subscription.acked, 3);
  });

  test('[ans-current-only sig-rotation] an answer counts only while every secret that may have signed the request is in use', () => {
    const rotate = (secret: string, previousSecret: string | null) =>
      configure({
        callback: { ...CALLBACK, secret, previousSecret, previousUntil: T0 + 300 * SECOND },
      });
    const inFlight = feed(withLog(3), [claim(3, 1), rotate('whsec_2', CALLBACK.secret)]);
    assert.equal(inFlight.subscription.attempt?.id, 1);
    for (const later of [
      // A third secret drops the first one.
      rotate('whsec_3', 'whsec_2'),
      // The client has revoked the first one.
      rotate('whsec_2', null),
    ]) {
      const dropped = feed(inFlight.subscription, [later]);
      assert.equal(refusal(dropped.subscription, answer(1, acked(3))), 'stale_attempt');
      assert.equal(dropped.subscription.acked, 0);
      assert.ok(types(dropped).includes('ready'), 'the range is sent again');
    }
  });

  test('[upd-resume retry-success] resumes a suspended callback', () => {
    const suspended = withLog(3, 0, {
      suspendedAt: T0,
      health: { ...subscription().health, attempts: 5, lastError: 'http_4xx' },
    });
    const after = feed(suspended, [configure({ resume: true })]);
    assert.deepEqual(
      [
        callbackStateOf(after.subscription),
        after.subscription.health.attempts,
        after.subscription.health.lastError,
      ],
      ['ok', 0, 'http_4xx'],
    );
    assert.deepEqual(types(after), ['announce', 'ready']);
  });

  test('[sub-paused] pausing and the state of the callback are independent: neither ends the other', () => {
    const failing = { ...subscription().health, attempts: 1, failingSince: T0 };
    const rows = [
      // The start, the state of its callback, and the state after a pause.
      [{}, 'ok', 'ok'],
      [{ health: failing }, 'failing', 'ok'],
      [{ health: failing, suspendedAt: T0 }, 'suspended', 'suspended'],
    ] as const;
    for (const [before, state, later] of rows) {
      const shown = (of: Subscription) => [of.paused, callbackStateOf(of)];
      const start = subscription(before);
      assert.deepEqual(shown(start), [false, state]);
      const paused = feed(start, [configure({ paused: true })]).subscription;
      assert.deepEqual(shown(paused), [true, state]);
      const again = feed(paused, [configure({ paused: false })]).subscription;
      assert.deepEqual(shown(again), [false, later]);
      if (later === 'suspended') assert.equal(again.health, start.health);
      const resumed = feed(paused, [configure({ resume: true })]).subscription;
      assert.deepEqual(shown(resumed), [true, state === 'suspended' ? 'ok' : state]);
    }
  });
});

describe('time', () => {
  test('[ttl-kept] the tick at expiresAt ends the subscription', () => {
    const state = subscription();
    assert.equal(dueAt(state), T0 + HOUR);
    assert.equal(feed(state, [{ type: 'tick' }], T0 + HOUR - 1).subscription.terminated, null);
    const ended = feed(state, [{ type: 'tick' }], T0 + HOUR);
    assert.deepEqual(
      [ended.subscription.terminated, ended.effects],
      [{ reason: 'expired', at: T0 + HOUR }, [{ type: 'terminated', reason: 'expired' }]],
    );
  });

  test('[ttl-kept] a late tick prolongs nothing: from expiresAt on client and callback are refused', () => {
    const log = withLog(3);
    const calls: Input[] = [
      ackAt(1),
      { type: 'drain', after: 0, to: 1 },
      claim(3, 1),
      configure({ ttlMs: HOUR }),
      { type: 'verified', ok: true, jitter: 0 },
    ];
    for (const input of calls)
      assert.equal(refusal(log, input, T0 + HOUR), 'terminated', input.type);
    assert.equal(deliverable(log, T0 + HOUR), false);
    // An event and an answer that are already on their way still count for the final position.
    assert.equal(feed(log, [append()], T0 + HOUR).subscription.head, 4);
    assert.equal(
      feed(feed(log, [claim(3, 1)]).subscription, [answer(1, acked(3))], T0 + HOUR).subscription
        .acked,
      3,
    );
  });

  test('[ttl-not-by-reading] nothing but a renewal moves the expiry', () => {
    const after = feed(
      withLog(3),
      [ackAt(1), { type: 'drain', after: 0, to: 3 }, claim(3, 2), answer(1, acked(3))],
      T0 + 1,
    ).subscription;
    assert.equal(after.expiresAt, T0 + HOUR);
  });

  test('[uns-ends end-last] after the end every input is refused', () => {
    const ended = feed(withLog(3), [claim(3, 1), { type: 'terminate', reason: 'unsubscribed' }]);
    assert.deepEqual(ended.effects, [{ type: 'terminated', reason: 'unsubscribed' }]);
    const inputs: Input[] = [
      append(),
      claim(3, 1),
      answer(1, acked(3)),
      { type: 'drain', after: 0, to: 3 },
      ackAt(1),
      { type: 'trim', upTo: 1, oldestAt: null },
      configure({ paused: true }),
      { type: 'verified', ok: true, jitter: 0 },
      { type: 'tick' },
      { type: 'recover' },
      { type: 'terminate', reason: 'revoked' },
      { type: 'rotate', epoch: 'epoch-two' },
    ];
    for (const input of inputs)
      assert.equal(refusal(ended.subscription, input), 'terminated', input.type);
    assert.equal(dueAt(ended.subscription), null);
  });

  test('[sig-rotation-end] the old secret is dropped at the end of its window, which does not change the configuration', () => {
    const rotating = subscription({
      callback: { ...CALLBACK, previousSecret: 'whsec_older', previousUntil: T0 + 300 * SECOND },
    });
    assert.equal(dueAt(rotating), T0 + 300 * SECOND);
    assert.equal(feed(rotating, [{ type: 'tick' }], T0 + 299 * SECOND).subscription, rotating);
    const after = feed(rotating, [{ type: 'tick' }], T0 + 300 * SECOND);
    assert.deepEqual(
      [after.subscription.callback, after.effects, etagOf(after.subscription)],
      [CALLBACK, [], etagOf(rotating)],
    );
  });

  test('a tick that comes too early or too often changes nothing', () => {
    const state = withLog(3, 3);
    assert.equal(feed(state, [{ type: 'tick' }]).subscription, state);
  });

  test('dueAt is the earliest deadline of all, and a tick at that time always moves it on', () => {
    const busy = feed(
      withLog(3, 0, { callback: { ...CALLBACK, previousSecret: 'x', previousUntil: T0 + 5 } }),
      [claim(3, 1)],
    ).subscription;
    let state = busy;
    const seen: number[] = [];
    for (let due = dueAt(state); due !== null; due = dueAt(state)) {
      seen.push(due - T0);
      state = step(state, { type: 'tick' }, due).subscription;
    }
    // The rotation window, the lease, the retry after the lost lease, and the expiry, which
    // comes before the first daily retention check.
    assert.deepEqual(seen, [5, 20 * SECOND, 21 * SECOND, HOUR]);
    assert.equal(state.terminated?.reason, 'expired');
    assert.ok(DAY > HOUR);
  });
});
