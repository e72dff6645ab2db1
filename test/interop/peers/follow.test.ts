// Tests this library's client on servers that others wrote and that know nothing of this extension:
// which mode it chooses, and that the guarantee it reports is true. Each server is killed while it
// is followed, and something happens that nobody can see: the client must report it, or must not
// have promised otherwise.
import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe } from 'vitest';
import { setTimeout as sleep } from 'node:timers/promises';
import { eventually, temporaryFolder } from '../../journeys/support.ts';
import { follow, isEvent, mortal, promised, startHook, told, type Follower } from './follower.ts';
import { peerTest, type PeerRow } from './matrix.ts';
import {
  Board,
  NOTICE,
  type StockOptions,
  type StockProgram,
  type StockServer,
} from './servers/board.ts';
import { everythingProgram, startEverything } from './servers/everything.ts';
import { EVENT_NAME, startMcpHandler, TOKEN } from './servers/mcp-handler.ts';
import { sdk1Program, startSdk1 } from './servers/sdk1.ts';
import { startSdk2 } from './servers/sdk2.ts';

const NOTICE_UPDATED = { name: 'mcp.resource.updated', arguments: { uri: NOTICE } } as const;
const CLOCK = 'demo://resource/dynamic/text/1';
const MISSED = '`gap unwatched`, then the newest state';

/** The texts of the resource, as events reported them. */
const texts = ({ items }: Follower): string[] =>
  items
    .filter(isEvent)
    .map(
      ({ event }) =>
        (event.data as { readonly contents: readonly { readonly text: string }[] }).contents[0]!
          .text,
    );
const words = ({ items }: Follower): string[] =>
  items.map((item) => (item.type === 'gap' ? `gap ${item.reason}` : item.type));
const isGap = (item: Follower['items'][number]): boolean => item.type === 'gap';

/** Asserts that the connection speaks the revision of the row. */
const speaks = ({ connection }: Follower, era: PeerRow['era']): void =>
  assert.equal(connection.isModern, era === '2026-07-28');

/** Waits until the client has read the server's state, so that any later change is a difference. */
const hasLooked = (board: Board, method: string, requests = 1): Promise<unknown> =>
  eventually('the client has read', () => board.count(method) >= requests);

describe('our client on servers without this extension', () => {
  for (const { peer, era, start } of [
    { peer: '@modelcontextprotocol/sdk', era: '2025-11-25', start: startSdk1 },
    { peer: '@modelcontextprotocol/server', era: '2026-07-28', start: startSdk2 },
  ] as const satisfies readonly (Pick<PeerRow, 'peer' | 'era'> & {
    start: (options?: StockOptions) => Promise<StockServer>;
  })[]) {
    peerTest(
      {
        peer,
        role: 'server',
        era,
        drain: 'resources, announced',
        exercised: 'over HTTP: a resource changes; killed, and changed twice unobserved',
      },
      async () => {
        const board = new Board();
        await using server = await mortal((at) => start({ ...at, board }));
        await using follower = await follow({ url: server.url }, { select: [NOTICE_UPDATED] });
        await follower.stands('listen');
        speaks(follower, era);
        await hasLooked(board, 'resources/read');
        const guarantee = follower.following.guarantee!;
        board.texts.set(NOTICE, 'second');
        await server.now.announce({ uri: NOTICE });
        await follower.given('the change', isEvent);
        await server.dies();
        board.texts.set(NOTICE, 'never seen');
        board.texts.set(NOTICE, 'newest');
        await server.returns();
        await eventually('the newest state', () => texts(follower).includes('newest'));
        assert.deepEqual(words(follower), ['event', 'gap unwatched', 'event']);
        assert.deepEqual(texts(follower), ['second', 'newest']);
        assert.equal(guarantee.loss, 'latest state only');
        return `${promised(guarantee)}; ${MISSED}`;
      },
    );
  }

  peerTest(
    {
      peer: '@modelcontextprotocol/server',
      role: 'server',
      era: '2026-07-28',
      drain: 'resources, read again',
      exercised: 'over HTTP: a server that announces nothing; restarted as one that does, and back',
    },
    async () => {
      const board = new Board();
      await using server = await mortal((at) => startSdk2({ ...at, board }));
      const again = async (capabilities: Board['capabilities']): Promise<void> => {
        await server.dies();
        board.capabilities = capabilities;
        await server.returns();
      };
      await again({ resources: {} });
      await using follower = await follow({ url: server.url }, { select: [NOTICE_UPDATED] });
      await follower.stands('read');
      speaks(follower, '2026-07-28');
      const guarantee = follower.following.guarantee!;
      await hasLooked(board, 'resources/read');
      board.texts.set(NOTICE, 'second');
      await eventually('the change', () => texts(follower).includes('second'));
      await again({ resources: { subscribe: true } });
      await follower.stands('listen');
      board.texts.set(NOTICE, 'third');
      await again({ resources: {} });
      await follower.stands('read');
      await eventually('what changed in between', () => texts(follower).includes('third'));
      assert.deepEqual(told(follower), ['chosen read', 'upgraded listen', 'downgraded read']);
      return `${promised(guarantee)}; up to \`listen\`, and back, both reported`;
    },
  );

  peerTest(
    {
      peer: '@modelcontextprotocol/sdk',
      role: 'server',
      era: '2025-11-25',
      drain: 'resources, read again',
      exercised:
        'over HTTP: a server that declares change notifications and refuses the stream for them',
    },
    async () => {
      await using server = await startSdk1({ stream: false });
      await using follower = await follow({ url: server.url }, { select: [NOTICE_UPDATED] });
      await follower.stands('read');
      speaks(follower, '2025-11-25');
      await hasLooked(server.board, 'resources/read');
      server.board.texts.set(NOTICE, 'second');
      await eventually('the change', () => texts(follower).includes('second'));
      assert.deepEqual(told(follower), ['chosen listen', 'refused read']);
      assert.equal(
        (follower.changes[1]!.error as { readonly code?: string }).code,
        'not_supported',
      );
      return `${promised(follower.following.guarantee!)}; the refused stream is reported`;
    },
  );

  peerTest(
    {
      peer: '@modelcontextprotocol/server',
      role: 'server',
      era: '2026-07-28',
      drain: 'lists, announced',
      exercised: 'over HTTP: a tool is added; killed, and one removed unobserved',
    },
    async () => {
      const board = new Board();
      await using server = await mortal((at) => startSdk2({ ...at, board }));
      await using follower = await follow(
        { url: server.url },
        { select: [{ name: 'mcp.tools.list_changed' }] },
      );
      const lists = (): string[] =>
        follower.items.filter(isEvent).map(({ event }) =>
          (event.data as { readonly items: readonly { readonly name: string }[] }).items
            .map(({ name }) => name)
            .sort()
            .join(),
        );
      const names = (): string =>
        board.tools
          .map(({ name }) => name)
          .sort()
          .join();
      await follower.stands('listen');
      speaks(follower, '2026-07-28');
      await hasLooked(board, 'tools/list', Math.ceil(board.tools.length / board.pageSize));
      board.tools.push({ name: 'added' });
      await server.now.announce('tools');
      await eventually('the longer list', () => lists().at(-1) === names());
      await server.dies();
      board.tools.shift();
      await server.returns();
      await eventually('the shorter list', () => lists().at(-1) === names());
      assert.equal(words(follower).filter((word) => word === 'gap unwatched').length, 1);
      return `${promised(follower.following.guarantee!)}; ${MISSED}`;
    },
  );

  peerTest(
    {
      peer: '@modelcontextprotocol/sdk',
      role: 'server',
      era: '2025-11-25',
      drain: 'tools, called again',
      exercised: 'on stdio: the result of a tool changes; the process ends',
    },
    async () => {
      const { command, args } = sdk1Program();
      const select = [{ name: 'board.changed' }];
      await using follower = await follow(
        { command, args, stderr: 'ignore' },
        { select, otherwise: { 'board.changed': { tool: { name: 'status' } } } },
      );
      await follower.stands('tool');
      speaks(follower, '2025-11-25');
      const guarantee = follower.following.guarantee!;
      let count = 0;
      // The time of the first call is unknown, and its result is not a change.
      await eventually('a change', async () => {
        await follower.connection.call('tools/call', {
          name: 'write',
          arguments: { text: `text ${++count}` },
        });
        await sleep(50);
        return follower.items.some(isEvent);
      });
      await follower.connection.call('tools/call', { name: 'exit', arguments: {} });
      await follower.given(
        'the state of a new process',
        (item) => isEvent(item) && JSON.stringify(item.event.data).includes('first'),
      );
      assert.deepEqual(
        { loss: guarantee.loss, gaps: guarantee.gaps },
        { loss: 'latest state only', gaps: 'none' },
      );
      return `${promised(guarantee)}; a new process is called, and its result is the next event`;
    },
  );
});

describe('our client on @modelcontextprotocol/server-everything', () => {
  const PEER = {
    peer: '@modelcontextprotocol/server-everything',
    role: 'server',
    era: '2025-11-25',
    drain: 'resources, announced',
  } as const satisfies Partial<PeerRow>;

  /**
   * Its resource shows the time of day in seconds. It notifies at once on the
   * command to start, and then every five seconds.
   */
  async function announceUntilEvent(follower: Follower): Promise<void> {
    const before = follower.items.filter(isEvent).length;
    await eventually('a notification shows another time', async () => {
      await follower.connection.call('tools/call', {
        name: 'toggle-subscriber-updates',
        arguments: {},
      });
      await sleep(300);
      return follower.items.filter(isEvent).length > before;
    });
  }

  async function isTrue(follower: Follower, kill: () => Promise<void>): Promise<string> {
    await follower.stands('listen');
    speaks(follower, PEER.era);
    const guarantee = follower.following.guarantee!;
    await announceUntilEvent(follower);
    await kill();
    await follower.given('a gap', isGap);
    // Within the same second nothing has changed.
    await announceUntilEvent(follower);
    assert.equal(guarantee.loss, 'latest state only');
    assert.deepEqual(
      words(follower).filter((word) => word !== 'event'),
      ['gap unwatched'],
    );
    return `${promised(guarantee)}; ${MISSED}`;
  }

  const select = [{ name: 'mcp.resource.updated', arguments: { uri: CLOCK } }];

  peerTest(
    { ...PEER, exercised: 'over HTTP: a resource changes; killed, and restarted' },
    async () => {
      await using server = await mortal(startEverything);
      await using follower = await follow({ url: server.url }, { select });
      return await isTrue(follower, async () => {
        await server.dies();
        await server.returns();
      });
    },
  );

  peerTest(
    { ...PEER, exercised: 'on stdio: a resource changes; the process is killed' },
    async () => {
      await using folder = await temporaryFolder();
      const file = join(folder.path, 'pid');
      const { command, args }: StockProgram = everythingProgram();
      // Prints which process it is before it runs the unmodified program.
      const say = `data:text/javascript,import{writeFileSync}from'node:fs';writeFileSync(${JSON.stringify(file)},String(process.pid))`;
      await using follower = await follow(
        { command, args: ['--import', say, ...args], stderr: 'ignore' },
        { select },
      );
      return await isTrue(
        follower,
        async () => void process.kill(Number(await readFile(file, 'utf8')), 'SIGKILL'),
      );
    },
  );
});

describe('our client on mcp-handler', () => {
  const PUBLIC = 'https://hooks.example';

  peerTest(
    {
      peer: 'mcp-handler',
      role: 'server',
      era: '2026-07-28',
      drain: 'events webhook',
      exercised:
        'challenge and events; an event while the receiver is away; the server is killed and forgets everything',
    },
    async () => {
      await using hook = await startHook(PUBLIC);
      const options = { reach: (url: string) => url.replace(PUBLIC, hook.origin), ttlMs: 2000 };
      await using server = await mortal((at) => startMcpHandler({ ...options, ...at }));
      await using follower = await follow(
        { url: server.url, token: TOKEN },
        { select: [{ name: EVENT_NAME }], callback: hook.receiver },
      );
      const boxes = (): unknown[] =>
        follower.items
          .filter(isEvent)
          .map(({ event }) => (event.data as { readonly box: string }).box);
      const subscribed = (): Promise<unknown> =>
        eventually('it has subscribed', () => server.now.subscriptions.size === 1);
      const delivered = async (box: string): Promise<void> => {
        assert.deepEqual(await server.now.deliver({ box }), [204]);
        await eventually(`the application has ${box}`, () => boxes().includes(box));
      };
      await follower.stands('events.webhook');
      speaks(follower, '2026-07-28');
      const guarantee = follower.following.guarantee!;
      await subscribed();
      await delivered('front');
      await hook.stop();
      assert.deepEqual(await server.now.deliver({ box: 'missed' }), [0]);
      await hook.start();
      await delivered('back');

      // It stores nothing on disk: a client that refreshes in time is subscribed again.
      await server.dies();
      await server.returns();
      await subscribed();
      await delivered('cellar');

      // Nothing on the wire reveals the loss, so the client must not guarantee that it reports one.
      assert.deepEqual(boxes(), ['front', 'back', 'cellar']);
      assert.equal(guarantee.loss, 'undetected');
      assert.deepEqual(
        follower.items.filter(isEvent).map(({ number }) => number),
        [1, 2, 3].map((count) => ({ by: 'client', count })),
      );
      return promised(guarantee);
    },
  );
});
