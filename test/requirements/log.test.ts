/**
 * Tests positions, acknowledgements, gaps and epochs, and the form of every delivery (SEP: The log,
 * Delivery).
 */
import assert from 'node:assert/strict';
import { describe, test } from 'vitest';
import { acknowledge } from './endpoint.ts';
import { box, eventually, lastOf, meter, sequencesOf, world, type Json } from './world.ts';

const REASONS = [
  'retention',
  'skipped',
  'rejected',
  'too_large',
  'invalid',
  'unwatched',
  'redacted',
];
const OTHER_EPOCH = 'AAAAAAAAAAAAAAAAAAAAAA';

describe('positions', () => {
  test("[pos-beyond-head, err-codes] a position that is not of this log is a Conflict with the log's state, on every method, and moves nothing", async (t) => {
    const w = await world(t);
    const made = await w.subscribe();
    const { subscriptionId, epoch } = made;
    await w.open(5);
    await w.pull(subscriptionId, { maxEvents: 3 });
    await w.ack(made, 2);
    const before = await w.get(subscriptionId);
    for (const [position, kind] of [
      [{ epoch, sequence: 6 }, 'position'],
      [{ epoch, sequence: 2 ** 53 - 1 }, 'position'],
      [{ epoch: OTHER_EPOCH, sequence: 0 }, 'epoch'],
      [{ epoch: OTHER_EPOCH, sequence: 2 }, 'epoch'],
    ] as const) {
      for (const [method, params] of [
        ['triggers/pull', { after: position }],
        ['triggers/pull', { ack: position }],
        ['triggers/pull', { after: position, ack: { epoch, sequence: 3 } }],
        ['triggers/stream', { after: position }],
        ['triggers/ack', { position }],
      ] as const) {
        const { code, data } = await w.refused(method, { subscriptionId, ...params });
        assert.deepEqual(
          { code, ...data, sent: undefined },
          { code: -32602, kind, epoch, head: 5, acked: 2, sent: undefined },
          `${method} ${JSON.stringify(params)}`,
        );
      }
    }
    assert.deepEqual(
      { ...(await w.get(subscriptionId)), renewAfterMs: 0 },
      { ...before, renewAfterMs: 0 },
    );
  });

  test('[ack-cumulative] the result is the state after the acknowledgement, even when it changed nothing', async (t) => {
    const w = await world(t);
    const made = await w.subscribe();
    const { epoch } = made;
    await w.open(3);
    await w.pull(made['subscriptionId']);
    const shown = async (sequence: number): Promise<unknown[]> => {
      const { epoch: shownEpoch, acked, head } = await w.ack(made, sequence);
      return [shownEpoch, acked, head];
    };
    assert.deepEqual(await shown(0), [epoch, 0, 3]);
    assert.deepEqual(await shown(2), [epoch, 2, 3]);
    await w.open(1);
    assert.deepEqual(await shown(1), [epoch, 2, 4]);
    assert.deepEqual(await shown(3), [epoch, 3, 4]);
  });
});

describe('sent', () => {
  test('[ack-sent] reading from a position that was never sent makes nothing before it acknowledgeable', async (t) => {
    const w = await world(t);
    const made = await w.subscribe();
    const { subscriptionId, epoch } = made;
    await w.open(6);
    await w.pull(subscriptionId, { maxEvents: 2 });
    const ahead = await w.pull(subscriptionId, { after: { epoch, sequence: 4 } });
    assert.deepEqual(sequencesOf(ahead), [5, 6]);
    const stream = await w.stream({ subscriptionId, after: { epoch, sequence: 3 } });
    assert.deepEqual(sequencesOf(await stream.next()), [4, 5, 6]);
    for (const sequence of [3, 6]) {
      const { data } = await w.refused('triggers/ack', {
        subscriptionId,
        position: { epoch, sequence },
      });
      assert.deepEqual([data?.['kind'], data?.['sent'], data?.['acked']], ['position', 2, 0]);
    }
    await w.pull(subscriptionId, { after: { epoch, sequence: 1 }, maxEvents: 3 });
    assert.equal((await w.ack(made, 4))['acked'], 4);
    assert.equal(
      (await w.refused('triggers/ack', { subscriptionId, position: { epoch, sequence: 5 } }))
        .data?.['sent'],
      4,
    );
    await w.pull(subscriptionId);
    assert.equal((await w.ack(made, 6))['acked'], 6);
  });

  test('[ack-sent] a gap at the end of the log is acknowledged like an event, on every drain', async (t) => {
    const w = await world(t);
    const tooLarge = { text: 'x'.repeat(250_000) };
    const pulled = await w.subscribe();
    const streamed = await w.subscribe();
    await w.open(1);
    await w.open(1, tooLarge);
    const read = await w.pull(pulled['subscriptionId']);
    assert.deepEqual(read['gaps'], [{ from: 2, to: 2, reason: 'too_large' }]);
    assert.equal((await w.ack(pulled, 2))['acked'], 2);
    const stream = await w.stream({ subscriptionId: streamed['subscriptionId'] });
    assert.equal(lastOf(await stream.next()), 2);
    assert.equal((await w.ack(streamed, 2))['acked'], 2);
  });
});

describe('acceptedAt', () => {
  test('[log-stable dlv-same-object] is the time of acceptance, the same on every drain and after a restart', async (t) => {
    const w = await world(t);
    const endpoint = await w.endpoint();
    const { subscriptionId, epoch } = await w.subscribeTo(endpoint);
    const accepted: string[] = [];
    for (const timestamp of ['2001-01-01T00:00:00Z', '2030-01-01T00:00:00Z']) {
      await w.pass(1250);
      accepted.push(new Date(w.clock.now()).toISOString());
      await w.engine.emit(box.event({ data: { box: 'front' }, timestamp }));
    }
    const after = { epoch, sequence: 0 };
    const times = ({ events }: Json): unknown[] => events.map(({ acceptedAt }: Json) => acceptedAt);
    const pulled = await w.pull(subscriptionId, { after });
    assert.deepEqual(times(pulled), accepted);
    assert.deepEqual(
      (await (await w.stream({ subscriptionId, after })).next())['events'],
      pulled['events'],
    );
    await endpoint.nth(2);
    assert.deepEqual(
      endpoint.deliveries.flatMap(({ delivery }) => delivery['events']),
      pulled['events'],
    );
    await w.restart();
    await w.pass(60_000);
    assert.deepEqual((await w.pull(subscriptionId, { after }))['events'], pulled['events']);
  });
});

describe('gaps', () => {
  test('[gap-too-large] 245,760 bytes of JSON are delivered, one more is a gap, in every log and on every drain', async (t) => {
    const w = await world(t);
    const endpoint = await w.endpoint();
    const logs = [await w.subscribe(), await w.subscribe(), await w.subscribeTo(endpoint)];
    const event = (text: string): Parameters<typeof w.engine.emit>[0] =>
      box.event({ eventId: 'e'.repeat(8), data: { box: 'front', text } });
    // The log keeps the event without its number, which the delivery adds.
    const empty = Buffer.byteLength(
      JSON.stringify({
        eventId: 'e'.repeat(8),
        name: 'box.opened',
        timestamp: '2026-11-21T09:30:00.000Z',
        acceptedAt: '2026-11-21T09:30:00.000Z',
        data: { box: 'front', text: '' },
      }),
    );
    await w.engine.emit({ ...event('x'.repeat(245_760 - empty)), eventId: 'eeeeeee1' });
    await w.engine.emit({ ...event('x'.repeat(245_761 - empty)), eventId: 'eeeeeee2' });
    await w.engine.emit({ ...event('é'.repeat(122_881)), eventId: 'eeeeeee3' });
    await w.open(1);
    for (const { subscriptionId, epoch } of logs) {
      await eventually('all four numbers', async () => (await w.get(subscriptionId))['head'] === 4);
      const read = await w.pull(subscriptionId, { after: { epoch, sequence: 0 } });
      assert.deepEqual(
        [sequencesOf(read), read['gaps'], lastOf(read)],
        [[1, 4], [{ from: 2, to: 3, reason: 'too_large' }], 4],
      );
      const stream = await w.stream({ subscriptionId, after: { epoch, sequence: 0 } });
      assert.deepEqual((await stream.next())['gaps'], [{ from: 2, to: 3, reason: 'too_large' }]);
    }
    await eventually(
      'the callback has reported them',
      async () => (await w.get(logs[2]!['subscriptionId']))['acked'] === 4,
    );
    assert.deepEqual(
      endpoint.deliveries
        .flatMap(({ delivery }) => delivery['gaps'] ?? [])
        .map(({ reason }) => reason)[0],
      'too_large',
    );
    assert.ok(endpoint.deliveries.every(({ raw }) => raw.byteLength <= 262_144));
  });

  test('[gap-final, gap-same-everywhere] each kind of gap has its reason, and the number stays a gap on every drain, before and after a restart', async (t) => {
    const w = await world(t);
    const endpoint = await w.endpoint();
    const made = await w.subscribeTo(endpoint, {
      callback: { ...endpoint.callback, skipAfterMs: 1000 },
    });
    const { subscriptionId, epoch } = made;
    const acked = (n: number): Promise<unknown> =>
      eventually(`acknowledged to ${n}`, async () => {
        await w.pass(500);
        return (await w.get(subscriptionId))['acked'] === n;
      });

    endpoint.behave = ({ delivery }) =>
      sequencesOf(delivery).includes(1)
        ? { body: { ackSequence: 0, reject: { sequence: 1, reason: 'never' } } }
        : { body: { ackSequence: lastOf(delivery) } };
    await w.open(1);
    await acked(1);
    endpoint.behave = (hit) =>
      sequencesOf(hit.delivery).includes(2) ? { status: 500 } : acknowledge(hit);
    await w.open(1);
    await acked(2);
    endpoint.behave = (hit) =>
      sequencesOf(hit.delivery).includes(3) ? { status: 413 } : acknowledge(hit);
    await w.open(1);
    await acked(3);
    endpoint.behave = acknowledge;
    await w.open(1, { text: 'x'.repeat(245_760) });
    await acked(4);
    await w.engine.emit(box.event({ eventId: 'to-be-redacted', data: { box: 'front' } }));
    await acked(5);
    await w.engine.redact({ name: 'box.opened', eventId: 'to-be-redacted' });
    await w.open(1);
    await acked(6);

    const expected = [
      [1, 'rejected'],
      [2, 'skipped'],
      [3, 'too_large'],
      [4, 'too_large'],
      [5, 'redacted'],
    ];
    const flat = (gaps: Json[]): unknown[] =>
      gaps.flatMap(({ from, to, reason }) =>
        Array.from({ length: to - from + 1 }, (_, at) => [from + at, reason]),
      );
    const readBoth = async (): Promise<void> => {
      const read = await w.pull(subscriptionId, { after: { epoch, sequence: 0 } });
      assert.deepEqual([flat(read['gaps']), sequencesOf(read)], [expected, [6]]);
      const stream = await w.stream({ subscriptionId, after: { epoch, sequence: 0 } });
      const first = await stream.next();
      assert.deepEqual([flat(first['gaps']), sequencesOf(first)], [expected, [6]]);
    };
    await readBoth();
    await w.restart();
    await readBoth();
    assert.ok(
      (await w.pull(subscriptionId, { after: { epoch, sequence: 0 } }))['gaps'].every(
        ({ reason }: Json) => REASONS.includes(reason),
      ),
    );
  });

  test('[gap-same-everywhere, gap-final] a number that retention trimmed is a gap of that reason, permanently', async (t) => {
    const w = await world(t);
    const { subscriptionId, epoch } = await w.subscribe({
      select: [{ name: 'meter.read' }],
      ttlMs: 86_400_000,
    });
    for (let value = 0; value < 40; value += 1)
      await w.engine.emit(meter.event({ data: { value } }));
    await w.engine.settled();
    await w.pass(2 * 3_600_000);
    await eventually(
      'the log is trimmed',
      async () => (await w.get(subscriptionId))['oldest'] === 41,
    );
    const gone = [{ from: 1, to: 40, reason: 'retention' }];
    assert.deepEqual((await w.pull(subscriptionId))['gaps'], gone);
    await w.engine.emit(meter.event({ data: { value: 41 } }));
    await w.engine.settled();
    const read = await w.pull(subscriptionId, { after: { epoch, sequence: 0 } });
    assert.deepEqual([read['gaps'], sequencesOf(read)], [gone, [41]]);
  });

  test('[gap-retention-announced, gap-oldest] acknowledged events are readable until retention trims them, and numbers below `oldest` are retention gaps', async (t) => {
    const w = await world(t);
    const made = await w.subscribe({ select: [{ name: 'meter.read' }], ttlMs: 86_400_000 });
    const { subscriptionId, epoch } = made;
    const fill = async (count: number): Promise<void> => {
      for (let value = 0; value < count; value += 1)
        await w.engine.emit(meter.event({ data: { value } }));
      await w.engine.settled();
    };
    const readAll = async (): Promise<unknown> => {
      const read = await w.pull(subscriptionId, { after: { epoch, sequence: 0 } });
      return [read['gaps'], sequencesOf(read), (await w.get(subscriptionId))['oldest']];
    };
    await fill(5);
    await w.pull(subscriptionId);
    await w.ack(made, 4);
    await w.restart();
    assert.deepEqual(await readAll(), [undefined, [1, 2, 3, 4, 5], 1]);
    await w.pass(2 * 3_600_000);
    await eventually('the log is trimmed', async () => (await w.get(subscriptionId))['oldest'] > 1);
    await fill(2);
    const trimmed = [[{ from: 1, to: 5, reason: 'retention' }], [6, 7], 6];
    assert.deepEqual(await readAll(), trimmed);
    // Of the trimmed events, only number 5 was not acknowledged.
    const { afterSequence: after, gaps } = await w.pull(subscriptionId);
    assert.deepEqual([after, gaps], [4, [{ from: 5, to: 5, reason: 'retention' }]]);
    await w.restart();
    assert.deepEqual(await readAll(), trimmed);
  });
});

describe('epochs', () => {
  test('[log-epoch-streams] a stream has one epoch: streams that are open at the loss end, and the old position is rejected', async (t) => {
    const w = await world(t);
    const made = await w.subscribe();
    const { subscriptionId, epoch } = made;
    await w.open(3);
    await w.pull(subscriptionId);
    await w.ack(made, 1);
    await w.stop();
    const backup = w.backup();
    await w.start();
    await w.open(2);
    const before = await w.stream({ subscriptionId });
    while (lastOf(await before.next()) < 5);
    await w.restart(backup);
    assert.deepEqual((await before.end())['result']?.['resultType'], 'complete');
    const now = await w.get(subscriptionId);
    assert.notEqual(now['epoch'], epoch);
    const refused = await w.refused('triggers/stream', {
      subscriptionId,
      after: { epoch, sequence: 3 },
    });
    assert.deepEqual(refused.data, {
      kind: 'epoch',
      epoch: now['epoch'],
      head: now['head'],
      acked: 0,
    });
    const after = await w.stream({ subscriptionId });
    await w.open(1);
    while (lastOf(await after.next()) < now['head'] + 1);
    assert.deepEqual([...new Set(before.deliveries.map((one) => one['epoch']))], [epoch]);
    assert.deepEqual([...new Set(after.deliveries.map((one) => one['epoch']))], [now['epoch']]);
  });
});

describe('a delivery', () => {
  test('[dlv-coverage] never ends above its head, has no empty list of gaps, and always contains head and acked, on every drain', async (t) => {
    const w = await world(t);
    const endpoint = await w.endpoint();
    const made = await w.subscribeTo(endpoint);
    const { subscriptionId, epoch } = made;
    const stream = await w.stream({ subscriptionId });
    const pulled: Json[] = [
      await w.pull(subscriptionId),
      await w.pull(subscriptionId, { maxEvents: 0 }),
    ];
    const waiting = w.pull(subscriptionId, { waitMs: 20_000 });
    await w.open(2);
    pulled.push(await waiting);
    await w.open(1, { text: 'x'.repeat(250_000) });
    await w.open(5);
    await eventually(
      'everything is acknowledged',
      async () => (await w.get(subscriptionId))['acked'] === 8,
    );
    pulled.push(
      await w.pull(subscriptionId),
      await w.pull(subscriptionId, { after: { epoch, sequence: 1 } }),
    );
    await w.pass(15_000);
    const heartbeat = await eventually('a heartbeat with the acknowledgement', () =>
      stream.deliveries.findLast(({ events, acked }) => events.length === 0 && acked === 8),
    );
    assert.deepEqual(
      [heartbeat['head'], heartbeat['acked'], heartbeat['afterSequence']],
      [8, 8, 8],
    );
    await w.engine.remove('box.opened');
    await stream.end();
    const last = await eventually('the termination notice', () =>
      endpoint.deliveries.findLast(({ delivery }) => delivery['terminated'] !== undefined),
    );
    assert.deepEqual([last.delivery['head'], last.delivery['acked']], [8, 8]);

    assert.ok(endpoint.challenges.length > 0);
    for (const { message } of endpoint.challenges)
      assert.deepEqual(Object.keys(message['params']).sort(), [
        'challenge',
        'key',
        'subscriptionId',
      ]);
    const all = [
      ...endpoint.deliveries.map(({ delivery }) => delivery),
      ...stream.deliveries,
      ...pulled,
    ];
    assert.ok(all.some((one) => one['gaps'] !== undefined));
    for (const one of all) {
      assert.ok(
        Number.isSafeInteger(one['head']) && Number.isSafeInteger(one['acked']),
        JSON.stringify(one),
      );
      assert.ok(lastOf(one) <= one['head'], JSON.stringify(one));
      assert.ok(!('gaps' in one) || one['gaps'].length > 0);
      assert.ok(one['acked'] <= one['head']);
      let position = one['afterSequence'] as number;
      const covered = [
        ...one['events'].map(({ sequence }: Json) => [sequence, sequence]),
        ...(one['gaps'] ?? []).map(({ from, to }: Json) => [from, to]),
      ].sort(([a], [b]) => a - b);
      for (const [from, to] of covered) {
        assert.equal(from, position + 1);
        position = to;
      }
    }
  });
});
