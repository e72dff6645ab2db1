/** Fixtures for the conformance suite: nobody sees them who has not asked for them, and whoever starts the server is told. That they do what the suite wants, the suite tests. */
import assert from 'node:assert/strict';
import { test } from 'vitest';
import { ERAS, startServer, type Running } from './harness.ts';

/** The base protocol's error for a capability that the client has not declared. */
const MISSING_CAPABILITY = -32021;

const namesOf = (result: Record<string, unknown> | undefined, list: string) =>
  ((result?.[list] ?? []) as { name: string }[]).map(({ name }) => name);
const fixtures = async (server: Running) =>
  [
    ...namesOf((await server.call('tools/list')).result, 'tools'),
    ...namesOf((await server.call('prompts/list')).result, 'prompts'),
  ].filter((name) => name.startsWith('test_'));

test('a server that was not asked for fixtures has none', async () => {
  const server = await startServer();
  try {
    assert.deepEqual(await fixtures(server), []);
    assert.ok(!server.output.join('').includes('fixtures'));
  } finally {
    await server.close();
  }
});

test('a server that was asked for them says so when it starts, and keeps what it has besides', async () => {
  const server = await startServer({ TRIGGERS_FIXTURES: 'conformance' });
  try {
    assert.ok((await fixtures(server)).length > 20);
    assert.match(server.output.join(''), /UNSAFE +fixtures for the conformance suite/);
    const { result } = await server.call('triggers/list');
    assert.deepEqual(namesOf(result, 'triggers'), ['door.opened']);
    assert.equal((await server.post({}, { as: null })).status, 401);
  } finally {
    await server.close();
  }
});

for (const era of ERAS) {
  test(`a client that cannot be asked is told so instead of being asked (${era})`, async () => {
    const server = await startServer({ TRIGGERS_FIXTURES: 'conformance' });
    try {
      const client = await server.client(era, 'alice');
      const told = await client
        .request('tools/call', { name: 'test_missing_capability', arguments: {} })
        .catch((error: unknown) => error);
      if (era === 'v2 modern') assert.equal((told as { code: unknown }).code, MISSING_CAPABILITY);
      else assert.equal((told as { isError: unknown }).isError, true);
      await client.close();
    } finally {
      await server.close();
    }
  });
}
