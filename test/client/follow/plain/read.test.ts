/**
 * Tests following by repeated reads: every change is noticed sooner or later, however little the
 * server announces.
 */
import assert from 'node:assert/strict';
import { describe, test } from 'vitest';
import { pauseAfter, readMode } from '../../../../src/client/follow/modes/plain/read.ts';
import { NOTICE } from '../../../interop/peers/servers/board.ts';
import { sdk1Program, startSdk1 } from '../../../interop/peers/servers/sdk1.ts';
import { startSdk2 } from '../../../interop/peers/servers/sdk2.ts';
import { until } from '../../support.ts';
import { markOf, NOTICE_UPDATED, reached, started, TOOLS_CHANGED } from './support.ts';

describe('read', () => {
  for (const [name, start] of [
    ['SDK 1.x', startSdk1],
    ['SDK 2.x', startSdk2],
  ] as const) {
    test(`${name}: notices changes of a resource and a list without notifications`, async (t) => {
      await using server = await start();
      server.board.capabilities = { resources: {}, tools: {} };
      const connection = await reached(t, server);
      const [notice, tools] = [
        await started(t, readMode, connection, NOTICE_UPDATED),
        await started(t, readMode, connection, TOOLS_CHANGED),
      ];
      await Promise.all([notice.has(1), tools.has(1)]);
      server.board.texts.set(NOTICE, 'second');
      server.board.tools.pop();
      assert.deepEqual(await notice.has(2), ['mark', 'event second']);
      assert.deepEqual(await tools.has(2), ['mark', 'event status,unmarked,write,announce']);
      server.board.texts.set(NOTICE, 'first');
      assert.deepEqual(
        await notice.has(3),
        ['mark', 'event second', 'event first'],
        'changing back is a change',
      );
      const looks = server.board.count('resources/read');
      await until(() => server.board.count('resources/read') > looks + 3);
      assert.equal(notice.yields.length, 3, 'an equal value is not a change');
    });
  }

  test('notices a change on a pipe', async (t) => {
    const connection = await reached(t, sdk1Program());
    const run = await started(t, readMode, connection, NOTICE_UPDATED);
    await run.has(1);
    await connection.call('tools/call', { name: 'write', arguments: { text: 'second' } });
    assert.deepEqual(await run.has(2), ['mark', 'event second']);
  });

  test('continues from a mark: reports the time between, and only a difference is an event', async (t) => {
    await using server = await startSdk2();
    const connection = await reached(t, server);
    const before = await started(t, readMode, connection, NOTICE_UPDATED);
    await before.has(1);
    before.stop();
    await before.outcome;
    const mark = markOf(before);
    const same = await started(t, readMode, connection, NOTICE_UPDATED, { mark });
    assert.deepEqual(await same.has(1), ['gap unwatched']);
    server.board.texts.set(NOTICE, 'second');
    const other = await started(t, readMode, connection, NOTICE_UPDATED, { mark });
    assert.deepEqual(await other.has(2), ['gap unwatched', 'event second']);
  });

  test('does not read a result again while the server declares it fresh', async (t) => {
    await using server = await startSdk2();
    server.board.ttlMs = 700;
    const connection = await reached(t, server);
    const runs = [
      await started(t, readMode, connection, NOTICE_UPDATED),
      await started(t, readMode, connection, TOOLS_CHANGED),
    ];
    for (const run of runs) await run.has(1);
    const seenAt = Date.now();
    server.board.texts.set(NOTICE, 'second');
    await runs[0]!.has(2);
    assert.ok(Date.now() - seenAt > 400, 'a read while the result was still fresh');
    assert.ok(server.board.count('resources/read') <= 3);
  });

  test('waits for ttlMs within bounds, and for pollMs without a ttlMs', () => {
    const tuning = { pollMs: 30_000, pollFloorMs: 1000 };
    for (const [ttlMs, expected] of [
      [undefined, 30_000],
      [0, 30_000],
      [1, 1000],
      [5000, 5000],
      [60_000, 60_000],
      [Number.MAX_SAFE_INTEGER, 86_400_000],
    ] as const) {
      assert.equal(
        pauseAfter(ttlMs === undefined ? {} : { ttlMs }, tuning),
        expected,
        `ttlMs ${ttlMs}`,
      );
    }
    assert.equal(
      pauseAfter({}, { pollMs: 10, pollFloorMs: 1000 }),
      1000,
      'the minimum applies to the application as well',
    );
  });
});
