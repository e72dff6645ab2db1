/** Verification: nothing is delivered to an endpoint that has not consented. */
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
/** Nothing can be waited for when nothing should come. */
const QUIET_MS = 300;
/** More than any limit should let through in a moment. */
const ATTEMPTS = 20;
const CANARY = 'canary-4711';

export const consent = [
  eventsScenario({
    name: 'consent: given',
    about: 'An endpoint echoes a challenge, once for each principal.',
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
        'a verification envelope came with a challenge, another one to another endpoint',
        () => {
          isText(challenge?.message.challenge, 'the challenge');
          assert.ok(
            challenge!.message.challenge.length >= 16,
            `the challenge has ${challenge!.message.challenge.length} characters`,
          );
          assert.ok(
            elsewhere.challenges[0]?.message.challenge !== challenge!.message.challenge,
            'another endpoint got the same challenge',
          );
        },
      );
      await t.check(
        'envelope-signed-like-deliveries',
        'it is signed with the secret and has the headers of a delivery',
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
        'its webhook-id is msg_verification_ and something random',
        () => assert.match(String(challenge?.headers['webhook-id']), /^msg_verification_.{8,}$/),
      );
      await events.emit(followed, 1);
      await events.hooked(hook, 1);
      await t.check(
        'envelope-type-discriminator',
        'the envelope has a type, an event has none',
        () => {
          assert.equal(hook.hits[0]?.message.type, 'verification', 'type of the first request:');
          assert.ok(!('type' in hook.events[0]!.message), 'the event has a type');
        },
      );
      await t.check('verification-required-before-delivery', 'it came before the first event', () =>
        assert.ok(hook.hits[0] === challenge, 'the first request is no verification'),
      );
      await t.check(
        'verification-cached-per-principal-url',
        'somebody else with the same URL needs a consent of their own',
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
    about: 'Whatever an endpoint says instead of an echo is no consent, and goes no further.',
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
            says: JSON.stringify(answer.error ?? answer.result)?.slice(0, 120),
          };
        }),
      );
      const gone = await events.webhook();
      const { delivery } = gone;
      await gone.close();
      const nobody = await t.mcp.ask('events/subscribe', { ...followed, delivery });
      await t.check(
        'verification-failure-error',
        'each is a CallbackEndpointError of its category',
        () => {
          for (const { error, reason, says } of refused) {
            assert.ok(means(error?.code, 'CallbackEndpointError'), `the answer is ${says}`);
            assert.match(
              String((error?.data as { reason?: unknown } | undefined)?.reason),
              reason,
              '`data.reason`:',
            );
          }
          assert.ok(
            means(nobody.error?.code, 'CallbackEndpointError'),
            `where nobody listens the answer is ${JSON.stringify(nobody.error ?? nobody.result)?.slice(0, 120)}`,
          );
          assert.equal(
            (nobody.error?.data as { reason?: unknown } | undefined)?.reason,
            'connection_refused',
            '`data.reason` where nobody listens:',
          );
        },
      );
      await t.check(
        'verification-challenge-echo',
        'another text than the challenge is no consent',
        () => assert.ok(refused[0]?.error !== undefined, `it was taken: ${refused[0]?.says}`),
      );
      await t.check('delivery-status-last-error-category', 'the reason is one of the six', () => {
        for (const { error } of [...refused, nobody])
          assert.ok(
            CATEGORIES.includes((error?.data as { reason?: string } | undefined)?.reason ?? ''),
            `the reason is ${JSON.stringify(error?.data)}`,
          );
      });
      await t.check(
        'verification-no-raw-endpoint-responses',
        'nothing of what the endpoint said is in the answer',
        () => {
          for (const { text } of refused)
            assert.ok(!text.includes(CANARY), 'a text of the endpoint is in the answer');
        },
      );
      await t.check(
        'verification-required-before-delivery',
        'no event goes to any of them',
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
    name: 'consent: elsewhere',
    about: 'A verification goes where it was sent and nowhere else.',
    checks: ['verification-uses-ssrf-hardened-path'],
    modes: ['webhook'],
    async run(t, events) {
      const [hook, target] = [await events.webhook(), await events.webhook()];
      hook.consent = () => ({ status: 307, headers: { location: target.url } });
      await t.check(
        'verification-uses-ssrf-hardened-path',
        'a redirect is not followed, and is no consent',
        async () => {
          const { error, result } = await t.mcp.ask('events/subscribe', {
            ...events.topic(),
            delivery: hook.delivery,
          });
          assert.ok(
            means(error?.code, 'CallbackEndpointError'),
            `the answer is ${JSON.stringify(error ?? result)?.slice(0, 120)}`,
          );
          assert.equal(target.hits.length, 0, 'requests to where the redirect leads:');
        },
      );
    },
  }),

  eventsScenario({
    name: 'consent: asked for too often',
    about: 'Nobody can be flooded with verifications through a server.',
    checks: ['verification-rate-limited'],
    modes: ['webhook'],
    async run(t, events) {
      const hook: Webhook = await events.webhook();
      hook.consent = () => ({ status: 403 });
      for (let n = 0; n < ATTEMPTS; n += 1)
        await t.mcp.ask('events/subscribe', { ...events.topic(), delivery: hook.delivery });
      await t.check(
        'verification-rate-limited',
        `of ${ATTEMPTS} subscriptions in a row with an endpoint that refuses not each leads to a verification`,
        () => {
          assert.ok(
            hook.challenges.length >= 1 && hook.challenges.length < ATTEMPTS,
            `${hook.challenges.length} verifications came`,
          );
        },
      );
    },
  }),
];
