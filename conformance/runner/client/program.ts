/**
 * The client under test: a command that the shell runs with the server's URL behind it, and what it says on standard output. `docs/conformance.md`
 * describes what is expected of it.
 */
import { spawn, type ChildProcess } from 'node:child_process';
import { createInterface } from 'node:readline';
import type { Era } from '../wire/session.ts';
import type { Drain } from '../server/scenario.ts';

/** Limits that a client usually has and that make a run slow. It says which it has taken over; for the others their real length is waited. */
export interface Suggested {
  /** Its usual request timeout. */
  readonly requestTimeoutMs?: number;
  /** A stream without a message for so long is dead. */
  readonly streamSilenceMs?: number;
  /** The first pause before reconnecting, before jitter. */
  readonly backoffBaseMs?: number;
  /** `waitMs` of a pull; 0 = it asks without waiting. */
  readonly pullWaitMs?: number;
}

/** What a client is told in `MCP_CONFORMANCE_CONTEXT`. */
export interface Context {
  readonly select: readonly { readonly name: string; readonly arguments: object }[];
  readonly drain: Drain;
  readonly durationMs: number;
  readonly suggested?: Suggested;
  /** After so many events it unsubscribes and exits with code 0. */
  readonly unsubscribeAfter?: number;
}

/** One line on standard output: what was handed to the application. */
export interface Applied {
  readonly applied: 'event' | 'gap' | 'lost' | 'ended';
  readonly epoch?: string;
  readonly sequence?: number;
  readonly eventId?: string;
  readonly from?: number;
  readonly to?: number;
  readonly reason?: string;
}

const TERMINATION_MS = 1000;
const STDERR_CHARS = 4000;

/** Programs are groups of their own: what interrupts the kit does not reach them. So nothing of them outlives its end, and an interruption is one. */
const running = new Set<Program>();
const SIGNALS = ['SIGINT', 'SIGTERM'] as const;
const interrupted = (): never => process.exit(130);
process.on('exit', () => {
  for (const program of running) program.kill('SIGKILL');
});

function begun(program: Program): void {
  if (running.size === 0) for (const signal of SIGNALS) process.once(signal, interrupted);
  running.add(program);
}

function over(program: Program): void {
  running.delete(program);
  if (running.size === 0) for (const signal of SIGNALS) process.removeListener(signal, interrupted);
}

export class Program {
  readonly startedAt = Date.now();
  /** In the order it came. */
  readonly applied: Applied[] = [];
  readonly took = new Set<string>();
  /** Undefined while it runs. */
  ended: { readonly code: number | null; readonly at: number } | undefined;
  readonly over: Promise<void>;
  readonly #child: ChildProcess;
  #stderr = '';

  constructor(
    command: string,
    {
      url,
      scenario,
      era,
      context,
    }: {
      readonly url: string;
      readonly scenario: string;
      readonly era: Era;
      readonly context: Context;
    },
  ) {
    this.#child = spawn(`${command} ${url}`, {
      // A group of its own, so that the shell and everything below it end together.
      shell: true,
      detached: process.platform !== 'win32',
      stdio: ['ignore', 'pipe', 'pipe'],
      env: {
        ...process.env,
        MCP_CONFORMANCE_SCENARIO: scenario,
        MCP_CONFORMANCE_PROTOCOL_VERSION: era,
        MCP_CONFORMANCE_CONTEXT: JSON.stringify(context),
      },
    });
    begun(this);
    createInterface({ input: this.#child.stdout! }).on('line', (line) => this.#heard(line));
    this.#child.stderr!.on('data', (chunk: Buffer) => {
      this.#stderr = (this.#stderr + chunk.toString()).slice(-STDERR_CHARS);
    });
    this.over = new Promise((resolve) => {
      const end = (code: number | null): void => {
        this.ended ??= { code, at: Date.now() };
        over(this);
        resolve();
      };
      this.#child.once('error', (error) => {
        this.#stderr += error.message;
        end(null);
      });
      this.#child.once('close', end);
    });
  }

  /** The last line it wrote to standard error, for a person. */
  get lastWords(): string {
    return (
      this.#stderr
        .trim()
        .split('\n')
        .findLast((line) => line.trim() !== '')
        ?.trim()
        .slice(0, 200) ?? 'nothing on standard error'
    );
  }

  /** How it ended, for a person. */
  get epitaph(): string {
    return `the client ended ${this.ended?.code === null ? 'by a signal' : `with code ${this.ended?.code}`}: ${this.lastWords}`;
  }

  /** Asks it to end, then makes it. */
  async stop(): Promise<void> {
    this.kill('SIGTERM');
    const timer = setTimeout(() => this.kill('SIGKILL'), TERMINATION_MS);
    await this.over;
    clearTimeout(timer);
  }

  kill(signal: 'SIGTERM' | 'SIGKILL'): void {
    const { pid } = this.#child;
    if (pid === undefined || this.ended !== undefined) return;
    try {
      if (process.platform === 'win32') this.#child.kill(signal);
      else process.kill(-pid, signal);
    } catch {
      // It has just gone.
    }
  }

  #heard(line: string): void {
    let said: Applied & { readonly took?: readonly string[] };
    try {
      said = JSON.parse(line);
    } catch {
      return; // Whatever else it prints is its own affair.
    }
    if (Array.isArray(said?.took)) for (const name of said.took) this.took.add(name);
    if (typeof said?.applied === 'string') this.applied.push(said);
  }
}
