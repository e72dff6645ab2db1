/** Deliveries to webhooks, and what the server does with rejected ones. */
import assert from 'node:assert/strict';
import { eventsScenario, type Events, type Followed } from '../../../runner/events/scenario.ts';
import { isSigned, type Webhook } from '../../../runner/events/webhook.ts';
import { NotApplicable } from '../../../runner/observations.ts';
import { signatureOf, type Hit } from '../../../runner/server/callback-endpoint.ts';
import type { ServerTest } from '../../../runner/server/scenario.ts';
import type { Json } from '../../../runner/wire/session.ts';
import { isCursor, isOccurrence, isText } from './shapes.ts';

const BODY_BYTES_MAX = 256 * 1024;
const HOUR_MS = 3_600_000;
/** Time after which a server no longer retries an event. */
const WINDOW_MS = 72 * HOUR_MS;
/** Time to watch for requests that must not come. */
const QUIET_MS = 300;
const CATEGORIES = [
  'connection_refused',
  'timeout',
  'tls_error',
  'http_4xx',
  'http_5xx',
  'challenge_failed',
];
const CANARY = 'canary-4712';

/**
 * Subscribes a webhook that accepts every event except the one with `data.n` equal to `n`, which it
 * answers with this status.
 */
async function refusing(
  events: Events,
  n: number,
  status: () => number,
): Promise<{ readonly hook: Webhook; readonly followed: Followed; readonly made: Json }> {
  const [hook, followed] = [await events.webhook(), events.topic()];
  hook.answer = ({ message }) => ({ status: message?.data?.n === n ? status() : 204 });
  return { hook, followed, made: await events.subscribe(hook, followed, { ttlMs: null }) };
}

/** The requests that carried this event. */
const attemptsAt = (hook: Webhook, n: number): Hit[] =>
  hook.events.filter(({ message }) => message.data?.n === n);

/**
 * Emits three events to a webhook that answers the second with this status. Resolves when the third
 * has arrived.
 */
async function refusedOnce(t: ServerTest, events: Events, status: number) {
  const { hook, followed, made } = await refusing(events, 2, () => status);
  await events.emit(followed, 3);
  await t.until('the event after the rejected one', () => hook.numbers.includes(3));
  return { hook, followed, made };
}

export const delivery = [
  eventsScenario({
    name: 'delivery: a request',
    about: 'Each event is one signed POST.',
    checks: [
      'delivery-post-json',
      'delivery-standard-webhooks-headers',
      'delivery-signature-formula',
      'delivery-subscription-id-header',
      'delivery-hmac-only',
      'occurrence-shape',
      'occurrence-event-id-from-upstream',
      'envelope-type-discriminator',
      'cursor-null-starts-from-now',
    ],
    modes: ['webhook'],
    verbs: ['emit'],
    async run(t, events) {
      const [hook, followed] = [await events.webhook(), events.topic()];
      await events.emit(followed, 1);
      const { id } = await events.subscribe(hook, followed, { cursor: null });
      await events.emit(followed, 1, { from: 2, data: { pad: 'z\u00e9 \u{1f600} </script>' } });
      const upstream = t.unique('upstream');
      await t.control.do('emit', {
        events: [{ name: followed.name, eventId: upstream, data: { ...followed.arguments, n: 3 } }],
      });
      await events.hooked(hook, 2);
      const hits = hook.events;
      await t.check(
        'delivery-post-json',
        'a delivery is a POST of JSON with one occurrence',
        () => {
          for (const { method, headers, message } of hits) {
            assert.equal(method, 'POST', 'the method:');
            assert.match(
              String(headers['content-type']),
              /^application\/json(;|$)/,
              'content-type:',
            );
            assert.equal(typeof message?.eventId, 'string', 'the type of eventId of the body:');
          }
        },
      );
      await t.check(
        'occurrence-shape',
        'the body has the members of an occurrence and a cursor',
        () => {
          for (const { message } of hits) {
            isOccurrence(message, followed.name);
            isCursor(message.cursor);
          }
        },
      );
      await t.check(
        'occurrence-event-id-from-upstream',
        'the eventId is the identifier of the upstream',
        () =>
          assert.ok(
            hits.some(({ message }) => message?.eventId === upstream),
            `none of ${hits.map(({ message }) => message?.eventId).join(', ')} is ${upstream}`,
          ),
      );
      await t.check('envelope-type-discriminator', 'an occurrence has no type', () =>
        assert.deepEqual(
          hits.filter(({ message }) => 'type' in message).length,
          0,
          'occurrences with a type:',
        ),
      );
      await t.check(
        'cursor-null-starts-from-now',
        'the server delivers no event from before the subscription',
        () =>
          assert.ok(
            !hook.numbers.includes(1),
            'the event from before the subscription was delivered',
          ),
      );
      await t.check(
        'delivery-standard-webhooks-headers',
        'a delivery has the three headers, with the current time',
        () => {
          for (const { headers } of hits) {
            isText(headers['webhook-id'], 'webhook-id');
            const off = Math.abs(
              Number(headers['webhook-timestamp']) * 1000 - Date.now() - t.control.aheadMs,
            );
            assert.ok(
              off < 300_000,
              `webhook-timestamp is ${JSON.stringify(headers['webhook-timestamp'])}`,
            );
            isText(headers['webhook-signature'], 'webhook-signature');
          }
        },
      );
      await t.check(
        'delivery-signature-formula',
        'the signature is HMAC-SHA256 over id, timestamp and the bytes',
        () => {
          for (const hit of hits)
            assert.ok(
              isSigned(hit, hook.secret),
              `webhook-signature is ${String(hit.headers['webhook-signature'])}, without ${signatureOf(hook.secret, hit)}`,
            );
        },
      );
      await t.check(
        'delivery-subscription-id-header',
        'X-MCP-Subscription-Id is the id of the subscription',
        () => {
          for (const { headers } of hits)
            assert.equal(headers['x-mcp-subscription-id'], id, 'X-MCP-Subscription-Id:');
        },
      );
      await t.check('delivery-hmac-only', 'the request carries no other credentials', () => {
        for (const { headers } of hits)
          assert.deepEqual(
            [headers.authorization, headers.cookie, headers['proxy-authorization']],
            [undefined, undefined, undefined],
            'authorization, cookie and proxy-authorization:',
          );
      });
    },
  }),

  eventsScenario({
    name: 'delivery: size',
    about: 'A body has at most 256 KiB.',
    checks: ['delivery-body-size'],
    modes: ['webhook'],
    verbs: ['emit'],
    async run(t, events) {
      const [hook, followed] = [await events.webhook(), events.topic()];
      await events.subscribe(hook, followed);
      for (const [n, bytes] of [
        [1, 100_000],
        [2, 239_000],
        [3, 300_000],
      ] as const) {
        // A server may reject such events.
        await events
          .emit(followed, 1, { from: n, data: { pad: 'x'.repeat(bytes) } })
          .catch(() => undefined);
      }
      await events.emit(followed, 1, { from: 4 });
      await t.until('the last event', () => hook.numbers.includes(4));
      await t.check(
        'delivery-body-size',
        'no event of 100, 239 or 300 KB arrives in a body of more than 256 KiB',
        () => {
          const sizes = hook.hits.map(({ raw }) => raw.length);
          assert.ok(
            Math.max(...sizes) <= BODY_BYTES_MAX,
            `one body has ${Math.max(...sizes)} bytes`,
          );
          assert.ok(hook.numbers.includes(1), 'the event of 100 KB did not arrive');
        },
      );
    },
  }),

  eventsScenario({
    name: 'delivery: retries',
    about: 'A rejected event is sent again with a new signature, and the watermark waits for it.',
    checks: [
      'delivery-retried',
      'delivery-retry-regenerates-signature',
      'delivery-cursor-watermark',
      'subscribe-response-cursor',
      'delivery-status-shape',
      'delivery-status-last-error-category',
      'verification-no-raw-endpoint-responses',
    ],
    modes: ['webhook'],
    verbs: ['emit'],
    async run(t, events) {
      const [hook, followed] = [await events.webhook(), events.topic()];
      let down = false;
      // Timestamps count seconds, so only attempts more than a second apart have different ones.
      // Retry-After makes such attempts come soon, on a server that honors it.
      hook.answer = () =>
        down
          ? {
              status: 503,
              body: CANARY,
              headers: {
                'x-why': CANARY,
                'retry-after': attemptsAt(hook, 2).length > 1 ? '1' : '2',
              },
            }
          : { status: 204 };
      const { cursor: begin } = await events.subscribe(hook, followed, { ttlMs: null });
      await events.emit(followed, 1);
      await events.hooked(hook, 1);
      down = true;
      await events.emit(followed, 1, { from: 2 });
      await t.check('delivery-retried', 'the event is sent again after 503', () =>
        t.until('a second attempt', () => attemptsAt(hook, 2).length > 1),
      );
      await t.check(
        'delivery-retry-regenerates-signature',
        'a later attempt has its own timestamp and signature',
        async () => {
          const [first] = attemptsAt(hook, 2);
          const later = await t.until('an attempt more than a second after the first', () =>
            attemptsAt(hook, 2).find(({ at }) => at > first!.at + 1200),
          );
          assert.ok(
            later.headers['webhook-timestamp'] !== first!.headers['webhook-timestamp'],
            'it has the webhook-timestamp of the first attempt',
          );
          assert.ok(
            later.headers['webhook-signature'] !== first!.headers['webhook-signature'],
            'it has the webhook-signature of the first attempt',
          );
          assert.ok(isSigned(later, hook.secret), 'it is not signed with the secret');
        },
      );
      const attempts = attemptsAt(hook, 2);
      const { cursor: stuck, deliveryStatus, text } = await statusOf(t, hook, followed);
      await t.check('delivery-status-shape', 'a refresh reports the delivery status', () => {
        if (deliveryStatus === undefined)
          throw new NotApplicable('The server reports no deliveryStatus.');
        assert.equal(typeof deliveryStatus.active, 'boolean', 'the type of active:');
        for (const at of [deliveryStatus.lastDeliveryAt, deliveryStatus.failedSince])
          assert.ok(
            at == null || !Number.isNaN(Date.parse(at)),
            `${JSON.stringify(at)} is not an instant`,
          );
        assert.ok(
          deliveryStatus.lastDeliveryAt != null,
          'lastDeliveryAt is missing although an event was accepted',
        );
        assert.ok(
          typeof deliveryStatus.lastError === 'string',
          `lastError is ${JSON.stringify(deliveryStatus.lastError)} although attempts fail`,
        );
      });
      await t.check(
        'delivery-status-last-error-category',
        'lastError is one of the six categories',
        () => {
          if (typeof deliveryStatus?.lastError !== 'string')
            throw new NotApplicable('The server reports no deliveryStatus.lastError.');
          assert.ok(
            CATEGORIES.includes(deliveryStatus.lastError),
            `lastError is ${JSON.stringify(deliveryStatus.lastError)}`,
          );
        },
      );
      await t.check(
        'verification-no-raw-endpoint-responses',
        "deliveryStatus contains nothing of the endpoint's answer",
        () => assert.ok(!text.includes(CANARY), 'the result contains text of the endpoint'),
      );
      await t.check(
        'delivery-cursor-watermark',
        'the cursor in the body is the same in every attempt and is after the first event',
        () => {
          const [first] = attemptsAt(hook, 1);
          assert.equal(
            first?.message.cursor,
            begin,
            'the cursor of the first event, compared with that of the subscription:',
          );
          for (const { message } of attempts)
            assert.equal(
              message.cursor,
              attempts[0]?.message.cursor,
              'the cursor of another attempt:',
            );
          assert.ok(
            attempts[0]?.message.cursor !== begin,
            'the second event carries the cursor of the subscription although the first was accepted',
          );
        },
      );
      down = false;
      await t.until('another attempt', () => attemptsAt(hook, 2).length > attempts.length);
      await t.check(
        'subscribe-response-cursor',
        'the cursor of a refresh is past the first event at once, and past the second when it is accepted',
        async () => {
          assert.ok(
            stuck !== begin,
            'the cursor has not moved although the first event was accepted',
          );
          assert.equal(
            stuck,
            attempts[0]?.message.cursor,
            'the cursor while the second event is retried, compared with that in its body:',
          );
          await t.until(
            'the cursor to move',
            async () => (await statusOf(t, hook, followed)).cursor !== stuck,
          );
        },
      );
    },
  }),

  eventsScenario({
    name: 'delivery: permanent rejection',
    about: 'After 410 or 413 the server skips the event and continues.',
    checks: [
      'delivery-410-non-retryable',
      'delivery-413-non-retryable',
      'delivery-abandoned-passed',
      'envelope-gap',
      'envelope-signed-like-deliveries',
      'envelope-webhook-id-format',
    ],
    modes: ['webhook'],
    verbs: ['emit'],
    async run(t, events) {
      const [gone, large] = [await refusedOnce(t, events, 410), await refusedOnce(t, events, 413)];
      // Long enough for a first retry, which must not come.
      await t.pause(1500);
      for (const [check, { hook, followed }] of [
        ['delivery-410-non-retryable', gone],
        ['delivery-413-non-retryable', large],
      ] as const) {
        await t.check(check, 'the event is sent once, and later events follow', async () => {
          assert.equal(attemptsAt(hook, 2).length, 1, 'attempts:');
          await events.emit(followed, 1, { from: 4 });
          await t.until('a later event', () => hook.numbers.includes(4));
        });
      }
      await t.check(
        'delivery-abandoned-passed',
        'the cursor of a refresh is past the skipped event',
        async () => {
          const between = attemptsAt(gone.hook, 2)[0]?.message.cursor;
          await t.until(
            'the cursor to move',
            async () => (await statusOf(t, gone.hook, gone.followed)).cursor !== between,
          );
        },
      );
      const gaps = [...gone.hook.envelopes('gap'), ...large.hook.envelopes('gap')];
      const told = (): void => {
        if (gaps.length === 0)
          throw new NotApplicable(
            'The server sends no gap for a skipped event, which is optional.',
          );
      };
      await t.check('envelope-gap', 'a gap envelope has a cursor', () => {
        told();
        for (const { message } of gaps)
          assert.ok(
            'cursor' in message && (message.cursor === null || typeof message.cursor === 'string'),
            `the envelope is ${JSON.stringify(message)}`,
          );
      });
      await t.check(
        'envelope-signed-like-deliveries',
        'a gap envelope has the signature and headers of an event',
        () => {
          told();
          for (const { hook, made } of [gone, large]) {
            for (const hit of hook.envelopes('gap')) {
              assert.ok(isSigned(hit, hook.secret), 'it is not signed with the secret');
              assert.equal(hit.headers['x-mcp-subscription-id'], made.id, 'X-MCP-Subscription-Id:');
            }
          }
        },
      );
      await t.check(
        'envelope-webhook-id-format',
        'the webhook-id of a gap is msg_gap_ and a random part',
        () => {
          told();
          for (const { headers } of gaps)
            assert.match(String(headers['webhook-id']), /^msg_gap_.{8,}$/);
        },
      );
    },
  }),

  eventsScenario({
    name: 'delivery: a redirect',
    about: 'A server sends nothing to the target of a redirect.',
    checks: ['ssrf-no-redirects'],
    modes: ['webhook'],
    verbs: ['emit'],
    async run(t, events) {
      const [hook, target, followed] = [
        await events.webhook(),
        await events.webhook(),
        events.topic(),
      ];
      await events.subscribe(hook, followed);
      const statuses = [301, 302, 303, 307, 308];
      hook.answer = (_, n) => ({
        status: statuses[(n - 1) % statuses.length]!,
        headers: { location: target.url },
      });
      await events.emit(followed, 1);
      await events.hooked(hook, 1);
      await t.check('ssrf-no-redirects', 'a redirect is not followed', async () => {
        await t.pause(QUIET_MS);
        assert.equal(target.hits.length, 0, 'requests to the redirect target:');
      });
    },
  }),

  eventsScenario({
    name: 'delivery: giving up',
    about: 'A server stops retrying an endpoint that fails for days.',
    checks: ['delivery-retries-bounded'],
    modes: ['webhook'],
    verbs: ['emit', 'advance'],
    alone: true,
    async run(t, events) {
      const { hook, followed } = await refusing(events, 1, () => 503);
      await events.emit(followed, 1);
      await t.until('a first attempt', () => attemptsAt(hook, 1).length > 0);
      const pass = async (ms: number, step: number): Promise<void> => {
        for (let passed = 0; passed < ms; passed += step) {
          const before = hook.hits.length;
          await t.control.do('advance', { ms: step });
          // The running attempt has to be answered before the clock moves, or it counts as lost.
          await t.until('an attempt', () => hook.hits.length > before, 150).catch(() => undefined);
        }
      };
      await pass(WINDOW_MS, 6 * HOUR_MS);
      const tried = attemptsAt(hook, 1).length;
      await pass(WINDOW_MS, 12 * HOUR_MS);
      await t.check(
        'delivery-retries-bounded',
        'the event is not retried after three days of failures',
        () =>
          assert.equal(
            attemptsAt(hook, 1).length,
            tried,
            'attempts after three days and after six:',
          ),
      );
    },
  }),
];

/** Refreshes a subscription and returns members of the result, and the result as text. */
async function statusOf(
  t: ServerTest,
  hook: Webhook,
  followed: Followed,
): Promise<{ readonly cursor: Json; readonly deliveryStatus: Json; readonly text: string }> {
  const { result, error } = await t.mcp.ask('events/subscribe', {
    ...followed,
    delivery: hook.delivery,
    ttlMs: null,
  });
  if (error !== undefined)
    throw new Error(`a refresh was rejected with error ${error.code}: ${error.message}`);
  return {
    cursor: result.cursor,
    deliveryStatus: result.deliveryStatus,
    text: JSON.stringify(result),
  };
}
