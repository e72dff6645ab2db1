/** Failure and suspension: how long a server goes on trying, and what it does then (SEP: Failure and suspension). */
import assert from 'node:assert/strict';
import {
  acknowledge,
  type CallbackEndpoint,
  type Hit,
} from '../../runner/server/callback-endpoint.ts';
import { scenario, type ServerTest } from '../../runner/server/scenario.ts';
import type { Json } from '../../runner/wire/session.ts';
import { delivery, failures, MINUTE_MS, sequences } from './following.ts';

const NEEDS = { drains: ['callback'], verbs: ['emit', 'advance'], types: ['plain'] } as const;
/** Failures of the configuration in a row. */
const LIMIT = 5;
/** No wait between two attempts is longer, unless the endpoint wished it. */
const WAIT_MAX_MS = 5 * MINUTE_MS;
const LIFETIME_MS = 1440 * MINUTE_MS;
const SPREAD = 20;

interface Failing {
  readonly endpoint: CallbackEndpoint;
  readonly made: Json;
  get(): Promise<Json>;
}

/** A subscription with events whose callback answers like this. */
async function failing(
  t: ServerTest,
  count: number,
  answer: CallbackEndpoint['answer'],
  params: Json = {},
): Promise<Failing> {
  const endpoint = await t.endpoint();
  endpoint.answer = answer;
  const made = await t.subscribe({ callback: endpoint.callback, ttlMs: LIFETIME_MS, ...params });
  await t.emit(t.topicOf(made), count);
  return {
    endpoint,
    made,
    get: () => t.mcp.request('triggers/get', { subscriptionId: made.subscriptionId }),
  };
}

/** Lets time go on until each of them has failed so often in a row. */
async function upToFailure(
  t: ServerTest,
  followers: readonly Failing[],
  count: number,
): Promise<void> {
  for (let known = 1; known <= count; known += 1) {
    await Promise.all(followers.map(({ made }) => failures(t, made, known)));
    if (known < count) await t.control.do('advance', { ms: WAIT_MAX_MS });
  }
}

const carries = (hit: Hit, number: number): boolean =>
  hit.delivery.events.some(({ sequence }: Json) => sequence === number);
const suspended = (t: ServerTest, { get }: Failing): Promise<Json> =>
  goOn(t, 'the callback to be suspended', async () => {
    const now = await get();
    return now.status === 'suspended' && now;
  });

/** Lets time go on until it holds. An attempt that is under way when the clock jumps can be lost, and the next one is then the first in a row: so several times. */
async function goOn<T>(
  t: ServerTest,
  what: string,
  holds: () => T | Promise<T>,
): Promise<NonNullable<T>> {
  for (let round = 1; ; round += 1) {
    await t.control.do('advance', { ms: WAIT_MAX_MS });
    try {
      return await t.until(what, holds, 800);
    } catch (error) {
      if (round === LIMIT)
        throw new Error(
          `waited ${(LIMIT * WAIT_MAX_MS) / MINUTE_MS} minutes of the server's time for ${what}`,
          { cause: error },
        );
    }
  }
}

/** Below the limit nothing is given up. One more failure can have come since this was asked for. */
async function stillActive({ get }: Failing): Promise<void> {
  const {
    status,
    callback: {
      health: { attempts },
    },
  } = await get();
  if (attempts < LIMIT)
    assert.equal(status, 'active', `\`status\` after ${attempts} failures in a row:`);
}

export const failure = [
  scenario({
    name: 'failure: the limit',
    about:
      'After five failures of the configuration in a row a callback is suspended, and its log stays.',
    checks: ['retry-config-limit', 'retry-suspend'],
    needs: NEEDS,
    alone: true,
    async run(t) {
      const [misplaced, down] = [
        await failing(t, 2, () => ({ status: 404 })),
        await failing(t, 2, () => ({ status: 503 })),
      ];
      await upToFailure(t, [misplaced, down], LIMIT - 1);
      await t.check('retry-config-limit', 'four are not enough', () => stillActive(misplaced));
      await t.check(['retry-config-limit', 'retry-suspend'], 'the fifth suspends', () =>
        suspended(t, misplaced),
      );
      await t.check(
        'retry-config-limit',
        'failures that can pass by themselves have no such limit',
        async () => {
          await goOn(
            t,
            'five failures',
            async () => (await down.get()).callback.health.attempts >= LIMIT,
          );
          assert.equal(
            (await down.get()).status,
            'active',
            '`status` after five answers with 503:',
          );
        },
      );
      await t.check(
        'retry-suspend',
        'no event is tried any more, and the log is there and goes on',
        async () => {
          const tried = (): number[] =>
            sequences(misplaced.endpoint.deliveries.map(({ delivery }) => delivery));
          const before = tried();
          await t.emit(t.topicOf(misplaced.made), 1, { from: 3 });
          await t.control.do('advance', { ms: WAIT_MAX_MS });
          // Nothing more may come; this long is looked at.
          await t.pause(200);
          assert.deepEqual(tried(), before, 'events of all attempts:');
          const { head, acked: position, epoch } = await misplaced.get();
          assert.deepEqual(
            [head, position, epoch],
            [3, 0, misplaced.made.epoch],
            '`head`, `acked` and `epoch`:',
          );
          const log = await t.mcp.request('triggers/pull', {
            subscriptionId: misplaced.made.subscriptionId,
          });
          assert.deepEqual(
            [sequences([log]), log.gaps],
            [[1, 2, 3], undefined],
            'events and gaps in the log:',
          );
        },
      );
    },
  }),

  scenario({
    name: 'failure: skipping',
    about:
      'With onFailure skip the first event in the way becomes a gap, and everything begins anew behind it.',
    checks: ['retry-skip', 'retry-config-limit'],
    needs: NEEDS,
    alone: true,
    async run(t) {
      const follower = await failing(
        t,
        2,
        (hit) => (carries(hit, 1) ? { status: 422 } : acknowledge(hit)),
        { onFailure: 'skip' },
      );
      const { endpoint, get } = follower;
      await upToFailure(t, [follower], LIMIT - 1);
      await t.check('retry-config-limit', 'not before five failures', () => stillActive(follower));
      await t.check(
        ['retry-skip', 'retry-config-limit'],
        'the first event is a gap of reason abandoned, and the next one comes',
        async () => {
          await goOn(
            t,
            'the event behind it to be acknowledged',
            async () => (await get()).acked === 2,
          );
          const tries = endpoint.deliveries.filter((hit) => carries(hit, 1)).length;
          assert.ok(tries >= LIMIT, `the first event was given up after ${tries} attempts`);
          const telling = endpoint.deliveries.find(({ delivery }) => delivery.gaps !== undefined);
          assert.deepEqual(
            [
              telling?.delivery.after,
              telling?.delivery.gaps,
              telling?.delivery.events[0]?.sequence,
            ],
            [0, [{ from: 1, to: 1, reason: 'abandoned' }], 2],
            '`after`, the gap, and the event behind it:',
          );
        },
      );
      await t.check(
        'retry-skip',
        'the subscription is active, and its counters are at zero',
        async () => {
          const now = await get();
          assert.deepEqual(
            [now.status, now.callback.health.attempts, now.callback.health.failingSince],
            ['active', 0, undefined],
            '`status`, `health.attempts` and `health.failingSince`:',
          );
        },
      );
    },
  }),

  scenario({
    name: 'failure: success in between',
    about: 'One success, and counting begins anew.',
    checks: ['retry-success'],
    needs: NEEDS,
    alone: true,
    async run(t) {
      let fails = true;
      const follower = await failing(t, 1, (hit) => (fails ? { status: 404 } : acknowledge(hit)));
      const { made, get } = follower;
      // One below the limit may come by itself meanwhile.
      await upToFailure(t, [follower], LIMIT - 2);
      fails = false;
      await goOn(t, 'a success', async () => (await get()).acked === 1);
      await t.check('retry-success', 'after a success no failure is counted', async () => {
        const { attempts, failingSince, lastError } = (await get()).callback.health;
        assert.deepEqual(
          { attempts, failingSince, lastError },
          { attempts: 0, failingSince: undefined, lastError: undefined },
        );
      });
      fails = true;
      await t.emit(t.topicOf(made), 1, { from: 2 });
      await t.check('retry-success', 'four more failures are not seven', async () => {
        await upToFailure(t, [follower], LIMIT - 1);
        await stillActive(follower);
      });
      await t.check('retry-success', 'nor are they forgotten: the fifth suspends', () =>
        suspended(t, follower),
      );
    },
  }),

  scenario({
    name: 'failure: waiting',
    about:
      'The wait before the next attempt doubles, and is anywhere below its bound, so that callbacks do not come back together.',
    checks: ['retry-backoff'],
    needs: NEEDS,
    alone: true,
    async run(t) {
      const endpoint = await t.endpoint();
      endpoint.answer = () => ({ status: 503 });
      const topic = t.unique('topic');
      const select = [{ name: t.control.type('plain'), arguments: { topic } }];
      const made = await Promise.all(
        Array.from({ length: SPREAD }, () =>
          t.subscribe({ select, callback: endpoint.callback, ttlMs: LIFETIME_MS }),
        ),
      );
      await t.emit(topic, 1);
      const failed = (count: number): Promise<unknown> =>
        Promise.all(made.map((one) => failures(t, one, count)));
      await failed(1);
      for (let k = 1; k < LIMIT; k += 1) {
        const came = await t.check(
          'retry-backoff',
          `after failure ${k} the next attempt comes within ${2 ** (k - 1)} s`,
          async () => {
            await t.control.do('advance', { ms: 1000 * 2 ** (k - 1) });
            return failed(k + 1);
          },
        );
        if (came === undefined) return;
      }
      await t.check(
        'retry-backoff',
        `after failure ${LIMIT}, some but not all of ${SPREAD} come in the first half of the time`,
        async () => {
          const before = endpoint.deliveries.length;
          await t.control.do('advance', { ms: 1000 * 2 ** (LIMIT - 2) });
          // Those that are due come at once; this long is looked at.
          await t.pause(400);
          const came = endpoint.deliveries.length - before;
          assert.ok(came > 0 && came < SPREAD, `${came} of ${SPREAD} came in the first half`);
        },
      );
    },
  }),

  scenario({
    name: 'failure: a crash under way',
    about: 'An attempt that a crash cut off is made again.',
    checks: ['retry-restart'],
    needs: { drains: ['callback'], verbs: ['emit', 'crash'], types: ['plain'], durable: true },
    alone: true,
    async run(t) {
      // The first attempt is never answered.
      const { endpoint, get } = await failing(t, 1, (hit, n) =>
        n === 1 ? new Promise(() => undefined) : acknowledge(hit),
      );
      await delivery(t, endpoint, 1);
      await t.control.do('crash', {});
      // A lease on the attempt that was lost may have to run out.
      const waits = t.control.has('advance');
      if (waits) await t.control.do('advance', { ms: WAIT_MAX_MS });
      await t.check(
        'retry-restart',
        'the same range comes again after the restart, and is acknowledged',
        async () => {
          const [first, second] = [
            endpoint.deliveries[0]!,
            await t.until(
              'the attempt to be repeated',
              () => endpoint.deliveries[1],
              waits ? undefined : MINUTE_MS,
            ),
          ];
          assert.equal(
            second.headers['webhook-id'],
            first.headers['webhook-id'],
            'webhook-id of the repeated attempt:',
          );
          await t.until('the event to be acknowledged', async () => (await get()).acked === 1);
        },
      );
    },
  }),
];
