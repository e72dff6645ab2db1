/** Reads the arguments of a script: a wrong one ends it with a sentence instead of a stack trace. */
import { parseArgs, type ParseArgsConfig } from 'node:util';

/**
 * As `parseArgs`. With `--help` it prints `usage` and ends the process with exit code 0. With a wrong
 * argument it ends the process as `wrongUsage` does.
 */
export function argumentsOf<const T extends ParseArgsConfig>(
  usage: string,
  config: T,
): ReturnType<typeof parseArgs<T>> {
  if (process.argv.slice(2).includes('--help')) {
    process.stdout.write(`${usage}\n`);
    process.exit(0);
  }
  try {
    return parseArgs(config);
  } catch (error) {
    return wrongUsage((error as Error).message.replace(/\.?$/, '.'));
  }
}

/** Prints what is wrong with the arguments, and ends the process with exit code 2. */
export function wrongUsage(problem: string): never {
  process.stderr.write(`${problem} Run with --help to see the usage.\n`);
  process.exit(2);
}

/** The integer in the value of an option. */
export function integerOf(option: string, text: string, least = Number.MIN_SAFE_INTEGER): number {
  const value = text.trim() === '' ? NaN : Number(text);
  if (Number.isSafeInteger(value) && value >= least) return value;
  return wrongUsage(
    `--${option} is "${text}". Pass an integer${least === Number.MIN_SAFE_INTEGER ? '' : ` of at least ${least}`}.`,
  );
}
