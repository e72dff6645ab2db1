/**
 * Tests what the fallback modes report when something breaks: the guarantee `latest state only`
 * must be true, so no change that went unwatched may appear watched.
 */
import assert from 'node:assert/strict';
import { describe, test } from 'vitest';
import { listenMode } from '../../../../src/client/follow/modes/plain/listen.ts';
import { readMode } from '../../../../src/client/follow/modes/plain/read.ts';
import { toolMode } from '../../../../src/client/follow/modes/plain/tool.ts';
import { freePort } from '../../../../scripts/demo/server-process.ts';
import {
  Board,
  NOTICE,
  type StockOptions,
  type StockServer,
} from '../../../interop/peers/servers/board.ts';
import { sdk1Program, startSdk1 } from '../../../interop/peers/servers/sdk1.ts';
import { sdk2Program, startSdk2 } from '../../../interop/peers/servers/sdk2.ts';
import { until } from '../../support.ts';
import { markOf, NOTICE_UPDATED, reached, resumed, started } from './support.ts';

const FORGETFUL = { unknownSession: { status: 400, code: -32000 } };
/** For the tool mode; the others follow the selection. */
const OTHERWISE = { otherwise: { tool: { name: 'unmarked' } } };

const START: Readonly<Record<string, (options: StockOptions) => Promise<StockServer>>> = {
  'SDK 1.x': startSdk1,
  'SDK 1.x that answers 400 for a forgotten session': (options) =>
    startSdk1({ ...options, ...FORGETFUL }),
  'SDK 2.x': startSdk2,
};

for (const [name, start] of Object.entries(START)) {
  describe(`interruptions: ${name}`, () => {
    for (const mode of [listenMode, readMode, toolMode]) {
      test(`[deg-say] ${mode.name}: a restart of the server and the change missed during it are both reported`, async (t) => {
        const [board, port] = [new Board(), await freePort()];
        const first = await start({ board, port });
        const connection = await reached(t, first);
        const before = await started(t, mode, connection, NOTICE_UPDATED, OTHERWISE);
        await before.has(1);
        board.texts.set(NOTICE, 'second');
        await first.announce({ uri: NOTICE });
        assert.deepEqual(await before.has(2), ['mark', 'event second']);
        await first[Symbol.asyncDispose]();
        assert.equal(
          (await before.outcome).error?.code,
          'unreachable',
          'the death is an error, not silence',
        );
        board.texts.set(NOTICE, 'third');
        board.texts.set(NOTICE, 'fourth');
        await using again = await start({ board, port });
        const after = await resumed(t, mode, connection, NOTICE_UPDATED, {
          ...OTHERWISE,
          mark: markOf(before),
        });
        assert.deepEqual(
          await after.has(2),
          ['gap unwatched', 'event fourth'],
          'nothing reveals the third, and the gap reports that',
        );
        board.texts.set(NOTICE, 'fifth');
        await again.announce({ uri: NOTICE });
        assert.deepEqual(await after.has(3), ['gap unwatched', 'event fourth', 'event fifth']);
      });
    }

    test('reports the loss of a cut connection while the server lives, and gets change notifications again', async (t) => {
      await using server = await start({});
      const connection = await reached(t, server);
      const before = await started(t, listenMode, connection, NOTICE_UPDATED);
      await before.has(1);
      server.cut();
      assert.equal((await before.outcome).error?.code, 'unreachable');
      await server.announce({ uri: NOTICE });
      const after = await resumed(t, listenMode, connection, NOTICE_UPDATED, {
        mark: markOf(before),
      });
      assert.deepEqual(
        await after.has(1),
        ['gap unwatched'],
        'nothing is different, but it might have been',
      );
      server.board.texts.set(NOTICE, 'second');
      await server.announce({ uri: NOTICE });
      assert.deepEqual(await after.has(2), ['gap unwatched', 'event second']);
    });
  });
}

describe('interruptions', () => {
  test('a stream of a session that breaks off is an error, and the session is kept', async (t) => {
    await using server = await startSdk1();
    const connection = await reached(t, server);
    const before = await started(t, listenMode, connection, NOTICE_UPDATED);
    await before.has(1);
    for (const stream of server.streams) stream.end();
    const { error } = await before.outcome;
    assert.equal(error?.code, 'unreachable');
    const after = await resumed(t, listenMode, connection, NOTICE_UPDATED, {
      mark: markOf(before),
    });
    await after.has(1);
    server.board.texts.set(NOTICE, 'second');
    await server.announce({ uri: NOTICE });
    assert.deepEqual(await after.has(2), ['gap unwatched', 'event second']);
    assert.equal(server.subscribed().length, 1, 'there is one session');
  });

  test('a probe that shows no change keeps the stream, and one that shows a change ends it as unreachable', async (t) => {
    await using server = await startSdk1();
    const connection = await reached(t, server);
    const run = await started(t, listenMode, connection, NOTICE_UPDATED);
    await run.has(1);
    await connection.refresh();
    server.board.texts.set(NOTICE, 'second');
    await server.announce({ uri: NOTICE });
    assert.deepEqual(await run.has(2), ['mark', 'event second']);
    server.board.capabilities = { ...server.board.capabilities, logging: {} };
    await connection.refresh();
    assert.equal((await run.outcome).error?.code, 'unreachable');
    const after = await resumed(t, listenMode, connection, NOTICE_UPDATED, { mark: markOf(run) });
    await after.has(1);
    await connection.close();
    assert.equal((await after.outcome).error?.code, 'closed');
  });

  test('retries a bad request once in a new session, for a server that has no streams and forgets its sessions', async (t) => {
    const [board, port] = [new Board(), await freePort()];
    const first = await startSdk1({ board, port, stream: false, ...FORGETFUL });
    const connection = await reached(t, first);
    const before = await Promise.all(
      Array.from({ length: 8 }, () => started(t, readMode, connection, NOTICE_UPDATED)),
    );
    for (const run of before) await run.has(1);
    await first[Symbol.asyncDispose]();
    for (const run of before) assert.equal((await run.outcome).error?.code, 'unreachable');
    await using again = await startSdk1({ board, port, stream: false, ...FORGETFUL });
    const after = await Promise.all(
      before.map((run) => resumed(t, readMode, connection, NOTICE_UPDATED, { mark: markOf(run) })),
    );
    for (const run of after) await run.has(1);
    assert.ok(
      again.sessionCount <= 2,
      `${again.sessionCount} new sessions for one that was forgotten`,
    );
    const [only, ...others] = after;
    for (const run of others) run.stop();
    await Promise.all(others.map((run) => run.outcome));
    again.board.replaced.set('resources/read', () => {
      throw Object.assign(new Error('no'), { code: -32000 });
    });
    assert.equal((await only!.outcome).error?.code, 'unreachable');
    const last = await started(t, readMode, connection, NOTICE_UPDATED);
    assert.equal(
      (await last.outcome).error?.code,
      -32000,
      'a bad request in a new session is an error',
    );
  });

  for (const [name, program] of [
    ['SDK 1.x', sdk1Program],
    ['SDK 2.x', sdk2Program],
  ] as const) {
    test(`${name} on a pipe: reports that the process died`, async (t) => {
      const connection = await reached(t, program());
      const before = await started(t, listenMode, connection, NOTICE_UPDATED);
      await before.has(1);
      await connection.call('tools/call', { name: 'write', arguments: { text: 'second' } });
      await connection.call('tools/call', { name: 'announce', arguments: { what: NOTICE } });
      await before.has(2);
      await connection.call('tools/call', { name: 'exit' });
      assert.equal((await before.outcome).error?.code, 'unreachable');
      const after = await resumed(t, listenMode, connection, NOTICE_UPDATED, {
        mark: markOf(before),
      });
      assert.deepEqual(
        await after.has(2),
        ['gap unwatched', 'event first'],
        'a new process knows nothing of the second',
      );
    });
  }

  test('an application that closes the SDK client that it passed in ends the mode with an error', async (t) => {
    const { Client, StreamableHTTPClientTransport } = await import('@modelcontextprotocol/client');
    await using server = await startSdk1();
    const client = new Client({ name: 'theirs', version: '1' });
    await client.connect(new StreamableHTTPClientTransport(new URL(server.url)));
    const run = await started(t, listenMode, await reached(t, client), NOTICE_UPDATED);
    await run.has(1);
    await until(() => server.streams.size === 1);
    server.board.texts.set(NOTICE, 'second');
    await server.announce({ uri: NOTICE });
    await run.has(2);
    await client.close();
    assert.ok((await run.outcome).error);
  });
});
