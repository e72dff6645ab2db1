/**
 * Tests what a connection knows of its server's capabilities, unchanged, and how it notices that
 * they have changed.
 */
import assert from 'node:assert/strict';
import { describe, test } from 'vitest';
import { Client, StreamableHTTPClientTransport } from '@modelcontextprotocol/client';
import { connect } from '../../../src/client/sdk/connection.ts';
import { EXTENSION_ID, REVISION } from '../../../spec-schema/draft/schema.ts';
import { LocalError } from '../../../src/protocol/wire/errors.ts';
import { until, within } from '../support.ts';
import { MODERN, SESSIONS, startRaw } from './raw-server.ts';

const TRIGGERS = { [EXTENSION_ID]: { revision: REVISION, levels: ['log'] } };

for (const era of [MODERN, SESSIONS] as const) {
  describe(`a connection in ${era}`, () => {
    test('keeps capabilities that the SDK does not know', async (t) => {
      const server = await startRaw(t, (raw) => {
        raw.era = era;
        raw.capabilities = { events: { listChanged: true }, tools: {} };
      });
      const connection = await connect({ url: server.url });
      t.onTestFinished(() => connection.close());
      assert.deepEqual(connection.serverCapabilities, { events: { listChanged: true }, tools: {} });
      assert.deepEqual(connection.serverInfo, { name: 'raw', version: '1' });
      assert.equal(connection.isModern, era === MODERN);
    });

    test('sees at the next probe what the server offers now', async (t) => {
      const server = await startRaw(t, (raw) => {
        raw.era = era;
      });
      const connection = await connect({ url: server.url });
      t.onTestFinished(() => connection.close());
      const offered = () => connection.capability?.levels ?? null;
      assert.equal(offered(), null);
      server.capabilities = { extensions: TRIGGERS };
      await connection.refresh();
      assert.deepEqual(offered(), ['log']);
      server.capabilities = {};
      await connection.refresh();
      assert.equal(offered(), null);
      if (era === SESSIONS)
        assert.equal(server.sessionCount, 1, 'the session of a probe is closed');
    });
  });
}

test('repeats the handshake with a server that speaks another revision after a restart', async (t) => {
  const server = await startRaw(t);
  const connection = await connect({ url: server.url });
  t.onTestFinished(() => connection.close());
  await server.restart(() => {
    server.era = SESSIONS;
    server.capabilities = { events: {} };
  });
  await connection.refresh();
  assert.deepEqual([connection.isModern, connection.serverCapabilities], [false, { events: {} }]);
  await server.restart(() => {
    server.era = MODERN;
    server.capabilities = {};
  });
  await connection.refresh();
  assert.deepEqual([connection.isModern, connection.serverCapabilities], [true, {}]);
});

test('reports a probe of an unreachable server, and continues later', async (t) => {
  const server = await startRaw(t);
  const connection = await connect({ url: server.url });
  t.onTestFinished(() => connection.close());
  await server.down();
  await assert.rejects(
    within(connection.refresh()),
    (error) => error instanceof LocalError && error.code === 'unreachable',
  );
  await server.up();
  await within(connection.refresh());
});

test('receives every notification on a stream, and gives the stream only the methods that it named', async (t) => {
  const server = await startRaw(t, (raw) => {
    raw.handlers['x/stream'] = ({ notify }) => {
      notify('notifications/x/news', { n: 1 });
      notify('notifications/y/news');
      return {};
    };
  });
  const connection = await connect({ url: server.url });
  t.onTestFinished(() => connection.close());
  const heard: string[] = [];
  t.onTestFinished(connection.onNotification((method) => heard.push(method)));
  const tied: unknown[] = [];
  await connection.stream(
    'x/stream',
    {},
    {
      notifications: ['notifications/x/news'],
      onNotification: (method, params) => tied.push([method, (params as { n: number }).n]),
    },
  );
  await until(() => heard.length === 2);
  assert.deepEqual(heard, ['notifications/x/news', 'notifications/y/news']);
  assert.deepEqual(tied, [['notifications/x/news', 1]]);
});

test("learns from a probe what the server behind an application's SDK client declares", async (t) => {
  const server = await startRaw(t, (raw) => {
    raw.capabilities = { events: {} };
  });
  const client = new Client(
    { name: 'other', version: '1' },
    { versionNegotiation: { mode: 'auto' } },
  );
  await client.connect(new StreamableHTTPClientTransport(new URL(server.url)));
  t.onTestFinished(() => client.close());
  const connection = await connect(client);
  assert.deepEqual(connection.serverCapabilities, {}, 'the SDK discards unknown capabilities');
  await connection.refresh();
  assert.deepEqual(connection.serverCapabilities, { events: {} });
});
