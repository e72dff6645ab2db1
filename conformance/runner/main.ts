/**
 * The conformance command: reads the arguments, runs one suite, writes the reports and returns the
 * exit code.
 */
import { existsSync, mkdirSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { readExpected, standing, type Expected } from './expected.ts';
import { NothingToTest } from './observations.ts';
import { readOptions, USAGE, UsageError, type Options } from './options.ts';
import { checksFolder, checksReport } from './report/checks.ts';
import { humanReport } from './report/human.ts';
import { junitReport } from './report/junit.ts';
import { readRequirements, REQUIREMENT_FILES, type Requirements } from './requirements.ts';
import type { Progress } from './run.ts';
import type { Outcome } from './verdict.ts';
import { suites } from '../suites/index.ts';

/** Output streams of the command. */
export interface Output {
  readonly out: (text: string) => void;
  readonly err: (text: string) => void;
}

const EXIT = { fine: 0, violated: 1, usage: 2, nothing: 3 } as const;

/** Runs the command with these arguments. Resolves with its exit code. */
export async function main(args: readonly string[], { out, err }: Output): Promise<number> {
  try {
    const options = readOptions(args);
    if (options === null) {
      out(USAGE);
      return EXIT.fine;
    }
    const requirements = readRequirements(REQUIREMENT_FILES[options.extension]);
    const known = new Set([...requirements.checks.values()].map(({ id }) => id));
    const expected: Expected =
      options.expected === undefined ? new Map() : expectedIn(options.expected, known);
    requireFolders(options);
    const outcome = await run(
      options,
      requirements,
      options.quiet
        ? () => undefined
        : (name, observations) => err(progressLine(name, observations)),
    );
    out(humanReport(outcome, expected, options.all));
    try {
      write(options, outcome, expected);
    } catch (error) {
      err(`A report cannot be written: ${(error as Error).message}. Correct its path.\n`);
      return EXIT.usage;
    }
    const bad = outcome.results.some((result) =>
      ['unexpected failure', 'unexpectedly passing'].includes(standing(result, expected)),
    );
    return bad ? EXIT.violated : EXIT.fine;
  } catch (error) {
    if (error instanceof UsageError) {
      err(`${error.message}\n\n${USAGE}`);
      return EXIT.usage;
    }
    err(`Nothing was tested: ${(error as Error).message.replace(/\.?$/, '.')}\n`);
    return error instanceof NothingToTest ||
      (error as { readonly name?: string }).name === 'RpcError'
      ? EXIT.nothing
      : EXIT.usage;
  }
}

function expectedIn(path: string, known: ReadonlySet<string>): Expected {
  try {
    return readExpected(path, known);
  } catch (error) {
    throw new Error(`--expected cannot be used: ${(error as Error).message}`, { cause: error });
  }
}

/** Finds a wrong path before the run, which can take minutes. */
function requireFolders({ json, junit }: Options): void {
  for (const [name, file] of Object.entries({ json, junit })) {
    if (file !== undefined && !existsSync(dirname(file)))
      throw new Error(`The folder of --${name} ${file} does not exist. Create it`);
  }
}

async function run(
  options: Options,
  requirements: Requirements,
  progress: Progress,
): Promise<Outcome> {
  const suite = suites[options.extension][options.role];
  return suite(options, requirements, progress);
}

function write(options: Options, outcome: Outcome, expected: Expected): void {
  const { json, junit, results } = options;
  if (json !== undefined) writeFileSync(json, `${JSON.stringify(outcome, null, 2)}\n`);
  if (junit !== undefined) writeFileSync(junit, junitReport(outcome, expected));
  if (results === undefined) return;
  const now = new Date();
  const folder = join(results, checksFolder(outcome, now));
  mkdirSync(folder, { recursive: true });
  writeFileSync(
    join(folder, 'checks.json'),
    `${JSON.stringify(checksReport(outcome, now), null, 2)}\n`,
  );
}

function progressLine(name: string, observations: Parameters<Progress>[1]): string {
  const broken = observations.filter(({ outcome }) => outcome === 'broken').length;
  return `${broken === 0 ? 'ok    ' : 'BROKEN'} ${name}: ${observations.length} observations${broken === 0 ? '' : `, ${broken} broken`}\n`;
}
