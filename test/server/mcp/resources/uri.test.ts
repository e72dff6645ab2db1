/**
 * Tests the grammar of feed URIs: whatever is written is read again, by this library and by common
 * expanders of URI templates, and nothing else is accepted.
 */
import assert from 'node:assert/strict';
import { describe, test } from 'vitest';
import { UriTemplate } from '@modelcontextprotocol/client';
import { UriTemplate as UriTemplateV1 } from '@modelcontextprotocol/sdk/shared/uriTemplate.js';
import fc from 'fast-check';
import type { JsonObject, Position } from '../../../../spec-schema/draft/schema.ts';
import {
  feedTemplate,
  feedUri,
  feedVariables,
  isFeedUri,
  parseFeedUri,
  readArguments,
  subscriptionUri,
  SUBSCRIPTION_TEMPLATE,
  withoutAfter,
} from '../../../../src/server/mcp/resources/uri.ts';
import { WireError } from '../../../../src/protocol/wire/errors.ts';

const SUBSCRIPTION_ID = 'sub_0123456789abcdefghijklmn';
/** A lone surrogate, which UTF-8 cannot encode. */
const LONE = /\p{Cs}/u;

const names = fc.stringMatching(/^[A-Za-z0-9_][A-Za-z0-9_./-]{0,30}$/);
const epochs = fc.stringMatching(/^[A-Za-z0-9_-]{8,64}$/);
const positions = fc.record({ epoch: epochs, sequence: fc.nat({ max: Number.MAX_SAFE_INTEGER }) });
const afters = fc.option(positions, { nil: null });
const wellFormed = fc
  .string({ unit: 'grapheme', minLength: 1, maxLength: 12 })
  .filter((text) => !LONE.test(text));
const properties = fc.oneof(
  { weight: 3, arbitrary: wellFormed },
  {
    weight: 1,
    arbitrary: fc.constantFrom(
      'after',
      '_after',
      '__after',
      'after_',
      'a&b',
      'c=d',
      'e+f',
      '__proto__',
      'constructor',
      '{x}',
      'a,b',
      'x*',
      '%41',
      '~',
      '..',
    ),
  },
);
const texts = fc.oneof(
  fc.string({ unit: 'grapheme', maxLength: 20 }).filter((text) => !LONE.test(text)),
  fc.constantFrom('', '1', 'true', 'null', '"x"', '?&=#+%', ' ', "!'()*", 'ä', '\u0000'),
);
const json = fc
  .jsonValue({ maxDepth: 3 })
  .map((value) => JSON.parse(JSON.stringify(value)) as unknown)
  .filter((value) => !LONE.test(JSON.stringify(value)));

/**
 * A trigger type and arguments for it: for some of its properties, a value that its schema accepts.
 */
const feeds = fc
  .tuple(
    names,
    fc.uniqueArray(fc.tuple(properties, fc.boolean(), texts, json, fc.boolean()), {
      maxLength: 5,
      selector: ([property]) => property,
    }),
  )
  .map(([name, all]) => ({
    type: {
      name,
      inputSchema: {
        type: 'object',
        properties: Object.fromEntries(
          all.map(([property, isText]) => [property, isText ? { type: 'string' } : {}]),
        ),
      },
    },
    args: Object.fromEntries<JsonObject[string]>(
      all
        .filter(([, , , , given]) => given)
        .map(([property, isText, text, value]) => [property, isText ? text : value]),
    ),
  }));

/** The arguments and the position that a URI encodes. */
function read(
  type: { readonly name: string; readonly inputSchema: JsonObject },
  uri: string,
): { readonly args: JsonObject; readonly after: Position | null } {
  const parsed = parseFeedUri(uri);
  assert.ok(parsed.kind === 'feed');
  assert.equal(parsed.name, type.name);
  return { args: readArguments(type, parsed.variables), after: parsed.after };
}

/** Both sides of a comparison as JSON, since objects without a prototype never equal others. */
const plain = (value: unknown): unknown => JSON.parse(JSON.stringify(value));

function refusal(
  uri: string,
  type?: { readonly inputSchema: JsonObject },
): WireError<'InvalidParams'> {
  try {
    const parsed = parseFeedUri(uri);
    if (type !== undefined && parsed.kind === 'feed') readArguments(type, parsed.variables);
  } catch (error) {
    assert.ok(error instanceof WireError && error.is('InvalidParams'), String(error));
    return error;
  }
  return assert.fail(`accepted: ${uri}`);
}

describe('feed URIs', () => {
  test('encode their contents, whatever the names and values are', () => {
    fc.assert(
      fc.property(feeds, afters, ({ type, args }, after) => {
        const uri = feedUri(type, args, after)!;
        assert.match(uri, /^triggers:\/\/feeds\/[A-Za-z0-9._~%-]+(\?[A-Za-z0-9._~%=&-]+)?$/);
        assert.deepEqual(plain(read(type, uri)), plain({ args, after }));
        // There is one form: written again it is the same.
        assert.equal(feedUri(type, read(type, uri).args, after), uri);
        assert.equal(withoutAfter(uri), feedUri(type, args, null));
      }),
    );
  });

  test('survive programs that parse and rebuild URIs', () => {
    fc.assert(
      fc.property(feeds, afters, ({ type, args }, after) => {
        const uri = feedUri(type, args, after)!;
        assert.equal(new URL(uri).href, uri);
      }),
    );
  });

  for (const [version, Template] of [
    ['2.x', UriTemplate],
    ['1.x', UriTemplateV1],
  ] as const) {
    test(`are what the URI templates of SDK ${version} expand to`, () => {
      fc.assert(
        fc.property(feeds, afters, ({ type, args }, after) => {
          const template = new Template(feedTemplate(type));
          // Expanders look names up directly, inherited ones too.
          const variables = Object.create(null) as Record<string, string>;
          for (const { property, variable, written } of feedVariables(type)) {
            // A template contains a name without changes.
            const name = template.variableNames.find((one) => decodeURIComponent(one) === variable);
            assert.ok(name !== undefined, `no variable for ${property}`);
            if (Object.hasOwn(args, property))
              variables[name] =
                written === 'text' ? (args[property] as string) : JSON.stringify(args[property]);
          }
          if (after !== null) variables['after'] = `${after.epoch}.${after.sequence}`;
          assert.deepEqual(plain(read(type, template.expand(variables))), plain({ args, after }));
        }),
      );
    });
  }

  test('of subscriptions are read as they are written and expanded', () => {
    fc.assert(
      fc.property(afters, (after) => {
        const expanded = new UriTemplate(SUBSCRIPTION_TEMPLATE).expand({
          subscriptionId: SUBSCRIPTION_ID,
          ...(after === null ? {} : { after: `${after.epoch}.${after.sequence}` }),
        });
        assert.equal(subscriptionUri(SUBSCRIPTION_ID, after), expanded);
        assert.deepEqual(
          plain(parseFeedUri(expanded)),
          plain({ kind: 'subscription', subscriptionId: SUBSCRIPTION_ID, after }),
        );
      }),
    );
  });

  test('encode a string directly where the schema takes only strings, and JSON text elsewhere', () => {
    const type = {
      name: 'x',
      inputSchema: {
        type: 'object',
        properties: {
          a: { type: 'string' },
          b: { enum: ['p', 'q'] },
          c: { const: 'k' },
          d: { type: ['string', 'null'] },
          e: { type: 'integer' },
          f: true,
        },
      },
    };
    assert.deepEqual(
      feedVariables(type).map(({ written }) => written),
      ['text', 'text', 'text', 'json', 'json', 'json'],
    );
    assert.deepEqual(
      plain(read(type, 'triggers://feeds/x?a=1&b=p&c=k&d=%22s%22&e=1&f=%5B1%5D').args),
      { a: '1', b: 'p', c: 'k', d: 's', e: 1, f: [1] },
    );
  });

  test('cannot encode every possible argument', () => {
    const type = {
      name: 'x',
      inputSchema: { type: 'object', properties: { a: { type: 'string' }, '': {} } },
    };
    assert.equal(feedUri(type, { other: 1 }, null), null);
    assert.equal(feedUri(type, { '': 1 }, null), null);
    assert.equal(feedUri(type, { a: 1 }, null), null);
    assert.equal(feedTemplate(type), 'triggers://feeds/x{?a,after}');
    assert.equal(
      feedTemplate({ name: 'x', inputSchema: { type: 'object' } }),
      'triggers://feeds/x{?after}',
    );
  });

  const type = {
    name: 'x',
    inputSchema: {
      type: 'object',
      properties: { house: { type: 'string' }, n: { type: 'integer' } },
    },
  };
  const epoch = 'epoch_0123456789abcdef';
  for (const [what, uri] of [
    ['another authority', 'triggers://other/x'],
    ['no name', 'triggers://feeds/'],
    ['a path below the name', 'triggers://feeds/x/y'],
    ['a space', 'triggers://feeds/x y'],
    ['a letter beyond ASCII', 'triggers://feeds/x?house=ä'],
    ['a fragment', 'triggers://feeds/x#y'],
    ['a fragment in the query', 'triggers://feeds/x?house=a#y'],
    ['invalid UTF-8', 'triggers://feeds/x?house=%ff'],
    ['an incomplete escape', 'triggers://feeds/x?house=%4'],
    ['a plus, which some decode as a space', 'triggers://feeds/x?house=a+b'],
    ['an empty query', 'triggers://feeds/x?'],
    ['an empty variable', 'triggers://feeds/x?house=a&'],
    ['a variable without value', 'triggers://feeds/x?house'],
    ['a variable without name', 'triggers://feeds/x?=a'],
    ['a variable twice', 'triggers://feeds/x?house=a&house=a'],
    ['the same variable twice, spelled differently', 'triggers://feeds/x?house=a&%68ouse=a'],
    ['an unknown variable', 'triggers://feeds/x?window=a'],
    ['a name that every object inherits', 'triggers://feeds/x?constructor=1'],
    ['a value that is not JSON', 'triggers://feeds/x?n=one'],
    ['a value of more than one JSON text', 'triggers://feeds/x?n=1%202'],
    [
      'JSON that is nested too deep',
      `triggers://feeds/x?n=${'%5B'.repeat(100)}${'%5D'.repeat(100)}`,
    ],
    ['a position without epoch', 'triggers://feeds/x?after=5'],
    ['a position with a short epoch', 'triggers://feeds/x?after=e.5'],
    ['a negative position', `triggers://feeds/x?after=${epoch}.-1`],
    ['a position with a leading zero', `triggers://feeds/x?after=${epoch}.05`],
    [
      'a position above the largest safe integer',
      `triggers://feeds/x?after=${epoch}.9007199254740993`,
    ],
    ['a position twice', `triggers://feeds/x?after=${epoch}.5&after=${epoch}.5`],
    ['a subscription without id', 'triggers://subscriptions/'],
    ['a subscription with a short id', 'triggers://subscriptions/abc'],
    ['a subscription with arguments', `triggers://subscriptions/${SUBSCRIPTION_ID}?house=a`],
    ['too long a URI', `triggers://feeds/x?house=${'a'.repeat(9000)}`],
  ] as const) {
    test(`reject ${what} with the path and without repeating it`, () => {
      const { data, message } = refusal(uri, type);
      assert.equal(data.path, '/uri');
      assert.ok(
        data.expected.length < 200 && !/window|one|constructor/.test(data.expected),
        message,
      );
    });
  }

  test('reject anything but a URI', () => {
    fc.assert(
      fc.property(
        fc.string({ unit: 'binary', maxLength: 60 }),
        fc.constantFrom(
          'triggers://',
          'triggers://feeds/',
          'triggers://feeds/x?',
          `triggers://feeds/x?after=${epoch}`,
          'triggers://subscriptions/',
        ),
        (rest, start) => {
          try {
            const parsed = parseFeedUri(start + rest);
            if (parsed.kind === 'feed') readArguments(type, parsed.variables);
          } catch (error) {
            assert.ok(error instanceof WireError && error.is('InvalidParams'));
          }
        },
      ),
      { numRuns: 500 },
    );
  });

  test('belong to one scheme, written in one way', () => {
    assert.deepEqual(
      [
        'triggers://feeds/x',
        'triggers://',
        'Triggers://feeds/x',
        'trigger://feeds/x',
        'file:///x',
        '',
      ].map(isFeedUri),
      [true, true, false, false, false, false],
    );
  });
});
