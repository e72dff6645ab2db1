/**
 * Tests the declaration of trigger types with zod and with plain JSON Schema, and what is rejected.
 */
import assert from 'node:assert/strict';
import { describe, test } from 'vitest';
import { z } from 'zod';
import { defineTrigger } from '../../../src/server/engine/define-trigger.ts';
import { LocalError } from '../../../src/protocol/wire/errors.ts';
import { compileUserSchema } from '../../../src/protocol/wire/user-schema.ts';

const base = { name: 'order.paid', description: 'An order was paid.' };

test('turns zod schemas into the JSON Schema 2020-12 of what a client may send, which the engine accepts', () => {
  const { type } = defineTrigger({
    ...base,
    input: z.object({ shop: z.string().default('all'), min: z.int().min(1).optional() }),
    payload: z.object({ cents: z.int(), at: z.iso.datetime(), mail: z.email().optional() }),
  });
  assert.deepEqual(type.inputSchema, {
    type: 'object',
    properties: {
      shop: { type: 'string', default: 'all' },
      min: { type: 'integer', minimum: 1, maximum: Number.MAX_SAFE_INTEGER },
    },
  });
  assert.ok(compileUserSchema(type.inputSchema)({}).ok);
  assert.ok(!compileUserSchema(type.inputSchema)({ min: 0 }).ok);
  assert.ok(compileUserSchema(type.payloadSchema)({ cents: 1, at: '2026-11-21T09:30:00Z' }).ok);
});

test('passes plain JSON Schema through unchanged', () => {
  const input = { type: 'object', properties: { a: { const: 1 } } };
  assert.equal(defineTrigger({ ...base, input, payload: {} }).type.inputSchema, input);
});

test('puts only the given members into the type', () => {
  const { type } = defineTrigger({ ...base, input: { type: 'object' }, payload: {} });
  assert.deepEqual(Object.keys(type), ['name', 'description', 'inputSchema', 'payloadSchema']);
  const full = defineTrigger({
    ...base,
    title: 'Paid',
    input: { type: 'object' },
    payload: {},
    drains: ['pull'],
    retention: { maxAgeMs: 1000, maxEvents: 5 },
    history: { maxAgeMs: 500 },
    ordering: 'source',
    _meta: { a: 1 },
  });
  assert.partialDeepStrictEqual(full.type, {
    title: 'Paid',
    drains: ['pull'],
    retention: { maxAgeMs: 1000, maxEvents: 5 },
    history: { maxAgeMs: 500 },
    ordering: 'source',
    _meta: { a: 1 },
  });
});

test('makes the events of its type', () => {
  const paid = defineTrigger({
    ...base,
    input: z.object({}),
    payload: z.object({ cents: z.int() }),
  });
  assert.deepEqual(paid.event({ data: { cents: 5 } }), { name: 'order.paid', data: { cents: 5 } });
  assert.deepEqual(paid.event({ data: { cents: 5 }, eventId: 'e', timestamp: 7 }), {
    name: 'order.paid',
    data: { cents: 5 },
    eventId: 'e',
    timestamp: 7,
  });
});

test('derives TypeScript types from the schemas', () => {
  defineTrigger({
    ...base,
    input: z.object({ min: z.int().optional() }),
    payload: z.object({ cents: z.int() }),
    attributes: { min: (data) => data.cents satisfies number },
    match: (args, data) => (args.min ?? 0) <= data.cents,
  });
  const paid = defineTrigger({
    ...base,
    input: z.object({}),
    payload: z.object({ cents: z.int() }),
  });
  // @ts-expect-error a string is not a number of cents
  paid.event({ data: { cents: 'five' } });
  defineTrigger({
    ...base,
    input: z.object({ shop: z.string() }),
    payload: z.object({}),
    // @ts-expect-error the schema has no such argument
    attributes: { nothing: () => 1 },
  });
});

describe('rejects', () => {
  const rows: readonly (readonly [
    about: string,
    input: Parameters<typeof defineTrigger>[0]['input'],
    payload: Parameters<typeof defineTrigger>[0]['payload'],
    complaint: RegExp,
  ])[] = [
    [
      'an input that is a string',
      z.string() as never,
      {},
      /"order\.paid": the root of "input" must be an object schema/,
    ],
    ['an input without a type', {}, {}, /the root of "input" must be an object schema/],
    [
      'a payload that JSON cannot hold',
      z.object({}),
      z.object({ at: z.date() }),
      /"payload" cannot be written as JSON Schema 2020-12/,
    ],
  ];
  for (const [about, input, payload, complaint] of rows) {
    test(about, () => {
      assert.throws(
        () => defineTrigger({ ...base, input, payload }),
        (error) =>
          error instanceof LocalError &&
          error.code === 'schema_refused' &&
          complaint.test(error.message),
      );
    });
  }
});
