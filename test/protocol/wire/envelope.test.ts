/**
 * Tests the bytes of a delivery: spliced data equals what would have been serialized, and decoded
 * data is checked.
 */
import { describe, test } from 'vitest';
import assert from 'node:assert/strict';
import fc from 'fast-check';
import type { Delivery } from '../../../spec-schema/draft/schema.ts';
import {
  acceptDelivery,
  decodeCallback,
  DELIVERY_METHOD,
  encodeDelivery,
  encodeDeliveryNotification,
  encodeEvent,
  eventInLog,
  instantOf,
  type DeliveryHead,
  type UnnumberedEvent,
} from '../../../src/protocol/wire/envelope.ts';
import { LocalError } from '../../../src/protocol/wire/errors.ts';
import { CALLBACK_BODY_BYTES_MAX } from '../../../src/protocol/wire/limits.ts';

const HEAD: DeliveryHead = {
  subscriptionId: 'sub_Zk3fQ8sL0vR2bT6yX1cN5mW9aE4hJ7dU',
  key: 'deploys-prod',
  epoch: 'mF3kQ0sZy8T1vXb6RnE2cw',
  afterSequence: 0,
  head: 9,
  acked: 0,
  etag: 'e-1',
};
const EVENT: UnnumberedEvent = {
  eventId: 'deploy-1',
  name: 'deploy.finished',
  timestamp: '2026-11-21T09:30:00.000Z',
  data: { ok: true },
};
const ACCEPTED_AT = Date.UTC(2026, 10, 21, 9, 31);
const bodyOf = (
  head: DeliveryHead,
  events: readonly UnnumberedEvent[],
  first = head.afterSequence + 1,
): Buffer =>
  encodeDeliveryNotification(
    encodeDelivery(
      head,
      events.map((event, index) => eventInLog(encodeEvent(event), first + index, ACCEPTED_AT)),
    ),
  );
/** The delivery in a body. */
function decodeDelivery(body: Uint8Array): Delivery {
  const message = decodeCallback(body);
  assert.ok(message.kind === 'delivery');
  return message.delivery;
}
const misbehaved = (error: unknown): boolean =>
  error instanceof LocalError && error.code === 'peer_misbehaved';

describe('encoding', () => {
  const event: fc.Arbitrary<UnnumberedEvent> = fc.record({
    eventId: fc.string({ minLength: 1, maxLength: 40 }),
    name: fc.constant('deploy.finished'),
    timestamp: fc.constant('2026-11-21T09:30:00.000Z'),
    data: fc.jsonValue({ maxDepth: 5 }),
  });

  test('[dlv-same-object] returns spliced data unchanged, for any data', () => {
    fc.assert(
      fc.property(fc.array(event, { maxLength: 5 }), fc.nat(1000), (events, after) => {
        const head = { ...HEAD, afterSequence: after, head: after + events.length };
        const delivery = decodeDelivery(bodyOf(head, events));
        const wanted: Delivery = {
          ...head,
          events: events.map((one, index) => ({
            sequence: after + 1 + index,
            acceptedAt: new Date(ACCEPTED_AT).toISOString(),
            ...one,
          })),
        };
        assert.deepEqual(delivery, JSON.parse(JSON.stringify(wanted)));
      }),
    );
  });

  test('[cb-post] writes the notification on one line, without id', () => {
    const body = bodyOf({ ...HEAD, head: 1 }, [EVENT]).toString();
    assert.deepEqual(Object.keys(JSON.parse(body) as object), ['jsonrpc', 'method', 'params']);
    assert.equal((JSON.parse(body) as { method: string }).method, DELIVERY_METHOD);
    assert.equal(body, JSON.stringify(JSON.parse(body)));
  });

  test('orders members as in the specification', () => {
    const text = encodeDelivery({ ...HEAD, gaps: [{ from: 1, to: 1, reason: 'rejected' }] }, []);
    assert.deepEqual(Object.keys(JSON.parse(text) as object).slice(0, 6), [
      'subscriptionId',
      'key',
      'epoch',
      'afterSequence',
      'events',
      'head',
    ]);
  });

  test("keeps an event's _meta and omits absent members", () => {
    assert.deepEqual(JSON.parse(encodeEvent({ ...EVENT, _meta: { a: 1 } })), {
      ...EVENT,
      _meta: { a: 1 },
    });
    assert.equal(encodeEvent(EVENT).includes('_meta'), false);
  });

  const unfit: readonly [title: string, data: unknown][] = [
    ['no data at all', undefined],
    ['a function', () => 1],
    ['a big integer', 1n],
    ['an infinite number', { a: Infinity }],
    ['not a number', [NaN]],
    ['a lone surrogate', '\ud800'],
    ['a lone surrogate in a name', { '\udc00': 1 }],
    ['65 levels', Array.from({ length: 65 }).reduce<unknown>((inner) => [inner], 1)],
  ];
  for (const [title, data] of unfit) {
    test(`refuses ${title}`, () =>
      assert.throws(
        () => encodeEvent({ ...EVENT, data }),
        (error: unknown) => error instanceof LocalError && error.code === 'json_refused',
      ));
  }

  test('rejects a hundred thousand levels without a stack overflow', () => {
    const deep = JSON.parse('['.repeat(100_000) + ']'.repeat(100_000)) as unknown;
    assert.throws(
      () => encodeEvent({ ...EVENT, data: deep }),
      (error: unknown) => error instanceof LocalError && error.code === 'json_refused',
    );
    assert.throws(
      () => decodeDelivery(Buffer.from('['.repeat(100_000) + ']'.repeat(100_000))),
      misbehaved,
    );
  });
});

describe('decoding refuses', () => {
  const good = bodyOf({ ...HEAD, head: 1 }, [EVENT]);
  const replaced = (from: string, to: string): Buffer => {
    assert.ok(good.includes(from));
    return Buffer.from(good.toString().replace(from, to));
  };
  const table: readonly [title: string, body: Buffer][] = [
    ['an empty body', Buffer.alloc(0)],
    ['text', Buffer.from('ok')],
    ['a cut body', good.subarray(0, -1)],
    ['two values', Buffer.concat([good, good])],
    [
      'invalid UTF-8',
      Buffer.from(good.toString('latin1').replace('deploy-1', 'deploy-\xff'), 'latin1'),
    ],
    ['a byte order mark', Buffer.concat([Buffer.from([0xef, 0xbb, 0xbf]), good])],
    ['another method', replaced(DELIVERY_METHOD, 'notifications/events')],
    ['another version of JSON-RPC', replaced('"jsonrpc":"2.0"', '"jsonrpc":"1.0"')],
    ['a sequence that is a string', replaced('"sequence":1', '"sequence":"1"')],
    ['a hole', replaced('"sequence":1', '"sequence":2')],
    ['a number that a double cannot hold', replaced('"head":1', '"head":9007199254740993')],
    ['an infinite number', replaced('"ok":true', '"ok":1e400')],
    ['a lone surrogate', replaced('"ok":true', '"ok":"\\ud800"')],
    ['65 levels', replaced('{"ok":true}', '['.repeat(65) + ']'.repeat(65))],
    ['more than 256 KiB', replaced('"ok":true', `"ok":"${'x'.repeat(CALLBACK_BODY_BYTES_MAX)}"`)],
  ];
  for (const [title, body] of table)
    test(title, () => assert.throws(() => decodeDelivery(body), misbehaved));

  test('[cb-body-limit] but accepts exactly 256 KiB', () => {
    const empty = replaced('"ok":true', '"ok":""');
    const full = Buffer.from(
      empty
        .toString()
        .replace('"ok":""', `"ok":"${'x'.repeat(CALLBACK_BODY_BYTES_MAX - empty.length)}"`),
    );
    assert.equal(full.length, CALLBACK_BODY_BYTES_MAX);
    assert.equal(decodeDelivery(full).events.length, 1);
  });

  test('takes the last of a repeated member', () => {
    assert.equal(
      decodeDelivery(replaced('"ok":true', '"ok":true,"ok":false')).events[0]?.data !== undefined,
      true,
    );
    assert.deepEqual(
      decodeDelivery(replaced('"ok":true', '"ok":true,"ok":false')).events[0]?.data,
      { ok: false },
    );
  });

  test('lets the member __proto__ change no object', () => {
    const delivery = decodeDelivery(replaced('"ok":true', '"__proto__":{"polluted":1}'));
    assert.equal(({} as { polluted?: number }).polluted, undefined);
    assert.ok(Object.hasOwn(delivery.events[0]!.data as object, '__proto__'));
  });

  test('no error message repeats the input', () => {
    for (const body of [
      replaced('"sequence":1', '"sequence":"canary"'),
      replaced('"etag":"e-1"', '"etag":"a canary"'),
      Buffer.from('{"canary'),
    ]) {
      assert.throws(
        () => decodeDelivery(body),
        (error: unknown) =>
          misbehaved(error) &&
          !`${String(error)}${String((error as Error).cause)}`.includes('canary'),
      );
    }
  });
});

describe('[cbv-challenge] a challenge', () => {
  const CHALLENGE = {
    subscriptionId: HEAD.subscriptionId,
    key: HEAD.key,
    challenge: 'c'.repeat(32),
  };
  const body = (params: object): Buffer => encodeDeliveryNotification(JSON.stringify(params));

  test('differs from a delivery by the member challenge', () =>
    assert.deepEqual(decodeCallback(body(CHALLENGE)), { kind: 'challenge', challenge: CHALLENGE }));

  const unfit: readonly [title: string, params: object][] = [
    ['without a key', { ...CHALLENGE, key: undefined }],
    ['without a subscription', { ...CHALLENGE, subscriptionId: undefined }],
    ['that is short', { ...CHALLENGE, challenge: 'short' }],
    ['that is null, in a whole delivery', { ...HEAD, events: [], challenge: null }],
  ];
  for (const [title, params] of unfit)
    test(`${title} is not valid`, () =>
      assert.throws(() => decodeCallback(body(params)), misbehaved));
});

describe('[gen-instants] an instant', () => {
  const table: readonly [given: string | number, written: string | null][] = [
    ['2026-11-21T09:30:00.000Z', '2026-11-21T09:30:00.000Z'],
    ['2026-11-21T09:30:00Z', '2026-11-21T09:30:00.000Z'],
    ['2026-11-21t09:30:00.5z', '2026-11-21T09:30:00.500Z'],
    ['2026-11-21T09:30:00.1239999Z', '2026-11-21T09:30:00.123Z'],
    ['2026-11-21T11:30:00+02:00', '2026-11-21T09:30:00.000Z'],
    ['2026-11-21T00:15:00-09:15', '2026-11-21T09:30:00.000Z'],
    ['2026-11-21T09:30:00-00:00', '2026-11-21T09:30:00.000Z'],
    ['2026-12-31T23:59:60Z', '2027-01-01T00:00:00.000Z'],
    ['2024-02-29T00:00:00Z', '2024-02-29T00:00:00.000Z'],
    ['0000-01-01T00:00:00Z', '0000-01-01T00:00:00.000Z'],
    ['0099-01-01T00:00:00Z', '0099-01-01T00:00:00.000Z'],
    ['1969-12-31T23:59:59.9995Z', '1969-12-31T23:59:59.999Z'],
    ['9999-12-31T23:59:59.999Z', '9999-12-31T23:59:59.999Z'],
    [Date.UTC(2026, 10, 21, 9, 30), '2026-11-21T09:30:00.000Z'],
    ['2026-02-29T00:00:00Z', null],
    ['2026-02-30T00:00:00Z', null],
    ['2026-13-01T00:00:00Z', null],
    ['2026-00-10T00:00:00Z', null],
    ['2026-11-00T00:00:00Z', null],
    ['2026-11-21T24:00:00Z', null],
    ['2026-11-21T09:60:00Z', null],
    ['2026-11-21T09:30:60Z', null],
    ['2026-11-21T09:30:00+24:00', null],
    ['2026-11-21T09:30:00+02:60', null],
    ['2026-11-21T09:30:00', null],
    ['2026-11-21T09:30Z', null],
    ['2026-11-21 09:30:00Z', null],
    ['2026-11-21', null],
    ['+02026-11-21T09:30:00Z', null],
    ['0000-01-01T00:00:00+00:01', null],
    ['9999-12-31T23:59:59-00:01', null],
    [Date.UTC(10_000, 0), null],
    [NaN, null],
  ];
  for (const [given, written] of table)
    test(`${given} → ${written ?? 'refused'}`, () => {
      const write = (): string => instantOf(given, 0);
      if (written === null) assert.throws(write, { code: 'payload_invalid' });
      else assert.equal(write(), written);
    });

  test('that is absent is the present time', () =>
    assert.equal(instantOf(undefined, 0), '1970-01-01T00:00:00.000Z'));

  test('is read back as it was written, for every millisecond that can be written', () => {
    fc.assert(
      fc.property(
        fc.date({
          min: new Date('0000-01-01T00:00:00Z'),
          max: new Date('9999-12-31T23:59:59.999Z'),
          noInvalidDate: true,
        }),
        (date) => assert.equal(instantOf(date.toISOString(), 0), date.toISOString()),
      ),
    );
  });
});

test('[dlv-coverage] applies the same coverage rule to a delivery that arrives parsed', () => {
  assert.doesNotThrow(() => acceptDelivery({ ...HEAD, head: 0, events: [] }));
  assert.throws(() => acceptDelivery({ ...HEAD, events: [{ ...EVENT, sequence: 2 }] }), misbehaved);
  assert.throws(() => acceptDelivery(null), misbehaved);
});
