/** Runs another process on a store, and kills it with SIGKILL. */
import { spawn, type ChildProcessByStdio } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import type { Readable } from 'node:stream';
import { fileURLToPath } from 'node:url';

export const WRITER = fileURLToPath(new URL('./writer.ts', import.meta.url));

export interface Writer {
  readonly process: ChildProcessByStdio<null, Readable, Readable>;
  readonly lines: string[];
  /** The process's standard error so far. */
  errors(): string;
  /** Resolves at the first matching line; rejects when the process exits earlier. */
  line(matches: (line: string) => boolean): Promise<string>;
  /** Sends SIGKILL; resolves when the process is gone and its output is read. */
  kill(): Promise<void>;
}

export function startWriter(path: string, ...more: string[]): Writer {
  const child = spawn(process.execPath, [WRITER, path, ...more], {
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  const lines: string[] = [];
  let errors = '';
  child.stderr.on('data', (chunk) => {
    errors += String(chunk);
  });
  const reader = createInterface({ input: child.stdout });
  reader.on('line', (line) => lines.push(line));
  const gone = Promise.all([once(child, 'exit'), once(reader, 'close')]);
  return {
    process: child,
    lines,
    errors: () => errors,
    line: (matches) =>
      new Promise((resolve, reject) => {
        const look = (): void => {
          const found = lines.find(matches);
          if (found !== undefined) resolve(found);
        };
        reader.on('line', look);
        void gone.then(() => reject(new Error(`the writer ended: ${errors}`)), reject);
        look();
      }),
    async kill() {
      child.kill('SIGKILL');
      await gone;
    },
  };
}
