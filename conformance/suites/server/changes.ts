/**
 * Changing, reading and ending subscriptions, and their ETags (SEP: triggers/update, triggers/get,
 * triggers/unsubscribe, ETags, Pause).
 */
import assert from 'node:assert/strict';
import { isDeepStrictEqual } from 'node:util';
import { NotApplicable } from '../../runner/observations.ts';
import {
  acknowledge,
  lastOf,
  newSecret,
  signatureOf,
} from '../../runner/server/callback-endpoint.ts';
import { scenario, type ServerTest } from '../../runner/server/scenario.ts';
import type { Json } from '../../runner/wire/session.ts';
import { stateOf } from './following.ts';

const get = (t: ServerTest, subscriptionId: string): Promise<Json> =>
  t.mcp.request('triggers/get', { subscriptionId });
const numbersOf = (delivery: Json): number[] => delivery.events.map(({ data }: Json) => data.n);
/** Resolves when the callback is suspended. */
const suspended = (t: ServerTest, subscriptionId: string): Promise<unknown> =>
  t.until(
    'the callback to be suspended',
    async () => stateOf(await get(t, subscriptionId)) === 'suspended',
  );

/** Time in which a change is reported on open streams: less than the pause between heartbeats. */
const TOLD_WITHIN_MS = 5000;

export const changes = [
  scenario({
    name: 'update: conditions and lifetime',
    about: 'An update with a stale ETag changes nothing, ttlMs renews, and the key stays.',
    checks: ['upd-if-match', 'gen-atomic', 'ttl-clamp', 'upd-select', 'etag-config'],
    needs: { types: ['plain'], verbs: ['emit'] },
    eras: 'each',
    async run(t) {
      const made = await t.subscribe({ ttlMs: 60_000 });
      const { subscriptionId } = made;
      const update = (params: object): Promise<Json> =>
        t.mcp.request('triggers/update', { subscriptionId, ...params });
      // A change and its reverse: pausing, where the server has it, or another selection.
      const other = [{ name: t.control.type('plain'), arguments: { topic: t.unique('topic') } }];
      const [changed, restored]: readonly [object, object] = t.declares('pause')
        ? [{ paused: true }, { paused: false }]
        : [{ select: other }, { select: made.select }];
      const isChanged = ({ paused, select }: Json): boolean =>
        t.declares('pause') ? paused === true : isDeepStrictEqual(select, other);
      await t.check(
        'upd-if-match',
        'a stale ETag is rejected with the current one, and nothing changes',
        async () => {
          const rejection = await t.mcp.errorOf('triggers/update', {
            subscriptionId,
            ...changed,
            ifMatch: 'no-such-etag',
          });
          assert.deepEqual(rejection.data, { kind: 'etag', etag: made.etag }, '`data`:');
          assert.ok(!isChanged(await get(t, subscriptionId)), 'the rejected update changed it');
        },
      );
      await t.check('upd-if-match', 'the current ETag is accepted', async () => {
        await update({ ttlMs: 75_000, ifMatch: made.etag });
      });
      await t.check('gen-atomic', 'an update with one invalid member changes nothing', async () => {
        const before = await get(t, subscriptionId);
        await t.mcp.errorOf('triggers/update', {
          subscriptionId,
          ...changed,
          ttlMs: 120_000,
          select: [{ name: 'conformance.no_such_type' }],
        });
        const after = await get(t, subscriptionId);
        assert.deepEqual(
          [after.paused, after.ttlMs, after.etag],
          [before.paused, before.ttlMs, before.etag],
        );
      });
      await t.check('gen-atomic', 'an update of several members changes all of them', async () => {
        const now = await update({ ...changed, ttlMs: 90_000 });
        assert.deepEqual(
          [isChanged(now), now.ttlMs],
          [true, 90_000],
          '`ttlMs` and the other member are as requested:',
        );
      });
      await t.check(
        'ttl-clamp',
        'an update renews the lifetime only when it contains ttlMs',
        async () => {
          const { expiresAt } = await update({ ttlMs: 60_000 });
          await t.pause(20);
          assert.equal(
            (await update(restored)).expiresAt,
            expiresAt,
            '`expiresAt` after an update without ttlMs:',
          );
          assert.ok(
            (await update({ ttlMs: 60_000 })).expiresAt > expiresAt,
            '`expiresAt` has not changed although the update renews',
          );
        },
      );
      const etags: string[] = [made.etag];
      await t.check(
        'etag-config',
        'every change of the configuration changes the ETag',
        async () => {
          const changes: readonly object[] = [
            changed,
            restored,
            { ttlMs: 61_000 },
            {
              select: [{ name: t.control.type('plain'), arguments: { topic: t.unique('topic') } }],
            },
          ];
          for (const params of changes) {
            const before = (await get(t, subscriptionId)).etag;
            const { etag } = await update(params);
            etags.push(etag);
            assert.notEqual(
              etag,
              before,
              `\`etag\` after an update of ${Object.keys(params).join()}:`,
            );
          }
        },
      );
      await t.check('etag-config', 'no ETag repeats', () =>
        assert.equal(new Set(etags).size, etags.length, 'different ETags:'),
      );
      await t.check(
        'etag-config',
        'events, acknowledgements and renewals do not change the ETag',
        async () => {
          const { etag, select, epoch } = await get(t, subscriptionId);
          await t.emit(select[0].arguments.topic, 2);
          await t.pullAll(subscriptionId, 2);
          await t.mcp.request('triggers/ack', { subscriptionId, position: { epoch, sequence: 1 } });
          const { head, acked, etag: after } = await get(t, subscriptionId);
          assert.deepEqual([head, acked, after], [2, 1, etag], '`head`, `acked`, `etag`:');
        },
      );
      await t.check('upd-select', 'a change of select does not change the key', async () => {
        const { key } = await update({
          select: [{ name: t.control.type('plain'), arguments: {} }],
        });
        assert.equal(key, made.key, '`key`:');
      });
    },
  }),

  scenario({
    name: 'update: select',
    about: 'A changed select applies to the events that are accepted after the change.',
    checks: ['upd-select', 'sub-paused', 'sub-paused-resume', 'stream-changed'],
    needs: { types: ['plain'], verbs: ['emit'] },
    async run(t) {
      const made = await t.subscribe();
      const { subscriptionId } = made;
      const [before, after] = [t.topicOf(made), t.unique('topic')];
      await t.emit(before, 2);
      await t.mcp.request('triggers/update', {
        subscriptionId,
        select: [{ name: t.control.type('plain'), arguments: { topic: after } }],
      });
      await t.emit(before, 1, { from: 90 });
      await t.emit(after, 1, { from: 3 });
      await t.check(
        'upd-select',
        'earlier events keep their sequence numbers, and only matching events get the next ones',
        async () => {
          const deliveries = await t.pullAll(subscriptionId, 3);
          assert.deepEqual(
            [deliveries.flatMap(numbersOf), deliveries.at(-1).head],
            [[1, 2, 3], 3],
            '`data.n` of the events, `head`:',
          );
        },
      );
      await t.check(
        'stream-changed',
        'an open stream reports a changed configuration',
        async () => {
          if (!t.offers('stream'))
            throw new NotApplicable('The server does not offer the drain "stream".');
          const stream = await t.stream({ subscriptionId });
          await t.until('the events on the stream', () => stream.events.length === 3);
          const { etag } = await t.mcp.request('triggers/update', {
            subscriptionId,
            ttlMs: 7_200_000,
          });
          await t.until(
            'a delivery with the ETag of the update',
            () => stream.deliveries.at(-1)?.etag === etag,
            TOLD_WITHIN_MS,
          );
        },
      );
      if (!t.declares('pause'))
        throw new NotApplicable('The server does not declare the option "pause".');
      await t.check(
        'sub-paused',
        'a paused subscription continues to assign sequence numbers',
        async () => {
          await t.mcp.request('triggers/update', { subscriptionId, paused: true });
          await t.emit(after, 2, { from: 4 });
          await t.until(
            'sequence number 5 to be assigned',
            async () => (await get(t, subscriptionId)).head === 5,
          );
        },
      );
      if (!t.offers('callback'))
        throw new NotApplicable('The server does not offer the drain "callback".');
      const endpoint = await t.endpoint();
      const called = await t.subscribe({ callback: endpoint.callback });
      await t.emit(t.topicOf(called), 2);
      await t.until('two events at the callback', () => endpoint.events.length === 2);
      await t.mcp.request('triggers/update', {
        subscriptionId: called.subscriptionId,
        paused: true,
      });
      await t.emit(t.topicOf(called), 2, { from: 3 });
      await t.check(
        'sub-paused',
        'the callback of a paused subscription receives no event',
        async () => {
          await t.pause(400);
          assert.equal(endpoint.events.length, 2, 'events at the callback:');
        },
      );
      await t.check(
        'sub-paused-resume',
        'after the pause, delivery continues from the acknowledged position',
        async () => {
          await t.mcp.request('triggers/update', {
            subscriptionId: called.subscriptionId,
            paused: false,
          });
          await t.until('the remaining events at the callback', () => endpoint.events.length >= 4);
          assert.deepEqual(
            endpoint.events.map(({ sequence }) => sequence),
            [1, 2, 3, 4],
            'sequence numbers at the callback:',
          );
        },
      );
    },
  }),

  scenario({
    name: 'update: a late answer',
    about: 'The callback is replaced while its endpoint still has a request to answer.',
    checks: ['ans-current-only', 'cb-one-lease'],
    needs: { drains: ['callback'], types: ['plain'], verbs: ['emit'] },
    async run(t) {
      const [first, second] = [await t.endpoint(), await t.endpoint()];
      let answerFirst = (): void => undefined;
      let answerSecond = (): void => undefined;
      first.answer = (hit) =>
        new Promise((resolve) => {
          answerFirst = () => resolve(acknowledge(hit));
        });
      second.answer = (hit) =>
        new Promise((resolve) => {
          answerSecond = () => resolve(acknowledge(hit));
        });
      const made = await t.subscribe({ callback: first.callback });
      const { subscriptionId } = made;
      await t.emit(t.topicOf(made), 1);
      await t.until('the event at the first callback', () => first.deliveries.length === 1);
      await t.mcp.request('triggers/update', { subscriptionId, callback: second.callback });
      await t.check(
        'cb-one-lease',
        'the new callback waits for the attempt at the old one',
        async () => {
          // Wait to see that no delivery arrives.
          await t.pause(500);
          assert.equal(second.deliveries.length, 0, 'deliveries to the new callback:');
        },
      );
      answerFirst();
      await t.check(
        'ans-current-only',
        'the answer of a replaced callback acknowledges nothing',
        async () => {
          await t.until('the event at the second callback', () => second.deliveries.length > 0);
          assert.equal((await get(t, subscriptionId)).acked, 0, '`acked`:');
        },
      );
      answerSecond();
      await t.check(
        'ans-current-only',
        'the answer of the present callback acknowledges',
        async () => {
          await t.until(
            'the event to be acknowledged',
            async () => (await get(t, subscriptionId)).acked === 1,
          );
        },
      );
    },
  }),

  scenario({
    name: 'update: callbacks',
    about:
      'A new URL has to consent, a new secret signs next to the old one, and removeCallback removes the callback but keeps the log.',
    checks: [
      'upd-verify',
      'upd-rotate',
      'upd-detach',
      'upd-resume',
      'sub-only-client-resumes',
      'retry-success',
      'sub-paused',
      'stream-changed',
      'etag-config',
      'sub-resume-continues',
    ],
    needs: { drains: ['callback'], types: ['plain'], verbs: ['emit'] },
    async run(t) {
      const [first, second] = [await t.endpoint(), await t.endpoint()];
      const made = await t.subscribe({ callback: first.callback });
      const { subscriptionId } = made;
      const topic = t.topicOf(made);
      const update = (params: object): Promise<Json> =>
        t.mcp.request('triggers/update', { subscriptionId, ...params });
      second.consent = () => ({ status: 200, body: {} });
      await t.check(
        'upd-verify',
        'a URL that does not consent does not replace the old one',
        async () => {
          assert.equal(
            (await t.mcp.errorOf('triggers/update', { subscriptionId, callback: second.callback }))
              .code,
            -32027,
            'the code of the error:',
          );
          await t.emit(topic, 1);
          await t.until('the event at the old URL', () => first.events.length === 1);
          assert.equal(second.deliveries.length, 0, 'deliveries to the new URL:');
        },
      );
      await t.check(
        ['upd-rotate', 'etag-config'],
        'after an update the new secret signs, next to the old one',
        async () => {
          const before = await get(t, subscriptionId);
          const old = first.secret;
          first.secret = newSecret();
          const { etag } = await update({ callback: first.callback });
          assert.notEqual(etag, before.etag, '`etag` after a secret rotation:');
          const count = first.deliveries.length;
          await t.emit(topic, 1, { from: 2 });
          const hit = await t.until('the next delivery', () => first.deliveries[count]);
          const signatures = String(hit.headers['webhook-signature']).split(' ');
          for (const [which, secret] of [
            ['new', first.secret],
            ['old', old],
          ] as const)
            assert.ok(
              signatures.includes(signatureOf(secret, hit)),
              `the ${which} secret does not sign`,
            );
        },
      );
      if (t.declares('skip'))
        await t.check(
          'etag-config',
          'another skipAfterMs changes the ETag, without a request to the endpoint',
          async () => {
            const before = await get(t, subscriptionId);
            const asked = first.challenges.length;
            const { etag, callback } = await update({
              callback: { ...first.callback, skipAfterMs: 3_600_000 },
            });
            assert.equal(callback.skipAfterMs, 3_600_000, '`callback.skipAfterMs`:');
            assert.notEqual(etag, before.etag, '`etag`:');
            assert.equal(first.challenges.length, asked, 'challenges:');
            await update({ callback: first.callback });
          },
        );
      // A failure before the suspension, so that there is a counter to reset.
      let failed = false;
      first.answer = () => {
        const status = failed ? 410 : 500;
        failed = true;
        return { status };
      };
      const proves = first.consent;
      first.consent = () => ({ status: 410 });
      const stream = t.offers('stream') ? await t.stream({ subscriptionId }) : undefined;
      await t.emit(topic, 1, { from: 3 });
      await suspended(t, subscriptionId);
      await t.check(
        'stream-changed',
        'an open stream reports a changed state of the callback',
        async () => {
          if (stream === undefined)
            throw new NotApplicable('The server does not offer the drain "stream".');
          await t.until(
            'a delivery without events after event 3',
            () =>
              stream.events.at(-1)?.sequence === 3 && stream.deliveries.at(-1)?.events.length === 0,
            TOLD_WITHIN_MS,
          );
        },
      );
      await t.check(
        'sub-only-client-resumes',
        'reading does not resume a suspended callback',
        async () => {
          for (const ifNoneMatch of t.declares('conditionalReads') ? [undefined, 'x'] : [undefined])
            await t.mcp.request('triggers/get', {
              subscriptionId,
              ...(ifNoneMatch === undefined ? {} : { ifNoneMatch }),
            });
          await t.mcp.request('triggers/subscriptions');
          assert.equal(stateOf(await get(t, subscriptionId)), 'suspended', '`callback.state`:');
        },
      );
      first.answer = ({ delivery }) => ({ body: { ackSequence: lastOf(delivery) } });
      await t.check(
        ['sub-only-client-resumes', 'sub-paused'],
        'a suspended callback stays suspended although its endpoint takes deliveries again',
        async () => {
          const count = first.events.length;
          await update({
            ...(t.declares('pause') ? { paused: false } : {}),
            callback: first.callback,
          });
          await update({ ttlMs: 1_800_000 });
          const { key, select } = made;
          await t.mcp.request('triggers/subscribe', { key, select, callback: first.callback });
          await t.emit(topic, 1, { from: 4 });
          await t.pause(1500);
          assert.deepEqual(
            [stateOf(await get(t, subscriptionId)), first.events.length],
            ['suspended', count],
            '`callback.state`, and events at the callback:',
          );
        },
      );
      const tried = first.deliveries.length;
      await t.check(
        ['upd-resume', 'retry-success'],
        'resuming resets the counters and keeps the last error until a success',
        async () => {
          first.answer = () => new Promise((resolve) => setTimeout(resolve, 800, { body: {} }));
          first.consent = proves;
          const { callback } = await update({ resume: true });
          assert.deepEqual(
            [callback.health.attempts, callback.health.lastError],
            [0, 'gone'],
            '`health.attempts` and `health.lastError`:',
          );
          first.answer = ({ delivery }) => ({ body: { ackSequence: lastOf(delivery) } });
        },
      );
      await t.check(
        'upd-resume',
        'an update with `resume` resumes a suspended callback',
        async () => {
          await t.until(
            'everything to be acknowledged',
            async () => (await get(t, subscriptionId)).acked === 4,
          );
        },
      );
      await t.check(
        'sub-resume-continues',
        'after the suspension, delivery continues from the acknowledged position',
        () =>
          assert.equal(
            first.deliveries[tried]?.delivery.afterSequence,
            2,
            '`afterSequence` of the first delivery:',
          ),
      );
      await t.check('retry-success', 'a success clears the last error', async () =>
        assert.equal(
          (await get(t, subscriptionId)).callback.health.lastError,
          undefined,
          '`health.lastError`:',
        ),
      );
      await t.check(
        'upd-detach',
        'removeCallback stops all attempts and keeps the log',
        async () => {
          const count = first.hits.length;
          const { callback } = await update({ removeCallback: true });
          assert.equal(callback, undefined, '`callback`:');
          await t.emit(topic, 1, { from: 5 });
          assert.deepEqual(
            (await t.pullAll(subscriptionId, 5)).flatMap(numbersOf),
            [5],
            'pulled events:',
          );
          assert.equal(first.hits.length, count, 'requests to the callback:');
        },
      );
    },
  }),

  scenario({
    name: 'update: paused and suspended',
    about: 'A callback is suspended and paused at once; each of them ends by its own parameter.',
    checks: ['sub-paused', 'sub-only-client-resumes'],
    needs: { drains: ['callback'], types: ['plain'], verbs: ['emit'], options: ['pause'] },
    async run(t) {
      const endpoint = await t.endpoint();
      const { consent } = endpoint;
      const made = await t.subscribe({ callback: endpoint.callback });
      const { subscriptionId } = made;
      endpoint.answer = () => ({ status: 410 });
      endpoint.consent = () => ({ status: 410 });
      const update = async (params: object): Promise<Json> => {
        const { paused, callback } = await t.mcp.request('triggers/update', {
          subscriptionId,
          ...params,
        });
        return { paused, state: callback.state };
      };
      await t.emit(t.topicOf(made), 1);
      await suspended(t, subscriptionId);
      endpoint.answer = acknowledge;
      await t.check('sub-paused', 'a suspended callback that is paused shows both', async () =>
        assert.deepEqual(await update({ paused: true }), { paused: true, state: 'suspended' }),
      );
      await t.check('sub-only-client-resumes', 'paused false does not end a suspension', async () =>
        assert.deepEqual(await update({ paused: false }), {
          paused: undefined,
          state: 'suspended',
        }),
      );
      await update({ paused: true });
      endpoint.consent = consent;
      const count = endpoint.deliveries.length;
      await t.check('sub-paused', '`resume` ends the suspension and not the pause', async () => {
        assert.deepEqual(await update({ resume: true }), { paused: true, state: 'ok' });
        // Wait to see that no event arrives.
        await t.pause(400);
        assert.equal(endpoint.deliveries.length, count, 'deliveries to the callback:');
      });
      await t.check('sub-paused', 'after the pause, delivery continues', async () => {
        assert.deepEqual(await update({ paused: false }), { paused: undefined, state: 'ok' });
        await t.until(
          'the event to be acknowledged',
          async () => (await get(t, subscriptionId)).acked === 1,
        );
      });
    },
  }),

  scenario({
    name: 'get and list',
    about:
      'A matching ETag returns the counters only, reading changes nothing, and the list contains each live subscription once.',
    checks: [
      'get-not-modified',
      'get-full',
      'ttl-not-by-reading',
      'ack-only-said',
      'list-subs-own',
    ],
    needs: { types: ['plain'] },
    eras: 'each',
    async run(t) {
      const made = await t.subscribe({ ttlMs: 60_000 });
      const { subscriptionId, etag } = made;
      const count = t.control.has('emit') ? 2 : 0;
      if (count > 0) await t.emit(t.topicOf(made), count);
      await t.until(
        `${count} sequence numbers`,
        async () => (await get(t, subscriptionId)).head === count,
      );
      await t.check('get-not-modified', 'a matching ETag returns the counters only', async () => {
        const { resultType, _meta, ...answer } = await t.mcp.request('triggers/get', {
          subscriptionId,
          ifNoneMatch: etag,
        });
        assert.deepEqual(answer, {
          notModified: true,
          etag,
          epoch: made.epoch,
          head: count,
          acked: 0,
          oldest: 1,
          expiresAt: made.expiresAt,
        });
      });
      await t.check(
        'get-not-modified',
        'a matching ETag returns the state and the health of the callback',
        async () => {
          if (!t.offers('callback'))
            throw new NotApplicable('The server does not offer the drain "callback".');
          const called = await t.subscribe({ callback: (await t.endpoint()).callback });
          const { callback } = await t.mcp.request('triggers/get', {
            subscriptionId: called.subscriptionId,
            ifNoneMatch: called.etag,
          });
          const { state, health } = called.callback;
          assert.deepEqual(callback, { state, health }, '`callback`:');
        },
      );
      await t.check('get-full', 'another ETag or none returns the whole subscription', async () => {
        for (const params of [{}, { ifNoneMatch: 'other' }])
          assert.deepEqual(
            (await t.mcp.request('triggers/get', { subscriptionId, ...params })).select,
            made.select,
            '`select`:',
          );
      });
      await t.check(
        ['ttl-not-by-reading', 'ack-only-said'],
        'reading neither renews the lifetime nor acknowledges',
        async () => {
          const { expiresAt, acked, etag: now } = await get(t, subscriptionId);
          assert.deepEqual([expiresAt, acked, now], [made.expiresAt, 0, etag]);
        },
      );
      const ended = await t.subscribe();
      const many = await Promise.all(
        Array.from({ length: 60 }, () => t.subscribe({ ttlMs: 60_000 })),
      );
      await t.mcp.request('triggers/unsubscribe', { subscriptionId: ended.subscriptionId });
      const listed: string[] = (await t.mcp.pages('triggers/subscriptions')).flatMap(
        ({ subscriptions }) => subscriptions.map((one: Json) => one.subscriptionId),
      );
      await t.check(
        'list-subs-own',
        'the list contains live subscriptions and no ended ones',
        () => {
          for (const one of [made, ...many])
            assert.ok(
              listed.includes(one.subscriptionId),
              'a subscription is missing from the list',
            );
          assert.ok(!listed.includes(ended.subscriptionId), 'an ended subscription is in the list');
        },
      );
      await t.check('list-subs-own', 'each subscription is on exactly one page', () =>
        assert.equal(new Set(listed).size, listed.length, 'different ids in the list:'),
      );
    },
  }),

  scenario({
    name: 'unsubscribe',
    about: 'Unsubscribing ends the subscription on every drain at once; a stale ETag prevents it.',
    checks: ['uns-ends', 'upd-if-match'],
    needs: { types: ['plain'], verbs: ['emit'] },
    eras: 'each',
    async run(t) {
      const made = await t.subscribe();
      const { subscriptionId } = made;
      await t.check('upd-if-match', 'a stale ETag does not end the subscription', async () => {
        assert.equal(
          (await t.mcp.errorOf('triggers/unsubscribe', { subscriptionId, ifMatch: 'no-such-etag' }))
            .data?.kind,
          'etag',
          '`data.kind`:',
        );
        await get(t, subscriptionId);
      });
      const endpoint = t.offers('callback') ? await t.endpoint() : undefined;
      const called =
        endpoint === undefined ? made : await t.subscribe({ callback: endpoint.callback });
      await t.mcp.request('triggers/unsubscribe', {
        subscriptionId: called.subscriptionId,
        ifMatch: called.etag,
      });
      await t.check('uns-ends', 'after unsubscribing nothing is appended or sent', async () => {
        const count = endpoint?.hits.length ?? 0;
        await t.emit(t.topicOf(called), 2);
        const { data } = await t.mcp.errorOf('triggers/pull', {
          subscriptionId: called.subscriptionId,
        });
        assert.equal(data?.kind, 'subscription', '`data.kind` of a pull:');
        assert.equal(data?.final?.head ?? 0, 0, '`final.head`:');
        await t.pause(300);
        assert.equal(endpoint?.hits.length ?? 0, count, 'requests to the callback after the end:');
      });
    },
  }),
];
