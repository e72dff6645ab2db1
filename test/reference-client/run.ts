/**
 * Runs the reference client as a person or a script would: a process, its two outputs, its exit
 * code.
 */
import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';
import { inheritedEnv } from '../../scripts/demo/server-process.ts';
import { eventually } from '../journeys/support.ts';

const MAIN = fileURLToPath(new URL('../../reference-client/main.ts', import.meta.url));
const PATIENCE_MS = 60_000;

export interface Outcome {
  readonly code: number | null;
  readonly stdout: string;
  readonly stderr: string;
  /** Lines of standard output as JSON. */
  readonly json: readonly Record<string, unknown>[];
}

/** A command that is running. */
export class Running {
  readonly #child: ChildProcess;
  readonly #closed: Promise<unknown>;
  stdout = '';
  stderr = '';

  constructor(args: readonly string[], env: Readonly<Record<string, string>>, cwd: string) {
    this.#child = spawn(process.execPath, ['--conditions=mcp-triggers-source', MAIN, ...args], {
      cwd,
      env: { ...inheritedEnv(), ...env },
      stdio: ['ignore', 'pipe', 'pipe'],
      timeout: PATIENCE_MS,
      killSignal: 'SIGKILL',
    });
    this.#closed = once(this.#child, 'close');
    this.#child.stdout!.setEncoding('utf8').on('data', (text: string) => (this.stdout += text));
    this.#child.stderr!.setEncoding('utf8').on('data', (text: string) => (this.stderr += text));
  }

  /** Resolves when standard output, or standard error, contains `text`. */
  async shows(text: string | RegExp, where: 'stdout' | 'stderr' = 'stdout'): Promise<void> {
    await eventually(`${String(text)} in ${where}; it holds: ${this[where]}`, () =>
      typeof text === 'string' ? this[where].includes(text) : text.test(this[where]),
    );
  }

  interrupt(): void {
    this.#child.kill('SIGINT');
  }

  async outcome(): Promise<Outcome> {
    await this.#closed;
    const { stdout, stderr } = this;
    return {
      code: this.#child.exitCode,
      stdout,
      stderr,
      get json() {
        return stdout
          .split('\n')
          .filter((line) => line !== '')
          .map((line) => JSON.parse(line) as Record<string, unknown>);
      },
    };
  }
}
