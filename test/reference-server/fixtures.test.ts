/**
 * Tests the fixtures for the conformance suite: they exist only on request, and the server reports
 * them at its start. The suite tests what they do.
 */
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

test('a server without the option has no fixtures', async () => {
  const server = await startServer();
  try {
    assert.deepEqual(await fixtures(server), []);
    assert.ok(!server.output.join('').includes('fixtures'));
  } finally {
    await server.close();
  }
});

test('a server with the option reports it at its start, and keeps its other tools', async () => {
  const server = await startServer({ TRIGGERS_FIXTURES: 'conformance' });
  try {
    assert.ok((await fixtures(server)).length > 20);
    assert.match(server.output.join(''), /UNSAFE +fixtures for the conformance suite/);
    const { result } = await server.call('triggers/list');
    assert.deepEqual(namesOf(result, 'triggers'), ['box.opened']);
    assert.equal((await server.post({}, { as: null })).status, 401);
  } finally {
    await server.close();
  }
});

for (const era of ERAS) {
  test(`a client that cannot answer questions gets an error instead of a question (${era})`, async () => {
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
