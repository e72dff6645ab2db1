/**
 * Callback requests: content and identity, and the limits of an answer (SEP: Callback, Message
 * identity).
 */
import assert from 'node:assert/strict';
import { gzipSync } from 'node:zlib';
import {
  acknowledge,
  isChallenge,
  lastOf,
  type Hit,
} from '../../runner/server/callback-endpoint.ts';
import { scenario } from '../../runner/server/scenario.ts';
import { webhookIdOf } from '../../runner/wire/sender.ts';
import { problemOf } from '../../runner/wire/schema.ts';
import type { Json } from '../../runner/wire/session.ts';
import { acked, arrived, delivery, failures, loaded, sequences, upTo } from './following.ts';

const BODY_BYTES_MAX = 262_144;
const ANSWER_BYTES_MAX = 8192;
const BATCH_MAX = 100;
/** The deadline of 10 seconds plus tolerance for a busy machine. */
const DEADLINE_MS = 10_000 + 3000;
const HEADERS = ['webhook-id', 'webhook-timestamp', 'webhook-signature', 'mcp-subscription-id'];
const NEEDS = { drains: ['callback'], verbs: ['emit'], types: ['plain'] } as const;

/** An acknowledgement of this many bytes. */
const padded = (ack: number, bytes: number): string => {
  const head = `{"ackSequence":${ack}`;
  return `${head}${' '.repeat(bytes - head.length - 1)}}`;
};

/** Chunks of an acknowledgement that never ends. */
async function* drops(): AsyncGenerator<string> {
  yield '{"ackSequence":1';
  for (;;) {
    await new Promise((resolve) => setTimeout(resolve, 500));
    yield ' ';
  }
}

export const callback = [
  // This scenario comes first, because it takes longest.
  scenario({
    name: 'callback: the deadline',
    about: 'An attempt ends after ten seconds, whether the answer is missing or slow.',
    checks: ['cb-deadline'],
    needs: NEEDS,
    async run(t) {
      const timesOut = async (
        what: string,
        body: () => Promise<{ readonly body: AsyncGenerator<string> }>,
      ): Promise<void> => {
        const endpoint = await t.endpoint();
        endpoint.answer = body;
        const subscription = await t.subscribe({ callback: endpoint.callback });
        await t.emit(t.topicOf(subscription), 1);
        const { at } = await delivery(t, endpoint, 1);
        await t.check('cb-deadline', what, async () => {
          const now = await failures(t, subscription, 1, at + DEADLINE_MS - Date.now());
          assert.deepEqual(
            [now.acked, now.callback.health.lastError],
            [0, 'timeout'],
            '`acked` and `health.lastError`:',
          );
        });
      };
      const unproven = async (): Promise<void> => {
        const endpoint = await t.endpoint();
        endpoint.consent = () => new Promise(() => undefined);
        const startedAt = Date.now();
        await t.check(
          'cb-deadline',
          'a challenge without an answer ends after ten seconds',
          async () => {
            const rejection = await t.mcp.errorOf('triggers/subscribe', {
              key: t.unique(),
              select: [{ name: t.control.type('plain') }],
              callback: endpoint.callback,
            });
            assert.deepEqual(
              [rejection.code, rejection.data],
              [-32027, { kind: 'callback', category: 'timeout' }],
              'code and `data` of the error:',
            );
            assert.ok(
              Date.now() - startedAt < DEADLINE_MS,
              `the challenge was rejected only after ${Date.now() - startedAt} ms`,
            );
          },
        );
      };
      await Promise.all([
        timesOut(
          'an attempt without an answer ends after ten seconds',
          () => new Promise(() => undefined),
        ),
        timesOut('an attempt with a slow answer ends after ten seconds', async () => ({
          body: drops(),
        })),
        unproven(),
      ]);
    },
  }),

  scenario({
    name: 'callback: the request',
    about:
      'A request is a POST of one JSON-RPC notification with four headers and no user credentials.',
    checks: ['cb-post', 'cb-headers', 'cb-no-extra', 'cb-start', 'cb-id-random'],
    needs: NEEDS,
    async run(t) {
      const endpoint = await t.endpoint();
      endpoint.answer = (hit) => ({
        ...acknowledge(hit),
        headers: { 'set-cookie': 'session=do-not-repeat; Path=/' },
      });
      const pad = 'naïve — 日本語 🎺';
      const subscription = await t.subscribe({ callback: endpoint.callback });
      const { subscriptionId } = subscription;
      await t.emit(t.topicOf(subscription), 1, { data: { pad } });
      await arrived(t, endpoint, 1);
      await acked(t, subscription, 1);
      // The server verifies each changed URL: two challenges follow one delivery.
      await t.mcp.request('triggers/update', {
        subscriptionId,
        callback: { ...endpoint.callback, url: `${endpoint.url}/second` },
      });
      await t.mcp.request('triggers/update', {
        subscriptionId,
        callback: { ...endpoint.callback, url: `${endpoint.url}/third` },
      });
      await t.emit(t.topicOf(subscription), 1, { from: 2, data: { pad } });
      await arrived(t, endpoint, 2);
      const { hits, deliveries, challenges } = endpoint;

      await t.check('cb-post', 'the request is a POST with Content-Type application/json', () => {
        for (const { method, headers } of hits) {
          assert.equal(method, 'POST', 'the method:');
          assert.match(
            String(headers['content-type']),
            /^application\/json *(;|$)/i,
            `Content-Type is ${String(headers['content-type'])}`,
          );
        }
      });
      await t.check('cb-post', 'the body is the notification without an id', () => {
        for (const { message } of hits) {
          assert.ok(message !== undefined, 'the body is not JSON');
          assert.deepEqual(
            [message.jsonrpc, message.method, 'id' in message],
            ['2.0', 'notifications/triggers/delivery', false],
            '`jsonrpc`, `method` and whether an `id` exists:',
          );
          assert.equal(
            problemOf(
              isChallenge(message.params ?? {}) ? 'ChallengeNotification' : 'DeliveryNotification',
              message,
            ),
            null,
            'validation errors of the body:',
          );
        }
      });
      await t.check('cb-post', 'the body is encoded in UTF-8', () => {
        for (const { raw } of hits) new TextDecoder('utf-8', { fatal: true }).decode(raw);
        assert.equal(deliveries[0]!.delivery.events[0].data.pad, pad, 'a text in several scripts:');
      });
      await t.check(
        'cb-headers',
        'challenges and deliveries have each of the four headers once, with the id of their subscription',
        () => {
          for (const { names, headers } of hits) {
            for (const name of HEADERS)
              assert.equal(
                names.filter((one) => one === name).length,
                1,
                `occurrences of ${name}:`,
              );
            assert.equal(headers['mcp-subscription-id'], subscriptionId, 'MCP-Subscription-Id:');
          }
        },
      );
      await t.check(
        'cb-no-extra',
        'the request carries no cookie, no Authorization and no token of the client',
        () => {
          const { token } = t.subject.access;
          for (const { names, headers, raw, path } of hits) {
            for (const name of ['cookie', 'authorization', 'proxy-authorization'])
              assert.ok(!names.includes(name), `the request has the header ${name}`);
            const everything = `${path}\n${JSON.stringify(headers)}\n${raw.toString()}`;
            assert.ok(
              !everything.includes('do-not-repeat'),
              'the request repeats a cookie of an earlier answer',
            );
            assert.ok(
              token === undefined || !everything.includes(token),
              'the request contains the token of the client',
            );
          }
        },
      );
      await t.check('cb-start', 'a delivery starts at `acked`', () => {
        for (const {
          delivery: { afterSequence, acked: shown },
        } of deliveries)
          assert.equal(afterSequence, shown, '`afterSequence` and `acked` of one delivery:');
      });
      await t.check(
        'cb-id-random',
        'the webhook-id of a challenge, which covers no number, is msg_ and 32 random characters',
        () => {
          const ids = challenges.map(({ headers }) => String(headers['webhook-id']));
          for (const id of ids)
            assert.match(id, /^msg_[A-Za-z0-9_-]{32}$/, `webhook-id of a challenge is ${id}`);
          assert.equal(
            new Set(ids).size,
            ids.length,
            `different identifiers of ${ids.length} challenges:`,
          );
        },
      );
    },
  }),

  scenario({
    name: 'callback: position and identity',
    about:
      'Each delivery starts after the acknowledged position, and its webhook-id follows from what it covers.',
    checks: ['cb-start', 'cb-id-range'],
    needs: NEEDS,
    async run(t) {
      const endpoint = await t.endpoint();
      // The second of five events is too large for the endpoint, so that a gap appears between them.
      const done: number[] = [];
      endpoint.answer = ({ delivery: sent }) => {
        const [first, ...others] = sent.events.map(({ sequence }: Json) => sequence);
        const isTooLarge = first === 2;
        const ackSequence = others.includes(2) ? 1 : lastOf(sent);
        done.push(isTooLarge ? sent.afterSequence : ackSequence);
        return isTooLarge ? { status: 413 } : { body: { ackSequence } };
      };
      await acked(t, await loaded(t, endpoint, 5), 5);
      await t.check('cb-start', 'a delivery starts where the one before was acknowledged', () => {
        assert.deepEqual(
          endpoint.deliveries.map(({ delivery: { afterSequence } }) => afterSequence),
          [0, ...done.slice(0, -1)],
          '`afterSequence` of the deliveries:',
        );
      });
      await t.check(
        'cb-id-range',
        'webhook-id is the hash of subscription, epoch, range and gaps',
        () => {
          assert.ok(
            endpoint.deliveries.some(({ delivery: { gaps } }) => gaps?.length === 1),
            'no delivery contained the gap',
          );
          for (const hit of endpoint.deliveries) {
            const { afterSequence, gaps = [] } = hit.delivery;
            assert.equal(
              hit.headers['webhook-id'],
              webhookIdOf(hit.delivery),
              `webhook-id of ${afterSequence + 1} to ${lastOf(hit.delivery)} with ${gaps.length} gaps:`,
            );
          }
        },
      );
    },
  }),

  scenario({
    name: 'callback: a retry',
    about: 'A retry of the same range has the same webhook-id and a new timestamp.',
    checks: ['cb-id-retry'],
    needs: NEEDS,
    async run(t) {
      const endpoint = await t.endpoint();
      // Retry-After asks for one second, so that the retry has another timestamp.
      endpoint.answer = (hit, n) =>
        n === 1 ? { status: 503, headers: { 'retry-after': '1' } } : acknowledge(hit);
      const subscription = await t.subscribe({ callback: endpoint.callback });
      await t.emit(t.topicOf(subscription), 1);
      const [first, second] = [await delivery(t, endpoint, 1), await delivery(t, endpoint, 2)];
      const header =
        (name: string) =>
        (hit: Hit): string =>
          String(hit.headers[name]);
      await t.check('cb-id-retry', 'a retry has the same webhook-id', () =>
        assert.equal(
          header('webhook-id')(second),
          header('webhook-id')(first),
          'webhook-id of the retry:',
        ),
      );
      await t.check('cb-id-retry', 'a retry has a new timestamp and a new signature', () => {
        for (const name of ['webhook-timestamp', 'webhook-signature'])
          assert.notEqual(
            header(name)(second),
            header(name)(first),
            `${name} of the retry is that of the first attempt`,
          );
        assert.ok(
          Number(header('webhook-timestamp')(second)) > Number(header('webhook-timestamp')(first)),
          'the timestamp of the retry is not later than that of the first attempt',
        );
      });
    },
  }),

  scenario({
    name: 'callback: one at a time',
    about: 'While an attempt runs, the server starts no other, whatever happens to the log.',
    checks: ['cb-one-lease'],
    needs: NEEDS,
    async run(t) {
      const endpoint = await t.endpoint();
      let [open, most] = [0, 0];
      endpoint.answer = async (hit) => {
        most = Math.max(most, ++open);
        await t.pause(200);
        open -= 1;
        return acknowledge(hit);
      };
      const subscription = await t.subscribe({ callback: endpoint.callback });
      const { subscriptionId, epoch } = subscription;
      await t.emit(t.topicOf(subscription), 1);
      await delivery(t, endpoint, 1);
      await t.emit(t.topicOf(subscription), 3, { from: 2 });
      for (const [method, params] of [
        ['triggers/pull', {}],
        ['triggers/update', { ttlMs: 3_600_000 }],
        ['triggers/get', {}],
        ['triggers/ack', { position: { epoch, sequence: 1 } }],
      ] as const)
        await t.mcp.request(method, { subscriptionId, ...params });
      await arrived(t, endpoint, 4);
      await t.check(
        'cb-one-lease',
        'events, pulls and updates during an attempt start no second one',
        () => assert.equal(most, 1, 'concurrent attempts:'),
      );
    },
  }),

  scenario({
    name: 'callback: size',
    about: 'A request has at most 256 KiB and should have at most 100 events.',
    checks: ['cb-body-limit', 'cb-batch'],
    needs: NEEDS,
    async run(t) {
      const [large, many] = [await t.endpoint(), await t.endpoint()];
      const [heavy] = await Promise.all([
        loaded(t, large, 4, {
          fill: (topic) => t.emit(topic, 4, { data: { pad: 'x'.repeat(90_000) } }),
        }),
        loaded(t, many, 130),
      ]);
      await t.emit(t.topicOf(heavy), 1, { from: 5, data: { pad: 'y'.repeat(240_000) } });
      await t.check(
        'cb-body-limit',
        'four events of 90 KB and one of 240 KB arrive in requests within the limit',
        async () => {
          await arrived(t, large, 5);
          for (const { raw } of large.hits)
            assert.ok(raw.length <= BODY_BYTES_MAX, `a request has ${raw.length} bytes`);
          assert.deepEqual(
            sequences(large.deliveries.map((hit) => hit.delivery)),
            upTo(1, 5),
            'delivered events:',
          );
        },
      );
      await t.check('cb-batch', '130 events arrive in requests of at most 100', async () => {
        await arrived(t, many, 130);
        for (const {
          delivery: { events },
        } of many.deliveries)
          assert.ok(events.length <= BATCH_MAX, `a request has ${events.length} events`);
      });
    },
  }),

  scenario({
    name: 'callback: the answer',
    about: 'The server reads an answer while it arrives, up to 8 KiB.',
    checks: ['cb-answer-limit'],
    needs: NEEDS,
    async run(t) {
      const unread = async (
        what: string,
        check: string,
        answer: { readonly body: string | Buffer; readonly headers?: Record<string, string> },
      ): Promise<void> => {
        const endpoint = await t.endpoint();
        endpoint.answer = () => answer;
        const subscription = await t.subscribe({ callback: endpoint.callback });
        await t.emit(t.topicOf(subscription), 1);
        await t.check(check, what, async () => {
          const now = await failures(t, subscription, 1);
          assert.deepEqual(
            [now.acked, now.callback.health.lastError],
            [0, 'no_ack'],
            '`acked` and `health.lastError`:',
          );
        });
      };
      const read = async (
        what: string,
        check: string,
        answer: { readonly body: string; readonly headers?: Record<string, string> },
      ): Promise<void> => {
        const endpoint = await t.endpoint();
        endpoint.answer = () => answer;
        const subscription = await t.subscribe({ callback: endpoint.callback });
        await t.emit(t.topicOf(subscription), 1);
        await t.check(check, what, () => acked(t, subscription, 1));
      };
      await Promise.all([
        unread('an acknowledgement that ends after 8,192 bytes does not count', 'cb-answer-limit', {
          body: padded(1, ANSWER_BYTES_MAX + 1),
        }),
        unread('an acknowledgement of one MiB does not count', 'cb-answer-limit', {
          body: padded(1, 1_048_576),
        }),
        read('an acknowledgement that ends at 8,192 bytes counts', 'cb-answer-limit', {
          body: padded(1, ANSWER_BYTES_MAX),
        }),
        unread('a compressed acknowledgement does not count', 'cb-answer-limit', {
          body: gzipSync('{"ackSequence":1}'),
          headers: { 'content-encoding': 'gzip' },
        }),
        read('an uncompressed answer with Content-Encoding is read as it is', 'cb-answer-limit', {
          body: '{"ackSequence":1}',
          headers: { 'content-encoding': 'gzip' },
        }),
      ]);
    },
  }),
];
