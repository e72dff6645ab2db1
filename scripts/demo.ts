/**
 * `npm run demo`: demonstrates the extension in seconds, on this machine only. GitHub's example
 * payloads reach three clients by callback, stream and pull. The server is killed in between, and
 * every event still arrives once and in order.
 *
 * Exit codes: 0 = all checks passed; 1 = a check or the demo failed; 130 = stopped with Ctrl+C,
 * or the reader of its output has gone.
 */
import { randomBytes } from 'node:crypto';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { argumentsOf } from './arguments.ts';
import { createScreen, seconds } from './demo/screen.ts';
import { freePort, ServerProcess } from './demo/server-process.ts';
import { runDemo } from './demo/story.ts';

const SIGNALS = ['SIGINT', 'SIGTERM'] as const;

const USAGE = `Usage: npm run demo

Starts the reference server on this machine, follows events by callback, stream and pull, kills the
server in a burst, and checks that every event arrived. Takes a few seconds.`;

async function main(): Promise<number> {
  argumentsOf(USAGE, {});
  const startedAt = performance.now();
  const screen = createScreen((text) => void process.stdout.write(text));
  const stop = new AbortController();
  const end = (): void => {
    stop.abort();
    for (const name of SIGNALS) process.off(name, end);
  };
  for (const name of SIGNALS) process.on(name, end);
  // Otherwise the server would outlive a demo whose output is piped to `head`.
  process.stdout.on('error', end);
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
      'MCP triggers: a subscription is a durable, ordered, numbered log that one client drains.',
    );
    const passed = await runDemo({ server, secret, screen, signal: stop.signal, defer });
    screen.line(
      passed
        ? `\nAll checks passed in ${seconds(performance.now() - startedAt)}. Next: README.md, or npm run client -- --help`
        : '\nA check failed. Please report this output.',
    );
    return passed ? 0 : 1;
  } catch (error) {
    if (stop.signal.aborted) {
      screen.line('\nStopped.');
      return 130;
    }
    process.stderr.write(`\nThe demo failed: ${(error as Error).message}\n`);
    return 1;
  } finally {
    for (const run of deferred)
      await run().catch((error: unknown) =>
        process.stderr.write(`Cleaning up failed: ${(error as Error).message}\n`),
      );
  }
}

process.exitCode = await main();
