/**
 * Tests the follower's decisions one by one: what an error means, what a number means, which
 * guarantee is weaker, what is finished.
 */
import assert from 'node:assert/strict';
import { describe, test } from 'vitest';
import { Cooldowns } from '../../../src/client/follow/follower.ts';
import {
  compareGuarantees,
  directionOf,
  isSameGuarantee,
  weakestGuarantee,
  withServerNumbers,
} from '../../../src/client/follow/guarantee.ts';
import {
  Deduplicator,
  relationOf,
  showsLoss,
  type LogNumber,
  type NumberRelation,
} from '../../../src/client/follow/item-sequencer.ts';
import { eventsError, terminated } from '../../../src/client/follow/modes/events/errors.ts';
import { pollPause } from '../../../src/client/follow/modes/events/poll.ts';
import { ProgressTracker, type Progress } from '../../../src/client/follow/progress.ts';
import { followActionAfter, type FollowAction } from '../../../src/client/recovery.ts';
import type { FollowGuarantee } from '../../../src/client/follow/types.ts';
import { systemClock } from '../../../src/protocol/lib/clock.ts';
import {
  conflict,
  forbidden,
  internalError,
  invalidParams,
  LocalError,
  notFound,
  resourceExhausted,
  unsupported,
  WireError,
} from '../../../src/protocol/wire/errors.ts';
import { RemoteError } from '../../../src/protocol/wire/remote-error.ts';

describe('how a mode ended', () => {
  const local = (code: LocalError['code'], reason?: string) =>
    new LocalError(code, 'x', reason === undefined ? {} : { reason });
  const rows: readonly (readonly [what: string, error: unknown, action: FollowAction])[] = [
    ['without an error', undefined, 'again'],
    ['not reached', local('unreachable'), 'again'],
    ['no answer in time', local('timeout'), 'again'],
    ['busy, with a time', resourceExhausted({ limit: 'calls', retryAfterMs: 10 }), 'again'],
    ['the server failed', internalError(null), 'again'],
    ['a quota that waiting does not free', resourceExhausted({ limit: 'streams' }), 'next'],
    ['forbidden', forbidden({ kind: 'authentication' }), 'next'],
    ['not found', notFound({ kind: 'trigger' }), 'next'],
    ['unsupported', unsupported('x'), 'next'],
    ['params', invalidParams('/x', 'y'), 'next'],
    ['conflict', conflict({ kind: 'etag', etag: 'x' }), 'next'],
    ['an unknown error', new RemoteError(-32000, 'x', undefined), 'next'],
    ['no such method', local('not_supported', 'method_not_found'), 'next'],
    ['a protocol violation', local('peer_misbehaved'), 'violation'],
    ['the type is gone', local('terminated', 'trigger_removed'), 'next'],
    ['revoked', local('terminated', 'revoked'), 'end'],
    ['unsubscribed elsewhere', local('terminated', 'unsubscribed'), 'end'],
    ['no token', local('unauthorized'), 'end'],
    ['closed', local('closed'), 'end'],
    ['a ledger that cannot be read', local('ledger_corrupt'), 'end'],
    ['an error of this client', new TypeError('x'), 'end'],
  ];
  for (const [what, error, action] of rows)
    test(`${what}: ${action}`, () => assert.equal(followActionAfter(error), action));

  test("the caller's own mistake ends the iteration with triggers/*, and only the mode with events/*", () => {
    for (const error of [
      invalidParams('/select/0/arguments/x', 'y'),
      conflict({ kind: 'etag', etag: 'x' }),
    ]) {
      assert.deepEqual(
        [followActionAfter(error, 'triggers'), followActionAfter(error, 'events.poll')],
        ['end', 'next'],
      );
    }
  });
});

describe('errors of events/*', () => {
  const rows = [
    [-32023, -32011, 'NotFound', { kind: 'event' }, { kind: 'trigger' }],
    [-32024, -32012, 'Forbidden', { kind: 'event' }, { kind: 'permission' }],
    [-32024, -32012, 'Forbidden', { kind: 'principal' }, { kind: 'authentication' }],
    [-32024, -32012, 'Forbidden', undefined, { kind: 'permission' }],
    [
      -32025,
      -32013,
      'ResourceExhausted',
      { limit: 'x', max: 3 },
      { kind: 'limit', limit: 'x', max: 3 },
    ],
    [
      -32026,
      -32014,
      'Unsupported',
      { feature: 'deliveryMode', value: 'push' },
      { kind: 'feature', feature: 'deliveryMode', value: 'push' },
    ],
    [
      -32027,
      -32015,
      'CallbackEndpointError',
      { reason: 'nonsense' },
      { kind: 'callback', category: 'nonsense' },
    ],
  ] as const;
  for (const [sep, sketch, name, data, expected] of rows) {
    test(`${sep} and ${sketch} with ${JSON.stringify(data)} are ${name}`, () => {
      for (const code of [sep, sketch]) {
        const error = eventsError(new RemoteError(code, 'words of the peer', data));
        assert.ok(error instanceof WireError && error.name === name);
        assert.deepEqual([error.data, error.message], [expected, 'words of the peer']);
      }
    });
  }

  test('codes without a meaning here stay as they are', () => {
    const error = new RemoteError(-32001, 'x', undefined);
    assert.equal(eventsError(error), error);
  });

  test('a termination without a known reason counts as unreachable, so it is retried', () => {
    for (const raw of [undefined, null, {}, { code: -32603, message: 'x' }, { code: 'x' }])
      assert.equal(terminated(raw).code, 'unreachable', JSON.stringify(raw));
  });
});

describe('what a number means', () => {
  const at = (sequence: number, epoch = 'e', subscriptionId = 's'): LogNumber => ({
    subscriptionId,
    epoch,
    sequence,
  });
  const rows: readonly (readonly [
    last: LogNumber | undefined,
    now: LogNumber,
    expected: NumberRelation,
  ])[] = [
    [undefined, at(7), 'first'],
    [at(7), at(8), 'next'],
    [at(7), at(7), 'behind'],
    [at(7), at(1), 'behind'],
    [at(7), at(9), { kind: 'gap', from: 8, to: 8 }],
    [at(7), at(1, 'f'), { kind: 'epoch', from: 1, to: 0 }],
    [at(7), at(4, 'f'), { kind: 'epoch', from: 1, to: 3 }],
    [at(7), at(8, 'e', 't'), 'replaced'],
  ];
  for (const [last, now, expected] of rows)
    test(`${JSON.stringify(now)} after ${JSON.stringify(last)}: ${JSON.stringify(expected)}`, () =>
      assert.deepEqual(relationOf(last, now), expected));

  test('a series of numbers shows whether events were lost', () => {
    assert.equal(showsLoss(at(1), [at(2), at(3)]), false);
    assert.equal(showsLoss(at(1), [at(2), at(4)]), true);
    assert.equal(showsLoss(at(1), [at(3)]), true);
    assert.equal(showsLoss(at(1), [at(1), at(2)]), false);
    assert.equal(showsLoss(at(1), []), false);
    assert.equal(showsLoss(at(1), [at(2, 'f')]), true);
  });
});

describe('guarantees', () => {
  const triggers: FollowGuarantee = {
    mode: 'triggers',
    drain: 'stream',
    order: 'total',
    loss: 'none silent',
    gaps: 'exact',
    numbers: 'server',
  };
  const push: FollowGuarantee = {
    mode: 'events.push',
    order: 'sent',
    loss: 'flagged',
    gaps: 'flag',
    numbers: 'client',
  };
  const read: FollowGuarantee = {
    mode: 'read',
    order: 'observed',
    loss: 'latest state only',
    gaps: 'none',
    numbers: 'client',
  };

  test('the guarantee of several is the weakest of them', () => {
    assert.equal(weakestGuarantee([triggers, read, push]), read);
    assert.equal(weakestGuarantee([push, triggers]), push);
    assert.equal(weakestGuarantee([]), undefined);
  });

  test('compares by mode, then by guarantee, then by drain', () => {
    assert.equal(directionOf(push, triggers), 'upgraded');
    assert.equal(directionOf(triggers, read), 'downgraded');
    assert.equal(directionOf(push, withServerNumbers(push)), 'upgraded');
    assert.equal(directionOf(push, { ...push, loss: 'undetected', gaps: 'none' }), 'downgraded');
    assert.equal(directionOf(triggers, { ...triggers, drain: 'callback' }), 'upgraded');
    assert.equal(directionOf(triggers, { ...triggers, drain: 'pull' }), 'downgraded');
  });

  test('an equal guarantee is not a change', () => {
    assert.ok(isSameGuarantee(push, { ...push }));
    assert.ok(!isSameGuarantee(undefined, push));
    assert.ok(!isSameGuarantee(push, { ...push, mode: 'events.poll' }));
    assert.ok(!isSameGuarantee(triggers, { ...triggers, drain: 'pull' }));
    assert.equal(compareGuarantees(push, { ...push, mode: 'events.poll' }), 0);
  });
});

describe('finished items', () => {
  const start = () => {
    const saved: Progress[] = [];
    const done: string[] = [];
    const progress = new ProgressTracker(
      { mode: 'events.poll', mark: null, number: null },
      async (progress) => {
        saved.push(progress);
      },
    );
    return {
      saved,
      done,
      progress,
      marks: () => saved.map(({ mark }) => mark),
      answer: (name: string) => () => {
        done.push(name);
      },
    };
  };

  test('finishing an item finishes all before it', async () => {
    const { progress, marks, done, answer } = start();
    progress.add({ mark: 'a', done: answer('a') });
    const b = progress.add({ mark: 'b', done: answer('b') });
    progress.add({ mark: 'c', done: answer('c') });
    await b();
    assert.deepEqual([marks(), done], [['b'], ['a', 'b']]);
  });

  test('an earlier item does not move the position back', async () => {
    const { progress, marks } = start();
    const a = progress.add({ mark: 'a' });
    const b = progress.add({ mark: 'b' });
    await b();
    await a();
    assert.deepEqual([marks(), progress.progress.mark], [['b'], 'b']);
  });

  test('a dropped item waits for the items before it', async () => {
    const { progress, marks } = start();
    const a = progress.add({ mark: 'a' });
    progress.skip({ mark: 'b' });
    await progress.flush();
    assert.deepEqual(marks(), []);
    await a();
    assert.deepEqual(marks(), ['b']);
  });

  test('progress is saved before it is answered, with one save for many items', async () => {
    const order: string[] = [];
    const progress = new ProgressTracker(
      { mode: undefined, mark: null, number: null },
      async ({ mark }) => {
        await Promise.resolve();
        order.push(`saved ${mark}`);
      },
    );
    const finish = ['a', 'b', 'c'].map((mark) =>
      progress.add({
        mark,
        done: () => {
          order.push(`answered ${mark}`);
        },
      }),
    );
    await Promise.all(finish.map((one) => one()));
    assert.deepEqual(order, ['saved a', 'answered a', 'saved c', 'answered b', 'answered c']);
  });

  test('a failed save is reported, answers nothing, and is retried', async () => {
    let isFull = true;
    const answered: string[] = [];
    const progress = new ProgressTracker(
      { mode: undefined, mark: null, number: null },
      async () => {
        if (isFull) throw new Error('full');
      },
    );
    await assert.rejects(
      progress.add({
        mark: 'a',
        done: () => {
          answered.push('a');
        },
      })(),
      /full/,
    );
    assert.deepEqual(answered, []);
    isFull = false;
    await progress.flush();
    assert.deepEqual([progress.progress.mark, answered], ['a', ['a']]);
  });
});

test('a refused mode is avoided twice as long each time', () => {
  let now = 0;
  const refusals = new Cooldowns({ ...systemClock, now: () => now }, 100);
  const spans: number[] = [];
  for (let times = 0; times < 9; times++) {
    const from = now;
    refusals.start('events.push', new Error(String(times)));
    while (refusals.isActive('events.push')) now += 100;
    spans.push(now - from);
  }
  assert.deepEqual(spans, [100, 200, 400, 800, 1600, 3200, 6400, 6400, 6400]);
  assert.match(String(refusals.firstError(['triggers', 'events.push'])), /8/);
});

test('an event is recognized by name and identifier, and as one of this run or of an earlier run', () => {
  const seen = new Deduplicator();
  const event = { name: 'timer', eventId: '1' };
  seen.add(event);
  assert.deepEqual(
    [seen.has(event), seen.hadInEarlierRun(event), seen.has({ ...event, name: 'other' })],
    [true, false, false],
  );
  seen.startRun();
  assert.equal(seen.hadInEarlierRun(event), true);
  assert.equal(new Deduplicator(seen).hadInEarlierRun(event), true);
});

test('the poll interval is what the server says, within bounds', () => {
  const tuning = { pollMs: 30_000, pollFloorMs: 1000 };
  for (const [said, expected] of [
    [undefined, 30_000],
    [5000, 5000],
    [0, 1000],
    [-1, 1000],
    [NaN, 30_000],
    ['1', 30_000],
    [1e12, 86_400_000],
  ] as const)
    assert.equal(pollPause(said, tuning), expected);
});
