/** Tests stream and pull: window, heartbeats, waiting, and how they end. */
import { describe, test } from 'vitest';
import assert from 'node:assert/strict';
import type { Delivery } from '../../../spec-schema/draft/schema.ts';
import {
  ann,
  listen,
  MINUTE,
  numbers,
  position,
  refusal,
  SECOND,
  tick,
  turns,
  world,
} from './harness.ts';

type Pulled = Delivery & { hasMore: boolean; nextPollMs: number };
type W = Awaited<ReturnType<typeof world>>;
const select = [{ name: 'tick' }];
const pull = async (w: W, subscriptionId: string, more: object = {}, signal?: AbortSignal) =>
  (await w.engine.pull(ann, { subscriptionId, ...more }, signal)) as Pulled;

async function subscribed(options: Parameters<typeof world>[0] = {}) {
  const w = await world(options);
  const { subscriptionId, epoch } = await w.engine.subscribe(ann, { key: 'k', select });
  return {
    ...w,
    subscriptionId,
    epoch,
    ack: (sequence: number) =>
      w.engine.ack(ann, { subscriptionId, position: position(epoch, sequence) }),
  };
}

describe('a stream', () => {
  test('[stream-first stream-continues ack-only-said cb-start] sends a delivery at once and continues from there', async () => {
    const w = await subscribed();
    const stream = listen(w.engine, ann, { subscriptionId: w.subscriptionId });
    await turns();
    assert.deepEqual(
      stream.deliveries.map(({ afterSequence: after, events }) => [after, events]),
      [[0, []]],
    );
    for (let n = 1; n <= 3; n += 1) {
      await w.emit(n);
      await turns();
    }
    assert.deepEqual(
      stream.deliveries.map(({ afterSequence: after, events, acked, head }) => [
        after,
        events.length,
        acked,
        head,
      ]),
      [
        [0, 0, 0, 0],
        [0, 1, 0, 1],
        [1, 1, 0, 2],
        [2, 1, 0, 3],
      ],
    );
    const again = listen(w.engine, ann, {
      subscriptionId: w.subscriptionId,
      after: position(w.epoch, 2),
    });
    await turns();
    assert.deepEqual(
      again.deliveries.map(({ afterSequence: after, events }) => [after, events.length]),
      [[2, 1]],
    );
    for (const { abort, ended } of [stream, again]) {
      abort.abort();
      await ended;
    }
    assert.equal((await w.engine.health()).streams, 0);
    await w.close();
  });

  test('[stream-window stream-several] never has more events in flight than its window', async () => {
    const w = await subscribed();
    const narrow = listen(w.engine, ann, {
      subscriptionId: w.subscriptionId,
      window: { events: 3, bytes: 1_000_000 },
    });
    const wide = listen(w.engine, ann, { subscriptionId: w.subscriptionId });
    await w.emitAll(1, 10);
    await turns();
    assert.deepEqual(narrow.deliveries.flatMap(numbers), [1, 2, 3]);
    assert.deepEqual(wide.deliveries.flatMap(numbers).length, 10);
    await w.ack(2);
    await turns();
    assert.deepEqual(narrow.deliveries.flatMap(numbers), [1, 2, 3, 4, 5]);
    await w.ack(5);
    await turns();
    assert.deepEqual(narrow.deliveries.flatMap(numbers), [1, 2, 3, 4, 5, 6, 7, 8]);
    await w.close();
  });

  test('[stream-window] never has more bytes in flight, except for one event when nothing else is', async () => {
    const w = await subscribed();
    const stream = listen(w.engine, ann, {
      subscriptionId: w.subscriptionId,
      window: { events: 100, bytes: 10_000 },
    });
    for (let n = 1; n <= 4; n += 1) await w.emit(n, { text: 'x'.repeat(4_000) });
    await w.emit(5, { text: 'x'.repeat(50_000) });
    await turns();
    assert.deepEqual(stream.deliveries.flatMap(numbers), [1, 2]);
    await w.ack(2);
    await turns();
    assert.deepEqual(stream.deliveries.flatMap(numbers), [1, 2, 3, 4]);
    await w.ack(3);
    await turns();
    assert.deepEqual(stream.deliveries.flatMap(numbers), [1, 2, 3, 4]);
    await w.ack(4);
    await turns();
    assert.deepEqual(stream.deliveries.flatMap(numbers), [1, 2, 3, 4, 5]);
    await w.close();
  });

  test('[stream-heartbeat dlv-coverage stream-changed] is never silent for more than 15 seconds', async () => {
    const w = await subscribed();
    const at: number[] = [];
    await w.pass(400);
    listen(w.engine, ann, { subscriptionId: w.subscriptionId }, async () => {
      at.push(w.clock.now());
    });
    await w.pass(2 * MINUTE);
    const silences = at.slice(1).map((now, index) => now - at[index]!);
    assert.ok(silences.length >= 7 && silences.length < 12);
    assert.ok(Math.max(...silences) <= 15 * SECOND, String(silences));
    const before = at.length;
    await w.engine.update(ann, { subscriptionId: w.subscriptionId, paused: true });
    await turns();
    assert.equal(at.length, before + 1, 'a change is reported at once');
    await w.close();
  });

  test('[stream-stalled] stays open while its window is full, however long its client works on one event', async () => {
    const w = await subscribed();
    const stream = listen(w.engine, ann, {
      subscriptionId: w.subscriptionId,
      window: { events: 2, bytes: 1_000_000 },
    });
    await w.emitAll(1, 5);
    for (let minute = 0; minute < 10; minute += 1) await w.pass(MINUTE);
    assert.equal((await w.engine.health()).streams, 1);
    assert.deepEqual(stream.deliveries.flatMap(numbers), [1, 2]);
    await w.ack(2);
    await turns();
    assert.deepEqual(stream.deliveries.flatMap(numbers), [1, 2, 3, 4]);
    await w.close();
  });

  test('[stream-stalled] stays open while a client that reads slowly acknowledges on another connection, also without progress', async () => {
    const w = await subscribed();
    const stream = listen(
      w.engine,
      ann,
      { subscriptionId: w.subscriptionId },
      () => new Promise(() => undefined),
    );
    await w.emit(1);
    await pull(w, w.subscriptionId);
    for (let times = 0; times < 4; times += 1) {
      await w.pass(50 * SECOND);
      await w.ack(1);
    }
    assert.equal((await w.engine.health()).streams, 1);
    await w.pass(MINUTE + 2 * SECOND);
    await stream.ended;
    await w.close();
  });

  test('[stream-unread stream-cancel] is cut when its client does not read, and released when the client cancels', async () => {
    const w = await subscribed();
    const unread = listen(
      w.engine,
      ann,
      { subscriptionId: w.subscriptionId },
      () => new Promise(() => undefined),
    );
    await w.emitAll(1, 5);
    await turns();
    assert.equal(unread.deliveries.length, 1, 'the second message waits for the first');
    await w.pass(MINUTE + 2 * SECOND);
    await unread.ended;
    const canceled = listen(
      w.engine,
      ann,
      { subscriptionId: w.subscriptionId },
      () => new Promise(() => undefined),
    );
    await turns();
    canceled.abort.abort();
    await canceled.ended;
    assert.equal((await w.engine.health()).streams, 0);
    await w.close();
  });

  test('ends with the error of a lost connection', async () => {
    const w = await subscribed();
    const stream = listen(w.engine, ann, { subscriptionId: w.subscriptionId }, async () => {
      throw new Error('gone');
    });
    await assert.rejects(stream.ended, /gone/);
    assert.equal((await w.engine.health()).streams, 0);
    await w.close();
  });

  test('[lim-quota-named lim-quota] counts against a quota only while it is open', async () => {
    const w = await subscribed({ quotas: { streamsPerPrincipal: 2 } });
    const open = [1, 2].map(() => listen(w.engine, ann, { subscriptionId: w.subscriptionId }));
    await turns();
    const third = () =>
      w.engine.stream(
        ann,
        { subscriptionId: w.subscriptionId },
        { send: async () => undefined },
        new AbortController().signal,
      );
    assert.deepEqual((await refusal(third())).data, { kind: 'limit', limit: 'streams', max: 2 });
    open[0]!.abort.abort();
    await open[0]!.ended;
    listen(w.engine, ann, { subscriptionId: w.subscriptionId });
    await turns();
    assert.equal((await w.engine.health()).streams, 2);
    await w.close();
  });
});

describe('a pull', () => {
  test('[pull-after ack-only-said pull-max pull-has-more pull-ack-first] reads the requested range', async () => {
    const w = await subscribed();
    await w.emitAll(1, 5);
    const one = await pull(w, w.subscriptionId, { maxEvents: 2 });
    assert.deepEqual(
      [one.afterSequence, numbers(one), one.hasMore, one.nextPollMs, one.acked],
      [0, [1, 2], true, 0, 0],
    );
    const two = await pull(w, w.subscriptionId, { ack: position(w.epoch, 2) });
    assert.deepEqual(
      [two.afterSequence, numbers(two), two.hasMore, two.nextPollMs, two.acked],
      [2, [3, 4, 5], false, 5000, 2],
    );
    const zero = await pull(w, w.subscriptionId, {
      ack: position(w.epoch, 5),
      maxEvents: 0,
      waitMs: 20_000,
    });
    assert.deepEqual(
      [zero.afterSequence, numbers(zero), zero.acked, zero.hasMore],
      [5, [], 5, false],
    );
    const back = await pull(w, w.subscriptionId, { after: position(w.epoch, 3) });
    assert.deepEqual([back.afterSequence, numbers(back)], [3, [4, 5]]);
    await w.close();
  });

  test('[pull-bytes pull-clamp] stays within a mebibyte, with at least one event', async () => {
    const w = await subscribed();
    for (let n = 1; n <= 6; n += 1) await w.emit(n, { text: 'x'.repeat(240_000) });
    const one = await pull(w, w.subscriptionId);
    assert.deepEqual([numbers(one), one.hasMore], [[1, 2, 3, 4], true]);
    await w.emitAll(7, 1500);
    const most = await pull(w, w.subscriptionId, { after: position(w.epoch, 6), maxEvents: 5000 });
    assert.equal(numbers(most).length, 1000);
    await w.close();
  });

  test('[pull-wait] waits for the first number, for the time to pass, or for its caller to leave', async () => {
    const w = await subscribed();
    const order: string[] = [];
    const waiting = pull(w, w.subscriptionId, { waitMs: 20_000 }).then((answer) => {
      order.push(`answered ${numbers(answer).join()}`);
    });
    await w.pass(5 * SECOND);
    order.push('emitted');
    await w.emit(1);
    await waiting;
    assert.deepEqual(order, ['emitted', 'answered 1']);
    const start = w.clock.now();
    let ended = 0;
    const empty = pull(w, w.subscriptionId, { after: position(w.epoch, 1), waitMs: 20_000 }).then(
      (answer) => {
        ended = w.clock.now();
        return answer;
      },
    );
    await w.pass(25 * SECOND);
    assert.deepEqual([numbers(await empty), ended - start], [[], 20_000]);
    const abort = new AbortController();
    const left = pull(
      w,
      w.subscriptionId,
      { after: position(w.epoch, 1), waitMs: 20_000 },
      abort.signal,
    );
    await turns();
    abort.abort();
    assert.deepEqual(numbers(await left), []);
    assert.equal((await w.engine.health()).streams, 0);
    await w.close();
  });

  test('[cap-levels] rejects a drain that the trigger type does not have', async () => {
    const w = await world({ triggers: [{ type: { ...tick.type, drains: ['pull'] } }] });
    const { subscriptionId } = await w.engine.subscribe(ann, { key: 'k', select });
    assert.deepEqual(
      (
        await refusal(
          w.engine.stream(
            ann,
            { subscriptionId },
            { send: async () => undefined },
            new AbortController().signal,
          ),
        )
      ).data,
      { kind: 'feature', feature: 'stream' },
    );
    assert.deepEqual(numbers(await pull(w, subscriptionId)), []);
    await w.close();
  });

  test('[subs-permission subs-unknown-trigger] checks the permission each time, and hides a type that the caller may not see', async () => {
    let allowed = true;
    let visible = true;
    const w = await world({ authorize: () => allowed, visible: () => visible });
    const { subscriptionId } = await w.engine.subscribe(ann, { key: 'k', select });
    allowed = false;
    for (const call of [
      pull(w, subscriptionId),
      w.engine.stream(
        ann,
        { subscriptionId },
        { send: async () => undefined },
        new AbortController().signal,
      ),
    ]) {
      assert.deepEqual((await refusal(call)).data, { kind: 'permission' });
    }
    visible = false;
    const hidden = await refusal(pull(w, subscriptionId));
    assert.deepEqual([hidden.code, hidden.data], [-32023, { kind: 'trigger' }]);
    await w.close();
  });
});

describe('closing', () => {
  test('[stream-end] ends waiting calls, lets attempts in flight be answered, and accepts nothing more', async () => {
    const w = await subscribed();
    const callback = {
      url: 'https://hooks.example/in',
      secret: `whsec_${Buffer.alloc(32, 1).toString('base64')}`,
    };
    const called = await w.engine.subscribe(ann, { key: 'called', select, callback });
    let answered = false;
    w.endpoints.answer = async ({ delivery }) => {
      await new Promise<void>((resolve) => {
        w.clock.after(5 * SECOND, resolve);
      });
      answered = true;
      return {
        kind: 'response',
        status: 200,
        contentType: null,
        retryAfter: null,
        body: Buffer.from(JSON.stringify({ ackSequence: delivery.events.at(-1)!.sequence })),
      };
    };
    await w.emit(1);
    await turns();
    const stream = listen(w.engine, ann, { subscriptionId: w.subscriptionId });
    const waiting = pull(w, w.subscriptionId, { after: position(w.epoch, 1), waitMs: 25_000 });
    await turns();
    const closed = w.engine.close();
    assert.equal(w.engine.close(), closed);
    await stream.ended;
    assert.deepEqual(numbers(await waiting), []);
    assert.equal(answered, false);
    await w.pass(6 * SECOND);
    await closed;
    assert.equal(answered, true);
    await assert.rejects(w.engine.get(ann, { subscriptionId: called.subscriptionId }), {
      code: 'closed',
    });
    await assert.rejects(w.emit(2), { code: 'closed' });
    assert.equal((await w.engine.health()).status, 'closed');
  });
});
