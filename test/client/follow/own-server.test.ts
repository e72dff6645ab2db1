/**
 * Tests this project's own server through its `events/*`: a client that uses nothing of the
 * extension gets the same events in the same order, and knows from the numbers beside them what is
 * missing. Real store, real engine, HTTP over loopback.
 */
import assert from 'node:assert/strict';
import { describe, test, type TestContext } from 'vitest';
import { systemClock, type Clock } from '../../../src/protocol/lib/clock.ts';
import { memoryLedger } from '../../../src/protocol/ledger/ledger.ts';
import { box, eventsWorld, type EventsWorld } from '../../server/mcp/events/world.ts';
import { until } from '../support.ts';
import { followed, startReceiver, type Follower } from './support.ts';

/** The server asks for a poll every few seconds; these tests do not wait that long. */
const HASTY: Clock = {
  now: () => Date.now(),
  after: (delayMs, run) => systemClock.after(delayMs > 3000 ? 20 : delayMs, run),
};
/** Larger than the data of an event may be: the server makes it a gap. */
const TOO_LARGE = 'x'.repeat(250_000);

type Mode = 'poll' | 'push' | 'webhook';

async function start(
  t: TestContext,
  mode: Mode,
): Promise<{
  readonly world: EventsWorld;
  follow(ledger?: ReturnType<typeof memoryLedger>): Promise<Follower>;
  happen(text?: string): Promise<void>;
}> {
  const world = await eventsWorld(t);
  const callback =
    mode === 'webhook'
      ? {
          callback: await startReceiver(t, {
            clock: { ...systemClock, now: () => world.clock.now() },
          }),
        }
      : {};
  let count = 0;
  return {
    world,
    follow: (ledger = memoryLedger()) =>
      followed(
        t,
        {
          url: world.url,
          token: world.token('alice'),
          fetch: (_url, init) => fetch(world.url, init),
        },
        {
          select: [{ name: box.type.name }],
          modes: [`events.${mode}`],
          ledger,
          ...callback,
          tuning: { clock: HASTY, silenceMs: 60_000, reprobeMs: 3_600_000 },
        },
        { server: 'own' },
      ),
    happen: async (text = '') => {
      await world.engine.emit(
        box.event({ eventId: `box-${++count}`, data: { box: 'front', text } }),
      );
      await world.engine.settled();
    },
  };
}

/** Requests items; resolves once the server has a log for them. */
async function asked(
  follower: Follower,
  count: number,
): Promise<{ readonly items: Promise<string[]> }> {
  const items = follower.items(count);
  items.catch(() => undefined);
  await until(
    () =>
      follower.following.guarantee?.gaps !== 'none' && follower.following.guarantee !== undefined,
  );
  return { items };
}

for (const mode of ['poll', 'push', 'webhook'] as const) {
  describe(`[deg-server-same-log, deg-events-meta] by ${mode}`, () => {
    test('hands out the events in order, with the numbers of the log, and reports missing ones by their number', async (t) => {
      const { follow, happen } = await start(t, mode);
      const follower = await follow();
      const { items } = await asked(follower, 2);
      await happen();
      await happen();
      assert.deepEqual(await items, ['box-1 #1', 'box-2 #2']);
      const { loss, gaps, numbers, order } = follower.following.guarantee!;
      assert.deepEqual(
        { loss, gaps, numbers, order },
        { loss: 'none silent', gaps: 'exact', numbers: 'server', order: 'total' },
      );
      const rest = follower.items(mode === 'webhook' ? 3 : 2);
      await happen(TOO_LARGE);
      await happen();
      assert.deepEqual(
        new Set(await rest),
        new Set([...(mode === 'webhook' ? ['gap truncated'] : []), 'gap missing 3-3', 'box-4 #4']),
      );
    });

    test('misses and repeats nothing when the server restarts', async (t) => {
      const { world, follow, happen } = await start(t, mode);
      const follower = await follow();
      const { items } = await asked(follower, 1);
      await happen();
      assert.deepEqual(await items, ['box-1 #1']);
      const next = follower.items(2);
      // The first item is saved by now, since an item is saved before the next one is requested.
      await until(() => follower.following.state.phase === 'following');
      await world.restart();
      await happen();
      await happen();
      assert.deepEqual(await next, ['box-2 #2', 'box-3 #3']);
    });
  });
}

for (const mode of ['poll', 'push'] as const) {
  test(`[deg-events-meta] by ${mode}: shows by its epoch that the server lost its log`, async (t) => {
    const { world, follow, happen } = await start(t, mode);
    const follower = await follow();
    const { items } = await asked(follower, 1);
    await happen();
    assert.deepEqual(await items, ['box-1 #1']);
    const backup = world.backup();
    const second = follower.items(1);
    await happen();
    assert.deepEqual(await second, ['box-2 #2']);
    const told: string[] = [];
    const reading = (async () => {
      while (!told.some((word) => word.startsWith('box-3')))
        told.push(...(await follower.items(1)));
    })();
    await world.restart(backup);
    await happen();
    await reading;
    assert.ok(told.includes('epoch after 2'), told.join());
    assert.equal(told.filter((word) => word.startsWith('box-')).length, 1, told.join());
  });
}
