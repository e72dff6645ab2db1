/**
 * The reference server as a child process: `reference-server/main.ts` with its own environment,
 * data directory and port. It can be killed with SIGKILL and started again on the same data.
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
const START_TIMEOUT_MS = 90_000;
const STOP_TIMEOUT_MS = 20_000;
/** Characters of the server's log that are kept for an error message. */
const STDERR_CHARS = 4000;

/**
 * The variables that a child process gets from this one: how to find programs, and where compiled code
 * is cached. No other setting of the machine affects it.
 */
export const inheritedEnv = (): Record<string, string> =>
  Object.fromEntries(
    ['PATH', 'NODE_COMPILE_CACHE'].flatMap((name) => {
      const value = process.env[name];
      return value === undefined ? [] : [[name, value]];
    }),
  );

export interface ServerOptions {
  readonly dataDir: string;
  readonly port: number;
  /** More environment variables. */
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
  /** The last characters of its log. */
  get stderr(): string {
    return this.#stderr;
  }

  /** Starts the server. Resolves with the milliseconds until it listened. */
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
            new Error(
              `The server did not start within ${START_TIMEOUT_MS} ms. Its log: ${this.#stderr}`,
            ),
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
          reject(
            new Error(`The server failed to start (exit code ${code}). Its log: ${this.#stderr}`),
          ),
        ),
      );
      child.once('error', (error) => settle(() => reject(error)));
    });
    return performance.now() - startedAt;
  }

  /**
   * Kills the server with SIGKILL, so that it can neither flush nor close anything. Resolves when
   * the process has ended.
   */
  async kill(): Promise<void> {
    this.#child?.kill('SIGKILL');
    await this.#exited;
    this.#child = undefined;
  }

  /** Stops the server; kills it if it does not stop in time. Resolves with its exit code. */
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
      ...inheritedEnv(),
      TRIGGERS_PORT: String(port),
      TRIGGERS_DATA_DIR: dataDir,
      TRIGGERS_UNSAFE_ALLOW_HTTP_LOOPBACK_CALLBACKS: 'true',
      TRIGGERS_LOG_LEVEL: 'warn',
      ...env,
    };
  }
}

/**
 * Finds a free port on the loopback interface. It is below the range that systems use for outgoing
 * connections, so it stays free while the server restarts.
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
