#!/usr/bin/env node
/**
 * Runs one command of the reference client, and sets the exit code (`exit.ts`). The first Ctrl+C
 * stops the command gracefully, the second at once.
 */
import { EXIT, failureOf } from './exit.ts';
import { createPrinter, type Outputs } from './printer.ts';
import { createProgram } from './program.ts';
import { StoppedEarly } from './session.ts';

const outputs: Outputs = {
  out: (text) => void process.stdout.write(text),
  err: (text) => void process.stderr.write(text),
  columns: process.stdout.columns,
};

const SIGNALS = ['SIGINT', 'SIGTERM'] as const;

async function main(argv: readonly string[]): Promise<number> {
  const stop = new AbortController();
  const end = (): void => {
    stop.abort();
    for (const name of SIGNALS) process.off(name, end);
  };
  for (const name of SIGNALS) process.on(name, end);
  try {
    await createProgram(outputs, stop.signal).parseAsync(argv);
    return EXIT.ok;
  } catch (error) {
    // A server that does not answer would keep the attempt to connect, and this process, alive.
    if (error instanceof StoppedEarly) process.exit(EXIT.ok);
    const failure = failureOf(error);
    if (failure.code === EXIT.ok || stop.signal.aborted) return EXIT.ok;
    createPrinter(argv.includes('--json'), outputs).error(failure);
    return failure.code;
  }
}

// A reader may close the pipe early, as `head` does.
process.stdout.on('error', (error: NodeJS.ErrnoException) =>
  process.exit(error.code === 'EPIPE' ? EXIT.ok : EXIT.failure),
);
process.exitCode = await main(process.argv);
