/**
 * Tests the log: an event is accepted once, numbered in order in every matching log, trimmed with a
 * gap, and the same on every drain.
 */
import { describe, test } from 'vitest';
import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Delivery, Subscription } from '../../../spec-schema/draft/schema.ts';
import {
  ann,
  bob,
  CALLBACK,
  DAY,
  HOUR,
  kill,
  listen,
  MINUTE,
  numbers,
  position,
  refusal,
  response,
  tick,
  turns,
  world,
} from './harness.ts';

type Pulled = Delivery & { hasMore: boolean; nextPollMs: number };
type W = Awaited<ReturnType<typeof world>>;
const select = [{ name: 'tick' }];
const pull = async (w: W, subscriptionId: string, more: object = {}) =>
  (await w.engine.pull(ann, { subscriptionId, ...more })) as Pulled;
const get = async (w: W, subscriptionId: string) =>
  (await w.engine.get(ann, { subscriptionId })) as Subscription;

describe('accepting', () => {
  test('[log-once log-event-id] reports an event that comes twice as a duplicate, and gives it no second number', async () => {
    const w = await world();
    const { subscriptionId } = await w.engine.subscribe(ann, {
      key: 'k',
      select: [{ name: 'tick' }, { name: 'tock' }],
      ttlMs: 30 * DAY,
    });
    const together = await Promise.all([w.emit(1), w.emit(1), w.emit(2)]);
    assert.deepEqual(
      together.map(({ duplicate }) => duplicate),
      [false, true, false],
    );
    const numbered = async (): Promise<string[]> =>
      (await pull(w, subscriptionId)).events.map(
        ({ sequence, name, eventId }) => `${sequence} ${name} ${eventId}`,
      );
    assert.deepEqual(await numbered(), ['1 tick e1', '2 tick e2']);
    // Retention trims the two, but the accept log still has their identifiers.
    await w.pass(2 * DAY);
    assert.equal((await w.emit(1, {}, 'tick')).duplicate, true);
    assert.equal(
      (await w.emit(1, {}, 'tock')).duplicate,
      false,
      'another type has its own identifiers',
    );
    const random = await Promise.all([
      w.engine.emit({ name: 'tick', data: {} }),
      w.engine.emit({ name: 'tick', data: {} }),
    ]);
    assert.notEqual(random[0].eventId, random[1].eventId);
    assert.deepEqual(await numbered(), [
      '3 tock e1',
      `4 tick ${random[0].eventId}`,
      `5 tick ${random[1].eventId}`,
    ]);
    await w.close();
  });

  test('[log-once] equal identifiers of two sources are two events, and the same source repeats its own', async () => {
    const w = await world();
    const { subscriptionId } = await w.engine.subscribe(ann, { key: 'k', select });
    const from = (scope: string | undefined, n: number) =>
      w.engine.emit({
        name: 'tick',
        eventId: '42',
        data: { n },
        ...(scope === undefined ? {} : { scope }),
      });
    const together = await Promise.all([
      from('tenant-a', 1),
      from('tenant-b', 2),
      from(undefined, 3),
    ]);
    assert.deepEqual(
      together.map(({ duplicate }) => duplicate),
      [false, false, false],
    );
    const again = [await from('tenant-b', 4), await from(undefined, 5), await from('tenant-c', 6)];
    assert.deepEqual(
      again.map(({ duplicate }) => duplicate),
      [true, true, false],
    );
    assert.deepEqual(
      (await pull(w, subscriptionId)).events.map(({ eventId, data }) => [eventId, data]),
      [1, 2, 3, 6].map((n) => ['42', { n }]),
    );
    assert.equal(await w.engine.redact({ scope: 'tenant-b', name: 'tick', eventId: '42' }), true);
    assert.equal(await w.engine.redact({ scope: 'tenant-d', name: 'tick', eventId: '42' }), false);
    const { events, gaps } = await pull(w, subscriptionId);
    assert.deepEqual(
      [numbers({ events }), gaps],
      [[1, 3, 4], [{ from: 2, to: 2, reason: 'redacted' }]],
    );
    for (const scope of ['', 'x'.repeat(257), '\ud800'])
      await assert.rejects(from(scope, 7), (error: { code?: string }) =>
        ['payload_invalid', 'json_refused'].includes(error.code ?? ''),
      );
    await w.close();
  });

  test('[log-event-id] rejects an event that has no type, no usable identifier or no usable timestamp', async () => {
    const w = await world();
    const cases: readonly [object, string][] = [
      [{ name: 'nothing', data: {} }, 'trigger_unknown'],
      [{ name: 'tick', data: {}, timestamp: 'yesterday' }, 'payload_invalid'],
      [{ name: 'tick', data: {}, timestamp: 'March 7' }, 'payload_invalid'],
      [{ name: 'tick', data: {}, timestamp: '2026-11-21' }, 'payload_invalid'],
      [{ name: 'tick', data: {}, timestamp: 8e15 }, 'payload_invalid'],
      [{ name: 'tick', data: {}, timestamp: NaN }, 'payload_invalid'],
      [{ name: 'tick', eventId: '\ud800', data: {} }, 'json_refused'],
    ];
    for (const [event, code] of cases)
      await assert.rejects(w.engine.emit(event as Parameters<typeof w.engine.emit>[0]), { code });
    assert.equal((await w.inner.stats()).events, 0);
    await w.close();
  });

  test('[sub-union log-contiguous log-all-matching] numbers each log by its own selections', async () => {
    const w = await world({
      triggers: [
        tick,
        {
          type: { ...tick.type, name: 'even' },
          match: (_args, data: never) => (data as { n: number }).n % 2 === 0,
        },
      ],
    });
    const make = async (
      key: string,
      ...selections: { name: string; arguments?: Record<string, unknown> }[]
    ) => (await w.engine.subscribe(ann, { key, select: selections })).subscriptionId;
    const all = await make('all', { name: 'tick' }, { name: 'tick', arguments: { topic: 'red' } });
    const red = await make('red', { name: 'tick', arguments: { topic: 'red' } });
    const even = await make('even', { name: 'even' });
    for (let n = 1; n <= 6; n += 1) {
      await w.emit(n, { topic: n % 3 === 0 ? 'red' : 'blue' });
      await w.emit(n + 10, {}, 'even');
    }
    const ids = async (id: string) =>
      (await pull(w, id)).events.map(({ sequence, eventId }) => `${sequence} ${eventId}`);
    assert.deepEqual(await ids(all), ['1 e1', '2 e2', '3 e3', '4 e4', '5 e5', '6 e6']);
    assert.deepEqual(await ids(red), ['1 e3', '2 e6']);
    assert.deepEqual(await ids(even), ['1 e12', '2 e14', '3 e16']);
    await w.close();
  });
});

describe('many subscriptions', () => {
  test('[log-contiguous log-all-matching] one event for 10,000 subscriptions blocks no other call', async () => {
    const w = await world({ quotas: { subscriptionsPerPrincipal: 20_000 } });
    const made: { subscriptionId: string }[] = [];
    for (let at = 0; at < 10_000; at += 500) {
      made.push(
        ...(await Promise.all(
          Array.from({ length: 500 }, (_, n) =>
            w.engine.subscribe(ann, { key: `k${at + n}`, select }),
          ),
        )),
      );
    }
    const quick = await w.engine.subscribe(ann, { key: 'quick', select: [{ name: 'tock' }] });
    const order: string[] = [];
    const entries: number[] = [];
    w.meddled.after = (writes) => {
      entries.push(writes.filter(({ type }) => type === 'entry').length);
    };
    const accepted = w.emit(1).then(() => order.push('accepted'));
    await accepted;
    const numbered = w.engine.settled().then(() => order.push('numbered everywhere'));
    const served = (async () => {
      await w.emit(2, {}, 'tock');
      order.push('another accepted');
      await w.engine.ack(ann, {
        subscriptionId: quick.subscriptionId,
        position: position(quick.epoch, 0),
      });
      order.push('acknowledged');
      assert.deepEqual(numbers(await pull(w, made[9_999]!.subscriptionId)), []);
      order.push('pulled');
    })();
    await Promise.all([numbered, served]);
    assert.deepEqual(order, [
      'accepted',
      'another accepted',
      'acknowledged',
      'pulled',
      'numbered everywhere',
    ]);
    assert.ok(Math.max(...entries) <= 1024 + 1, 'no commit is longer than a chunk');
    for (const at of [0, 1023, 1024, 9_999])
      assert.deepEqual(
        (await pull(w, made[at]!.subscriptionId)).events.map(({ eventId }) => eventId),
        ['e1'],
      );
    assert.deepEqual(
      (await pull(w, quick.subscriptionId)).events.map(({ eventId }) => eventId),
      ['e2'],
    );
    await w.close();
  });

  test('[log-all-matching log-contiguous retry-restart] survive a crash between two chunks while subscriptions come and go', async () => {
    const directory = mkdtempSync(join(tmpdir(), 'triggers-engine-'));
    try {
      const path = join(directory, 'store.db');
      const first = await world({ path, sequencerChunk: 2 });
      const made: { subscriptionId: string }[] = [];
      for (let n = 0; n < 7; n += 1)
        made.push(await first.engine.subscribe(ann, { key: `k${n}`, select, ttlMs: DAY }));
      let chunks = 0;
      let late: Promise<{ subscriptionId: string }> | null = null;
      first.meddled.after = (writes) => {
        if (!writes.some(({ type }) => type === 'entry')) return;
        chunks += 1;
        if (chunks === 1) {
          late = first.engine.subscribe(ann, { key: 'late', select, ttlMs: DAY });
          late.catch(() => undefined);
          void first.engine.unsubscribe(ann, { subscriptionId: made[6]!.subscriptionId });
        }
        if (chunks === 2) first.meddled.dead = true;
      };
      await first.emit(1);
      await turns();
      assert.equal(chunks, 2);
      await kill(first);
      const second = await world({ path, clock: first.clock, seed: 2, sequencerChunk: 2 });
      await second.emit(2);
      await second.engine.settled();
      for (const { subscriptionId } of made.slice(0, 6))
        assert.deepEqual(
          (await pull(second, subscriptionId)).events.map(
            ({ sequence, eventId }) => `${sequence} ${eventId}`,
          ),
          ['1 e1', '2 e2'],
        );
      const { subscriptions } = await second.engine.subscriptions(ann, {});
      const newcomer = subscriptions.find(({ key }) => key === 'late');
      if (newcomer !== undefined)
        assert.deepEqual(
          (await pull(second, newcomer.subscriptionId)).events.map(({ eventId }) => eventId),
          ['e2'],
          'it was created after the first event',
        );
      assert.equal((await second.engine.health()).sequencerLag, 0);
      await second.close();
    } finally {
      rmSync(directory, { recursive: true, force: true });
    }
  });
});

describe('retention', () => {
  const small = { ...tick, type: { ...tick.type, retention: { maxAgeMs: HOUR, maxEvents: 50 } } };

  test('[gap-retention-announced gap-oldest pos-old-valid] by count leaves a gap of exactly the missing numbers', async () => {
    const w = await world({ triggers: [small] });
    const { subscriptionId, epoch } = await w.engine.subscribe(ann, { key: 'k', select });
    await w.emitAll(1, 60);
    await w.engine.ack(ann, { subscriptionId, position: position(epoch, 0) });
    await w.emitAll(61, 130);
    const { oldest, head } = await get(w, subscriptionId);
    assert.equal(head, 130);
    assert.ok(oldest > 1 && head - oldest + 1 >= 50);
    const all = await pull(w, subscriptionId, { maxEvents: 1000 });
    assert.deepEqual(
      [all.afterSequence, all.gaps, numbers(all)],
      [
        0,
        [{ from: 1, to: oldest - 1, reason: 'retention' }],
        Array.from({ length: head - oldest + 1 }, (_, at) => oldest + at),
      ],
    );
    const rest = await pull(w, subscriptionId, { after: position(epoch, 5), maxEvents: 1 });
    assert.deepEqual(
      [rest.gaps, numbers(rest), rest.hasMore],
      [[{ from: 6, to: oldest - 1, reason: 'retention' }], [oldest], true],
    );
    await w.close();
  });

  test('[gap-retention-announced gap-oldest lim-quota lim-quota-named] by bytes leaves a gap, and the quota of an owner refuses another log', async () => {
    const maxBytes = 400_000;
    const wide = {
      ...tick,
      type: { ...tick.type, retention: { maxAgeMs: HOUR, maxEvents: 1000, maxBytes } },
    };
    const w = await world({
      triggers: [wide],
      quotas: { storedBytesPerPrincipal: 350_000 },
    });
    const made = await w.engine.subscribe(ann, { key: 'k', select });
    const { subscriptionId, epoch } = made;
    assert.deepEqual(made.retention, wide.type.retention);
    const pad = 'x'.repeat(100_000);
    for (let n = 1; n <= 3; n += 1) await w.emit(n, { pad });
    assert.equal((await w.engine.subscribe(ann, { key: 'l', select })).created, true);
    for (let n = 4; n <= 9; n += 1) await w.emit(n, { pad });
    await w.pass(1000);
    const { oldest, head } = await get(w, subscriptionId);
    assert.deepEqual([head, oldest > 1, oldest <= 7], [9, true, true], `oldest ${oldest}`);
    const all = await pull(w, subscriptionId, { after: position(epoch, 0) });
    assert.deepEqual(
      [all.gaps, numbers(all)],
      [
        [{ from: 1, to: oldest - 1, reason: 'retention' }],
        Array.from({ length: head - oldest + 1 }, (_, at) => oldest + at),
      ],
    );
    const { data } = await refusal(w.engine.subscribe(ann, { key: 'm', select }));
    assert.deepEqual(
      [(data as { limit: string }).limit, (data as { max: number }).max],
      ['stored_bytes', 350_000],
    );
    assert.equal((await w.engine.subscribe(bob, { key: 'm', select })).created, true);
    // A subscription that exists is renewed and drained whatever it holds.
    assert.equal((await w.engine.subscribe(ann, { key: 'k', select })).created, false);
    await w.close();
  });

  test('[gap-retention-announced log-no-silent-loss] by age, under a callback that is down', async () => {
    const w = await world({ triggers: [small] });
    w.endpoints.answer = () => response(500);
    const { subscriptionId } = await w.engine.subscribe(ann, {
      key: 'k',
      select,
      callback: CALLBACK,
      ttlMs: DAY,
    });
    await w.emitAll(1, 10);
    await w.pass(30 * MINUTE);
    await w.emitAll(11, 12);
    await w.pass(50 * MINUTE);
    assert.equal((await get(w, subscriptionId)).oldest, 11);
    w.endpoints.requests.length = 0;
    w.endpoints.answer = ({ delivery }) =>
      response(200, { ackSequence: delivery.events.at(-1)?.sequence });
    await w.pass(6 * MINUTE);
    assert.deepEqual(
      w.endpoints.requests
        .map(({ delivery }) => [delivery.afterSequence, delivery.gaps, numbers(delivery)])
        .at(-1),
      [0, [{ from: 1, to: 10, reason: 'retention' }], [11, 12]],
    );
    await w.pass(2 * HOUR);
    const { oldest, head, acked } = await get(w, subscriptionId);
    assert.deepEqual([oldest, head, acked], [13, 12, 12], 'then the log holds nothing any more');
    await w.close();
  });

  test('[gap-too-large] an event beyond 240 KiB is a gap in every log', async () => {
    const w = await world();
    const { subscriptionId } = await w.engine.subscribe(ann, { key: 'k', select });
    const overhead = JSON.stringify({
      eventId: 'e2',
      name: 'tick',
      timestamp: new Date(0).toISOString(),
      acceptedAt: new Date(0).toISOString(),
      data: { n: 2, text: '' },
    }).length;
    await w.emit(1, { text: 'x' });
    await w.emit(2, { text: 'x'.repeat(245_760 - overhead) });
    await w.emit(3, { text: 'x'.repeat(245_761 - overhead) });
    const pulled = await pull(w, subscriptionId);
    assert.deepEqual(
      [numbers(pulled), pulled.gaps, pulled.head],
      [[1, 2], [{ from: 3, to: 3, reason: 'too_large' }], 3],
    );
    await w.close();
  });

  test('[gap-same-everywhere end-revoked gap-final] a redacted event is a gap from then on', async () => {
    const w = await world();
    const { subscriptionId, epoch } = await w.engine.subscribe(ann, { key: 'k', select });
    const stream = listen(w.engine, ann, {
      subscriptionId,
      window: { events: 1, bytes: 1_000_000 },
    });
    await w.emitAll(1, 3);
    await turns();
    assert.equal(await w.engine.redact({ name: 'tick', eventId: 'e2' }), true);
    assert.equal(await w.engine.redact({ name: 'tick', eventId: 'e9' }), false);
    const gaps = [{ from: 2, to: 2, reason: 'redacted' }];
    const pulled = await pull(w, subscriptionId, { after: position(epoch, 0) });
    assert.deepEqual([numbers(pulled), pulled.gaps], [[1, 3], gaps]);
    await w.engine.ack(ann, { subscriptionId, position: position(epoch, 1) });
    await turns();
    assert.deepEqual(stream.deliveries.flatMap(numbers), [1, 3]);
    assert.deepEqual(
      stream.deliveries.flatMap((delivery) => delivery.gaps ?? []),
      gaps,
    );
    await w.close();
  });
});

describe('positions and acknowledgements', () => {
  test('[ack-cumulative ack-sent pos-epoch pos-beyond-head err-codes] are checked and applied', async () => {
    const w = await world();
    const { subscriptionId, epoch } = await w.engine.subscribe(ann, { key: 'k', select });
    await w.emitAll(1, 5);
    await pull(w, subscriptionId, { maxEvents: 3 });
    const ack = (sequence: number, of = epoch) =>
      w.engine.ack(ann, { subscriptionId, position: position(of, sequence) });
    assert.deepEqual(await ack(2), { epoch, acked: 2, head: 5 });
    assert.deepEqual(await ack(1), { epoch, acked: 2, head: 5 });
    const refused = async (call: Promise<unknown>) =>
      call.then(
        () => assert.fail('accepted'),
        (cause: { code: number; data: object }) => [cause.code, cause.data],
      );
    assert.deepEqual(await refused(ack(4)), [
      -32602,
      { kind: 'position', epoch, head: 5, acked: 2, sent: 3 },
    ]);
    assert.deepEqual(await refused(ack(1, 'another-epoch')), [
      -32602,
      { kind: 'epoch', epoch, head: 5, acked: 2 },
    ]);
    assert.deepEqual(await refused(pull(w, subscriptionId, { after: position(epoch, 6) })), [
      -32602,
      { kind: 'position', epoch, head: 5, acked: 2, sent: 3 },
    ]);
    assert.deepEqual(
      await refused(
        pull(w, subscriptionId, { ack: position(epoch, 3), after: position('another-epoch', 1) }),
      ),
      [-32602, { kind: 'epoch', epoch, head: 5, acked: 2 }],
    );
    assert.equal((await get(w, subscriptionId)).acked, 2, 'a rejected call acknowledges nothing');
    assert.equal((await pull(w, subscriptionId, { ack: position(epoch, 3) })).afterSequence, 3);
    await w.close();
  });

  test('[rec-two-drains cap-levels dlv-same-object] callback, stream and pull are drains of one log', async () => {
    const w = await world();
    let hold = true;
    w.endpoints.answer = ({ delivery }) =>
      hold
        ? response(503, null, '60')
        : response(200, { ackSequence: delivery.events.at(-1)!.sequence });
    const { subscriptionId, epoch } = await w.engine.subscribe(ann, {
      key: 'k',
      select,
      callback: CALLBACK,
    });
    const stream = listen(w.engine, ann, { subscriptionId });
    await w.emitAll(1, 4);
    await turns();
    const pulled = await pull(w, subscriptionId, { maxEvents: 2 });
    assert.deepEqual(pulled.events, stream.deliveries.flatMap(({ events }) => events).slice(0, 2));
    assert.deepEqual(pulled.events, w.endpoints.requests[0]?.delivery.events.slice(0, 2));
    await w.engine.ack(ann, { subscriptionId, position: position(epoch, 3) });
    hold = false;
    await w.pass(2 * MINUTE);
    assert.deepEqual(
      [w.endpoints.requests.at(-1)!.delivery.afterSequence, w.endpoints.numbers.at(-1)],
      [3, [4]],
    );
    assert.equal((await get(w, subscriptionId)).acked, 4);
    stream.abort.abort();
    await w.close();
  });

  test('[log-epoch-rotate log-epoch-renumber etag-config pos-epoch] a store that may have lost writes starts new epochs', async () => {
    const directory = mkdtempSync(join(tmpdir(), 'triggers-engine-'));
    try {
      const path = join(directory, 'store.db');
      const first = await world({ path });
      const { subscriptionId, epoch, etag } = await first.engine.subscribe(ann, {
        key: 'k',
        select,
        callback: CALLBACK,
        ttlMs: DAY,
      });
      let hold = false;
      first.endpoints.answer = ({ delivery }) =>
        hold ? response(500) : response(200, { ackSequence: delivery.events.at(-1)!.sequence });
      await first.emit(1);
      await first.emit(2);
      await turns();
      hold = true;
      await first.emitAll(3, 5);
      await first.close();
      // The witness file beside the database is gone, as after a restore from a backup.
      rmSync(`${path}.instance`);
      const second = await world({ path, clock: first.clock, seed: 2 });
      await turns();
      await second.pass(30_000);
      const now = await get(second, subscriptionId);
      assert.notEqual(now.epoch, epoch);
      assert.notEqual(now.etag, etag);
      assert.deepEqual(
        second.endpoints.requests.map(({ delivery }) => [
          delivery.epoch,
          delivery.afterSequence,
          delivery.events.map(({ sequence, eventId }) => `${sequence} ${eventId}`),
        ]),
        [[now.epoch, 0, ['1 e3', '2 e4', '3 e5']]],
      );
      await assert.rejects(
        second.engine.ack(ann, { subscriptionId, position: position(epoch, 5) }),
        { code: -32602 },
      );
      assert.equal(now.acked, 3);
      await second.close();
    } finally {
      rmSync(directory, { recursive: true, force: true });
    }
  });
});
