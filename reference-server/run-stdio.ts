/**
 * The server on a pipe, for one client that started it. Nothing is opened before the first request of the extension: a client
 * that probes for the protocol era starts the program twice, and only one of the two may own the store.
 */
import { once } from 'node:events';
import { serveStdio } from '@modelcontextprotocol/server/stdio';
import type { Run } from './run-http.ts';
import { createService } from './service.ts';

/** Runs until the client closes the pipe or `stop` fires. Standard output belongs to the protocol; logs go to stderr. */
export async function runStdio({
  config,
  log,
  sources: { sources },
  stop,
}: Omit<Run, 'print' | 'remember'>): Promise<void> {
  // A store that does not open is nothing the client could do anything about: the process ends and says why.
  let onStartFailed: (error: unknown) => void = () => undefined;
  const failed = new Promise<never>((_, reject) => (onStartFailed = reject));
  // Nobody could fetch this process's keys, so deliveries are signed with the client's secret alone.
  const service = await createService({
    config,
    sources,
    log,
    jwksUri: null,
    onStartFailed: (error) => onStartFailed(error),
  });
  const stdio = serveStdio(() => service.buildMcpServer(), {
    onerror: (error) => log.debug({ err: error }, 'a message was refused or lost'),
  });
  try {
    if (!stop.aborted)
      await Promise.race([failed, once(process.stdin, 'close'), once(stop, 'abort')]);
  } finally {
    // An open pipe keeps the process alive, whatever became of the store.
    await service.stop().finally(() => stdio.close());
  }
}
