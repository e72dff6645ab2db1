/**
 * Tests what a client does when the server, the network or the log fails: one test per line of the
 * SEP's recovery table.
 */
import assert from 'node:assert/strict';
import { describe, test } from 'vitest';
import { ProtocolError } from '@modelcontextprotocol/server';
import type { SubscriptionState } from '../../src/client/options.ts';
import { memoryLedger } from '../../src/protocol/ledger/ledger.ts';
import { HonestLog, OTHER_EPOCH, pause, sessionHandler, silent, startPeer } from './peer.ts';
import { connected, SELECT, subscribeFast, take, until, within, words } from './support.ts';

const BOTH = ['stream', 'pull'] as const;

describe('recovery', () => {
  for (const drain of BOTH) {
    test(`[rec-from-applied, rec-backoff] ${drain}: misses and repeats nothing when the server is gone for a while`, async (t) => {
      await using peer = await startPeer();
      const client = await connected(t, { url: peer.url });
      const states: SubscriptionState[] = [];
      const { items } = subscribeFast(t, client, { drain, onState: (state) => states.push(state) });
      peer.log.append(3);
      assert.deepEqual(words(await take(items, 2)), ['1', '2']);
      await peer.down();
      peer.log.append(3);
      const rest = take(items, 4);
      await until(() => states.filter(({ phase }) => phase === 'waiting').length >= 3);
      await peer.up();
      assert.deepEqual(words(await rest), ['3', '4', '5', '6']);
    });

    test(`${drain}: survives connections that are cut repeatedly`, async (t) => {
      await using peer = await startPeer();
      const client = await connected(t, { url: peer.url });
      const { items } = subscribeFast(t, client, { drain });
      const seen: string[] = [];
      for (let round = 0; round < 8; round++) {
        peer.log.append(2);
        peer.cut();
        seen.push(...words(await take(items, 2)));
      }
      assert.deepEqual(
        seen,
        Array.from({ length: 16 }, (_, n) => `${n + 1}`),
      );
    });

    test(`[recv-epoch] ${drain}: reports a new epoch before its first event, and reads the rest from its beginning`, async (t) => {
      await using peer = await startPeer();
      const client = await connected(t, { url: peer.url });
      const { subscription, items } = subscribeFast(t, client, { drain });
      peer.log.append(4);
      assert.deepEqual(words(await take(items, 4)), ['1', '2', '3', '4']);
      await until(() => peer.log.acked === 3 || drain === 'pull');
      if (drain === 'pull') peer.log.acked = 3;
      peer.log.rotate(); // Event 4 is number 1 now.
      peer.log.events.push({ ...peer.log.events[0]!, sequence: 2, eventId: 'event-new' });
      const [told, next] = await take(items, 2);
      assert.deepEqual(words([told!]), ['epoch 4→0']);
      assert.equal(
        next?.type === 'event' && next.event.eventId,
        'event-new',
        'the event that was number 4 is not handed out again as number 1',
      );
      assert.equal(subscription.subscription?.epoch, peer.log.epoch);
    });

    test(`[recv-epoch] ${drain}: reports each new epoch of an empty log once, also to the next run of the application`, async (t) => {
      await using peer = await startPeer();
      const client = await connected(t, { url: peer.url });
      const ledger = memoryLedger();
      const { subscription, items } = subscribeFast(t, client, { drain, ledger });
      const losses = take(items, 2);
      await until(() => peer.log.calls.some(({ method }) => method === `triggers/${drain}`));
      const first = peer.log.epoch;
      peer.log.rotate();
      await until(() => subscription.position?.epoch === peer.log.epoch);
      peer.log.epoch = 'epoch-3-cccccccccccccc';
      assert.deepEqual(words(await losses), ['epoch 0→0', 'epoch 0→0']);
      // The position is saved after the loss is reported, so the next item shows that it is.
      peer.log.append(1);
      assert.deepEqual(words(await take(items, 1)), ['1']);
      assert.notEqual(first, peer.log.epoch);
      const saved = await ledger.load('position', client.connection.server, subscription.key);
      assert.deepEqual(
        [saved?.epoch, saved?.sequence, saved?.past],
        [peer.log.epoch, 0, [OTHER_EPOCH, first]],
      );
    });

    test(`[rec-tell] ${drain}: reports that the server has less than it had sent`, async (t) => {
      await using peer = await startPeer();
      const client = await connected(t, { url: peer.url });
      const { items } = subscribeFast(t, client, { drain });
      peer.log.append(5);
      await take(items, 5);
      peer.log.events.length = 2;
      peer.log.acked = 1;
      peer.cut();
      assert.deepEqual(words(await take(items, 1)), ['lost rewound at 5 of 2']);
      peer.log.events.push({ ...peer.log.events[0]!, sequence: 3, eventId: 'other-3' });
      assert.deepEqual(
        words(await take(items, 1)),
        ['3'],
        'what was applied already is not handed out again',
      );
    });

    test(`[rec-tell] ${drain}: reports an expired subscription with its last position, and creates another one`, async (t) => {
      await using peer = await startPeer();
      const client = await connected(t, { url: peer.url });
      const { subscription, items } = subscribeFast(t, client, { drain });
      peer.log.append(2);
      await take(items, 2);
      peer.log.end('expired');
      assert.deepEqual(words(await take(items, 1)), ['lost expired at 2 of 2']);
      const next = take(items, 2);
      await until(() => peer.log.alive);
      peer.log.append(2);
      assert.deepEqual(words(await next), ['1', '2'], 'another log, counted from 1');
      assert.equal(subscription.subscription?.subscriptionId, peer.log.id);
    });

    test(`${drain}: an expired subscription ends the iteration when resubscribe is false`, async (t) => {
      await using peer = await startPeer();
      const client = await connected(t, { url: peer.url });
      const { items } = subscribeFast(t, client, { drain, resubscribe: false });
      peer.log.append(1);
      await take(items, 1);
      peer.log.end('expired');
      await assert.rejects(within(items.next()), { code: 'terminated', reason: 'expired' });
    });

    for (const reason of [
      'unsubscribed',
      'revoked',
      'trigger_removed',
      'schema_changed',
      'failed',
    ]) {
      test(`${drain}: fails with terminated when the subscription ended with ${reason}`, async (t) => {
        await using peer = await startPeer();
        const client = await connected(t, { url: peer.url });
        const { items } = subscribeFast(t, client, { drain });
        peer.log.append(1);
        await take(items, 1);
        peer.log.end(reason);
        await assert.rejects(within(items.next()), { code: 'terminated', reason });
      });
    }
  }

  for (const drain of BOTH) {
    test(`${drain}: repeats the handshake with a server that has lost its sessions`, async (t) => {
      const log = new HonestLog();
      const handler = sessionHandler(log);
      await using peer = await startPeer(log, handler);
      const client = await connected(t, { url: peer.url });
      assert.equal(client.connection.protocolVersion, '2025-11-25');
      const { items } = subscribeFast(t, client, { drain });
      log.append(2);
      assert.deepEqual(words(await take(items, 2)), ['1', '2']);
      handler.forget();
      peer.cut();
      log.append(2);
      assert.deepEqual(words(await take(items, 2)), ['3', '4']);
    });
  }

  test('a termination notice ends a stream after what it still delivers', async (t) => {
    await using peer = await startPeer();
    peer.log.append(2);
    peer.log.replaced.set('triggers/stream', async (_params, { send }) => {
      await send({ ...peer.log.delivery(0), terminated: { reason: 'schema_changed' } });
      return {};
    });
    const { items } = subscribeFast(t, await connected(t, { url: peer.url }), { drain: 'stream' });
    assert.deepEqual(words(await take(items, 2)), ['1', '2']);
    await assert.rejects(within(items.next()), { code: 'terminated', reason: 'schema_changed' });
  });

  test('[gen-ignore-unknown] a gap, a member, an order and an ending of a later revision are the general case', async (t) => {
    await using peer = await startPeer();
    peer.log.append(1);
    peer.log.replaced.set('triggers/stream', async (_params, { send }) => {
      await send({
        ...peer.log.delivery(0),
        draining: true,
        gaps: [{ from: 2, to: 3, reason: 'quarantined' }],
        head: 3,
      });
      await send({
        ...peer.log.delivery(1),
        afterSequence: 3,
        head: 3,
        terminated: { reason: 'merged' },
      });
      return {};
    });
    const { items } = subscribeFast(t, await connected(t, { url: peer.url }), { drain: 'stream' });
    assert.deepEqual(words(await take(items, 2)), ['1', '2-3 quarantined']);
    await assert.rejects(within(items.next()), { code: 'terminated', reason: 'merged' });
  });

  test('a subscription that exists under the key gets the requested configuration when its selections are the same', async (t) => {
    await using peer = await startPeer();
    Object.assign(peer.log, { alive: true, key: 'k' });
    peer.log.params = {
      key: 'k',
      select: [{ name: 'timer', arguments: {} }],
      callback: { url: 'https://old.example/cb', secret: 'x' },
    };
    peer.log.append(1);
    const { items } = subscribeFast(t, await connected(t, { url: peer.url }), { key: 'k' });
    assert.deepEqual(words(await take(items, 1)), ['1']);
    assert.equal(peer.log.params.callback, undefined);
    const update = peer.log.calls.find(({ method }) => method === 'triggers/update')!;
    assert.equal(update.params.ifMatch, peer.log.subscription().etag);
    assert.deepEqual([update.params.removeCallback, 'callback' in update.params], [true, false]);
  });

  test('a key with other selections is a Conflict for the caller', async (t) => {
    await using peer = await startPeer();
    peer.log.alive = true;
    peer.log.params = {
      key: 'k',
      select: [{ name: 'other' }],
      callback: { url: 'https://old.example/cb', secret: 'x' },
    };
    const { subscription } = subscribeFast(t, await connected(t, { url: peer.url }), { key: 'k' });
    await assert.rejects(subscription.ready(), { name: 'Conflict' });
  });
});

describe('renewal', () => {
  test('[ttl-client-renews] continues while the application is busy, and follows the granted lifetime', async (t) => {
    await using peer = await startPeer();
    peer.log.renewAfterMs = 30;
    peer.log.ttlMs = 60_000;
    const { subscription } = subscribeFast(t, await connected(t, { url: peer.url }));
    await subscription.ready();
    const renewals = () => peer.log.calls.filter(({ method }) => method === 'triggers/update');
    await until(() => renewals().length >= 3);
    assert.deepEqual(renewals()[0]!.params.ttlMs, 60_000);
    await subscription.close();
    const count = renewals().length;
    await pause(100);
    assert.equal(renewals().length, count, 'a closed subscription is not renewed');
  });

  test('happens at once when the clock jumps ahead', async (t) => {
    await using peer = await startPeer();
    let skewMs = 0;
    const timers = new Set<() => void>();
    const clock = {
      now: () => Date.now() + skewMs,
      after(delayMs: number, run: () => void) {
        const fire = (): void => {
          timers.delete(fire);
          clearTimeout(timer);
          run();
        };
        const timer = setTimeout(fire, delayMs);
        timers.add(fire);
        return () => {
          timers.delete(fire);
          clearTimeout(timer);
        };
      },
    };
    const { subscription } = subscribeFast(t, await connected(t, { url: peer.url }), {
      tuning: { clock },
    });
    await subscription.ready();
    // A laptop slept for an hour: no timer ran, and the next one notices the jump.
    skewMs = 3_600_000;
    for (const fire of [...timers]) fire();
    await until(() => peer.log.calls.some(({ method }) => method === 'triggers/update'));
    await subscription.close();
  });

  test('interrupts a silent drain when the subscription is gone', async (t) => {
    await using peer = await startPeer();
    peer.log.renewAfterMs = 200;
    peer.log.append(1);
    peer.log.replaced.set('triggers/stream', async (_params, { send }) => {
      await send(peer.log.delivery(0));
      return silent();
    });
    const { items } = subscribeFast(t, await connected(t, { url: peer.url }), { drain: 'stream' });
    assert.deepEqual(words(await take(items, 1)), ['1']);
    peer.log.end('revoked');
    await assert.rejects(within(items.next()), { code: 'terminated', reason: 'revoked' });
  });
});

describe('acknowledgement', () => {
  test('manual: sends nothing until the application acknowledges, and ack() waits for the confirmation', async (t) => {
    await using peer = await startPeer();
    peer.log.append(3);
    const { subscription, items } = subscribeFast(t, await connected(t, { url: peer.url }), {
      ack: 'manual',
      drain: 'stream',
    });
    const read = await take(items, 3);
    await pause(50);
    assert.equal(peer.log.acked, 0);
    assert.ok(read[1]?.type === 'event');
    await within(read[1].ack());
    assert.equal(peer.log.acked, 2, 'cumulative');
    assert.equal(subscription.position?.sequence, 2);
  });

  test('manual: ack() of an item that was handed out before close rejects with closed', async (t) => {
    await using peer = await startPeer();
    peer.log.append(2);
    const { subscription, items } = subscribeFast(t, await connected(t, { url: peer.url }), {
      ack: 'manual',
      drain: 'stream',
    });
    const [, second] = await take(items, 2);
    await subscription.close();
    assert.ok(second?.type === 'event');
    await assert.rejects(within(second.ack()), { code: 'closed' });
  });

  test('manual, by pull: ack() is confirmed without waiting for the long poll', async (t) => {
    await using peer = await startPeer();
    peer.log.append(1);
    const { items } = subscribeFast(t, await connected(t, { url: peer.url }), {
      ack: 'manual',
      drain: 'pull',
      tuning: { waitMs: 10_000 },
    });
    const [one] = await take(items, 1);
    const next = items.next();
    assert.ok(one?.type === 'event');
    await within(one.ack(), 5000);
    assert.equal(peer.log.acked, 1);
    peer.log.append(1);
    await within(next);
  });

  test('auto: needs few calls for many items', async (t) => {
    await using peer = await startPeer();
    peer.log.append(200);
    const { items } = subscribeFast(t, await connected(t, { url: peer.url }), {
      drain: 'stream',
      tuning: { ackDelayMs: 50 },
    });
    await take(items, 200);
    await until(() => peer.log.acked === 199);
    const calls = peer.log.calls.filter(({ method }) => method === 'triggers/ack').length;
    assert.ok(calls <= 20, `${calls} calls for 199 items`);
  });

  test('leaving the loop keeps the subscription, and the current item unacknowledged', async (t) => {
    await using peer = await startPeer();
    peer.log.append(3);
    const client = await connected(t, { url: peer.url });
    const subscription = client.subscribe({ key: 'k', select: SELECT });
    for await (const item of subscription)
      if (item.type === 'event' && item.event.sequence === 2) break;
    assert.equal(peer.log.acked, 1);
    assert.equal(peer.log.alive, true);
    assert.deepEqual(subscription.state, { phase: 'ended' });
    await assert.rejects(subscription[Symbol.asyncIterator]().next(), { code: 'config_invalid' });
  });

  test('[uns-ends] close({ unsubscribe }) ends it on the server, and ignores that it has already ended', async (t) => {
    await using peer = await startPeer();
    const client = await connected(t, { url: peer.url });
    for (const before of [() => undefined, () => peer.log.end('expired')]) {
      const { subscription } = subscribeFast(t, client);
      await subscription.ready();
      before();
      await subscription.close({ unsubscribe: true });
      assert.equal(peer.log.alive, false);
    }
  });

  test('a signal ends the loop without an error', async (t) => {
    await using peer = await startPeer();
    const client = await connected(t, { url: peer.url });
    const stop = new AbortController();
    const { items } = subscribeFast(t, client, { signal: stop.signal });
    peer.log.append(1);
    await take(items, 1);
    const end = items.next();
    stop.abort();
    assert.deepEqual(await within(end), { done: true, value: undefined });
  });

  test('an acknowledgement that fails for a while is repeated', async (t) => {
    await using peer = await startPeer();
    let refusals = 3;
    peer.log.replaced.set('triggers/ack', (params, exchange) => {
      if (refusals-- > 0) throw new ProtocolError(-32603, 'Internal error');
      return peer.log.methods['triggers/ack']!(params, exchange);
    });
    peer.log.append(2);
    const { items } = subscribeFast(t, await connected(t, { url: peer.url }), { drain: 'stream' });
    await take(items, 2);
    await until(() => peer.log.acked === 1);
    assert.ok(refusals < 0);
  });
});
