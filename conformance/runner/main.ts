/**
 * The conformance command: reads the arguments, runs one suite, writes the reports and returns the
 * exit code.
 */
import { existsSync, mkdirSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { CONTROL_USAGE, controlCommand } from './control-command.ts';
import { readExpected, standing, type Expected } from './expected.ts';
import { listText } from './list.ts';
import { NothingToTest } from './observations.ts';
import { readOptions, USAGE, UsageError, type Options } from './options.ts';
import { checksFolder, checksReport } from './report/checks.ts';
import { humanReport } from './report/human.ts';
import { junitReport } from './report/junit.ts';
import { readRequirements, REQUIREMENT_FILES, type Requirements } from './requirements.ts';
import { select, type Progress } from './run.ts';
import { Trace, traced } from './trace.ts';
import type { Outcome } from './verdict.ts';
import { version } from './version.ts';
import { scenariosOf, suites } from '../suites/index.ts';

/** Output streams of the command. */
export interface Output {
  readonly out: (text: string) => void;
  readonly err: (text: string) => void;
}

const EXIT = { fine: 0, violated: 1, usage: 2, nothing: 3, notShown: 4 } as const;

/** Runs the command with these arguments. Resolves with its exit code. */
export async function main(
  args: readonly string[],
  { out, err }: Output,
  env: NodeJS.ProcessEnv = {},
): Promise<number> {
  try {
    if (args[0] === 'control') return await controlCommand(args.slice(1), { out, err });
    const options = readOptions(args, env);
    if (options === 'help' || options === 'version') {
      out(options === 'help' ? USAGE : `${version()}\n`);
      return EXIT.fine;
    }
    const requirements = readRequirements(REQUIREMENT_FILES[options.extension]);
    if (options.list) {
      const all = scenariosOf[options.extension][options.role];
      const { scenarios } = select(options.role, all, { requirements, ...options });
      out(listText(scenarios, requirements.checks));
      return EXIT.fine;
    }
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
    if (bad) return EXIT.violated;
    const missing = missingIn(outcome, options);
    if (missing === null) return EXIT.fine;
    err(`${missing}\n`);
    return EXIT.notShown;
  } catch (error) {
    if (error instanceof UsageError) {
      err(`${error.message}\n\n${args[0] === 'control' ? CONTROL_USAGE : USAGE}`);
      return EXIT.usage;
    }
    err(`Nothing was tested: ${(error as Error).message.replace(/\.?$/, '.')}\n`);
    return error instanceof NothingToTest ||
      (error as { readonly name?: string }).name === 'RpcError'
      ? EXIT.nothing
      : EXIT.usage;
  }
}

/** Why too little was shown for success; null when enough was. */
export function missingIn(
  { results }: Pick<Outcome, 'results'>,
  { strict, allowNotShown }: Pick<Options, 'strict' | 'allowNotShown'>,
): string | null {
  const applicable = results.filter(({ verdict }) => verdict !== 'not applicable').length;
  const notShown = results.filter(({ verdict }) => verdict === 'not shown').length;
  if (allowNotShown) return null;
  if (strict && notShown > 0)
    return `${notShown} of ${applicable} checks were not shown, which --strict does not accept.`;
  if (applicable === 0)
    return 'No check applies to this peer. Correct --only or --level, or accept this with --allow-not-shown.';
  if (notShown * 2 > applicable)
    return `${notShown} of ${applicable} checks were not shown. Offer what the report names, select checks with --level or --only, or accept this with --allow-not-shown.`;
  return null;
}

function expectedIn(path: string, known: ReadonlySet<string>): Expected {
  try {
    return readExpected(path, known);
  } catch (error) {
    throw new Error(`--expected cannot be used: ${(error as Error).message}`, { cause: error });
  }
}

/** Finds a wrong path before the run, which can take minutes. */
function requireFolders({ json, junit, trace }: Options): void {
  for (const [name, file] of Object.entries({ json, junit, trace })) {
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
  const trace = options.trace === undefined ? undefined : await Trace.to(options.trace);
  trace?.hide(options.token, options.secret);
  try {
    return await traced(trace, () => suite(options, requirements, progress));
  } finally {
    await trace?.close();
  }
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
