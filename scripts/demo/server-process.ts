/**
 * The reference server as a child process, the way anybody would run it: `reference-server/main.ts` with an environment, a data
 * directory and a port of its own. It can be killed without a chance to clean up, and started again on the same data.
 */
import { spawn, type ChildProcess } from 'node:child_process';
import { randomInt } from 'node:crypto';
import { once } from 'node:events';
import { readFile } from 'node:fs/promises';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

const ROOT = fileURLToPath(new URL('../../', import.meta.url));
export const SERVER_ARGS = [
  '--conditions=mcp-triggers-source',
  join(ROOT, 'reference-server/main.ts'),
] as const;
const START_TIMEOUT_MS = 30_000;
const STOP_TIMEOUT_MS = 20_000;
/** The last words of a server that did not start. */
const STDERR_CHARS = 4000;

export interface ServerOptions {
  readonly dataDir: string;
  readonly port: number;
  /** TRIGGERS_* variables on top of those every run needs. */
  readonly env?: Readonly<Record<string, string>>;
}

export class ServerProcess {
  readonly url: string;
  readonly origin: string;
  readonly #options: ServerOptions;
  #child: ChildProcess | undefined;
  #exited: Promise<unknown> = Promise.resolve();
  #stderr = '';

  constructor(options: ServerOptions) {
    this.#options = options;
    this.origin = `http://127.0.0.1:${options.port}`;
    this.url = `${this.origin}/mcp`;
  }

  get pid(): number | undefined {
    return this.#child?.pid;
  }
  /** What it logged last. */
  get stderr(): string {
    return this.#stderr;
  }

  /** Resolves once it listens, with how long that took in milliseconds. */
  async start(): Promise<number> {
    const startedAt = performance.now();
    this.#stderr = '';
    const child = spawn(process.execPath, [...SERVER_ARGS], {
      cwd: ROOT,
      env: this.#environment(),
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    this.#child = child;
    this.#exited = once(child, 'exit');
    child.stderr
      .setEncoding('utf8')
      .on('data', (text: string) => (this.#stderr = (this.#stderr + text).slice(-STDERR_CHARS)));
    await new Promise<void>((resolve, reject) => {
      const timer = setTimeout(
        () =>
          reject(
            new Error(`The server did not start within ${START_TIMEOUT_MS} ms. ${this.#stderr}`),
          ),
        START_TIMEOUT_MS,
      );
      const settle = (how: () => void) => {
        clearTimeout(timer);
        how();
      };
      let printed = '';
      child.stdout.setEncoding('utf8').on('data', (text: string) => {
        printed += text;
        if (printed.includes('Stop with Ctrl+C')) settle(resolve);
      });
      child.once('exit', (code) =>
        settle(() =>
          reject(new Error(`The server ended at its start with code ${code}. ${this.#stderr}`)),
        ),
      );
      child.once('error', (error) => settle(() => reject(error)));
    });
    return performance.now() - startedAt;
  }

  /** SIGKILL: nothing is flushed, closed or said. Resolves once the process is gone. */
  async kill(): Promise<void> {
    this.#child?.kill('SIGKILL');
    await this.#exited;
    this.#child = undefined;
  }

  /** Asks it to stop and waits; kills it when it does not. Resolves with its exit code. */
  async stop(): Promise<number | null> {
    const child = this.#child;
    if (!child) return null;
    const timer = setTimeout(() => child.kill('SIGKILL'), STOP_TIMEOUT_MS);
    child.kill('SIGTERM');
    await this.#exited;
    clearTimeout(timer);
    this.#child = undefined;
    return child.exitCode;
  }

  /** The development server's access token. */
  async token(): Promise<string> {
    return (await readFile(join(this.#options.dataDir, 'token'), 'utf8')).trim();
  }

  #environment(): NodeJS.ProcessEnv {
    const { dataDir, port, env } = this.#options;
    return {
      PATH: process.env['PATH'],
      TRIGGERS_PORT: String(port),
      TRIGGERS_DATA_DIR: dataDir,
      TRIGGERS_UNSAFE_ALLOW_HTTP_LOOPBACK_CALLBACKS: 'true',
      TRIGGERS_LOG_LEVEL: 'warn',
      ...env,
    };
  }
}

/**
 * A port of the loopback interface that is free and stays so: below the range from which systems take ports for outgoing
 * connections, since a server that is started again needs the same one.
 */
export async function freePort(): Promise<number> {
  for (;;) {
    const port = randomInt(12_000, 30_000);
    const probe = createServer().listen(port, '127.0.0.1');
    const free = await once(probe, 'listening').then(
      () => true,
      () => false,
    );
    if (!free) continue;
    probe.close();
    await once(probe, 'close');
    return port;
  }
}
