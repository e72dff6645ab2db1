/**
 * Failures and suspension: how long a server retries, and what follows (SEP: Failure and
 * suspension).
 */
import assert from 'node:assert/strict';
import {
  acknowledge,
  type CallbackEndpoint,
  type Hit,
} from '../../runner/server/callback-endpoint.ts';
import type { TimedOut } from '../../runner/observations.ts';
import { scenario, type ServerTest } from '../../runner/server/scenario.ts';
import type { Json } from '../../runner/wire/session.ts';
import { delivery, failures, MINUTE_MS, sequences, stateOf } from './following.ts';

const NEEDS = { drains: ['callback'], verbs: ['emit', 'advance'], types: ['plain'] } as const;
/** Consecutive configuration failures before suspension. */
const LIMIT = 5;
/** The longest wait between two attempts, unless the endpoint asks for more. */
const WAIT_MAX_MS = 5 * MINUTE_MS;
const LIFETIME_MS = 1440 * MINUTE_MS;
/** Number of subscriptions whose waits are compared. */
const SPREAD = 20;

interface Failing {
  readonly endpoint: CallbackEndpoint;
  readonly made: Json;
  get(): Promise<Json>;
}

/** Subscribes with a callback that answers like this, and emits this many events. */
async function failing(
  t: ServerTest,
  count: number,
  answer: CallbackEndpoint['answer'],
  params: Json = {},
  callback: Json = {},
): Promise<Failing> {
  const endpoint = await t.endpoint();
  endpoint.answer = answer;
  const made = await t.subscribe({
    callback: { ...endpoint.callback, ...callback },
    ttlMs: LIFETIME_MS,
    ...params,
  });
  await t.emit(t.topicOf(made), count);
  return {
    endpoint,
    made,
    get: () => t.mcp.request('triggers/get', { subscriptionId: made.subscriptionId }),
  };
}

/**
 * Advances the clock until each callback has failed this often in a row; `waitMs` is the advance
 * after a failure.
 */
async function upToFailure(
  t: ServerTest,
  followers: readonly Failing[],
  count: number,
  waitMs: (failure: number) => number = () => WAIT_MAX_MS,
): Promise<void> {
  for (let known = 1; known <= count; known += 1) {
    await Promise.all(followers.map(({ made }) => failures(t, made, known)));
    if (known < count) await t.control.do('advance', { ms: waitMs(known) });
  }
}
/** The longest recommended wait after the k-th failure in a row. */
const backoffMs = (k: number): number => 1000 * 2 ** (k - 1);

const carries = (hit: Hit, number: number): boolean =>
  hit.delivery.events.some(({ sequence }: Json) => sequence === number);
const suspended = (t: ServerTest, { get }: Failing): Promise<Json> =>
  advanceUntil(t, 'the callback to be suspended', async () => {
    const now = await get();
    return stateOf(now) === 'suspended' && now;
  });

/**
 * Advances the clock, several times if necessary, until the condition holds. A jump of the clock can
 * interrupt an attempt, and the count of failures in a row then starts again.
 */
async function advanceUntil<T>(
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
          `waited ${(LIMIT * WAIT_MAX_MS) / MINUTE_MS} minutes of the server's time for ${what}; seen: ${(error as TimedOut).seen}`,
          { cause: error },
        );
    }
  }
}

/**
 * Asserts that attempts are made as long as the failures are below the limit. One more may have
 * happened meanwhile.
 */
async function stillTrying({ get }: Failing): Promise<void> {
  const now = await get();
  const { attempts } = now.callback.health;
  if (attempts < LIMIT)
    assert.equal(
      stateOf(now),
      'failing',
      `\`callback.state\` after ${attempts} failures in a row:`,
    );
}

export const failure = [
  scenario({
    name: 'failure: the limit',
    about:
      'After five consecutive configuration failures, the first of them ten minutes ago, the server suspends the callback and keeps the log.',
    checks: [
      'retry-config-limit',
      'retry-suspend',
      'retry-probe',
      'ttl-endpoint',
      'sub-only-client-resumes',
    ],
    needs: NEEDS,
    alone: true,
    async run(t) {
      const restarting = await failing(t, 1, () => ({ status: 404 }));
      restarting.endpoint.consent = () => ({ status: 404 });
      await t.check(
        'retry-config-limit',
        'more than five configuration failures within ten minutes do not suspend',
        async () => {
          await upToFailure(t, [restarting], LIMIT + 1, backoffMs);
          assert.equal(
            stateOf(await restarting.get()),
            'failing',
            '`callback.state` after half a minute:',
          );
        },
      );
      const [misplaced, down] = [
        await failing(t, 2, () => ({ status: 404 }), { ttlMs: 2 * LIFETIME_MS }),
        await failing(t, 2, () => ({ status: 503 })),
      ];
      const { consent } = misplaced.endpoint;
      misplaced.endpoint.consent = () => ({ status: 404 });
      await upToFailure(t, [misplaced, down], LIMIT - 1);
      await t.check('retry-config-limit', 'four configuration failures do not suspend', () =>
        stillTrying(misplaced),
      );
      await t.check(
        ['retry-config-limit', 'retry-suspend'],
        'the fifth configuration failure suspends',
        () => suspended(t, misplaced),
      );
      await t.check(
        'retry-config-limit',
        'many configuration failures suspend when ten minutes have passed',
        () => suspended(t, restarting),
      );
      await t.check('retry-config-limit', 'five transient failures do not suspend', async () => {
        await advanceUntil(
          t,
          'five failures',
          async () => (await down.get()).callback.health.attempts >= LIMIT,
        );
        assert.equal(
          stateOf(await down.get()),
          'failing',
          '`callback.state` after five answers with 503:',
        );
      });
      await t.check(
        'retry-suspend',
        'a suspended callback receives no event, and its log continues',
        async () => {
          const tried = (): number[] =>
            sequences(misplaced.endpoint.deliveries.map(({ delivery }) => delivery));
          const before = tried();
          await t.emit(t.topicOf(misplaced.made), 1, { from: 3 });
          await t.control.do('advance', { ms: WAIT_MAX_MS });
          // Wait to see that nothing more arrives.
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
      const { subscriptionId, key, select } = misplaced.made;
      const { callback } = misplaced.endpoint;
      await t.check(
        'ttl-endpoint',
        'a suspended callback is renewed a day later, while its endpoint is still down',
        async () => {
          for (const renew of [
            () =>
              t.mcp.request('triggers/subscribe', {
                key,
                select,
                callback,
                ttlMs: 2 * LIFETIME_MS,
              }),
            () => t.mcp.request('triggers/update', { subscriptionId, ttlMs: 2 * LIFETIME_MS }),
            () =>
              t.mcp.request('triggers/update', {
                subscriptionId,
                ttlMs: 2 * LIFETIME_MS,
                resume: true,
              }),
          ]) {
            const before = await misplaced.get();
            await t.control.do('advance', { ms: LIFETIME_MS + MINUTE_MS });
            const { expiresAt } = await renew();
            assert.ok(
              Date.parse(expiresAt) >= Date.parse(before.expiresAt) + LIFETIME_MS,
              `\`expiresAt\` is ${expiresAt} and was ${before.expiresAt}`,
            );
          }
        },
      );
      // A server need not verify before it resumes, so attempts may be made now.
      await suspended(t, misplaced);
      await t.check(
        'sub-only-client-resumes',
        'a challenge without the right proof does not resume a suspended callback',
        async () => {
          misplaced.endpoint.answer = acknowledge;
          misplaced.endpoint.consent = ({ delivery: { challenge } }) => ({ body: { challenge } });
          await t.control.do('advance', { ms: 60 * MINUTE_MS });
          await t.pause(300);
          assert.equal(stateOf(await misplaced.get()), 'suspended', '`callback.state`:');
        },
      );
      await t.check(
        'retry-probe',
        'a suspended callback is challenged within an hour, and the proof resumes it',
        async () => {
          misplaced.endpoint.consent = consent;
          const before = misplaced.endpoint.challenges.length;
          await t.control.do('advance', { ms: 60 * MINUTE_MS + 1000 });
          await t.until('a challenge', () => misplaced.endpoint.challenges.length > before);
          await t.until(
            'the events to be acknowledged',
            async () => (await misplaced.get()).acked === 3,
          );
        },
      );
    },
  }),

  scenario({
    name: 'failure: skipping',
    about:
      'With skipAfterMs, an event that the endpoint fails to take for that long becomes a gap, and the counters start again after it.',
    checks: ['retry-skip', 'retry-skip-config'],
    needs: { ...NEEDS, options: ['skip'] },
    alone: true,
    async run(t) {
      const poison = (status: number) => (hit: Hit) =>
        carries(hit, 1) ? { status } : acknowledge(hit);
      const follower = await failing(t, 2, poison(500), {}, { skipAfterMs: 30 * MINUTE_MS });
      const refused = await failing(t, 2, poison(422), {}, { skipAfterMs: MINUTE_MS });
      refused.endpoint.consent = () => ({ status: 404 });
      const { endpoint, get } = follower;
      await upToFailure(t, [follower], LIMIT);
      await t.check('retry-skip', 'no event is skipped before the time has passed', async () => {
        assert.deepEqual(
          [(await get()).acked, endpoint.deliveries.flatMap(({ delivery }) => delivery.gaps ?? [])],
          [0, []],
          '`acked` and gaps:',
        );
      });
      await t.check(
        'retry-skip',
        'the first event becomes a gap of reason skipped, and the next one follows',
        async () => {
          await advanceUntil(
            t,
            'the next event to be acknowledged',
            async () => (await get()).acked === 2,
          );
          const telling = endpoint.deliveries.find(({ delivery }) => delivery.gaps !== undefined);
          assert.deepEqual(
            [
              telling?.delivery.afterSequence,
              telling?.delivery.gaps,
              telling?.delivery.events[0]?.sequence,
            ],
            [0, [{ from: 1, to: 1, reason: 'skipped' }], 2],
            '`afterSequence`, the gap and the next event:',
          );
        },
      );
      await t.check('retry-skip', 'the callback is ok with its counters at zero', async () => {
        const now = await get();
        assert.deepEqual(
          [stateOf(now), now.callback.health.attempts, now.callback.health.failingSince],
          ['ok', 0, undefined],
          '`callback.state`, `health.attempts` and `health.failingSince`:',
        );
      });
      await t.check(
        'retry-skip-config',
        'configuration failures suspend the callback and skip nothing',
        async () => {
          await suspended(t, refused);
          const log = await t.mcp.request('triggers/pull', {
            subscriptionId: refused.made.subscriptionId,
          });
          assert.deepEqual(
            [sequences([log]), log.gaps],
            [[1, 2], undefined],
            'events and gaps in the log:',
          );
        },
      );
    },
  }),

  scenario({
    name: 'failure: a success',
    about: 'A success resets the counters.',
    checks: ['retry-success'],
    needs: NEEDS,
    alone: true,
    async run(t) {
      let fails = true;
      const follower = await failing(t, 1, (hit) => (fails ? { status: 404 } : acknowledge(hit)));
      const { made, get } = follower;
      // Two failures below the limit, because another may happen meanwhile.
      await upToFailure(t, [follower], LIMIT - 2);
      fails = false;
      await advanceUntil(t, 'a success', async () => (await get()).acked === 1);
      await t.check('retry-success', 'a success resets the failure counter', async () => {
        const { attempts, failingSince, lastError } = (await get()).callback.health;
        assert.deepEqual(
          { attempts, failingSince, lastError },
          { attempts: 0, failingSince: undefined, lastError: undefined },
        );
      });
      fails = true;
      await t.emit(t.topicOf(made), 1, { from: 2 });
      await t.check(
        'retry-success',
        'three failures before and four after a success do not suspend',
        async () => {
          await upToFailure(t, [follower], LIMIT - 1);
          await stillTrying(follower);
        },
      );
      follower.endpoint.consent = () => ({ status: 404 });
      await t.check('retry-success', 'the fifth failure after a success suspends', () =>
        suspended(t, follower),
      );
    },
  }),

  scenario({
    name: 'failure: waiting',
    about:
      'The wait before the next attempt is random below a bound that doubles, so that the attempts of many callbacks do not coincide.',
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
          `the next attempt after failure ${k} comes within ${2 ** (k - 1)} s`,
          async () => {
            await t.control.do('advance', { ms: 1000 * 2 ** (k - 1) });
            return failed(k + 1);
          },
        );
        if (came === undefined) return;
      }
      await t.check(
        'retry-backoff',
        `after failure ${LIMIT}, some but not all of ${SPREAD} attempts come in the first half of the time`,
        async () => {
          const before = endpoint.deliveries.length;
          await t.control.do('advance', { ms: 1000 * 2 ** (LIMIT - 2) });
          // Attempts that are due come at once.
          await t.pause(400);
          const came = endpoint.deliveries.length - before;
          assert.ok(came > 0 && came < SPREAD, `${came} of ${SPREAD} came in the first half`);
        },
      );
    },
  }),

  scenario({
    name: 'failure: a crash during an attempt',
    about: 'A crash during an attempt leads to another attempt.',
    checks: ['retry-restart'],
    needs: { drains: ['callback'], verbs: ['emit', 'crash'], types: ['plain'], durable: true },
    alone: true,
    async run(t) {
      // The endpoint never answers the first attempt.
      const { endpoint, get } = await failing(t, 1, (hit, n) =>
        n === 1 ? new Promise(() => undefined) : acknowledge(hit),
      );
      await delivery(t, endpoint, 1);
      await t.control.do('crash', {});
      // The lease of the lost attempt may have to expire.
      const waits = t.control.has('advance');
      if (waits) await t.control.do('advance', { ms: WAIT_MAX_MS });
      await t.check(
        'retry-restart',
        'the same range is sent again after the restart and acknowledged',
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
