/** The state of a durable server after a crash (SEP: Lifetime, The log, Acknowledgement). */
import assert from 'node:assert/strict';
import { acknowledge, newSecret, signatureOf } from '../../runner/server/callback-endpoint.ts';
import { scenario } from '../../runner/server/scenario.ts';
import { untilHead } from '../../runner/server/coverage.ts';
import type { Json } from '../../runner/wire/session.ts';
import { another, notice, ownType } from './ending.ts';
import { arrived, MINUTE_MS, stateOf } from './following.ts';

/** Crashes right after an answer: a commit that follows the answer has no time. */
const ROUNDS = 3;

export const durability = [
  scenario({
    name: 'durability: a crash right after an answer',
    about: 'An acknowledgement, an event, a change and an end that were answered are stored.',
    checks: ['ack-only-said', 'log-no-silent-loss', 'ttl-survives'],
    needs: { verbs: ['emit', 'crash'], types: ['plain'], durable: true },
    alone: true,
    async run(t) {
      for (let round = 1; round <= ROUNDS; round += 1) {
        const made = await t.subscribe();
        const { subscriptionId, epoch } = made;
        await t.emit(t.topicOf(made), 2);
        await untilHead(t, subscriptionId, 2);
        await t.mcp.request('triggers/pull', { subscriptionId });
        await t.mcp.request('triggers/ack', { subscriptionId, position: { epoch, sequence: 2 } });
        await t.control.do('crash', {});
        await t.check('ack-only-said', `an acknowledgement survives crash ${round}`, async () => {
          const { acked } = await t.mcp.request('triggers/get', { subscriptionId });
          assert.equal(acked, 2, '`acked`:');
        });
        await t.emit(t.topicOf(made), 1, { from: 3 });
        await t.control.do('crash', {});
        await t.check('log-no-silent-loss', `an accepted event survives crash ${round}`, () =>
          untilHead(t, subscriptionId, 3),
        );
        const select = [{ name: t.control.type('plain'), arguments: { topic: t.unique('topic') } }];
        const changed = await t.mcp.request('triggers/update', { subscriptionId, select });
        await t.control.do('crash', {});
        await t.check('ttl-survives', `a change survives crash ${round}`, async () => {
          const now = await t.mcp.request('triggers/get', { subscriptionId });
          assert.deepEqual([now.select, now.etag], [select, changed.etag], '`select` and `etag`:');
        });
        await t.mcp.request('triggers/unsubscribe', { subscriptionId });
        await t.control.do('crash', {});
        await t.check('ttl-survives', `a tombstone survives crash ${round}`, async () => {
          const { data } = await t.mcp.errorOf('triggers/get', { subscriptionId });
          assert.deepEqual(
            [data?.reason, data?.final],
            ['unsubscribed', { epoch, head: 3, acked: 2 }],
            '`data.reason` and `data.final` of the error:',
          );
        });
      }
    },
  }),

  scenario({
    name: 'durability: the callback',
    about: 'The URL, the secret, the suspension and its cause survive a crash.',
    checks: ['ttl-survives'],
    needs: {
      drains: ['callback'],
      verbs: ['emit', 'crash', 'advance'],
      types: ['plain'],
      durable: true,
    },
    alone: true,
    async run(t) {
      const endpoint = await t.endpoint();
      const made = await t.subscribe({ callback: endpoint.callback, ttlMs: 1440 * MINUTE_MS });
      const { subscriptionId } = made;
      const get = (): Promise<Json> => t.mcp.request('triggers/get', { subscriptionId });
      endpoint.secret = newSecret();
      await t.mcp.request('triggers/update', { subscriptionId, callback: endpoint.callback });
      await t.control.do('crash', {});
      await t.emit(t.topicOf(made), 1);
      await t.check('ttl-survives', 'the changed secret signs after a crash', async () => {
        await arrived(t, endpoint, 1);
        const hit = endpoint.deliveries.findLast(({ delivery }) => delivery.events?.length > 0)!;
        const signatures = String(hit.headers['webhook-signature']).split(' ');
        assert.ok(
          signatures.includes(signatureOf(endpoint.secret, hit)),
          'no signature is that of the changed secret',
        );
      });
      // 410 suspends at once, or takes the callback away.
      endpoint.answer = () => ({ status: 410 });
      await t.emit(t.topicOf(made), 1, { from: 2 });
      const count = endpoint.deliveries.length;
      await t.until('the answer 410', () => endpoint.deliveries.length > count);
      const before = await t.until('the callback to be suspended or gone', async () => {
        const now = await get();
        return (now.callback === undefined || stateOf(now) === 'suspended') && now;
      });
      // A server that forgot the suspension now makes an attempt, which does not suspend.
      endpoint.answer = () => ({ status: 503 });
      endpoint.consent = () => ({ status: 503 });
      await t.control.do('crash', {});
      await t.pause(300);
      const after = await get();
      await t.check('ttl-survives', 'the state of the callback survives a crash', () =>
        assert.deepEqual(
          [stateOf(after), after.callback?.origin, after.callback?.health?.lastError],
          [stateOf(before), before.callback?.origin, before.callback?.health?.lastError],
          '`callback.state`, `callback.origin` and `callback.health.lastError`:',
        ),
      );
      endpoint.answer = acknowledge;
    },
  }),

  scenario({
    name: 'durability: the notice of an end',
    about: 'A notice that the callback did not take survives a crash.',
    checks: ['end-callback'],
    needs: {
      drains: ['callback'],
      verbs: ['declare', 'remove', 'advance', 'crash'],
      durable: true,
    },
    alone: true,
    async run(t) {
      const name = await ownType(t);
      const endpoint = await t.endpoint();
      await t.subscribe({ select: [{ name }], callback: endpoint.callback, noExpiry: true });
      endpoint.answer = () => ({ status: 503 });
      await t.control.do('remove', { name, reason: 'schema_changed' });
      await notice(t, endpoint, 1);
      await t.control.do('crash', {});
      endpoint.answer = acknowledge;
      await t.check('end-callback', 'the notice comes again after a crash', async () => {
        const { delivery } = await another(t, endpoint);
        assert.equal(delivery.terminated.reason, 'schema_changed', '`terminated.reason`:');
      });
    },
  }),
];
