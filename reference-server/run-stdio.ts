/**
 * Runs the server on a pipe, for the one client that started it. The store is opened at the first
 * request that needs it, because a client that probes for the protocol era starts the program
 * twice, and only one process can own the store.
 */
import { once } from 'node:events';
import { serveStdio } from '@modelcontextprotocol/server/stdio';
import type { Run } from './run-http.ts';
import { createService } from './service.ts';

/** Runs until the client closes the pipe or `stop` fires. */
export async function runStdio({
  config,
  log,
  sources: { sources },
  stop,
}: Omit<Run, 'print' | 'addSecret'>): Promise<void> {
  // If the store cannot be opened, the process ends with an error, because the client cannot repair
  // it.
  let onStartFailed: (error: unknown) => void = () => undefined;
  const failed = new Promise<never>((_, reject) => (onStartFailed = reject));
  // Without HTTP no receiver can fetch this server's keys, so deliveries are signed with the
  // client's secret only.
  const service = await createService({
    config,
    sources,
    log,
    jwksUri: null,
    onStartFailed: (error) => onStartFailed(error),
  });
  const stdio = serveStdio(() => service.buildMcpServer(), {
    onerror: (error) =>
      log.debug({ err: error }, 'MCP message failed; it was rejected or not sent'),
  });
  try {
    if (!stop.aborted)
      await Promise.race([failed, once(process.stdin, 'close'), once(stop, 'abort')]);
  } finally {
    // An open pipe keeps the process alive, so it is closed even if closing the store fails.
    await service.stop().finally(() => stdio.close());
  }
}
