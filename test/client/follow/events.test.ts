/** Tests following `events/*` by poll and push, against servers with scripted answers. */
import assert from 'node:assert/strict';
import { describe, test, type TestContext } from 'vitest';
import { systemClock, type Clock } from '../../../src/protocol/lib/clock.ts';
import { LocalError, WireError } from '../../../src/protocol/wire/errors.ts';
import { until } from '../support.ts';
import { CODES, EventsServer } from './events-server.ts';
import { MODERN, Refused, SESSIONS, startRaw, type Asked, type RawServer } from './raw-server.ts';
import { followed, SELECT } from './support.ts';

const POLL = [
  'chosen events.poll: undetected, none, client',
  'upgraded events.poll: flagged, flag, client',
];
const PUSH = [
  'chosen events.push: undetected, none, client',
  'upgraded events.push: flagged, flag, client',
];
const LOG = { subscriptionId: 'sub_1', epoch: 'epoch_1', shift: 0 };

/** A modern server with these settings, and a follower of it. */
async function start(
  t: TestContext,
  change: Partial<EventsServer>,
  options: Parameters<typeof followed>[2] = {},
) {
  const events = Object.assign(new EventsServer(), change);
  const server = await startRaw(t, (raw) => {
    events.attach(raw);
  });
  const follower = await followed(t, server.url, options);
  return { events, server, follower };
}

const pollsOf = (server: RawServer) =>
  server.calls.filter(({ method }) => method === 'events/poll');

describe('poll', () => {
  for (const dialect of ['sep', 'sketch'] as const) {
    for (const era of [MODERN, SESSIONS] as const) {
      test(`[deg-say, deg-no-invented-numbers] with ${dialect}, ${era}: follows from now on, in order, and reports the guarantee`, async (t) => {
        const events = Object.assign(new EventsServer(), {
          dialect,
          delivery: ['poll'],
          maxEvents: 2,
        });
        const server = await startRaw(t, (raw) => {
          raw.era = era;
          events.attach(raw);
        });
        events.happen(3);
        const follower = await followed(t, server.url);
        assert.deepEqual(await follower.words(2), POLL);
        events.happen(5);
        const first = await follower.next();
        assert.ok(first.type === 'event');
        assert.deepEqual(
          [first.event.eventId, first.number, first.mode, first.selection],
          ['e4', { by: 'client', count: 1 }, 'events.poll', SELECT[0]],
        );
        assert.deepEqual(await follower.items(4), ['e5', 'e6', 'e7', 'e8']);
        const [bootstrap] = pollsOf(server);
        assert.deepEqual([bootstrap!.params.cursor, bootstrap!.params.arguments], [null, {}]);
      });
    }
  }

  test('fetches pending events at once, and then waits as long as the server says, but never below the minimum', async (t) => {
    const steps: (string | number)[] = [];
    const clock: Clock = {
      now: () => Date.now(),
      after(delayMs, run, options) {
        if (options?.background !== true) steps.push(delayMs);
        return systemClock.after(Math.min(delayMs, 5), run, options);
      },
    };
    const { events, server, follower } = await start(
      t,
      { delivery: ['poll'], maxEvents: 1, nextPollMs: 0 },
      { tuning: { clock, pollFloorMs: 60 } },
    );
    const poll = server.handlers['events/poll']!;
    server.handlers['events/poll'] = (asked) => {
      steps.push('poll');
      return poll(asked);
    };
    await follower.words(2);
    events.happen(3);
    await follower.items(3);
    events.nextPollMs = 300;
    events.happen();
    await follower.items(1);
    const waiting = follower.items(1);
    await until(() => steps.at(-1) === 300);
    events.happen();
    await waiting;
    const text = steps.join(' ');
    assert.match(
      text,
      /^poll 60 (poll 60 )*poll poll poll 60 /,
      'three polls without a pause, and never below the minimum',
    );
    assert.match(text, /poll 300 poll/, 'the interval of the server');
    assert.deepEqual(new Set(steps), new Set(['poll', 60, 300]));
  });

  test('pauses between polls of a server that always reports more and returns nothing', async (t) => {
    let pauses = 0;
    const clock: Clock = {
      now: () => Date.now(),
      after: (delayMs, run, options) => {
        pauses += options?.background === true ? 0 : 1;
        return systemClock.after(delayMs, run, options);
      },
    };
    const { server, follower } = await start(t, { delivery: ['poll'] }, { tuning: { clock } });
    server.handlers['events/poll'] = () => ({
      events: [],
      cursor: 'same',
      truncated: false,
      hasMore: true,
      nextPollMs: 0,
    });
    await follower.words(2);
    follower.next().catch(() => undefined);
    await until(() => pollsOf(server).length >= 20);
    assert.ok(pauses >= 18, `${pauses} pauses in 20 polls`);
  });

  test('reports events that the server cannot serve any more as a gap, and continues from the fresh cursor', async (t) => {
    const { events, server, follower } = await start(t, { delivery: ['poll'] });
    await follower.words(2);
    await server.restart(() => {
      events.happen(5);
      events.oldest = 3;
    });
    assert.deepEqual(await follower.items(3), ['gap truncated', 'e4', 'e5']);
    events.happen();
    assert.deepEqual(await follower.items(1), ['e6']);
  });

  for (const [what, cursor] of [
    ['null', null],
    ['absent', undefined],
  ] as const) {
    test(`with a cursor that is ${what}: asks for no replay, reports no gap, and keeps the weakest guarantee`, async (t) => {
      const { server, follower } = await start(t, { delivery: ['poll'] });
      let round = 0;
      server.handlers['events/poll'] = ({ params }: Asked) => {
        assert.equal(params.cursor, null);
        const events =
          ++round > 1 ? [new EventsServer().occurrence({ eventId: `x${round}`, at: round })] : [];
        return {
          events,
          ...(cursor === undefined ? {} : { cursor }),
          truncated: true,
          hasMore: false,
          nextPollMs: 5,
        };
      };
      assert.deepEqual(await follower.words(3), [POLL[0], 'x2', 'x3'], 'truncated is not reported');
    });
  }

  test('reports a rejected cursor as a gap and continues', async (t) => {
    const { events, server, follower } = await start(t, { delivery: ['poll'] });
    await follower.words(2);
    const poll = server.handlers['events/poll']!;
    await server.restart(() => {
      events.happen();
      server.handlers['events/poll'] = (asked) => {
        if (asked.params.cursor === 'c0') throw new Refused(-32602);
        return poll(asked);
      };
    });
    assert.deepEqual(await follower.items(1), ['gap truncated']);
    events.happen();
    assert.deepEqual(await follower.items(1), ['e2']);
  });
});

describe('push', () => {
  test('begins with new events, and continues from its last cursor when the stream breaks off', async (t) => {
    const { events, server, follower } = await start(t, { delivery: ['push'] });
    assert.deepEqual(await follower.words(2), PUSH);
    events.happen(2);
    assert.deepEqual(await follower.items(2), ['e1', 'e2']);
    const waiting = follower.items(2);
    await until(() => events.streams.size === 1);
    server.cut();
    events.happen(2);
    assert.deepEqual(await waiting, ['e3', 'e4']);
    assert.deepEqual(
      server.calls
        .filter(({ method }) => method === 'events/stream')
        .map(({ params }) => params.cursor),
      [null, 'c2'],
    );
  });

  test('reopens a stream without heartbeats, but not one whose heartbeats continue', async (t) => {
    const { events, server, follower } = await start(
      t,
      { delivery: ['push'] },
      { tuning: { silenceMs: 1000 } },
    );
    await follower.words(2);
    const waiting = follower.items(1);
    await new Promise((resolve) => {
      setTimeout(resolve, 2500);
    });
    assert.equal(server.countOf('events/stream'), 1, 'heartbeats keep it alive');
    for (const stream of events.streams) stream.notify = () => undefined;
    await until(() => server.countOf('events/stream') === 2);
    events.happen();
    assert.deepEqual(await waiting, ['e1']);
  });

  test('[deg-say] without cursors reports the time between two streams, since nothing else would reveal it', async (t) => {
    const { events, server, follower } = await start(t, { delivery: ['push'], replays: false });
    assert.deepEqual(await follower.words(1), [PUSH[0]]);
    const first = follower.items(1);
    await until(() => events.streams.size === 1);
    events.happen();
    assert.deepEqual(await first, ['e1']);
    const waiting = follower.items(2);
    await server.restart(() => {
      events.happen();
    });
    await until(() => server.countOf('events/stream') === 2 && events.streams.size === 1);
    events.happen();
    assert.deepEqual(await waiting, ['gap unwatched', 'e3']);
    assert.equal(follower.following.guarantee?.loss, 'undetected');
  });

  test('reports a gap in its place and continues with events', async (t) => {
    const { events, follower } = await start(t, { delivery: ['push'] });
    await follower.words(2);
    events.happen();
    const waiting = follower.items(3);
    await until(() => events.streams.size === 1);
    for (const stream of events.streams)
      stream.notify('notifications/events/active', { cursor: 'c1', truncated: true });
    events.happen();
    assert.deepEqual(await waiting, ['e1', 'gap truncated', 'e2']);
  });

  test('ignores a recoverable error', async (t) => {
    const { events, server, follower } = await start(t, { delivery: ['push'] });
    await follower.words(2);
    const waiting = follower.items(1);
    await until(() => events.streams.size === 1);
    for (const stream of events.streams)
      stream.notify('notifications/events/error', { error: { code: -32603, message: 'a moment' } });
    events.happen();
    assert.deepEqual([await waiting, server.countOf('events/stream')], [['e1'], 1]);
  });

  const endings = [
    ['NotFound', { kind: 'event' }, 'trigger_removed'],
    ['Forbidden', undefined, 'revoked'],
    ['Unsupported', { feature: 'payloadSchema', reason: 'schema_changed' }, 'schema_changed'],
  ] as const;
  for (const dialect of ['sep', 'sketch'] as const) {
    for (const [name, data, reason] of endings) {
      test(`ends with ${reason} when the server terminates with ${name} in the codes of ${dialect}`, async (t) => {
        const { events, follower } = await start(t, { delivery: ['push'], dialect });
        await follower.words(2);
        const end = follower.ended();
        await until(() => events.streams.size === 1);
        if (name === 'NotFound') events.delivery = [];
        for (const stream of events.streams)
          stream.notify('notifications/events/terminated', {
            error: { code: CODES[dialect][name], message: 'over', ...(data ? { data } : {}) },
          });
        const error = await end;
        assert.ok(error instanceof LocalError, String(error));
        assert.deepEqual([error.code, error.reason], ['terminated', reason]);
        assert.ok(error.cause instanceof WireError && error.cause.name === name);
      });
    }
  }
});

describe("[deg-events-meta] the server's numbers", () => {
  for (const mode of ['poll', 'push'] as const) {
    const begin = mode === 'poll' ? POLL : PUSH;

    test(`by ${mode}: are on the items and give a stronger guarantee`, async (t) => {
      const { events, follower } = await start(t, { delivery: [mode], log: { ...LOG } });
      assert.deepEqual(await follower.words(2), begin);
      events.happen(2);
      assert.deepEqual(await follower.words(3), [
        `upgraded events.${mode}: none silent, exact, server`,
        'e1 #1',
        'e2 #2',
      ]);
      assert.equal(follower.following.guarantee?.order, 'total');
    });

    test(`by ${mode}: a missing number is a gap that names it`, async (t) => {
      const { events, follower } = await start(t, { delivery: [mode], log: { ...LOG } });
      await follower.words(2);
      events.happen();
      assert.deepEqual(await follower.items(1), ['e1 #1']);
      events.log!.shift = -3;
      events.happen();
      assert.deepEqual(await follower.items(2), ['gap missing 2-4', 'e2 #5']);
    });

    test(`by ${mode}: a new epoch is reported, with its missing numbers`, async (t) => {
      const { events, follower } = await start(t, { delivery: [mode], log: { ...LOG } });
      await follower.words(2);
      events.happen(4);
      await follower.items(4);
      Object.assign(events.log!, { epoch: 'epoch_2', shift: 2 });
      events.happen();
      assert.deepEqual(await follower.items(3), ['epoch after 4', 'gap missing 1-2', 'e5 #3']);
    });

    test(`by ${mode}: another log is reported as the loss of the first`, async (t) => {
      const { events, follower } = await start(t, { delivery: [mode], log: { ...LOG } });
      await follower.words(2);
      events.happen(2);
      await follower.items(2);
      Object.assign(events.log!, { subscriptionId: 'sub_2', shift: 2 });
      events.happen();
      assert.deepEqual(await follower.items(2), ['lost replaced after 2', 'e3 #1']);
    });

    test(`by ${mode}: a repeated event is dropped, and a new event under a used number is a violation by the server`, async (t) => {
      const { events, server, follower } = await start(t, { delivery: [mode], log: { ...LOG } });
      await follower.words(2);
      events.happen(3);
      await follower.items(3);
      // The same event again, then a new one.
      events.events.push(events.events[1]!);
      const [, again] = [events.happen(), events.events.at(-2)!];
      if (mode === 'push')
        for (const stream of events.streams)
          stream.notify('notifications/events/event', events.occurrence(again, true));
      const [, , , , fifth] = events.events;
      assert.deepEqual(
        await follower.items(1),
        ['gap missing 4-4'],
        'the number that the repetition took is missing',
      );
      assert.deepEqual(await follower.items(1), [`${fifth!.eventId} #5`]);
      // The next event gets a number that is used up.
      events.log!.shift = 4;
      events.happen();
      const change = await follower.ended();
      assert.ok(
        change instanceof LocalError &&
          change.code === 'peer_misbehaved' &&
          change.reason === 'number',
        String(change),
      );
      assert.ok(
        server.countOf(mode === 'poll' ? 'events/poll' : 'events/stream') >= 3,
        'it had three chances',
      );
    });
  }

  test('a gap that is both flagged and shown by the numbers is reported once', async (t) => {
    const { events, server, follower } = await start(t, { delivery: ['poll'], log: { ...LOG } });
    await follower.words(2);
    events.happen();
    await follower.items(1);
    await server.restart(() => {
      events.happen(4);
      events.oldest = 3;
    });
    assert.deepEqual(await follower.items(3), ['gap missing 2-3', 'e4 #4', 'e5 #5']);
  });

  for (const number of [
    { sequence: 0 },
    { sequence: 'one' },
    { epoch: '' },
    { subscriptionId: 5 },
    'x',
  ]) {
    test(`an invalid number is a violation by the server: ${JSON.stringify(number)}`, async (t) => {
      const { events, server, follower } = await start(t, { delivery: ['poll'] });
      await follower.words(2);
      const poll = server.handlers['events/poll']!;
      server.handlers['events/poll'] = (asked) => {
        const result = poll(asked) as { events: Record<string, unknown>[] };
        for (const one of result.events)
          one['_meta'] = {
            'io.modelcontextprotocol/triggers':
              typeof number === 'string'
                ? number
                : { subscriptionId: 's', epoch: 'e', sequence: 1, ...number },
          };
        return result;
      };
      events.happen();
      const error = await follower.ended();
      assert.ok(error instanceof LocalError && error.code === 'peer_misbehaved', String(error));
    });
  }
});

describe('requests and rejections', () => {
  test('sends no events/* without the capability', async (t) => {
    const events = new EventsServer();
    const server = await startRaw(t, (raw) => {
      Object.assign(raw.handlers, events.handlers);
    });
    const follower = await followed(t, server.url);
    const error = await follower.ended();
    assert.ok(
      error instanceof LocalError && error.code === 'not_supported' && error.reason === 'mode',
      String(error),
    );
    assert.deepEqual(
      server.calls.filter(({ method }) => method.startsWith('events/')),
      [],
    );
  });

  for (const dialect of ['sep', 'sketch'] as const) {
    test(`fails with NotFound for a type that is not in the list, ${dialect}`, async (t) => {
      const { follower, server } = await start(t, { dialect, name: 'other' });
      const error = await follower.ended();
      assert.ok(error instanceof WireError && error.is('NotFound'), String(error));
      assert.equal(server.countOf('events/poll'), 0);
    });

    for (const [name, data] of [
      ['Forbidden', undefined],
      ['ResourceExhausted', { limit: 'polls', max: 3 }],
      ['NotFound', { kind: 'event' }],
    ] as const) {
      test(`ends a rejected poll with the same typed error whatever the codes: ${name}, ${dialect}`, async (t) => {
        const { follower, server, events } = await start(t, { dialect, delivery: ['poll'] });
        server.handlers['events/poll'] = () => events.refuse(name, data);
        await follower.words(1);
        const error = await follower.ended();
        assert.ok(error instanceof WireError && error.name === name, String(error));
      });
    }
  }

  test('ends a poll with invalid arguments with the path of the server', async (t) => {
    const { follower, server } = await start(t, { delivery: ['poll'] });
    server.handlers['events/poll'] = () => {
      throw new Refused(-32602, { path: '/arguments/x', expected: 'a string' });
    };
    await follower.words(1);
    const error = await follower.ended();
    assert.ok(error instanceof WireError && error.is('InvalidParams'), String(error));
    assert.deepEqual(error.data, { kind: 'invalid', path: '/arguments/x', expected: 'a string' });
  });
});
