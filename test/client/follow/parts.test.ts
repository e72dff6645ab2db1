/** The ladder's decisions one by one: what an error means, what a number says, what is weaker, what is finished. */
import assert from 'node:assert/strict';
import { describe, test } from 'vitest';
import { afterError, type AfterError } from '../../../src/client/follow/decide.ts';
import { eventsError, terminated } from '../../../src/client/follow/modes/events/errors.ts';
import { pauseAfter } from '../../../src/client/follow/modes/events/poll.ts';
import {
  compareGuarantees,
  direction,
  isSame,
  weakest,
  withNumbers,
} from '../../../src/client/follow/guarantee.ts';
import { place, showsLoss, type Numbered, type Place } from '../../../src/client/follow/numbers.ts';
import { Cooldowns } from '../../../src/client/follow/cooldowns.ts';
import { Deduplicator } from '../../../src/client/follow/deduplicator.ts';
import { AckTracker, type Progress } from '../../../src/client/follow/ack-tracker.ts';
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

describe('what the end of a rung means', () => {
  const local = (code: LocalError['code'], reason?: string) =>
    new LocalError(code, 'x', reason === undefined ? {} : { reason });
  const rows: readonly (readonly [what: string, error: unknown, verdict: AfterError])[] = [
    ['in good order', undefined, 'again'],
    ['not reached', local('unreachable'), 'again'],
    ['no answer in time', local('timeout'), 'again'],
    ['busy, with a time', resourceExhausted({ limit: 'calls', retryAfterMs: 10 }), 'again'],
    ['the server failed', internalError(null), 'again'],
    ['a quota that no waiting frees', resourceExhausted({ limit: 'streams' }), 'next'],
    ['forbidden', forbidden({ kind: 'principal' }), 'next'],
    ['not found', notFound({ kind: 'trigger' }), 'next'],
    ['unsupported', unsupported('x'), 'next'],
    ['params', invalidParams('/x', 'y'), 'next'],
    ['conflict', conflict({ kind: 'etag', etag: 'x' }), 'next'],
    ["somebody else's error", new RemoteError(-32000, 'x', undefined), 'next'],
    ['no such method', local('not_supported', 'method_not_found'), 'next'],
    ['the protocol broken', local('peer_misbehaved'), 'strike'],
    ['the type is gone', local('terminated', 'trigger_removed'), 'next'],
    ['revoked', local('terminated', 'revoked'), 'end'],
    ['unsubscribed elsewhere', local('terminated', 'unsubscribed'), 'end'],
    ['no token', local('unauthorized'), 'end'],
    ['closed', local('closed'), 'end'],
    ['a ledger that cannot be read', local('ledger_corrupt'), 'end'],
    ['something of this side', new TypeError('x'), 'end'],
  ];
  for (const [what, error, verdict] of rows)
    test(`${what}: ${verdict}`, () => assert.equal(afterError(error), verdict));

  test("on the extension itself, the caller's own mistake is one on every rung", () => {
    for (const error of [
      invalidParams('/select/0/arguments/x', 'y'),
      conflict({ kind: 'etag', etag: 'x' }),
    ]) {
      assert.deepEqual(
        [afterError(error, 'triggers'), afterError(error, 'events.poll')],
        ['end', 'next'],
      );
    }
  });
});

describe('errors of events/*', () => {
  const rows = [
    [-32023, -32011, 'NotFound', { kind: 'event' }, { kind: 'trigger' }],
    [-32024, -32012, 'Forbidden', undefined, { kind: 'trigger' }],
    [-32025, -32013, 'ResourceExhausted', { limit: 'x', max: 3 }, { limit: 'x', max: 3 }],
    [
      -32026,
      -32014,
      'Unsupported',
      { feature: 'deliveryMode', value: 'push' },
      { feature: 'deliveryMode', value: 'push' },
    ],
    [
      -32027,
      -32015,
      'CallbackEndpointError',
      { reason: 'nonsense' },
      { reason: 'challenge_failed' },
    ],
  ] as const;
  for (const [sep, sketch, name, data, expected] of rows) {
    test(`${sep} and ${sketch} are ${name}`, () => {
      for (const code of [sep, sketch]) {
        const error = eventsError(new RemoteError(code, 'words of the peer', data));
        assert.ok(error instanceof WireError && error.name === name);
        assert.deepEqual([error.data, error.message], [expected, 'words of the peer']);
      }
    });
  }

  test('codes that mean nothing here stay as they are', () => {
    const error = new RemoteError(-32001, 'x', undefined);
    assert.equal(eventsError(error), error);
  });

  test('a termination without a known reason is worth another try', () => {
    for (const raw of [undefined, null, {}, { code: -32603, message: 'x' }, { code: 'x' }])
      assert.equal(terminated(raw).code, 'unreachable', JSON.stringify(raw));
  });
});

describe('what a number says', () => {
  const at = (sequence: number, epoch = 'e', subscriptionId = 's'): Numbered => ({
    subscriptionId,
    epoch,
    sequence,
  });
  const rows: readonly (readonly [last: Numbered | undefined, now: Numbered, expected: Place])[] = [
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
    test(`${JSON.stringify(now)} after ${JSON.stringify(last)}`, () =>
      assert.deepEqual(place(last, now), expected));

  test('a row of them shows a loss, or not', () => {
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

  test('the weakest of several', () => {
    assert.equal(weakest([triggers, read, push]), read);
    assert.equal(weakest([push, triggers]), push);
    assert.equal(weakest([]), undefined);
  });

  test('up and down: by rung, then by what is promised, then by drain', () => {
    assert.equal(direction(push, triggers), 'upgraded');
    assert.equal(direction(triggers, read), 'downgraded');
    assert.equal(direction(push, withNumbers(push)), 'upgraded');
    assert.equal(direction(push, { ...push, loss: 'undetected', gaps: 'none' }), 'downgraded');
    assert.equal(direction(triggers, { ...triggers, drain: 'callback' }), 'upgraded');
    assert.equal(direction(triggers, { ...triggers, drain: 'pull' }), 'downgraded');
  });

  test('the same is no news', () => {
    assert.ok(isSame(push, { ...push }));
    assert.ok(!isSame(undefined, push));
    assert.ok(!isSame(push, { ...push, mode: 'events.poll' }));
    assert.ok(!isSame(triggers, { ...triggers, drain: 'pull' }));
    assert.equal(compareGuarantees(push, { ...push, mode: 'events.poll' }), 0);
  });
});

describe('what is finished', () => {
  const start = () => {
    const saved: Progress[] = [];
    const done: string[] = [];
    const tally = new AckTracker(
      { mode: 'events.poll', mark: null, number: null },
      async (progress) => {
        saved.push(progress);
      },
    );
    return {
      saved,
      done,
      tally,
      marks: () => saved.map(({ mark }) => mark),
      answer: (name: string) => () => {
        done.push(name);
      },
    };
  };

  test('being done with an item is being done with all before it', async () => {
    const { tally, marks, done, answer } = start();
    tally.hand({ mark: 'a', done: answer('a') });
    const b = tally.hand({ mark: 'b', done: answer('b') });
    tally.hand({ mark: 'c', done: answer('c') });
    await b();
    assert.deepEqual([marks(), done], [['b'], ['a', 'b']]);
  });

  test('an earlier item does not move it back', async () => {
    const { tally, marks } = start();
    const a = tally.hand({ mark: 'a' });
    const b = tally.hand({ mark: 'b' });
    await b();
    await a();
    assert.deepEqual([marks(), tally.progress.mark], [['b'], 'b']);
  });

  test('what the application does not get waits for what it has', async () => {
    const { tally, marks } = start();
    const a = tally.hand({ mark: 'a' });
    tally.skip({ mark: 'b' });
    await tally.flush();
    assert.deepEqual(marks(), []);
    await a();
    assert.deepEqual(marks(), ['b']);
  });

  test('saved before it is answered, and one save for many', async () => {
    const order: string[] = [];
    const tally = new AckTracker(
      { mode: undefined, mark: null, number: null },
      async ({ mark }) => {
        await null;
        order.push(`saved ${mark}`);
      },
    );
    const finish = ['a', 'b', 'c'].map((mark) =>
      tally.hand({
        mark,
        done: () => {
          order.push(`answered ${mark}`);
        },
      }),
    );
    await Promise.all(finish.map((one) => one()));
    assert.deepEqual(order, ['saved a', 'answered a', 'saved c', 'answered b', 'answered c']);
  });

  test('a save that fails is told, answers nobody, and is tried again', async () => {
    let isFull = true;
    const answered: string[] = [];
    const tally = new AckTracker({ mode: undefined, mark: null, number: null }, async () => {
      if (isFull) throw new Error('full');
    });
    await assert.rejects(
      tally.hand({
        mark: 'a',
        done: () => {
          answered.push('a');
        },
      })(),
      /full/,
    );
    assert.deepEqual(answered, []);
    isFull = false;
    await tally.flush();
    assert.deepEqual([tally.progress.mark, answered], ['a', ['a']]);
  });
});

test('a refused rung is left alone twice as long each time', () => {
  let now = 0;
  const refusals = new Cooldowns({ ...systemClock, now: () => now }, 100);
  const spans: number[] = [];
  for (let times = 0; times < 9; times++) {
    const from = now;
    refusals.refuse('events.push', new Error(String(times)));
    while (refusals.isRefused('events.push')) now += 100;
    spans.push(now - from);
  }
  assert.deepEqual(spans, [100, 200, 400, 800, 1600, 3200, 6400, 6400, 6400]);
  assert.match(String(refusals.reason(['triggers', 'events.push'])), /8/);
});

test('an event is known by name and identifier, within a turn or before it', () => {
  const seen = new Deduplicator();
  const event = { name: 'timer', eventId: '1' };
  seen.add(event);
  assert.deepEqual(
    [seen.has(event), seen.hadBefore(event), seen.has({ ...event, name: 'other' })],
    [true, false, false],
  );
  seen.turn();
  assert.equal(seen.hadBefore(event), true);
  assert.equal(new Deduplicator(seen).hadBefore(event), true);
});

test('the interval of a poll: what the server says, within bounds', () => {
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
    assert.equal(pauseAfter(said, tuning), expected);
});
