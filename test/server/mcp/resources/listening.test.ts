/**
 * Tests change notifications over HTTP: who gets them, what is acknowledged, and when they end,
 * with `subscriptions/listen` of 2026-07-28 and with sessions of the handshake era.
 */
import assert from 'node:assert/strict';
import { afterAll, beforeAll, describe, test } from 'vitest';
import { eventually } from '../../../journeys/support.ts';
import { Listened } from './listened.ts';
import { meter, pageOf, READERS, World, type ReaderKind } from './world.ts';

const BOX = 'triggers://feeds/box.opened';
const TAG = 'io.modelcontextprotocol/subscriptionId';

let world: World;
beforeAll(async () => {
  world = await World.start();
});
afterAll(() => world.close());

let subjects = 0;
const somebody = (): string => `listener-${(subjects += 1)}`;

interface Asking {
  readonly as: string;
  readonly expiresInSeconds?: number;
  readonly id?: number | string;
  readonly filter?: object;
}

/** Listens without any SDK. */
const listen = (
  uris: readonly string[],
  { as, id = 'l', filter = {}, expiresInSeconds = 600 }: Asking,
): Promise<Listened> =>
  Listened.open((signal) =>
    world.post(
      'subscriptions/listen',
      {
        notifications: { ...filter, ...(uris.length === 0 ? {} : { resourceSubscriptions: uris }) },
      },
      { as, id, signal, claims: { exp: Math.floor(Date.now() / 1000) + expiresInSeconds } },
    ),
  );

const read = async (uri: string, as: string) =>
  pageOf((await world.call('resources/read', { uri }, { as })).result!);
const notified = (listened: { readonly notifications: readonly string[] }, times: number) =>
  eventually(`${times} notifications`, () => listened.notifications.length >= times);
/** Resolves when everything sent before has arrived: a later notification has reached another client. */
async function nothingMore(): Promise<void> {
  const as = somebody();
  const other = await listen([BOX], { as });
  await other.acknowledged();
  await world.open();
  await notified(other, 1);
  other.cut();
}

for (const kind of READERS) {
  describe(`change notifications for ${kind}`, () => {
    test('announce news under the URI that the listener used, and reach no other client', async () => {
      const [subject, stranger] = [somebody(), somebody()];
      const [reader, mallory] = [
        await world.reader(kind, subject),
        await world.reader(kind, stranger),
      ];
      const spelled = `${BOX}?box=%6Fdd`;
      assert.deepEqual(await reader.listen(spelled), [spelled]);
      const { subscriptionId } = await reader.read(spelled);
      const own = await mallory.read(BOX);
      await mallory
        .listen(`${BOX}?box=never`, `triggers://subscriptions/${own.subscriptionId}`)
        .catch(() => undefined);
      await world.open(2);
      await notified(reader, 1);
      await notified(mallory, 1);
      assert.deepEqual(new Set(reader.notifications), new Set([spelled]));
      assert.deepEqual(
        new Set(mallory.notifications),
        new Set([`triggers://subscriptions/${own.subscriptionId}`]),
      );
      assert.deepEqual((await reader.read(spelled)).subscriptionId, subscriptionId);
    });

    test('come once for a burst, and again after it was read', async () => {
      const reader = await world.reader(kind, somebody());
      const { next } = await reader.read(BOX);
      await reader.listen(BOX);
      await world.open();
      await notified(reader, 1);
      const page = await reader.read(next);
      await world.open(20);
      await notified(reader, 2);
      const rest = await reader.read(page.next);
      await nothingMore();
      // The number depends on the speed of this machine: one per second at most.
      assert.ok(
        reader.notifications.length < 20,
        `${reader.notifications.length} notifications for 21 events`,
      );
      assert.equal(rest.head, 21);
    });

    test('come at once for what is unread already', async () => {
      const reader = await world.reader(kind, somebody());
      await reader.read(BOX);
      await world.open();
      await reader.listen(BOX);
      await notified(reader, 1);
    });

    test('stop after the listener has stopped', async () => {
      const reader = await world.reader(kind, somebody());
      await reader.listen(BOX);
      const before = await world.waiting();
      await reader.unlisten(BOX);
      await eventually('nothing waits any more', async () => (await world.waiting()) < before);
      await world.open();
      await nothingMore();
      assert.deepEqual(reader.notifications, []);
    });

    test("are refused for another principal's log", async () => {
      const { subscriptionId } = await read(BOX, somebody());
      const subject = somebody();
      world.forbidden.add(`${subject} meter/read`);
      const reader = await world.reader(kind, subject);
      for (const uri of [
        `triggers://subscriptions/${subscriptionId}`,
        'triggers://feeds/meter%2Fread',
        'triggers://feeds/no.such',
        `${BOX}?window=a`,
        'file:///etc/passwd',
      ]) {
        const honored = await reader.listen(uri).catch(() => []);
        assert.deepEqual(honored, [], uri);
      }
    });

    test('announce that trigger types were added or removed', async () => {
      const reader = await world.reader(kind, somebody());
      await reader.templates();
      await reader.listen(BOX);
      world.engine.declare(meter);
      await eventually('the list has changed', () => reader.changes() === 1);
    });
  });
}

describe('subscriptions/listen', () => {
  test('acknowledges what it honors and omits the rest, in order', async () => {
    const as = somebody();
    const { subscriptionId } = await read(BOX, as);
    const foreign = await read(BOX, somebody());
    const uris = [
      `triggers://subscriptions/${subscriptionId}`,
      `triggers://subscriptions/${foreign.subscriptionId}`,
      BOX,
      'triggers://feeds/none',
      'triggers://',
      'file:///x',
      `${BOX}?after=x`,
      `${BOX}?floors=%5B1%5D`,
      BOX,
    ];
    const listened = await listen(uris, {
      as,
      id: 17,
      filter: { toolsListChanged: true, resourcesListChanged: true, somethingElse: true },
    });
    assert.deepEqual(await listened.acknowledged(), {
      toolsListChanged: true,
      resourcesListChanged: true,
      resourceSubscriptions: [uris[0], BOX, `${BOX}?floors=%5B1%5D`],
    });
    await world.open();
    await notified(listened, 2);
    for (const { params, id } of listened.messages)
      assert.deepEqual([params?.['_meta'][TAG], id], [17, undefined]);
    listened.cut();
  });

  test('ends at once when it honors nothing', async () => {
    const listened = await listen(['triggers://feeds/none', 'triggers-listen:open'], {
      as: somebody(),
    });
    await eventually('the end', () => listened.over === 'ended');
    assert.deepEqual(await listened.acknowledged(), {});
    assert.equal(listened.messages.at(-1)?.result?.['resultType'], 'complete');
  });

  test('carries the list changes of extensions, which are requested by their own members [list-changed-listen]', async () => {
    const listened = await listen([], {
      as: somebody(),
      filter: { eventsListChanged: true, triggersListChanged: true },
    });
    assert.deepEqual(await listened.acknowledged(), {
      eventsListChanged: true,
      triggersListChanged: true,
    });
    const other = await listen([], {
      as: somebody(),
      filter: { resourcesListChanged: true, eventsListChanged: 'yes' },
    });
    assert.deepEqual(await other.acknowledged(), { resourcesListChanged: true });
    world.engine.declare(meter);
    await eventually(
      'all three',
      () => listened.messages.length === 3 && other.messages.length === 2,
    );
    assert.deepEqual(
      listened.messages.slice(1).map(({ method, params }) => [method, params]),
      [
        ['notifications/triggers/list_changed', { _meta: { [TAG]: 'l' } }],
        ['notifications/events/list_changed', { _meta: { [TAG]: 'l' } }],
      ],
    );
    assert.deepEqual(other.messages[1]?.method, 'notifications/resources/list_changed');
    listened.cut();
    other.cut();
  });

  test('notifies for what came while it was being opened, after the acknowledgement', async () => {
    const as = somebody();
    await read(BOX, as);
    await world.open();
    const listened = await listen([BOX], { as });
    await notified(listened, 1);
    assert.equal(listened.messages[0]?.method, 'notifications/subscriptions/acknowledged');
    listened.cut();
  });

  test('does not notify for what a position declares as read', async () => {
    const as = somebody();
    const first = await read(BOX, as);
    await world.open();
    const page = await read(first.next, as);
    const listened = await listen([page.next], { as });
    await listened.acknowledged();
    await nothingMore();
    // That notification went to every listener, this one too, and only for that event.
    await notified(listened, 1);
    assert.deepEqual(new Set(listened.notifications), new Set([page.next]));
    listened.cut();
  });

  test('notifies a last time and ends when the log is revoked', async () => {
    const as = somebody();
    const { subscriptionId } = await read(BOX, as);
    const [listened, other] = [
      await listen([BOX], { as }),
      await listen([BOX], { as: somebody() }),
    ];
    await listened.acknowledged();
    await other.acknowledged();
    assert.equal(
      await world.engine.terminate(
        { principal: JSON.stringify([world.issuer.url, as]), subscriptionId },
        'revoked',
      ),
      1,
    );
    await eventually('the end', () => listened.over === 'ended');
    assert.deepEqual(listened.notifications, [BOX]);
    assert.equal(listened.messages.at(-1)?.result?.['resultType'], 'complete');
    assert.deepEqual([other.over, other.notifications], [null, []]);
    other.cut();
  });

  test('ends without a notification for a client that may no longer read the log', async () => {
    const as = somebody();
    const listened = await listen([BOX, 'triggers://feeds/meter%2Fread'], { as });
    assert.equal(((await listened.acknowledged())['resourceSubscriptions'] as string[]).length, 2);
    world.forbidden.add(`${as} meter/read`);
    await world.engine.emit(meter.event({ data: { value: 1 } }));
    await eventually('the end', () => listened.over === 'ended');
    assert.deepEqual(listened.notifications, []);
  });

  test('is limited for each principal, with an error that names the limit', async () => {
    const as = somebody();
    const tooMany = Array.from({ length: 65 }, (_, n) => `${BOX}?box=${n}`);
    const answered = async (listened: Listened) =>
      eventually('an answer', () => listened.messages[0]);
    const { error } = await answered(await listen(tooMany, { as }));
    assert.deepEqual(
      [error?.code, error?.data],
      [-32025, { kind: 'limit', limit: 'watched_resources', max: 64 }],
    );
    const open: Listened[] = [];
    for (let n = 0; n < 32; n += 1) open.push(await listen([BOX], { as, id: n }));
    for (const one of open) await one.acknowledged();
    assert.deepEqual((await answered(await listen([BOX], { as }))).error?.data, {
      kind: 'limit',
      limit: 'listen_streams',
      max: 32,
    });
    open.pop()!.cut();
    await eventually('room again', async () => {
      const again = await listen([BOX], { as });
      open.push(again);
      return (await answered(again)).method !== undefined;
    });
    for (const one of open) one.cut();
  });

  test("passes on the SDK's error for a request that the SDK rejects", async () => {
    for (const params of [
      {},
      { notifications: null },
      { notifications: { resourceSubscriptions: 'x' } },
      { notifications: { resourceSubscriptions: [1] } },
    ]) {
      const { error } = await world.call('subscriptions/listen', params, { as: somebody() });
      assert.equal(error?.code, -32602, JSON.stringify(params));
    }
  });
});

for (const kind of READERS.filter(
  (one): one is Exclude<ReaderKind, 'client 2.x, 2026-07-28'> => one !== 'client 2.x, 2026-07-28',
)) {
  describe(`a session of ${kind}`, () => {
    test('may watch a limited number of URIs', async () => {
      const reader = await world.reader(kind, somebody());
      for (let n = 0; n < 64; n += 1) await reader.listen(`${BOX}?box=${n}`);
      await assert.rejects(
        reader.listen(`${BOX}?box=64`),
        (error: { code?: number; data?: unknown }) =>
          error.code === -32025 &&
          JSON.stringify(error.data) === '{"kind":"limit","limit":"watched_resources","max":64}',
      );
      // The same URI again does not count twice.
      await reader.listen(`${BOX}?box=0`);
      await reader.unlisten(`${BOX}?box=0`, `${BOX}?box=0`);
      await reader.listen(`${BOX}?box=64`);
    });

    test('is notified of a feed whose log was restarted', async () => {
      const subject = somebody();
      const reader = await world.reader(kind, subject);
      await reader.listen(BOX);
      const { subscriptionId, next } = await reader.read(BOX);
      await world.call('triggers/unsubscribe', { subscriptionId }, { as: subject });
      await notified(reader, 1);
      assert.equal((await reader.read(next)).reset?.reason, 'epoch');
      await world.open();
      await notified(reader, 2);
    });
  });
}

describe('the stream of a session', () => {
  test('ends with the authorization it was opened with, and a newly opened one gets notifications again', async () => {
    const as = somebody();
    const send = async (
      method: 'POST' | 'GET',
      headers: Record<string, string>,
      body: object | undefined,
      expiresInSeconds: number,
      signal?: AbortSignal,
    ) =>
      fetch(world.url, {
        method,
        ...(body === undefined ? {} : { body: JSON.stringify({ jsonrpc: '2.0', ...body }) }),
        ...(signal === undefined ? {} : { signal }),
        headers: {
          'content-type': 'application/json',
          accept: method === 'GET' ? 'text/event-stream' : 'application/json, text/event-stream',
          ...headers,
          authorization: `Bearer ${await world.token(as, { exp: Math.floor(Date.now() / 1000) + expiresInSeconds })}`,
        },
      });
    const begun = await send(
      'POST',
      {},
      {
        id: 0,
        method: 'initialize',
        params: {
          protocolVersion: '2025-11-25',
          capabilities: {},
          clientInfo: { name: 'raw', version: '1' },
        },
      },
      600,
    );
    await begun.text();
    const session = {
      'mcp-session-id': begun.headers.get('mcp-session-id')!,
      'mcp-protocol-version': '2025-11-25',
    };
    const first = await Listened.open((signal) => send('GET', session, undefined, 2, signal));
    await (
      await send(
        'POST',
        session,
        { id: 1, method: 'resources/subscribe', params: { uri: BOX } },
        600,
      )
    ).text();
    await world.open();
    await notified(first, 1);
    await eventually('the end of the stream', () => first.over === 'ended');
    const second = await Listened.open((signal) => send('GET', session, undefined, 600, signal));
    await world.open();
    await notified(second, 1);
    assert.deepEqual(new Set([...first.notifications, ...second.notifications]), new Set([BOX]));
    second.cut();
  });
});

describe('nothing waits for news any more', () => {
  let own: World;
  beforeAll(async () => {
    own = await World.start();
  });
  afterAll(() => own.close());
  const silence = () => eventually('nobody waits', async () => (await own.waiting()) === 0);
  const listening = async (as: string, claims = {}) => {
    const listened = await Listened.open((signal) =>
      own.post(
        'subscriptions/listen',
        { notifications: { resourceSubscriptions: [BOX, `${BOX}?box=a`] } },
        { as, signal, claims },
      ),
    );
    await listened.acknowledged();
    assert.equal(await own.waiting(), 2);
    return listened;
  };

  for (const kind of READERS) {
    test(`once ${kind} has disconnected`, async () => {
      const reader = await own.reader(kind, somebody());
      await reader.listen(BOX, `${BOX}?box=a`);
      assert.equal(await own.waiting(), 2);
      await reader.close();
      await silence();
    });
  }

  test('once the authorization has expired, and the stream has ended with its result', async () => {
    const listened = await listening(somebody(), { exp: Math.floor(Date.now() / 1000) + 2 });
    await eventually('the end', () => listened.over === 'ended');
    assert.deepEqual(listened.messages.at(-1), {
      jsonrpc: '2.0',
      id: 1,
      result: { resultType: 'complete', _meta: { [TAG]: 1 } },
    });
    await silence();
  });

  test('once the connection is cut', async () => {
    (await listening(somebody())).cut();
    await silence();
  });

  test('once the SDK has rejected the request', async () => {
    const { error } = await own.call(
      'subscriptions/listen',
      { notifications: { resourceSubscriptions: [BOX], toolsListChanged: 'x' } },
      { as: somebody() },
    );
    assert.equal(error?.code, -32602);
    await silence();
  });

  test('once the server stops, which ends every listening stream', async () => {
    const stopping = await World.start();
    const listened = await Listened.open((signal) =>
      stopping.post(
        'subscriptions/listen',
        { notifications: { resourceSubscriptions: [BOX] } },
        { signal },
      ),
    );
    await listened.acknowledged();
    await stopping.close();
    await eventually('the end', () => listened.over === 'ended');
    assert.equal(listened.messages.at(-1)?.result?.['resultType'], 'complete');
  });
});
