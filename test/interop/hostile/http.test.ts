/** Tests peers whose JSON-RPC or HTTP is wrong. */
import assert from 'node:assert/strict';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { describe, test } from 'vitest';
import { inspect } from 'node:util';
import { triggersClient } from '../../../src/client/client.ts';
import { connect } from '../../../src/client/sdk/connection.ts';
import { ANSWERED, HostilePeer, pause, Refused, type Call, type Hook, type Json } from './peer.ts';
import { ALL, BOTH_ERAS, testRows, TOKEN, within, type Row } from './run-row.ts';

const JSON_TYPE = 'application/json';
const pulled = (hook: Hook): Pick<Row, 'calls' | 'drains'> => ({
  drains: ['pull'],
  calls: { 'triggers/pull': hook },
});
const read = (hook: Hook): Pick<Row, 'calls'> => ({
  calls: { 'triggers/pull': hook, 'triggers/stream': hook },
});
const answer =
  (make: (call: Call, honest: Json) => Json): Hook =>
  async (call) =>
    call.send(
      200,
      JSON_TYPE,
      JSON.stringify(make(call, { resultType: 'complete', ...(await call.honest()) })),
    );
const status =
  (code: number, type = 'text/html', body = '<h1>no</h1>', headers = {}): Hook =>
  ({ send }) =>
    send(code, type, body, headers);
const SHORT = 250;

/** The whole message in place of the answer to a pull. */
const messages: readonly [string, (call: Call, result: Json) => Json, string][] = [
  [
    'the id of another request',
    ({ id }, result) => ({ jsonrpc: '2.0', id: Number(id) + 1000, result }),
    'waits timeout',
  ],
  [
    'the id as a string',
    ({ id }, result) => ({ jsonrpc: '2.0', id: `x${String(id)}`, result }),
    'waits timeout',
  ],
  ['no id', (_call, result) => ({ jsonrpc: '2.0', result }), 'peer_misbehaved'],
  ['the id null', (_call, result) => ({ jsonrpc: '2.0', id: null, result }), 'peer_misbehaved'],
  ['the id an object', (_call, result) => ({ jsonrpc: '2.0', id: {}, result }), 'peer_misbehaved'],
  ['version 1.0', ({ id }, result) => ({ jsonrpc: '1.0', id, result }), 'peer_misbehaved'],
  ['no version', ({ id }, result) => ({ id, result }), 'peer_misbehaved'],
  ['neither result nor error', ({ id }) => ({ jsonrpc: '2.0', id }), 'peer_misbehaved'],
  [
    'result and error',
    ({ id }, result) => ({ jsonrpc: '2.0', id, result, error: { code: -32603, message: 'no' } }),
    'peer_misbehaved',
  ],
  ['a result that is null', ({ id }) => ({ jsonrpc: '2.0', id, result: null }), 'peer_misbehaved'],
  [
    'a result that is a list',
    ({ id }, result) => ({ jsonrpc: '2.0', id, result: [result] }),
    'peer_misbehaved',
  ],
  [
    'a result that is a string',
    ({ id }) => ({ jsonrpc: '2.0', id, result: 'fine' }),
    'peer_misbehaved',
  ],
  [
    'an error without a code',
    ({ id }) => ({ jsonrpc: '2.0', id, error: { message: 'no' } }),
    'peer_misbehaved',
  ],
  [
    'an error with a code as a string',
    ({ id }) => ({ jsonrpc: '2.0', id, error: { code: 'E', message: 'no' } }),
    'peer_misbehaved',
  ],
  [
    'an error with a fractional code',
    ({ id }) => ({ jsonrpc: '2.0', id, error: { code: -32602.5, message: 'no' } }),
    'peer_misbehaved',
  ],
  [
    'an error without a message',
    ({ id }) => ({ jsonrpc: '2.0', id, error: { code: -32603 } }),
    'peer_misbehaved',
  ],
  [
    'a request in place of an answer',
    ({ id }) => ({ jsonrpc: '2.0', id, method: 'ping' }),
    'waits timeout',
  ],
  [
    'a notification in place of an answer',
    () => ({ jsonrpc: '2.0', method: 'notifications/message', params: { level: 'info', data: 1 } }),
    'waits timeout',
  ],
  ['an empty batch', () => [], 'waits timeout'],
  ['a list of numbers', () => [1, 2], 'peer_misbehaved'],
  ['a number', () => 42, 'peer_misbehaved'],
  ['null', () => null, 'peer_misbehaved'],
];
/** Wrong in form, yet everything is there. */
const tolerated: readonly [string, (call: Call, result: Json) => Json][] = [
  ['a batch of one', ({ id }, result) => [{ jsonrpc: '2.0', id, result }]],
  [
    'the answer twice',
    ({ id }, result) => [
      { jsonrpc: '2.0', id, result },
      { jsonrpc: '2.0', id, result },
    ],
  ],
  [
    'the answer, and then an error',
    ({ id }, result) => [
      { jsonrpc: '2.0', id, result },
      { jsonrpc: '2.0', id, error: { code: -32603, message: 'no' } },
    ],
  ],
  [
    'the answer to a request never made, before the real one',
    ({ id }, result) => [
      { jsonrpc: '2.0', id: 999_999, result: {} },
      { jsonrpc: '2.0', id, result },
    ],
  ],
];
const errors: readonly [string, Refused, string][] = [
  ['an unknown error', new Refused(4711, { any: 'thing' }), 'RemoteError 4711'],
  [
    'an error of this extension with other data',
    new Refused(-32602, { kind: 'novelty' }),
    'RemoteError -32602',
  ],
  [
    'a conflict without an epoch',
    new Refused(-32602, { kind: 'epoch', head: 1, acked: 0 }),
    'RemoteError -32602',
  ],
  [
    'a conflict whose head is a string',
    new Refused(-32602, { kind: 'position', epoch: 'e'.repeat(22), head: '1', acked: 0 }),
    'RemoteError -32602',
  ],
  [
    'a message of a megabyte',
    new Refused(4711, undefined, 'x'.repeat(1_000_000)),
    'RemoteError 4711',
  ],
  [
    'a message of one megabyte',
    new Refused(4711, undefined, `Bearer ${TOKEN} is not mine`),
    'RemoteError 4711',
  ],
  [
    'the token in the data',
    new Refused(4711, { got: { headers: [`bearer ${TOKEN}`] }, [TOKEN]: TOKEN }),
    'RemoteError 4711',
  ],
  [
    'the token in an error of this extension',
    new Refused(-32602, { kind: 'invalid', path: `/${TOKEN}`, expected: TOKEN }, TOKEN),
    'InvalidParams invalid',
  ],
];
const statuses: readonly [number, string][] = [
  [201, 'peer_misbehaved'],
  [204, 'peer_misbehaved'],
  [300, 'peer_misbehaved'],
  [304, 'peer_misbehaved'],
  [400, 'peer_misbehaved'],
  [401, 'unauthorized'],
  [402, 'peer_misbehaved'],
  [403, 'unauthorized'],
  [405, 'peer_misbehaved'],
  [410, 'peer_misbehaved'],
  [429, 'waits unreachable'],
  [500, 'waits unreachable'],
  [502, 'waits unreachable'],
  [503, 'waits unreachable'],
  [504, 'waits unreachable'],
];

describe('JSON-RPC', { concurrent: true }, () => {
  testRows([
    ...messages.map(([name, make, always]): Row => ({
      name,
      ...pulled(answer(make)),
      ...(always === 'waits timeout' ? { timeoutMs: SHORT } : {}),
      always,
    })),
    ...tolerated.map(([name, make]): Row => ({ name, ...pulled(answer(make)), always: 'all' })),
    ...errors.map(([name, refused, always]): Row => ({
      name,
      ...read(() => {
        throw refused;
      }),
      always,
      healed: false,
    })),
    {
      name: 'an error with deeply nested data',
      ...read(({ id, send }) =>
        send(
          200,
          JSON_TYPE,
          `{"jsonrpc":"2.0","id":${id},"error":{"code":4711,"message":"no","data":${'['.repeat(50_000)}${']'.repeat(50_000)}}}`,
        ),
      ),
      always: 'RemoteError 4711',
      healed: false,
    },
    {
      name: 'a result that asks for input',
      ...read(async (call) => ({
        ...(call.method === 'triggers/pull' ? await call.honest() : {}),
        resultType: 'input_required',
      })),
      always: 'peer_misbehaved',
    },
    {
      name: 'a result of an unknown type',
      ...read(() => ({ resultType: 'partial' })),
      always: 'peer_misbehaved',
    },
    {
      name: 'an answer on the stream to a request never made',
      drains: ['stream'],
      calls: {
        'triggers/stream': async (call) => {
          const events = call.events();
          for (const id of [999_999, 'x', null])
            await events.message({ jsonrpc: '2.0', id, result: {} });
          for (const from of [0, 2, 4]) await events.delivery(call.peer.delivery(from));
          return new Promise(() => undefined);
        },
      },
      always: 'all',
    },
    {
      name: 'the result of a stream, and further messages',
      drains: ['stream'],
      calls: {
        'triggers/stream': async (call) => {
          const events = call.events();
          const from = call.params.after.sequence;
          await events.delivery(call.peer.delivery(from));
          await events.result();
          await events.delivery(call.peer.delivery(from + 2));
          return events.end();
        },
      },
      always: 'waits unreachable ended',
      read: ALL,
    },
    {
      name: 'an error on an open stream',
      drains: ['stream'],
      calls: {
        'triggers/stream': async (call) => {
          const events = call.events();
          await events.delivery(call.peer.delivery(call.params.after.sequence));
          await events.message({
            jsonrpc: '2.0',
            id: call.id,
            error: { code: -32603, message: 'no' },
          });
          return events.end();
        },
      },
      always: 'waits InternalError',
      read: ALL,
    },
    {
      name: 'requests to the client in between',
      drains: ['stream'],
      calls: {
        'triggers/stream': async (call) => {
          const events = call.events();
          for (const method of [
            'ping',
            'sampling/createMessage',
            'roots/list',
            '__proto__',
            'toString',
          ])
            await events.message({ jsonrpc: '2.0', id: `r-${method}`, method, params: {} });
          for (const from of [0, 2, 4]) await events.delivery(call.peer.delivery(from));
          return new Promise(() => undefined);
        },
      },
      always: 'all',
      eras: BOTH_ERAS,
    },
  ]);
});

describe('HTTP', { concurrent: true }, () => {
  testRows([
    ...statuses.map(([code, always]): Row => ({
      name: `HTTP ${code} with an error page`,
      eras: BOTH_ERAS,
      ...read(status(code)),
      always,
      healed: always.startsWith('unauthorized') ? false : ALL,
    })),
    {
      name: 'HTTP 404 with an error page',
      eras: BOTH_ERAS,
      ...read(status(404)),
      always: { '2026-07-28': 'not_supported http_404', '2025-11-25': 'waits unreachable' },
      healed: false,
    },
    {
      name: 'HTTP 200 with an error page',
      eras: BOTH_ERAS,
      ...read(status(200)),
      always: 'peer_misbehaved',
    },
    { name: 'HTTP 200 without a media type', ...read(status(200, '')), always: 'peer_misbehaved' },
    {
      name: 'HTTP 200 and JSON that is not JSON',
      ...read(status(200, JSON_TYPE, `Bearer ${TOKEN}`)),
      always: 'peer_misbehaved',
    },
    {
      name: 'HTTP 200 and nothing',
      ...read(status(200, JSON_TYPE, '')),
      always: 'peer_misbehaved',
    },
    {
      name: 'HTTP 202',
      ...read(status(202)),
      drains: ['stream'],
      tuning: { silenceMs: SHORT },
      always: 'waits timeout silence',
    },
    {
      name: 'HTTP 202',
      ...read(status(202)),
      drains: ['pull'],
      timeoutMs: SHORT,
      always: 'waits timeout',
    },
    {
      name: 'HTTP 429 for a year',
      ...read(status(429, 'text/plain', '', { 'retry-after': '31536000' })),
      always: 'waits unreachable',
    },
    {
      name: 'HTTP 503 with the token in the page',
      ...read(({ headers, send }) =>
        send(503, 'text/html', `<pre>${JSON.stringify(headers)}</pre>`),
      ),
      always: 'waits unreachable',
      healed: ALL,
    },
    {
      name: 'HTTP 401 with the token in a challenge',
      ...read(
        status(401, 'text/plain', TOKEN, {
          'www-authenticate': `Bearer error="invalid_token", error_description="${TOKEN}"`,
        }),
      ),
      always: 'unauthorized',
      healed: false,
    },
    {
      name: 'HTTP 403 for a scope named like the token',
      ...read(
        status(403, 'text/plain', TOKEN, {
          'www-authenticate': `Bearer error="insufficient_scope", scope="${TOKEN}", error_description="${TOKEN}"`,
        }),
      ),
      always: 'unauthorized',
      healed: false,
    },
    {
      name: 'HTTP 200 of a media type named like the token',
      ...read(status(200, `text/${TOKEN}`)),
      always: 'peer_misbehaved',
    },
    {
      name: 'no answer but the end of the connection, before the body is read',
      ...read(({ response }) => (response.socket?.resetAndDestroy(), ANSWERED)),
      always: 'waits unreachable',
    },
    {
      name: 'invalid gzip',
      ...read(
        status(200, JSON_TYPE, 'not compressed', {
          'content-encoding': 'gzip',
        }),
      ),
      always: 'waits unreachable',
    },
    {
      name: 'a content length that is too long',
      ...read(
        ({ response }) => (
          response.writeHead(200, { 'content-type': JSON_TYPE, 'content-length': '1000000' }),
          response.write('{'),
          pause(5).then(() => (response.destroy(), ANSWERED))
        ),
      ),
      always: 'waits unreachable',
    },
  ]);

  for (const protocol of BOTH_ERAS) {
    for (const code of [301, 302, 303, 307, 308]) {
      test(`${protocol}: HTTP ${code} to another host is not followed, and that host never sees the token`, async () => {
        const seen: unknown[] = [];
        const other = createServer((request, response) => {
          seen.push(request.headers);
          response.end();
        });
        await new Promise<void>((resolve) => {
          other.listen(0, '127.0.0.1', resolve);
        });
        const location = `http://127.0.0.1:${(other.address() as AddressInfo).port}/mcp?${TOKEN}`;
        try {
          await using peer = await HostilePeer.start({
            calls: { 'triggers/list': status(code, 'text/plain', '', { location }) },
          });
          const client = triggersClient(
            await connect({ url: peer.url, token: TOKEN }, { protocol }),
          );
          const error: unknown = await within(client.list().catch((thrown: unknown) => thrown));
          assert.equal((error as { code?: unknown }).code, 'peer_misbehaved');
          assert.ok(!inspect(error, { depth: 12, showHidden: true }).includes(TOKEN));
          await client.close();
          assert.deepEqual(seen, []);
        } finally {
          other.closeAllConnections();
          other.close();
        }
      });
    }

    test(`${protocol}: circular redirects end`, async () => {
      await using peer = await HostilePeer.start({
        calls: { 'triggers/list': status(307, 'text/plain', '', { location: '/mcp' }) },
      });
      const client = triggersClient(await connect({ url: peer.url, token: TOKEN }, { protocol }));
      await within(assert.rejects(client.list(), { code: 'peer_misbehaved' }));
      assert.ok(peer.count('triggers/list') < 30, `${peer.count('triggers/list')} requests`);
      await client.close();
    });

    test(`${protocol}: a server that rejects every token gets one request per call`, async () => {
      await using peer = await HostilePeer.start({ calls: { 'triggers/list': status(401) } });
      let tokens = 0;
      const client = triggersClient(
        await connect({ url: peer.url, token: () => `${TOKEN}-${(tokens += 1)}` }, { protocol }),
      );
      await within(assert.rejects(client.list(), { code: 'unauthorized' }));
      assert.equal(peer.count('triggers/list'), 1);
      await client.close();
    });
  }

  test('a retry interval of zero or without end is kept within bounds', async () => {
    for (const retry of ['0', '1', '99999999999999']) {
      let opened = 0;
      await using peer = await HostilePeer.start({
        calls: {
          GET: async (call) => {
            opened += 1;
            const events = call.events();
            await events.raw(`id: ${opened}\nretry: ${retry}\n\n`);
            return events.end();
          },
        },
      });
      const startedAt = performance.now();
      const client = triggersClient(await connect({ url: peer.url }, { protocol: '2025-11-25' }));
      await within(
        (async () => {
          while (opened === 0) await pause(5);
        })(),
      );
      await pause(400);
      assert.ok(
        opened <= 1 + (performance.now() - startedAt) / 1000,
        `${opened} streams with retry: ${retry}`,
      );
      await client.close();
    }
  });
});
