/**
 * Shared by the journeys: the reference server as a child process, clients that are cleaned up, and
 * waiting on conditions without fixed sleeps.
 */
import { randomBytes } from 'node:crypto';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { GitHub } from '../../scripts/demo/github.ts';
import { freePort, ServerProcess } from '../../scripts/demo/server-process.ts';

/** Far more than any test takes. */
const PATIENCE_MS = 90_000;
const LOOK_MS = 10;

/**
 * Resolves with the first value that is neither false nor undefined; fails with `what` when none
 * comes.
 */
export async function eventually<T>(
  what: string,
  look: () => T | false | undefined | Promise<T | false | undefined>,
  withinMs = PATIENCE_MS,
): Promise<T> {
  const deadline = performance.now() + withinMs;
  for (;;) {
    const value = await look();
    if (value !== false && value !== undefined) return value;
    if (performance.now() > deadline) throw new Error(`Not within ${withinMs} ms: ${what}`);
    await sleep(LOOK_MS);
  }
}

/** A folder that is removed after the test. */
export async function temporaryFolder(): Promise<AsyncDisposable & { readonly path: string }> {
  const path = await mkdtemp(join(tmpdir(), 'mcp-triggers-journey-'));
  return {
    path,
    [Symbol.asyncDispose]: () => rm(path, { recursive: true, force: true, maxRetries: 3 }),
  };
}

/** The reference server over HTTP with its GitHub source. */
export interface HttpServer extends AsyncDisposable {
  readonly process: ServerProcess;
  readonly github: GitHub;
  readonly dataDir: string;
}

export async function startHttpServer(
  env: Readonly<Record<string, string>> = {},
): Promise<HttpServer> {
  const folder = await temporaryFolder();
  const secret = randomBytes(24).toString('hex');
  const process = new ServerProcess({
    dataDir: folder.path,
    port: await freePort(),
    env: { TRIGGERS_GITHUB_SECRET: secret, TRIGGERS_MAX_REQUESTS_PER_MINUTE: '100000', ...env },
  });
  await process.start();
  return {
    process,
    dataDir: folder.path,
    github: new GitHub(process.origin, secret, 50),
    async [Symbol.asyncDispose]() {
      await process.stop();
      await folder[Symbol.asyncDispose]();
    },
  };
}
