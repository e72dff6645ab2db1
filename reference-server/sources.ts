/** Which sources are on: each is switched on by its own variable. */
import type { Log } from 'mcp-triggers-experimental/server';
import type { WebhookAnswer, WebhookRequest } from './app.ts';
import type { Config } from './config.ts';
import type { Source } from './source.ts';

export interface Sources {
  readonly sources: readonly Source[];
  /** Takes what is posted to `/sources/github`; null = off. */
  readonly github: ((request: WebhookRequest) => Promise<WebhookAnswer>) | null;
}

export function sourcesOf(_config: Config, _log: Log): Sources {
  return { sources: [], github: null };
}
