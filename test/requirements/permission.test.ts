/**
 * Tests permissions over time, quotas and outbound limits (SEP: Ending, Limits, Destination rules).
 */
import assert from 'node:assert/strict';
import { describe, test } from 'vitest';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Reply } from './endpoint.ts';
import { eventually, sequencesOf, world, type Json, type World } from './world.ts';

const DAY_MS = 86_400_000;

/** Advances a day; every timer fires at most once, which is enough for daily work. */
async function aDay(w: World): Promise<void> {
  for (let half = 0; half < 2; half += 1) {
    w.clock.advance(DAY_MS / 2);
    await w.get((await w.subscribe({ key: 'turn' }))['subscriptionId']);
    for (let turn = 0; turn < 50; turn += 1) await new Promise((resolve) => setImmediate(resolve));
  }
}

describe('permission', () => {
  test('[end-recheck, end-revoked] is checked again within a day, even for a subscription whose client never calls', async (t) => {
    const allowed = new Set(['alice', 'bob']);
    const w = await world(t, {
      engine: { reauthorize: (principal) => allowed.has((JSON.parse(principal) as string[])[1]!) },
    });
    const endpoint = await w.endpoint();
    const alice = await w.subscribeTo(endpoint, { noExpiry: true, key: 'a' });
    const bob = await w.subscribe({ noExpiry: true, key: 'b' }, { as: 'bob' });
    await w.open(1);
    await endpoint.nth(1);
    allowed.delete('alice');
    allowed.add('carol');
    await aDay(w);
    const seen = await eventually(
      'it is revoked',
      async () => (await w.call('triggers/get', { subscriptionId: alice['subscriptionId'] })).error,
    );
    assert.deepEqual([seen.code, seen.data?.['reason']], [-32023, 'revoked']);
    const before = endpoint.deliveries.flatMap(({ delivery }) => sequencesOf(delivery)).length;
    await w.open(1);
    await w.get(bob['subscriptionId'], { as: 'bob' });
    assert.equal(
      endpoint.deliveries.flatMap(({ delivery }) => sequencesOf(delivery)).length,
      before,
    );
    assert.equal(
      (await w.get(bob['subscriptionId'], { as: 'bob' }))['head'],
      2,
      'a principal that keeps its permission keeps its subscription',
    );
  });
});

describe('quotas', () => {
  test('[lim-quota, lim-quota-named] limit the subscriptions, streams and waiting pulls of one principal, with an error that names the limit, and do not affect other principals', async (t) => {
    const w = await world(t, {
      engine: {
        quotas: {
          subscriptionsPerPrincipal: 2,
          streamsPerPrincipal: 1,
          waitingPullsPerPrincipal: 1,
        },
      },
    });
    const { subscriptionId } = await w.subscribe();
    await w.subscribe();
    const named = async (method: string, params: object): Promise<Json> => {
      const { code, data } = await w.refused(method, params);
      assert.equal(code, -32025);
      return data ?? {};
    };
    assert.partialDeepStrictEqual(
      await named('triggers/subscribe', { select: [{ name: 'box.opened' }], key: 'third' }),
      { limit: 'subscriptions', max: 2 },
    );
    await w.subscribe({ key: 'third' }, { as: 'bob' });
    const stream = await w.stream({ subscriptionId });
    await stream.next();
    assert.partialDeepStrictEqual(await named('triggers/stream', { subscriptionId }), {
      limit: 'streams',
      max: 1,
    });
    const pending = w.clock.pending;
    const waiting = w.pull(subscriptionId, { waitMs: 20_000 });
    await eventually('it waits', () => w.clock.pending > pending);
    assert.ok(
      typeof (await named('triggers/pull', { subscriptionId, waitMs: 20_000 }))['limit'] ===
        'string',
    );
    assert.deepEqual(
      sequencesOf(await w.pull(subscriptionId)),
      [],
      'a pull without a wait is not a waiting pull',
    );
    await w.open(1);
    assert.deepEqual(sequencesOf(await waiting), [1]);
  });

  test('[ssrf-destination-rate] limit the concurrent requests to one host, over all principals', async (t) => {
    const w = await world(t);
    let open = 0;
    let most = 0;
    const gates: (() => void)[] = [];
    const endpoint = await w.endpoint(async (hit): Promise<Reply> => {
      most = Math.max(most, ++open);
      await new Promise<void>((resolve) => gates.push(resolve));
      open -= 1;
      return { body: { ackSequence: hit.delivery['head'] } };
    });
    const made = await Promise.all(
      Array.from({ length: 90 }, (_, at) =>
        w.subscribe(
          { callback: { url: `${endpoint.url}/${at % 45}`, secret: endpoint.secret } },
          { as: `user-${at % 9}` },
        ),
      ),
    );
    await w.open(1);
    // Answers nothing until no further request arrives.
    for (let seen = -1; seen < open || open < 16;) {
      seen = open;
      await sleep(200);
    }
    for (let done = 0; done < made.length;) {
      await eventually('one more', () => gates.length > 0);
      for (const gate of gates.splice(0)) {
        gate();
        done += 1;
      }
    }
    assert.ok(most <= 64, `${most} at a time`);
    await eventually('every callback has it', () => endpoint.deliveries.length === made.length);
  });
});
