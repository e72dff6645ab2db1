/** Runs the official conformance suite's own command line and reads its checks, by scenario. */
import { execFile } from 'node:child_process';
import { mkdtemp, readdir, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { inheritedEnv } from '../../../scripts/demo/server-process.ts';
import { parse } from 'yaml';

export const SUITE = '@modelcontextprotocol/conformance';
export const REVISIONS = ['2025-11-25', '2026-07-28'] as const;
export type Revision = (typeof REVISIONS)[number];
/** The side under test. */
export type Leg = 'server' | 'client';

const ROOT = join(import.meta.dirname, '../../..');
const PACKAGE = join(ROOT, 'node_modules', SUITE);
/** For a whole run. */
const RUN_TIMEOUT_MS = 240_000;
/** For one scenario. The suite's own 30 seconds are for an otherwise idle machine. */
const SCENARIO_TIMEOUT_MS = 120_000;
/** The suite ends the name of a scenario's folder with a time. */
const MOMENT = /-\d{4}-\d{2}-\d{2}T[\d-]+Z$/;

export interface Check {
  readonly id: string;
  readonly status: 'SUCCESS' | 'FAILURE' | 'WARNING' | 'SKIPPED' | 'INFO';
  readonly description: string;
  readonly errorMessage?: string;
}

/** The scenarios that a revision requires, frozen at its release, and the unscored ones. */
export interface Requirements {
  readonly scored: readonly string[];
  readonly unscored: readonly string[];
}

export async function requirementsOf(revision: Revision, leg: Leg): Promise<Requirements> {
  const set = parse(await readFile(join(PACKAGE, `requirements/${revision}.yaml`), 'utf8')) as {
    readonly [L in Leg]: string[];
  } & { readonly not_scored: { readonly scenario: string; readonly leg: Leg }[] };
  return {
    scored: set[leg],
    unscored: set.not_scored.filter((row) => row.leg === leg).map(({ scenario }) => scenario),
  };
}

/** One run of the command line. */
export interface SuiteRun {
  readonly checks: ReadonlyMap<string, readonly Check[]>;
  /** Its output, for diagnosing a failure. */
  readonly output: string;
}

/** Runs the command line once. `target`: the option that names the side under test, with its value. */
async function run(
  leg: Leg,
  target: readonly string[],
  which: readonly string[],
): Promise<SuiteRun> {
  const folder = await mkdtemp(join(tmpdir(), 'conformance-'));
  try {
    const args = [
      join(PACKAGE, 'dist/index.js'),
      leg,
      ...target,
      ...which,
      '--timeout',
      String(SCENARIO_TIMEOUT_MS),
      '-o',
      join(folder, 'results'),
    ];
    const env = { ...inheritedEnv(), HOME: folder };
    const output = await new Promise<string>((resolve) => {
      execFile(
        process.execPath,
        args,
        { cwd: folder, env, timeout: RUN_TIMEOUT_MS, maxBuffer: 2 ** 28 },
        (error, stdout, stderr) => {
          // The exit code is ignored, since it only repeats the checks.
          resolve(
            `${stdout}${stderr}${error?.killed ? `\nEnded after ${RUN_TIMEOUT_MS} ms.` : ''}`,
          );
        },
      );
    });
    return { checks: await readResults(join(folder, 'results'), leg), output };
  } finally {
    await rm(folder, { recursive: true, maxRetries: 3 });
  }
}

/** A folder per scenario, with slashes where its name has them. */
async function readResults(folder: string, leg: Leg): Promise<Map<string, readonly Check[]>> {
  const checks = new Map<string, readonly Check[]>();
  for (const file of await readdir(folder, { recursive: true }).catch(() => [])) {
    if (!file.endsWith('checks.json')) continue;
    const scenario = dirname(file)
      .replace(MOMENT, '')
      .replace(leg === 'server' ? /^server-/ : '', '');
    checks.set(scenario, JSON.parse(await readFile(join(folder, file), 'utf8')) as Check[]);
  }
  return checks;
}

/** Something was checked, and every check passed. */
export const green = (checks: readonly Check[] | undefined): boolean =>
  checks !== undefined &&
  checks.some(({ status }) => status === 'SUCCESS') &&
  checks.every(({ status }) => status !== 'FAILURE' && status !== 'WARNING');

/**
 * Runs what a revision requires. Some checks of the suite wait only half a second, which is too
 * short on a busy machine, so a required scenario that does not pass runs once more, alone.
 */
export async function runRequirements(
  leg: Leg,
  target: readonly string[],
  revision: Revision,
): Promise<SuiteRun> {
  const { scored } = await requirementsOf(revision, leg);
  const first = await run(leg, target, ['--requirements', revision]);
  const checks = new Map(first.checks);
  let { output } = first;
  for (const scenario of scored.filter((name) => !green(first.checks.get(name)))) {
    const again = await run(leg, target, ['--scenario', scenario, '--spec-version', revision]);
    for (const [name, found] of again.checks) checks.set(name, found);
    output += again.output;
  }
  return { checks, output };
}
