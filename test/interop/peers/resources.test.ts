/**
 * Tests that unmodified SDK clients, which know resources and nothing else, follow a feed: they
 * listen to its URI, read when notified, and read the `next` of every page. In order, with a gap,
 * across the death of the server, over HTTP and on a pipe.
 */
import assert from 'node:assert/strict';
import { mkdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { Client, StreamableHTTPClientTransport } from '@modelcontextprotocol/client';
import { StdioClientTransport } from '@modelcontextprotocol/client/stdio';
import { Client as ClientV1 } from '@modelcontextprotocol/sdk/client/index.js';
import { StdioClientTransport as StdioTransportV1 } from '@modelcontextprotocol/sdk/client/stdio.js';
import { StreamableHTTPClientTransport as TransportV1 } from '@modelcontextprotocol/sdk/client/streamableHttp.js';
import { ResourceUpdatedNotificationSchema } from '@modelcontextprotocol/sdk/types.js';
import { webhooks } from '../../../scripts/demo/github.ts';
import { SERVER_ARGS } from '../../../scripts/demo/server-process.ts';
import { folderFeed } from '../../journeys/feeds.ts';
import { eventually, startHttpServer, temporaryFolder } from '../../journeys/support.ts';
import { peerTest, type PeerRow } from './matrix.ts';

/** A connection as an application sees it. */
interface Connected {
  templates(): Promise<{ readonly uriTemplate: string }[]>;
  readText(uri: string): Promise<string>;
  listen(uri: string): Promise<void>;
  /** Process id of a server that the client started. */
  readonly pid: number | null;
  close(): Promise<void>;
}

/** Notifications of a connection between calls. */
interface Happenings {
  notified(): void;
  lost(): void;
}

type Connect = (happenings: Happenings) => Promise<Connected>;
type Program = ConstructorParameters<typeof StdioClientTransport>[0];

/** An SDK as an application uses it. */
interface Sdk {
  readonly peer: string;
  readonly era: NonNullable<PeerRow['era']>;
  http(url: string, token: string): Connect;
  pipe(program: Program): Connect;
}

const v1: Sdk = {
  peer: '@modelcontextprotocol/sdk',
  era: '2025-11-25',
  http: (url, token) =>
    connectV1(
      () =>
        new TransportV1(new URL(url), {
          requestInit: { headers: { authorization: `Bearer ${token}` } },
        }),
    ),
  pipe: (program) => connectV1(() => new StdioTransportV1(program)),
};

const v2: Sdk = {
  peer: '@modelcontextprotocol/client',
  era: '2026-07-28',
  http: (url, token) =>
    connectV2(
      () =>
        new StreamableHTTPClientTransport(new URL(url), {
          authProvider: { token: async () => token },
        }),
    ),
  pipe: (program) => connectV2(() => new StdioClientTransport(program)),
};

const connectV1 =
  (transport: () => TransportV1 | StdioTransportV1): Connect =>
  async ({ notified, lost }) => {
    const client = new ClientV1({ name: 'resources only', version: '1' });
    client.setNotificationHandler(ResourceUpdatedNotificationSchema, () => notified());
    const used = transport();
    await client.connect(used);
    client.onerror = lost;
    client.onclose = lost;
    return {
      templates: async () => (await client.listResourceTemplates()).resourceTemplates,
      readText: async (uri) =>
        ((await client.readResource({ uri })).contents[0] as { text: string }).text,
      listen: async (uri) => void (await client.subscribeResource({ uri })),
      pid: 'pid' in used ? used.pid : null,
      close: () => client.close(),
    };
  };

const connectV2 =
  (transport: () => StreamableHTTPClientTransport | StdioClientTransport): Connect =>
  async ({ notified, lost }) => {
    const client = new Client(
      { name: 'resources only', version: '1' },
      { versionNegotiation: { mode: { pin: v2.era } } },
    );
    client.setNotificationHandler('notifications/resources/updated', () => notified());
    const used = transport();
    await client.connect(used);
    client.onclose = lost;
    return {
      templates: async () => (await client.listResourceTemplates()).resourceTemplates,
      readText: async (uri) =>
        ((await client.readResource({ uri })).contents[0] as { text: string }).text,
      async listen(uri) {
        const { closed, honoredFilter } = await client.listen({ resourceSubscriptions: [uri] });
        assert.deepEqual(honoredFilter.resourceSubscriptions, [uri]);
        void closed.then(lost);
      },
      pid: 'pid' in used ? used.pid : null,
      close: () => client.close(),
    };
  };

interface Page {
  readonly events: readonly {
    readonly eventId: string;
    readonly sequence: number;
    readonly data: unknown;
  }[];
  readonly gaps: readonly { readonly from: number; readonly to: number; readonly reason: string }[];
  readonly after: number;
  readonly next: string;
  readonly hasMore: boolean;
  readonly reset?: object;
}

/** An application that wants every event once, and keeps only the URI of the next page. */
class Follower implements AsyncDisposable {
  readonly #taken: string[] = [];
  #failure: unknown;
  resets = 0;
  notifications = 0;
  connected: Connected | null = null;
  #next: string;
  #read = 0;
  #stopped = false;
  #wake: () => void = () => undefined;
  #leave: () => void = () => undefined;
  readonly #running: Promise<void>;

  constructor(connect: Connect, uri: string, identify: (event: Page['events'][number]) => string) {
    this.#next = uri;
    this.#running = this.#run(connect, uri, identify).catch(
      (error: unknown) => void (this.#failure = error),
    );
  }

  /** Events and gaps, in the order in which they were read. Throws when a page is wrong. */
  get taken(): readonly string[] {
    if (this.#failure !== undefined) throw this.#failure as Error;
    return this.#taken;
  }

  /** Reads when notified, and once after every new connection; never otherwise. */
  async #run(
    connect: Connect,
    uri: string,
    identify: (event: Page['events'][number]) => string,
  ): Promise<void> {
    while (!this.#stopped) {
      let isNotified = true;
      const gone = new Promise<never>(
        (_, reject) => (this.#leave = () => reject(new Error('the connection is gone'))),
      );
      gone.catch(() => undefined);
      // An SDK waits for an answer long after its connection is gone.
      const meanwhile = <T>(answer: Promise<T>): Promise<T> => Promise.race([answer, gone]);
      try {
        this.connected = await connect({
          notified: () => {
            this.notifications += 1;
            isNotified = true;
            this.#wake();
          },
          lost: this.#leave,
        });
        const read = async () =>
          this.#take(
            JSON.parse(await meanwhile(this.connected!.readText(this.#next))) as Page,
            identify,
          );
        // Reads first: on a pipe a server of 2026-07-28 announces only what was read.
        await read();
        await meanwhile(this.connected.listen(uri));
        while (!this.#stopped) {
          const woken = new Promise<void>((resolve) => (this.#wake = resolve));
          if (isNotified) {
            isNotified = false;
            while (await read());
          } else {
            await meanwhile(woken);
          }
        }
      } catch (error) {
        if (error instanceof assert.AssertionError) throw error;
        await sleep(20);
      }
      await this.connected?.close().catch(() => undefined);
    }
  }

  /** Reads one page; resolves with whether there is more. */
  #take(page: Page, identify: (event: Page['events'][number]) => string): boolean {
    if (page.reset !== undefined) {
      this.resets += 1;
      this.#read = page.after;
    }
    if (this.#taken.length > 0 && this.resets === 0)
      assert.equal(page.after, this.#read, 'a page begins where the last one ended');
    const told = [
      ...page.events.map((event) => [event.sequence, identify(event)] as const),
      ...page.gaps.map(
        ({ from, to, reason }) =>
          [from, `gap ${from === to ? '' : `${from}-${to} `}${reason}`] as const,
      ),
    ];
    for (const [, what] of told.toSorted(([a], [b]) => a - b)) this.#taken.push(what);
    this.#read = Math.max(
      page.after,
      ...page.events.map(({ sequence }) => sequence),
      ...page.gaps.map(({ to }) => to),
    );
    this.#next = page.next;
    return page.hasMore;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#stopped = true;
    this.#leave();
    await this.#running;
  }
}

const WEBHOOKS = 12;
const KILLED_AFTER = 4;

for (const sdk of [v1, v2]) {
  peerTest(
    {
      peer: sdk.peer,
      role: 'client',
      era: sdk.era,
      drain: 'resources',
      exercised: 'over HTTP: change notification, order, gap, death of the server, new epoch',
    },
    async () => {
      await using server = await startHttpServer();
      await using follower = new Follower(
        sdk.http(server.process.url, await server.process.token()),
        'triggers://feeds/github.issues',
        ({ eventId }) => eventId,
      );
      const source = webhooks(['issues']);
      const posted: string[] = [];
      const post = async (enlarge = (body: string) => body): Promise<void> => {
        const webhook = source.next().value;
        const { status } = await server.github.post(
          { ...webhook, body: enlarge(webhook.body) },
          AbortSignal.timeout(90_000),
        );
        assert.equal(status, 202);
        posted.push(webhook.id);
      };
      const caughtUp = () =>
        eventually('the follower has everything', () => follower.taken.length === posted.length);
      await eventually(
        'it is listening',
        async () => follower.connected !== null && (await listeners(server.process.origin)) > 0,
      );

      await post();
      await caughtUp();
      assert.ok(follower.notifications > 0, 'the client was notified');
      // The server dies while events come in and the client is reading.
      const posting = (async () => {
        for (let n = 0; n < WEBHOOKS; n += 1) await post();
      })();
      await eventually('some events', () => follower.taken.length >= KILLED_AFTER);
      await server.process.kill();
      await Promise.all([server.process.start(), posting]);
      await caughtUp();
      assert.deepEqual(follower.taken, posted);

      await post((body) =>
        JSON.stringify({ ...(JSON.parse(body) as object), note: 'x'.repeat(300_000) }),
      );
      posted[posted.length - 1] = 'gap too_large';
      await post();
      await caughtUp();
      assert.deepEqual([follower.taken, follower.resets], [posted, 0]);

      // As with a backup restored on another machine: the server cannot know what clients have seen
      // since.
      await server.process.kill();
      await rm(join(server.dataDir, 'triggers.db.instance'));
      await server.process.start();
      await eventually('it is listening again', () => follower.resets === 1);
      await post();
      const last = posted.at(-1);
      await eventually('the follower has the last one', () => follower.taken.at(-1) === last);
      // Unacknowledged events come again after a reset; none is missing or out of order.
      assert.deepEqual(
        follower.taken.filter((id, at) => follower.taken.indexOf(id) === at),
        posted,
      );
      return `${posted.length} events and gaps in order, ${follower.resets} reset`;
    },
  );
}

/** Number of waiters for news in the server. */
async function listeners(origin: string): Promise<number> {
  const page = await (await fetch(`${origin}/metrics`)).text();
  return Number(/^triggers_streams_open (\d+)$/m.exec(page)?.[1]);
}

for (const sdk of [v1, v2]) {
  peerTest(
    {
      peer: sdk.peer,
      role: 'client',
      era: sdk.era,
      drain: 'resources',
      exercised: 'on stdio: change notification, order, death of the server',
    },
    async () => {
      await using folder = await temporaryFolder();
      const watched = join(folder.path, 'watched');
      await mkdir(watched);
      const connect = sdk.pipe({
        command: process.execPath,
        args: [...SERVER_ARGS, '--stdio'],
        stderr: 'ignore',
        env: {
          TRIGGERS_DATA_DIR: join(folder.path, 'data'),
          TRIGGERS_WATCH_FOLDER: watched,
          TRIGGERS_LOG_LEVEL: 'error',
        },
      });
      const feed = folderFeed(folder.path, watched);
      await using follower = new Follower(
        connect,
        'triggers://feeds/file.changed',
        ({ data }) => (data as { path: string }).path,
      );
      const first = await eventually('a connection', () => follower.connected?.pid ?? undefined);
      const files: string[] = [];
      const happen = async (): Promise<void> => void files.push(await feed.happen());
      await eventually('it has found the feed', async () =>
        (await follower.connected!.templates()).some(({ uriTemplate }) =>
          uriTemplate.startsWith('triggers://feeds/file.changed'),
        ),
      );
      await happen();
      await eventually('the first file', () => follower.taken.length === 1);
      process.kill(first, 'SIGKILL');
      await happen();
      // Nobody watched the folder while the server was down.
      await eventually('both files and a gap', () => follower.taken.length === 3);
      await happen();
      await eventually('all three', () => follower.taken.length === 4);
      assert.deepEqual(follower.taken.toSpliced(1, 1), files);
      assert.match(follower.taken[1]!, /unwatched/);
      assert.ok(follower.notifications > 0);
      assert.notEqual(follower.connected?.pid, first);
    },
  );
}
