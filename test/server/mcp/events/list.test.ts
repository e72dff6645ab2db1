/** Tests what is declared and listed, in both eras, and who is notified when it changes. */
import assert from 'node:assert/strict';
import { describe, test } from 'vitest';
import { createMcpHandler, InMemoryTransport, McpServer } from '@modelcontextprotocol/server';
import { serveStdio } from '@modelcontextprotocol/server/stdio';
import {
  attachEvents,
  attachResources,
  defineTrigger,
  withFeeds,
} from 'mcp-triggers-experimental/server';
import { startEngine, token, until, type Message } from '../harness.ts';
import {
  box,
  EVENTS,
  eventsWorld,
  Frames,
  mail,
  number,
  TAG,
  TRIGGERS,
  type Json,
} from './world.ts';

const extra = defineTrigger<object, { n: number }>({
  name: 'extra.happened',
  title: 'Extra',
  description: 'Something else happened.',
  input: { type: 'object' },
  payload: { type: 'object', properties: { n: { type: 'integer' } } },
});

describe('the declaration of a server', () => {
  test('has the extension under its identifier and under the older key, with listChanged [SEP-3415 D3 D68]', async (t) => {
    const w = await eventsWorld(t);
    const { capabilities } = await w.ok('server/discover');
    assert.deepEqual(capabilities['extensions'][EVENTS], { listChanged: true });
    assert.deepEqual(capabilities['events'], { listChanged: true });
  });

  test('is absent without the binding, and every method is unknown [SEP-3415 D4]', async (t) => {
    const peer = await pipeTo(new McpServer({ name: 'test', version: '1' }), {});
    t.onTestFinished(() => peer.close());
    for (const method of [
      'events/list',
      'events/poll',
      'events/stream',
      'events/subscribe',
      'events/unsubscribe',
    ]) {
      assert.equal((await peer.call(method, {})).error?.code, -32601, method);
    }
  });

  test('cannot be attached twice', async (t) => {
    const engine = await startEngine();
    t.onTestFinished(() => engine.close());
    const mcp = new McpServer({ name: 'test', version: '1' });
    attachEvents(mcp, engine);
    assert.throws(() => attachEvents(mcp, engine), /already has events attached/);
  });
});

describe('events/list', () => {
  test('describes a type with its modes, both schemas and additional facts of the log [SEP-3415 D2 D5 D6 A1]', async (t) => {
    const w = await eventsWorld(t, { triggers: [box, mail, extra] });
    const { events, resultType, ...rest } = await w.ok('events/list');
    assert.equal(resultType, 'complete');
    assert.deepEqual(Object.keys(rest), ['_meta'], 'no member of the native list remains');
    assert.deepEqual(
      events.map(({ name, delivery }: Json) => [name, delivery]),
      [
        [box.type.name, ['webhook', 'push', 'poll']],
        [extra.type.name, ['webhook', 'push', 'poll']],
        [mail.type.name, ['push', 'poll']],
      ],
    );
    const [first, second] = events;
    assert.deepEqual(first.inputSchema, box.type.inputSchema);
    assert.deepEqual(first.payloadSchema, box.type.payloadSchema);
    assert.deepEqual(first._meta[TRIGGERS], {
      retention: { maxAgeMs: 604_800_000, maxEvents: 10_000 },
      history: { maxAgeMs: 3_600_000 },
      ordering: 'arrival',
    });
    assert.equal(second._meta[TRIGGERS].title, 'Extra');
  });

  test('omits a type whose payload may not be an object, and nobody can follow it [SEP-3415 D11]', async (t) => {
    const w = await eventsWorld(t, { triggers: [box, number] });
    assert.deepEqual(
      (await w.ok('events/list')).events.map(({ name }: Json) => name),
      [box.type.name],
    );
    for (const method of ['events/poll', 'events/stream']) {
      assert.partialDeepStrictEqual(await w.refused(method, { name: number.type.name }), {
        code: -32011,
        data: { kind: 'event' },
      });
    }
    assert.deepEqual(
      (await w.ok('triggers/subscriptions')).subscriptions,
      [],
      'no log was created for it',
    );
    // Declared again with an object, it appears at once.
    const other = defineTrigger<object, { n: number }>({
      name: number.type.name,
      description: 'x',
      input: { type: 'object' },
      payload: { type: 'object' },
    });
    w.engine.declare(other);
    assert.equal((await w.poll({ name: number.type.name }))['truncated'], false);
  });

  test('pages, and rejects an unknown cursor with a message that names events/list [SEP-3415 D6]', async (t) => {
    const many = Array.from({ length: 130 }, (_, at) =>
      defineTrigger<object, object>({
        name: `type.${String(at).padStart(3, '0')}`,
        description: 'x',
        input: { type: 'object' },
        payload: { type: 'object' },
      }),
    );
    const last = defineTrigger<object, number>({
      name: 'type.zzz',
      description: 'x',
      input: { type: 'object' },
      payload: { type: 'integer' },
    });
    const w = await eventsWorld(t, { triggers: [...many, last] });
    const first = await w.ok('events/list');
    const second = await w.ok('events/list', { cursor: first['nextCursor'] });
    assert.equal(first['events'].length + second['events'].length, 130);
    assert.equal(second['nextCursor'], undefined);
    assert.equal(
      (await w.ok('events/list', { cursor: null }))['events'].length,
      first['events'].length,
      'null is the same as absent',
    );
    const refused = await w.refused('events/list', { cursor: 'x' });
    assert.equal(refused.code, -32602);
    assert.match(refused.message, /events\/list/);
    // Types on the second page are found and checked when they are followed.
    assert.equal((await w.poll({ name: 'type.129' }))['truncated'], false);
    assert.equal((await w.refused('events/poll', { name: 'type.zzz' })).code, -32011);
  });

  test('shows a caller only what that caller may follow [SEP-3415 R86]', async (t) => {
    const w = await eventsWorld(t, {
      engine: {
        authorize: ({ principal }, { name }) =>
          principal.includes('alice') || name !== box.type.name,
      },
    });
    assert.ok((await w.ok('events/list')).events.some(({ name }: Json) => name === box.type.name));
    assert.ok(
      !(await w.ok('events/list', {}, { as: 'bob' })).events.some(
        ({ name }: Json) => name === box.type.name,
      ),
    );
    assert.partialDeepStrictEqual(
      await w.refused('events/poll', { name: box.type.name }, { as: 'bob' }),
      { code: -32011 },
      'a type that the list does not show does not exist',
    );
  });
});

describe('other names', () => {
  test('of methods are unknown, including one that lists subscriptions; a header Mcp-Name is ignored [SEP-3415 D62 D64 U17]', async (t) => {
    const w = await eventsWorld(t);
    await w.poll({});
    for (const method of ['events/subscriptions', 'events/get', 'events/update', 'events/ack'])
      assert.equal((await w.refused(method)).code, -32601, method);
    const _meta = {
      'io.modelcontextprotocol/protocolVersion': '2026-07-28',
      'io.modelcontextprotocol/clientInfo': { name: 'test', version: '1' },
      'io.modelcontextprotocol/clientCapabilities': {},
    };
    const response = await fetch(w.url, {
      method: 'POST',
      headers: {
        'content-type': 'application/json',
        accept: 'application/json, text/event-stream',
        'mcp-protocol-version': '2026-07-28',
        'mcp-method': 'events/poll',
        'mcp-name': box.type.name,
        authorization: `Bearer ${w.token('alice')}`,
      },
      body: JSON.stringify({
        jsonrpc: '2.0',
        id: 1,
        method: 'events/poll',
        params: { name: box.type.name, _meta },
      }),
    });
    assert.ok(((await response.json()) as Json)['result']);
  });
});

describe('notifications/events/list_changed', () => {
  test('goes, on a session or a pipe, only to clients that use events/* [SEP-3415 D7] [deg-none]', async (t) => {
    const engine = await startEngine();
    t.onTestFinished(() => engine.close());
    const make = async () => {
      const mcp = new McpServer({ name: 'test', version: '1' });
      attachEvents(mcp, engine);
      return pipeTo(mcp, {});
    };
    const [user, other] = [await make(), await make()];
    t.onTestFinished(() => user.close());
    t.onTestFinished(() => other.close());
    assert.deepEqual(user.capabilities['extensions']?.[EVENTS], { listChanged: true });
    assert.deepEqual(user.capabilities['events'], { listChanged: true });
    assert.ok((await user.call('events/list', {})).result);
    engine.declare(extra);
    await until(async () =>
      user.messages.some(({ method }) => method === 'notifications/events/list_changed'),
    );
    assert.equal((await other.call('ping', {})).error, undefined);
    assert.ok(!other.messages.some(({ method }) => method === 'notifications/events/list_changed'));
  });

  test('goes to a pipe that speaks 2026-07-28 [SEP-3415 D7]', async (t) => {
    const engine = await startEngine();
    const [near, far] = InMemoryTransport.createLinkedPair();
    const messages: Message[] = [];
    near.onmessage = (message) => void messages.push(message as Message);
    const pipe = serveStdio(
      () => {
        const mcp = new McpServer({ name: 'test', version: '1' });
        attachEvents(mcp, engine);
        return mcp;
      },
      { transport: far },
    );
    t.onTestFinished(async () => {
      await pipe.close();
      await engine.close();
    });
    await near.start();
    const _meta = {
      'io.modelcontextprotocol/protocolVersion': '2026-07-28',
      'io.modelcontextprotocol/clientInfo': { name: 'test', version: '1' },
      'io.modelcontextprotocol/clientCapabilities': { extensions: { [EVENTS]: {} } },
    };
    await near.send({
      jsonrpc: '2.0',
      id: 1,
      method: 'events/poll',
      params: { name: 'no.such', _meta },
    });
    await until(async () => messages.some(({ id }) => id === 1));
    assert.equal(
      messages.find(({ id }) => id === 1)?.error?.code,
      -32023,
      'the profile is that of the request',
    );
    engine.declare(extra);
    await until(async () =>
      messages.some(({ method }) => method === 'notifications/events/list_changed'),
    );
  });

  test('is requested over modern HTTP with subscriptions/listen, which acknowledges and tags it [SEP-3415 D7 D8]', async (t) => {
    const engine = await startEngine();
    t.onTestFinished(() => engine.close());
    const handler = createMcpHandler(
      () => {
        const mcp = new McpServer({ name: 'test', version: '1' });
        attachEvents(mcp, engine);
        attachResources(mcp, engine);
        return mcp;
      },
      { legacy: 'reject' },
    );
    t.onTestFinished(() => handler.close());
    const parsedBody = {
      jsonrpc: '2.0',
      id: 'l-1',
      method: 'subscriptions/listen',
      params: {
        notifications: { eventsListChanged: true },
        _meta: {
          'io.modelcontextprotocol/protocolVersion': '2026-07-28',
          'io.modelcontextprotocol/clientInfo': { name: 'test', version: '1' },
          'io.modelcontextprotocol/clientCapabilities': {},
        },
      },
    };
    const stop = new AbortController();
    const request = new Request('http://localhost/mcp', {
      method: 'POST',
      body: JSON.stringify(parsedBody),
      signal: stop.signal,
      headers: {
        'content-type': 'application/json',
        accept: 'application/json, text/event-stream',
        'mcp-protocol-version': '2026-07-28',
        'mcp-method': 'subscriptions/listen',
      },
    });
    const listen = withFeeds(handler.fetch, engine, { listChanged: ['events'] });
    const frames = new Frames(
      await listen(request, { authInfo: token({ iss: 'https://id', sub: 'alice' }), parsedBody }),
      stop,
    );
    t.onTestFinished(() => frames.close());
    assert.partialDeepStrictEqual(await frames.next(), {
      method: 'notifications/subscriptions/acknowledged',
      params: { notifications: { eventsListChanged: true } },
    });
    engine.declare(extra);
    assert.partialDeepStrictEqual(await frames.next(), {
      method: 'notifications/events/list_changed',
      params: { _meta: { [TAG]: 'l-1' } },
    });
  });
});

/** A client of the handshake era on a pipe. */
async function pipeTo(mcp: McpServer, clientCapabilities: object) {
  const [near, far] = InMemoryTransport.createLinkedPair();
  const messages: Message[] = [];
  near.onmessage = (message) => void messages.push(message as Message);
  await mcp.connect(far);
  await near.start();
  let ids = 0;
  const call = async (method: string, params: object): Promise<Message> => {
    const id = ++ids;
    await near.send({ jsonrpc: '2.0', id, method, params } as Parameters<typeof near.send>[0]);
    await until(async () => messages.some((message) => message.id === id));
    return messages.find((message) => message.id === id)!;
  };
  const { result } = await call('initialize', {
    protocolVersion: '2025-11-25',
    capabilities: clientCapabilities,
    clientInfo: { name: 'test', version: '1' },
  });
  await near.send({ jsonrpc: '2.0', method: 'notifications/initialized' });
  return {
    messages,
    call,
    capabilities: result?.['capabilities'] as Record<string, Record<string, unknown>>,
    close: () => near.close(),
  };
}
