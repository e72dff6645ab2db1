/**
 * Runs the journey on a pipe: the client starts the server, the server ends with the client, and
 * the log stays.
 */
import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, test } from 'vitest';
import { inheritedEnv, SERVER_ARGS } from '../../scripts/demo/server-process.ts';
import { folderFeed } from './feeds.ts';
import { journey, REVISIONS } from './journey.ts';
import { temporaryFolder } from './support.ts';

const ROUTES = (['stream', 'pull'] as const).flatMap((drain) =>
  REVISIONS.map((revision) => ({ drain, revision })),
);

describe('journey over stdio', () => {
  for (const { drain, revision } of ROUTES) {
    test(`[stream-stdio, log-contiguous, subs-same, ack-cumulative, upd-if-match, ttl-survives, end-tombstone] ${drain}, ${revision}`, async () => {
      await using folder = await temporaryFolder();
      const watched = join(folder.path, 'watched');
      await mkdir(watched);
      await journey({
        drain,
        revision,
        target: {
          command: process.execPath,
          args: [...SERVER_ARGS, '--stdio'],
          env: {
            ...inheritedEnv(),
            TRIGGERS_DATA_DIR: join(folder.path, 'data'),
            TRIGGERS_WATCH_FOLDER: watched,
            TRIGGERS_LOG_LEVEL: 'error',
          },
          stderr: 'ignore',
        },
        feed: folderFeed(folder.path, watched),
        restart: 'client',
      });
    });
  }
});
