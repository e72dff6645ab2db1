/**
 * Tests renewals by themselves: when they are sent, what they contain, and how long the client
 * pauses after one that failed.
 */
import assert from 'node:assert/strict';
import { describe, test } from 'vitest';
import type { Subscription, UpdateRequestParams } from '../../spec-schema/draft/schema.ts';
import type { TriggersApi } from '../../src/client/sdk/triggers-api.ts';
import { Renewer } from '../../src/client/subscription/renewer.ts';
import { forbidden, LocalError, resourceExhausted } from '../../src/protocol/wire/errors.ts';
import { manualClock } from '../../src/testing/index.ts';

const RENEW_AFTER_MS = 1_000_000;
const SUBSCRIPTION = {
  subscriptionId: 'sub_a',
  key: 'k',
  ttlMs: 3_000_000,
  renewAfterMs: RENEW_AFTER_MS,
  head: 0,
  acked: 0,
} as Subscription;

async function renewer() {
  const clock = manualClock();
  const updates: UpdateRequestParams[] = [];
  const world = {
    failure: null as Error | null,
    lost: [] as unknown[],
    callback: { url: 'https://hooks.example.com/1', secret: 'whsec_1' },
  };
  const stop = new AbortController();
  const made = new Renewer({
    api: {
      subscribe: async () => ({ ...SUBSCRIPTION, created: true }),
      update: async (params: UpdateRequestParams) => {
        updates.push(params);
        if (world.failure !== null) throw world.failure;
        return SUBSCRIPTION;
      },
    } as unknown as TriggersApi,
    clock,
    backoff: { baseMs: 500, maxMs: 30_000, random: () => 0.999 },
    signal: stop.signal,
    request: async () => ({
      params: { key: 'k', select: [{ name: 'timer' }], callback: world.callback },
      renewAt: null,
    }),
    onLost: (error) => world.lost.push(error),
  });
  await made.obtain();
  return { clock, updates, world, made, stop };
}

describe('a renewal', () => {
  test('[ttl-client-renews] asks for the granted lifetime, and contains the callback only if its URL is new', async () => {
    const { clock, updates, world } = await renewer();
    await clock.run(RENEW_AFTER_MS - 1);
    assert.deepEqual(updates, []);
    await clock.run(1);
    const plain = { subscriptionId: 'sub_a', ttlMs: 3_000_000 };
    assert.deepEqual(updates, [plain]);
    world.callback = { url: 'https://hooks.example.com/2', secret: 'whsec_1' };
    await clock.run(RENEW_AFTER_MS);
    await clock.run(RENEW_AFTER_MS);
    assert.deepEqual(updates.slice(1), [{ ...plain, callback: world.callback }, plain]);
  });

  test('[rec-backoff] that failed is repeated after growing pauses, and at least as late as the server asks', async () => {
    const { clock, updates, world } = await renewer();
    world.failure = new LocalError('unreachable', 'no luck');
    await clock.run(RENEW_AFTER_MS);
    for (const pauseMs of [500, 999, 1998]) {
      const before = updates.length;
      await clock.run(pauseMs - 1);
      assert.equal(updates.length, before, `within ${pauseMs} ms`);
      await clock.run(1);
      assert.equal(updates.length, before + 1, `after ${pauseMs} ms`);
    }
    world.failure = resourceExhausted({ limit: 'requests', retryAfterMs: 45_000 });
    await clock.run(3996);
    const before = updates.length;
    world.failure = null;
    await clock.run(44_999);
    assert.equal(updates.length, before);
    await clock.run(1);
    assert.equal(updates.length, before + 1);
    await clock.run(RENEW_AFTER_MS);
    assert.deepEqual([updates.length, world.lost], [before + 2, []]);
  });

  test('that the server rejects for good is reported and not repeated; none follows the end', async () => {
    const { clock, updates, world, made } = await renewer();
    world.failure = forbidden({ kind: 'authentication' });
    await clock.run(RENEW_AFTER_MS);
    assert.deepEqual([world.lost, made.isKept, clock.pending], [[world.failure], false, 0]);
    assert.equal(updates.length, 1);
    const other = await renewer();
    other.stop.abort();
    await other.clock.run(2 * RENEW_AFTER_MS);
    assert.deepEqual(other.updates, []);
  });
});
