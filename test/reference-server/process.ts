/** The reference server as a process of its own, started as a user would. */
import { spawn, type ChildProcessWithoutNullStreams } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Readable } from 'node:stream';
import { fileURLToPath } from 'node:url';
import { inheritedEnv } from '../../scripts/demo/server-process.ts';

const MAIN = fileURLToPath(new URL('../../reference-server/main.ts', import.meta.url));

/** How to start it, for `spawn` and for a client that starts it itself. */
export const COMMAND = {
  command: process.execPath,
  args: ['--conditions=mcp-triggers-source', MAIN],
} as const;

/** Only what a process needs, so that no setting of the machine affects a test. */
export const plainEnv = (env: Readonly<Record<string, string>>): Record<string, string> => ({
  ...inheritedEnv(),
  ...env,
});

export interface ServerProcess {
  readonly child: ChildProcessWithoutNullStreams;
  /** Its output so far. */
  stdout(): string;
  stderr(): string;
  /** Resolves when standard output matches. Rejects with all output if the process ends before. */
  says(pattern: RegExp): Promise<void>;
  /** Resolves when standard error matches. */
  logs(pattern: RegExp): Promise<void>;
  readonly exited: Promise<number | null>;
}

export function startProcess(
  env: Readonly<Record<string, string>>,
  args: readonly string[] = [],
): ServerProcess {
  const child = spawn(COMMAND.command, [...COMMAND.args, ...args], { env: plainEnv(env) });
  let stdout = '';
  let stderr = '';
  child.stdout.setEncoding('utf8').on('data', (chunk: string) => (stdout += chunk));
  child.stderr.setEncoding('utf8').on('data', (chunk: string) => (stderr += chunk));
  const exited = once(child, 'close').then(([code]) => code as number | null);
  const until = async (pattern: RegExp, stream: Readable, text: () => string): Promise<void> => {
    const ended = exited.then(() => 'ended' as const);
    while (!pattern.test(text())) {
      const next = await Promise.race([once(stream, 'data'), ended]);
      if (next === 'ended' && !pattern.test(text()))
        throw new Error(`The process ended before it printed ${pattern}:\n${stdout}\n${stderr}`);
    }
  };
  return {
    child,
    exited,
    stdout: () => stdout,
    stderr: () => stderr,
    says: (pattern) => until(pattern, child.stdout, () => stdout),
    logs: (pattern) => until(pattern, child.stderr, () => stderr),
  };
}

/** Runs with a directory that is removed afterwards. */
export async function inDirectory<T>(run: (directory: string) => Promise<T>): Promise<T> {
  const directory = await mkdtemp(join(tmpdir(), 'triggers-'));
  try {
    return await run(directory);
  } finally {
    await rm(directory, { recursive: true });
  }
}
