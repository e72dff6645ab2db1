/** The limits of a callback (SEP: Limits of a callback). */
import assert from 'node:assert/strict';
import {
  acknowledge,
  lastOf,
  type CallbackEndpoint,
} from '../../runner/server/callback-endpoint.ts';
import { scenario, type ServerTest } from '../../runner/server/scenario.ts';
import type { Json } from '../../runner/wire/session.ts';
import { acked, arrived, loaded, MINUTE_MS, sequences, upTo } from './following.ts';

const NEEDS = {
  drains: ['callback'],
  options: ['limits'],
  verbs: ['emit'],
  types: ['plain'],
} as const;
/** Time to see that a server sends nothing more. */
const QUIET_MS = 700;

/** A subscription with waiting events whose callback has these limits. */
const limited = (
  t: ServerTest,
  endpoint: CallbackEndpoint,
  limits: Json,
  count: number,
  data: object = {},
): Promise<Json> =>
  loaded(t, endpoint, count, {
    callback: { ...endpoint.callback, limits },
    fill: (topic) => t.emit(topic, count, { data }),
  });

/** Waits until the endpoint has had no further request for a while. */
async function quiet(t: ServerTest, endpoint: CallbackEndpoint): Promise<void> {
  for (let before = -1; before !== endpoint.hits.length;) {
    before = endpoint.hits.length;
    await t.pause(QUIET_MS);
  }
}

export const limits = [
  scenario({
    name: 'limits: events and bytes of a request',
    about: 'A request has at most maxEvents events and a body of at most maxBytes bytes.',
    checks: ['cb-limits', 'etag-config', 'subs-same'],
    needs: NEEDS,
    async run(t) {
      const [few, small] = [await t.endpoint(), await t.endpoint()];
      const first = await limited(t, few, { maxEvents: 3 }, 8);
      await t.check('cb-limits', '`callback.limits` shows the limits', () =>
        assert.deepEqual(first.callback.limits, { maxEvents: 3 }, '`callback.limits`:'),
      );
      await acked(t, first, 8);
      await t.check('cb-limits', 'no request has more than maxEvents events', () => {
        assert.deepEqual(sequences(few.deliveries.map((hit) => hit.delivery)), upTo(1, 8));
        for (const { delivery } of few.deliveries)
          assert.ok(delivery.events.length <= 3, `a request has ${delivery.events.length} events`);
      });
      const second = await limited(t, small, { maxBytes: 3000 }, 6, { pad: 'x'.repeat(700) });
      await acked(t, second, 6);
      await t.emit(t.topicOf(second), 1, { from: 7, data: { pad: 'x'.repeat(9000) } });
      await acked(t, second, 7);
      await t.check(
        'cb-limits',
        'no body has more than maxBytes bytes, and a larger event is sent alone',
        () => {
          assert.deepEqual(sequences(small.deliveries.map((hit) => hit.delivery)), upTo(1, 7));
          for (const { raw, delivery } of small.deliveries)
            assert.ok(
              raw.length <= 3000 || delivery.events.length === 1,
              `a body with ${delivery.events.length} events has ${raw.length} bytes`,
            );
        },
      );
      const { key, select, subscriptionId, etag } = await t.mcp.request('triggers/get', {
        subscriptionId: second.subscriptionId,
      });
      const callback = { ...small.callback, limits: { maxBytes: 3001 } };
      await t.check('subs-same', 'a callback with other limits is another callback', async () => {
        const { code, data } = await t.mcp.errorOf('triggers/subscribe', { key, select, callback });
        assert.deepEqual([code, data?.kind], [-32602, 'key'], 'code and `data.kind`:');
      });
      await t.check('etag-config', 'other limits change the ETag', async () => {
        const changed = await t.mcp.request('triggers/update', { subscriptionId, callback });
        assert.notEqual(changed.etag, etag, 'the ETag after other limits:');
        assert.deepEqual(changed.callback.limits, { maxBytes: 3001 }, '`callback.limits`:');
      });
    },
  }),

  scenario({
    name: 'limits: requests in a minute',
    about:
      'No more than maxPerMinute requests arrive in any minute, with challenges and retries, and the rest follows.',
    checks: ['cb-limits'],
    needs: { ...NEEDS, verbs: ['emit', 'advance'] },
    alone: true,
    async run(t) {
      const endpoint = await t.endpoint();
      /** The server's time of each request. */
      const times: number[] = [];
      const note = (): void => void times.push(Date.now() + t.control.aheadMs);
      const consent = endpoint.consent;
      endpoint.consent = (hit) => {
        note();
        return consent(hit);
      };
      endpoint.answer = (hit, n) => {
        note();
        return n === 2 ? { status: 503 } : acknowledge(hit);
      };
      const subscription = await limited(t, endpoint, { maxEvents: 1, maxPerMinute: 4 }, 7);
      await arrived(t, endpoint, 1);
      for (let minute = 1; minute <= 3; minute += 1) {
        await quiet(t, endpoint);
        await t.control.do('advance', { ms: MINUTE_MS / 2 });
        await quiet(t, endpoint);
        await t.control.do('advance', { ms: MINUTE_MS / 2 });
      }
      await t.check('cb-limits', 'no more than maxPerMinute requests arrive in any minute', () => {
        for (let at = 4; at < times.length; at += 1) {
          const span = times[at]! - times[at - 4]!;
          assert.ok(span >= MINUTE_MS - 1000, `five requests arrived within ${span} ms`);
        }
      });
      await t.check('cb-limits', 'the other events follow in later minutes', () =>
        acked(t, subscription, 7),
      );
    },
  }),

  scenario({
    name: 'limits: waiting for more events',
    about: 'With lingerMs the server waits for a full batch, and no longer than lingerMs.',
    checks: ['cb-linger'],
    needs: NEEDS,
    async run(t) {
      const endpoint = await t.endpoint();
      const lingerMs = 2000;
      const subscription = await t.subscribe({
        callback: { ...endpoint.callback, limits: { maxEvents: 3, lingerMs } },
      });
      const topic = t.topicOf(subscription);
      const at = Date.now();
      await t.emit(topic, 1);
      await t.pause(QUIET_MS);
      await t.check('cb-linger', 'a single event waits for more events', () =>
        assert.equal(endpoint.deliveries.length, 0, 'requests before lingerMs has passed:'),
      );
      await t.emit(topic, 1, { from: 2 });
      await arrived(t, endpoint, 2);
      await t.check('cb-linger', 'the events are sent together when lingerMs has passed', () => {
        assert.deepEqual(
          endpoint.deliveries.map(({ delivery }) => [delivery.afterSequence, lastOf(delivery)]),
          [[0, 2]],
          'the ranges of the requests:',
        );
        const waited = endpoint.deliveries[0]!.at - at;
        assert.ok(waited >= lingerMs - 200, `the request came after ${waited} ms`);
      });
      await acked(t, subscription, 2);
      const again = Date.now();
      await t.emit(topic, 3, { from: 3 });
      await t.check('cb-linger', 'a full batch is sent at once', async () => {
        await arrived(t, endpoint, 5);
        const waited = endpoint.deliveries.at(-1)!.at - again;
        assert.ok(waited < lingerMs - 200, `a full batch came only after ${waited} ms`);
      });
    },
  }),
];
