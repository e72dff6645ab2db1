/**
 * Tests that unmodified SDK clients, which know tools and nothing else, follow a trigger type with
 * `watch`, `check` and `unwatch`: in order, with a gap, across the death of the server, over HTTP
 * and on a pipe. One of each pair reads the structure of the answers, the other one only the text.
 */
import assert from 'node:assert/strict';
import { mkdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { Client, StreamableHTTPClientTransport } from '@modelcontextprotocol/client';
import { StdioClientTransport } from '@modelcontextprotocol/client/stdio';
import { Client as ClientV1 } from '@modelcontextprotocol/sdk/client/index.js';
import { StdioClientTransport as StdioTransportV1 } from '@modelcontextprotocol/sdk/client/stdio.js';
import { StreamableHTTPClientTransport as TransportV1 } from '@modelcontextprotocol/sdk/client/streamableHttp.js';
import { webhooks } from '../../../scripts/demo/github.ts';
import { SERVER_ARGS } from '../../../scripts/demo/server-process.ts';
import { Follower, type CallTool, type Reading } from '../../server/mcp/tools/follower.ts';
import { folderFeed } from '../../journeys/feeds.ts';
import { eventually, startHttpServer, temporaryFolder } from '../../journeys/support.ts';
import { peerTest, type PeerRow } from './matrix.ts';

/** A connection that can call tools. */
interface Connected {
  readonly call: CallTool;
  /** Process id of a server that the client started. */
  readonly pid: number | null;
  close(): Promise<void>;
}

interface Program {
  readonly command: string;
  readonly args: string[];
  readonly env: Record<string, string>;
  readonly stderr: 'ignore';
}

/**
 * An SDK as an application uses it. It lists the tools first, so that the SDK checks every answer
 * against the announced schema.
 */
interface Sdk {
  readonly peer: string;
  readonly era: NonNullable<PeerRow['era']>;
  readonly reading: Reading;
  http(url: string, token: string): Promise<Connected>;
  pipe(program: Program): Promise<Connected>;
}

const v1: Sdk = {
  peer: '@modelcontextprotocol/sdk',
  era: '2025-11-25',
  reading: 'words',
  http: (url, token) =>
    connectV1(
      new TransportV1(new URL(url), {
        requestInit: { headers: { authorization: `Bearer ${token}` } },
      }),
    ),
  pipe: (program) => connectV1(new StdioTransportV1(program)),
};

const v2: Sdk = {
  peer: '@modelcontextprotocol/client',
  era: '2026-07-28',
  reading: 'structure',
  http: (url, token) =>
    connectV2(
      new StreamableHTTPClientTransport(new URL(url), {
        authProvider: { token: async () => token },
      }),
    ),
  pipe: (program) => connectV2(new StdioClientTransport(program)),
};

async function connectV1(transport: TransportV1 | StdioTransportV1): Promise<Connected> {
  const client = new ClientV1({ name: 'tools only', version: '1' });
  await client.connect(transport);
  await client.listTools();
  return {
    call: async (params) => client.callTool(params),
    pid: 'pid' in transport ? transport.pid : null,
    close: () => client.close(),
  };
}

async function connectV2(
  transport: StreamableHTTPClientTransport | StdioClientTransport,
): Promise<Connected> {
  const client = new Client(
    { name: 'tools only', version: '1' },
    { versionNegotiation: { mode: { pin: v2.era } } },
  );
  await client.connect(transport);
  await client.listTools();
  return {
    call: async (params) => client.callTool(params),
    pid: 'pid' in transport ? transport.pid : null,
    close: () => client.close(),
  };
}

const WEBHOOKS = 12;
const KILLED_AFTER = 4;

for (const sdk of [v1, v2]) {
  peerTest(
    {
      peer: sdk.peer,
      role: 'client',
      era: sdk.era,
      drain: 'tools',
      exercised:
        'over HTTP: order, redelivery, acknowledgement, gap, death of the server, new epoch',
    },
    async () => {
      await using server = await startHttpServer();
      const token = await server.process.token();
      let connected = await sdk.http(server.process.url, token);
      const follower = new Follower(sdk.reading);
      await follower.begin(connected.call, 'github.issues');
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
      /** One more call, on a new connection if the old one fails. */
      const step = async (): Promise<void> => {
        await follower.step(connected.call).catch(async (error: unknown) => {
          if (error instanceof assert.AssertionError) throw error;
          await connected.close().catch(() => undefined);
          await sdk.http(server.process.url, token).then(
            (again) => (connected = again),
            () => undefined,
          );
        });
      };
      const caughtUp = () =>
        eventually('the follower has everything', async () => {
          await step();
          return follower.taken.length === posted.length;
        });

      await post();
      await post();
      const seen = await eventually('both events', async () => {
        const ids = await follower.peek(connected.call);
        return ids.length === 2 && ids;
      });
      assert.deepEqual(
        await follower.peek(connected.call),
        seen,
        'unacknowledged events come again',
      );
      await caughtUp();

      // The server dies while events come in and the client is checking.
      const posting = (async () => {
        for (let n = 0; n < WEBHOOKS; n += 1) await post();
      })();
      await eventually('some events', async () => {
        await step();
        return follower.taken.length >= KILLED_AFTER;
      });
      await server.process.kill();
      const restarted = server.process.start();
      const everything = eventually('the follower has everything that was posted', async () => {
        await step();
        return posted.length === 2 + WEBHOOKS && follower.taken.length === posted.length;
      });
      await Promise.all([restarted, posting, everything]);
      assert.deepEqual(follower.taken, posted);

      await post((body) =>
        JSON.stringify({ ...(JSON.parse(body) as object), note: 'x'.repeat(300_000) }),
      );
      posted[posted.length - 1] = 'gap too_large';
      await post();
      await caughtUp();
      assert.deepEqual(follower.taken, posted);
      // Acknowledges the last one too.
      await step();

      // As with a backup restored on another machine: the server cannot know what clients have seen
      // since.
      await server.process.kill();
      await rm(join(server.dataDir, 'triggers.db.instance'));
      await server.process.start();
      await post();
      await caughtUp();
      assert.deepEqual([follower.taken, follower.resets], [posted, 1]);
      await connected.close();
    },
  );
}

for (const sdk of [v1, v2]) {
  peerTest(
    {
      peer: sdk.peer,
      role: 'client',
      era: sdk.era,
      drain: 'tools',
      exercised: 'on stdio: order, redelivery, death of the server',
    },
    async () => {
      await using folder = await temporaryFolder();
      const watched = join(folder.path, 'watched');
      await mkdir(watched);
      const start = () =>
        sdk.pipe({
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
      const follower = new Follower(sdk.reading);
      const first = await start();
      await follower.begin(first.call, 'file.changed');
      await feed.happen();
      const [seen] = await eventually('the first file', async () => {
        const ids = await follower.peek(first.call);
        return ids.length === 1 && ids;
      });
      process.kill(first.pid!, 'SIGKILL');
      await first.close();
      await feed.happen();

      const second = await start();
      // Nobody watched the folder while the server was down.
      await eventually('both files', async () => {
        await follower.step(second.call);
        return follower.taken.length === 3 && follower.taken[1] === 'gap unwatched';
      });
      assert.equal(follower.taken[0], seen, 'unacknowledged events come again');
      await second.close();
    },
  );
}
