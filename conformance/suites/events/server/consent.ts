/** Verification: a server delivers nothing to an endpoint that has not consented. */
import assert from 'node:assert/strict';
import { eventsScenario, means } from '../../../runner/events/scenario.ts';
import { isSigned, type Webhook } from '../../../runner/events/webhook.ts';
import type { Reply } from '../../../runner/server/callback-endpoint.ts';
import { isText } from './shapes.ts';

const CATEGORIES = [
  'connection_refused',
  'timeout',
  'tls_error',
  'http_4xx',
  'http_5xx',
  'challenge_failed',
];
/** Time to watch for requests that must not come. */
const QUIET_MS = 300;
/** More verifications than a server would send to one endpoint without a pause. */
const ATTEMPTS = 20;
const CANARY = 'canary-4711';

export const consent = [
  eventsScenario({
    name: 'consent: given',
    about: 'An endpoint consents by an echo, once for each principal.',
    checks: [
      'verification-challenge-echo',
      'envelope-type-discriminator',
      'envelope-signed-like-deliveries',
      'envelope-webhook-id-format',
      'verification-cached-per-principal-url',
      'verification-required-before-delivery',
    ],
    modes: ['webhook'],
    verbs: ['emit'],
    async run(t, events) {
      const [hook, elsewhere] = [await events.webhook(), await events.webhook()];
      const followed = events.topic();
      const { id } = await events.subscribe(hook, followed);
      await events.subscribe(elsewhere, followed);
      const [challenge] = hook.challenges;
      await t.check(
        'verification-challenge-echo',
        'the server verifies each endpoint with its own challenge',
        () => {
          isText(challenge?.message.challenge, 'the challenge');
          assert.ok(
            challenge!.message.challenge.length >= 16,
            `the challenge has ${challenge!.message.challenge.length} characters`,
          );
          assert.ok(
            elsewhere.challenges[0]?.message.challenge !== challenge!.message.challenge,
            'two endpoints got the same challenge',
          );
        },
      );
      await t.check(
        'envelope-signed-like-deliveries',
        'a verification is signed with the secret and has the headers of a delivery',
        () => {
          assert.ok(
            challenge !== undefined && isSigned(challenge, hook.secret),
            'it is not signed with the secret',
          );
          assert.equal(challenge.headers['x-mcp-subscription-id'], id, 'X-MCP-Subscription-Id:');
        },
      );
      await t.check(
        'envelope-webhook-id-format',
        'the webhook-id of a verification is msg_verification_ and a random part',
        () => assert.match(String(challenge?.headers['webhook-id']), /^msg_verification_.{8,}$/),
      );
      await events.emit(followed, 1);
      await events.hooked(hook, 1);
      await t.check(
        'envelope-type-discriminator',
        'an envelope has a type and an event has none',
        () => {
          assert.equal(hook.hits[0]?.message.type, 'verification', 'type of the first request:');
          assert.ok(!('type' in hook.events[0]!.message), 'the event has a type');
        },
      );
      await t.check(
        'verification-required-before-delivery',
        'the verification precedes the first event',
        () => assert.ok(hook.hits[0] === challenge, 'the first request is not a verification'),
      );
      await t.check(
        'verification-cached-per-principal-url',
        'the server verifies the same URL again for another principal',
        async () => {
          const before = hook.challenges.length;
          await events.subscribe(hook, followed, {}, await t.as('other'));
          assert.equal(hook.challenges.length, before + 1, 'verifications:');
        },
      );
    },
  }),

  eventsScenario({
    name: 'consent: not given',
    about:
      'Every answer except an echo fails the verification, and the error contains nothing of the answer.',
    checks: [
      'verification-required-before-delivery',
      'verification-challenge-echo',
      'verification-failure-error',
      'verification-no-raw-endpoint-responses',
      'delivery-status-last-error-category',
    ],
    modes: ['webhook'],
    verbs: ['emit'],
    async run(t, events) {
      const answers: readonly (readonly [reply: Reply, reason: RegExp])[] = [
        [{ body: { challenge: CANARY } }, /^challenge_failed$/],
        [
          { status: 403, body: CANARY, headers: { 'x-why': CANARY } },
          /^(http_4xx|challenge_failed)$/,
        ],
        [{ status: 500, body: CANARY }, /^(http_5xx|challenge_failed)$/],
      ];
      const followed = events.topic();
      const refused = await Promise.all(
        answers.map(async ([reply, reason]) => {
          const hook = await events.webhook();
          hook.consent = () => reply;
          const answer = await t.mcp.ask('events/subscribe', {
            ...followed,
            delivery: hook.delivery,
          });
          return {
            hook,
            reason,
            error: answer.error,
            text: JSON.stringify(answer.messages) + JSON.stringify([...answer.headers]),
            summary: JSON.stringify(answer.error ?? answer.result)?.slice(0, 120),
          };
        }),
      );
      const gone = await events.webhook();
      const { delivery } = gone;
      await gone.close();
      const nobody = await t.mcp.ask('events/subscribe', { ...followed, delivery });
      await t.check(
        'verification-failure-error',
        'each failed verification returns CallbackEndpointError with its category',
        () => {
          for (const { error, reason, summary } of refused) {
            assert.ok(means(error?.code, 'CallbackEndpointError'), `the answer is ${summary}`);
            assert.match(
              String((error?.data as { reason?: unknown } | undefined)?.reason),
              reason,
              '`data.reason`:',
            );
          }
          assert.ok(
            means(nobody.error?.code, 'CallbackEndpointError'),
            `for a closed port the answer is ${JSON.stringify(nobody.error ?? nobody.result)?.slice(0, 120)}`,
          );
          assert.equal(
            (nobody.error?.data as { reason?: unknown } | undefined)?.reason,
            'connection_refused',
            '`data.reason` for a closed port:',
          );
        },
      );
      await t.check(
        'verification-challenge-echo',
        'an answer that contains another text instead of the challenge fails the verification',
        () => assert.ok(refused[0]?.error !== undefined, `it was accepted: ${refused[0]?.summary}`),
      );
      await t.check(
        'delivery-status-last-error-category',
        'the reason is one of the six categories',
        () => {
          for (const { error } of [...refused, nobody])
            assert.ok(
              CATEGORIES.includes((error?.data as { reason?: string } | undefined)?.reason ?? ''),
              `the reason is ${JSON.stringify(error?.data)}`,
            );
        },
      );
      await t.check(
        'verification-no-raw-endpoint-responses',
        "the error contains nothing of the endpoint's answer",
        () => {
          for (const { text } of refused)
            assert.ok(!text.includes(CANARY), 'the error contains text of the endpoint');
        },
      );
      await t.check(
        'verification-required-before-delivery',
        'no event goes to an endpoint that has not consented',
        async () => {
          await events.emit(followed, 1);
          await t.pause(QUIET_MS);
          assert.deepEqual(
            refused.flatMap(({ hook }) => hook.messages.map(({ message }) => message)),
            [],
          );
        },
      );
    },
  }),

  eventsScenario({
    name: 'consent: redirects',
    about: 'A verification is sent to the registered URL only.',
    checks: ['verification-uses-ssrf-hardened-path'],
    modes: ['webhook'],
    async run(t, events) {
      const [hook, target] = [await events.webhook(), await events.webhook()];
      hook.consent = () => ({ status: 307, headers: { location: target.url } });
      await t.check(
        'verification-uses-ssrf-hardened-path',
        'a redirect is not followed and fails the verification',
        async () => {
          const { error, result } = await t.mcp.ask('events/subscribe', {
            ...events.topic(),
            delivery: hook.delivery,
          });
          assert.ok(
            means(error?.code, 'CallbackEndpointError'),
            `the answer is ${JSON.stringify(error ?? result)?.slice(0, 120)}`,
          );
          assert.equal(target.hits.length, 0, 'requests to the redirect target:');
        },
      );
    },
  }),

  eventsScenario({
    name: 'consent: rate limit',
    about: 'A server limits the verifications that it sends to one endpoint.',
    checks: ['verification-rate-limited'],
    modes: ['webhook'],
    async run(t, events) {
      const hook: Webhook = await events.webhook();
      hook.consent = () => ({ status: 403 });
      for (let n = 0; n < ATTEMPTS; n += 1)
        await t.mcp.ask('events/subscribe', { ...events.topic(), delivery: hook.delivery });
      await t.check(
        'verification-rate-limited',
        `${ATTEMPTS} subscriptions in a row with a rejecting endpoint cause fewer verifications`,
        () => {
          assert.ok(
            hook.challenges.length >= 1 && hook.challenges.length < ATTEMPTS,
            `the endpoint received ${hook.challenges.length} verifications`,
          );
        },
      );
    },
  }),
];
