/**
 * Tests peers that break the protocol: each gives a typed error, never a number out of order, never
 * a hang.
 */
import assert from 'node:assert/strict';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { describe, test, type TestContext } from 'vitest';
import { ProtocolError } from '@modelcontextprotocol/server';
import { EXTENSION_ID, REVISION } from '../../spec-schema/draft/schema.ts';
import type { Item } from '../../src/client/options.ts';
import {
  eventOf,
  type HonestLog,
  OTHER_EPOCH,
  pause,
  silent,
  startPeer,
  type Exchange,
} from './peer.ts';
import { connected, subscribeFast, take, until, within, words } from './support.ts';

/** Reads to the end; every event must be the very next number. */
async function outcome(
  items: AsyncIterator<Item>,
): Promise<{ read: string[]; error: (Error & { code?: string; reason?: string }) | undefined }> {
  const read: Item[] = [];
  try {
    for (
      let next = await within(items.next());
      !next.done && read.length < 50;
      next = await within(items.next())
    )
      read.push(next.value);
    return { read: words(read), error: undefined };
  } catch (error) {
    return { read: words(read), error: error as Error & { code?: string; reason?: string } };
  }
}

/** A stream that sends these messages and then stays open. */
const sends =
  (make: (log: HonestLog, after: number) => unknown[]) =>
  (log: HonestLog) =>
  async (params: { after: { sequence: number } }, { send }: Exchange): Promise<unknown> => {
    for (const delivery of make(log, params.after.sequence)) await send(delivery);
    return silent();
  };

const deliveryOf = (
  log: HonestLog,
  after: number,
  sequences: number[],
  more: object = {},
): object => ({
  ...log.delivery(0, 0),
  afterSequence: after,
  events: sequences.map((sequence) => eventOf(sequence)),
  head: 100,
  ...more,
});

describe('hostile streams', () => {
  const cases: readonly [string, ReturnType<typeof sends>, string[], string][] = [
    ['a hole', sends((log) => [deliveryOf(log, 0, [1]), deliveryOf(log, 2, [3])]), ['1'], 'hole'],
    [
      'a missing number revealed by a heartbeat',
      sends((log) => [deliveryOf(log, 9, [])]),
      [],
      'hole',
    ],
    ['numbers backwards', sends((log) => [deliveryOf(log, 0, [2, 1])]), [], 'delivery'],
    ['a number twice', sends((log) => [deliveryOf(log, 0, [1, 1])]), [], 'delivery'],
    [
      'a delivery that leaves a number out',
      sends((log) => [deliveryOf(log, 0, [1, 3])]),
      [],
      'delivery',
    ],
    [
      'a head below what it covers',
      sends((log) => [deliveryOf(log, 0, [1, 2], { head: 1 })]),
      [],
      'delivery',
    ],
    [
      'acked beyond head',
      sends((log) => [deliveryOf(log, 0, [1], { head: 1, acked: 2 })]),
      [],
      'delivery',
    ],
    [
      'an expiry that is null instead of absent',
      sends((log) => [deliveryOf(log, 0, [1], { expiresAt: null })]),
      [],
      'delivery',
    ],
    [
      'another subscription',
      sends((log) => [
        deliveryOf(log, 0, [1], {
          subscriptionId: 'sub_ffffffffffffffffffffffffffff',
          epoch: OTHER_EPOCH,
        }),
      ]),
      [],
      'stale',
    ],
    [
      'a sequence that is not an integer',
      sends((log) => [deliveryOf(log, 0, [1.5])]),
      [],
      'delivery',
    ],
    ['a sequence beyond 2^53', sends((log) => [deliveryOf(log, 0, [2 ** 53])]), [], 'delivery'],
    ['a message that is not a delivery', sends(() => [{ hello: 'world' }]), [], 'delivery'],
    [
      'more than the window',
      sends((log) => [
        deliveryOf(
          log,
          0,
          Array.from({ length: 101 }, (_, n) => n + 1),
          { head: 200 },
        ),
      ]),
      [],
      'window',
    ],
    [
      'heartbeats that announce events which never come',
      sends((log) => Array.from({ length: 3 }, () => deliveryOf(log, 0, []))),
      [],
      'stalled',
    ],
  ];
  for (const [name, stream, read, reason] of cases) {
    test(`[recv-missing] ${name} → peer_misbehaved, ${reason}`, async (t) => {
      await using peer = await startPeer();
      peer.log.append(100);
      peer.log.replaced.set('triggers/stream', stream(peer.log));
      const { items } = subscribeFast(t, await connected(t, { url: peer.url }), {
        drain: 'stream',
      });
      const { read: got, error } = await outcome(items);
      assert.deepEqual(
        { read: got, code: error?.code, reason: error?.reason },
        { read, code: 'peer_misbehaved', reason },
      );
      assert.ok(
        peer.log.calls.filter(({ method }) => method === 'triggers/stream').length >= 3,
        'it was given more than one chance',
      );
    });
  }

  test('[recv-missing-fetch] tolerates a missing number that a second read fills', async (t) => {
    await using peer = await startPeer();
    peer.log.append(5);
    let holes = 2;
    peer.log.replaced.set('triggers/stream', async (params, exchange) => {
      if (holes-- > 0)
        await exchange.send({
          ...peer.log.delivery(3),
          events: [eventOf(4), eventOf(5)],
          afterSequence: 3,
        });
      return peer.log.methods['triggers/stream']!(params, exchange);
    });
    const { items } = subscribeFast(t, await connected(t, { url: peer.url }), { drain: 'stream' });
    assert.deepEqual(words(await take(items, 5)), ['1', '2', '3', '4', '5']);
  });

  test('[recv-missing-fetch] counts only holes in a row: progress forgives those before it', async (t) => {
    await using peer = await startPeer();
    peer.log.append(3);
    let stream = 0;
    peer.log.replaced.set('triggers/stream', async ({ after: { sequence } }, { send }) => {
      stream += 1;
      // Two streams with a hole, then one with the next event, and so on.
      if (stream % 3 === 0) await send(peer.log.delivery(sequence, 1));
      else await send({ ...peer.log.delivery(3), afterSequence: sequence + 2, head: sequence + 2 });
      return stream % 3 === 0 ? {} : silent();
    });
    const { items } = subscribeFast(t, await connected(t, { url: peer.url }), { drain: 'stream' });
    assert.deepEqual(words(await take(items, 3)), ['1', '2', '3']);
    assert.ok(stream >= 9, `${stream} streams`);
  });

  test('drops duplicates and overlaps without an error', async (t) => {
    await using peer = await startPeer();
    peer.log.replaced.set(
      'triggers/stream',
      sends((log) => [
        deliveryOf(log, 0, [1, 2, 3]),
        deliveryOf(log, 0, [1, 2, 3]),
        deliveryOf(log, 1, [2, 3, 4]),
        deliveryOf(log, 0, []),
        deliveryOf(log, 4, [5]),
      ])(peer.log),
    );
    const { items } = subscribeFast(t, await connected(t, { url: peer.url }), { drain: 'stream' });
    assert.deepEqual(words(await take(items, 5)), ['1', '2', '3', '4', '5']);
  });

  test('[rec-tell] passes on an event of one megabyte unchanged', async (t) => {
    await using peer = await startPeer();
    const data = 'x'.repeat(1_000_000);
    peer.log.replaced.set(
      'triggers/stream',
      sends((log) => [deliveryOf(log, 0, [], { events: [{ ...eventOf(1), data }], head: 1 })])(
        peer.log,
      ),
    );
    const { items } = subscribeFast(t, await connected(t, { url: peer.url }), { drain: 'stream' });
    const [item] = await take(items, 1);
    assert.ok(item?.type === 'event' && item.event.data === data);
  });

  test('[stream-client-dead] reopens a stream without heartbeats', async (t) => {
    await using peer = await startPeer();
    peer.log.append(2);
    let opened = 0;
    peer.log.replaced.set('triggers/stream', async (params, { send }) => {
      opened += 1;
      await send(peer.log.delivery(params.after.sequence, 1));
      return silent();
    });
    const errors: unknown[] = [];
    const { items } = subscribeFast(t, await connected(t, { url: peer.url }), {
      drain: 'stream',
      tuning: { silenceMs: 100 },
      onState: (state) => {
        if (state.phase === 'waiting') errors.push(state.error);
      },
    });
    assert.deepEqual(words(await take(items, 2)), ['1', '2']);
    assert.ok(opened >= 2);
    assert.equal((errors[0] as { reason?: string }).reason, 'silence');
  });

  test('pauses between streams of a server that ends every stream at once', async (t) => {
    await using peer = await startPeer();
    const opened: number[] = [];
    peer.log.replaced.set('triggers/stream', () => {
      opened.push(performance.now());
      return {};
    });
    const { items } = subscribeFast(t, await connected(t, { url: peer.url }), {
      drain: 'stream',
      tuning: { backoff: { baseMs: 20, maxMs: 1000, random: () => 1 } },
    });
    const never = items.next();
    await until(() => opened.length >= 4);
    for (const [at, shortest] of [20, 40, 80].entries()) {
      const pauseMs = opened[at + 1]! - opened[at]!;
      assert.ok(pauseMs >= shortest - 2, `pause ${at} of ${pauseMs} ms`);
    }
    never.catch(() => undefined);
  });

  test('reports every epoch of a server that changes it each time', async (t) => {
    await using peer = await startPeer();
    let count = 0;
    peer.log.replaced.set('triggers/stream', () => {
      throw new ProtocolError(-32602, 'epoch', {
        kind: 'epoch',
        epoch: `epoch-number-${(count += 1)}`,
        head: 0,
        acked: 0,
      });
    });
    const { items } = subscribeFast(t, await connected(t, { url: peer.url }), { drain: 'stream' });
    assert.deepEqual(words(await take(items, 3)), ['epoch 0→0', 'epoch 0→0', 'epoch 0→0']);
  });
});

describe('hostile pulls', () => {
  const base = (log: HonestLog): object => ({
    ...log.delivery(0, 0),
    hasMore: false,
    nextPollMs: 0,
    head: 100,
  });
  const cases: readonly [string, (log: HonestLog) => unknown, string][] = [
    ['garbage', () => ({ nonsense: true }), 'result'],
    ['a hole', (log) => ({ ...base(log), afterSequence: 4, events: [eventOf(5)] }), 'hole'],
    [
      'numbers backwards',
      (log) => ({ ...base(log), events: [eventOf(2), eventOf(1)] }),
      'delivery',
    ],
    ['a result without hasMore', (log) => ({ ...base(log), hasMore: undefined }), 'result'],
  ];
  for (const [name, answer, reason] of cases) {
    test(`${name} → peer_misbehaved, ${reason}`, async (t) => {
      await using peer = await startPeer();
      peer.log.replaced.set('triggers/pull', () => answer(peer.log));
      const { items } = subscribeFast(t, await connected(t, { url: peer.url }), { drain: 'pull' });
      const { read, error } = await outcome(items);
      assert.deepEqual(
        { read, code: error?.code, reason: error?.reason },
        { read: [], code: 'peer_misbehaved', reason },
      );
    });
  }

  test('[pull-next-honoured] pauses after a long poll that returns early with nothing', async (t) => {
    await using peer = await startPeer();
    let pulls = 0;
    peer.log.replaced.set('triggers/pull', () => {
      pulls += 1;
      return { ...peer.log.delivery(0), hasMore: false, nextPollMs: 0 };
    });
    const { items } = subscribeFast(t, await connected(t, { url: peer.url }), { drain: 'pull' });
    const startedAt = performance.now();
    const never = items.next();
    await pause(400);
    const elapsed = performance.now() - startedAt;
    assert.ok(pulls <= 1 + Math.floor(elapsed / 450), `${pulls} pulls in ${elapsed} ms`);
    never.catch(() => undefined);
  });

  test('[pull-next-honoured] without a long poll waits as long as the server says', async (t) => {
    await using peer = await startPeer();
    peer.log.append(1);
    const at: number[] = [];
    peer.log.replaced.set('triggers/pull', ({ after }) => {
      at.push(Date.now());
      return { ...peer.log.delivery(after.sequence), hasMore: false, nextPollMs: 150 };
    });
    const { items } = subscribeFast(t, await connected(t, { url: peer.url }), {
      drain: 'pull',
      tuning: { waitMs: 0 },
    });
    await take(items, 1);
    const never = items.next();
    await until(() => at.length >= 3);
    assert.ok(
      at[1]! - at[0]! >= 140 && at[2]! - at[1]! >= 140,
      at.map((time) => time - at[0]!).join(' '),
    );
    never.catch(() => undefined);
  });
});

describe('hostile answers', () => {
  const methods: readonly [string, unknown][] = [
    ['a subscription without an epoch', { created: true, subscriptionId: 'x' }],
    ['nothing', {}],
    ['a list', []],
  ];
  for (const [name, result] of methods) {
    test(`triggers/subscribe answers ${name} → peer_misbehaved`, async (t) => {
      await using peer = await startPeer();
      peer.log.replaced.set('triggers/subscribe', () => result);
      const { subscription } = subscribeFast(t, await connected(t, { url: peer.url }));
      await assert.rejects(within(subscription.ready()), { code: 'peer_misbehaved' });
    });
  }

  test('[cap-no-call, deg-no-invented-numbers] sends nothing to a server that does not declare the extension, and presents nothing else as its log', async (t) => {
    await using peer = await startPeer();
    peer.log.drains = [];
    const client = await connected(t, { url: peer.url });
    assert.equal(client.capability, null);
    await assert.rejects(client.list(), { code: 'not_supported' });
    assert.throws(() => subscribeFast(t, client), { code: 'not_supported' });
    assert.deepEqual(peer.log.calls, []);
  });

  for (const protocol of ['2026-07-28', '2025-11-25'] as const) {
    test(`[cap-no-call] ${protocol}: an unknown method → not_supported`, async (t) => {
      await using peer = await startPeer();
      delete peer.log.methods['triggers/list'];
      const client = await connected(t, { url: peer.url }, { protocol });
      await assert.rejects(client.list(), { code: 'not_supported', reason: 'method_not_found' });
    });

    test(`[err-client-unknown] ${protocol}: errors of the peer are typed by code and data`, async (t) => {
      await using peer = await startPeer();
      const client = await connected(t, { url: peer.url }, { protocol });
      const cases: readonly [number, unknown, object][] = [
        [
          -32602,
          { kind: 'invalid', path: '/select', expected: 'an array' },
          { name: 'InvalidParams' },
        ],
        [-32602, { kind: 'etag', etag: 'e-1' }, { name: 'Conflict' }],
        [-32024, { kind: 'authentication' }, { name: 'Forbidden' }],
        [-32025, { kind: 'limit', limit: 'subscriptions' }, { name: 'ResourceExhausted' }],
        [-32603, undefined, { name: 'InternalError' }],
        [-32602, { kind: 'news to me' }, { name: 'RemoteError', code: -32602 }],
        [4711, { any: 'thing' }, { name: 'RemoteError', code: 4711 }],
      ];
      for (const [code, data, expected] of cases) {
        peer.log.replaced.set('triggers/list', () => {
          throw new ProtocolError(code, 'words that nobody reads', data);
        });
        await assert.rejects(client.list(), expected);
      }
    });
  }

  test('a response that ends without an answer → unreachable, at once', async (t) => {
    const hangUp = await rawServer(t, (method, respond) => {
      if (method === 'triggers/list') respond(200, 'text/event-stream', ': nothing\n\n');
    });
    const client = await connected(t, { url: hangUp });
    await assert.rejects(within(client.list(), 5000), { code: 'unreachable' });
  });

  for (const [status, code] of [
    [401, 'unauthorized'],
    [403, 'unauthorized'],
    [429, 'unreachable'],
    [500, 'unreachable'],
    [503, 'unreachable'],
    [404, 'not_supported'],
    [418, 'peer_misbehaved'],
  ] as const) {
    test(`HTTP ${status} → ${code}`, async (t) => {
      const url = await rawServer(t, (method, respond) => {
        if (method === 'triggers/list') respond(status, 'text/plain', 'no');
      });
      const client = await connected(t, { url });
      await assert.rejects(client.list(), { code });
    });
  }

  test('an HTML page → peer_misbehaved', async (t) => {
    const url = await rawServer(t, (method, respond) => {
      if (method === 'triggers/list') respond(200, 'text/html', '<h1>Parked</h1>');
    });
    const client = await connected(t, { url });
    await assert.rejects(client.list(), { code: 'peer_misbehaved' });
  });

  test('JSON that is not JSON-RPC → peer_misbehaved', async (t) => {
    const url = await rawServer(t, (method, respond) => {
      if (method === 'triggers/list') respond(200, 'application/json', '{"a":1}');
    });
    const client = await connected(t, { url });
    await assert.rejects(client.list(), { code: 'peer_misbehaved' });
  });

  test('nothing listening → unreachable', async (t) => {
    await assert.rejects(connected(t, { url: 'http://127.0.0.1:9/mcp' }), { code: 'unreachable' });
    await assert.rejects(connected(t, { command: 'no-such-program-anywhere' }), {
      code: 'unreachable',
    });
  });

  test('no error contains the access token', async (t) => {
    const url = await rawServer(t, (_method, respond) => respond(401, 'text/plain', 'no'));
    const error = await connected(t, { url, token: 'canary-token' }).catch(
      (thrown: unknown) => thrown as Error,
    );
    assert.equal((error as { code?: string }).code, 'unauthorized');
    const { inspect } = await import('node:util');
    assert.doesNotMatch(inspect(error, { depth: 10, showHidden: true }), /canary-token/);
  });
});

/** A server below the SDK: discovery is correct, everything else is up to `answer`. */
async function rawServer(
  t: TestContext,
  answer: (method: string, respond: (status: number, type: string, body: string) => void) => void,
): Promise<string> {
  const server = createServer((request, response) => {
    let body = '';
    request.on('data', (chunk) => {
      body += chunk;
    });
    request.on('end', () => {
      const { id, method } = JSON.parse(body || '{}') as { id?: number; method?: string };
      const respond = (status: number, type: string, text: string): void => {
        response.writeHead(status, { 'content-type': type }).end(text);
      };
      answer(method ?? '', respond);
      if (response.headersSent) return;
      const capabilities = {
        extensions: { [EXTENSION_ID]: { revision: REVISION, levels: ['log', 'durable'] } },
      };
      const result = {
        resultType: 'complete',
        supportedVersions: ['2026-07-28'],
        capabilities,
        ttlMs: 0,
        cacheScope: 'private',
      };
      respond(200, 'application/json', JSON.stringify({ jsonrpc: '2.0', id, result }));
    });
  });
  await new Promise<void>((resolve) => {
    server.listen(0, '127.0.0.1', resolve);
  });
  t.onTestFinished(() => {
    server.closeAllConnections();
    server.close();
  });
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}/mcp`;
}
