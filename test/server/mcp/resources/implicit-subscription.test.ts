/** Tests that the log of a feed lives as long as a client listens, and not much longer. */
import assert from 'node:assert/strict';
import { afterAll, beforeAll, describe, test } from 'vitest';
import { eventually } from '../../../journeys/support.ts';
import { READERS, World } from './world.ts';

const BOX = 'triggers://feeds/box.opened';
/**
 * The longest lifetime that this server grants: long enough that a busy machine renews it in time.
 */
const LIFETIME_MS = 4000;

describe('the log of a feed', { concurrent: true }, () => {
  let world: World;
  beforeAll(async () => {
    world = await World.start({
      TRIGGERS_TTL_MIN_MS: '1000',
      TRIGGERS_TTL_DEFAULT_MS: '1000',
      TRIGGERS_TTL_MAX_MS: String(LIFETIME_MS),
    });
  });
  afterAll(() => world.close());

  const expiry = async (subscriptionId: string, as: string) =>
    Date.parse(
      (await world.call('triggers/get', { subscriptionId }, { as })).result?.['expiresAt'],
    );

  for (const kind of READERS) {
    test(`outlives its granted lifetime while ${kind} listens, and misses nothing`, async () => {
      const subject = `patient ${kind}`;
      const reader = await world.reader(kind, subject);
      const { next, subscriptionId } = await reader.read(BOX);
      await reader.listen(BOX);
      const first = await expiry(subscriptionId, subject);
      await eventually('the granted lifetime would have expired', () => Date.now() > first);
      assert.ok((await expiry(subscriptionId, subject)) > first);
      await world.open();
      await eventually('a notification', () => reader.notifications.length > 0);
      const page = await reader.read(next);
      assert.deepEqual(
        [page.reset, page.subscriptionId, page.events.at(-1)?.sequence],
        [undefined, subscriptionId, page.head],
      );
    });
  }

  test('is gone when nobody came, which the next reader learns', async () => {
    const reader = await world.reader('client 2.x, 2026-07-28', 'forgetful');
    const { next, epoch, subscriptionId } = await reader.read(BOX);
    await eventually(
      'it is gone',
      async () =>
        (await world.call('triggers/get', { subscriptionId }, { as: 'forgetful' })).error?.data?.[
          'reason'
        ] === 'expired',
    );
    const page = await reader.read(next);
    assert.equal(page.reset?.reason, 'epoch');
    assert.notEqual(page.epoch, epoch);
  });
});
