/** Tests which mode is chosen, when it is left, and what the application learns about it. */
import assert from 'node:assert/strict';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, test, type TestContext } from 'vitest';
import { fileLedger } from '../../../src/protocol/ledger/file-ledger.ts';
import { memoryLedger } from '../../../src/protocol/ledger/ledger.ts';
import { LocalError, WireError } from '../../../src/protocol/wire/errors.ts';
import { HonestLog, OTHER_EPOCH, pause } from '../peer.ts';
import { until } from '../support.ts';
import { EventsServer } from './events-server.ts';
import { MODERN, Refused, SESSIONS, startRaw, type Asked, type RawServer } from './raw-server.ts';
import { followed, startReceiver } from './support.ts';
import { putOn, takeOff } from './triggers-server.ts';

const BLIND = (mode: string) => `events.${mode}: undetected, none, client`;
const FLAGGED = (mode: string) => `upgraded events.${mode}: flagged, flag, client`;
const NATIVE = 'triggers by stream: none silent, exact, server';

/** A resource whose text can be changed. */
function resource(server: RawServer, uri = 'note://1') {
  const state = { text: 'one' };
  server.capabilities = { ...server.capabilities, resources: {} };
  server.handlers['resources/read'] = () => ({
    contents: [{ uri, text: state.text }],
    ttlMs: 1,
    cacheScope: 'private',
  });
  return state;
}

async function everything(
  t: TestContext,
  change: (raw: RawServer, log: HonestLog, events: EventsServer) => void = () => undefined,
) {
  const log = new HonestLog();
  const events = new EventsServer();
  const server = await startRaw(t, (raw) => {
    putOn(raw, log);
    events.attach(raw);
    change(raw, log, events);
  });
  return { log, events, server };
}

describe('the best mode', () => {
  const OTHERWISE = { timer: { resource: 'note://1', tool: { name: 'look' } } };
  const rows: readonly (readonly [
    what: string,
    change: (raw: RawServer, log: HonestLog, events: EventsServer) => void,
    expected: string,
  ])[] = [
    ['prefers the extension', () => undefined, `chosen ${NATIVE}`],
    [
      'without it follows events/*, by push when there is no endpoint',
      (raw) => takeOff(raw, 'triggers/'),
      `chosen ${BLIND('push')}`,
    ],
    [
      'uses only the modes that the type has',
      (raw, _log, events) => {
        takeOff(raw, 'triggers/');
        events.delivery = ['poll'];
      },
      `chosen ${BLIND('poll')}`,
    ],
    [
      'finds a type that only events/* has',
      (raw, log) => putOn(raw, log, ['another']),
      `chosen ${BLIND('push')}`,
    ],
    [
      'without both, follows the named resource instead',
      (raw) => {
        takeOff(raw, 'triggers/');
        takeOff(raw, 'events/');
      },
      'chosen read: latest state only, none, client',
    ],
    [
      'follows the named tool where there are no resources',
      (raw) => {
        takeOff(raw, 'triggers/');
        takeOff(raw, 'events/');
        raw.capabilities = { tools: {} };
        raw.handlers['tools/list'] = () => ({
          tools: [{ name: 'look', inputSchema: { type: 'object' } }],
        });
        raw.handlers['tools/call'] = () => ({ content: [{ type: 'text', text: 'x' }] });
      },
      'chosen tool: latest state only, none, client',
    ],
  ];
  for (const [what, change, expected] of rows) {
    test(`[deg-say] ${what}`, async (t) => {
      const { server } = await everything(t, (raw, log, events) => {
        resource(raw);
        change(raw, log, events);
      });
      const follower = await followed(t, server.url, { otherwise: OTHERWISE });
      assert.equal(await follower.change(), expected);
      assert.deepEqual(
        follower.following.status.map(({ guarantee }) => guarantee),
        [follower.following.guarantee],
      );
    });
  }

  test('uses only the allowed modes', async (t) => {
    const { server } = await everything(t);
    const follower = await followed(t, server.url, { modes: ['events.poll', 'read'] });
    assert.equal(await follower.change(), `chosen ${BLIND('poll')}`);
    assert.equal(
      server.calls.some(({ method }) => method.startsWith('triggers/')),
      false,
    );
  });

  test('without any mode fails with not_supported, and says what to do', async (t) => {
    const server = await startRaw(t);
    const error = await (await followed(t, server.url)).ended();
    assert.ok(error instanceof LocalError && error.code === 'not_supported', String(error));
    assert.match(
      error.message,
      /no resource for timer\. Name a resource or a tool with "otherwise"/,
    );
  });

  for (const [what, options] of [
    ['no selection', { select: [] }],
    ['an unknown mode', { modes: ['fax' as never] }],
  ] as const) {
    test(`rejects ${what} at once`, async (t) => {
      const server = await startRaw(t);
      await assert.rejects(
        followed(t, server.url, options),
        (error) => error instanceof LocalError && error.code === 'config_invalid',
      );
    });
  }
});

describe('with the extension', () => {
  test('passes on events, gaps, epochs and losses of the subscription, numbered by the server', async (t) => {
    const { server, log } = await everything(t);
    const follower = await followed(t, server.url);
    assert.equal(await follower.change(), `chosen ${NATIVE}`);
    log.append(2);
    log.gap(2, 'retention');
    log.append();
    assert.deepEqual(await follower.words(4), [
      'event-1 #1',
      'event-2 #2',
      'gap retention 3-4',
      'event-5 #5',
    ]);
    const next = follower.words(1);
    await until(() => log.acked === 5);
    log.rotate();
    assert.deepEqual(await next, ['epoch after 5']);
    // `event-1` and `event-2` were handed out before, so the third is the first new event.
    log.append(4);
    const item = await follower.next();
    assert.ok(item.type === 'event' && item.number.by === 'server' && item.selection === undefined);
    assert.deepEqual(
      [item.number.sequence, item.number.epoch, item.number.subscriptionId],
      [3, OTHER_EPOCH, log.id],
    );
  });

  test('reports a drain that was refused, with the reason', async (t) => {
    const { server, log } = await everything(t);
    const receiver = await startReceiver(t);
    log.replaced.set('triggers/subscribe', (params, exchange) => {
      if (params.callback) throw new Refused(-32027, { kind: 'callback', category: 'timeout' });
      return log.methods['triggers/subscribe']!(params, exchange);
    });
    const follower = await followed(t, server.url, { callback: receiver });
    assert.equal(
      await follower.change(),
      'chosen triggers by callback: none silent, exact, server',
    );
    const change = await follower.next();
    assert.ok(
      change.type === 'mode' && change.reason === 'refused' && change.to.drain === 'stream',
    );
    assert.ok(change.error instanceof WireError && change.error.is('CallbackEndpointError'));
  });

  test('close acknowledges what the application has finished, and keeps the subscription', async (t) => {
    const { server, log } = await everything(t);
    const ledger = memoryLedger();
    const follower = await followed(t, server.url, { ledger });
    await follower.change();
    log.append(3);
    await follower.words(3);
    await follower.following.close();
    assert.equal(log.acked, 2, 'the third was handed out, and nothing was requested after it');
    assert.equal(log.alive, true);
  });

  test('close with unsubscribe ends the subscription on the server', async (t) => {
    const { server, log } = await everything(t);
    const follower = await followed(t, server.url);
    await follower.change();
    const end = follower.ended();
    await until(() => follower.following.subscription?.subscription !== undefined);
    await follower.following.close({ unsubscribe: true });
    assert.deepEqual([await end, log.alive], ['ended', false]);
  });

  test('fails with terminated when another client ends the subscription', async (t) => {
    const { server, log } = await everything(t);
    const follower = await followed(t, server.url);
    await follower.change();
    const end = follower.ended();
    await until(() => log.alive);
    log.end('unsubscribed');
    const error = await end;
    assert.ok(
      error instanceof LocalError && error.code === 'terminated' && error.reason === 'unsubscribed',
      String(error),
    );
  });

  test('makes one subscription of two selections', async (t) => {
    const { server, log } = await everything(t, (raw, honest) =>
      putOn(raw, honest, ['timer', 'clock']),
    );
    const follower = await followed(t, server.url, {
      select: [{ name: 'timer' }, { name: 'clock' }],
    });
    assert.equal(await follower.change(), `chosen ${NATIVE}`);
    log.append();
    await follower.words(1);
    assert.deepEqual(
      log.calls
        .filter(({ method }) => method === 'triggers/subscribe')
        .map(({ params }) => params.select),
      [[{ name: 'timer' }, { name: 'clock' }]],
    );
    assert.equal(follower.following.status.length, 1);
    assert.ok(follower.following.subscription);
  });
});

for (const era of [MODERN, SESSIONS] as const) {
  describe(`a server that changes, ${era}`, () => {
    test('[deg-say] upgrades while running to a better mode, and reports the unwatched time between the modes', async (t) => {
      const { server, log, events } = await everything(t, (raw) => {
        raw.era = era;
        takeOff(raw, 'triggers/');
      });
      const follower = await followed(t, server.url);
      assert.deepEqual(await follower.words(2), [`chosen ${BLIND('push')}`, FLAGGED('push')]);
      const waiting = follower.words(3);
      await until(() => events.streams.size === 1);
      events.happen();
      putOn(server, log);
      assert.deepEqual(await waiting, ['e1', `upgraded ${NATIVE}`, 'gap unwatched']);
      log.append();
      assert.deepEqual(await follower.words(1), ['event-1 #1']);
      assert.equal(follower.following.guarantee?.mode, 'triggers');
    });

    test('[deg-say] downgrades at a restart without the extension, then without events/*, and upgrades again', async (t) => {
      const { server, log, events } = await everything(t, (raw) => {
        raw.era = era;
      });
      const state = resource(server);
      const follower = await followed(t, server.url, {
        otherwise: { timer: { resource: 'note://1' } },
      });
      assert.equal(await follower.change(), `chosen ${NATIVE}`);
      log.append();
      assert.deepEqual(await follower.words(1), ['event-1 #1']);
      let waiting = follower.words(3);
      await until(() => log.acked === 1);
      await server.restart(() => takeOff(server, 'triggers/'));
      assert.deepEqual(await waiting, [
        `downgraded ${BLIND('push')}`,
        'gap unwatched',
        FLAGGED('push'),
      ]);
      waiting = follower.words(1);
      await until(() => events.streams.size === 1);
      events.happen();
      assert.deepEqual(await waiting, ['e1']);
      waiting = follower.words(2);
      await server.restart(() => takeOff(server, 'events/'));
      assert.deepEqual(await waiting, [
        'downgraded read: latest state only, none, client',
        'gap unwatched',
      ]);
      state.text = 'two';
      const item = await follower.next();
      assert.ok(item.type === 'event' && item.mode === 'read' && item.number.by === 'client');
      log.append();
      waiting = follower.words(2);
      putOn(server, log);
      // The log kept what happened in the meantime, so there is no gap.
      assert.deepEqual(await waiting, [`upgraded ${NATIVE}`, 'event-2 #2']);
    });

    test('upgrades when the server announces a list that has the type', async (t) => {
      const { server, log, events } = await everything(t, (raw, honest) => {
        raw.era = era;
        putOn(raw, honest, ['another']);
      });
      const follower = await followed(t, server.url, { tuning: { reprobeMs: 100_000 } });
      await follower.words(2);
      const waiting = follower.words(2);
      await until(() => events.streams.size === 1);
      putOn(server, log, ['timer']);
      if (era === MODERN)
        for (const stream of events.streams) stream.notify('notifications/triggers/list_changed');
      else server.announce('notifications/triggers/list_changed');
      assert.deepEqual(await waiting, [`upgraded ${NATIVE}`, 'gap unwatched']);
    });
  });
}

describe('changes of the list of events/*', () => {
  test('[SEP-3415 D8] are asked for on subscriptions/listen, once for all selections, and make the client read the list again', async (t) => {
    const listening: Asked[] = [];
    const { server, log } = await everything(t, (raw) => {
      takeOff(raw, 'triggers/');
      raw.handlers['subscriptions/listen'] = async (asked) => {
        listening.push(asked);
        asked.notify('notifications/subscriptions/acknowledged', {
          notifications: { eventsListChanged: true },
        });
        await new Promise<void>((resolve) => {
          asked.signal.addEventListener('abort', () => resolve(), { once: true });
        });
        return {};
      };
    });
    const follower = await followed(t, server.url, {
      select: [{ name: 'timer' }, { name: 'timer', arguments: { zone: 'utc' } }],
      tuning: { reprobeMs: 100_000 },
    });
    await follower.words(2);
    await until(() => listening.length > 0);
    assert.deepEqual(listening[0]!.params.notifications, { eventsListChanged: true });
    const before = server.countOf('events/list');
    putOn(server, log, ['another']);
    listening[0]!.notify('notifications/events/list_changed', {});
    await until(() => server.countOf('events/list') > before);

    listening[0]!.cut();
    await until(() => listening.length === 2);
    assert.equal(server.countOf('subscriptions/listen'), 2, 'one stream at a time');
    await follower.following.close();
    await until(() => listening[1]!.signal.aborted);
  });

  test('[SEP-3415 D8] are asked for once of a server that does not honor the filter, and never of one that announces nothing', async (t) => {
    const { server } = await everything(t, (raw) => {
      takeOff(raw, 'triggers/');
      raw.handlers['subscriptions/listen'] = async (asked) => {
        asked.notify('notifications/subscriptions/acknowledged', { notifications: {} });
        await new Promise<void>((resolve) => {
          asked.signal.addEventListener('abort', () => resolve(), { once: true });
        });
        return {};
      };
    });
    const follower = await followed(t, server.url, { tuning: { reprobeMs: 100_000 } });
    await follower.words(1);
    follower.next().catch(() => undefined);
    await until(() => server.countOf('subscriptions/listen') === 1);
    await pause(300);
    assert.equal(server.countOf('subscriptions/listen'), 1);

    const silent = await everything(t, (raw, _log, events) => {
      takeOff(raw, 'triggers/');
      takeOff(raw, 'events/');
      events.dialect = 'sketch';
      events.attach(raw);
    });
    const other = await followed(t, silent.server.url, { tuning: { reprobeMs: 100_000 } });
    await other.words(1);
    other.next().catch(() => undefined);
    await until(() => silent.events.streams.size === 1);
    await pause(50);
    assert.equal(silent.server.countOf('subscriptions/listen'), 0);
  });
});

describe('a mode that does not work', () => {
  test('[deg-say] a refused stream is replaced by poll, with the reason', async (t) => {
    const { server, events } = await everything(t, (raw) => {
      takeOff(raw, 'triggers/');
    });
    server.handlers['events/stream'] = () => events.refuse('Forbidden');
    const follower = await followed(t, server.url, { tuning: { reprobeMs: 100_000 } });
    await follower.change();
    const change = await follower.next();
    assert.ok(
      change.type === 'mode' &&
        change.reason === 'refused' &&
        change.from?.mode === 'events.push' &&
        change.to.mode === 'events.poll',
    );
    assert.equal((change.error as Error).name, 'Forbidden');
    assert.deepEqual(await follower.words(1), [FLAGGED('poll')]);
    events.happen();
    assert.deepEqual(await follower.words(1), ['e1']);
  });

  test('a stream that is refused later continues by poll from its last cursor, without loss or repetition', async (t) => {
    const { server, events } = await everything(t, (raw) => {
      takeOff(raw, 'triggers/');
    });
    const follower = await followed(t, server.url, { tuning: { reprobeMs: 100_000 } });
    await follower.words(2);
    events.happen(2);
    assert.deepEqual(await follower.words(2), ['e1', 'e2']);
    const waiting = follower.words(2);
    await until(() => events.streams.size === 1);
    server.handlers['events/stream'] = () =>
      events.refuse('ResourceExhausted', { limit: 'streams' });
    server.cut();
    events.happen();
    assert.deepEqual(await waiting, [
      'refused events.poll: undetected, none, client',
      FLAGGED('poll'),
    ]);
    assert.deepEqual(await follower.words(1), ['e3']);
  });

  test('a stream that breaks off before its first message is given up after repeated attempts', async (t) => {
    const { server, events } = await everything(t, (raw) => {
      takeOff(raw, 'triggers/');
    });
    server.handlers['events/stream'] = ({ cut }) => {
      cut();
      return new Promise(() => undefined);
    };
    const follower = await followed(t, server.url, { tuning: { reprobeMs: 100_000 } });
    assert.deepEqual(await follower.words(3), [
      `chosen ${BLIND('push')}`,
      `refused ${BLIND('poll')}`,
      FLAGGED('poll'),
    ]);
    assert.equal(server.countOf('events/stream'), 5);
    assert.equal(events.streams.size, 0);
  });

  test('is tried again later, and used when it works', async (t) => {
    const { server, events } = await everything(t, (raw) => {
      takeOff(raw, 'triggers/');
    });
    const stream = server.handlers['events/stream']!;
    server.handlers['events/stream'] = () =>
      events.refuse('ResourceExhausted', { limit: 'streams' });
    const follower = await followed(t, server.url);
    await follower.words(3);
    const waiting = follower.words(1);
    server.handlers['events/stream'] = stream;
    assert.match((await waiting)[0]!, /^upgraded events\.push/);
    events.happen();
    assert.deepEqual(await follower.items(1), ['e1']);
  });

  test('is retried forever when only the network fails', async (t) => {
    const { server, events } = await everything(t, (raw) => {
      takeOff(raw, 'triggers/');
    });
    const states: string[] = [];
    const follower = await followed(t, server.url, { onState: ({ phase }) => states.push(phase) });
    await follower.words(2);
    const waiting = follower.words(1);
    await until(() => events.streams.size === 1);
    await server.down();
    await until(() => states.filter((phase) => phase === 'waiting').length >= 8);
    assert.equal(
      follower.following.state.phase === 'waiting' || follower.following.state.phase === 'choosing',
      true,
    );
    events.happen();
    await server.up();
    assert.deepEqual(await waiting, ['e1']);
    assert.equal(follower.following.state.phase, 'following');
  });
});

describe('several selections', () => {
  const select = [
    { name: 'timer' },
    { name: 'mcp.resource.updated', arguments: { uri: 'note://1' } },
  ];

  test('[deg-say] each have their own mode, and the guarantee is the weakest of them', async (t) => {
    const { server, events } = await everything(t, (raw) => {
      takeOff(raw, 'triggers/');
    });
    const state = resource(server);
    const follower = await followed(t, server.url, { select });
    const changes = [await follower.next(), await follower.next(), await follower.next()];
    assert.deepEqual(
      changes.map((item) => item.type === 'mode' && [item.selection?.name, item.to.mode]).sort(),
      [
        ['mcp.resource.updated', 'read'],
        ['timer', 'events.push'],
        ['timer', 'events.push'],
      ],
    );
    assert.equal(follower.following.guarantee?.loss, 'latest state only');
    assert.deepEqual(
      follower.following.status.map(({ guarantee }) => guarantee?.loss),
      ['flagged', 'latest state only'],
    );
    const waiting = [follower.next(), follower.next()];
    await until(() => events.streams.size === 1 && server.countOf('resources/read') > 0);
    state.text = 'two';
    events.happen();
    const items = await Promise.all(waiting);
    assert.deepEqual(
      items.map((item) => item.type === 'event' && [item.selection?.name, item.mode]).sort(),
      [
        ['mcp.resource.updated', 'read'],
        ['timer', 'events.push'],
      ],
    );
  });

  test('a quiet one does not delay the others', async (t) => {
    const { server, events } = await everything(t, (raw) => {
      takeOff(raw, 'triggers/');
    });
    resource(server);
    const follower = await followed(t, server.url, { select });
    await follower.words(3);
    events.happen(50);
    assert.deepEqual(
      await follower.items(50),
      events.events.map(({ eventId }) => eventId),
    );
  });

  test('become one subscription once the server has all types, and end when one type is gone', async (t) => {
    const both = [{ name: 'timer' }, { name: 'clock' }];
    const { server, log, events } = await everything(t, (raw, honest, one) => {
      putOn(raw, honest, ['clock']);
      one.delivery = ['poll'];
    });
    const follower = await followed(t, server.url, { select: both });
    const seen = new Set(await follower.words(3));
    assert.deepEqual(
      [...seen].sort(),
      [`chosen ${BLIND('poll')}`, `chosen ${NATIVE}`, FLAGGED('poll')].sort(),
    );
    events.happen();
    assert.deepEqual(await follower.items(1), ['e1']);
    const waiting = follower.words(2);
    putOn(server, log, ['timer', 'clock']);
    assert.deepEqual(await waiting, [`upgraded ${NATIVE}`, 'gap unwatched']);
    assert.equal(follower.following.status.length, 1);
    const apart = follower.words(1);
    await until(() => log.alive);
    await server.restart(() => takeOff(server, 'triggers/'));
    // No mode has the type `clock` any more.
    await assert.rejects(
      apart.then(() => follower.words(10)),
      (error: Error) => error.name === 'NotFound' || (error as LocalError).code === 'not_supported',
    );
  });
});

describe('the client ledger', () => {
  const folders: string[] = [];
  // Removes the folders after the last client has closed, since closing saves once more.
  afterAll(() =>
    Promise.all(folders.map((folder) => rm(folder, { recursive: true, force: true }))),
  );

  async function ledgerFile(): Promise<string> {
    const folder = await mkdtemp(join(tmpdir(), 'ledger-'));
    folders.push(folder);
    return join(folder, 'ledger.json');
  }

  for (const mode of ['poll', 'push'] as const) {
    test(`by ${mode}: a restarted client continues after what was finished`, async (t) => {
      const { server, events } = await everything(t, (raw, _log, one) => {
        takeOff(raw, 'triggers/');
        one.delivery = [mode];
        one.log = { subscriptionId: 's', epoch: 'e', shift: 0 };
      });
      const path = await ledgerFile();
      const first = await followed(t, server.url, { ledger: fileLedger(path) });
      await first.words(2);
      events.happen(3);
      assert.deepEqual(await first.items(3), ['e1 #1', 'e2 #2', 'e3 #3']);
      const end = first.next().catch(() => undefined);
      await until(() => server.calls.at(-1)!.params.cursor === 'c3' || mode === 'push');
      await first.following.close();
      await end;
      events.happen();
      const second = await followed(t, server.url, { ledger: fileLedger(path) });
      assert.deepEqual(await second.items(1), ['e4 #4'], 'no gap, no repetition');
    });
  }

  test('what was not finished comes again', async (t) => {
    const { server, events } = await everything(t, (raw, _log, one) => {
      takeOff(raw, 'triggers/');
      one.delivery = ['push'];
    });
    const path = await ledgerFile();
    const first = await followed(t, server.url, { ledger: fileLedger(path), ack: 'manual' });
    await first.words(2);
    events.happen(3);
    const items = [await first.next(), await first.next(), await first.next()];
    const middle = items[1]!;
    assert.ok(middle.type === 'event');
    await middle.ack();
    await first.following.close();
    const second = await followed(t, server.url, { ledger: fileLedger(path) });
    assert.deepEqual(await second.items(1), ['e3']);
  });

  test("keeps the server's numbers: the events missed between two runs are named", async (t) => {
    const { server, events } = await everything(t, (raw, _log, one) => {
      takeOff(raw, 'triggers/');
      one.delivery = ['poll'];
      one.log = { subscriptionId: 's', epoch: 'e', shift: 0 };
    });
    const path = await ledgerFile();
    const first = await followed(t, server.url, { ledger: fileLedger(path) });
    await first.words(2);
    events.happen();
    await first.items(1);
    const end = first.next().catch(() => undefined);
    await until(() => server.calls.at(-1)!.params.cursor === 'c1');
    await first.following.close();
    await end;
    events.happen(4);
    events.oldest = 3;
    const second = await followed(t, server.url, { ledger: fileLedger(path) });
    assert.deepEqual(await second.items(3), ['gap missing 2-3', 'e4 #4', 'e5 #5']);
  });

  test('another mode after a restart reports that nothing was watched in between', async (t) => {
    const { server, log, events } = await everything(t, (raw) => {
      takeOff(raw, 'triggers/');
    });
    const ledger = memoryLedger();
    const first = await followed(t, server.url, { ledger });
    await first.words(2);
    events.happen();
    await first.items(1);
    const end = first.next().catch(() => undefined);
    await first.following.close();
    await end;
    putOn(server, log);
    const second = await followed(t, server.url, { ledger });
    assert.deepEqual(await second.words(2), [`chosen ${NATIVE}`, 'gap unwatched']);
  });

  test('a ledger that cannot be written ends the iteration', async (t) => {
    const { server, events } = await everything(t, (raw, _log, one) => {
      takeOff(raw, 'triggers/');
      one.delivery = ['poll'];
    });
    const ledger = memoryLedger();
    const broken = {
      ...ledger,
      save: async () => {
        throw new Error('no space left');
      },
    };
    const follower = await followed(t, server.url, { ledger: broken });
    await follower.words(2);
    events.happen(3);
    const items = await follower.items(1);
    assert.deepEqual(items, ['e1']);
    const error = await follower
      .items(3)
      .then(() => follower.items(3))
      .catch((caught: unknown) => caught);
    assert.match(String(error), /no space left/);
  });
});

describe('the end', () => {
  test('the signal of the options ends the iteration without an error', async (t) => {
    const { server } = await everything(t, (raw) => {
      takeOff(raw, 'triggers/');
    });
    const stop = new AbortController();
    const follower = await followed(t, server.url, { signal: stop.signal });
    await follower.words(2);
    const end = follower.ended();
    stop.abort();
    assert.equal(await end, 'ended');
    assert.deepEqual(follower.following.state, { phase: 'ended' });
  });

  test('leaving the loop releases the stream', async (t) => {
    const { server, events } = await everything(t, (raw) => {
      takeOff(raw, 'triggers/');
    });
    const { following } = await followed(t, server.url);
    events.happen();
    for await (const item of following) {
      if (item.type === 'mode' && item.reason === 'upgraded') events.happen();
      if (item.type === 'event') break;
    }
    await until(() => events.streams.size === 0);
    assert.equal(following.state.phase, 'ended');
  });

  test('a following can be iterated only once', async (t) => {
    const { server } = await everything(t);
    const { following, change } = await followed(t, server.url);
    await change();
    await assert.rejects(
      following[Symbol.asyncIterator]().next(),
      (error) => error instanceof LocalError && error.code === 'config_invalid',
    );
  });

  test('a rejected token ends the iteration instead of trying another mode', async (t) => {
    const { server } = await everything(t, (raw) => {
      takeOff(raw, 'triggers/');
    });
    const follower = await followed(t, server.url);
    server.unauthorized = true;
    const error = await follower.ended();
    assert.ok(error instanceof LocalError && error.code === 'unauthorized', String(error));
  });
});
