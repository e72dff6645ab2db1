/**
 * `npm run demo`: the whole idea in seconds, on this machine only. Real GitHub payloads reach three clients by callback,
 * stream and pull; the server is killed in the middle; everything arrives all the same, once and in order.
 *
 * Exit codes: 0 everything held; 1 something did not, or could not be run; 130 stopped with Ctrl+C.
 */
import { randomBytes } from 'node:crypto';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createScreen, seconds } from './demo/screen.ts';
import { freePort, ServerProcess } from './demo/server-process.ts';
import { tell } from './demo/story.ts';

async function main(): Promise<number> {
  const startedAt = performance.now();
  const screen = createScreen((text) => void process.stdout.write(text));
  const stop = new AbortController();
  for (const name of ['SIGINT', 'SIGTERM'] as const) process.once(name, () => stop.abort());
  const deferred: (() => Promise<unknown>)[] = [];
  const defer = (run: () => Promise<unknown>) => void deferred.unshift(run);
  try {
    const dataDir = await mkdtemp(join(tmpdir(), 'mcp-triggers-demo-'));
    defer(() => rm(dataDir, { recursive: true, force: true, maxRetries: 3 }));
    const secret = randomBytes(24).toString('hex');
    const server = new ServerProcess({
      dataDir,
      port: await freePort(),
      env: { TRIGGERS_GITHUB_SECRET: secret },
    });
    defer(() => server.stop());
    screen.line(
      'MCP triggers: a subscription is a durable, ordered, numbered log that one client drains',
    );
    const held = await tell({ server, secret, screen, signal: stop.signal, defer });
    screen.line(
      held
        ? `\nEverything held, in ${seconds(performance.now() - startedAt)}. Next: README.md, or npm run client -- --help`
        : '\nSomething did not hold. Please report this output.',
    );
    return held ? 0 : 1;
  } catch (error) {
    if (stop.signal.aborted) {
      screen.line('\nStopped.');
      return 130;
    }
    process.stderr.write(`\nThe demo could not be run: ${(error as Error).message}\n`);
    return 1;
  } finally {
    for (const run of deferred)
      await run().catch((error: unknown) =>
        process.stderr.write(`While cleaning up: ${(error as Error).message}\n`),
      );
  }
}

process.exitCode = await main();
