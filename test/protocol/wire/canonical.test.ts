/**
 * Tests identity by content: what leaves a key unchanged, what changes it, and the identifiers of
 * deliveries.
 */
import { describe, test } from 'vitest';
import assert from 'node:assert/strict';
import fc from 'fast-check';
import {
  canonicalJson,
  randomWebhookId,
  sameSelect,
  selectName,
  webhookId,
} from '../../../src/protocol/wire/canonical.ts';
import { LocalError } from '../../../src/protocol/wire/errors.ts';

const json = fc.jsonValue({ maxDepth: 3 });
const selection = fc.record({
  name: fc.stringMatching(/^[a-z]{1,8}$/),
  arguments: fc.dictionary(fc.string({ maxLength: 6 }), json, { maxKeys: 4 }),
});
const select = fc.array(selection, { minLength: 1, maxLength: 3 });

/** The same value with the members of every object in reverse order. */
function reversed<T>(value: T): T {
  if (Array.isArray(value)) return value.map(reversed) as T;
  if (value === null || typeof value !== 'object') return value;
  return Object.fromEntries(
    Object.entries(value)
      .reverse()
      .map(([name, member]) => [name, reversed(member)]),
  ) as T;
}

describe('names of selections', () => {
  test('do not depend on the order of members, and have 43 characters', () => {
    fc.assert(
      fc.property(select, (one) => {
        assert.equal(selectName(one), selectName(reversed(one)));
        assert.match(selectName(one), /^[A-Za-z0-9_-]{43}$/);
      }),
    );
  });

  test('[subs-same] are equal exactly when selections are', () => {
    fc.assert(
      fc.property(select, select, (one, two) => {
        assert.equal(sameSelect(one, reversed(one)), true);
        assert.equal(sameSelect(one, two), selectName(one) === selectName(two));
      }),
    );
  });

  test('[subs-same] compares numbers and strings as JSON values', () => {
    const same = (a: string, b: string): boolean =>
      sameSelect(
        [{ name: 'a', arguments: { x: JSON.parse(a) as unknown } }],
        [{ name: 'a', arguments: { x: JSON.parse(b) as unknown } }],
      );
    assert.deepEqual(
      [same('1', '1.0'), same('10', '1e1'), same('-0', '0'), same('"\\u0061"', '"a"')],
      [true, true, true, true],
    );
    assert.deepEqual(
      [same('1', '"1"'), same('[1,2]', '[2,1]'), same('{}', '[]')],
      [false, false, false],
    );
  });

  test('treats absent and undefined arguments alike', () => {
    assert.equal(sameSelect([{ name: 'a' }], [{ name: 'a', arguments: {} }]), true);
    assert.equal(sameSelect([{ name: 'a', arguments: undefined }], [{ name: 'a' }]), true);
    assert.equal(sameSelect([{ name: 'a' }], [{ name: 'a' }, { name: 'a' }]), false);
  });
});

describe('the canonical form', () => {
  test('is JSON with the same meaning, and is its own canonical form', () => {
    fc.assert(
      fc.property(json, (value) => {
        const text = canonicalJson(value);
        assert.equal(canonicalJson(JSON.parse(text)), text);
        assert.deepEqual(JSON.parse(text), JSON.parse(JSON.stringify(value)));
      }),
    );
  });

  test('writes the examples of RFC 8785', () => {
    // Sections 3.2.2 and 3.2.3, and rows of appendix B.
    assert.equal(
      canonicalJson(
        JSON.parse(String.raw`{
          "numbers": [333333333.33333329, 1E30, 4.50, 2e-3, 0.000000000000000000000000001],
          "string": "\u20ac$\u000F\u000aA'\u0042\u0022\u005c\\\"\/",
          "literals": [null, true, false]
        }`),
      ),
      `{"literals":[null,true,false],"numbers":[333333333.3333333,1e+30,4.5,0.002,1e-27],"string":"€$\\u000f\\nA'B\\"\\\\\\\\\\"/"}`,
    );
    assert.equal(
      canonicalJson({
        '\u20ac': 1,
        '\r': 2,
        '\ufb33': 3,
        '1': 4,
        '\u{1f600}': 5,
        '\u0080': 6,
        '\u00f6': 7,
      }),
      '{"\\r":2,"1":4,"\u0080":6,"\u00f6":7,"\u20ac":1,"\u{1f600}":5,"\ufb33":3}',
    );
    for (const [value, text] of [
      [-0, '0'],
      [5e-324, '5e-324'],
      [1.7976931348623157e308, '1.7976931348623157e+308'],
      [9007199254740992, '9007199254740992'],
      [295147905179352830000, '295147905179352830000'],
      [1e23, '1e+23'],
      [0.000001, '0.000001'],
      [1e-7, '1e-7'],
    ] as const)
      assert.equal(canonicalJson(value), text);
  });

  test('does not exist for values that JSON cannot express', () => {
    for (const value of [
      undefined,
      NaN,
      { a: Infinity },
      '\ud800',
      { '\ud800': 1 },
      () => 1,
      1n,
      Symbol('x'),
    ]) {
      assert.throws(
        () => canonicalJson(value),
        (error: unknown) => error instanceof LocalError && error.code === 'json_refused',
      );
    }
  });
});

describe('webhook-id', () => {
  const range = fc.record({
    subscriptionId: fc.stringMatching(/^[A-Za-z0-9_-]{22,40}$/),
    epoch: fc.stringMatching(/^[A-Za-z0-9_-]{8,24}$/),
    after: fc.nat(50),
    last: fc.nat(50),
    gaps: fc.array(fc.record({ from: fc.nat(50), to: fc.nat(50) }), { maxLength: 3 }),
  });

  test('[cb-id-range, cb-id-retry] differs whenever the coverage of a delivery differs', () => {
    fc.assert(
      fc.property(range, range, (one, two) =>
        assert.equal(webhookId(one) === webhookId(two), canonicalJson(one) === canonicalJson(two)),
      ),
    );
  });

  test('[cb-id-random] is random, in the same form, for a delivery that covers nothing', () => {
    const form = /^msg_[A-Za-z0-9_-]{32}$/;
    assert.match(webhookId({ subscriptionId: 's', epoch: 'e', after: 0, last: 1 }), form);
    assert.match(randomWebhookId(), form);
    assert.notEqual(randomWebhookId(), randomWebhookId());
    assert.equal(
      randomWebhookId((bytes) => 'x'.repeat((bytes * 4) / 3)),
      `msg_${'x'.repeat(32)}`,
    );
  });
});
