/**
 * Tests following by change notifications, at servers without triggers: the same with every SDK, in
 * both eras, over HTTP and on a pipe.
 */
import assert from 'node:assert/strict';
import { describe, test, type TestContext } from 'vitest';
import type { Connection } from '../../../../src/client/sdk/connection.ts';
import { listenMode } from '../../../../src/client/follow/modes/plain/listen.ts';
import { Board, NOTICE } from '../../../interop/peers/servers/board.ts';
import { sdk1Program, startSdk1 } from '../../../interop/peers/servers/sdk1.ts';
import { sdk2Program, startSdk2 } from '../../../interop/peers/servers/sdk2.ts';
import { pause } from '../../peer.ts';
import { until } from '../../support.ts';
import { NOTICE_UPDATED, reached, started, TOOLS_CHANGED } from './support.ts';

/** A server that is changed by calling its tools, which works on a pipe as well. */
interface Peer {
  readonly connection: Connection;
  write(text: string): Promise<void>;
  announce(what: string): Promise<void>;
}

function peerOf(connection: Connection): Peer {
  const call = async (name: string, args: object): Promise<void> => {
    await connection.call('tools/call', { name, arguments: args });
  };
  return {
    connection,
    write: (text) => call('write', { text }),
    announce: (what) => call('announce', { what }),
  };
}

const PEERS: Readonly<Record<string, (test: TestContext) => Promise<Peer>>> = {
  'SDK 1.x over HTTP': async (t) => {
    const server = await startSdk1();
    t.onTestFinished(() => server[Symbol.asyncDispose]());
    return peerOf(await reached(t, server));
  },
  'SDK 2.x over HTTP': async (t) => {
    const server = await startSdk2();
    t.onTestFinished(() => server[Symbol.asyncDispose]());
    return peerOf(await reached(t, server));
  },
  'SDK 1.x on a pipe': async (t) => peerOf(await reached(t, sdk1Program())),
  'SDK 2.x on a pipe': async (t) => peerOf(await reached(t, sdk2Program())),
  'SDK 2.x on a pipe, by handshake': async (t) =>
    peerOf(await reached(t, sdk2Program(), { protocol: '2025-11-25' })),
};

for (const [name, start] of Object.entries(PEERS)) {
  describe(`listen: ${name}`, () => {
    test('a change is an event, a notification without a change is not', async (t) => {
      const peer = await start(t);
      const run = await started(t, listenMode, peer.connection, NOTICE_UPDATED);
      assert.deepEqual(await run.has(1), ['mark'], 'the initial state is not an event');
      await peer.announce(NOTICE);
      await peer.write('second');
      await peer.announce(NOTICE);
      assert.deepEqual(await run.has(2), ['mark', 'event second']);
      await peer.announce(NOTICE);
      await peer.write('third');
      await peer.announce(NOTICE);
      assert.deepEqual(await run.has(3), ['mark', 'event second', 'event third']);
      const [, event] = run.yields;
      assert.ok(event?.type === 'event');
      assert.deepEqual(event.event.data, {
        uri: NOTICE,
        contents: [{ uri: NOTICE, mimeType: 'text/plain', text: 'second' }],
      });
      assert.equal(event.event.name, 'mcp.resource.updated');
      assert.equal(event.mark, event.event.eventId);
      run.stop();
      assert.equal((await run.outcome).error?.message, 'stopped');
    });
  });
}

describe('listen', () => {
  for (const [name, startServer, kinds] of [
    ['SDK 1.x', startSdk1, ['tools', 'prompts', 'resources']],
    ['SDK 2.x', startSdk2, ['tools', 'prompts', 'resources']],
  ] as const) {
    test(`${name}: follows each list with all its pages; another order is not a change`, async (t) => {
      await using server = await startServer();
      const connection = await reached(t, server);
      const runs = await Promise.all(
        kinds.map((kind) =>
          started(t, listenMode, connection, { name: `mcp.${kind}.list_changed` }),
        ),
      );
      for (const run of runs) await run.has(1);
      server.board.tools.reverse();
      await server.announce('tools');
      await until(() => server.board.count('tools/list') >= 6);
      server.board.tools.push({ name: 'added' });
      server.board.prompts.push('added');
      server.board.texts.set('board://added', '');
      for (const kind of kinds) await server.announce(kind);
      assert.deepEqual(await runs[0]!.has(2), [
        'mark',
        'event exit,announce,write,unmarked,status,added',
      ]);
      assert.deepEqual(await runs[1]!.has(2), ['mark', 'event greet,added']);
      assert.deepEqual(await runs[2]!.has(2), ['mark', `event ${NOTICE},board://added`]);
    });
  }

  test('does not miss what changed before it subscribed', async (t) => {
    await using server = await startSdk1();
    const connection = await reached(t, server);
    server.board.replaced.set(
      'resources/subscribe',
      (_, board) => (board.texts.set(NOTICE, 'meanwhile'), {}),
    );
    const first = await started(t, listenMode, connection, NOTICE_UPDATED, {
      mark: 'hash-of-something-else',
    });
    assert.deepEqual(await first.has(2), ['gap unwatched', 'event meanwhile']);
  });

  test('reads at most once per minimum interval, however many notifications come', async (t) => {
    await using server = await startSdk2();
    const run = await started(t, listenMode, await reached(t, server), NOTICE_UPDATED, {
      tuning: { pollFloorMs: 300 },
    });
    await run.has(1);
    server.board.texts.set(NOTICE, 'loud');
    const startedAt = performance.now();
    for (let sent = 0; sent < 50; sent++) {
      await server.announce({ uri: NOTICE });
      await pause(5);
    }
    await run.has(2);
    const looks = server.board.count('resources/read');
    assert.ok(looks <= 3 + (performance.now() - startedAt) / 300, `${looks} looks`);
    // It stops when the notifications do.
    for (let before = 0, now = looks; now !== before;) {
      before = now;
      await pause(1000);
      now = server.board.count('resources/read');
    }
  });

  test('reads now and then without notifications; two unannounced changes close the stream as dead', async (t) => {
    for (const startServer of [startSdk1, startSdk2]) {
      await using server = await startServer();
      const run = await started(t, listenMode, await reached(t, server), NOTICE_UPDATED, {
        // Also the time limit of its requests.
        tuning: { silenceMs: 1000 },
      });
      await run.has(1);
      server.board.texts.set(NOTICE, 'secret');
      assert.deepEqual(await run.has(2), ['mark', 'event secret']);
      server.board.texts.set(NOTICE, 'secret again');
      const { error } = await run.outcome;
      assert.deepEqual([error?.code, error?.reason], ['timeout', 'silence']);
      assert.deepEqual(
        run.words(),
        ['mark', 'event secret', 'event secret again'],
        'nothing is missing',
      );
    }
  });

  test('unsubscribes when the last run of a resource stops, and reads nothing afterwards', async (t) => {
    await using old = await startSdk1();
    const connection = await reached(t, old);
    const [one, other] = [
      await started(t, listenMode, connection, NOTICE_UPDATED),
      await started(t, listenMode, connection, NOTICE_UPDATED),
    ];
    await Promise.all([one.has(1), other.has(1)]);
    one.stop();
    await one.outcome;
    old.board.texts.set(NOTICE, 'second');
    await old.announce({ uri: NOTICE });
    assert.deepEqual(
      await other.has(2),
      ['mark', 'event second'],
      'the other one is still notified',
    );
    assert.equal(old.board.count('resources/unsubscribe'), 0);
    other.stop();
    await until(() => old.board.count('resources/unsubscribe') === 1);

    await using modern = await startSdk2();
    const listening = await started(t, listenMode, await reached(t, modern), NOTICE_UPDATED);
    await listening.has(1);
    listening.stop();
    assert.equal((await listening.outcome).error?.message, 'stopped');
    const before = modern.board.count('resources/read');
    modern.board.texts.set(NOTICE, 'nobody looks');
    await modern.announce({ uri: NOTICE });
    await pause(50);
    assert.equal(modern.board.count('resources/read'), before);
  });

  test('is not offered without the capability', async (t) => {
    const board = new Board();
    board.capabilities = { resources: {}, tools: {}, prompts: { listChanged: true } };
    await using server = await startSdk1({ board });
    const connection = await reached(t, server);
    const offers = await Promise.all(
      [
        NOTICE_UPDATED,
        TOOLS_CHANGED,
        { name: 'mcp.resources.list_changed' },
        { name: 'mcp.prompts.list_changed' },
        { name: 'order.paid' },
      ].map((selection) =>
        listenMode.offer(
          connection,
          { selection, otherwise: undefined, callback: undefined },
          AbortSignal.timeout(1000),
        ),
      ),
    );
    assert.deepEqual(
      offers.map((offer) => offer?.guarantee.loss),
      [undefined, undefined, undefined, 'latest state only', undefined],
    );
  });

  test('a notification of a part of a resource counts for that resource, and for no other', async (t) => {
    await using server = await startSdk1();
    const connection = await reached(t, server);
    const OTHER = 'board://other';
    const runs = [
      await started(t, listenMode, connection, NOTICE_UPDATED),
      await started(t, listenMode, connection, {
        name: 'mcp.resource.updated',
        arguments: { uri: OTHER },
      }),
    ];
    for (const run of runs) await run.has(1);
    await connection.call('resources/subscribe', { uri: `${NOTICE}/line` });
    server.board.texts.set(NOTICE, 'second').set(OTHER, 'no notification');
    await server.announce({ uri: `${NOTICE}/line` });
    assert.deepEqual(await runs[0]!.has(2), ['mark', 'event second']);
    await pause(100);
    assert.deepEqual(runs[1]!.words(), ['mark']);
  });

  test('follows a resource in place of a trigger type', async (t) => {
    await using server = await startSdk2();
    const run = await started(
      t,
      listenMode,
      await reached(t, server),
      { name: 'notice.posted' },
      { otherwise: { resource: NOTICE } },
    );
    await run.has(1);
    server.board.texts.set(NOTICE, 'posted');
    await server.announce({ uri: NOTICE });
    assert.deepEqual(await run.has(2), ['mark', 'event posted']);
  });
});
