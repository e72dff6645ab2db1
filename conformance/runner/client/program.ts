/**
 * The client under test: a shell command with the server's URL appended, and its standard output.
 * `docs/conformance.md` describes what the command has to do.
 */
import { spawn, type ChildProcess } from 'node:child_process';
import { createInterface } from 'node:readline';
import { parsed, recorder } from '../trace.ts';
import type { Era } from '../wire/session.ts';
import type { Drain } from '../server/scenario.ts';

/**
 * Limits whose usual values make a run slow. The client prints the names of those that it adopts;
 * for the others the kit waits the usual time.
 */
export interface Suggested {
  /** The client's request timeout, in milliseconds. */
  readonly requestTimeoutMs?: number;
  /** A stream without a message for this long counts as dead. */
  readonly streamSilenceMs?: number;
  /** The first pause before reconnecting, without jitter. */
  readonly backoffBaseMs?: number;
  /** `waitMs` of a pull; 0 = pull without waiting. */
  readonly pullWaitMs?: number;
}

/** The content of `MCP_CONFORMANCE_CONTEXT`. */
export interface Context {
  readonly select: readonly { readonly name: string; readonly arguments: object }[];
  readonly drain: Drain;
  readonly durationMs: number;
  readonly suggested?: Suggested;
  /** After this many events the client unsubscribes and exits with code 0. */
  readonly unsubscribeAfter?: number;
}

/** One line of standard output: an item handed to the application. */
export interface Applied {
  readonly applied: 'event' | 'gap' | 'elsewhere' | 'lost' | 'ended';
  readonly epoch?: string;
  readonly sequence?: number;
  readonly eventId?: string;
  readonly from?: number;
  readonly to?: number;
  readonly reason?: string;
}

/**
 * The numbers of this epoch in the items, in order: of events, of gaps, and of ranges that were
 * acknowledged elsewhere.
 */
export const appliedNumbers = (items: readonly Applied[], epoch: string): readonly number[] =>
  items
    .filter((item) => item.epoch === epoch && item.applied !== 'lost')
    .flatMap(({ sequence, from = sequence!, to = sequence! }) =>
      Array.from({ length: Math.max(0, to - from + 1) }, (_, at) => from + at),
    );

/** The environment without the token and the secret of the command line. */
const withoutAccess = ({
  MCP_CONFORMANCE_TOKEN: _token,
  MCP_CONFORMANCE_SECRET: _secret,
  ...environment
}: NodeJS.ProcessEnv): NodeJS.ProcessEnv => environment;

/** Time between SIGTERM and SIGKILL. */
const TERMINATION_MS = 1000;
/** Characters of standard error that are kept, from its end. */
const STDERR_CHARS = 4000;

/**
 * The running programs. They have their own process groups, which an interrupt of the kit does not
 * reach, so the kit ends them when it exits.
 */
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
  /** The items that the client printed, in order. */
  readonly applied: Applied[] = [];
  /** Names of the suggested limits that the client adopted. */
  readonly adopted = new Set<string>();
  /** How it ended: exit code, or null after a signal, and epoch milliseconds. Undefined while it runs. */
  ended: { readonly code: number | null; readonly at: number } | undefined;
  /** Resolves when the program has ended. */
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
      // A process group of its own, so that the shell and its children end together.
      shell: true,
      detached: process.platform !== 'win32',
      stdio: ['ignore', 'pipe', 'pipe'],
      env: {
        ...withoutAccess(process.env),
        MCP_CONFORMANCE_SCENARIO: scenario,
        MCP_CONFORMANCE_PROTOCOL_VERSION: era,
        MCP_CONFORMANCE_CONTEXT: JSON.stringify(context),
      },
    });
    begun(this);
    const record = recorder();
    createInterface({ input: this.#child.stdout! }).on('line', (line) => {
      record({ from: 'peer', what: 'output', body: parsed(line) });
      this.#heard(line);
    });
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

  /** The last line on standard error, for error messages. */
  get lastErrorLine(): string {
    return (
      this.#stderr
        .trim()
        .split('\n')
        .findLast((line) => line.trim() !== '')
        ?.trim()
        .slice(0, 200) ?? 'nothing on standard error'
    );
  }

  /** How the program ended, for error messages. */
  get endMessage(): string {
    return `the client ended ${this.ended?.code === null ? 'by a signal' : `with code ${this.ended?.code}`}: ${this.lastErrorLine}`;
  }

  /** Sends SIGTERM, and SIGKILL one second later. Resolves when the program has ended. */
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
      // The process has already ended.
    }
  }

  #heard(line: string): void {
    let said: Applied & { readonly took?: readonly string[] };
    try {
      said = JSON.parse(line);
    } catch {
      return; // Other output of the program is ignored.
    }
    if (Array.isArray(said?.took)) for (const name of said.took) this.adopted.add(name);
    if (typeof said?.applied === 'string') this.applied.push(said);
  }
}
