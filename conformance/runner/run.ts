/**
 * Runs scenarios in parallel and turns their observations into one verdict for each requirement of a
 * role.
 */
import { NothingToTest, type Observations } from './observations.ts';
import { checksFor, type Requirement, type Requirements } from './requirements.ts';
import {
  verdictOf,
  type CheckResult,
  type Observation,
  type Outcome,
  type Role,
} from './verdict.ts';

/** One run of a scenario. */
export interface Task {
  readonly name: string;
  /** Whether the task runs after all others, with no other at the same time. */
  readonly alone: boolean;
  run(): Promise<Observations>;
}

/** Called after each scenario, to show progress. */
export type Progress = (name: string, observations: readonly Observation[]) => void;

/**
 * Runs every task: up to `atOnce` of those that may run in parallel, then the others one by one.
 * Resolves with all observations; a failed scenario is an observation too.
 */
export async function runAll(
  tasks: readonly Task[],
  atOnce: number,
  progress: Progress = () => undefined,
): Promise<Observation[]> {
  const observations: Observation[] = [];
  const one = async (task: Task): Promise<void> => {
    const { list } = await task.run();
    observations.push(...list);
    progress(task.name, list);
  };
  const together = tasks.filter(({ alone }) => !alone);
  let next = 0;
  await Promise.all(
    Array.from({ length: Math.min(atOnce, together.length) }, async () => {
      while (next < together.length) await one(together[next++]!);
    }),
  );
  for (const task of tasks.filter(({ alone }) => alone)) await one(task);
  return observations;
}

/** Options that every suite takes. */
export interface SuiteRun {
  readonly requirements: Requirements;
  /** Runs only scenarios with this text in their name or in one of their checks. */
  readonly only?: string | undefined;
  /** Scenarios that run in parallel. Default 4. */
  readonly atOnce?: number;
  readonly progress?: Progress;
}

/** A suite for one peer. */
export interface Suite<
  Scenario extends { readonly name: string; readonly checks: readonly string[] },
> {
  readonly role: Role;
  /** The name of the peer in reports, without secrets. */
  readonly subject: string;
  readonly scenarios: readonly Scenario[];
  /** The tasks of one scenario. */
  readonly tasksOf: (scenario: Scenario) => Task | readonly Task[];
  /** Start of the run, in epoch milliseconds. */
  readonly startedAt: number;
}

/**
 * Runs the selected scenarios and gives a verdict on the checks that they decide; without a
 * selection, on every check.
 */
export async function runSuite<
  S extends { readonly name: string; readonly checks: readonly string[] },
>(
  { role, subject, scenarios, tasksOf, startedAt }: Suite<S>,
  { requirements, only, atOnce = 4, progress }: SuiteRun,
): Promise<Outcome> {
  const wanted = scenarios.filter(
    ({ name, checks }) =>
      only === undefined || name.includes(only) || checks.some((check) => check.includes(only)),
  );
  if (wanted.length === 0)
    throw new NothingToTest(
      `No scenario and no check has "${only}" in its name. Correct it, or omit --only.`,
    );
  const observations = await runAll(wanted.flatMap(tasksOf), atOnce, progress);
  const decided = new Set(wanted.flatMap(({ checks }) => checks));
  const asked = checksFor(requirements, role).filter(
    ({ name }) => only === undefined || decided.has(name),
  );
  return {
    role,
    subject,
    results: conclude(asked, observations),
    durationMs: Date.now() - startedAt,
  };
}

/**
 * One result for each requirement, in the order of the requirements file. A requirement without an
 * observation counts as broken, because the kit then lacks a scenario.
 */
export function conclude(
  requirements: readonly Requirement[],
  observations: readonly Observation[],
): CheckResult[] {
  return requirements.map(({ id, name, text, url, recommended }) => {
    const own = observations.filter(({ check }) => check === name);
    const verdict = verdictOf(own, recommended);
    const decisive = own.filter(({ outcome }) =>
      verdict === 'passed'
        ? outcome === 'held'
        : verdict === 'not shown' || verdict === 'not applicable'
          ? outcome === verdict
          : outcome === 'broken',
    );
    return {
      id,
      text,
      url,
      verdict,
      reasons:
        own.length === 0
          ? ['no scenario checks it']
          : [
              ...new Set(
                decisive.map(({ what, reason }) =>
                  reason === undefined ? what : `${what}: ${reason}`,
                ),
              ),
            ],
      scenarios: [...new Set(own.map(({ scenario }) => scenario))],
    };
  });
}
