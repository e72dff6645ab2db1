/** Tests of a callback's limits: events, bytes and requests, and the wait for more events. */
import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, test } from 'vitest';
import type { CallbackLimits } from '../../../spec-schema/draft/schema.ts';
import {
  ann,
  CALLBACK,
  kill,
  MINUTE,
  numbers,
  refusal,
  response,
  SECOND,
  turns,
  world,
  type World,
  type WorldOptions,
} from '../engine/harness.ts';

/** A subscription with these limits. */
async function limited(limits: CallbackLimits, options: WorldOptions = {}) {
  const w = await world(options);
  const subscription = await w.engine.subscribe(ann, {
    key: 'k',
    select: [{ name: 'tick' }],
    callback: { ...CALLBACK, limits },
  });
  return { w, subscription, subscriptionId: subscription.subscriptionId };
}

/** Emits events while the callback is paused, so that they are sent as the limits allow. */
async function load(w: World, subscriptionId: string, count: number, data: object = {}) {
  await w.engine.update(ann, { subscriptionId, paused: true });
  await w.emitAll(1, count, data);
  await w.engine.update(ann, { subscriptionId, paused: false });
  await turns();
}

describe('the limits of a callback', () => {
  test('are a parameter of the callback: shown, compared and part of the ETag [cb-limits] [etag-config]', async () => {
    const { w, subscription, subscriptionId } = await limited({ maxEvents: 3, lingerMs: 5 });
    assert.deepEqual(subscription.callback?.limits, { maxEvents: 3, lingerMs: 5 });
    const again = (limits?: CallbackLimits) =>
      w.engine.subscribe(ann, {
        key: 'k',
        select: [{ name: 'tick' }],
        callback: { ...CALLBACK, ...(limits === undefined ? {} : { limits }) },
      });
    const same = await again({ lingerMs: 5, maxEvents: 3 });
    assert.deepEqual([same.created, same.etag], [false, subscription.etag]);
    for (const other of [undefined, {}, { maxEvents: 3 }, { maxEvents: 4, lingerMs: 5 }])
      assert.equal((await refusal(again(other))).data['kind'], 'key');
    const update = (limits?: CallbackLimits) =>
      w.engine.update(ann, {
        subscriptionId,
        callback: { ...CALLBACK, ...(limits === undefined ? {} : { limits }) },
      });
    const changed = await update({ maxBytes: 2048 });
    assert.deepEqual(changed.callback?.limits, { maxBytes: 2048 });
    assert.notEqual(changed.etag, subscription.etag);
    const none = await update({});
    assert.equal(none.callback?.limits, undefined);
    assert.equal((await update()).etag, none.etag);
    // Only the first callback was new.
    assert.equal(w.endpoints.challenges.length, 1);
    await w.close();
  });

  test('at most maxEvents events are in one request [cb-limits]', async () => {
    const { w, subscriptionId } = await limited({ maxEvents: 3 });
    await load(w, subscriptionId, 8);
    assert.deepEqual(w.endpoints.numbers, [
      [1, 2, 3],
      [4, 5, 6],
      [7, 8],
    ]);
    await w.close();
  });

  test('at most maxBytes bytes are in one body; a larger event is sent alone [cb-limits]', async () => {
    for (const maxBytes of [1024, 2000, 5000, 20_000]) {
      const { w, subscriptionId } = await limited({ maxBytes });
      await w.engine.update(ann, { subscriptionId, paused: true });
      for (let n = 1; n <= 30; n += 1) await w.emit(n, { pad: 'x'.repeat((n * 137) % 1500) });
      await w.emit(31, { pad: 'x'.repeat(30_000) });
      await w.emit(32);
      for (const n of [3, 4, 7, 31 - 2]) await w.engine.redact({ name: 'tick', eventId: `e${n}` });
      await w.engine.settled();
      await w.engine.update(ann, { subscriptionId, paused: false });
      await turns(400);
      const covered = w.endpoints.requests.flatMap(({ delivery }) => [
        ...numbers(delivery),
        ...(delivery.gaps ?? []).flatMap(({ from, to }) =>
          Array.from({ length: to - from + 1 }, (_, at) => from + at),
        ),
      ]);
      assert.deepEqual(
        covered.toSorted((a, b) => a - b),
        Array.from({ length: 32 }, (_, at) => at + 1),
      );
      for (const { body, delivery } of w.endpoints.requests)
        assert.ok(
          body.byteLength <= maxBytes ||
            (delivery.events.length === 1 && delivery.gaps === undefined),
          `${body.byteLength} bytes with ${delivery.events.length} events`,
        );
      // The requests are as large as the limit allows: two neighbors never fit into one.
      const sizes = w.endpoints.requests.map(({ body }) => body.byteLength);
      for (let at = 1; at < sizes.length; at += 1)
        assert.ok(sizes[at]! + sizes[at - 1]! > maxBytes, `requests of ${sizes.join(', ')} bytes`);
      await w.close();
    }
  });

  test('at most maxPerMinute requests start in any minute; challenges and retries count [cb-limits]', async () => {
    const { w, subscriptionId } = await limited({ maxEvents: 1, maxPerMinute: 4 });
    let answers = 0;
    w.endpoints.answer = ({ delivery }) => {
      answers += 1;
      return answers % 3 === 0
        ? response(503)
        : response(200, { ackSequence: delivery.afterSequence + 1 });
    };
    await load(w, subscriptionId, 20);
    await w.pass(8 * MINUTE);
    const sent = [...w.endpoints.challenges, ...w.endpoints.requests].map(({ at }) => at);
    assert.equal(w.endpoints.requests.length, 29, 'one of three requests fails');
    for (let at = 4; at < sent.length; at += 1)
      assert.ok(sent[at]! - sent[at - 4]! >= MINUTE, `request ${at}`);
    assert.equal((await w.engine.get(ann, { subscriptionId })).acked, 20);
    await w.close();
  });

  test('rejects a call that has to challenge beyond maxPerMinute, with the time to repeat it [cb-limits]', async () => {
    const { w, subscriptionId } = await limited({ maxPerMinute: 1 });
    const secret = `whsec_${Buffer.alloc(32, 2).toString('base64')}`;
    const update = () =>
      w.engine.update(ann, {
        subscriptionId,
        callback: { url: CALLBACK.url, secret, limits: { maxPerMinute: 1 } },
      });
    const { data } = await refusal(update());
    assert.deepEqual(data, {
      kind: 'limit',
      limit: 'callback_requests',
      max: 1,
      retryAfterMs: MINUTE,
    });
    assert.equal(w.endpoints.challenges.length, 1);
    await w.pass(MINUTE);
    w.endpoints.prove = (request) => response(200, w.endpoints.proof(request, secret));
    await update();
    assert.equal(w.endpoints.challenges.length, 2);
    await w.close();
  });

  test('a limit that an update sets holds for the minute that has begun [cb-limits]', async () => {
    const { w, subscriptionId } = await limited({ maxEvents: 1 });
    await load(w, subscriptionId, 3);
    assert.equal(w.endpoints.requests.length, 3);
    await w.engine.update(ann, {
      subscriptionId,
      callback: { ...CALLBACK, limits: { maxEvents: 1, maxPerMinute: 3 } },
    });
    await w.emit(4);
    await w.pass(MINUTE - 1);
    assert.equal(w.endpoints.requests.length, 3);
    await w.pass(1);
    assert.equal(w.endpoints.requests.length, 4);
    await w.close();
  });

  test('the termination notice waits for its turn [cb-limits]', async () => {
    const { w } = await limited({ maxPerMinute: 1 });
    await w.engine.terminate({ principal: ann.principal }, 'revoked');
    await w.pass(MINUTE - 1);
    assert.equal(w.endpoints.requests.length, 0);
    await w.pass(1);
    assert.equal(w.endpoints.requests[0]?.delivery.terminated?.reason, 'revoked');
    await w.close();
  });

  test('after a restart, a limited callback waits a minute [cb-limits]', async () => {
    const folder = mkdtempSync(join(tmpdir(), 'limits-'));
    try {
      const path = join(folder, 'triggers.db');
      const { w, subscriptionId } = await limited({ maxPerMinute: 5 }, { path });
      await load(w, subscriptionId, 1);
      await w.engine.update(ann, { subscriptionId, paused: true });
      await w.emitAll(2, 2);
      await kill(w);
      await w.clock.run(10);
      const after = await world({ path, clock: w.clock });
      const shown = await after.engine.update(ann, { subscriptionId, paused: false });
      assert.deepEqual(shown.callback?.limits, { maxPerMinute: 5 });
      await after.pass(MINUTE - 1);
      assert.deepEqual(after.endpoints.numbers, []);
      await after.pass(1);
      assert.deepEqual(after.endpoints.numbers, [[2]]);
      await after.close();
    } finally {
      rmSync(folder, { recursive: true, force: true });
    }
  });
});

describe('lingerMs', () => {
  test('waits from the oldest event until the batch is full or the time is over [cb-linger]', async () => {
    const { w } = await limited({ maxEvents: 3, lingerMs: 5 * SECOND });
    await w.emit(1);
    await w.pass(3 * SECOND);
    await w.emit(2);
    await w.pass(2 * SECOND - 1);
    assert.deepEqual(w.endpoints.numbers, []);
    await w.pass(1);
    assert.deepEqual(w.endpoints.numbers, [[1, 2]]);
    await w.pass(20 * SECOND);
    await w.emit(3);
    await w.emit(4);
    await w.pass(SECOND);
    assert.deepEqual(w.endpoints.numbers, [[1, 2]]);
    await w.emit(5);
    await turns();
    assert.deepEqual(w.endpoints.numbers, [
      [1, 2],
      [3, 4, 5],
    ]);
    await w.emitAll(6, 9);
    await turns();
    assert.deepEqual(w.endpoints.numbers.slice(2), [[6, 7, 8]]);
    await w.pass(5 * SECOND);
    assert.deepEqual(w.endpoints.numbers.slice(2), [[6, 7, 8], [9]]);
    await w.close();
  });

  test('does not delay a batch that maxBytes fills, nor a delivery of gaps alone [cb-linger]', async () => {
    const { w } = await limited({ maxBytes: 1500, lingerMs: MINUTE });
    await w.emit(1, { pad: 'x'.repeat(600) });
    await turns();
    assert.deepEqual(w.endpoints.numbers, []);
    await w.emit(2, { pad: 'x'.repeat(600) });
    await turns();
    assert.deepEqual(w.endpoints.numbers, [[1]]);
    await w.pass(MINUTE);
    assert.deepEqual(w.endpoints.numbers, [[1], [2]]);
    await w.engine.emit({ name: 'tick', gap: 'unwatched' });
    await turns();
    assert.equal(w.endpoints.requests[2]?.delivery.gaps?.[0]?.reason, 'unwatched');
    await w.close();
  });

  test('ends at once when an update removes it [cb-linger]', async () => {
    const { w, subscriptionId } = await limited({ lingerMs: MINUTE });
    await w.emit(1);
    await w.pass(SECOND);
    assert.deepEqual(w.endpoints.numbers, []);
    await w.engine.update(ann, { subscriptionId, callback: CALLBACK });
    await turns();
    assert.deepEqual(w.endpoints.numbers, [[1]]);
    await w.close();
  });

  test('counts from the acceptance of the event, also over a restart [cb-linger]', async () => {
    const folder = mkdtempSync(join(tmpdir(), 'limits-'));
    try {
      const path = join(folder, 'triggers.db');
      const { w } = await limited({ lingerMs: MINUTE }, { path });
      await w.emit(1);
      await w.pass(20 * SECOND);
      await kill(w);
      const after = await world({ path, clock: w.clock });
      await after.pass(40 * SECOND - 1);
      assert.deepEqual(after.endpoints.numbers, []);
      await after.pass(1);
      assert.deepEqual(after.endpoints.numbers, [[1]]);
      await after.close();
    } finally {
      rmSync(folder, { recursive: true, force: true });
    }
  });
});
