/**
 * Tests validation of params from a peer: what is rejected, where the pointer points, and that the
 * message repeats no value.
 */
import { describe, test } from 'vitest';
import assert from 'node:assert/strict';
import fc from 'fast-check';
import { LocalError, WireError } from '../../../src/protocol/wire/errors.ts';
import { compileUserSchema } from '../../../src/protocol/wire/user-schema.ts';
import { check, parseParams, type ParamsName } from '../../../src/protocol/wire/validate.ts';

const ID = 'sub_Zk3fQ8sL0vR2bT6yX1cN5mW9aE4hJ7dU';
const SECRET = `whsec_${Buffer.alloc(32, 1).toString('base64')}`;
const SELECT = [{ name: 'deploy.finished' }];

const LIFETIME = /^an integer of at least 1 and at most 315576000000$/;
const TOGETHER = /^no value together with the other member$/;
const BASES: readonly (readonly [name: ParamsName, base: object])[] = [
  ['SubscribeRequestParams', { key: 'k', select: SELECT }],
  ['UpdateRequestParams', { subscriptionId: ID }],
];

type Row = readonly [name: ParamsName, params: unknown, path: string, expected: RegExp];
const TABLE: readonly Row[] = [
  ['SubscribeRequestParams', undefined, '/key', /required/],
  ['SubscribeRequestParams', [], '', /^an object$/],
  ['SubscribeRequestParams', { select: SELECT }, '/key', /required/],
  [
    'SubscribeRequestParams',
    { key: 'k', select: [] },
    '/select',
    /^an array of at least 1 and at most 64 items$/,
  ],
  ['SubscribeRequestParams', { key: 'k', select: SELECT, ttlMs: -1 }, '/ttlMs', LIFETIME],
  ...BASES.flatMap(([name, base]): Row[] => [
    [name, { ...base, ttlMs: 0 }, '/ttlMs', LIFETIME],
    [name, { ...base, ttlMs: 315_576_000_001 }, '/ttlMs', LIFETIME],
    [name, { ...base, ttlMs: null }, '/ttlMs', LIFETIME],
    [name, { ...base, noExpiry: false }, '/noExpiry', /^true$/],
    [name, { ...base, noExpiry: null }, '/noExpiry', /^true$/],
    [name, { ...base, ttlMs: 1, noExpiry: true }, '/noExpiry', TOGETHER],
    [name, { ...base, callback: null }, '/callback', /^an object$/],
    [name, [], '', /^an object$/],
  ]),
  [
    'UpdateRequestParams',
    { subscriptionId: ID, removeCallback: false },
    '/removeCallback',
    /^true$/,
  ],
  [
    'UpdateRequestParams',
    {
      subscriptionId: ID,
      callback: { url: 'https://a.example/', secret: SECRET },
      removeCallback: true,
    },
    '/removeCallback',
    TOGETHER,
  ],
  ['SubscribeRequestParams', { key: 'k', select: SELECT, ttlMs: 1.5 }, '/ttlMs', /^an integer/],
  [
    'SubscribeRequestParams',
    {
      key: 'k',
      select: SELECT,
      callback: { url: 'https://a.example/', secret: SECRET, skipAfterMs: 0 },
    },
    '/callback/skipAfterMs',
    /^an integer of at least 1 and at most 86400000$/,
  ],
  [
    'SubscribeRequestParams',
    { key: 'k', select: [{ name: 'a', arguments: 'x' }] },
    '/select/0/arguments',
    /^an object$/,
  ],
  [
    'SubscribeRequestParams',
    { key: 'k', select: SELECT, callback: { url: 'https://hooks.example.com/x' } },
    '/callback/secret',
    /required/,
  ],
  [
    'SubscribeRequestParams',
    {
      key: 'k',
      select: SELECT,
      callback: { url: 'https://hooks.example.com/x', secret: 'whsec_x' },
    },
    '/callback/secret',
    /whsec_/,
  ],
  [
    'SubscribeRequestParams',
    {
      key: 'k',
      select: SELECT,
      callback: { url: 'https://hooks.example.com/x', secret: `${SECRET.slice(0, -2)}B=` },
    },
    '/callback/secret',
    /^"whsec_" and standard base64/,
  ],
  [
    'SubscribeRequestParams',
    {
      key: 'k',
      select: SELECT,
      callback: { url: 'https://hooks.example.com/a b', secret: SECRET },
    },
    '/callback/url',
    /^a string that matches/,
  ],
  [
    'SubscribeRequestParams',
    { key: 'k', select: SELECT, since: '2026-11-21' },
    '/since',
    /^a string that matches/,
  ],
  [
    'SubscribeRequestParams',
    { key: 'k', select: SELECT, since: '2026-02-30T00:00:00.000Z' },
    '/since',
    /calendar/,
  ],
  [
    'SubscribeRequestParams',
    { key: 'k', select: [{ name: 'a', arguments: { x: '\ud800' } }] },
    '',
    /surrogates/,
  ],
  [
    'SubscribeRequestParams',
    { key: 'k', select: [{ name: 'a', arguments: { x: Infinity } }] },
    '',
    /finite/,
  ],
  ['UpdateRequestParams', { subscriptionId: ID, callback: 5 }, '/callback', /^an object$/],
  ['UpdateRequestParams', { subscriptionId: ID, paused: 'yes' }, '/paused', /^a boolean$/],
  ['PullRequestParams', { subscriptionId: ID, after: 5 }, '/after', /^an object$/],
  ['PullRequestParams', { subscriptionId: ID, after: { sequence: 5 } }, '/after/epoch', /required/],
  [
    'PullRequestParams',
    { subscriptionId: ID, ack: { epoch: 'epoch-01', sequence: 1.5 } },
    '/ack/sequence',
    /^an integer/,
  ],
  [
    'StreamRequestParams',
    { subscriptionId: ID, window: { events: 0 } },
    '/window/events',
    /^an integer of at least 1/,
  ],
  [
    'AckRequestParams',
    { subscriptionId: 'short', position: { epoch: 'epoch-01', sequence: 1 } },
    '/subscriptionId',
    /^a string that matches/,
  ],
];

describe('[gen-integers, pos-epoch, err-codes] params', () => {
  for (const [name, params, path, expected] of TABLE) {
    test(`${name} ${path || '(root)'} expects ${expected.source}`, () => {
      assert.throws(
        () => parseParams(name, params),
        (error: unknown) => {
          assert.ok(error instanceof WireError && error.is('InvalidParams'));
          assert.equal(error.code, -32602);
          assert.equal(error.data.path, path);
          assert.match(error.data.expected, expected);
          assert.equal(
            error.message,
            `Invalid params at "${path}": expected ${error.data.expected}.`,
          );
          assert.equal(check('InvalidParamsData', error.data).ok, true);
          return true;
        },
      );
    });
  }

  const since = [
    '2026-11-21T09:30:00.000Z',
    '2026-11-21T09:30:00Z',
    '2026-11-21t09:30:00.123456z',
    '2026-11-21T11:30:00+02:00',
    '2026-12-31T23:59:60Z',
  ];
  for (const text of since)
    test(`[gen-instants] accepts ${text} as since`, () =>
      assert.equal(
        parseParams('SubscribeRequestParams', { key: 'k', select: SELECT, since: text }).since,
        text,
      ));

  for (const ttlMs of [1, 315_576_000_000])
    test(`[ttl-clamp] accepts the lifetime ${ttlMs}`, () =>
      assert.equal(
        parseParams('SubscribeRequestParams', { key: 'k', select: SELECT, ttlMs }).ttlMs,
        ttlMs,
      ));

  test('accepts absent params like empty ones', () => {
    assert.deepEqual(parseParams('ListTriggersRequestParams', undefined), {});
  });

  test('[gen-ignore-unknown] accepts unknown members', () => {
    assert.deepEqual(parseParams('GetRequestParams', { subscriptionId: ID, later: [1] }), {
      subscriptionId: ID,
      later: [1],
    });
  });

  test('[err-no-value] repeats no value in an error, wherever the value is', () => {
    const canary = 'CANARY-7f3a';
    const names: ParamsName[] = [
      'SubscribeRequestParams',
      'UpdateRequestParams',
      'PullRequestParams',
      'StreamRequestParams',
      'AckRequestParams',
      'GetRequestParams',
      'UnsubscribeRequestParams',
    ];
    const bad = fc.constantFrom<unknown>(
      canary,
      [canary],
      { [canary]: canary },
      `https://${canary} x`,
      { url: `https://${canary} x`, secret: canary },
      { epoch: canary, sequence: canary },
      [{ name: `${canary} `, arguments: canary }],
    );
    const members = fc.dictionary(
      fc.constantFrom(
        'select',
        'callback',
        'ttlMs',
        'noExpiry',
        'removeCallback',
        'since',
        'key',
        'skipAfterMs',
        'after',
        'ack',
        'position',
        'window',
        'ifMatch',
        'subscriptionId',
        'paused',
      ),
      bad,
    );
    fc.assert(
      fc.property(fc.constantFrom(...names), members, (name, params) => {
        try {
          parseParams(name, params);
        } catch (error) {
          assert.ok(error instanceof WireError);
          assert.equal(JSON.stringify(error.toErrorObject()).includes('CANARY'), false);
        }
      }),
    );
  });
});

describe('a user schema', () => {
  const inputSchema = {
    $schema: 'https://json-schema.org/draft/2020-12/schema',
    $id: 'https://example.com/deploy',
    type: 'object',
    properties: {
      environment: { enum: ['production', 'staging'] },
      at: { type: 'string', format: 'date-time' },
      tags: { type: 'array', items: { $ref: '#/$defs/tag' }, uniqueItems: true },
    },
    $defs: { tag: { type: 'string', minLength: 2, not: { const: 'no' } } },
    required: ['environment'],
    additionalProperties: false,
  };
  const validate = compileUserSchema(inputSchema);
  const table: readonly [value: unknown, path: string, expected: RegExp][] = [
    [{}, '/environment', /required/],
    [{ environment: 'dev' }, '/environment', /^one of "production", "staging"$/],
    [{ environment: 'staging', at: 'CANARY' }, '/at', /^a string in the format "date-time"$/],
    [{ environment: 'staging', tags: ['ab', 'c'] }, '/tags/1', /at least 2/],
    [{ environment: 'staging', tags: ['ab', 'ab'] }, '/tags', /without duplicates/],
    [{ environment: 'staging', CANARY: 1 }, '', /no member beyond/],
    [{ environment: 'staging', tags: ['ab', 'no'] }, '/tags/1', /does not exclude/],
  ];
  for (const [value, path, expected] of table) {
    test(`rejects ${path || '(root)'} ${expected.source}`, () => {
      const result = validate(value);
      assert.ok(!result.ok);
      assert.equal(result.path, path);
      assert.match(result.expected, expected);
      assert.equal(result.expected.includes('CANARY'), false);
    });
  }

  test('[subs-arguments] ends the pointer before a member name that is not a plain word', () => {
    const open = compileUserSchema({ type: 'object', additionalProperties: { type: 'integer' } });
    assert.deepEqual(open({ plain: 'x' }), { ok: false, path: '/plain', expected: 'an integer' });
    for (const odd of ['has space', '\u001b[31m', 'x'.repeat(65), '\u202e'])
      assert.deepEqual(open({ [odd]: 'x' }), { ok: false, path: '', expected: 'an integer' });
  });

  test('accepts valid data, and keeps schemas with the same $id apart', () => {
    assert.deepEqual(validate({ environment: 'staging', at: '2026-11-21T09:30:00Z' }), {
      ok: true,
      value: { environment: 'staging', at: '2026-11-21T09:30:00Z' },
    });
    assert.equal(
      compileUserSchema({ $id: 'https://example.com/deploy', type: 'object' })({}).ok,
      true,
    );
  });

  const refused: readonly [title: string, schema: Record<string, unknown>][] = [
    ['a misspelt keyword', { type: 'object', requried: ['a'] }],
    ['an unknown type', { type: 'objekt' }],
    ['an unknown format', { type: 'string', format: 'color' }],
    ['a reference to another document', { $ref: 'https://example.com/other.json' }],
    [
      'a nested reference to another document',
      { properties: { a: { items: { $ref: 'other.json#/a' } } } },
    ],
    ['a dynamic reference to another document', { $dynamicRef: 'other.json' }],
    ['a reference without target', { $ref: '#/$defs/missing' }],
    ['another dialect', { $schema: 'http://json-schema.org/draft-07/schema#' }],
    [
      'a dialect inside',
      { properties: { a: { $schema: 'https://json-schema.org/draft/2020-12/schema' } } },
    ],
    ['a base inside', { properties: { a: { $id: 'https://example.com/a' } } }],
    ['more than 64 KiB', { description: 'x'.repeat(65_536) }],
    [
      'more than 64 levels',
      Array.from({ length: 65 }).reduce<Record<string, unknown>>((inner) => ({ not: inner }), {}),
    ],
    ['a pattern that is not a regular expression', { type: 'string', pattern: '(' }],
  ];
  for (const [title, schema] of refused) {
    test(`[type-payload-valid] is rejected with ${title}`, () =>
      assert.throws(
        () => compileUserSchema(schema),
        (error: unknown) => error instanceof LocalError && error.code === 'schema_refused',
      ));
  }

  test('leaves data that looks like a schema unchanged', () => {
    const schema = {
      type: 'object',
      properties: { link: { const: { $ref: 'https://example.com' } }, $ref: { type: 'string' } },
      default: { $id: 'x', $schema: 'y' },
    };
    assert.equal(compileUserSchema(schema)({ link: { $ref: 'https://example.com' } }).ok, true);
  });
});
