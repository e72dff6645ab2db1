/**
 * `@modelcontextprotocol/server-everything`, started as any user would: over Streamable HTTP on a
 * port of its own, or on a pipe.
 */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { freePort, inheritedEnv } from '../../../../scripts/demo/server-process.ts';
import { installedVersion } from '../matrix.ts';
import type { StockProgram } from './board.ts';

const PEER = '@modelcontextprotocol/server-everything';
const PROGRAM = join(import.meta.dirname, '../../../../node_modules', PEER, 'dist/index.js');
const START_TIMEOUT_MS = 30_000;

export interface EverythingServer extends AsyncDisposable {
  readonly url: string;
  readonly port: number;
  readonly version: string;
}

/** Starts the server over HTTP. Disposing of it kills it without warning. */
export async function startEverything({
  port,
}: { readonly port?: number } = {}): Promise<EverythingServer> {
  const chosen = port ?? (await freePort());
  const child = spawn(process.execPath, [PROGRAM, 'streamableHttp'], {
    env: { ...inheritedEnv(), PORT: String(chosen) },
    stdio: ['ignore', 'ignore', 'pipe'],
  });
  const exited = once(child, 'exit');
  await new Promise<void>((resolve, reject) => {
    let said = '';
    const timer = setTimeout(
      () => reject(new Error(`${PEER} did not start. ${said}`)),
      START_TIMEOUT_MS,
    );
    child.stderr.setEncoding('utf8').on('data', (text: string) => {
      said += text;
      if (!said.includes('listening on port')) return;
      clearTimeout(timer);
      resolve();
    });
    child.once('exit', () => {
      clearTimeout(timer);
      reject(new Error(`${PEER} ended at its start. ${said}`));
    });
  });
  return {
    url: `http://127.0.0.1:${chosen}/mcp`,
    port: chosen,
    version: installedVersion(PEER),
    async [Symbol.asyncDispose]() {
      child.kill('SIGKILL');
      await exited;
    },
  };
}

/** The program that serves on a pipe. */
export const everythingProgram = (): StockProgram => ({
  command: process.execPath,
  args: [PROGRAM, 'stdio'],
  version: installedVersion(PEER),
});
