/**
 * Tests feeds on a pipe: the reference server as a child process of clients of both generations,
 * which are notified of what they read or subscribed to and of nothing else.
 */
import assert from 'node:assert/strict';
import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, test } from 'vitest';
import { Client } from '@modelcontextprotocol/client';
import { StdioClientTransport } from '@modelcontextprotocol/client/stdio';
import { Client as ClientV1 } from '@modelcontextprotocol/sdk/client/index.js';
import { StdioClientTransport as StdioTransportV1 } from '@modelcontextprotocol/sdk/client/stdio.js';
import { ResourceUpdatedNotificationSchema } from '@modelcontextprotocol/sdk/types.js';
import { inheritedEnv, SERVER_ARGS } from '../../../../scripts/demo/server-process.ts';
import { folderFeed } from '../../../journeys/feeds.ts';
import { eventually, temporaryFolder } from '../../../journeys/support.ts';
import { pageOf, READERS, type Page, type ReaderKind } from './world.ts';

const FILES = 'triggers://feeds/file.changed';

interface Piped {
  read(uri: string): Promise<Page>;
  listen(uri: string): Promise<void>;
  readonly notifications: string[];
  close(): Promise<void>;
}

type Program = ConstructorParameters<typeof StdioClientTransport>[0];

async function connect(kind: ReaderKind, program: Program): Promise<Piped> {
  const notifications: string[] = [];
  if (kind === 'client 1.x') {
    const client = new ClientV1({ name: 'piped', version: '1' });
    client.setNotificationHandler(
      ResourceUpdatedNotificationSchema,
      ({ params }) => void notifications.push(params.uri),
    );
    await client.connect(new StdioTransportV1(program));
    return {
      notifications,
      read: async (uri) => pageOf(await client.readResource({ uri })),
      listen: async (uri) => void (await client.subscribeResource({ uri })),
      close: () => client.close(),
    };
  }
  const modern = kind === 'client 2.x, 2026-07-28';
  const client = new Client(
    { name: 'piped', version: '1' },
    { versionNegotiation: { mode: modern ? { pin: '2026-07-28' } : 'legacy' } },
  );
  client.setNotificationHandler(
    'notifications/resources/updated',
    ({ params }) => void notifications.push(params.uri),
  );
  await client.connect(new StdioClientTransport(program));
  return {
    notifications,
    read: async (uri) => pageOf(await client.readResource({ uri })),
    close: () => client.close(),
    async listen(uri) {
      if (!modern) await client.subscribeResource({ uri });
      else
        assert.deepEqual(
          (await client.listen({ resourceSubscriptions: [uri] })).honoredFilter
            .resourceSubscriptions,
          [uri],
        );
    },
  };
}

describe('feeds on a pipe', { concurrent: true }, () => {
  for (const kind of READERS) {
    test(kind, async (context) => {
      await using folder = await temporaryFolder();
      const watched = join(folder.path, 'watched');
      await mkdir(watched);
      const client = await connect(kind, {
        command: process.execPath,
        args: [...SERVER_ARGS, '--stdio'],
        stderr: 'ignore',
        env: {
          ...inheritedEnv(),
          TRIGGERS_DATA_DIR: join(folder.path, 'data'),
          TRIGGERS_WATCH_FOLDER: watched,
          TRIGGERS_LOG_LEVEL: 'error',
        },
      });
      context.onTestFinished(() => client.close());
      const feed = folderFeed(folder.path, watched);
      const first = await client.read(FILES);
      // Read too, but not announced because no client listens to it.
      await client.read(`${FILES}?path=%22other.txt%22`).catch(() => undefined);
      await client.listen(FILES);
      const taken: string[] = [];
      let next = first.next;
      for (let n = 1; n <= 3; n += 1) {
        const before = client.notifications.length;
        await feed.happen();
        await eventually('a notification', () => client.notifications.length > before);
        await eventually('the file', async () => {
          const page = await client.read(next);
          taken.push(...page.events.map(({ data }) => (data as { path: string }).path));
          next = page.next;
          return taken.length === n;
        });
      }
      assert.deepEqual(taken, ['note-1.txt', 'note-2.txt', 'note-3.txt']);
      assert.deepEqual(new Set(client.notifications), new Set([FILES]));
    });
  }

  test('a client of 2026-07-28 may listen to the page that it read', async (context) => {
    await using folder = await temporaryFolder();
    const watched = join(folder.path, 'watched');
    await mkdir(watched);
    const client = await connect('client 2.x, 2026-07-28', {
      command: process.execPath,
      args: [...SERVER_ARGS, '--stdio'],
      stderr: 'ignore',
      env: {
        ...inheritedEnv(),
        TRIGGERS_DATA_DIR: join(folder.path, 'data'),
        TRIGGERS_WATCH_FOLDER: watched,
        TRIGGERS_LOG_LEVEL: 'error',
      },
    });
    context.onTestFinished(() => client.close());
    const { next } = await client.read(FILES);
    await client.read(next);
    await client.listen(next);
    await folderFeed(folder.path, watched).happen();
    await eventually('a notification', () => client.notifications.length > 0);
    assert.deepEqual(client.notifications[0], next);
  });
});
