/**
 * Tests `@modelcontextprotocol/server-everything`, unmodified, as a server that was not made for
 * these tests. Its texts contain the time, a tool adds resources, and it answers 400 for a session
 * that it has forgotten.
 */
import assert from 'node:assert/strict';
import { describe, test, type TestContext } from 'vitest';
import type { Connection, Target } from '../../../../src/client/sdk/connection.ts';
import { listenMode } from '../../../../src/client/follow/modes/plain/listen.ts';
import { readMode } from '../../../../src/client/follow/modes/plain/read.ts';
import { toolMode } from '../../../../src/client/follow/modes/plain/tool.ts';
import { everythingProgram, startEverything } from '../../../interop/peers/servers/everything.ts';
import { pause } from '../../peer.ts';
import { markOf, reached, resumed, started } from './support.ts';

const CLOCK = 'demo://resource/dynamic/text/1';
const CLOCK_UPDATED = { name: 'mcp.resource.updated', arguments: { uri: CLOCK } };
const RESOURCES_CHANGED = { name: 'mcp.resources.list_changed' };

const TARGETS: Readonly<Record<string, (t: TestContext) => Promise<Target>>> = {
  'over HTTP': async (t) => {
    const server = await startEverything();
    t.onTestFinished(() => server[Symbol.asyncDispose]());
    return server;
  },
  'on a pipe': async () => ({ ...everythingProgram(), stderr: 'ignore' }),
};

async function call(connection: Connection, name: string, args: object = {}): Promise<void> {
  const result = (await connection.call('tools/call', { name, arguments: args })) as {
    isError?: boolean;
  };
  assert.ok(result.isError !== true, JSON.stringify(result));
}

/** Turns a data URL into a resource: no request leaves the machine. */
const gzip = (connection: Connection, name: string): Promise<void> =>
  call(connection, 'gzip-file-as-resource', { name, data: 'data:text/plain,hello' });

for (const [name, target] of Object.entries(TARGETS)) {
  test(`server-everything ${name}: listen, read and tool see what changes`, async (t) => {
    const connection = await reached(t, await target(t));
    const listened = await started(t, listenMode, connection, RESOURCES_CHANGED);
    const polled = await started(t, readMode, connection, RESOURCES_CHANGED);
    const clock = await started(t, listenMode, connection, CLOCK_UPDATED);
    const tool = await started(
      t,
      toolMode,
      connection,
      { name: 'sum' },
      { otherwise: { tool: { name: 'get-sum', arguments: { a: 1, b: 2 } } } },
    );
    for (const run of [listened, polled, clock, tool]) await run.has(1);
    await gzip(connection, 'first.gz');
    assert.match((await listened.has(2))[1]!, /^event .*first\.gz/);
    assert.match((await polled.has(2))[1]!, /^event .*first\.gz/);
    // The resource's text changes every second, and the server notifies when the updates begin.
    await pause(1100);
    await call(connection, 'toggle-subscriber-updates');
    assert.match((await clock.has(2))[1]!, /^event Resource 1: This is a plaintext resource/);
    assert.deepEqual(tool.words(), ['mark'], 'one and two is always three');
  });
}

describe('server-everything', () => {
  test('[deg-say] killed and restarted: reports that changes may have been missed', async (t) => {
    const first = await startEverything();
    const connection = await reached(t, first);
    const before = await started(t, listenMode, connection, RESOURCES_CHANGED);
    await before.has(1);
    await gzip(connection, 'first.gz');
    await before.has(2);
    await first[Symbol.asyncDispose]();
    assert.equal((await before.outcome).error?.code, 'unreachable');
    await using again = await startEverything({ port: first.port });
    const after = await resumed(t, listenMode, connection, RESOURCES_CHANGED, {
      mark: markOf(before),
    });
    assert.match(
      (await after.has(2)).join(),
      /^gap unwatched,event (?!.*first\.gz)/,
      'the new process knows nothing of it',
    );
    await gzip(connection, 'second.gz');
    assert.match((await after.has(3))[2]!, /second\.gz/);
    assert.equal(again.port, first.port);
  });

  test('does not call a tool that declares side effects', async (t) => {
    const connection = await reached(t, { ...everythingProgram(), stderr: 'ignore' });
    const run = await started(
      t,
      toolMode,
      connection,
      { name: 'zip' },
      { otherwise: { tool: { name: 'gzip-file-as-resource' } } },
    );
    assert.equal(((await run.outcome).error as { reason?: string }).reason, 'tool_not_read_only');
  });
});
