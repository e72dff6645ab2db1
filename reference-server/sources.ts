/** The configured sources. A variable of its own enables each one. */
import type { Log } from 'mcp-triggers-experimental/server';
import type { WebhookAnswer, WebhookRequest } from './app.ts';
import type { Config } from './config.ts';
import type { Source } from './sources/source.ts';
import { folderSource } from './sources/folder.ts';
import { githubSource } from './sources/github.ts';
import { scheduleSource } from './sources/schedule.ts';

export interface Sources {
  readonly sources: readonly Source[];
  /** Handles `POST /sources/github`; null = this source is not enabled. */
  readonly github: ((request: WebhookRequest) => Promise<WebhookAnswer>) | null;
}

/** Creates the configured sources. Throws `LocalError` `config_invalid` for an invalid schedule. */
export function sourcesOf(
  config: Pick<Config, 'DATA_DIR' | 'GITHUB_SECRET' | 'WATCH_FOLDER' | 'SCHEDULES'>,
  log: Log,
): Sources {
  const {
    DATA_DIR: dataDir,
    GITHUB_SECRET: secret,
    WATCH_FOLDER: folder,
    SCHEDULES: schedules,
  } = config;
  const github = secret === undefined ? null : githubSource({ secret, log });
  return {
    sources: [
      ...(github === null ? [] : [github]),
      ...(folder === undefined ? [] : [folderSource({ folder, dataDir, log })]),
      ...(schedules === undefined || schedules.length === 0
        ? []
        : [scheduleSource({ schedules, log })]),
    ],
    github: github === null ? null : github.handle,
  };
}
