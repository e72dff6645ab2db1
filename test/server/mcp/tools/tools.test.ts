/**
 * Tests how the three tools are announced, and that they coexist with the other tools of a server.
 */
import assert from 'node:assert/strict';
import { afterAll, beforeAll, describe, test } from 'vitest';
import { InMemoryTransport, McpServer } from '@modelcontextprotocol/server';
import { z } from 'zod';
import { attachTools } from '../../../../src/server/mcp/tools/install.ts';
import { tools } from '../../../../src/server/mcp/tools/tools.ts';
import type { Engine } from '../../../../src/server/engine/verbs.ts';
import { compileUserSchema } from '../../../../src/protocol/wire/user-schema.ts';
import { startEngine } from '../harness.ts';
import { agent } from './support.ts';

let engine: Engine;
beforeAll(async () => {
  engine = await startEngine();
});
afterAll(() => engine.close());

const server = () => new McpServer({ name: 'test', version: '1' });
const own = (mcp: McpServer, name: string) =>
  mcp.registerTool(
    name,
    { description: "The application's own.", inputSchema: z.object({ n: z.number() }) },
    ({ n }) => ({ content: [{ type: 'text', text: String(n * 2) }] }),
  );

describe('announcement', () => {
  test('gives each tool a title, a description, hints and both schemas, the same on the wire as in the table', async () => {
    const { client, close } = await agent(engine);
    const announced = (await client.listTools()).tools;
    assert.deepEqual(
      announced.map(({ name }) => name),
      ['watch', 'check', 'unwatch'],
    );
    for (const [
      at,
      { name, title, description, annotations, inputSchema, outputSchema },
    ] of announced.entries()) {
      assert.deepEqual(
        { title, annotations, inputSchema, outputSchema },
        {
          title: tools[at]?.title,
          annotations: tools[at]?.hints,
          inputSchema: tools[at]?.inputSchema,
          outputSchema: tools[at]?.outputSchema,
        },
      );
      assert.ok(
        description !== undefined && description.length > 60 && description.length < 700,
        `${name}: ${description?.length} characters`,
      );
      compileUserSchema(inputSchema);
      compileUserSchema(outputSchema ?? assert.fail());
    }
    // Clients decide by the hints what they call without asking a person: only unwatch is
    // destructive.
    assert.deepEqual(
      announced.map(({ annotations }) => [
        annotations?.readOnlyHint,
        annotations?.destructiveHint,
        annotations?.idempotentHint,
      ]),
      [
        [false, false, true],
        [false, false, true],
        [false, true, true],
      ],
    );
    await close();
  });

  test('has no schema that accepts an unnamed member', () => {
    const open: string[] = [];
    const walk = (node: unknown, path: string): void => {
      if (typeof node !== 'object' || node === null) return;
      const { type, properties, additionalProperties } = node as Record<string, unknown>;
      if (type === 'object' && properties !== undefined && additionalProperties !== false)
        open.push(path);
      for (const [member, child] of Object.entries(node)) walk(child, `${path}/${member}`);
    };
    for (const { kind, inputSchema, outputSchema } of tools)
      walk({ inputSchema, outputSchema }, kind);
    assert.deepEqual(open, []);
  });

  test('uses a prefix in the names, the descriptions, the next call and the advice of errors', async () => {
    const { client, call, watch, refused, close } = await agent(engine, { prefix: 'events_' });
    const announced = (await client.listTools()).tools;
    assert.deepEqual(
      announced.map(({ name }) => name),
      ['events_watch', 'events_check', 'events_unwatch'],
    );
    for (const { description } of announced)
      assert.doesNotMatch(
        description ?? '',
        /(?<!events_)\b(watch|check|unwatch) (once|again and again|at the end)/,
      );
    const { watchId, next } = await watch('alarm.raised', { house: 'prefixed' });
    assert.equal(next.tool, 'events_check');
    assert.match(
      (await refused('events_check', { watchId: 'nobody' })).error.message,
      /Call events_watch/,
    );
    assert.equal((await call(next.tool, next.arguments)).isError, false);
    await call('events_unwatch', { watchId });
    await close();
  });

  test('rejects a prefix that no tool name may have', () => {
    for (const prefix of ['a b', 'ä', 'x'.repeat(65), 'a/'])
      assert.throws(() => attachTools(server(), engine, { prefix }), { code: 'config_invalid' });
  });
});

describe('attaching', () => {
  test("keeps the application's own tools working, whether they came before or after", async () => {
    const { client, call, watch, close } = await agent(
      engine,
      {},
      (mcp) => void own(mcp, 'double'),
    );
    assert.deepEqual(
      (await client.listTools()).tools.map(({ name }) => name),
      ['double', 'watch', 'check', 'unwatch'],
    );
    assert.equal(
      (await client.callTool({ name: 'double', arguments: { n: 21 } })).content[0]?.type,
      'text',
    );
    const { watchId } = await watch('alarm.raised', { house: 'neighbours' });
    await call('unwatch', { watchId });
    await close();

    const mcp = server();
    attachTools(mcp, engine);
    own(mcp, 'double');
    assert.doesNotThrow(() => mcp.registerTool('third', {}, () => ({ content: [] })));
  });

  test('twice, to a connected server, or beside a tool of the same name is rejected and leaves the server unchanged', async () => {
    const twice = server();
    attachTools(twice, engine);
    assert.throws(() => attachTools(twice, engine, { prefix: 'other_' }), /already has the tools/);

    const connected = server();
    await connected.connect(InMemoryTransport.createLinkedPair()[0]);
    assert.throws(() => attachTools(connected, engine), /before connecting/);
    await connected.close();

    const taken = server();
    own(taken, 'check');
    assert.throws(() => attachTools(taken, engine), /check is already registered/);
    // Nothing of the failed attempt prevents another one.
    assert.doesNotThrow(() => own(taken, 'watch'));
    assert.doesNotThrow(() => attachTools(taken, engine, { prefix: 'events_' }));
  });

  test('makes an unexpected failure one fixed error; the log gets the cause', async () => {
    const logged: unknown[] = [];
    const log = {
      debug() {},
      info() {},
      warn() {},
      error: (fields: object) => void logged.push((fields as { err: unknown }).err),
    };
    const canary = new Error('canary');
    for (const options of [
      { ready: () => Promise.reject(canary) },
      {
        caller: () => {
          throw canary;
        },
      },
    ]) {
      const { call, close } = await agent(engine, { ...options, log });
      const { isError, text, structured } = await call('watch');
      assert.deepEqual(
        [isError, text],
        [true, 'The server had an internal error. Call again later.'],
      );
      assert.deepEqual(structured, {
        error: { name: 'InternalError', code: -32603, message: text },
      });
      await close();
    }
    assert.deepEqual(logged, [canary, canary]);
  });

  test('[gen-check-order] the shape of the arguments is checked before the principal', async () => {
    const { refused, close } = await agent(engine, {
      caller: () => {
        throw new Error('not asked');
      },
    });
    assert.equal((await refused('check', { watchId: 7 })).error.name, 'InvalidParams');
    await close();
  });
});

describe('bad input is rejected with its place and what is expected there', () => {
  const position = { epoch: 'abcdefgh', sequence: 0 };
  const cases: readonly (readonly [tool: string, args: object, path: string, expected?: RegExp])[] =
    [
      ['check', {}, '/watchId', /required/],
      ['check', { watchId: 7 }, '/watchId', /a string/],
      ['check', { watchId: '' }, '/watchId'],
      ['check', { watchId: 'x'.repeat(129) }, '/watchId'],
      ['check', { watchId: 'x', done: 4 }, '/done', /an object/],
      ['check', { watchId: 'x', done: null }, '/done'],
      ['check', { watchId: 'x', done: '{"epoch":"abcdefgh","sequence":0}' }, '/done', /an object/],
      ['check', { watchId: 'x', done: { sequence: 1 } }, '/done/epoch', /required/],
      [
        'check',
        { watchId: 'x', done: { ...position, sequence: -1 } },
        '/done/sequence',
        /at least 0/,
      ],
      [
        'check',
        { watchId: 'x', done: { ...position, sequence: 1.5 } },
        '/done/sequence',
        /an integer/,
      ],
      ['check', { watchId: 'x', done: { ...position, more: 1 } }, '/done', /no member beyond/],
      ['check', { watchId: 'x', maxEvents: 0 }, '/maxEvents', /at least 1/],
      ['check', { watchId: 'x', maxEvents: 1001 }, '/maxEvents', /at most 1000/],
      ['check', { watchId: 'x', waitMs: 5 }, '', /no member beyond/],
      ['watch', { trigger: 7 }, '/trigger'],
      ['watch', { trigger: '' }, '/trigger'],
      ['watch', { arguments: { house: 'a' } }, '/trigger', /the name of a trigger type/],
      ['watch', { trigger: 'alarm.raised', cursor: 'a' }, '/cursor', /no cursor/],
      ['watch', { trigger: 'alarm.raised', arguments: [] }, '/arguments', /an object/],
      [
        'watch',
        { trigger: 'alarm.raised', arguments: { house: 7 } },
        '/arguments/house',
        /a string/,
      ],
      ['watch', { trigger: 'alarm.raised', arguments: { house: '\ud800' } }, '', /surrogates/],
      [
        'watch',
        {
          trigger: 'alarm.raised',
          arguments: JSON.parse(`${'{"a":'.repeat(100)}1${'}'.repeat(100)}`) as object,
        },
        '',
        /levels of nesting/,
      ],
      ['unwatch', {}, '/watchId', /required/],
      ['unwatch', { watchId: ['x'] }, '/watchId', /a string/],
    ];
  for (const [tool, args, path, expected = /./] of cases) {
    test(`${tool} ${JSON.stringify(args).slice(0, 80)}`, async () => {
      const { refused, list, close } = await agent(engine);
      const { error } = await refused(tool, args);
      assert.deepEqual(
        [error.name, error.code, error.data['path']],
        ['InvalidParams', -32602, path],
      );
      assert.match(String(error.data['expected']), expected);
      assert.match(error.message, /Correct this and call again/);
      assert.deepEqual((await list()).watches, [], 'nothing was created');
      await close();
    });
  }
});
