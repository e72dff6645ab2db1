/**
 * Tests the fallback modes as an application uses them: one loop, whatever the server lacks, that
 * reports its mode and guarantee.
 */
import assert from 'node:assert/strict';
import { describe, test, type TestContext } from 'vitest';
import { triggersClient } from '../../../../src/client/client.ts';
import {
  connect,
  type ConnectOptions,
  type Target,
} from '../../../../src/client/sdk/connection.ts';
import type { FollowItem, FollowOptions } from '../../../../src/client/follow/types.ts';
import { memoryLedger } from '../../../../src/protocol/ledger/ledger.ts';
import { freePort } from '../../../../scripts/demo/server-process.ts';
import { Board, NOTICE } from '../../../interop/peers/servers/board.ts';
import { startSdk1 } from '../../../interop/peers/servers/sdk1.ts';
import { startSdk2 } from '../../../interop/peers/servers/sdk2.ts';
import { until, within } from '../../support.ts';
import { NOTICE_UPDATED, QUICK, TOOLS_CHANGED } from './support.ts';

interface Loop {
  /** Describes the next item as text. */
  next(): Promise<string>;
  close(): Promise<void>;
}

async function follow(
  t: TestContext,
  target: Target,
  options: FollowOptions,
  how?: ConnectOptions,
): Promise<Loop> {
  const client = triggersClient(await connect(target, how));
  t.onTestFinished(() => client.close());
  const following = client.follow({
    ...options,
    tuning: { ...QUICK, backoff: { baseMs: 10, maxMs: 100 }, ...options.tuning },
  });
  t.onTestFinished(() => following.close());
  const items = following[Symbol.asyncIterator]();
  return {
    async next() {
      const { value } = await within(items.next(), 30_000);
      assert.ok(value, 'the iteration ended');
      if (value.type === 'mode')
        assert.deepEqual(
          following.guarantee,
          value.to,
          'the reported guarantee is the current one',
        );
      return wordsOf(value);
    },
    close: () => following.close(),
  };
}

function wordsOf(item: FollowItem): string {
  switch (item.type) {
    case 'event':
      return `${item.mode}: ${item.event.name} ${item.number.by === 'client' ? `${item.number.count}.` : 'numbered by the server'}`;
    case 'gap':
      return `${item.mode}: gap ${item.reason}`;
    case 'mode':
      return `${item.reason} ${item.to.mode}: ${item.to.loss}${item.error === undefined ? '' : ` after ${(item.error as { reason?: string }).reason}`}`;
    default:
      return item.type;
  }
}

describe('following a server without triggers', () => {
  test('[deg-say, deg-no-invented-numbers] follows change notifications, without numbers of the server', async (t) => {
    await using server = await startSdk2();
    const loop = await follow(t, server, { select: [NOTICE_UPDATED] });
    assert.equal(await loop.next(), 'chosen listen: latest state only');
    const news = loop.next();
    await until(() => server.board.count('resources/read') > 0);
    server.board.texts.set(NOTICE, 'second');
    await server.announce({ uri: NOTICE });
    assert.equal(await news, 'listen: mcp.resource.updated 1.');
  });

  test('[deg-say] reads instead, with the reason, when the server declares changes that it cannot announce', async (t) => {
    await using server = await startSdk2();
    const loop = await follow(t, server, { select: [TOOLS_CHANGED] }, { protocol: '2025-11-25' });
    assert.equal(await loop.next(), 'chosen listen: latest state only');
    assert.equal(await loop.next(), 'refused read: latest state only after no_stream');
    const news = loop.next();
    await until(() => server.board.count('tools/list') > 2);
    server.board.tools.push({ name: 'added' });
    assert.equal(await news, 'read: mcp.tools.list_changed 1.');
  });

  test('[deg-say] downgrades with a gap when the server restarts without subscriptions, and upgrades when it has them again', async (t) => {
    const [board, port, declared] = [new Board(), await freePort(), new Board().capabilities];
    const first = await startSdk1({ board, port });
    const loop = await follow(t, first, { select: [NOTICE_UPDATED], tuning: { reprobeMs: 300 } });
    assert.equal(await loop.next(), 'chosen listen: latest state only');
    const change = loop.next();
    await until(() => board.count('resources/read') > 0);
    board.texts.set(NOTICE, 'second');
    await first.announce({ uri: NOTICE });
    assert.equal(await change, 'listen: mcp.resource.updated 1.');

    const down = loop.next();
    await first[Symbol.asyncDispose]();
    board.capabilities = { resources: {} };
    board.texts.set(NOTICE, 'third');
    const second = await startSdk1({ board, port });
    assert.match(await down, /^downgraded read: latest state only/);
    assert.equal(await loop.next(), 'read: gap unwatched');
    assert.equal(await loop.next(), 'read: mcp.resource.updated 2.');

    const up = loop.next();
    await second[Symbol.asyncDispose]();
    board.capabilities = declared;
    await using third = await startSdk1({ board, port });
    const items = [await up];
    // The read mode may or may not yield before the better mode is noticed.
    while (!items.at(-1)!.startsWith('upgraded')) items.push(await loop.next());
    assert.match(items.at(-1)!, /^upgraded listen: latest state only/);
    assert.ok(
      items.slice(0, -1).every((item) => item === 'read: gap unwatched'),
      items.join(),
    );
    assert.ok(third.url);
  });

  test('follows a named tool; a restarted application gets the gap and the change', async (t) => {
    await using server = await startSdk1();
    const ledger = memoryLedger();
    const options: FollowOptions = {
      select: [{ name: 'notice.posted' }],
      otherwise: { 'notice.posted': { tool: { name: 'status' } } },
      ledger,
    };
    const before = await follow(t, server, options, { server: 'board' });
    assert.equal(await before.next(), 'chosen tool: latest state only');
    const news = before.next();
    await until(() => server.board.count('tools/call') > 0);
    server.board.texts.set(NOTICE, 'second');
    assert.equal(await news, 'tool: mcp.tool.result 1.');
    // Leaves in the middle: the last item handed out is not finished.
    await before.close();
    server.board.texts.set(NOTICE, 'third');
    const after = await follow(t, server, options, { server: 'board' });
    const told = [await after.next(), await after.next(), await after.next()];
    assert.deepEqual(told, [
      'chosen tool: latest state only',
      'tool: gap unwatched',
      'tool: mcp.tool.result 1.',
    ]);
  });
});
