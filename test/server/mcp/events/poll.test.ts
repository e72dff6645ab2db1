/**
 * Tests `events/poll` over HTTP: where a poll begins, what it acknowledges, what it reports as
 * missed, and that a cursor is never an error.
 */
import assert from 'node:assert/strict';
import { describe, test } from 'vitest';
import {
  box,
  eventsWorld,
  mail,
  meter,
  SEP,
  TRIGGERS,
  type EventsWorld,
  type Json,
} from './world.ts';

const texts = (events: readonly Json[]): string[] => events.map(({ data }) => data['text']);

/** Emits one `box.opened` event for each text. */
async function tell(w: EventsWorld, ...said: string[]): Promise<void> {
  for (const text of said) await w.open(1, { text });
}

describe('where a poll begins', () => {
  test('a first poll without a cursor returns no event, and the next one returns what came after it [SEP-3415 D13 D14 D54 R71 R72 R73] [deg-server-same-log]', async (t) => {
    const w = await eventsWorld(t);
    await tell(w, 'before');
    for (const given of [{}, { cursor: null }]) {
      const { resultType, events, cursor, truncated, hasMore, nextPollMs } = await w.poll(given);
      assert.deepEqual(
        { resultType, events, truncated, hasMore },
        { resultType: 'complete', events: [], truncated: false, hasMore: false },
      );
      assert.equal(typeof cursor, 'string');
      assert.ok(nextPollMs >= 1000);
    }
    const { cursor } = await w.poll({});
    await tell(w, 'one', 'two');
    const second = await w.poll({ cursor });
    assert.deepEqual(texts(second['events']), ['one', 'two']);
    assert.notEqual(second['cursor'], cursor);
    assert.deepEqual((await w.poll({ cursor: second['cursor'] }))['events'], []);
    // Each event has its own cursor, from which what came after it is read.
    const [one, two] = second['events'] as { readonly cursor: string }[];
    assert.equal(two!.cursor, second['cursor']);
    assert.deepEqual(texts((await w.poll({ cursor: one!.cursor }))['events']), ['two']);
  });

  test('an occurrence has the members of SEP-3415, and its number beside them [SEP-3415 D11 R10] [deg-events-meta]', async (t) => {
    const w = await eventsWorld(t);
    const { cursor } = await w.poll({});
    await w.engine.emit(
      box.event({
        eventId: 'upstream-7',
        timestamp: Date.UTC(2026, 10, 21, 9),
        data: { box: 'front' },
      }),
    );
    await w.engine.settled();
    const {
      cursor: end,
      events: [event],
    } = await w.poll({ cursor });
    const { _meta, ...rest } = event;
    assert.deepEqual(rest, {
      cursor: end,
      eventId: 'upstream-7',
      name: box.type.name,
      timestamp: '2026-11-21T09:00:00.000Z',
      data: { box: 'front' },
    });
    const { subscriptionId, epoch, ...numbers } = _meta[TRIGGERS];
    const acceptedAt = new Date(w.clock.now()).toISOString();
    assert.deepEqual(numbers, { sequence: 1, head: 1, acceptedAt });
    assert.ok(subscriptionId && epoch);
  });

  test('absent arguments are {}; other arguments or another principal select another log [SEP-3415 D12 D34 U3]', async (t) => {
    const w = await eventsWorld(t);
    const { cursor } = await w.poll({});
    const { cursor: front } = await w.poll({ arguments: { box: 'front' } });
    await w.open(1, { box: 'back' });
    assert.equal((await w.poll({ cursor, arguments: {} }))['events'].length, 1);
    assert.equal(
      (await w.poll({ cursor: front, arguments: { box: 'front' } }))['events'].length,
      0,
    );
    assert.equal((await w.ok('triggers/subscriptions'))['subscriptions'].length, 2);
    // Another principal's log of the same event is a different log.
    const { cursor: bobs } = await w.poll({}, { ...SEP, as: 'bob' });
    assert.partialDeepStrictEqual(await w.poll({ cursor }, { ...SEP, as: 'bob' }), {
      truncated: true,
    });
    assert.partialDeepStrictEqual(await w.poll({ cursor: bobs }, { ...SEP, as: 'bob' }), {
      truncated: false,
    });
  });

  test('what was accepted before the first poll does not come, even if it is still being numbered [SEP-3415 D54]', async (t) => {
    const w = await eventsWorld(t, { engine: { sequencerChunk: 1 } });
    for (let n = 0; n < 40; n += 1) await w.subscribe();
    await w.poll({});
    for (let n = 0; n < 5; n += 1) {
      await w.engine.emit(box.event({ data: { box: 'front', text: 'before' } }));
      assert.ok((await w.engine.health()).sequencerLag > 0, 'an event is still being numbered');
      const { cursor } = await w.poll({});
      await w.engine.settled();
      assert.deepEqual((await w.poll({ cursor }))['events'], []);
    }
  });

  test('a client that begins beside another one begins now, whatever the other has read', async (t) => {
    const w = await eventsWorld(t);
    const { cursor: first } = await w.poll({});
    await tell(w, 'a', 'b');
    const { cursor: second } = await w.poll({});
    await tell(w, 'c');
    assert.deepEqual(texts((await w.poll({ cursor: second }))['events']), ['c']);
    assert.deepEqual(texts((await w.poll({ cursor: first }))['events']), ['a', 'b', 'c']);
  });
});

describe('the next polls', () => {
  test('maxEvents limits a batch, hasMore reports more, and all events arrive once and in order [SEP-3415 D15 D16 D27]', async (t) => {
    const w = await eventsWorld(t);
    const { cursor } = await w.poll({});
    const said = Array.from({ length: 25 }, (_, n) => `t${n}`);
    await tell(w, ...said);
    const { events, polls } = await w.drain(cursor, { maxEvents: 10 });
    assert.deepEqual(texts(events), said);
    assert.equal(polls, 3);
    const more = await w.poll({ cursor, maxEvents: 1 });
    assert.deepEqual([more['hasMore'], more['nextPollMs']], [true, 0]);
  });

  test('maxEvents below 1 is rejected, and above the bound is clamped [SEP-3415 U2 D17]', async (t) => {
    const w = await eventsWorld(t);
    const { cursor } = await w.poll({});
    for (const maxEvents of [0, -1, 1.5, '3', null]) {
      assert.partialDeepStrictEqual(
        await w.refused('events/poll', { name: box.type.name, cursor, maxEvents }, SEP),
        { code: -32602, data: { path: '/maxEvents' } },
      );
    }
    await w.open(1200);
    assert.equal(
      (await w.poll({ cursor, maxEvents: Number.MAX_SAFE_INTEGER }))['events'].length,
      1000,
    );
  });

  test('only the cursor that a client sends acknowledges, namely everything before it', async (t) => {
    const w = await eventsWorld(t);
    const acked = async (): Promise<number> =>
      (await w.ok('triggers/subscriptions'))['subscriptions'][0]['acked'];
    const { cursor } = await w.poll({});
    await w.open(3);
    const second = await w.poll({ cursor, maxEvents: 2 });
    assert.equal(await acked(), 0, 'returning an event does not acknowledge it');
    await w.poll({ cursor: second['cursor'] });
    assert.equal(await acked(), 2);
    // An older cursor takes nothing back, and still reads what is kept.
    assert.equal((await w.poll({ cursor }))['events'].length, 3);
    assert.equal(await acked(), 2);
  });

  test('a first cursor above everything that was sent is not an error', async (t) => {
    const w = await eventsWorld(t);
    await w.poll({});
    await w.open(5);
    const { cursor } = await w.poll({});
    await w.open(1, { text: 'new' });
    const { events, truncated } = await w.poll({ cursor });
    assert.deepEqual([texts(events), truncated], [['new'], false]);
    const { acked } = (await w.ok('triggers/subscriptions'))['subscriptions'][0];
    assert.equal(acked, 5, 'the cursor acknowledges what the client chose to skip');
  });
});

describe('a cursor that cannot be served', () => {
  const strange = [
    '',
    'x',
    'null',
    '{}',
    '0',
    '-1',
    'AAAA',
    Buffer.from('1 a b 1').toString('base64url'),
    'ü'.repeat(10),
    '\u0000',
    'A'.repeat(100_000),
  ];

  test('is not an error: the poll reports truncated and returns a fresh cursor [SEP-3415 D57 U1]', async (t) => {
    const w = await eventsWorld(t);
    await w.poll({});
    await tell(w, 'unread');
    for (const cursor of strange) {
      const result = await w.poll({ cursor });
      assert.deepEqual(
        [result['truncated'], texts(result['events'])],
        [true, ['unread']],
        JSON.stringify(cursor.slice(0, 20)),
      );
      assert.equal((await w.poll({ cursor: result['cursor'] }))['truncated'], false);
      await tell(w, 'unread');
    }
  });

  test('of the future, of another epoch or of another event is treated alike [SEP-3415 D57 U1]', async (t) => {
    const w = await eventsWorld(t);
    const { cursor } = await w.poll({});
    const [version, subscriptionId, epoch] = Buffer.from(cursor, 'base64url').toString().split(' ');
    const made = (...parts: unknown[]): string =>
      Buffer.from([version, ...parts].join(' ')).toString('base64url');
    const { cursor: other } = await w.poll({ name: meter.type.name });
    for (const [what, one] of [
      ['future', made(subscriptionId, epoch, 77)],
      ['another epoch', made(subscriptionId, 'otherepoch', 0)],
      ['another event', other],
      ['unheard of', made('s'.repeat(36), epoch, 0)],
      ['huge', made(subscriptionId, epoch, '9'.repeat(16))],
    ] as const) {
      assert.equal((await w.poll({ cursor: one }))['truncated'], true, what);
    }
    assert.equal((await w.poll({ cursor }))['truncated'], false);
  });

  test('of a log that retention has shortened reports truncated and returns what is left [SEP-3415 R76 D57]', async (t) => {
    const w = await eventsWorld(t);
    const { cursor } = await w.poll({ name: meter.type.name });
    for (let value = 1; value <= 200; value += 1)
      await w.engine.emit(meter.event({ data: { value } }));
    await w.engine.settled();
    const result = await w.poll({ name: meter.type.name, cursor, maxEvents: 1000 });
    assert.equal(result['truncated'], true);
    assert.ok(result['events'].length >= 100 && result['events'].length < 200);
    assert.equal(result['events'].at(-1).data.value, 200);
    assert.equal(
      (await w.poll({ name: meter.type.name, cursor: result['cursor'] }))['truncated'],
      false,
    );
  });

  test('before an event that was withdrawn reports truncated and returns the other events', async (t) => {
    const w = await eventsWorld(t);
    const { cursor } = await w.poll({});
    for (const id of ['a', 'b', 'c'])
      await w.engine.emit(box.event({ eventId: id, data: { box: 'front' } }));
    await w.engine.settled();
    await w.engine.redact({ name: box.type.name, eventId: 'b' });
    const { events, truncated } = await w.poll({ cursor });
    assert.deepEqual([events.map(({ eventId }: Json) => eventId), truncated], [['a', 'c'], true]);
  });
});

describe('the lifetime of a log', () => {
  test('outlasts a restart, and a client that returns within a day gets everything', async (t) => {
    const w = await eventsWorld(t);
    const { cursor } = await w.poll({});
    await tell(w, 'one');
    await w.restart();
    await w.pass(20 * 3600_000);
    await tell(w, 'two');
    const { events, truncated } = await w.poll({ cursor });
    assert.deepEqual([texts(events), truncated], [['one', 'two'], false]);
    // That poll renewed the log's implicit subscription.
    await w.pass(20 * 3600_000);
    assert.equal((await w.poll({ cursor }))['truncated'], false);
  });

  test('ends with its implicit subscription or a restored backup, and the next poll restarts the log and reports it', async (t) => {
    const w = await eventsWorld(t);
    const { cursor } = await w.poll({});
    await w.pass(25 * 3600_000);
    const again = await w.poll({ cursor });
    assert.equal(again['truncated'], true);
    const backup = w.backup();
    await tell(w, 'lost');
    const { cursor: later } = await w.poll({ cursor: again['cursor'] });
    await w.restart(backup);
    assert.equal((await w.poll({ cursor: later }))['truncated'], true);
  });
});

describe('maxAgeMs', () => {
  test('skips older events and reports it [SEP-3415 D56 R74 R75]', async (t) => {
    const w = await eventsWorld(t);
    const { cursor } = await w.poll({});
    await tell(w, 'old');
    await w.pass(60_000);
    await tell(w, 'young');
    const bounded = await w.poll({ cursor, maxAgeMs: 30_000 });
    assert.deepEqual([texts(bounded['events']), bounded['truncated']], [['young'], true]);
    const wide = await w.poll({ cursor, maxAgeMs: 120_000 });
    assert.deepEqual([texts(wide['events']), wide['truncated']], [['old', 'young'], false]);
    assert.deepEqual(
      [(await w.poll({ cursor: wide['cursor'], maxAgeMs: 0 }))['truncated']],
      [false],
      'nothing is skipped where nothing is left',
    );
  });

  test('has no effect without a cursor [SEP-3415 D56]', async (t) => {
    const w = await eventsWorld(t);
    await w.poll({});
    await w.open();
    assert.partialDeepStrictEqual(await w.poll({ cursor: null, maxAgeMs: 3_600_000 }), {
      events: [],
      truncated: false,
    });
  });

  test('must be a non-negative integer', async (t) => {
    const w = await eventsWorld(t);
    for (const maxAgeMs of [-1, 0.5, '1', null])
      assert.partialDeepStrictEqual(
        await w.refused('events/poll', { name: box.type.name, cursor: 'x', maxAgeMs }),
        { code: -32602, data: { path: '/maxAgeMs' } },
      );
  });
});

describe('a poll is rejected', () => {
  test('for an unknown name, invalid arguments or a wrong shape, with the path in its own params [SEP-3415 D17 D60]', async (t) => {
    const w = await eventsWorld(t);
    const name = box.type.name;
    for (const [params, error] of [
      [{ name: 'no.such' }, { code: -32023, data: { kind: 'event' } }],
      [
        { name, arguments: { box: 7 } },
        { code: -32602, data: { path: '/arguments/box' } },
      ],
      [
        { name, arguments: { window: 'x' } },
        { code: -32602, data: { path: '/arguments' } },
      ],
      [
        { name, arguments: null },
        { code: -32602, data: { path: '/arguments' } },
      ],
      [
        { name, arguments: [] },
        { code: -32602, data: { path: '/arguments' } },
      ],
      [
        { name, cursor: 7 },
        { code: -32602, data: { path: '/cursor' } },
      ],
      [{}, { code: -32602, data: { path: '/name' } }],
      [{ name: '' }, { code: -32602, data: { path: '/name' } }],
    ] as const) {
      const refused = await w.refused('events/poll', params, SEP);
      assert.partialDeepStrictEqual(refused, error, JSON.stringify(params));
      assert.ok(!JSON.stringify(refused).includes('/select'), 'no path of other params');
    }
  });

  test('without a principal, without permission, and after a permission is revoked, even if the log exists [SEP-3415 R86 R34]', async (t) => {
    const banned = new Set<string>();
    const w = await eventsWorld(t, {
      engine: {
        authorize: ({ principal }) => ![...banned].some((one) => principal.includes(one)),
        visible: () => true,
      },
    });
    assert.partialDeepStrictEqual(
      await w.refused('events/poll', { name: box.type.name }, { ...SEP, as: null }),
      { code: -32024, data: { kind: 'principal' } },
    );
    const { cursor } = await w.poll({});
    banned.add('alice');
    for (const given of [cursor, null]) {
      assert.partialDeepStrictEqual(
        await w.refused('events/poll', { name: box.type.name, cursor: given }, SEP),
        { code: -32024, data: { kind: 'event' } },
        String(given),
      );
    }
  });

  test('with the reason of the end, when the server ended what it follows [SEP-3415 D9 D10 D58 R8]', async (t) => {
    const w = await eventsWorld(t);
    const name = box.type.name;
    const { cursor } = await w.poll({});
    await w.engine.remove(name, 'schema_changed');
    assert.partialDeepStrictEqual(await w.refused('events/poll', { name, cursor }, SEP), {
      code: -32023,
      data: { kind: 'event' },
    });
    w.engine.declare(box);
    assert.partialDeepStrictEqual(await w.refused('events/poll', { name, cursor }, SEP), {
      code: -32026,
      data: { feature: 'payloadSchema', reason: 'schema_changed' },
    });
    const { cursor: fresh } = await w.poll({});
    await w.engine.terminate(
      { principal: JSON.stringify(['https://issuer.example', 'alice', 'test']) },
      'revoked',
    );
    assert.partialDeepStrictEqual(await w.refused('events/poll', { name, cursor: fresh }, SEP), {
      code: -32024,
      data: { reason: 'revoked' },
    });
    assert.partialDeepStrictEqual(
      await w.poll({}),
      { truncated: false },
      'from now on it may begin again',
    );
  });

  test('for no change of the type that only adds members [SEP-3415 R9]', async (t) => {
    const w = await eventsWorld(t);
    const { cursor } = await w.poll({});
    w.engine.declare({
      ...box,
      type: {
        ...box.type,
        payloadSchema: {
          ...box.type.payloadSchema,
          properties: {
            ...(box.type.payloadSchema['properties'] as object),
            extra: { type: 'string' },
          },
        },
      },
    });
    await w.open();
    assert.partialDeepStrictEqual(await w.poll({ cursor }), { truncated: false });
  });

  test('for too many logs, with the name of the limit [SEP-3415 D61]', async (t) => {
    const w = await eventsWorld(t, {
      triggers: [box, mail],
      engine: { quotas: { subscriptionsPerPrincipal: 1 } },
    });
    await w.poll({});
    assert.partialDeepStrictEqual(await w.refused('events/poll', { name: mail.type.name }, SEP), {
      code: -32025,
      data: { limit: 'subscriptions', max: 1 },
    });
  });
});
