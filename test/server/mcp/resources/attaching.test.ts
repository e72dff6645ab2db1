/**
 * Tests feeds beside an application's own resources on one SDK server: both keep working, whichever
 * was attached first, registered or written by hand.
 */
import assert from 'node:assert/strict';
import { afterAll, beforeAll, describe, test } from 'vitest';
import {
  createMcpHandler,
  InMemoryTransport,
  McpServer,
  ResourceTemplate,
  type AuthInfo,
  type McpHttpHandler,
} from '@modelcontextprotocol/server';
import {
  attachResources,
  type ResourcesOptions,
} from '../../../../src/server/mcp/resources/install.ts';
import { withFeeds } from '../../../../src/server/mcp/resources/listen.ts';
import type { Engine } from '../../../../src/server/engine/verbs.ts';
import { messagesOf, startEngine, token, until, type Message } from '../harness.ts';
import { modern } from '../../../reference-server/harness.ts';

let engine: Engine;
beforeAll(async () => {
  engine = await startEngine();
});
afterAll(() => engine.close());

const alice = token({ iss: 'https://id', sub: 'alice' });
const FEED = 'triggers://feeds/alarm.raised';
const TEMPLATES = [
  'triggers://feeds/alarm.raised{?house,after}',
  'triggers://subscriptions/{subscriptionId}{?after}',
];
const server = (): McpServer => new McpServer({ name: 'test', version: '1' });

const note = (mcp: McpServer): void =>
  void mcp.registerResource('note', 'test://note', { mimeType: 'text/plain' }, () => ({
    contents: [{ uri: 'test://note', text: 'hello' }],
  }));
const page = (mcp: McpServer): void =>
  void mcp.registerResource(
    'page',
    new ResourceTemplate('test://page/{n}', { list: undefined }),
    {},
    ({ href }, { n }) => ({ contents: [{ uri: href, text: `page ${String(n)}` }] }),
  );

/** An application that writes its handlers itself, with two pages and its own subscriptions. */
function byHand(mcp: McpServer): string[] {
  const subscribed: string[] = [];
  mcp.server.registerCapabilities({ resources: { subscribe: true } });
  mcp.server.setRequestHandler('resources/list', ({ params }) =>
    params?.cursor === undefined
      ? { resources: [{ uri: 'test://one', name: 'one' }], nextCursor: 'two' }
      : { resources: [{ uri: `test://${params.cursor}`, name: params.cursor }] },
  );
  mcp.server.setRequestHandler('resources/templates/list', () => ({ resourceTemplates: [] }));
  mcp.server.setRequestHandler('resources/read', ({ params: { uri } }) => ({
    contents: [{ uri, text: 'by hand' }],
  }));
  mcp.server.setRequestHandler('resources/subscribe', ({ params: { uri } }) => {
    subscribed.push(uri);
    return {};
  });
  return subscribed;
}

/** One modern request, the first to reach the server. */
function ask(
  handler: McpHttpHandler,
  method: string,
  params: { readonly uri?: string; readonly [member: string]: unknown },
  authInfo?: AuthInfo,
  signal?: AbortSignal,
): Promise<Response> {
  const { headers, body } = modern(method, params);
  const request = new Request('http://localhost/mcp', {
    method: 'POST',
    body: JSON.stringify(body),
    ...(signal === undefined ? {} : { signal }),
    headers: {
      'content-type': 'application/json',
      accept: 'application/json, text/event-stream',
      ...headers,
      ...(params.uri === undefined ? {} : { 'mcp-name': params.uri }),
    },
  });
  return handler.fetch(request, { ...(authInfo === undefined ? {} : { authInfo }) });
}

/** Connects to a server in both eras. */
const ways = {
  modern: async (prepare: (mcp: McpServer) => void) => {
    const handler = createMcpHandler(
      () => {
        const mcp = server();
        prepare(mcp);
        return mcp;
      },
      { legacy: 'reject' },
    );
    return {
      handler,
      call: async (method: string, params: Record<string, unknown>): Promise<Message> =>
        (await messagesOf(await ask(handler, method, params, alice))).at(-1)!,
    };
  },
  handshake: async (prepare: (mcp: McpServer) => void) => {
    const mcp = server();
    prepare(mcp);
    const [near, far] = InMemoryTransport.createLinkedPair();
    const messages: Message[] = [];
    near.onmessage = (message) => void messages.push(message as Message);
    await mcp.connect(far);
    await near.start();
    let id = 0;
    const send = (message: object) =>
      near.send({ jsonrpc: '2.0', ...message } as Parameters<typeof near.send>[0]);
    const call = async (method: string, params: object): Promise<Message> => {
      const asked = (id += 1);
      await send({ id: asked, method, params });
      await until(async () => messages.some((message) => message.id === asked));
      return messages.find((message) => message.id === asked)!;
    };
    await call('initialize', {
      protocolVersion: '2025-11-25',
      capabilities: {},
      clientInfo: { name: 'test', version: '1' },
    });
    await send({ method: 'notifications/initialized' });
    return { mcp, messages, call, close: () => near.close() };
  },
};

const uris = ({ result }: Message): string[] =>
  ((result?.['resources'] ?? []) as { uri: string }[]).map(({ uri }) => uri);
const templates = ({ result }: Message): string[] =>
  ((result?.['resourceTemplates'] ?? []) as { uriTemplate: string }[]).map(
    ({ uriTemplate }) => uriTemplate,
  );
const text = ({ result, error }: Message): string =>
  (result?.['contents'] as { text: string }[] | undefined)?.[0]?.text ??
  assert.fail(JSON.stringify(error));

describe('attaching feeds', () => {
  test('twice to one server, or to a connected one, is rejected', async () => {
    const mcp = server();
    attachResources(mcp, engine);
    assert.throws(() => attachResources(mcp, engine), /already has the resources/);
    const connected = await ways.handshake(() => undefined);
    assert.throws(() => attachResources(connected.mcp, engine), /before connecting/);
    await connected.close();
  });

  test('to a version of the SDK whose handlers cannot be read is rejected, and changes nothing', () => {
    const mcp = server();
    Object.defineProperty(mcp.server, '_getRequestHandler', {
      configurable: true,
      value: undefined,
    });
    assert.throws(() => attachResources(mcp, engine), {
      name: 'LocalError',
      code: 'config_invalid',
    });
    mcp.server.assertCanSetRequestHandler('resources/read');
    Reflect.deleteProperty(mcp.server, '_getRequestHandler');
    attachResources(mcp, engine);
  });

  for (const era of ['modern', 'handshake'] as const) {
    for (const [order, prepare] of [
      [
        'before',
        (mcp: McpServer) => {
          note(mcp);
          page(mcp);
          attachResources(mcp, engine);
        },
      ],
      [
        'after',
        (mcp: McpServer) => {
          attachResources(mcp, engine);
          note(mcp);
          page(mcp);
        },
      ],
    ] as const) {
      test(`keeps resources that were registered ${order} it, ${era}`, async () => {
        const { call } = await ways[era](prepare);
        assert.equal(text(await call('resources/read', { uri: 'test://note' })), 'hello');
        assert.equal(text(await call('resources/read', { uri: 'test://page/3' })), 'page 3');
        assert.match(
          text(await call('resources/read', { uri: FEED })),
          /^\{"trigger":"alarm.raised"/,
        );
        assert.deepEqual(uris(await call('resources/list', {})).slice(0, 2), ['test://note', FEED]);
        assert.deepEqual(templates(await call('resources/templates/list', {})), [
          'test://page/{n}',
          ...TEMPLATES,
        ]);
        const { error } = await call('resources/read', { uri: 'test://none' });
        assert.deepEqual([error?.code, error?.data], [-32602, { uri: 'test://none' }]);
      });
    }

    test(`makes feeds the only resources of a server without its own, ${era}`, async () => {
      const { call } = await ways[era]((mcp) => attachResources(mcp, engine));
      assert.deepEqual(templates(await call('resources/templates/list', {})), TEMPLATES);
      assert.equal((await call('resources/read', { uri: 'triggers:none' })).error?.code, -32602);
    });

    test(`keeps handlers that were written by hand, ${era}`, async () => {
      let subscribed: string[] = [];
      const { call } = await ways[era]((mcp) => {
        subscribed = byHand(mcp);
        attachResources(mcp, engine);
      });
      assert.equal(text(await call('resources/read', { uri: 'test://x' })), 'by hand');
      assert.match(text(await call('resources/read', { uri: FEED })), /"trigger"/);
      const first = await call('resources/list', {});
      assert.deepEqual([uris(first), first.result?.['nextCursor']], [['test://one'], 'two']);
      assert.deepEqual(uris(await call('resources/list', { cursor: 'two' })), ['test://two', FEED]);
      if (era === 'handshake') {
        assert.deepEqual((await call('resources/subscribe', { uri: 'test://x' })).result, {});
        assert.deepEqual((await call('resources/subscribe', { uri: FEED })).result, {});
        assert.deepEqual(subscribed, ['test://x']);
      }
    });
  }

  test('forbids clients to cache feeds, whatever the application allows for its own resources', async () => {
    const forever = { ttlMs: 1_000_000, cacheScope: 'public' as const };
    const handler = createMcpHandler(
      () => {
        const mcp = new McpServer(
          { name: 'test', version: '1' },
          {
            cacheHints: {
              'resources/read': forever,
              'resources/list': forever,
              'resources/templates/list': forever,
            },
          },
        );
        note(mcp);
        attachResources(mcp, engine);
        return mcp;
      },
      { legacy: 'reject' },
    );
    const cached = async (method: string, params: { readonly uri?: string }) => {
      const { result } = (await messagesOf(await ask(handler, method, params, alice))).at(-1)!;
      return [result?.['ttlMs'], result?.['cacheScope']];
    };
    assert.deepEqual(await cached('resources/read', { uri: 'test://note' }), [1_000_000, 'public']);
    assert.deepEqual(await cached('resources/read', { uri: FEED }), [0, 'private']);
    assert.deepEqual(await cached('resources/list', {}), [0, 'private']);
    assert.deepEqual(await cached('resources/templates/list', {}), [0, 'private']);
  });

  test("passes on changes of the application's resources where the application does not announce them itself", async () => {
    const asked: string[] = [];
    const { call, close } = await ways.handshake((mcp) => {
      note(mcp);
      attachResources(mcp, engine, {
        mayRead: ({ principal }, uri) => {
          asked.push(`${principal} ${uri}`);
          return uri === 'test://note';
        },
      });
    });
    assert.deepEqual((await call('resources/subscribe', { uri: 'test://note' })).result, {});
    assert.equal((await call('resources/subscribe', { uri: 'test://other' })).error?.code, -32602);
    assert.deepEqual((await call('resources/unsubscribe', { uri: 'test://other' })).result, {});
    assert.deepEqual(asked, ['local test://note', 'local test://other']);
    await close();
    const silent = await ways.handshake((mcp) => {
      note(mcp);
      attachResources(mcp, engine);
    });
    assert.equal(
      (await silent.call('resources/subscribe', { uri: 'test://note' })).error?.code,
      -32602,
    );
    await silent.close();
  });

  test('sends nothing to a client that asked for no resources [deg-none]', async () => {
    const [asking, silent] = [
      await ways.handshake((mcp) => attachResources(mcp, engine)),
      await ways.handshake((mcp) => attachResources(mcp, engine)),
    ];
    // By now the server knows the trigger types.
    await asking.call('resources/read', { uri: FEED });
    engine.declare({
      type: {
        name: 'alarm.tested',
        description: 'Nothing but a test.',
        inputSchema: { type: 'object' },
        payloadSchema: {},
      },
    });
    const changed = ({ method }: Message): boolean =>
      method === 'notifications/resources/list_changed';
    await until(async () => asking.messages.some(changed));
    assert.equal(silent.messages.some(changed), false);
    assert.deepEqual(
      templates(await asking.call('resources/templates/list', {}))[1],
      'triggers://feeds/alarm.tested{?after}',
    );
    assert.match(
      text(await asking.call('resources/read', { uri: 'triggers://feeds/alarm.tested' })),
      /"trigger":"alarm.tested"/,
    );
    await engine.remove('alarm.tested');
    assert.equal(
      (await asking.call('resources/read', { uri: 'triggers://feeds/alarm.tested' })).error?.code,
      -32602,
    );
    await asking.close();
    await silent.close();
  });

  test('forgets a client that has gone, and keeps no state for single requests', async () => {
    let told = 0;
    const counting = new Proxy(engine, {
      get(target, name) {
        if (name !== 'onListChanged')
          return (target[name as keyof Engine] as () => unknown).bind(target);
        return (run: () => void) => {
          told += 1;
          const off = target.onListChanged(run);
          return () => {
            told -= 1;
            off();
          };
        };
      },
    });
    const [first, { call }] = [
      await ways.handshake((mcp) => attachResources(mcp, counting)),
      await ways.modern((mcp) => attachResources(mcp, counting)),
    ];
    const always = told;
    await first.call('resources/list', {});
    await first.call('resources/list', {});
    assert.equal(told, always + 1);
    await first.close();
    for (let n = 0; n < 3; n += 1) await call('resources/list', {});
    assert.equal(told, always);
  });

  test('rejects a subscription without a session to notify', async () => {
    const handler = createMcpHandler(() => {
      const mcp = server();
      attachResources(mcp, engine);
      return mcp;
    });
    const response = await handler.fetch(
      new Request('http://localhost/mcp', {
        method: 'POST',
        headers: {
          'content-type': 'application/json',
          accept: 'application/json, text/event-stream',
          'mcp-protocol-version': '2025-11-25',
        },
        body: JSON.stringify({
          jsonrpc: '2.0',
          id: 1,
          method: 'resources/subscribe',
          params: { uri: FEED },
        }),
      }),
      { authInfo: alice },
    );
    const [{ error }] = (await messagesOf(response)) as [Message];
    assert.deepEqual(
      [error?.code, error?.data],
      [-32026, { kind: 'feature', feature: 'resources/subscribe' }],
    );
  });

  test('reveals nothing of an internal failure, and rejects a caller without a principal', async () => {
    const seen: unknown[] = [];
    const options: ResourcesOptions = {
      ready: async () => {
        throw new Error('the secret of the house');
      },
      log: {
        debug: () => undefined,
        info: () => undefined,
        warn: () => undefined,
        error: (fields) => void seen.push(fields),
      },
    };
    const broken = await ways.modern((mcp) => attachResources(mcp, engine, options));
    const { error } = await broken.call('resources/read', { uri: FEED });
    assert.deepEqual(
      [error?.code, JSON.stringify(error).includes('secret'), seen.length],
      [-32603, false, 1],
    );
    const { handler } = await ways.modern((mcp) => attachResources(mcp, engine));
    const [anonymous] = await messagesOf(await ask(handler, 'resources/read', { uri: FEED }));
    assert.deepEqual(
      [anonymous?.error?.code, anonymous?.error?.data],
      [-32024, { kind: 'authentication' }],
    );
  });
});

describe('listening around a handler', () => {
  const listening = (options: Parameters<typeof withFeeds>[2], attach = true): McpHttpHandler => {
    const handler = createMcpHandler(
      () => {
        const mcp = server();
        note(mcp);
        if (attach) attachResources(mcp, engine);
        return mcp;
      },
      { legacy: 'reject' },
    );
    return { ...handler, fetch: withFeeds(handler.fetch, engine, options) };
  };
  const listen = (
    handler: McpHttpHandler,
    notifications: object,
    authInfo = alice,
    signal?: AbortSignal,
  ) => ask(handler, 'subscriptions/listen', { notifications }, authInfo, signal);
  /** A stream, message by message. */
  const streamOf = (response: Response) => {
    const reader = response.body!.pipeThrough(new TextDecoderStream()).getReader();
    let rest = '';
    return {
      cancel: () => reader.cancel(),
      async next(): Promise<Message> {
        for (;;) {
          const end = rest.indexOf('\n\n');
          const frame = rest.slice(0, Math.max(end, 0));
          if (end !== -1) rest = rest.slice(end + 2);
          if (frame.includes('data: '))
            return JSON.parse(frame.slice(frame.indexOf('data: ') + 6)) as Message;
          if (end !== -1) continue;
          const { done, value } = await reader.read();
          if (done) return assert.fail('the stream is over');
          rest += value;
        }
      },
    };
  };
  /** The first messages of a stream, which is then canceled. */
  const firstOf = async (response: Response, count: number): Promise<Message[]> => {
    const stream = streamOf(response);
    const messages: Message[] = [];
    while (messages.length < count) messages.push(await stream.next());
    await stream.cancel();
    return messages;
  };

  test('asks mayRead about resources of the application, and passes on their notifications', async () => {
    const handler = listening({
      mayRead: ({ principal }, uri) => principal.includes('alice') && uri === 'test://note',
    });
    const response = await listen(handler, {
      resourceSubscriptions: ['test://note', 'test://other', FEED],
    });
    handler.notify.resourceUpdated('test://other');
    handler.notify.resourceUpdated('test://note');
    const [acknowledged, told] = await firstOf(response, 2);
    assert.deepEqual(acknowledged?.params?.['notifications'], {
      resourceSubscriptions: ['test://note', FEED],
    });
    assert.equal(told?.params?.['uri'], 'test://note');
    const bob = await listen(
      handler,
      { resourceSubscriptions: ['test://note'] },
      token({ iss: 'https://id', sub: 'bob' }),
    );
    assert.deepEqual((await firstOf(bob, 1))[0]?.params?.['notifications'], {});
    await handler.close();
  });

  test('notifies again only once a client has read, on whatever connection', async () => {
    const emitAndSettle = async (): Promise<void> => {
      await engine.emit({ name: 'alarm.raised', data: { house: 'a' } });
      await engine.settled();
    };
    const bob = token({ iss: 'https://id', sub: 'bob' });
    const handler = listening({ notify: { quietMs: 3_600_000, remindMs: 3_600_000 } });
    const stream = streamOf(await listen(handler, { resourceSubscriptions: [FEED] }, bob));
    assert.equal((await stream.next()).method, 'notifications/subscriptions/acknowledged');
    const read = async () =>
      JSON.parse(
        text((await messagesOf(await ask(handler, 'resources/read', { uri: FEED }, bob))).at(-1)!),
      ) as { head: number };
    await emitAndSettle();
    assert.equal((await stream.next()).method, 'notifications/resources/updated');
    await emitAndSettle();
    await emitAndSettle();
    assert.equal((await read()).head, 3);
    await emitAndSettle();
    assert.equal((await stream.next()).method, 'notifications/resources/updated');
    await handler.close();
    // An extra notification would appear here.
    assert.equal((await stream.next()).result?.['resultType'], 'complete');
  });

  test('declares nothing on a server whose resources cannot be subscribed to', async () => {
    const { streams } = await engine.health();
    const handler = listening({}, false);
    const messages = await firstOf(
      await listen(handler, { resourceSubscriptions: [FEED], triggersListChanged: true }),
      2,
    );
    assert.deepEqual(messages[0]?.params?.['notifications'], {});
    assert.equal(messages[1]?.result?.['resultType'], 'complete');
    await until(async () => (await engine.health()).streams === streams);
    await handler.close();
  });

  test('offers only the lists of extensions that announce changes', async () => {
    const handler = listening({});
    const [acknowledged] = await firstOf(
      await listen(handler, { eventsListChanged: true, triggersListChanged: true }),
      1,
    );
    assert.deepEqual(acknowledged?.params?.['notifications'], { triggersListChanged: true });
    await handler.close();
  });

  test('rejects a caller without a principal, and reveals nothing of an internal failure', async () => {
    const handler = listening({});
    const [refused] = await messagesOf(
      await listen(handler, { resourceSubscriptions: [FEED] }, token(undefined)),
    );
    assert.deepEqual(
      [refused?.error?.code, refused?.error?.data],
      [-32024, { kind: 'authentication' }],
    );
    await handler.close();
    const broken = listening({
      ready: async () => {
        throw new Error('the secret of the house');
      },
    });
    const [failed] = await messagesOf(await listen(broken, { resourceSubscriptions: [FEED] }));
    assert.deepEqual(failed?.error, { code: -32603, message: 'Internal error.' });
    await broken.close();
  });

  test('starts nothing for a client that has left before the start', async () => {
    const { streams } = await engine.health();
    const handler = listening({});
    const gone = new AbortController();
    const asked = listen(handler, { resourceSubscriptions: [FEED] }, alice, gone.signal);
    gone.abort();
    await (await asked).body?.cancel();
    await until(async () => (await engine.health()).streams === streams);
    await handler.close();
  });
});
