/**
 * Runs one server after the other on the same data; the next one is loaded while the current one
 * runs, so that a kill costs little time.
 */
import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';

const PROGRAM = fileURLToPath(new URL('./server.ts', import.meta.url));

class ServerRun {
  readonly child: ChildProcess;
  readonly exited: Promise<unknown>;
  #printed = '';
  #stderr = '';
  #look = (): void => undefined;

  constructor(dataDir: string, port: number) {
    this.child = spawn(
      process.execPath,
      ['--conditions=mcp-triggers-source', PROGRAM, dataDir, String(port)],
      {
        stdio: ['pipe', 'pipe', 'pipe'],
      },
    );
    this.exited = once(this.child, 'exit').then(() => this.#look());
    // The process may die before it reads, and the write then fails.
    this.child.stdin!.on('error', () => undefined);
    this.child.stdout!.setEncoding('utf8').on('data', (text: string) => {
      this.#printed += text;
      this.#look();
    });
    this.child.stderr!.setEncoding('utf8').on('data', (text: string) => {
      this.#stderr = (this.#stderr + text).slice(-4000);
    });
  }

  /** Resolves when the process has printed `word`. */
  async says(word: string): Promise<void> {
    while (!this.#printed.includes(word)) {
      if (this.child.exitCode !== null)
        throw new Error(
          `The server ended with code ${this.child.exitCode} before it was ${word}. ${this.#stderr}`,
        );
      await new Promise<void>((resolve) => {
        this.#look = resolve;
      });
    }
  }
}

export class ServerRuns {
  readonly #dataDir: string;
  readonly #port: number;
  #current: ServerRun | undefined;
  #next: ServerRun;

  constructor(dataDir: string, port: number) {
    this.#dataDir = dataDir;
    this.#port = port;
    this.#next = new ServerRun(dataDir, port);
  }

  /** Starts the next process, which then opens the store. */
  async begin(): Promise<void> {
    const run = this.#next;
    await run.says('loaded');
    run.child.stdin!.write('go\n');
    this.#current = run;
    this.#next = new ServerRun(this.#dataDir, this.#port);
  }

  /** Resolves once the server listens. */
  async ready(): Promise<void> {
    await this.#current!.says('ready');
  }

  /** Sends SIGKILL; resolves once the process is gone. */
  async end(): Promise<void> {
    this.#current?.child.kill('SIGKILL');
    await this.#current?.exited;
    this.#current = undefined;
  }

  async close(): Promise<void> {
    await this.end();
    this.#next.child.kill('SIGKILL');
    await this.#next.exited;
  }
}
