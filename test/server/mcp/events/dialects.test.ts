/**
 * Tests the webhook dialects by themselves: what is sent, under which id, and what an answer means.
 */
import assert from 'node:assert/strict';
import { describe, test } from 'vitest';
import {
  eventsDialects,
  type CallbackDialect,
  type SubscriptionState,
} from 'mcp-triggers-experimental/server';
import { create } from '../../../../src/protocol/core/index.ts';
import { parseCursor } from '../../../../src/server/mcp/events/occurrence.ts';
import { webhookSubscriptionId } from '../../../../src/server/mcp/events/dialects.ts';
import {
  dialectOf,
  PROFILES,
  type ProfileName,
} from '../../../../src/server/mcp/events/profiles.ts';
import { systemRandom } from '../../../../src/server/engine/ports.ts';
import { Secret } from '../../../../src/protocol/wire/secret.ts';
import { TRIGGERS, type Json } from './world.ts';

const url = 'https://hooks.example/a?b=c';
const names = Object.keys(PROFILES) as ProfileName[];
const dialects = eventsDialects();
const of = (name: ProfileName): CallbackDialect => dialects[`events.${name}`]!;

const state: SubscriptionState = {
  ...create(
    {
      subscriptionId: `sub_${'s'.repeat(32)}`,
      principal: 'alice',
      key: 'webhook:x',
      select: [{ name: 'box.opened', arguments: { box: 'front' } }],
      callback: null,
      ttlMs: null,
      retention: { maxAgeMs: 1000, maxEvents: 10 },
      epoch: 'epoch-1234',
    },
    0,
  ),
  head: 9,
  acked: 4,
  sent: 4,
};
const callback = { state, callback: { url }, random: systemRandom };
const event = (eventId: string) => ({
  after: 4,
  last: 5,
  events: [
    JSON.stringify({
      sequence: 5,
      eventId,
      name: 'box.opened',
      timestamp: '2026-11-21T09:00:00.000Z',
      data: { n: 1 },
      _meta: { own: true },
    }),
  ],
  gaps: [],
  sequences: [5],
  oldestAt: null,
});
const gap = {
  after: 4,
  last: 7,
  events: [],
  gaps: [{ from: 5, to: 7, reason: 'skipped' as const }],
  sequences: [],
  oldestAt: null,
};
const read = (message: { readonly body: Uint8Array } | null): Json =>
  JSON.parse(Buffer.from(message!.body).toString()) as Json;
const at = (cursor: string): number | undefined => parseCursor(cursor)?.sequence;

describe('an event', () => {
  test('is one occurrence with the safe watermark, its number, and the routing header [SEP-3415 R64 D36 D39 D42] [deg-events-meta]', () => {
    for (const name of names) {
      const message = of(name).delivery(callback, event('evt-1'))!;
      const body = read(message);
      assert.deepEqual(Object.keys(body).sort(), [
        '_meta',
        'cursor',
        'data',
        'eventId',
        'name',
        'timestamp',
      ]);
      assert.equal(at(body['cursor']), 4, 'not the position of the event itself');
      assert.deepEqual(body['_meta'], {
        own: true,
        [TRIGGERS]: {
          subscriptionId: state.subscriptionId,
          epoch: state.epoch,
          sequence: 5,
          head: 9,
        },
      });
      assert.deepEqual(message.headers, {
        'x-mcp-subscription-id': webhookSubscriptionId('alice', url, state.select[0]!),
      });
      assert.ok(of(name).single);
    }
  });

  test('has an id for each message, the same in every attempt, in the profile sep only and only if the server chooses it [SEP-3415 D37]', () => {
    const dialects = eventsDialects({ webhookId: 'message' });
    const id = (name: ProfileName) =>
      dialects[dialectOf(name)]!.delivery(callback, event('evt-1'))!.id;
    assert.match(id('sep'), /^msg_[A-Za-z0-9_-]{32}$/);
    assert.equal(id('sep'), id('sep'));
    assert.deepEqual([id('sketch'), id('suite')], ['evt-1', 'evt-1']);
  });

  test('has its eventId as webhook-id, if that is safe in a header and in the signed content [SEP-3415 D37]', () => {
    const id = (name: ProfileName, eventId: string) =>
      of(name).delivery(callback, event(eventId))!.id;
    for (const name of ['sep', 'sketch', 'suite'] as const) {
      for (const eventId of ['evt-1', 'pay:7', '~!(x)', 'a.b', 'nightly:2026-11-21T09:00:00.000Z'])
        assert.equal(id(name, eventId), eventId);
      // Characters that would break the header or move the boundary of the signed content.
      for (const eventId of [
        'é',
        'a b',
        'x'.repeat(257),
        'a\u0000',
        'a\r\nb: c',
        'a.1739980800',
        'a.1739980800.b',
        'a.1739980800x',
        'a.+1739980800',
        'a.17399808e2',
        'a.0x67b5f680',
      ])
        assert.match(id(name, eventId), /^msg_[A-Za-z0-9_-]{32}$/, eventId);
    }
  });
});

describe('a control envelope', () => {
  test('of a gap has the position behind the gap, if the profile has that message; its id is derived from the gap [SEP-3415 D42 D44 R76]', () => {
    for (const name of ['sep', 'suite'] as const) {
      const message = of(name).delivery(callback, gap)!;
      const { type, cursor, ...rest } = read(message);
      assert.deepEqual([type, at(cursor), rest], ['gap', 7, {}]);
      assert.match(message.id, /^msg_gap_[A-Za-z0-9_-]+$/);
      assert.equal(of(name).delivery(callback, gap)!.id, message.id);
    }
    assert.equal(of('sketch').delivery(callback, gap), null);
  });

  test('of a challenge has an id and a header like any message [SEP-3415 D43 D44 R61]', () => {
    for (const name of names) {
      const message = of(name).challenge(callback, 'nonce');
      assert.deepEqual(read(message), { type: 'verification', challenge: 'nonce' });
      assert.match(message.id, /^msg_verification_[A-Za-z0-9_-]{32}$/);
      assert.notEqual(of(name).challenge(callback, 'nonce').id, message.id);
      assert.ok(message.headers['x-mcp-subscription-id']);
    }
  });

  test('of an end gives the reason in the codes of the profile, and is not sent for an end that the client requested [SEP-3415 D9 D58]', () => {
    const said = (
      name: ProfileName,
      reason: Parameters<CallbackDialect['terminationNotice']>[1],
    ) => {
      const message = of(name).terminationNotice(callback, reason);
      return message === null ? null : read(message);
    };
    assert.partialDeepStrictEqual(said('sep', 'revoked'), {
      type: 'terminated',
      error: { code: -32024, data: { reason: 'revoked' } },
    });
    assert.partialDeepStrictEqual(said('suite', 'revoked'), {
      type: 'terminated',
      error: { code: -32012 },
    });
    assert.partialDeepStrictEqual(said('sep', 'trigger_removed'), {
      error: { code: -32023, data: { kind: 'event' } },
    });
    assert.partialDeepStrictEqual(said('sep', 'schema_changed'), {
      error: { code: -32026, data: { feature: 'payloadSchema', reason: 'schema_changed' } },
    });
    assert.partialDeepStrictEqual(said('sep', 'failed'), { error: { code: -32603 } });
    for (const reason of ['expired', 'unsubscribed'] as const)
      for (const name of names) assert.equal(said(name, reason), null);
    assert.equal(said('sketch', 'revoked'), null);
  });
});

describe('an answer', () => {
  const classify = (
    status: number,
    range: typeof gap | ReturnType<typeof event>,
    health: Partial<SubscriptionState['health']> = {},
    now = 0,
    retryAfter: string | null = null,
  ) =>
    of('sep').classify({ status, retryAfter, body: { ack: 99, reject: 'x' }, now }, range, {
      ...state,
      health: { ...state.health, ...health },
    });
  const acked = (last: number) => ({ kind: 'acked', ack: last, reject: null });

  test('of any 2xx accepts the event, whatever the body', () => {
    for (const status of [200, 202, 204, 299])
      assert.deepEqual(classify(status, event('e')), acked(5));
  });
  test('of 410 or 413 is final for the event and nothing else [SEP-3415 R43 R66 U15]', () => {
    assert.deepEqual(classify(410, event('e')), { kind: 'refused' });
    assert.deepEqual(classify(413, event('e')), { kind: 'too_large' });
    assert.deepEqual(classify(410, gap), acked(7));
    assert.deepEqual(classify(413, gap), acked(7));
  });
  test('of any other status is retried, as for callbacks of this protocol; a redirect is never followed [SEP-3415 R53]', () => {
    assert.deepEqual(classify(503, event('e'), {}, 0, '7'), {
      kind: 'transient',
      category: 'http_5xx',
      retryAfterMs: 7000,
    });
    assert.deepEqual(classify(425, event('e')), {
      kind: 'transient',
      category: 'http_4xx',
      retryAfterMs: null,
    });
    for (const status of [301, 307, 400, 401, 404])
      assert.deepEqual(
        classify(status, event('e')),
        { kind: 'config', category: 'http_4xx' },
        String(status),
      );
  });
  test('that refuses a gap again and again settles it, so that it does not block what follows [SEP-3415 R42]', () => {
    const later = 600_000;
    const failing = (configFailures: number) => ({ configFailures, configFailingSince: 0 });
    assert.equal(classify(400, gap, failing(3), later).kind, 'config');
    assert.equal(classify(400, gap, failing(4), later - 1).kind, 'config');
    assert.deepEqual(classify(400, gap, failing(4), later), acked(7));
    assert.equal(classify(400, event('e'), failing(4), later).kind, 'config');
    assert.equal(classify(503, gap, { ...failing(4), failingSince: 0 }, later).kind, 'transient');
    assert.deepEqual(classify(503, gap, { failingSince: 0 }, 25 * 3600_000), acked(7));
  });
});

test('consents only by echoing the exact challenge [SEP-3415 D45]', () => {
  const { consents } = of('sep');
  const secret = Secret.generate();
  assert.ok(consents({ challenge: 'nonce', proof: 'x' }, 'nonce', secret));
  for (const body of [
    { challenge: 'nonce2' },
    { challenge: 'nonc' },
    { challenge: ['nonce'] },
    { challenge: null },
    {},
    'nonce',
    null,
    undefined,
    ['nonce'],
    7,
  ]) {
    assert.equal(consents(body, 'nonce', secret), false, JSON.stringify(body));
  }
});
