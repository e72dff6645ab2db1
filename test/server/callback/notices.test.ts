/**
 * Tests termination notices: a callback learns that its subscription ended, whatever the endpoint,
 * the store and the process go through meanwhile.
 */
import assert from 'node:assert/strict';
import { describe, test } from 'vitest';
import type { OutboundResult } from '../../../src/server/engine/ports.ts';
import { Secret } from '../../../src/protocol/wire/secret.ts';
import { signWebhook } from '../../../src/protocol/wire/signature.ts';
import {
  ann,
  bob,
  broken,
  CALLBACK,
  DAY,
  failed,
  full,
  HOUR,
  kill,
  lastOf,
  MINUTE,
  response,
  SECOND,
  secretOf,
  turns,
  world,
  type Arrived,
  type World,
} from '../engine/harness.ts';
import { place } from '../store/place.ts';

const select = [{ name: 'tick' }];

/** Answers notices with `answer`, and acknowledges everything else. */
const whenEnded =
  (answer: (request: Arrived, nth: number) => OutboundResult | Promise<OutboundResult>) =>
  (w: World): void => {
    let nth = 0;
    w.endpoints.answer = (request) =>
      request.delivery.terminated === undefined
        ? response(200, { ackSequence: lastOf(request.delivery) })
        : answer(request, (nth += 1));
  };

const notices = (w: World): Arrived[] =>
  w.endpoints.requests.filter(({ delivery }) => delivery.terminated !== undefined);

async function subscribed(w: World, key = 'k', caller = ann) {
  return w.engine.subscribe(caller, { key, select, callback: CALLBACK, ttlMs: 5 * DAY });
}

const revoke = (w: World): Promise<number> => w.engine.terminate({ principal: 'ann' }, 'revoked');

describe('[end-callback] a termination notice', () => {
  test('is repeated with backoff until an answer is 2xx, with a new id and time', async () => {
    const w = await world();
    whenEnded((_, nth) => (nth < 5 ? response(503) : response(204)))(w);
    const { subscriptionId, epoch } = await subscribed(w);
    await w.emit(1);
    await turns();
    await revoke(w);
    await w.pass(HOUR);
    const sent = notices(w);
    assert.equal(sent.length, 5);
    for (const { delivery } of sent)
      assert.deepEqual(
        [delivery.subscriptionId, delivery.epoch, delivery.head, delivery.terminated],
        [subscriptionId, epoch, 1, { reason: 'revoked' }],
      );
    assert.equal(new Set(sent.map(({ headers }) => headers['webhook-id'])).size, 5);
    sent.slice(1).forEach(({ at }, before) => {
      const wait = at - sent[before]!.at;
      assert.ok(wait <= 1000 * 2 ** before + 100, `wait ${before + 1} is ${wait} ms`);
    });
    await w.close();
  });

  test('is repeated after a failure to connect and after every status but 2xx and 410', async () => {
    const w = await world();
    const answers = [
      failed('timeout'),
      ...[301, 400, 404, 413, 429, 500].map((one) => response(one)),
    ];
    whenEnded((_, nth) => answers[nth - 1] ?? response(200, '<html>'))(w);
    await subscribed(w);
    await revoke(w);
    await w.pass(HOUR);
    assert.equal(notices(w).length, answers.length + 1);
    await w.close();
  });

  test('is not repeated after 410, and the log says so without the URL', async () => {
    const w = await world();
    whenEnded(() => response(410))(w);
    const { subscriptionId } = await subscribed(w);
    await revoke(w);
    await w.pass(DAY);
    assert.equal(notices(w).length, 1);
    const lines = w.logged.filter(({ message }) => message.includes('410'));
    assert.deepEqual(
      lines.map(({ fields }) => fields),
      [{ subscriptionId }],
    );
    await w.close();
  });

  test('waits for Retry-After', async () => {
    const w = await world();
    whenEnded((_, nth) => (nth === 1 ? response(503, null, '1800') : response(200)))(w);
    await subscribed(w);
    await revoke(w);
    await w.pass(30 * MINUTE - SECOND);
    assert.equal(notices(w).length, 1);
    await w.pass(2 * SECOND);
    assert.equal(notices(w).length, 2);
    await w.close();
  });

  test('is repeated until the tombstone expires, and not longer', async () => {
    const w = await world();
    whenEnded(() => response(500))(w);
    await subscribed(w);
    await revoke(w);
    const endedAt = w.clock.now();
    await w.pass(25 * HOUR);
    const last = notices(w).at(-1)!.at - endedAt;
    assert.ok(last > DAY - 5 * MINUTE && last < DAY, `the last attempt is after ${last} ms`);
    assert.deepEqual(await w.inner.dueNotices(w.clock.now(), 10, []), []);
    assert.equal(w.logged.filter(({ message }) => message.includes('expired')).length, 1);
    await w.close();
  });

  test('goes to a suspended and to a paused callback, and not to a client that unsubscribed', async () => {
    const w = await world();
    const one = await subscribed(w, 'suspended');
    w.endpoints.answer = () => response(410);
    await w.emit(1);
    await turns();
    whenEnded(() => response(200))(w);
    const two = await subscribed(w, 'paused');
    await w.engine.update(ann, { subscriptionId: two.subscriptionId, paused: true });
    const three = await subscribed(w, 'unsubscribed');
    await w.engine.unsubscribe(ann, { subscriptionId: three.subscriptionId });
    await revoke(w);
    await w.pass(MINUTE);
    assert.deepEqual(
      notices(w).map(({ delivery }) => delivery.subscriptionId),
      [one.subscriptionId, two.subscriptionId],
    );
    await w.close();
  });

  test('signs with the previous secret as long as deliveries do', async () => {
    const w = await world();
    whenEnded((_, nth) => (nth < 3 ? response(503, null, '200') : response(200)))(w);
    const { subscriptionId } = await subscribed(w);
    w.endpoints.prove = (request) => response(200, w.endpoints.proof(request, secretOf(2)));
    await w.engine.update(ann, {
      subscriptionId,
      callback: { ...CALLBACK, secret: secretOf(2) },
    });
    await revoke(w);
    await w.pass(HOUR);
    const signers = notices(w).map(({ headers, body }) =>
      [2, 1].filter((fill) =>
        headers['webhook-signature']!.split(' ').includes(
          signWebhook(
            [Secret.parse(secretOf(fill))],
            headers['webhook-id']!,
            Number(headers['webhook-timestamp']),
            body,
          ),
        ),
      ),
    );
    // After 0, 200 and 400 seconds; the old secret counts for 300.
    assert.deepEqual(signers, [[2, 1], [2, 1], [2]]);
    await w.close();
  });

  test('[cb-one-lease] waits for the attempt that is under way', async () => {
    const w = await world();
    let answer = (_: OutboundResult): void => undefined;
    w.endpoints.answer = ({ delivery }) =>
      delivery.terminated === undefined
        ? new Promise((resolve) => {
            answer = resolve;
          })
        : response(200);
    await subscribed(w);
    await w.emit(1);
    await turns();
    await revoke(w);
    await w.pass(5 * SECOND);
    assert.equal(notices(w).length, 0);
    answer(response(503));
    await w.pass(100);
    assert.equal(notices(w).length, 1);
    await w.pass(MINUTE);
    assert.equal(w.endpoints.requests.length, 2);
    await w.close();
  });

  test('[cb-one-lease] does not wait longer for an attempt that is answered while the end is written', async () => {
    const w = await world();
    let answer = (_: OutboundResult): void => undefined;
    w.endpoints.answer = ({ delivery }) =>
      delivery.terminated === undefined
        ? new Promise((resolve) => {
            answer = resolve;
          })
        : response(200);
    await subscribed(w);
    await w.emit(1);
    await turns();
    w.meddled.before = async (writes) => {
      if (!writes.some(({ type }) => type === 'end')) return;
      answer(response(503));
      await turns();
    };
    await revoke(w);
    await turns();
    assert.equal(notices(w).length, 1);
    await w.close();
  });

  test('[cb-one-lease] waits also for an attempt to a callback that was replaced', async () => {
    const w = await world();
    let answer = (_: OutboundResult): void => undefined;
    w.endpoints.answer = ({ delivery }) =>
      delivery.terminated === undefined
        ? new Promise((resolve) => {
            answer = resolve;
          })
        : response(200);
    const { subscriptionId } = await subscribed(w);
    await w.emit(1);
    await turns();
    const callback = { ...CALLBACK, url: 'https://other.example/in' };
    await w.engine.update(ann, { subscriptionId, callback });
    await revoke(w);
    await w.pass(5 * SECOND);
    assert.equal(notices(w).length, 0);
    answer(response(503));
    await w.pass(100);
    assert.deepEqual(
      notices(w).map(({ url }) => url),
      [callback.url],
    );
    await w.close();
  });

  test('[lim-quota] of one principal leaves slots to the others', async () => {
    const w = await world({ quotas: { attempts: 8 } });
    whenEnded(({ delivery }) =>
      delivery.key === 'bob' ? response(200) : new Promise<never>(() => undefined),
    )(w);
    for (let n = 0; n < 20; n += 1) await subscribed(w, `ann-${n}`);
    await subscribed(w, 'bob', bob);
    await w.engine.remove('tick');
    await w.pass(SECOND);
    const keys = notices(w).map(({ delivery }) => delivery.key);
    assert.ok(keys.includes('bob'), `sent: ${keys.join()}`);
    assert.ok(keys.length < 8, `in flight: ${keys.length}`);
    await w.close();
  });

  test('of many subscriptions are all sent', async () => {
    const w = await world();
    whenEnded((_, nth) => (nth % 7 === 0 ? response(500) : response(200)))(w);
    for (let n = 0; n < 200; n += 1) await subscribed(w, `k${n}`);
    await w.engine.remove('tick');
    await w.pass(5 * MINUTE);
    assert.equal(new Set(notices(w).map(({ delivery }) => delivery.key)).size, 200);
    assert.deepEqual(await w.inner.dueNotices(w.clock.now() + DAY, 500, []), []);
    await w.close();
  });

  test('is awaited by close, and not started after it', async () => {
    const w = await world();
    let answer = (_: OutboundResult): void => undefined;
    whenEnded(
      () =>
        new Promise((resolve) => {
          answer = resolve;
        }),
    )(w);
    await subscribed(w);
    await revoke(w);
    await turns();
    let closed = false;
    const closing = w.engine.close().then(() => {
      closed = true;
    });
    await turns();
    assert.equal(closed, false);
    answer(response(200));
    await turns();
    await closing;
    assert.equal(w.meddled.commits.flat().filter(({ type }) => type === 'noticed').length, 1);
  });
});

describe('[end-callback] a termination notice and the store', () => {
  test('is not sent when the commit of the end fails, and sent when the end succeeds later', async () => {
    const w = await world();
    await subscribed(w);
    w.meddled.refuse = (writes) => (writes.some(({ type }) => type === 'end') ? broken() : null);
    await assert.rejects(revoke(w));
    await w.pass(5 * SECOND);
    assert.equal(notices(w).length, 0);
    w.meddled.refuse = () => null;
    await revoke(w);
    await w.pass(SECOND);
    assert.equal(notices(w).length, 1);
    await w.close();
  });

  for (const [name, error] of [
    ['a full', full],
    ['a failing', broken],
  ] as const)
    test(`is repeated while ${name} store rejects its outcome, at most once per second`, async () => {
      const w = await world();
      await subscribed(w);
      let rejecting = true;
      w.meddled.refuse = (writes) =>
        rejecting && writes.some(({ type }) => type === 'noticed') ? error() : null;
      await revoke(w);
      await w.pass(10 * SECOND);
      const count = notices(w).length;
      assert.ok(count >= 2 && count <= 11, `${count} notices in 10 s`);
      rejecting = false;
      await w.pass(10 * SECOND);
      const after = notices(w).length;
      await w.pass(HOUR);
      assert.equal(notices(w).length, after);
      await w.close();
    });

  test('survives a process that is killed', async (t) => {
    const path = place(t);
    const first = await world({ path });
    whenEnded(() => response(503))(first);
    await subscribed(first);
    await revoke(first);
    await first.pass(SECOND / 10);
    assert.ok(notices(first).length > 0);
    await kill(first);
    const second = await world({ path, clock: first.clock });
    await second.pass(10 * MINUTE);
    assert.deepEqual(
      notices(second).map(({ delivery }) => delivery.terminated),
      [{ reason: 'revoked' }],
    );
    await second.pass(HOUR);
    assert.equal(notices(second).length, 1);
    await second.close();
  });

  for (const side of ['before', 'after'] as const)
    test(`survives a kill ${side} any of its commits`, async (t) => {
      for (let victim = 1; ; victim += 1) {
        const path = place(t);
        const first = await world({ path });
        whenEnded((_, nth) => (nth < 3 ? response(503) : response(200)))(first);
        await subscribed(first);
        let commits = 0;
        first.meddled[side] = () => {
          if ((commits += 1) === victim) first.meddled.dead = true;
        };
        void revoke(first).catch(() => undefined);
        await first.pass(20 * SECOND);
        const isTaken = notices(first).length === 3;
        if (commits < victim) {
          assert.ok(isTaken && victim > 3, `${victim} commits, ${notices(first).length} notices`);
          await first.close();
          return;
        }
        await kill(first);
        const second = await world({ path, clock: first.clock });
        await revoke(second);
        await second.pass(20 * SECOND);
        const after = notices(second).length;
        assert.ok(after === 1 || (after === 0 && isTaken), `commit ${victim}: ${after} notices`);
        await second.close();
      }
    });

  test('[cb-one-lease] waits after a kill for the lease of the attempt that was under way', async (t) => {
    const path = place(t);
    const first = await world({ path });
    first.endpoints.answer = () => new Promise<never>(() => undefined);
    await subscribed(first);
    await first.emit(1);
    await turns();
    await revoke(first);
    await kill(first);
    const second = await world({ path, clock: first.clock });
    await second.pass(15 * SECOND);
    assert.equal(notices(second).length, 0);
    await second.pass(10 * SECOND);
    assert.equal(notices(second).length, 1);
    await second.close();
  });

  test('is sent when the server starts without the trigger type', async (t) => {
    const path = place(t);
    const first = await world({ path });
    await subscribed(first);
    await first.close();
    const second = await world({ path, clock: first.clock, triggers: [] });
    await second.pass(SECOND);
    assert.deepEqual(
      notices(second).map(({ delivery }) => delivery.terminated),
      [{ reason: 'trigger_removed' }],
    );
    await second.close();
  });
});
