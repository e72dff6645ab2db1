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
  subscriptionKey,
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

describe('[subs-default-key] the default key', () => {
  test('does not depend on the order of members, and has 43 characters', () => {
    fc.assert(
      fc.property(select, fc.option(fc.webUrl()), (one, url) => {
        assert.equal(subscriptionKey(one, url), subscriptionKey(reversed(one), url));
        assert.match(subscriptionKey(one, url), /^[A-Za-z0-9_-]{43}$/);
      }),
    );
  });

  test('[subs-equal] is equal exactly when selections are', () => {
    fc.assert(
      fc.property(select, select, (one, two) =>
        assert.equal(
          sameSelect(one, two),
          subscriptionKey(one, null) === subscriptionKey(two, null),
        ),
      ),
    );
  });

  test('differs by URL, and from the key without a URL', () => {
    fc.assert(
      fc.property(
        select,
        fc.uniqueArray(fc.webUrl(), { minLength: 2, maxLength: 2 }),
        (one, [a, b]) => {
          assert.equal(
            new Set([
              subscriptionKey(one, null),
              subscriptionKey(one, a!),
              subscriptionKey(one, b!),
            ]).size,
            3,
          );
        },
      ),
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

  test('[cb-id-range, cb-id-growth] differs whenever the coverage of a delivery differs', () => {
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
