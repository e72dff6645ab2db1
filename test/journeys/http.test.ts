/**
 * Runs the journey over HTTP: three drains, two protocol revisions, one real server process that
 * restarts on the way.
 */
import { afterAll, beforeAll, describe, test } from 'vitest';
import { githubFeed } from './feeds.ts';
import { journey, REVISIONS } from './journey.ts';
import { onePerGroup } from '../tier.ts';
import { startHttpServer, type HttpServer } from './support.ts';

/** One kind of event per journey, so that journeys do not see each other's events. */
const KINDS = ['issues', 'pull_request', 'issue_comment', 'release', 'check_run', 'discussion'];
const ROUTES = (['callback', 'stream', 'pull'] as const)
  .flatMap((drain) => REVISIONS.map((revision) => ({ drain, revision })))
  .map((route, at) => ({ ...route, kind: KINDS[at]! }));

describe('journey over HTTP', () => {
  let server: HttpServer;
  beforeAll(async () => (server = await startHttpServer()));
  afterAll(() => server[Symbol.asyncDispose]());

  for (const { drain, revision, kind } of onePerGroup(ROUTES, (route) => route.drain)) {
    test(`[log-contiguous, log-once, subs-same, ack-cumulative, upd-if-match, ttl-survives, end-tombstone] ${drain}, ${revision}`, async () => {
      await journey({
        drain,
        revision,
        target: { url: server.process.url, token: () => server.process.token() },
        feed: githubFeed(server.github, kind),
        restart: async () => {
          await server.process.stop();
          await server.process.start();
        },
      });
    });
  }
});
