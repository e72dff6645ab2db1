/**
 * Tests limits and ends at their exact boundary: which bytes count, when a window is over, what a
 * restart must keep.
 */
import assert from 'node:assert/strict';
import { test } from 'vitest';
import { box, eventually, mail, meter, secretOf, world, type Json } from './world.ts';

const turns = async (n = 50): Promise<void> => {
  for (let turn = 0; turn < n; turn += 1) await new Promise((resolve) => setImmediate(resolve));
};

test('[type-breaking] a type that the server stops offering over a restart ends its subscriptions', async (t) => {
  const triggers = [box, meter, mail];
  const w = await world(t, { triggers });
  const { subscriptionId } = await w.subscribe({ select: [{ name: 'meter.read' }] });
  triggers.splice(1, 1);
  await w.restart();
  assert.partialDeepStrictEqual((await w.refused('triggers/get', { subscriptionId })).data, {
    kind: 'subscription',
    reason: 'trigger_removed',
  });
});

test('[end-recheck] a server that is restarted every ten hours still checks permissions in time', async (t) => {
  let allowed = true;
  const w = await world(t, { engine: { reauthorize: () => allowed } });
  const { subscriptionId } = await w.subscribe({ noExpiry: true });
  allowed = false;
  for (let n = 0; n < 2; n += 1) {
    w.clock.advance(10 * 3_600_000);
    await turns();
    await w.restart();
  }
  await turns();
  assert.partialDeepStrictEqual((await w.refused('triggers/get', { subscriptionId })).data, {
    reason: 'revoked',
  });
});

test('[sig-rotation-shown, sig-rotation-end] the window ends on time, even if the timer is late', async (t) => {
  const w = await world(t);
  const endpoint = await w.endpoint();
  const { subscriptionId } = await w.subscribeTo(endpoint);
  endpoint.secret = secretOf();
  await w.ok('triggers/update', { subscriptionId, callback: endpoint.callback });
  w.clock.jump(300_001);
  await w.open(1);
  assert.ok(!String((await endpoint.nth(1)).headers['webhook-signature']).includes(' '));
  assert.equal((await w.get(subscriptionId))['callback'].previousSecretUntil, undefined);
});

test('[stream-window] bytes in flight include the sequence member of each event', async (t) => {
  const w = await world(t);
  const made = await w.subscribe();
  const stream = await w.stream({
    subscriptionId: made['subscriptionId'],
    window: { bytes: 2048 },
  });
  await w.open(1, { text: 'x'.repeat(600) });
  await eventually('the first', () => stream.deliveries.some(({ events }) => events.length > 0));
  await Promise.all(Array.from({ length: 6 }, () => w.open(1, { text: 'x'.repeat(300) })));
  await w.pass(15_000);
  await eventually('a heartbeat', () => stream.deliveries.at(-1)?.['events'].length === 0);
  const events = stream.deliveries.flatMap(({ events }) => events as Json[]);
  const bytes = events.reduce((sum, event) => sum + Buffer.byteLength(JSON.stringify(event)), 0);
  assert.ok(bytes <= 2048, `${events.length} events of ${bytes} bytes in flight`);
});

test('[pull-bytes] a result stays within 1,048,576 bytes, envelope included', async (t) => {
  const w = await world(t);
  const { subscriptionId } = await w.subscribe();
  await w.open(11, { text: 'x'.repeat(104_720) });
  const { text } = await w.call('triggers/pull', { subscriptionId });
  assert.ok(Buffer.byteLength(text) <= 1_048_576, `${Buffer.byteLength(text)} bytes`);
});
