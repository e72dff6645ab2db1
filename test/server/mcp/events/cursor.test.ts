/**
 * Tests cursors and ids: each position has one spelling, and a subscription has the same id however
 * its arguments are written.
 */
import assert from 'node:assert/strict';
import { test } from 'vitest';
import fc from 'fast-check';
import { cursorOf, parseCursor } from '../../../../src/server/mcp/events/occurrence.ts';
import { webhookSubscriptionId } from '../../../../src/server/mcp/events/dialects.ts';
import { webhookKey } from '../../../../src/server/mcp/events/webhook.ts';

const id = (min: number, max: number) =>
  fc.stringMatching(new RegExp(`^[A-Za-z0-9_-]{${min},${max}}$`));
const place = fc.record(
  { subscriptionId: id(22, 128), epoch: id(8, 64), sequence: fc.maxSafeNat() },
  { noNullPrototype: true },
);

test('a cursor encodes where it was made, in exactly one spelling [SEP-3415 D54]', () => {
  fc.assert(
    fc.property(place, (where) =>
      assert.deepEqual(parseCursor(cursorOf(where, where.sequence)), where),
    ),
  );
  fc.assert(
    fc.property(
      place,
      fc.nat(),
      fc.string({ minLength: 1, maxLength: 1 }),
      (where, at, character) => {
        const cursor = cursorOf(where, where.sequence);
        const changed =
          cursor.slice(0, at % cursor.length) + character + cursor.slice((at % cursor.length) + 1);
        const read = parseCursor(changed);
        if (read !== null) assert.equal(cursorOf(read, read.sequence), changed);
      },
    ),
  );
  fc.assert(fc.property(fc.string(), (text) => assert.equal(parseCursor(text), null)));
});

test('ids and keys depend on what they name, not on how it is written [SEP-3415 D31 U5]', () => {
  const url = 'https://a.example/hook';
  const one = { name: 'n', arguments: { a: 1, b: { c: [1, 2], d: null } } };
  const same = { name: 'n', arguments: { b: { d: null, c: [1, 2.0] }, a: 1.0 } };
  assert.equal(webhookSubscriptionId('p', url, one), webhookSubscriptionId('p', url, same));
  assert.equal(webhookKey(url, one), webhookKey(url, same));
  const others = [
    webhookSubscriptionId('q', url, one),
    webhookSubscriptionId('p', `${url}/`, one),
    webhookSubscriptionId('p', url, { ...one, name: 'm' }),
    webhookSubscriptionId('p', url, { ...one, arguments: { ...one.arguments, a: 2 } }),
    webhookSubscriptionId('p', url, {
      ...one,
      arguments: { ...one.arguments, b: { c: [2, 1], d: null } },
    }),
  ];
  assert.equal(new Set([webhookSubscriptionId('p', url, one), ...others]).size, 6);
  assert.match(webhookSubscriptionId('p', url, one), /^evt_[A-Za-z0-9_-]{43}$/);
  assert.match(webhookKey(url, one), /^[A-Za-z0-9_.~:-]{1,128}$/);
});
