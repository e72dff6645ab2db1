#!/usr/bin/env node
/** Runs the reference client: one command, its output, an exit code (`exit.ts`). The first Ctrl+C ends in good order, the second at once. */
import { EXIT, verdictOf } from './exit.ts';
import { createPrinter, type Outputs } from './printer.ts';
import { createProgram } from './program.ts';

const outputs: Outputs = {
  out: (text) => void process.stdout.write(text),
  err: (text) => void process.stderr.write(text),
  columns: process.stdout.columns,
};

async function main(argv: readonly string[]): Promise<number> {
  const stop = new AbortController();
  for (const name of ['SIGINT', 'SIGTERM'] as const) process.once(name, () => stop.abort());
  try {
    await createProgram(outputs, stop.signal).parseAsync(argv);
    return EXIT.ok;
  } catch (error) {
    const verdict = verdictOf(error);
    if (verdict.code === EXIT.ok || stop.signal.aborted) return EXIT.ok;
    createPrinter(argv.includes('--json'), outputs).error(verdict);
    return verdict.code;
  }
}

// Whoever reads the output may stop reading, as `head` does: no reason to complain.
process.stdout.on('error', (error: NodeJS.ErrnoException) =>
  process.exit(error.code === 'EPIPE' ? EXIT.ok : EXIT.failure),
);
process.exitCode = await main(process.argv);
