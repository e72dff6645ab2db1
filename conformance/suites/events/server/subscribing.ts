/** Webhook subscriptions: their key and lifetime, and what the server rejects. */
import assert from 'node:assert/strict';
import { eventsScenario, INVALID_PARAMS, means } from '../../../runner/events/scenario.ts';
import { isSigned } from '../../../runner/events/webhook.ts';
import { NotApplicable } from '../../../runner/observations.ts';
import { newSecret } from '../../../runner/server/callback-endpoint.ts';
import type { Json } from '../../../runner/wire/session.ts';
import { isCursor, isText } from './shapes.ts';

const MINUTE_MS = 60_000;
const YEAR_MS = 365 * 86_400_000;
/** Time to watch for requests that must not come. */
const QUIET_MS = 300;
/** Tolerance for the clocks of two machines. */
const SLACK_MS = 5000;

const base64 = (bytes: number): string => Buffer.alloc(bytes, 0xfb).toString('base64');

export const subscribing = [
  eventsScenario({
    name: 'subscribing: the key',
    about: 'Principal, URL, name and arguments identify a webhook subscription.',
    checks: [
      'subscribe-result-shape',
      'subscribe-id-derived',
      'subscribe-id-not-an-input',
      'subscribe-key-composition',
      'subscribe-cross-tenant-isolation',
      'subscribe-idempotent-upsert',
      'unsubscribe-by-key',
      'unsubscribe-unknown-not-found',
      'result-type',
    ],
    modes: ['webhook'],
    verbs: ['emit'],
    async run(t, events) {
      const followed = events.topic();
      const hook = await events.webhook();
      const made = await events.subscribe(hook, followed);
      await t.check('subscribe-result-shape', 'the result has all its members', () => {
        isText(made.id, 'id');
        assert.ok('refreshBefore' in made, 'refreshBefore is missing');
        assert.ok(
          made.refreshBefore === null || !Number.isNaN(Date.parse(made.refreshBefore)),
          `refreshBefore is ${JSON.stringify(made.refreshBefore)}`,
        );
        isCursor(made.cursor);
        assert.equal(made.truncated, false, 'truncated:');
      });
      await t.check('result-type', 'the resultType of the result is complete', () =>
        assert.equal(made.resultType, 'complete', 'resultType:'),
      );
      await t.check(
        'subscribe-id-derived',
        'the same call returns the same id, also in another session',
        async () => {
          assert.equal((await events.refresh(hook, followed)).id, made.id, 'id of a refresh:');
          assert.equal(
            (await events.refresh(hook, followed, {}, await t.open('2026-07-28'))).id,
            made.id,
            'id in another session:',
          );
        },
      );
      await t.check(
        'subscribe-id-not-an-input',
        'the server ignores an id in the request',
        async () =>
          assert.equal(
            (await events.refresh(hook, followed, { id: t.unique('mine') })).id,
            made.id,
          ),
      );
      await t.check(
        'subscribe-key-composition',
        'other arguments or another URL make another subscription',
        async () => {
          const elsewhere = await events.webhook();
          const ids = [
            made.id,
            (await events.subscribe(hook, events.topic())).id,
            (await events.subscribe(elsewhere, followed)).id,
          ];
          assert.equal(new Set(ids).size, 3, `different ids among ${ids.join(', ')}:`);
        },
      );
      await t.check(
        'subscribe-idempotent-upsert',
        'one event is delivered once after repeated subscribe calls',
        async () => {
          await events.emit(followed, 1);
          const came = (): number =>
            hook.events.filter(({ headers }) => headers['x-mcp-subscription-id'] === made.id)
              .length;
          await t.until('the event', () => came() > 0);
          await t.pause(QUIET_MS);
          assert.equal(came(), 1, 'deliveries of one event:');
        },
      );
      const other = await t.as('other');
      await t.check(
        'subscribe-cross-tenant-isolation',
        'another principal with the same URL, name and arguments has its own subscription, and ending it leaves the first',
        async () => {
          // Both subscriptions have the same endpoint, which consents for each of them.
          const theirs = await events.subscribe(hook, followed, {}, other);
          assert.ok(theirs.id !== made.id, 'another principal has the same id');
          await other.request('events/unsubscribe', { ...followed, delivery: { url: hook.url } });
          await events.emit(followed, 1, { from: 2 });
          await t.until('an event for the remaining subscription', () =>
            hook.events.some(
              ({ message, headers }) =>
                message.data.n === 2 && headers['x-mcp-subscription-id'] === made.id,
            ),
          );
        },
      );
      await t.check(
        'unsubscribe-by-key',
        'an unsubscribe with name, arguments and URL ends the subscription and has an empty result',
        async () => {
          const {
            resultType: _,
            _meta,
            ...rest
          } = await t.mcp.request('events/unsubscribe', {
            ...followed,
            delivery: { url: hook.url },
          });
          assert.deepEqual(rest, {}, 'the result:');
          const before = hook.events.length;
          await events.emit(followed, 1, { from: 3 });
          await t.pause(QUIET_MS);
          assert.equal(hook.events.length, before, 'events before and after:');
        },
      );
      await t.check(
        'unsubscribe-unknown-not-found',
        'an unsubscribe from an unknown or ended subscription returns NotFound',
        async () => {
          for (const one of [followed, events.topic()]) {
            const { code } = await t.mcp.errorOf('events/unsubscribe', {
              ...one,
              delivery: { url: hook.url },
            });
            assert.ok(means(code, 'NotFound'), `the code is ${code}`);
          }
        },
      );
    },
  }),

  eventsScenario({
    name: 'subscribing: lifetimes',
    about: 'The server grants a lifetime for every suggestion and rejects no suggestion.',
    checks: [
      'ttl-omitted-means-default',
      'ttl-no-rejection-path',
      'ttl-refresh-before-lte-suggestion',
      'ttl-null-only-when-requested',
    ],
    modes: ['webhook'],
    async run(t, events) {
      const followed = events.topic();
      const hook = await events.webhook();
      await events.subscribe(hook, followed);
      const now = (): number => Date.now() + t.control.aheadMs;
      /** Subscribes with this suggestion. Returns the lifetime granted, in ms; null = no expiry. */
      const granted = async (ttlMs?: number | null): Promise<number | null> => {
        const { refreshBefore } = await events.refresh(
          hook,
          followed,
          ttlMs === undefined ? {} : { ttlMs },
        );
        return refreshBefore === null ? null : Date.parse(refreshBefore) - now();
      };
      await t.check(
        'ttl-omitted-means-default',
        'without ttlMs, refreshBefore is an instant in the future',
        async () => assert.ok(((await granted()) ?? 0) > 0, 'refreshBefore is null or in the past'),
      );
      await t.check(
        'ttl-no-rejection-path',
        'the server rejects no suggested lifetime, however short or long',
        async () => {
          for (const ttlMs of [0, 1, 90_000.5, YEAR_MS * 100, null]) {
            const lifetime = await granted(ttlMs);
            assert.ok(
              lifetime === null || lifetime > -SLACK_MS,
              `with ttlMs ${ttlMs} it ended ${-(lifetime ?? 0)} ms ago`,
            );
          }
        },
      );
      await t.check(
        'ttl-null-only-when-requested',
        'the server grants a lifetime without expiry only for ttlMs null',
        async () => {
          for (const ttlMs of [undefined, 60 * MINUTE_MS, YEAR_MS * 100])
            assert.ok((await granted(ttlMs)) !== null, `refreshBefore is null with ttlMs ${ttlMs}`);
        },
      );
      await t.check(
        'ttl-refresh-before-lte-suggestion',
        'the server grants no longer lifetime than suggested, apart from its minimum',
        async () => {
          const shortest = (await granted(0)) ?? Infinity;
          for (const ttlMs of [10 * MINUTE_MS, 60 * MINUTE_MS, 24 * 60 * MINUTE_MS]) {
            const lifetime = (await granted(ttlMs)) ?? Infinity;
            assert.ok(
              lifetime <= Math.max(ttlMs, shortest) + SLACK_MS,
              `the server granted ${lifetime} ms for ${ttlMs}`,
            );
          }
        },
      );
    },
  }),

  eventsScenario({
    name: 'subscribing: rejections',
    about: 'The server rejects invalid secrets and URLs before it sends any request.',
    checks: [
      'subscribe-secret-required',
      'subscribe-secret-rejected',
      'subscribe-url-non-https-rejected',
      'ssrf-validate-callback-url',
      'ssrf-reject-non-routable',
    ],
    modes: ['webhook'],
    async run(t, events) {
      const hook = await events.webhook();
      const followed = events.topic();
      const rejection = (delivery: object): Promise<Json> =>
        t.mcp.errorOf('events/subscribe', {
          ...followed,
          delivery: { ...hook.delivery, ...delivery },
        });
      await t.check(
        'subscribe-secret-required',
        'a webhook without a secret returns InvalidParams',
        async () => {
          assert.equal(
            (
              await t.mcp.errorOf('events/subscribe', {
                ...followed,
                delivery: { mode: 'webhook', url: hook.url },
              })
            ).code,
            INVALID_PARAMS,
            'the code:',
          );
          assert.equal(hook.hits.length, 0, 'requests to the webhook:');
        },
      );
      await t.check(
        'subscribe-secret-rejected',
        'a secret with another prefix, of a wrong length or not in base64 returns InvalidParams',
        async () => {
          for (const secret of [
            '',
            'whsec_',
            base64(32),
            `WHSEC_${base64(32)}`,
            `whsec_${base64(23)}`,
            `whsec_${base64(65)}`,
            `whsec_${base64(32).slice(0, -4)}!!!!`,
          ])
            assert.equal(
              (await rejection({ secret })).code,
              INVALID_PARAMS,
              `the code for ${JSON.stringify(secret)}:`,
            );
          assert.equal(hook.hits.length, 0, 'requests to the webhook:');
        },
      );
      await t.check(
        'subscribe-secret-rejected',
        'a secret of 24 to 64 bytes is accepted',
        async () => {
          for (const bytes of [24, 64])
            await events.subscribe(hook, events.topic(), {
              delivery: { ...hook.delivery, secret: newSecret(bytes) },
            });
        },
      );
      await t.check(
        'subscribe-url-non-https-rejected',
        'a URL with another scheme than https returns InvalidParams',
        async () => {
          for (const url of [
            'http://callbacks.invalid/a',
            'ftp://callbacks.invalid/a',
            'callbacks.invalid',
          ])
            assert.equal((await rejection({ url })).code, INVALID_PARAMS, `the code for ${url}:`);
        },
      );
      const notCalled = async (url: string): Promise<void> => {
        const { code } = await rejection({ url });
        assert.ok(
          code === INVALID_PARAMS || means(code, 'CallbackEndpointError'),
          `${url} is rejected with code ${code}`,
        );
      };
      await t.check(
        'ssrf-validate-callback-url',
        'a URL with a password and a name that resolves to a private address are rejected',
        async () => {
          await notCalled('https://user:password@callbacks.invalid/a');
          await notCalled(`https://${t.control.hostName('inside')}/a`);
        },
      );
      await t.check(
        'ssrf-reject-non-routable',
        'an address that is not globally routable is rejected',
        async () => {
          for (const host of [
            '10.0.0.1',
            '172.16.0.1',
            '192.168.1.1',
            '169.254.169.254',
            '100.64.0.1',
            '0.0.0.0',
            '[fc00::1]',
            '[fe80::1]',
            '[::ffff:10.0.0.1]',
            '0x0a000001',
          ])
            await notCalled(`https://${host}/a`);
        },
      );
    },
  }),

  eventsScenario({
    name: 'subscribing: a new secret',
    about: 'Only the client changes the secret, and for a while both secrets sign.',
    checks: ['subscribe-refresh-replaces-secret', 'delivery-dual-sign-on-rotation'],
    modes: ['webhook'],
    verbs: ['emit'],
    async run(t, events) {
      const followed = events.topic();
      const hook = await events.webhook();
      await events.subscribe(hook, followed);
      const { secret: old } = hook;
      await events.refresh(hook, followed);
      await events.emit(followed, 1);
      await events.hooked(hook, 1);
      await t.check(
        'subscribe-refresh-replaces-secret',
        'a refresh with the same secret keeps it',
        () =>
          assert.ok(isSigned(hook.events[0]!, old), 'the delivery is not signed with the secret'),
      );
      hook.secret = newSecret();
      await events.refresh(hook, followed);
      await events.emit(followed, 1, { from: 2 });
      await events.hooked(hook, 2);
      await t.check(
        'subscribe-refresh-replaces-secret',
        'after a refresh the new secret signs',
        () =>
          assert.ok(
            isSigned(hook.events[1]!, hook.secret),
            'the delivery is not signed with the new secret',
          ),
      );
      await t.check(
        'delivery-dual-sign-on-rotation',
        'right after a refresh the old secret signs too',
        () =>
          assert.ok(
            isSigned(hook.events[1]!, old),
            'the delivery is no longer signed with the old secret',
          ),
      );
    },
  }),

  eventsScenario({
    name: 'subscribing: a restart',
    about: 'A restart keeps subscriptions and their consent.',
    checks: [
      'ttl-long-grant-retained',
      'ttl-no-expiry-persisted',
      'verification-persisted-for-no-expiry',
    ],
    modes: ['webhook'],
    verbs: ['emit', 'crash'],
    alone: true,
    async run(t, events) {
      const [granted, forever] = [
        { followed: events.topic(), hook: await events.webhook() },
        { followed: events.topic(), hook: await events.webhook() },
      ];
      await events.subscribe(granted.hook, granted.followed, { ttlMs: 60 * MINUTE_MS });
      const { refreshBefore } = await events.subscribe(forever.hook, forever.followed, {
        ttlMs: null,
      });
      await t.control.do('crash', {});
      for (const { followed } of [granted, forever]) await events.emit(followed, 1);
      await t.check(
        'ttl-long-grant-retained',
        'after a crash a webhook with a lifetime of one hour receives events',
        () => events.hooked(granted.hook, 1),
      );
      const isForever = (): void => {
        if (refreshBefore !== null)
          throw new NotApplicable('The server grants no subscription without expiry.');
      };
      await t.check(
        'ttl-no-expiry-persisted',
        'after a crash a webhook without expiry receives events',
        () => {
          isForever();
          return events.hooked(forever.hook, 1);
        },
      );
      await t.check(
        'verification-persisted-for-no-expiry',
        'the server does not verify a webhook without expiry again',
        async () => {
          isForever();
          await events.hooked(forever.hook, 1);
          assert.equal(forever.hook.challenges.length, 1, 'verifications:');
        },
      );
    },
  }),
];
