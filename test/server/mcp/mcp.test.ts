/**
 * Tests the native binding on real SDK servers: it is installed once and completely, only typed
 * errors leave it, and streams end.
 */
import assert from 'node:assert/strict';
import { afterAll, beforeAll, describe, test } from 'vitest';
import { McpServer } from '@modelcontextprotocol/server';
import { EXTENSION_ID, REVISION } from '../../../spec-schema/draft/schema.ts';
import { SUBSCRIPTION_ID_META_KEY } from '../../../src/protocol/wire/envelope.ts';
import type { AttachableEngine } from '../../../src/server/mcp/sdk.ts';
import { attachTriggers } from '../../../src/server/mcp/triggers/install.ts';
import { triggersMethods } from '../../../src/server/mcp/triggers/methods.ts';
import type { Engine } from '../../../src/server/engine/verbs.ts';
import { check } from '../../../src/protocol/wire/validate.ts';
import {
  ask,
  alarm,
  messagesOf,
  modernEndpoint,
  pipe,
  settings,
  startEngine,
  token,
  until,
  type Message,
} from './harness.ts';

let engine: Engine;
beforeAll(async () => {
  engine = await startEngine();
});
afterAll(() => engine.close());

const SECRET = `whsec_${Buffer.alloc(32, 7).toString('base64')}`;
const select = [{ name: 'alarm.raised' }];
const alice = token({ iss: 'https://id', sub: 'alice' });
const result = async (response: Promise<Response>) =>
  (await messagesOf(await response)).at(-1)?.result ?? assert.fail('no result');

describe('attaching', () => {
  test('twice to one server is rejected', () => {
    const mcp = new McpServer({ name: 'test', version: '1' });
    attachTriggers(mcp, engine, settings);
    assert.throws(() => attachTriggers(mcp, engine, settings), /already has triggers/);
  });
  test('to a connected server is rejected', async () => {
    const { mcp, close } = await pipe(engine);
    assert.throws(() => attachTriggers(mcp, engine, settings), /before connecting/);
    await close();
  });
  test('over a handler of one of the methods is rejected and leaves the server unchanged', () => {
    const mcp = new McpServer({ name: 'test', version: '1' });
    mcp.server.setRequestHandler(
      'triggers/ack',
      {
        params: {
          '~standard': { version: 1, vendor: 'test', validate: (value: unknown) => ({ value }) },
        },
      },
      () => ({}),
    );
    assert.throws(() => attachTriggers(mcp, engine, settings));
    assert.doesNotThrow(() => mcp.server.assertCanSetRequestHandler('triggers/list'));
    assert.equal(mcp.server.getCapabilities().extensions, undefined);
  });
  test('keeps existing capabilities', async () => {
    const mcp = new McpServer(
      { name: 'test', version: '1' },
      { capabilities: { extensions: { 'com.example/x': { a: 1 } }, experimental: { y: {} } } },
    );
    attachTriggers(mcp, engine, settings);
    assert.deepEqual(Object.keys(mcp.server.getCapabilities().extensions ?? {}), [
      'com.example/x',
      EXTENSION_ID,
    ]);
    assert.deepEqual(Object.keys(mcp.server.getCapabilities().experimental ?? {}), [
      'y',
      EXTENSION_ID,
    ]);
  });
});

test('gives valid settings, the same in both eras [cap-extensions] [cap-experimental]', async () => {
  const { capabilities, close } = await pipe(engine, {
    ...settings,
    maxTtlMs: 5000,
    minTtlMs: 10,
    jwksUri: 'https://a.example/jwks',
  });
  const legacy = capabilities['experimental']?.[EXTENSION_ID];
  assert.deepEqual(legacy, {
    revision: REVISION,
    levels: ['log', 'stream'],
    options: [
      ...['conditionalReads', 'history', 'multiSelect', 'listChanged', 'trace'],
      'serverIdentity',
    ],
    minTtlMs: 10,
    maxTtlMs: 5000,
    jwksUri: 'https://a.example/jwks',
  });
  assert.ok(check('ServerCapability', legacy).ok);
  await close();
  const discovered = await result(ask(modernEndpoint(engine), 'server/discover'));
  assert.deepEqual(
    (discovered['capabilities'] as Record<string, Record<string, unknown>>)['extensions']?.[
      EXTENSION_ID
    ],
    {
      revision: REVISION,
      levels: ['log', 'stream'],
      options: ['conditionalReads', 'history', 'multiSelect', 'listChanged', 'trace'],
    },
  );
});

test('[subs-unsupported] rejects the parameters of levels and options that it does not declare, and names them', async () => {
  const { call, close } = await pipe(engine, { levels: ['log'], options: [] });
  const subscribed = await call('made', 'triggers/subscribe', { select, key: 'unsupported' });
  const { subscriptionId } = subscribed.result!;
  const url = 'https://callback.example/in';
  const requests: readonly (readonly [parameter: string, method: string, params: object])[] = [
    ['callback', 'update', { callback: { url, secret: SECRET } }],
    ['removeCallback', 'update', { removeCallback: true }],
    ['resume', 'update', { resume: true }],
    ['revokePrevious', 'update', { revokePrevious: true }],
    ['paused', 'update', { paused: false }],
    ['select', 'update', { select: [...select, ...select] }],
    ['ifNoneMatch', 'get', { ifNoneMatch: 'x' }],
    ['stream', 'stream', {}],
  ];
  for (const [parameter, method, params] of requests) {
    const answer = await call(`${method} ${parameter}`, `triggers/${method}`, {
      subscriptionId,
      ...params,
    });
    assert.deepEqual(
      [answer?.error?.code, answer?.error?.data],
      [-32026, { kind: 'feature', feature: parameter }],
      parameter,
    );
  }
  await close();
  const { call: callback, close: end } = await pipe(engine, {
    levels: ['log', 'callback'],
    options: [],
  });
  const refused = await callback('skip', 'triggers/subscribe', {
    select,
    key: 'skips',
    since: '2026-11-30T00:00:00.000Z',
    callback: { url, secret: SECRET, skipAfterMs: 1000 },
  });
  assert.deepEqual(refused?.error?.data, { kind: 'feature', feature: 'skipAfterMs' });
  await end();
});

test('makes every method of the table answer in both eras, and modern results are marked complete [cap-extensions] [cap-client-optional]', async () => {
  const handler = modernEndpoint(engine);
  const { call, close } = await pipe(engine);
  const asked = new Set<string>();
  for (const [era, one] of [
    [
      'modern',
      async (method: string, params: object) =>
        (await messagesOf(await ask(handler, method, params, alice))).at(-1),
    ],
    [
      'legacy',
      (method: string, params: object) =>
        call(`${method}-${asked.size}-${Math.random()}`, method, params),
    ],
  ] as const) {
    const expect = async (method: string, params: object) => {
      const message = await one(method, params);
      asked.add(`${era} ${method}`);
      assert.equal(
        message?.error,
        undefined,
        `${era} ${method}: ${JSON.stringify(message?.error)}`,
      );
      assert.equal(
        message?.result?.['resultType'],
        era === 'modern' ? 'complete' : undefined,
        `${era} ${method}`,
      );
      return message?.result ?? {};
    };
    await expect('triggers/list', {});
    const { subscriptionId, epoch } = await expect('triggers/subscribe', { key: 'k', select });
    await expect('triggers/update', { subscriptionId, ttlMs: 60_000 });
    await expect('triggers/get', { subscriptionId });
    await expect('triggers/subscriptions', {});
    await expect('triggers/pull', { subscriptionId });
    await expect('triggers/ack', { subscriptionId, position: { epoch, sequence: 0 } });
    const ending = expect('triggers/stream', { subscriptionId });
    await until(async () => (await engine.health()).streams === 1);
    await expect('triggers/unsubscribe', { subscriptionId });
    await ending;
  }
  assert.equal(asked.size, 2 * Object.keys(triggersMethods).length);
  await close();
});

describe('errors', () => {
  const failing = (thrown: unknown): AttachableEngine =>
    Object.assign(Object.create(engine) as AttachableEngine, { get: () => Promise.reject(thrown) });
  const id = 'a'.repeat(30);

  test('a wrong shape is reported before the principal is checked [gen-check-order]', async () => {
    const [message] = await messagesOf(
      await ask(modernEndpoint(engine), 'triggers/get', { subscriptionId: 7 }),
    );
    assert.partialDeepStrictEqual(message?.error, {
      code: -32602,
      data: { kind: 'invalid', path: '/subscriptionId' },
    });
  });
  test('HTTP without a verified subject is forbidden, not anonymous [iso-principal]', async () => {
    for (const authInfo of [undefined, token(undefined), token({ sub: 'alice' })]) {
      const [message] = await messagesOf(
        await ask(modernEndpoint(engine), 'triggers/subscriptions', {}, authInfo),
      );
      assert.partialDeepStrictEqual(message?.error, {
        code: -32024,
        data: { kind: 'authentication' },
      });
    }
  });
  test('a hook decides who the caller is', async () => {
    const handler = modernEndpoint(engine, {
      ...settings,
      caller: () => ({ principal: 'the hook' }),
    });
    await result(ask(handler, 'triggers/subscribe', { select, key: 'hooked' }));
    const own = await result(ask(handler, 'triggers/subscriptions'));
    assert.deepEqual(
      (own['subscriptions'] as { key: string }[]).map(({ key }) => key),
      ['hooked'],
    );
  });
  test('an unexpected failure is one fixed error, whatever was thrown; the log gets the cause [err-internal]', async () => {
    const texts = new Set<string>();
    const thrown = [
      new Error('canary'),
      new TypeError('canary'),
      { code: -32000, message: 'canary', data: 'canary' },
      'canary',
      undefined,
      null,
    ];
    const logged: unknown[] = [];
    const log = {
      debug() {},
      info() {},
      warn() {},
      error: (fields: object) => void logged.push((fields as { err: unknown }).err),
    };
    for (const one of thrown) {
      const response = await ask(
        modernEndpoint(failing(one), { ...settings, log }),
        'triggers/get',
        { subscriptionId: id },
        alice,
      );
      texts.add(await response.text());
    }
    assert.equal(texts.size, 1);
    assert.partialDeepStrictEqual(JSON.parse([...texts][0] ?? '') as Message, {
      error: { code: -32603 },
    });
    assert.ok(![...texts][0]?.includes('canary'));
    assert.deepEqual(logged, thrown);
  });
  test('a failing `ready` is an unexpected failure too', async () => {
    const handler = modernEndpoint(engine, {
      ...settings,
      ready: () => Promise.reject(new Error('canary')),
    });
    const text = await (await ask(handler, 'triggers/list', {}, alice)).text();
    assert.ok(text.includes('-32603') && !text.includes('canary'));
  });
});

describe('a stream', () => {
  const subscribe = async (handler: ReturnType<typeof modernEndpoint>) =>
    String(
      (
        await result(
          ask(handler, 'triggers/subscribe', { select, key: crypto.randomUUID() }, alice),
        )
      )['subscriptionId'],
    );

  test('ends with the empty result when the authorization expires [stream-auth-end] [stream-end]', async () => {
    const handler = modernEndpoint(engine);
    const subscriptionId = await subscribe(handler);
    const soon = token({ iss: 'https://id', sub: 'alice' }, Math.floor(Date.now() / 1000) + 2);
    const messages = await messagesOf(
      await ask(handler, 'triggers/stream', { subscriptionId }, soon),
    );
    const { _meta, ...rest } = messages.at(-1)?.result ?? {};
    assert.deepEqual(rest, { resultType: 'complete' });
    assert.ok(messages.length > 1);
  });

  test('carries the id of its request with its JSON type, a string or a number [stream-tag]', async () => {
    const { call, send, next, close } = await pipe(engine);
    const { subscriptionId } =
      (await call('s', 'triggers/subscribe', { select, key: 'tags' })).result ?? {};
    for (const id of [77, '77']) {
      await send({ id, method: 'triggers/stream', params: { subscriptionId } });
      const { method, params } = await next((message) => message.params?.['requestId'] === id);
      assert.equal(method, 'notifications/triggers/delivery');
      assert.equal(check('StreamDelivery', params).ok, true);
      assert.equal('_meta' in params!, false);
    }
    await close();
  });

  test('sends nothing after it was canceled, even if the transport would accept it [stream-cancel]', async () => {
    const { call, send, messages, next, close } = await pipe(engine);
    const { subscriptionId } =
      (await call('s', 'triggers/subscribe', { select, key: 'cancelled' })).result ?? {};
    await send({ id: 5, method: 'triggers/stream', params: { subscriptionId } });
    await next(({ method }) => method === 'notifications/triggers/delivery');
    await send({ method: 'notifications/cancelled', params: { requestId: 5 } });
    await until(async () => (await engine.health()).streams === 0);
    const before = messages.length;
    await engine.emit(alarm.event({ data: { house: '5' } }));
    await engine.settled();
    await call('g', 'triggers/get', { subscriptionId });
    assert.deepEqual(
      messages.slice(before).map(({ id }) => id),
      ['g'],
    );
    await close();
  });

  test('is released when its client is gone', async () => {
    const { call, send, next, close } = await pipe(engine);
    const { subscriptionId } =
      (await call('s', 'triggers/subscribe', { select, key: 'gone' })).result ?? {};
    await send({ id: 5, method: 'triggers/stream', params: { subscriptionId } });
    await next(({ method }) => method === 'notifications/triggers/delivery');
    await close();
    await until(async () => (await engine.health()).streams === 0);
  });
});

describe('list_changed [list-changed-send]', () => {
  const is = ({ method }: Message) => method === 'notifications/triggers/list_changed';

  test('reaches a session without a stream once, and nobody after it closed [list-changed-session]', async () => {
    const own = await startEngine();
    const { call, messages, next, close } = await pipe(own);
    await call('l', 'triggers/list', {});
    own.declare({ type: { ...alarm.type, name: 'alarm.broken' } });
    await next(is);
    await new Promise((resolve) => setTimeout(resolve, 20));
    assert.equal(messages.filter(is).length, 1);
    await close();
    await own.remove('alarm.broken');
    assert.equal(messages.filter(is).length, 1);
    await own.close();
  });

  test('does not reach a session that never used the extension [deg-none]', async () => {
    const own = await startEngine();
    const { messages, call, close } = await pipe(own);
    own.declare({ type: { ...alarm.type, name: 'alarm.broken' } });
    await call('p', 'ping', {});
    assert.deepEqual(
      messages.filter(({ method }) => method !== undefined),
      [],
    );
    await close();
    await own.close();
  });

  test('travels on an open stream, tagged, and then not on the session as well', async () => {
    const own = await startEngine();
    const { call, send, messages, next, close } = await pipe(own);
    const { subscriptionId } =
      (await call('s', 'triggers/subscribe', { key: 'k', select })).result ?? {};
    await send({ id: 9, method: 'triggers/stream', params: { subscriptionId } });
    await next(({ method }) => method === 'notifications/triggers/delivery');
    own.declare({ type: { ...alarm.type, name: 'alarm.broken' } });
    const { params } = await next(is);
    assert.deepEqual(params, { _meta: { [SUBSCRIPTION_ID_META_KEY]: 9 } });
    assert.equal(messages.filter(is).length, 1);
    await close();
    await own.close();
  });
});
