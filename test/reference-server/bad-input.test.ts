/**
 * Tests what a server must reject: each row is one bad request, and after all of them every
 * subscription is unchanged.
 */
import assert from 'node:assert/strict';
import { afterAll, beforeAll, describe, test } from 'vitest';
import type { SubscribeResult } from 'mcp-triggers-experimental';
import { boxOpened, startServer, type Running } from './harness.ts';

const select = [{ name: 'box.opened', arguments: { box: 'front' } }];
const secret = `whsec_${Buffer.alloc(32, 9).toString('base64')}`;
const UNKNOWN_ID = `sub_${'A'.repeat(32)}`;
const CANARY = 'canary-7d1f';

let server: Running;
let mine: SubscribeResult;
beforeAll(async () => {
  server = await startServer();
  mine = (await server.call('triggers/subscribe', { key: 'mine', select }))
    .result as unknown as SubscribeResult;
  await server.emit(boxOpened.event({ eventId: 'e1', data: { box: 'front', by: 'x' } }));
});
afterAll(() => server.close());

interface Row {
  readonly about: string;
  readonly method: string;
  readonly params: (own: SubscribeResult) => object;
  readonly code: number;
  readonly data: object | ((own: SubscribeResult) => object);
}

const invalid = (path: string) => ({ kind: 'invalid', path });
const rows: readonly Row[] = [
  {
    about: 'an unknown trigger type',
    method: 'triggers/subscribe',
    params: () => ({ key: 'other', select: [{ name: 'no.such' }] }),
    code: -32023,
    data: { kind: 'trigger' },
  },
  {
    about: 'arguments against the inputSchema [err-codes]',
    method: 'triggers/subscribe',
    params: () => ({ key: 'other', select: [{ name: 'box.opened', arguments: { box: 7 } }] }),
    code: -32602,
    data: invalid('/select/0/arguments/box'),
  },
  {
    about: 'no selection',
    method: 'triggers/subscribe',
    params: () => ({ key: 'other', select: [] }),
    code: -32602,
    data: invalid('/select'),
  },
  {
    about: 'params that are missing',
    method: 'triggers/subscribe',
    params: () => ({}),
    code: -32602,
    data: invalid('/key'),
  },
  {
    about: 'no key',
    method: 'triggers/subscribe',
    params: () => ({ select }),
    code: -32602,
    data: invalid('/key'),
  },
  {
    about: 'a member of the wrong type',
    method: 'triggers/subscribe',
    params: () => ({ key: 'other', select: 'box.opened' }),
    code: -32602,
    data: invalid('/select'),
  },
  {
    about: 'a negative duration [gen-integers]',
    method: 'triggers/subscribe',
    params: () => ({ key: 'other', select, ttlMs: -1 }),
    code: -32602,
    data: invalid('/ttlMs'),
  },
  {
    about: 'a duration with a fraction [gen-integers]',
    method: 'triggers/subscribe',
    params: () => ({ key: 'other', select, ttlMs: 60_000.5 }),
    code: -32602,
    data: invalid('/ttlMs'),
  },
  {
    about: 'a duration above 2^53-1 [gen-integers]',
    method: 'triggers/subscribe',
    params: () => ({ key: 'other', select, ttlMs: 2 ** 53 }),
    code: -32602,
    data: invalid('/ttlMs'),
  },
  {
    about: 'a key with a space',
    method: 'triggers/subscribe',
    params: () => ({ select, key: `a ${CANARY}` }),
    code: -32602,
    data: invalid('/key'),
  },
  {
    about: 'a callback that is not a URL',
    method: 'triggers/subscribe',
    params: () => ({ key: 'other', select, callback: { url: CANARY.padEnd(20, '!'), secret } }),
    code: -32602,
    data: invalid('/callback/url'),
  },
  {
    about: 'a callback with credentials',
    method: 'triggers/subscribe',
    params: () => ({
      key: 'other',
      select,
      callback: { url: `https://u:${CANARY}@example.com/`, secret },
    }),
    code: -32602,
    data: invalid('/callback/url'),
  },
  {
    about: 'a callback to a private address',
    method: 'triggers/subscribe',
    params: () => ({
      key: 'other',
      select,
      callback: { url: `https://10.0.0.1/${CANARY}`, secret },
    }),
    code: -32602,
    data: invalid('/callback/url'),
  },
  {
    about: 'a callback over plain http to another host',
    method: 'triggers/subscribe',
    params: () => ({
      key: 'other',
      select,
      callback: { url: `http://example.com/${CANARY}`, secret },
    }),
    code: -32602,
    data: invalid('/callback/url'),
  },
  {
    about: 'a secret without its prefix',
    method: 'triggers/subscribe',
    params: () => ({
      key: 'other',
      select,
      callback: { url: 'https://example.com/', secret: CANARY },
    }),
    code: -32602,
    data: invalid('/callback/secret'),
  },
  {
    about: 'a secret that is too short',
    method: 'triggers/subscribe',
    params: () => ({
      key: 'other',
      select,
      callback: {
        url: 'https://example.com/',
        secret: `whsec_${Buffer.alloc(8).toString('base64')}`,
      },
    }),
    code: -32602,
    data: invalid('/callback/secret'),
  },
  {
    about: 'a different subscription under a key that is taken',
    method: 'triggers/subscribe',
    params: () => ({ key: 'mine', select: [{ name: 'box.opened' }] }),
    code: -32602,
    data: ({ subscriptionId, etag }) => ({ kind: 'key', subscriptionId, etag }),
  },
  {
    about: 'a stale ifMatch on update',
    method: 'triggers/update',
    params: ({ subscriptionId }) => ({ subscriptionId, ifMatch: 'stale', paused: true }),
    code: -32602,
    data: ({ etag }) => ({ kind: 'etag', etag }),
  },
  {
    about: 'a stale ifMatch on unsubscribe',
    method: 'triggers/unsubscribe',
    params: ({ subscriptionId }) => ({ subscriptionId, ifMatch: 'stale' }),
    code: -32602,
    data: ({ etag }) => ({ kind: 'etag', etag }),
  },
  {
    about: 'an acknowledgement beyond what was sent',
    method: 'triggers/ack',
    params: ({ subscriptionId, epoch }) => ({ subscriptionId, position: { epoch, sequence: 99 } }),
    code: -32602,
    data: { kind: 'position' },
  },
  {
    about: 'a position of another epoch',
    method: 'triggers/pull',
    params: ({ subscriptionId }) => ({
      subscriptionId,
      after: { epoch: 'another-epoch', sequence: 0 },
    }),
    code: -32602,
    data: { kind: 'epoch' },
  },
  {
    about: 'a negative position [gen-integers]',
    method: 'triggers/pull',
    params: ({ subscriptionId, epoch }) => ({ subscriptionId, after: { epoch, sequence: -1 } }),
    code: -32602,
    data: invalid('/after/sequence'),
  },
  {
    about: 'a window of zero',
    method: 'triggers/stream',
    params: ({ subscriptionId }) => ({ subscriptionId, window: { events: 0 } }),
    code: -32602,
    data: invalid('/window/events'),
  },
  {
    about: 'a malformed id',
    method: 'triggers/get',
    params: () => ({ subscriptionId: `../${CANARY}` }),
    code: -32602,
    data: invalid('/subscriptionId'),
  },
  {
    about: 'an unknown id',
    method: 'triggers/get',
    params: () => ({ subscriptionId: UNKNOWN_ID }),
    code: -32023,
    data: { kind: 'subscription' },
  },
  {
    about: 'endless nesting',
    method: 'triggers/subscribe',
    params: () => ({ key: 'other', select: [{ name: 'box.opened', arguments: nested(200) }] }),
    code: -32602,
    data: invalid(''),
  },
];

describe('a bad request is rejected with typed data, repeats no value and changes nothing [gen-atomic] [err-no-value] [err-codes]', () => {
  for (const { about, method, params, code, data } of rows) {
    test(about, async () => {
      const { error, text } = await server.call(method, params(mine));
      assert.equal(error?.code, code, text);
      assert.partialDeepStrictEqual(error.data, typeof data === 'function' ? data(mine) : data);
      assert.ok(!text.includes(CANARY), 'the answer repeats a value');
      const { result } = await server.call('triggers/subscriptions');
      const [only, ...others] = result?.['subscriptions'] as SubscribeResult[];
      assert.equal(others.length, 0);
      assert.deepEqual(
        { etag: only?.etag, head: only?.head, acked: only?.acked },
        { etag: mine.etag, head: 1, acked: 0 },
      );
    });
  }
});

test("another principal's subscription answers like one that never existed, byte for byte [iso-not-found] [iso-own]", async () => {
  const { subscriptionId, epoch } = mine;
  const asks: readonly (readonly [method: string, params: (id: string) => object])[] = [
    ['triggers/get', (id) => ({ subscriptionId: id })],
    ['triggers/update', (id) => ({ subscriptionId: id, paused: true })],
    ['triggers/unsubscribe', (id) => ({ subscriptionId: id })],
    ['triggers/pull', (id) => ({ subscriptionId: id })],
    ['triggers/stream', (id) => ({ subscriptionId: id })],
    ['triggers/ack', (id) => ({ subscriptionId: id, position: { epoch, sequence: 0 } })],
  ];
  for (const [method, params] of asks) {
    const foreign = await server.call(method, params(subscriptionId), { as: 'mallory' });
    const unknown = await server.call(method, params(UNKNOWN_ID), { as: 'mallory' });
    assert.equal(foreign.text, unknown.text, method);
    assert.deepEqual(foreign.error?.data, { kind: 'subscription' }, method);
  }
  const list = await server.call('triggers/subscriptions', {}, { as: 'mallory' });
  assert.deepEqual(list.result?.['subscriptions'], []);
});

function nested(depth: number): object {
  let value: object = {};
  for (let n = 0; n < depth; n += 1) value = { deeper: value };
  return value;
}
