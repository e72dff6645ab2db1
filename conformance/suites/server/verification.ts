/**
 * Verification: a server sends nothing to a URL before its owner has proved the secret (SEP:
 * Verification).
 */
import assert from 'node:assert/strict';
import {
  acknowledge,
  hmac,
  newSecret,
  type Hit,
  type Reply,
} from '../../runner/server/callback-endpoint.ts';
import { scenario, type ServerTest } from '../../runner/server/scenario.ts';
import { problemOf } from '../../runner/wire/schema.ts';
import type { RpcError } from '../../runner/wire/session.ts';
import { arrived, quiet, rejection } from './following.ts';

const NEEDS = { drains: ['callback'], types: ['plain'] } as const;
const CATEGORIES = new Set([
  'connection_refused',
  'timeout',
  'tls_error',
  'http_4xx',
  'http_5xx',
  'challenge_failed',
  'no_ack',
]);
/** 128 bits, in characters of an alphabet of 64. */
const CHALLENGE_CHARS_MIN = 22;
const UUID = /^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/i;

/** The number of positions at which two texts differ. */
const distance = (a: string, b: string): number =>
  [...a].filter((character, at) => character !== b[at]).length;

interface Wrong {
  readonly what: string;
  readonly reason: string;
  /** Set when the answer repeats the challenge. */
  readonly echo?: true;
  readonly reply: (challenge: string, secret: string) => Reply;
}
const proofOf = (challenge: string, secret: string): string =>
  hmac(secret, `challenge.${challenge}`);
const correct = (challenge: string, secret: string): object => ({
  challenge,
  proof: proofOf(challenge, secret),
});

const WRONG: readonly Wrong[] = [
  { what: 'an empty answer', reason: 'challenge_failed', reply: () => ({}) },
  {
    what: 'an HTML page',
    reason: 'challenge_failed',
    reply: () => ({ headers: { 'content-type': 'text/html' }, body: '<html>OK</html>' }),
  },
  {
    what: 'an acknowledgement',
    reason: 'challenge_failed',
    reply: () => ({ body: { ackSequence: 0 } }),
  },
  {
    what: 'the correct answer in a list',
    reason: 'challenge_failed',
    reply: (challenge, secret) => ({ body: [correct(challenge, secret)] }),
  },
  {
    what: 'the proof without the challenge',
    reason: 'challenge_failed',
    reply: (challenge, secret) => ({ body: { proof: proofOf(challenge, secret) } }),
  },
  {
    what: 'the proof with another challenge',
    reason: 'challenge_failed',
    reply: (challenge, secret) => ({
      body: { challenge: `${challenge}x`, proof: proofOf(challenge, secret) },
    }),
  },
  {
    what: 'an echo',
    echo: true,
    reason: 'challenge_failed',
    reply: (challenge) => ({ body: { challenge } }),
  },
  {
    what: 'the challenge as its proof',
    echo: true,
    reason: 'challenge_failed',
    reply: (challenge) => ({ body: { challenge, proof: challenge } }),
  },
  {
    what: 'a proof with another secret',
    echo: true,
    reason: 'challenge_failed',
    reply: (challenge) => ({ body: correct(challenge, newSecret()) }),
  },
  {
    what: 'a proof of the challenge alone',
    echo: true,
    reason: 'challenge_failed',
    reply: (challenge, secret) => ({ body: { challenge, proof: hmac(secret, challenge) } }),
  },
  {
    what: 'a proof in hexadecimal',
    echo: true,
    reason: 'challenge_failed',
    reply: (challenge, secret) => ({
      body: { challenge, proof: Buffer.from(proofOf(challenge, secret), 'base64').toString('hex') },
    }),
  },
  {
    what: 'the correct answer with status 403',
    reason: 'http_4xx',
    reply: (challenge, secret) => ({ status: 403, body: correct(challenge, secret) }),
  },
  {
    what: 'the correct answer with status 302',
    reason: 'http_4xx',
    reply: (challenge, secret) => ({ status: 302, body: correct(challenge, secret) }),
  },
  {
    what: 'the correct answer with status 500',
    reason: 'http_5xx',
    reply: (challenge, secret) => ({ status: 500, body: correct(challenge, secret) }),
  },
];

export const verification = [
  scenario({
    name: 'verification: before the first event',
    about: 'The first request to a URL is one challenge, and events come only after the proof.',
    checks: ['cbv-before-events', 'cbv-challenge', 'cbv-one-request'],
    needs: { ...NEEDS, verbs: ['emit'] },
    async run(t) {
      const endpoint = await t.endpoint();
      const proved = new Set<string>();
      const early: string[] = [];
      const { consent } = endpoint;
      endpoint.consent = async (hit: Hit) => {
        // Leaves time for an event to be emitted before the proof.
        if (proved.size > 0) await t.pause(150);
        proved.add(hit.path);
        return consent(hit);
      };
      endpoint.answer = (hit) => {
        if (!proved.has(hit.path)) early.push(hit.path);
        return acknowledge(hit);
      };
      const made = await t.subscribe({ callback: endpoint.callback });
      const { subscriptionId } = made;
      const topic = t.topicOf(made);
      await t.emit(topic, 1);
      await arrived(t, endpoint, 1);
      const urls = ['/a', '/b', '/c', '/d', '/e'].map((path) => `${endpoint.url}${path}`);
      for (const [at, url] of urls.entries()) {
        const updating = t.mcp.request('triggers/update', {
          subscriptionId,
          callback: { ...endpoint.callback, url },
        });
        await t.emit(topic, 1, { from: at + 2 });
        await updating;
      }
      await arrived(t, endpoint, urls.length + 1);
      await t.check('cbv-before-events', 'no event reaches a URL before its proof', () => {
        assert.ok(
          endpoint.hits[0]!.delivery.challenge !== undefined,
          'the first request is not a challenge',
        );
        assert.deepEqual(early, [], 'paths that received an event before they were verified:');
      });
      await t.check(
        'cbv-one-request',
        'each call with an unverified URL sends one challenge',
        async () => {
          // Wait to see that nothing more arrives.
          await t.pause(200);
          const asked = endpoint.challenges.map(({ path }) => path);
          assert.equal(
            asked.length,
            new Set(asked).size,
            `challenges to ${new Set(asked).size} URLs:`,
          );
          assert.equal(
            asked.length,
            urls.length + 1,
            `challenges in ${urls.length + 1} calls with an unverified URL:`,
          );
        },
      );
      await t.check(
        'cbv-challenge',
        'the params of a challenge are `subscriptionId`, `key` and `challenge`',
        () => {
          for (const { delivery: params } of endpoint.challenges) {
            const { challenge: _challenge, _meta, ...rest } = params;
            assert.deepEqual(rest, { subscriptionId, key: made.key }, 'the other params:');
            assert.equal(problemOf('Challenge', params), null, 'validation errors of the params:');
          }
        },
      );
      await t.check('cbv-challenge', 'each challenge is new and has at least 128 bits', () => {
        const challenges = endpoint.challenges.map(({ delivery }) => String(delivery.challenge));
        assert.equal(
          new Set(challenges).size,
          challenges.length,
          `different ones of ${challenges.length} challenges:`,
        );
        for (const [at, challenge] of challenges.entries()) {
          const least = /^[0-9a-f]+$/i.test(challenge) ? 32 : CHALLENGE_CHARS_MIN;
          assert.ok(
            challenge.length >= least,
            `the challenge "${challenge}" has ${challenge.length} characters, which cannot hold 128 bits`,
          );
          assert.doesNotMatch(challenge, UUID, 'a random UUID has 122 bits');
          for (const other of challenges.slice(0, at))
            assert.ok(
              distance(challenge, other) >= CHALLENGE_CHARS_MIN / 2,
              `the challenges "${other}" and "${challenge}" differ in ${distance(challenge, other)} characters`,
            );
        }
      });
    },
  }),

  scenario({
    name: 'verification: two principals',
    about: 'The proof of one principal does not count for another.',
    checks: ['cbv-before-events'],
    needs: NEEDS,
    async run(t) {
      const other = await t.as('other');
      const endpoint = await t.endpoint();
      await t.subscribe({ callback: endpoint.callback });
      await t.check(
        'cbv-before-events',
        'the same URL and secret are verified again for the second principal',
        async () => {
          const { subscriptionId } = await t.subscribe({ callback: endpoint.callback }, other);
          assert.deepEqual(
            endpoint.challenges.slice(1).map(({ delivery }) => delivery.subscriptionId),
            [subscriptionId],
            'subscriptions whose challenge followed that of the first principal:',
          );
        },
      );
    },
  }),

  scenario({
    name: 'verification: another secret',
    about: 'The proof of one secret does not count for another one at the same URL.',
    checks: ['cbv-before-events'],
    needs: NEEDS,
    async run(t) {
      const endpoint = await t.endpoint();
      await t.subscribe({ callback: endpoint.callback });
      await t.check(
        'cbv-before-events',
        'a secret that the verified endpoint does not know is rejected',
        async () => {
          const { code, data } = await rejection(t, 'triggers/subscribe', {
            key: t.unique(),
            select: quiet(t),
            callback: { ...endpoint.callback, secret: newSecret() },
          });
          assert.deepEqual([code, data?.category], [-32027, 'challenge_failed']);
        },
      );
    },
  }),

  scenario({
    name: 'verification: invalid proofs',
    about: 'Every answer except the challenge with the correct proof fails, with a category.',
    checks: [
      'cbv-proof',
      'subs-verified',
      'cbv-one-request',
      'cbv-before-events',
      'retry-categories',
    ],
    needs: { ...NEEDS, verbs: ['emit'] },
    // These failures fill the quota for failed verifications.
    alone: true,
    async run(t) {
      const refusals: RpcError[] = [];
      for (const { what, reason, echo, reply } of WRONG) {
        const endpoint = await t.endpoint();
        endpoint.consent = ({ delivery: { challenge } }) => reply(challenge, endpoint.secret);
        const refused = await t.check('cbv-proof', `${what} verifies nothing`, () =>
          rejection(t, 'triggers/subscribe', {
            key: t.unique(),
            select: quiet(t),
            callback: endpoint.callback,
          }),
        );
        if (refused !== undefined) refusals.push(refused);
        await t.check(
          echo ? ['subs-verified', 'cbv-proof'] : 'subs-verified',
          `${what} fails with reason ${reason}`,
          () =>
            assert.deepEqual(
              [refused?.code, refused?.data?.category],
              [-32027, reason],
              'code and `data.category` of the error:',
            ),
        );
        await t.check('cbv-one-request', `${what} leads to one challenge`, () =>
          assert.equal(endpoint.hits.length, 1, 'requests to the callback:'),
        );
      }
      // Behind a tunnel, the server cannot see a closed port or missing TLS.
      if (t.subject.callbackBase === undefined) refusals.push(...(await unreachable(t)));
      await t.check('retry-categories', 'the reasons are categories of the SEP', () => {
        for (const { data } of refusals)
          assert.ok(
            CATEGORIES.has(data?.category),
            `\`data.category\` is ${JSON.stringify(data?.category)}`,
          );
      });
      await t.check(
        'cbv-before-events',
        'after a failed verification the new URL receives no delivery, and the old one stays in use',
        async () => {
          const [old, never] = [await t.endpoint(), await t.endpoint()];
          never.consent = ({ delivery: { challenge } }) => ({ body: { challenge } });
          const made = await t.subscribe({ callback: old.callback });
          await rejection(t, 'triggers/update', {
            subscriptionId: made.subscriptionId,
            callback: never.callback,
          });
          await t.emit(t.topicOf(made), 1);
          await arrived(t, old, 1);
          assert.equal(never.deliveries.length, 0, 'deliveries to the unverified URL:');
        },
      );
    },
  }),

  scenario({
    name: 'verification: failures of one owner',
    about:
      'Failed verifications are limited, and the limit of one owner locks the host for no other.',
    checks: ['cbv-rate'],
    needs: NEEDS,
    // These failures fill the quota for failed verifications.
    alone: true,
    async run(t) {
      const endpoint = await t.endpoint();
      const proves = endpoint.consent;
      endpoint.consent = () => ({ status: 404 });
      const register = (mcp = t.mcp): ReturnType<typeof t.mcp.ask> =>
        mcp.ask('triggers/subscribe', {
          key: t.unique(),
          select: quiet(t),
          callback: endpoint.callback,
        });
      const exhausted = await t.check(
        'cbv-rate',
        'after a number of failures the server asks the client to wait',
        async () => {
          for (let attempt = 0; attempt < ATTEMPTS_MAX; attempt += 1) {
            const { error } = await register();
            if (error?.code === -32025) {
              assert.ok(
                Number(
                  (error.data as { readonly retryAfterMs?: number } | undefined)?.retryAfterMs,
                ) > 0,
                '`data.retryAfterMs` is missing',
              );
              return true;
            }
          }
          throw new Error(`the server still sends challenges after ${ATTEMPTS_MAX} failures`);
        },
      );
      if (exhausted !== true) return;
      endpoint.consent = proves;
      await t.check('cbv-rate', 'another owner can register at the same host', async () => {
        const other = await t.as('other');
        const { result, error } = await register(other);
        assert.equal(error?.code, undefined, 'the code of the error:');
        t.defer(() => other.ask('triggers/unsubscribe', { subscriptionId: result.subscriptionId }));
      });
    },
  }),
];

/** Failures after which a server that limits them has reached its limit. */
const ATTEMPTS_MAX = 50;

/** Subscribes with callbacks that cannot be reached. Returns the errors. */
async function unreachable(t: ServerTest): Promise<RpcError[]> {
  const refusals: RpcError[] = [];
  const rows = [
    ['where nothing listens', 'connection_refused', (url: string) => url, true],
    [
      'that does not speak TLS',
      'tls_error',
      (url: string) => url.replace('http:', 'https:'),
      false,
    ],
  ] as const;
  for (const [what, reason, change, closed] of rows) {
    await t.check(
      ['cbv-proof', 'subs-verified'],
      `a URL ${what} fails with reason ${reason}`,
      async () => {
        const endpoint = await t.endpoint();
        const { url, secret } = endpoint.callback;
        if (closed) await endpoint.close();
        const refused = await rejection(t, 'triggers/subscribe', {
          key: t.unique(),
          select: quiet(t),
          callback: { url: change(url), secret },
        });
        refusals.push(refused);
        assert.deepEqual(
          [refused.code, refused.data?.category],
          [-32027, reason],
          'code and `data.category` of the error:',
        );
      },
    );
  }
  return refusals;
}
