/**
 * Tests servers that declare what they do not have, answer nonsense, or do not answer: each gives a
 * typed error, never a hang.
 */
import assert from 'node:assert/strict';
import { createServer, type IncomingMessage } from 'node:http';
import type { AddressInfo } from 'node:net';
import { describe, test, type TestContext } from 'vitest';
import { Client } from '@modelcontextprotocol/client';
import { InMemoryTransport } from '@modelcontextprotocol/sdk/inMemory.js';
import { Server } from '@modelcontextprotocol/sdk/server/index.js';
import { ListToolsRequestSchema } from '@modelcontextprotocol/sdk/types.js';
import { listenMode } from '../../../../src/client/follow/modes/plain/listen.ts';
import { readMode } from '../../../../src/client/follow/modes/plain/read.ts';
import type { Mode } from '../../../../src/client/follow/types.ts';
import { type Board, NOTICE } from '../../../interop/peers/servers/board.ts';
import { startSdk1 } from '../../../interop/peers/servers/sdk1.ts';
import { startSdk2 } from '../../../interop/peers/servers/sdk2.ts';
import { until } from '../../support.ts';
import { NOTICE_UPDATED, reached, started, TOOLS_CHANGED, type RunOptions } from './support.ts';

const NEVER = new Promise<never>(() => undefined);
const MIB = 1024 * 1024;
/** Also the time that an answer may take. */
const SHORT: RunOptions = { tuning: { silenceMs: 300 } };

/** The error of a mode that ended without an event. */
async function failure(
  t: TestContext,
  mode: Mode,
  url: string,
  selection = NOTICE_UPDATED,
  options: RunOptions = {},
): Promise<unknown[]> {
  const run = await started(t, mode, await reached(t, { url }), selection, options);
  const { error } = await run.outcome;
  assert.deepEqual(run.words(), []);
  return [error?.code, error?.reason];
}

describe('a server that does not keep what it declares', () => {
  test('refuses resources/subscribe', async (t) => {
    await using server = await startSdk1();
    server.board.replaced.set('resources/subscribe', () => {
      throw Object.assign(new Error('no'), { code: -32601 });
    });
    assert.deepEqual(await failure(t, listenMode, server.url), [
      'not_supported',
      'method_not_found',
    ]);
  });

  test('has no stream for its sessions', async (t) => {
    await using server = await startSdk1({ stream: false });
    const connection = await reached(t, server);
    const run = await started(t, listenMode, connection, NOTICE_UPDATED);
    const { error } = await run.outcome;
    assert.deepEqual([error?.code, error?.reason], ['not_supported', 'no_stream']);
    assert.equal(server.board.count('resources/subscribe'), 0);
  });

  test('SDK 2.x without sessions, by handshake: announces changes that it cannot send', async (t) => {
    await using server = await startSdk2();
    const run = await started(
      t,
      listenMode,
      await reached(t, server, { protocol: '2025-11-25' }),
      TOOLS_CHANGED,
    );
    const { error } = await run.outcome;
    assert.deepEqual([error?.code, error?.reason], ['not_supported', 'no_stream']);
  });
});

/** A scripted server of 2026-07-28: the value of `answers` is sent unchanged; undefined = never. */
async function byHand(
  t: TestContext,
  answers: (method: string, id: unknown, params: any) => object[] | undefined,
  end = true,
): Promise<string> {
  const capabilities = {
    resources: { subscribe: true, listChanged: true },
    tools: { listChanged: true },
  };
  const server = createServer((request, response) => {
    void body(request).then(({ id, method, params }) => {
      const messages =
        method === 'server/discover'
          ? [
              result(id, {
                supportedVersions: ['2026-07-28'],
                capabilities,
                ttlMs: 0,
                cacheScope: 'public',
              }),
            ]
          : answers(method, id, params);
      response.writeHead(200, { 'content-type': 'text/event-stream' }).flushHeaders();
      for (const message of messages ?? []) response.write(`data: ${JSON.stringify(message)}\n\n`);
      if (messages !== undefined && (end || method !== 'subscriptions/listen')) response.end();
    });
  }).listen(0, '127.0.0.1');
  await new Promise((resolve) => {
    server.once('listening', resolve);
  });
  t.onTestFinished(() => {
    server.close();
    server.closeAllConnections();
  });
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}/mcp`;
}

async function body(
  request: IncomingMessage,
): Promise<{ id: unknown; method: string; params: any }> {
  let text = '';
  for await (const chunk of request.setEncoding('utf8')) text += chunk as string;
  return JSON.parse(text) as { id: unknown; method: string; params: any };
}

const result = (id: unknown, value: object): object => ({
  jsonrpc: '2.0',
  id,
  result: { resultType: 'complete', ...value },
});
const acknowledged = (id: unknown, notifications: object): object => ({
  jsonrpc: '2.0',
  method: 'notifications/subscriptions/acknowledged',
  params: { notifications, _meta: { 'io.modelcontextprotocol/subscriptionId': id } },
});
const contents = (text: string): object => ({
  contents: [{ uri: NOTICE, text }],
  ttlMs: 0,
  cacheScope: 'private',
});

describe('subscriptions/listen, scripted', () => {
  const LISTEN = 'subscriptions/listen';
  const cases: readonly [string, Parameters<typeof byHand>[1], boolean, string, string][] = [
    [
      'acknowledges nothing',
      (method, id) => (method === LISTEN ? [acknowledged(id, {})] : []),
      false,
      'not_supported',
      'not_honored',
    ],
    [
      'acknowledges another resource',
      (method, id) =>
        method === LISTEN ? [acknowledged(id, { resourceSubscriptions: ['board://other'] })] : [],
      false,
      'not_supported',
      'not_honored',
    ],
    [
      'acknowledges something other than an object',
      (method, id) =>
        method === LISTEN
          ? [
              {
                ...acknowledged(id, {}),
                params: {
                  notifications: 7,
                  _meta: { 'io.modelcontextprotocol/subscriptionId': id },
                },
              },
            ]
          : [],
      false,
      'not_supported',
      'not_honored',
    ],
    [
      'ends it at once, without an error',
      (method, id) => (method === LISTEN ? [result(id, {})] : []),
      true,
      'not_supported',
      'not_honored',
    ],
    [
      'never acknowledges',
      (method) => (method === LISTEN ? undefined : []),
      false,
      'timeout',
      'acknowledgement',
    ],
    [
      'does not know the method',
      (_, id) => [{ jsonrpc: '2.0', id, error: { code: -32601, message: 'no' } }],
      true,
      'not_supported',
      'method_not_found',
    ],
  ];
  for (const [name, answers, end, code, reason] of cases) {
    test(name, async (t) => {
      assert.deepEqual(
        await failure(t, listenMode, await byHand(t, answers, end), NOTICE_UPDATED, SHORT),
        [code, reason],
      );
    });
  }

  test('a stream that breaks off is an error; one that ends normally ends the mode', async (t) => {
    for (const inGoodOrder of [false, true]) {
      const url = await byHand(t, (method, id, params) =>
        method === LISTEN
          ? [acknowledged(id, params.notifications), ...(inGoodOrder ? [result(id, {})] : [])]
          : [result(id, contents('first'))],
      );
      const run = await started(t, listenMode, await reached(t, { url }), NOTICE_UPDATED);
      const { error } = await run.outcome;
      assert.equal(error?.code, inGoodOrder ? undefined : 'unreachable');
    }
  });
});

describe('contents and lists', () => {
  const read = async (
    t: TestContext,
    replace: (board: Board) => void,
    options?: RunOptions,
    selection = NOTICE_UPDATED,
  ): Promise<unknown[]> => {
    await using server = await startSdk1();
    replace(server.board);
    return await failure(t, readMode, server.url, selection, options);
  };
  const text = (size: number) => (): object => ({
    contents: [{ uri: NOTICE, text: 'x'.repeat(size) }],
  });

  test('1 MB is read, more than 4 MiB is rejected', async (t) => {
    await using server = await startSdk1();
    server.board.replaced.set('resources/read', text(1_000_000));
    const run = await started(t, readMode, await reached(t, server), NOTICE_UPDATED);
    await run.has(1);
    server.board.replaced.set('resources/read', text(4 * MIB));
    const { error } = await run.outcome;
    assert.deepEqual([error?.code, error?.reason], ['not_supported', 'too_large']);
  });

  test('a list of more than 4 MiB is rejected before it has ended', async (t) => {
    let pages = 0;
    const page = (): object => ({
      tools: [
        { name: `t${pages++}`, description: 'x'.repeat(MIB), inputSchema: { type: 'object' } },
      ],
      nextCursor: String(pages),
    });
    assert.deepEqual(
      await read(t, (board) => board.replaced.set('tools/list', page), {}, TOOLS_CHANGED),
      ['not_supported', 'too_large'],
    );
    assert.ok(pages < 6);
  });

  test('never answers', async (t) => {
    assert.deepEqual(
      await read(t, (board) => board.replaced.set('resources/read', () => NEVER), SHORT),
      ['timeout', undefined],
    );
  });

  test('stops at once when asked, even while it waits for an answer', async (t) => {
    await using server = await startSdk1();
    server.board.replaced.set('resources/read', () => NEVER);
    for (const mode of [readMode, listenMode]) {
      const before = server.board.count('resources/read');
      const run = await started(t, mode, await reached(t, server), NOTICE_UPDATED);
      await until(() => server.board.count('resources/read') > before);
      run.stop();
      assert.equal((await run.outcome).error?.message, 'stopped');
    }
  });

  for (const [name, [method, answer], selection] of [
    [
      'contents that are not an array',
      ['resources/read', () => ({ contents: 'first' })],
      NOTICE_UPDATED,
    ],
    ['no contents', ['resources/read', () => ({})], NOTICE_UPDATED],
    [
      'contents that are not objects',
      ['resources/read', () => ({ contents: [1] })],
      NOTICE_UPDATED,
    ],
    ['a list that is not a list', ['tools/list', () => ({ tools: {} })], TOOLS_CHANGED],
    [
      'a cursor that is not a string',
      ['tools/list', () => ({ tools: [], nextCursor: 7 })],
      TOOLS_CHANGED,
    ],
    [
      'endless nesting',
      [
        'resources/read',
        () => ({ contents: [JSON.parse(`${'{"a":'.repeat(100)}1${'}'.repeat(100)}`)] }),
      ],
      NOTICE_UPDATED,
    ],
  ] as const) {
    test(name, async (t) => {
      assert.deepEqual(
        await read(t, (board) => board.replaced.set(method, answer), {}, selection),
        ['peer_misbehaved', 'result'],
      );
    });
  }

  for (const [name, nextCursor] of [
    ['the same page again and again', () => 'again'],
    ['endless pages', (page: number) => String(page)],
  ] as const) {
    test(`an endless list: ${name}`, async (t) => {
      let pages = 0;
      // In memory, since a thousand pages over HTTP take too long.
      const server = new Server({ name: 'endless', version: '1' }, { capabilities: { tools: {} } });
      server.setRequestHandler(ListToolsRequestSchema, () => ({
        tools: [],
        nextCursor: nextCursor(++pages),
      }));
      const [near, far] = InMemoryTransport.createLinkedPair();
      await server.connect(far);
      const client = new Client({ name: 'theirs', version: '1' });
      await client.connect(near);
      t.onTestFinished(() => client.close());
      const { error } = await (
        await started(t, readMode, await reached(t, client), TOOLS_CHANGED)
      ).outcome;
      assert.deepEqual([error?.code, error?.reason], ['peer_misbehaved', 'pages']);
      assert.ok(pages <= 1000);
    });
  }

  test('an unknown resource gives the error of the server, with its code', async (t) => {
    const [code] = await read(t, (board) =>
      board.replaced.set('resources/read', () => {
        throw Object.assign(new Error('no'), { code: 4711 });
      }),
    );
    assert.equal(code, 4711);
  });
});
