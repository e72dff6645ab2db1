/**
 * Tests sessions of 2025-11-25 clients: who owns them, how many there may be, and that idle ones
 * end.
 */
import assert from 'node:assert/strict';
import { afterAll, beforeAll, describe, test } from 'vitest';
import { setTimeout as sleep } from 'node:timers/promises';
import { boxOpened, startServer, type Running } from './harness.ts';

const initialize = {
  jsonrpc: '2.0',
  id: 0,
  method: 'initialize',
  params: {
    protocolVersion: '2025-11-25',
    capabilities: {},
    clientInfo: { name: 'test', version: '1' },
  },
};

/** A handshake by hand: the session's id, or the error. */
async function handshake(
  server: Running,
  as = 'alice',
): Promise<{ readonly id: string | null; readonly status: number; readonly text: string }> {
  const response = await server.post(initialize, { as });
  return {
    id: response.headers.get('mcp-session-id'),
    status: response.status,
    text: await response.text(),
  };
}

/** The result in a response, which is JSON or one message of an event stream. */
function resultOf(text: string): any {
  const data = /^data: (.+)$/m.exec(text)?.[1] ?? text;
  return JSON.parse(data).result;
}

const inSession = (id: string) => ({ 'mcp-session-id': id, 'mcp-protocol-version': '2025-11-25' });
const list = { jsonrpc: '2.0', id: 1, method: 'triggers/list', params: {} };

describe('a session', () => {
  let server: Running;
  beforeAll(async () => {
    server = await startServer({ TRIGGERS_MAX_SESSIONS: '20' });
  });
  afterAll(() => server.close());

  test('belongs to the principal that opened it: another principal gets the answer of an unknown session [iso-own] [iso-not-found]', async () => {
    const { id } = await handshake(server);
    assert.ok(id);
    const own = await server.post(list, { headers: inSession(id) });
    assert.equal(own.status, 200);
    await own.body?.cancel();
    const foreign = await server.post(list, { as: 'mallory', headers: inSession(id) });
    const unknown = await server.post(list, {
      as: 'mallory',
      headers: inSession('00000000-0000-4000-8000-000000000000'),
    });
    assert.deepEqual([foreign.status, await foreign.text()], [404, await unknown.text()]);
    const end = await fetch(server.url, {
      method: 'DELETE',
      headers: { ...inSession(id), authorization: `Bearer ${await server.token('mallory')}` },
    });
    assert.equal(end.status, 404);
    const still = await server.post(list, { headers: inSession(id) });
    assert.equal(still.status, 200);
    await still.body?.cancel();
  });

  for (const revision of ['2025-06-18', '2025-11-25']) {
    test(`of revision ${revision} can poll and stream events [SEP-3415 D13 D19 D21]`, async () => {
      const opened = await server.post({
        ...initialize,
        params: { ...initialize.params, protocolVersion: revision },
      });
      const headers = {
        'mcp-session-id': opened.headers.get('mcp-session-id')!,
        'mcp-protocol-version': revision,
      };
      assert.match(await opened.text(), new RegExp(`"protocolVersion":"${revision}"`));
      const ask = (method: string, params: object) =>
        server.post(
          { jsonrpc: '2.0', id: method, method, params: { name: boxOpened.type.name, ...params } },
          { headers },
        );
      const poll = async (cursor: string | null) =>
        resultOf(await (await ask('events/poll', { cursor })).text());
      const { cursor } = await poll(null);
      assert.equal(typeof cursor, 'string');
      const stream = await ask('events/stream', { cursor });
      const frames = stream.body!.pipeThrough(new TextDecoderStream()).getReader();
      await server.emit({
        name: boxOpened.type.name,
        eventId: `of-${revision}`,
        data: { box: 'front', by: 'ann' },
      });
      let text = '';
      while (!text.includes(`of-${revision}`)) text += (await frames.read()).value!;
      assert.match(text, /notifications\/events\/active/);
      await frames.cancel();
      const { events } = await poll(cursor);
      assert.deepEqual(
        events.map(({ eventId }: { readonly eventId: string }) => eventId),
        [`of-${revision}`],
      );
    });
  }

  test('ends with DELETE', async () => {
    const { id } = await handshake(server);
    const authorization = `Bearer ${await server.token('alice')}`;
    assert.equal(
      (await fetch(server.url, { method: 'DELETE', headers: { ...inSession(id!), authorization } }))
        .status,
      200,
    );
    assert.equal((await server.post(list, { headers: inSession(id!) })).status, 404);
  });

  test('is required for everything but the handshake', async () => {
    assert.equal((await server.post(list)).status, 400);
    assert.equal((await server.post({ ...initialize, params: {} })).status, 400);
  });

  test('gives way to a newer one when its principal has as many as it may have', async () => {
    // The server allows 20 in all, so two for each principal.
    const first = await handshake(server, 'carol');
    const second = await handshake(server, 'carol');
    const third = await handshake(server, 'carol');
    assert.deepEqual([first.status, second.status, third.status], [200, 200, 200]);
    const asked = async (id: string | null) => {
      const response = await server.post(list, { as: 'carol', headers: inSession(id!) });
      await response.body?.cancel();
      return response.status;
    };
    assert.deepEqual(
      [await asked(first.id), await asked(second.id), await asked(third.id)],
      [404, 200, 200],
    );
  });

  test('is refused to a principal whose sessions are all in use, while other principals get one', async () => {
    const authorization = `Bearer ${await server.token('erin')}`;
    const streams: Response[] = [];
    for (let n = 0; n < 2; n += 1) {
      const { id } = await handshake(server, 'erin');
      streams.push(
        await fetch(server.url, {
          headers: { ...inSession(id!), authorization, accept: 'text/event-stream' },
        }),
      );
    }
    const { status, text } = await handshake(server, 'erin');
    assert.equal(status, 503);
    assert.deepEqual((JSON.parse(text) as { error: { data: unknown } }).error.data, {
      kind: 'limit',
      limit: 'sessions',
      max: 2,
    });
    assert.equal((await handshake(server, 'frank')).status, 200);
    for (const stream of streams) await stream.body?.cancel();
  });

  test('closes the response stream of a canceled request and sends nothing more on it [stream-cancel]', async () => {
    const { id } = await handshake(server, 'dora');
    const call = (message: object) =>
      server.post({ jsonrpc: '2.0', ...message }, { as: 'dora', headers: inSession(id!) });
    const made = await (
      await call({
        id: 1,
        method: 'triggers/subscribe',
        params: { key: 'k', select: [{ name: 'box.opened' }] },
      })
    ).text();
    const subscriptionId = /"subscriptionId":"([^"]+)"/.exec(made)?.[1];
    const stream = await call({ id: 2, method: 'triggers/stream', params: { subscriptionId } });
    const text = stream.text();
    await sleep(50);
    assert.equal(
      (await call({ method: 'notifications/cancelled', params: { requestId: 2 } })).status,
      202,
    );
    // By default the SDK's session transport never closes it.
    const all = await text;
    assert.equal(all.match(/notifications\/triggers\/delivery/g)?.length, 1);
    assert.ok(!all.includes('"result"'));
    await server.emit(boxOpened.event({ data: { box: 'front', by: 'x' } }));
  });
});

test('that could not be opened takes no place', async () => {
  const server = await startServer({ TRIGGERS_MAX_SESSIONS: '1' });
  try {
    const failed = await server.post(initialize, { headers: { accept: 'text/html' } });
    assert.equal(failed.status, 406);
    await failed.body?.cancel();
    assert.equal((await handshake(server, 'bob')).status, 200);
  } finally {
    await server.close();
  }
});

test('ends when unused, but not while a stream is open', async () => {
  const server = await startServer({ TRIGGERS_SESSION_IDLE_MS: '1000' });
  const unused = await handshake(server);
  const used = await handshake(server, 'bob');
  const authorization = `Bearer ${await server.token('bob')}`;
  const standing = await fetch(server.url, {
    headers: { ...inSession(used.id!), authorization, accept: 'text/event-stream' },
  });
  assert.equal(standing.status, 200);
  // Probing a session counts as using it, so the test probes once, well after the session is due.
  await sleep(3500);
  assert.equal((await server.post(list, { headers: inSession(unused.id!) })).status, 404);
  const answer = await server.post(list, { as: 'bob', headers: inSession(used.id!) });
  assert.equal(answer.status, 200);
  await answer.body?.cancel();
  await standing.body?.cancel();
  await server.close();
});
