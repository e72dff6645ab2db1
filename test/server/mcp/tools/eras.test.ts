/**
 * Tests the tools over HTTP for each generation of clients: each of them reaches the same watch,
 * and no other principal does.
 */
import assert from 'node:assert/strict';
import { afterAll, beforeAll, describe, test } from 'vitest';
import type { Checked } from '../../../../src/server/mcp/tools/schemas.ts';
import {
  boxOpened,
  ERAS,
  modern,
  startServer,
  type AnyClient,
  type Running,
} from '../../../reference-server/harness.ts';
import { covered, type Refused, type Watching } from './support.ts';

let server: Running;
beforeAll(async () => {
  server = await startServer();
});
afterAll(() => server.close());

const call = async <T>(client: AnyClient, name: string, args: object): Promise<T> => {
  const { structuredContent, content } = await client.request('tools/call', {
    name,
    arguments: args,
  });
  assert.equal((content as { type: string }[])[0]?.type, 'text');
  return structuredContent as T;
};
const opened = (box: string, n: number) =>
  server.emit(boxOpened.event({ eventId: `${box}-${n}`, data: { box, by: `visitor ${n}` } }));

for (const era of ERAS) {
  describe(`a ${era} client`, () => {
    let client: AnyClient;
    beforeAll(async () => {
      client = await server.client(era, 'alice');
    });
    afterAll(() => client.close());

    test('finds the tools', async () => {
      const { tools } = await client.request('tools/list');
      assert.deepEqual(
        (tools as { name: string }[]).map(({ name }) => name),
        ['watch', 'check', 'unwatch'],
      );
      assert.ok('tools' in client.capabilities);
    });

    test('follows two triggers side by side, and acknowledges one of them', async () => {
      const [left, right] = [`${era} left`, `${era} right`];
      const watches = await Promise.all(
        [left, right].map((box) =>
          call<Watching>(client, 'watch', { trigger: 'box.opened', arguments: { box } }),
        ),
      );
      for (const n of [1, 2, 3]) await Promise.all([opened(left, n), opened(right, n)]);
      const [first, second] = await Promise.all(
        watches.map(({ next }) => call<Checked>(client, next.tool, next.arguments)),
      );
      assert.deepEqual(
        [first, second].map((one) => one?.events.map(({ eventId }) => eventId)),
        [left, right].map((box) => [1, 2, 3].map((n) => `${box}-${n}`)),
      );
      assert.equal(covered(await call(client, 'check', first!.next.arguments)), '');
      assert.equal(covered(await call(client, 'check', { watchId: second!.watchId })), '1 2 3');
    });

    test('gets an error as a readable result of the call', async () => {
      const { isError, structuredContent } = await client.request('tools/call', {
        name: 'check',
        arguments: {},
      });
      assert.deepEqual(
        [isError, (structuredContent as Refused).error.name],
        [true, 'InvalidParams'],
      );
    });
  });
}

test('continues a watch that was begun in another revision', async () => {
  const ids = new Set<string>();
  for (const [n, era] of ERAS.entries()) {
    const client = await server.client(era, 'alice');
    const { watchId } = await call<Watching>(client, 'watch', {
      trigger: 'box.opened',
      arguments: { box: 'shared' },
    });
    ids.add(watchId);
    await opened('shared', n + 1);
    const answer = await call<Checked>(client, 'check', { watchId });
    assert.equal(covered(answer), String(n + 1));
    await call(client, 'check', answer.next.arguments);
    await client.close();
  }
  assert.equal(ids.size, 1);
});

test("[iso-own] gets the same answer for another subject's watch as for one that never existed", async () => {
  const [alice, mallory] = [
    await server.client('v2 modern', 'alice'),
    await server.client('v2 modern', 'mallory'),
  ];
  const { watchId } = await call<Watching>(alice, 'watch', {
    trigger: 'box.opened',
    arguments: { box: 'private' },
  });
  const asked = (id: string) =>
    mallory.request('tools/call', { name: 'check', arguments: { watchId: id } });
  const foreign = await asked(watchId);
  assert.equal(foreign['isError'], true);
  assert.deepEqual(foreign, await asked(`sub_${'A'.repeat(watchId.length - 4)}`));
  await Promise.all([alice.close(), mallory.close()]);
});

test('cannot call a tool without a token', async () => {
  const { body, headers } = modern('tools/call', { name: 'watch', arguments: {} });
  const { status } = await server.post(body, {
    as: null,
    headers: { ...headers, 'mcp-name': 'watch' },
  });
  assert.equal(status, 401);
  assert.equal(
    (await server.post(body, { headers: { ...headers, 'mcp-name': 'watch' } })).status,
    200,
  );
});
