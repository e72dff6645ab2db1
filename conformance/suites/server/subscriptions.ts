/**
 * Creating subscriptions: keys, existing ones, and what the server rejects (SEP: Subscriptions,
 * triggers/subscribe).
 */
import assert from 'node:assert/strict';
import { NotShown } from '../../runner/observations.ts';
import { newSecret } from '../../runner/server/callback-endpoint.ts';
import {
  coveredBy,
  gapsOf,
  gapSpans,
  readAll,
  spans,
  upTo,
  WELL_BEYOND,
} from '../../runner/server/coverage.ts';
import { scenario, type ServerTest } from '../../runner/server/scenario.ts';
import type { Json } from '../../runner/wire/session.ts';
import { stateOf } from './following.ts';

const selecting = (t: ServerTest, topic = t.unique('topic')): Json[] => [
  { name: t.control.type('plain'), arguments: { topic } },
];
const numbersOf = (delivery: Json): number[] => delivery.events.map(({ data }: Json) => data.n);

export const subscriptions = [
  scenario({
    name: 'subscribe: keys',
    about:
      'The same call finds the subscription; a different call with its key returns Conflict and changes nothing.',
    checks: ['subs-key-scope', 'subs-same', 'subs-conflict', 'etag-config'],
    needs: { types: ['plain'] },
    eras: 'each',
    async run(t) {
      const select = selecting(t);
      const key = t.unique();
      const first = await t.subscribe({ key, select, ttlMs: 60_000 });
      await t.check('subs-same', 'the same call finds the subscription', async () => {
        const again = await t.mcp.request('triggers/subscribe', { key, select, ttlMs: 60_000 });
        assert.deepEqual(
          [again.subscriptionId, again.created, first.created],
          [first.subscriptionId, false, true],
        );
      });
      await t.check('etag-config', 'the same call keeps the ETag', async () =>
        assert.equal(
          (await t.mcp.request('triggers/subscribe', { key, select, ttlMs: 60_000 })).etag,
          first.etag,
          '`etag` after a renewal:',
        ),
      );
      await t.check('subs-same', 'the same call renews the lifetime', async () => {
        await t.pause(20);
        const again = await t.mcp.request('triggers/subscribe', { key, select, ttlMs: 120_000 });
        assert.ok(
          Date.parse(again.expiresAt) > Date.parse(first.expiresAt),
          `\`expiresAt\` is ${again.expiresAt} after ${first.expiresAt}`,
        );
        assert.equal(again.ttlMs, 120_000, '`ttlMs` granted:');
      });
      await t.check('subs-same', 'reordered members make no difference', async () => {
        const [{ name, arguments: args }] = select;
        const again = await t.mcp.request('triggers/subscribe', {
          ttlMs: 60_000,
          select: [{ arguments: args, name }],
          key,
        });
        assert.equal(again.subscriptionId, first.subscriptionId, '`subscriptionId`:');
      });
      const differing: readonly (readonly [what: string, params: Json])[] = [
        ['another select', { select: selecting(t) }],
        ...(t.offers('callback')
          ? [['a callback', { select, callback: (await t.endpoint()).callback }] as const]
          : []),
      ];
      for (const [what, params] of differing) {
        await t.check(
          'subs-conflict',
          `${what} under the same key returns Conflict with the subscription`,
          async () => {
            const rejection = await t.mcp.errorOf('triggers/subscribe', { key, ...params });
            const now = await t.mcp.request('triggers/get', {
              subscriptionId: first.subscriptionId,
            });
            assert.deepEqual(
              rejection.data,
              { kind: 'key', subscriptionId: first.subscriptionId, etag: now.etag },
              '`data`:',
            );
            assert.deepEqual(now.select, first.select, '`select` afterwards:');
          },
        );
      }
      await t.check(
        'subs-same',
        'concurrent calls with one key create one subscription',
        async () => {
          const shared = t.unique();
          const made = await Promise.all(
            Array.from({ length: 8 }, () =>
              t.mcp.request('triggers/subscribe', { key: shared, select }),
            ),
          );
          t.defer(() =>
            t.mcp.ask('triggers/unsubscribe', { subscriptionId: made[0].subscriptionId }),
          );
          assert.equal(
            new Set(made.map(({ subscriptionId }) => subscriptionId)).size,
            1,
            'different subscriptions:',
          );
          assert.equal(
            made.filter(({ created }) => created).length,
            1,
            'answers with `created: true`:',
          );
        },
      );
      await t.check(
        'subs-key-scope',
        'the same key of another principal is another subscription',
        async () => {
          const other = await t.as('other');
          const theirs = await t.subscribe({ key, select }, other);
          t.defer(() =>
            other.ask('triggers/unsubscribe', { subscriptionId: theirs.subscriptionId }),
          );
          assert.equal(theirs.created, true, '`created`:');
          assert.notEqual(theirs.subscriptionId, first.subscriptionId, '`subscriptionId`:');
        },
      );
    },
  }),

  scenario({
    name: 'subscribe: ids',
    about: 'Ids cannot be guessed and are never reused.',
    checks: ['sub-id-unguessable'],
    needs: { types: ['plain'] },
    async run(t) {
      const key = t.unique();
      const ids: string[] = [];
      for (let round = 0; round < 24; round += 1) {
        const { subscriptionId } = await t.subscribe({ key });
        ids.push(subscriptionId);
        await t.mcp.request('triggers/unsubscribe', { subscriptionId });
      }
      await t.check(
        'sub-id-unguessable',
        'no id repeats, although each earlier subscription has ended',
        () => assert.equal(new Set(ids).size, ids.length, 'different ids:'),
      );
      await t.check(
        'sub-id-unguessable',
        'ids have room for 128 bits and vary in at least 21 places',
        () => {
          for (const id of ids) assert.ok(id.length >= 22, `"${id}" is too short for 128 bits`);
          // In 24 random texts, at least 21 places have more than four different characters each. In
          // counters and times, few places vary.
          const places = Array.from(
            { length: Math.min(...ids.map(({ length }) => length)) },
            (_, at) => new Set(ids.map((id) => id[at])).size,
          );
          const random = places.filter((different) => different > 4).length;
          assert.ok(
            random >= 21,
            `only ${random} places of the ids vary: ${ids.slice(0, 3).join(', ')}`,
          );
        },
      );
    },
  }),

  scenario({
    name: 'subscribe: rejections',
    about:
      'The server rejects unknown types, invalid arguments, missing permission, and drains and history that a type does not offer.',
    checks: ['subs-unknown-trigger', 'subs-arguments', 'subs-permission', 'subs-unsupported'],
    needs: { types: ['plain'] },
    async run(t) {
      const name = t.control.type('plain');
      const refused = async (params: object, mcp = t.mcp): Promise<Json> => {
        const { code, data } = await mcp.errorOf('triggers/subscribe', {
          key: t.unique(),
          ...params,
        });
        return { code, ...data };
      };
      await t.check('subs-unknown-trigger', 'an unknown trigger type is rejected', async () => {
        const { code, kind } = await refused({ select: [{ name: 'conformance.no_such_type' }] });
        assert.deepEqual([code, kind], [-32023, 'trigger']);
      });
      await t.check(
        'subs-unknown-trigger',
        'a type that the list does not show is rejected like an unknown one',
        async () => {
          const stranger = await t.as('stranger');
          const shown = (await stranger.pages('triggers/list')).flatMap(({ triggers }) => triggers);
          if (shown.some((one: Json) => one.name === name))
            throw new NotShown('the list shows every type to everybody');
          assert.deepEqual(
            await refused({ select: [{ name }] }, stranger),
            await refused({ select: [{ name: 'conformance.no_such_type' }] }, stranger),
            'the error:',
          );
        },
      );
      await t.check(
        'subs-arguments',
        'an argument of the wrong type and an unknown argument are rejected',
        async () => {
          const wrong = await refused({ select: [{ name, arguments: { topic: 7 } }] });
          assert.deepEqual([wrong.code, wrong.path], [-32602, '/select/0/arguments/topic']);
          const correct = t.declares('multiSelect') ? [{ name, arguments: {} }] : [];
          const extra = await refused({
            select: [...correct, { name, arguments: { no_such_argument: 1 } }],
          });
          assert.equal(extra.code, -32602, 'the code of the error:');
          assert.ok(
            String(extra.path).startsWith(`/select/${correct.length}/arguments`),
            `\`data.path\` is ${extra.path}`,
          );
        },
      );
      await t.check(
        'subs-permission',
        'a principal that may not follow the type is rejected',
        async () => {
          const { code, kind } = await refused({ select: [{ name }] }, await t.as('stranger'));
          // A type that the principal cannot list is reported as unknown.
          assert.ok(
            (code === -32024 && kind === 'permission') || (code === -32023 && kind === 'trigger'),
            `the error has code ${code} and kind ${kind}`,
          );
        },
      );
      await t.check(
        'subs-unsupported',
        'a callback for a type without the callback drain is rejected',
        async () => {
          // On a server without callbacks the plain type has no callback drain either.
          const able = t.offers('callback');
          const callback = able
            ? (await t.endpoint()).callback
            : { url: 'https://callback.invalid/in', secret: newSecret() };
          const { code, feature } = await refused({
            select: [{ name: able ? t.control.type('pullOnly') : name }],
            callback,
          });
          assert.deepEqual([code, feature], [-32026, 'callback']);
        },
      );
      await t.check(
        'subs-unsupported',
        '`since` for a type without history is rejected',
        async () => {
          const { code, feature } = await refused({
            select: [{ name }],
            since: new Date(Date.now() - 1000).toISOString(),
          });
          assert.deepEqual([code, feature], [-32026, 'since']);
        },
      );
    },
  }),

  scenario({
    name: 'subscribe: permission',
    about: 'A principal cannot subscribe to a type after losing permission.',
    checks: ['subs-permission'],
    needs: { types: ['plain'], verbs: ['permit'] },
    alone: true,
    async run(t) {
      const name = t.control.type('plain');
      await t.control.do('permit', { principal: 'main', name, allowed: false });
      t.defer(() => t.control.do('permit', { principal: 'main', name, allowed: true }));
      await t.check(
        'subs-permission',
        'the call returns Forbidden, or NotFound when the list hides the type',
        async () => {
          const { code, data } = await t.mcp.errorOf('triggers/subscribe', {
            key: t.unique(),
            select: [{ name }],
          });
          assert.ok(
            (code === -32024 && data?.kind === 'permission') ||
              (code === -32023 && data?.kind === 'trigger'),
            `the error has code ${code} and kind ${data?.kind}`,
          );
        },
      );
      await t.control.do('permit', { principal: 'main', name, allowed: true });
      await t.check(
        'subs-permission',
        'the principal can subscribe again after its permission is restored',
        async () => {
          await t.subscribe();
        },
      );
    },
  }),

  scenario({
    name: 'subscribe: more history than the log keeps',
    about: 'Events that `since` reaches and that the new log does not keep are a leading gap.',
    checks: ['subs-since-gap'],
    needs: { options: ['history'], types: ['short'], verbs: ['emit'] },
    async run(t) {
      const name = t.control.type('short');
      const types: Json[] = (await t.mcp.pages('triggers/list')).flatMap(
        ({ triggers }) => triggers,
      );
      const { history, retention } = types.find((type) => type.name === name)!;
      const topic = t.unique('topic');
      const select = [{ name, arguments: { topic } }];
      const since = new Date(Date.now() + t.control.aheadMs).toISOString();
      const count = WELL_BEYOND * retention.maxEvents;
      await t.check(
        'subs-since-gap',
        `of ${count} events since an instant, with a retention of ${retention.maxEvents}, the older ones are a gap of reason "retention"`,
        async () => {
          if (history === undefined)
            throw new NotShown('the type with the short retention has no history');
          // A log that exists meanwhile, so that the server cannot have forgotten the events.
          await t.subscribe({ select });
          await t.emit(topic, count, { name });
          const { subscriptionId, epoch, head } = await t.subscribe({ select, since });
          assert.equal(head, count, '`head` of the new log:');
          const read = await readAll(t.mcp, subscriptionId, { epoch, sequence: 0 });
          assert.equal(spans(coveredBy(read)), `1-${count}`, 'covered sequence numbers:');
          const lost = gapsOf(read);
          assert.ok(lost.length > 0, 'the log has no gap');
          assert.equal(gapSpans(lost), `${spans(upTo(1, lost.length))} retention`, 'gaps:');
          assert.equal(read.flatMap(numbersOf).at(-1), count, '`data.n` of the last event:');
        },
      );
    },
  }),

  scenario({
    name: 'subscribe: from now',
    about: 'Without `since` a log starts with the events accepted from then on.',
    checks: ['subs-from-now'],
    needs: { types: ['plain'], verbs: ['emit'] },
    async run(t) {
      const earlier = await t.subscribe();
      const { select } = earlier;
      await t.emit(t.topicOf(earlier), 2);
      const made = await t.subscribe({ select });
      const [delivery] = await t.pullAll(made.subscriptionId, 0);
      await t.check('subs-from-now', 'the log contains no earlier events', () =>
        assert.deepEqual(numbersOf(delivery), [], 'events in a new log:'),
      );
      await t.emit(t.topicOf(made), 1, { from: 3 });
      await t.check(
        'subs-from-now',
        'the log contains every event accepted after the result',
        async () =>
          assert.deepEqual((await t.pullAll(made.subscriptionId, 1)).flatMap(numbersOf), [3]),
      );
    },
  }),

  scenario({
    name: 'subscribe: history',
    about:
      'With `since` a log starts with retained events; without it, with none of them, also for a type with history.',
    checks: [
      'subs-since',
      'subs-since-bound',
      'subs-since-existing',
      'subs-from-now',
      'log-stable',
    ],
    needs: { options: ['history'], types: ['history'], verbs: ['emit'] },
    async run(t) {
      const name = t.control.type('history');
      const topic = t.unique('topic');
      const select = [{ name, arguments: { topic } }];
      await t.emit(topic, 2, { name });
      await t.pause(50);
      const between = new Date(Date.now() + t.control.aheadMs).toISOString();
      await t.pause(50);
      await t.emit(topic, 3, { name, from: 3 });
      await t.check(
        'subs-since',
        'a log with `since` starts with the events accepted at or after the instant, from sequence number 1',
        async () => {
          const made = await t.subscribe({ select, since: between });
          const [delivery] = await t.pullAll(made.subscriptionId, 1);
          assert.deepEqual(
            [numbersOf(delivery), delivery.events.map(({ sequence }: Json) => sequence)],
            [
              [3, 4, 5],
              [1, 2, 3],
            ],
            'events and their sequence numbers:',
          );
        },
      );
      await t.check(
        ['subs-since', 'log-stable'],
        'the `acceptedAt` of an event, as `since`, starts a log with this event, which has the same `acceptedAt` there',
        async () => {
          const events = (
            await t.pullAll((await t.subscribe({ select, since: between })).subscriptionId, 1)
          )[0].events;
          for (const event of [events[0], events[2]]) {
            const again = await t.subscribe({ select, since: event.acceptedAt });
            const [delivery] = await t.pullAll(again.subscriptionId, 1);
            const found = delivery.events.find(({ eventId }: Json) => eventId === event.eventId);
            assert.equal(found?.acceptedAt, event.acceptedAt, '`acceptedAt` in the second log:');
            assert.ok(
              delivery.events.every(({ acceptedAt }: Json) => acceptedAt >= event.acceptedAt),
              'the log contains an event that was accepted earlier',
            );
          }
        },
      );
      await t.check(
        'subs-since',
        'an old `timestamp` of the upstream does not matter',
        async () => {
          const eventId = t.unique('event');
          await t.control.do('emit', {
            events: [
              { name, eventId, timestamp: '2001-01-01T00:00:00.000Z', data: { topic, n: 6 } },
            ],
          });
          const [delivery] = await t.pullAll(
            (await t.subscribe({ select, since: between })).subscriptionId,
            1,
          );
          assert.equal(delivery.events.at(-1)?.eventId, eventId, 'the last event of the log:');
        },
      );
      await t.check(
        'subs-since-bound',
        'the result for an instant before all events contains the instant that the server honored',
        async () => {
          const asked = '2001-01-01T00:00:00.000Z';
          const { since } = await t.subscribe({ select, since: asked });
          assert.ok(Date.parse(since) > Date.parse(asked), `\`since\` of the answer is ${since}`);
        },
      );
      await t.check(
        'subs-from-now',
        'without `since` the log contains no earlier events',
        async () => {
          const [delivery] = await t.pullAll((await t.subscribe({ select })).subscriptionId, 0);
          assert.deepEqual(numbersOf(delivery), [], 'events in a new log:');
        },
      );
      await t.check(
        'subs-since-existing',
        'a call with `since` returns an existing subscription unchanged',
        async () => {
          const key = t.unique();
          await t.subscribe({ select, key });
          const { subscriptionId, created } = await t.mcp.request('triggers/subscribe', {
            select,
            key,
            since: between,
          });
          assert.deepEqual(
            [created, (await t.mcp.request('triggers/get', { subscriptionId })).head],
            [false, 0],
          );
        },
      );
    },
  }),

  scenario({
    name: 'subscribe: several selections',
    about: 'An event that matches two selections is appended once.',
    checks: ['sub-union'],
    needs: { options: ['multiSelect'], types: ['plain'], verbs: ['emit'] },
    async run(t) {
      const topic = t.unique('topic');
      const name = t.control.type('plain');
      const made = await t.subscribe({
        select: [
          { name, arguments: { topic } },
          { name, arguments: { topic } },
          { name, arguments: { topic: `${topic}-other` } },
        ],
      });
      await t.emit(topic, 2);
      await t.emit(`${topic}-other`, 1, { from: 3 });
      await t.check(
        'sub-union',
        'three events, two of which match two selections, are appended once each',
        async () => {
          assert.deepEqual(
            (await t.pullAll(made.subscriptionId, 3)).flatMap(numbersOf),
            [1, 2, 3],
            '`data.n` of the events:',
          );
        },
      );
    },
  }),

  scenario({
    name: 'subscribe: callbacks',
    about:
      'A callback has to consent before a subscription is created, and no result contains its secret or path.',
    checks: ['subs-verified', 'subs-id-first', 'sub-no-secret', 'ttl-endpoint', 'subs-same'],
    needs: { drains: ['callback'], types: ['plain'], verbs: ['emit'] },
    async run(t) {
      const select = selecting(t);
      const silent = await t.endpoint();
      silent.consent = () => ({ status: 200, body: {} });
      const key = t.unique();
      await t.check(
        'subs-verified',
        'a call whose endpoint does not consent creates no subscription',
        async () => {
          const { code } = await t.mcp.errorOf('triggers/subscribe', {
            key,
            select,
            callback: silent.callback,
          });
          assert.equal(code, -32027, 'the code of the error:');
          const { created } = await t.subscribe({ key, select });
          assert.equal(created, true, '`created` of the next call with that key:');
        },
      );
      const endpoint = await t.endpoint();
      const made = await t.subscribe({ select, callback: endpoint.callback });
      const { subscriptionId } = made;
      await t.check(
        'subs-id-first',
        'the challenge names the subscription that is then created',
        () => {
          const [challenge] = endpoint.challenges;
          assert.deepEqual(
            [challenge?.headers['mcp-subscription-id'], challenge?.delivery.subscriptionId],
            [subscriptionId, subscriptionId],
          );
        },
      );
      await t.check(
        'sub-no-secret',
        'no result or delivery contains the secret, or more of the URL than its origin',
        async () => {
          await t.emit(select[0].arguments.topic, 1);
          await t.until('a delivery', () => endpoint.events.length > 0);
          const page = await t.mcp.request('triggers/subscriptions');
          const text = JSON.stringify([
            made,
            await t.mcp.request('triggers/get', { subscriptionId }),
            page,
            await t.mcp.request('triggers/pull', { subscriptionId }),
            endpoint.hits.map(({ raw }) => raw.toString()),
          ]);
          assert.ok(
            !text.includes(endpoint.secret.slice(6)),
            'a result or delivery contains the secret',
          );
          assert.ok(
            !text.includes(new URL(endpoint.url).pathname),
            'a result or delivery contains the path of the URL',
          );
        },
      );
      await t.check(
        'subs-same',
        'a call with the same callback finds the subscription, and one with another secret or skipAfterMs returns Conflict',
        async () => {
          const params = { key: made.key, select, callback: endpoint.callback };
          assert.equal(
            (await t.mcp.request('triggers/subscribe', params)).created,
            false,
            '`created`:',
          );
          for (const change of [
            { secret: newSecret() },
            ...(t.declares('skip') ? [{ skipAfterMs: 60_000 }] : []),
          ])
            assert.equal(
              (
                await t.mcp.errorOf('triggers/subscribe', {
                  ...params,
                  callback: { ...endpoint.callback, ...change },
                })
              ).data?.kind,
              'key',
              '`data.kind`:',
            );
        },
      );
      await t.check('ttl-endpoint', 'the same call renews a suspended callback', async () => {
        endpoint.answer = () => ({ status: 410 });
        endpoint.consent = () => ({ status: 410 });
        await t.emit(select[0].arguments.topic, 1, { from: 2 });
        await t.until(
          'the callback to be suspended',
          async () =>
            stateOf(await t.mcp.request('triggers/get', { subscriptionId })) === 'suspended',
        );
        const again = await t.mcp.request('triggers/subscribe', {
          key: made.key,
          select,
          callback: endpoint.callback,
        });
        assert.deepEqual(
          [again.created, again.subscriptionId, stateOf(again)],
          [false, subscriptionId, 'suspended'],
          '`created`, `subscriptionId` and `callback.state`:',
        );
        assert.ok(again.expiresAt >= made.expiresAt, '`expiresAt` is earlier than before');
      });
    },
  }),
];
