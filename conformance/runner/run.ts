/** Turns looks into verdicts, one for each requirement of a role, and runs scenarios a few at a time. */
import type { Looks } from './looks.ts';
import { checksFor, type Requirement, type Requirements } from './requirements.ts';
import { verdictOf, type CheckResult, type Evidence, type Outcome, type Role } from './verdict.ts';

/** A piece of work that ends with looks. */
export interface Task {
  readonly name: string;
  /** Runs after everything else, and by itself. */
  readonly alone: boolean;
  run(): Promise<Looks>;
}

/** Told of what happens, for a person who waits. */
export type Progress = (name: string, evidence: readonly Evidence[]) => void;

/** Runs everything; `atOnce` of those that tolerate company. Never rejects: what goes wrong is in the looks. */
export async function runAll(
  tasks: readonly Task[],
  atOnce: number,
  progress: Progress = () => undefined,
): Promise<Evidence[]> {
  const evidence: Evidence[] = [];
  const one = async (task: Task): Promise<void> => {
    const looks = await task.run();
    evidence.push(...looks.evidence);
    progress(task.name, looks.evidence);
  };
  const together = tasks.filter(({ alone }) => !alone);
  let next = 0;
  await Promise.all(
    Array.from({ length: Math.min(atOnce, together.length) }, async () => {
      while (next < together.length) await one(together[next++]!);
    }),
  );
  for (const task of tasks.filter(({ alone }) => alone)) await one(task);
  return evidence;
}

/** What every suite is told about a run. */
export interface SuiteRun {
  readonly requirements: Requirements;
  /** Only scenarios, or checks, whose name has this in it. */
  readonly only?: string | undefined;
  /** Scenarios at once. Default 4. */
  readonly atOnce?: number;
  readonly progress?: Progress;
}

/** What was found out about the peer before the scenarios begin. */
export interface Suite<
  Scenario extends { readonly name: string; readonly checks: readonly string[] },
> {
  readonly role: Role;
  /** As a person would say it, without what may be secret. */
  readonly subject: string;
  readonly scenarios: readonly Scenario[];
  /** The work that one scenario is. */
  readonly tasksOf: (scenario: Scenario) => Task | readonly Task[];
  /** When it all began, in epoch milliseconds. */
  readonly startedAt: number;
}

/** Runs the scenarios that are wanted, and concludes about the checks that they, or all of them, decide. */
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
  const evidence = await runAll(wanted.flatMap(tasksOf), atOnce, progress);
  const decided = new Set(wanted.flatMap(({ checks }) => checks));
  const asked = checksFor(requirements, role).filter(
    ({ name }) => only === undefined || decided.has(name),
  );
  return { role, subject, results: conclude(asked, evidence), durationMs: Date.now() - startedAt };
}

/** One result for each requirement, in the order of the requirements file. A requirement that nobody looked at is violated: that is a defect of the kit. */
export function conclude(
  requirements: readonly Requirement[],
  evidence: readonly Evidence[],
): CheckResult[] {
  return requirements.map(({ id, name, text, url, recommended }) => {
    const looks = evidence.filter(({ check }) => check === name);
    const verdict = verdictOf(looks, recommended);
    const telling = looks.filter(({ outcome }) =>
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
        looks.length === 0
          ? ['no scenario looks at it']
          : [
              ...new Set(
                telling.map(({ what, reason }) =>
                  reason === undefined ? what : `${what}: ${reason}`,
                ),
              ),
            ],
      scenarios: [...new Set(looks.map(({ scenario }) => scenario))],
    };
  });
}
