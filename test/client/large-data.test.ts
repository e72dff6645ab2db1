/** Tests reading the data of events that are delivered by reference (SEP: Data by reference). */
import assert from 'node:assert/strict';
import { Client } from '@modelcontextprotocol/client';
import { InMemoryTransport, McpServer } from '@modelcontextprotocol/server';
import { describe, test, type TestContext } from 'vitest';
import type { EventItem } from '../../src/protocol/ledger/items.ts';
import { EXTENSION_ID } from '../../src/protocol/wire/schema.ts';
import { attachResources } from '../../src/server/mcp/resources/install.ts';
import { attachTriggers } from '../../src/server/mcp/triggers/install.ts';
import { LocalError } from '../../src/protocol/wire/errors.ts';
import { RemoteError } from '../../src/protocol/wire/remote-error.ts';
import type { Target } from '../../src/client/sdk/connection.ts';
import type { TriggersClient } from '../../src/client/client.ts';
import { alarm, startEngine } from '../server/mcp/harness.ts';
import { World } from '../server/mcp/resources/world.ts';
import { connected, subscribeFast, take, words } from './support.ts';

/** Every byte that JSON escapes, so that the text is twice as long in the message. */
const LARGE = '"\\'.repeat(200_000);
const KEY = 'large';

/** A connected client of this server, on a pipe of the handshake revisions. */
async function onPipe(
  t: TestContext,
  mcp: McpServer,
  capabilities: NonNullable<ConstructorParameters<typeof Client>[1]>['capabilities'] = {},
): Promise<Client> {
  const [near, far] = InMemoryTransport.createLinkedPair();
  await mcp.connect(far);
  const client = new Client(
    { name: 'pipe', version: '1' },
    { capabilities, versionNegotiation: { mode: 'legacy' } },
  );
  await client.connect(near);
  t.onTestFinished(() => client.close());
  return client;
}

/** The large event, as a subscription hands it out. */
async function largeEvent(
  t: TestContext,
  client: TriggersClient,
  name: string,
  emit: () => Promise<unknown>,
): Promise<EventItem['event']> {
  const { subscription, items } = subscribeFast(t, client, { key: KEY, select: [{ name }] });
  await subscription.ready();
  await emit();
  const [item] = await take(items, 1);
  assert.equal(item?.type, 'event');
  return item.event;
}

for (const protocol of ['2026-07-28', '2025-11-25'] as const)
  describe(`over HTTP with ${protocol}`, () => {
    test('[ref-event, ref-read] a client that declares dataRef gets the event, and reads its data', async (t) => {
      const world = await World.start();
      t.onTestFinished(() => world.close());
      const target: Target = { url: world.url, token: () => world.token('alice') };
      const client = await connected(t, target, { protocol, dataRef: true });
      const data = { box: LARGE, n: 1 };
      const emit = () => world.engine.emit({ name: 'box.opened', data });
      const event = await largeEvent(t, client, 'box.opened', emit);
      assert.equal(event.data, undefined);
      assert.equal(event.dataRef?.bytes, Buffer.byteLength(JSON.stringify(data)));
      assert.deepEqual(await client.data(event), data);

      const stranger = await connected(
        t,
        { ...target, token: () => world.token('bob') },
        { protocol, dataRef: true },
      );
      await assert.rejects(stranger.data(event), RemoteError);
      await assert.rejects(client.data(event, { maxBytes: 1000 }), {
        code: 'not_supported',
        reason: 'too_large',
      });
      await assert.rejects(client.data(event, { signal: AbortSignal.abort(new Error('stop')) }), {
        message: 'stop',
      });
    });

    test('[ref-unknown] any other client gets a gap', async (t) => {
      const world = await World.start();
      t.onTestFinished(() => world.close());
      const client = await connected(
        t,
        { url: world.url, token: () => world.token('alice') },
        { protocol },
      );
      const { subscription, items } = subscribeFast(t, client, {
        select: [{ name: 'box.opened' }],
      });
      await subscription.ready();
      await world.engine.emit({ name: 'box.opened', data: { box: LARGE } });
      assert.deepEqual(words(await take(items, 1)), ['1-1 too_large']);
    });
  });

const note = (mcp: McpServer): unknown =>
  mcp.registerResource('note', 'note:1', {}, () => ({ contents: [{ uri: 'note:1', text: 'n' }] }));
for (const [what, before, after] of [
  ['a server without other resources', () => undefined, () => undefined],
  ['a server whose own resources come first', note, () => undefined],
  ['a server whose own resources come later', () => undefined, note],
  ['a server with feeds before it', attachResources, () => undefined],
  ['a server with feeds after it', () => undefined, attachResources],
] as const)
  test(`[ref-read] on a pipe, from ${what}`, async (t) => {
    const engine = await startEngine();
    t.onTestFinished(() => engine.close());
    const mcp = new McpServer({ name: 'test', version: '1' });
    before(mcp, engine);
    attachTriggers(mcp, engine, { levels: ['log', 'stream'], dataRef: true });
    after(mcp, engine);
    const settings = { [EXTENSION_ID]: { options: ['dataRef'] } };
    const sdk = await onPipe(t, mcp, { experimental: settings });
    const client = await connected(t, sdk);
    const event = await largeEvent(t, client, 'alarm.raised', () =>
      engine.emit(alarm.event({ data: { house: LARGE } })),
    );
    assert.deepEqual(await client.data(event), { house: LARGE });
    if (what.includes('own'))
      assert.deepEqual((await sdk.readResource({ uri: 'note:1' })).contents, [
        { uri: 'note:1', text: 'n' },
      ]);
    if (what.includes('feeds'))
      assert.ok((await sdk.listResourceTemplates()).resourceTemplates.length > 1);
  });

describe('a server that breaks the rules', () => {
  const uri = 'triggers-data://log/any';
  const cases: readonly (readonly [what: string, bytes: number, contents: readonly object[]])[] = [
    ['another size', 4, [{ uri, text: '[1]' }]],
    ['no JSON', 3, [{ uri, text: '[1,' }]],
    ['another resource', 3, [{ uri: 'other:1', text: '[1]' }]],
    ['no text', 3, [{ uri, blob: 'WzFd' }]],
    [
      'two texts',
      3,
      [
        { uri, text: '[1]' },
        { uri, text: '[1]' },
      ],
    ],
    ['nothing', 3, []],
    ['too deep', 202, [{ uri, text: '['.repeat(101) + ']'.repeat(101) }]],
    ['half a character', 8, [{ uri, text: '"\\ud800"' }]],
  ];
  for (const [what, bytes, contents] of cases)
    test(`[ref-read] ${what} is refused`, async (t) => {
      const mcp = new McpServer({ name: 'test', version: '1' });
      mcp.registerResource('data', uri, {}, () => ({ contents: contents as never }));
      const client = await connected(t, await onPipe(t, mcp));
      await assert.rejects(
        client.data({ dataRef: { uri, bytes } }),
        (error) =>
          error instanceof LocalError &&
          error.code === 'peer_misbehaved' &&
          error.reason === 'data',
      );
    });

  test('data in the event itself need no request', async (t) => {
    const client = await connected(t, await onPipe(t, new McpServer({ name: 'x', version: '1' })));
    assert.deepEqual(await client.data({ data: [1] }), [1]);
  });
});
