/**
 * Tests that every drain, transport and era gives the same items in the same order, with the same
 * positions.
 */
import { REVISION } from '../../spec-schema/draft/schema.ts';
import assert from 'node:assert/strict';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, test } from 'vitest';
import { Client, StreamableHTTPClientTransport } from '@modelcontextprotocol/client';
import { ProtocolError } from '@modelcontextprotocol/server';
import type { ConnectOptions, Target } from '../../src/client/sdk/connection.ts';
import type { SubscriptionState } from '../../src/client/options.ts';
import { WireError } from '../../src/protocol/wire/errors.ts';
import { startPeer } from './peer.ts';
import { connected, subscribeFast, take, until, words } from './support.ts';

const ERAS: NonNullable<ConnectOptions['protocol']>[] = ['auto', '2026-07-28', '2025-11-25'];

describe('drains over HTTP', () => {
  for (const protocol of ERAS) {
    for (const drain of ['stream', 'pull'] as const) {
      test(`[rec-tell, stream-client-no-timeout] ${drain}, ${protocol}: hands out events and gaps in order, and acknowledges each when the next is requested`, async (t) => {
        await using peer = await startPeer();
        const client = await connected(t, { url: peer.url }, { protocol });
        peer.log.append(3);
        peer.log.gap(2, 'retention');
        peer.log.append(2);
        const { subscription, items } = subscribeFast(t, client, { drain });

        assert.deepEqual(words(await take(items, 6)), ['1', '2', '3', '4-5 retention', '6', '7']);
        assert.equal(
          subscription.position?.sequence,
          6,
          'the application is still processing the last one',
        );
        peer.log.append(1);
        assert.deepEqual(words(await take(items, 1)), ['8']);
        await until(() => peer.log.acked === 7);
        await subscription.close();
        assert.equal(subscription.state.phase, 'ended');
      });
    }
  }

  test('[deg-say] reports the drain and its guarantee', async (t) => {
    await using peer = await startPeer();
    peer.log.drains = ['pull'];
    peer.log.append(1);
    const client = await connected(t, { url: peer.url });
    const states: SubscriptionState[] = [];
    const { subscription, items } = subscribeFast(t, client, {
      onState: (state) => states.push(state),
    });
    await take(items, 1);
    assert.deepEqual(subscription.guarantee, {
      order: 'total',
      loss: 'none silent',
      gaps: 'exact',
      drain: 'pull',
      durability: 'durable',
    });
    await subscription.close();
    assert.deepEqual(
      states.map(({ phase }) => phase),
      ['subscribing', 'draining', 'ended'],
    );
  });

  test('[deg-say] pulls when the server refuses a stream, and reports it', async (t) => {
    await using peer = await startPeer();
    peer.log.append(2);
    peer.log.replaced.set('triggers/stream', () => {
      throw new ProtocolError(-32026, 'no', { kind: 'feature', feature: 'stream' });
    });
    const client = await connected(t, { url: peer.url });
    const states: SubscriptionState[] = [];
    const { items } = subscribeFast(t, client, { onState: (state) => states.push(state) });
    assert.deepEqual(words(await take(items, 2)), ['1', '2']);
    const { error, ...state } = states.at(-1) as Extract<SubscriptionState, { phase: 'draining' }>;
    assert.deepEqual(state, { phase: 'draining', drain: 'pull', fellBackFrom: 'stream' });
    assert.ok(error instanceof WireError && error.is('Unsupported'));
  });

  test('keeps two streams on one connection apart', async (t) => {
    await using peer = await startPeer();
    peer.log.append(4);
    const client = await connected(t, { url: peer.url });
    const both = [
      subscribeFast(t, client, { drain: 'stream', key: 'a' }),
      subscribeFast(t, client, { drain: 'stream', key: 'a' }),
    ];
    const read = await Promise.all(both.map(({ items }) => take(items, 4)));
    assert.deepEqual(read.map(words), [
      ['1', '2', '3', '4'],
      ['1', '2', '3', '4'],
    ]);
  });

  test('uses and shares an SDK client that is already connected, and leaves it open', async (t) => {
    await using peer = await startPeer();
    peer.log.append(2);
    const sdk = new Client(
      { name: 'mine', version: '1' },
      { versionNegotiation: { mode: 'auto' } },
    );
    await sdk.connect(new StreamableHTTPClientTransport(new URL(peer.url)));
    for (const drain of ['stream', 'pull'] as const) {
      const client = await connected(t, sdk);
      peer.log.acked = 0;
      const { subscription, items } = subscribeFast(t, client, { drain, key: drain });
      assert.deepEqual(words(await take(items, 2)), ['1', '2']);
      await subscription.close();
      await client.close();
    }
    assert.notEqual(sdk.transport, undefined);
    await sdk.close();
    await assert.rejects(connected(t, sdk), { code: 'config_invalid' });
  });
});

describe('drains on a pipe', () => {
  const target: Target = {
    command: process.execPath,
    args: ['test/client/peer.ts'],
    stderr: 'inherit',
  };

  for (const protocol of ERAS) {
    for (const drain of ['stream', 'pull'] as const) {
      test(`[stream-stdio] ${drain}, ${protocol}`, async (t) => {
        const client = await connected(t, target, { protocol });
        const { subscription, items } = subscribeFast(t, client, { drain });
        assert.deepEqual(words(await take(items, 3)), ['1', '2', '3']);
        await subscription.close({ unsubscribe: true });
        assert.deepEqual(await items.next(), { done: true, value: undefined });
      });
    }
  }

  test('[cap-experimental] restarts a server that exits at the probe, and uses the handshake', async (t) => {
    const client = await connected(t, {
      command: process.execPath,
      args: ['test/client/old-server.ts'],
    });
    assert.deepEqual(client.capability, { revision: REVISION, levels: ['log'] });
    assert.equal(client.connection.protocolVersion, '2025-11-25');
    assert.deepEqual(await client.list(), {
      triggers: [],
      etag: 'list-1',
      ttlMs: 0,
      cacheScope: 'private',
    });
  });

  test('starts one process per connection, even to find out which revision it speaks', async (t) => {
    const folder = mkdtempSync(join(tmpdir(), 'triggers-peer-'));
    t.onTestFinished(() => rmSync(folder, { recursive: true }));
    await connected(t, { ...target, env: { PEER_STARTS: join(folder, 'starts') } });
    assert.equal(readFileSync(join(folder, 'starts'), 'utf8'), '.');
  });

  test('[rec-tell, recv-epoch-repeat] restarts a server process that dies, and reports that its log is lost', async (t) => {
    const folder = mkdtempSync(join(tmpdir(), 'triggers-peer-'));
    t.onTestFinished(() => rmSync(folder, { recursive: true }));
    const client = await connected(t, { ...target, env: { PEER_DIES_ONCE: join(folder, 'died') } });
    const { items } = subscribeFast(t, client, { drain: 'stream' });
    // The new process serves the same occurrences again: the applied one is recognized by its
    // eventId.
    assert.deepEqual(words(await take(items, 4)), ['1', 'lost unknown at 1', '2', '3']);
  });
});
