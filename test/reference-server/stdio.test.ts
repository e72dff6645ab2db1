/**
 * Tests the server on a pipe, started by real clients, including one that starts it twice to find
 * out which revision it speaks.
 */
import { REVISION } from '../../spec-schema/draft/schema.ts';
import assert from 'node:assert/strict';
import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, test } from 'vitest';
import { Client } from '@modelcontextprotocol/client';
import { StdioClientTransport } from '@modelcontextprotocol/client/stdio';
import { Client as ClientV1 } from '@modelcontextprotocol/sdk/client/index.js';
import { StdioClientTransport as StdioTransportV1 } from '@modelcontextprotocol/sdk/client/stdio.js';
import { EXTENSION_ID } from 'mcp-triggers-experimental';
import { anything } from './harness.ts';
import { COMMAND, inDirectory, plainEnv, startProcess } from './process.ts';

const program = (directory: string) => ({
  command: COMMAND.command,
  args: [...COMMAND.args, '--stdio'],
  stderr: 'ignore' as const,
  env: plainEnv({
    TRIGGERS_DATA_DIR: directory,
    TRIGGERS_SCHEDULES: 'tick=* * * * * *',
    TRIGGERS_GITHUB_SECRET: 'a secret of sixteen',
  }),
});

describe('a client on stdio', () => {
  for (const mode of ['auto', 'legacy', { pin: '2026-07-28' }] as const) {
    test(`v2, negotiation ${JSON.stringify(mode)}: capability, stream beside other requests, cancel [stream-stdio] [stream-tag]`, (t) =>
      inDirectory(async (directory) => {
        const client = new Client({ name: 'test', version: '1' }, { versionNegotiation: { mode } });
        t.onTestFinished(() => client.close());
        await client.connect(new StdioClientTransport(program(directory)));
        const { extensions, experimental } = client.getServerCapabilities() ?? {};
        const settings = (mode === 'legacy' ? experimental : extensions)?.[EXTENSION_ID];
        assert.deepEqual(settings, {
          revision: REVISION,
          levels: ['log', 'stream', 'callback', 'durable'],
          options: [
            'conditionalReads',
            'history',
            'multiSelect',
            'listChanged',
            'pause',
            'skip',
            'reject',
            'limits',
            'trace',
            'dataRef',
          ],
          minTtlMs: 60_000,
          maxTtlMs: 2_592_000_000,
          maxSuspendedMs: 2_592_000_000,
        });

        const list = await client.request({ method: 'triggers/list', params: {} }, anything);
        const [type] = list['triggers'] as { name: string }[];
        const { subscriptionId } = await client.request(
          { method: 'triggers/subscribe', params: { key: 'k', select: [{ name: type?.name }] } },
          anything,
        );
        const first = new Promise<Record<string, unknown>>((resolve) => {
          client.setNotificationHandler(
            'notifications/triggers/delivery',
            { params: anything },
            (params) => resolve(params),
          );
        });
        const cancel = new AbortController();
        const stream = client.request(
          { method: 'triggers/stream', params: { subscriptionId } },
          anything,
          { signal: cancel.signal },
        );
        const delivery = await first;
        assert.equal(delivery['subscriptionId'], subscriptionId);
        assert.notEqual(delivery['requestId'], undefined);
        assert.equal('_meta' in delivery, false);
        assert.equal(
          (await client.request({ method: 'triggers/get', params: { subscriptionId } }, anything))[
            'subscriptionId'
          ],
          subscriptionId,
        );
        cancel.abort();
        await assert.rejects(stream);
        assert.deepEqual(
          (
            (await client.request({ method: 'triggers/subscriptions', params: {} }, anything))[
              'subscriptions'
            ] as unknown[]
          ).length,
          1,
        );
        await client.close();
      }));
  }

  test('v1: finds the capability and lists the trigger types', () =>
    inDirectory(async (directory) => {
      const client = new ClientV1({ name: 'test', version: '1' });
      await client.connect(new StdioTransportV1(program(directory)));
      assert.ok(client.getServerCapabilities()?.experimental?.[EXTENSION_ID]);
      const list = (await client.request(
        { method: 'triggers/list', params: {} },
        anything as never,
      )) as { triggers: unknown[] };
      assert.equal(list.triggers.length, 1);
      await client.close();
    }));
});

test('exits 0 when the client closes the pipe, and writes nothing but the protocol', () =>
  inDirectory(async (directory) => {
    const server = startProcess({ TRIGGERS_DATA_DIR: directory }, ['--stdio']);
    server.child.stdin.end(
      `${JSON.stringify({ jsonrpc: '2.0', id: 0, method: 'initialize', params: { protocolVersion: '2025-11-25', capabilities: {}, clientInfo: { name: 'test', version: '1' } } })}\n`,
    );
    assert.equal(await server.exited, 0, server.stderr());
    for (const line of server
      .stdout()
      .split('\n')
      .filter((text) => text !== ''))
      assert.equal((JSON.parse(line) as { jsonrpc: string }).jsonrpc, '2.0');
  }));

test('exits 3 at the first request that needs the store when another process owns it, with a last line about the store', () =>
  inDirectory(async (directory) => {
    const env = { TRIGGERS_DATA_DIR: directory, TRIGGERS_LOG_LEVEL: 'warn' };
    const ask = `${[
      {
        jsonrpc: '2.0',
        id: 0,
        method: 'initialize',
        params: {
          protocolVersion: '2025-11-25',
          capabilities: {},
          clientInfo: { name: 'test', version: '1' },
        },
      },
      { jsonrpc: '2.0', method: 'notifications/initialized' },
      { jsonrpc: '2.0', id: 1, method: 'triggers/list' },
    ]
      .map((message) => JSON.stringify(message))
      .join('\n')}\n`;
    const first = startProcess(env, ['--stdio']);
    first.child.stdin.write(ask);
    await first.says(/"id":1/);
    const second = startProcess(env, ['--stdio']);
    second.child.stdin.write(ask);
    assert.equal(await second.exited, 3);
    assert.match(second.stderr().trimEnd().split('\n').at(-1) ?? '', /store/i);
    first.child.stdin.end();
    assert.equal(await first.exited, 0);
  }));

test('exits 3 on SIGTERM when its directory is gone, although the pipe is still open', () =>
  inDirectory(async (directory) => {
    const data = join(directory, 'data');
    const server = startProcess({ TRIGGERS_DATA_DIR: data, TRIGGERS_LOG_LEVEL: 'warn' }, [
      '--stdio',
    ]);
    server.child.stdin.write(
      `${[
        {
          jsonrpc: '2.0',
          id: 0,
          method: 'initialize',
          params: {
            protocolVersion: '2025-11-25',
            capabilities: {},
            clientInfo: { name: 'test', version: '1' },
          },
        },
        { jsonrpc: '2.0', method: 'notifications/initialized' },
        { jsonrpc: '2.0', id: 1, method: 'triggers/list' },
      ]
        .map((message) => JSON.stringify(message))
        .join('\n')}\n`,
    );
    await server.says(/"id":1/);
    await rm(data, { recursive: true });
    server.child.kill('SIGTERM');
    assert.equal(await server.exited, 3, server.stderr());
  }));
