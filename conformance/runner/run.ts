/**
 * Runs scenarios in parallel and turns their observations into one verdict for each requirement of
 * a role.
 */
import type { Level } from './levels.ts';
import { lineOf, NothingToTest, type Observations } from './observations.ts';
import { checksFor, type Requirement, type Requirements } from './requirements.ts';
import { inScenario } from './trace.ts';
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
    const { list } = await inScenario(task.name, () => task.run());
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
  /**
   * Only checks of these levels are part of the run. Default: the levels that the peer declares.
   */
  readonly levels?: ReadonlySet<Level> | undefined;
  /** Scenarios that run in parallel. Default 4. */
  readonly atOnce?: number;
  readonly progress?: Progress;
}

/** The members of a scenario by which a run selects it. */
export interface Selectable {
  readonly name: string;
  readonly checks: readonly string[];
}

/** A suite for one peer. */
export interface Suite<Scenario extends Selectable> {
  readonly role: Role;
  /** The name of the peer in reports, without secrets. */
  readonly subject: string;
  readonly scenarios: readonly Scenario[];
  /**
   * The levels that the peer declares; undefined = it declares none, so that every check applies.
   */
  readonly declared?: ReadonlySet<Level> | undefined;
  /** The tasks of one scenario. */
  readonly tasksOf: (scenario: Scenario) => Task | readonly Task[];
  /** Start of the run, in epoch milliseconds. */
  readonly startedAt: number;
}

/** The scenarios and the requirements of a role that a run is about. */
export interface Selection<Scenario extends Selectable> {
  readonly scenarios: readonly Scenario[];
  readonly asked: readonly Requirement[];
}

/**
 * Selects by text and by level. A scenario runs when it decides a check of one of the levels. With
 * a text, only the requirements that a selected scenario decides are part of the run; without one,
 * all of them are. Throws `NothingToTest` when nothing is left.
 */
export function select<Scenario extends Selectable>(
  role: Role,
  scenarios: readonly Scenario[],
  { requirements, only, levels }: Pick<SuiteRun, 'requirements' | 'only' | 'levels'>,
): Selection<Scenario> {
  const ofLevels = checksFor(requirements, role).filter(
    ({ level }) => levels === undefined || level === undefined || levels.has(level),
  );
  const names = new Set(ofLevels.map(({ name }) => name));
  const wanted = scenarios.filter(
    ({ name, checks }) =>
      (levels === undefined || checks.some((check) => names.has(check))) &&
      (only === undefined || name.includes(only) || checks.some((check) => check.includes(only))),
  );
  if (wanted.length === 0) {
    const at = levels === undefined ? '' : ` at the levels ${[...levels].join(', ')}`;
    throw new NothingToTest(
      only === undefined
        ? `No scenario decides a check${at}. Correct --level.`
        : `No scenario and no check has "${only}" in its name${at}. Correct it, or omit --only.`,
    );
  }
  const decided = new Set(wanted.flatMap(({ checks }) => checks));
  return {
    scenarios: wanted,
    asked: ofLevels.filter(({ name }) => only === undefined || decided.has(name)),
  };
}

/**
 * Runs the selected scenarios and gives a verdict on the checks that they decide; without a
 * selection, on every check. A check of a level that the peer does not declare does not apply.
 */
export async function runSuite<S extends Selectable>(
  { role, subject, scenarios, declared, tasksOf, startedAt }: Suite<S>,
  { requirements, only, levels, atOnce = 4, progress }: SuiteRun,
): Promise<Outcome> {
  if (declared !== undefined)
    for (const level of levels ?? [])
      if (!declared.has(level))
        throw new NothingToTest(
          `the ${role} does not declare "${level}": its settings name ${[...declared].join(', ')}. Declare it, or omit it from --level`,
        );
  const relevant = levels ?? declared;
  const { asked } = select(role, scenarios, { requirements, only, levels });
  const { scenarios: wanted } = select(role, scenarios, { requirements, only, levels: relevant });
  const observations = await runAll(wanted.flatMap(tasksOf), atOnce, progress);
  const applies = ({ level }: Requirement): boolean =>
    relevant === undefined || level === undefined || relevant.has(level);
  const results = new Map(
    conclude(asked.filter(applies), observations).map((result) => [result.id, result]),
  );
  return {
    role,
    subject,
    ...(relevant === undefined ? {} : { levels: [...relevant] }),
    results: asked.map(
      (requirement) => results.get(requirement.id) ?? undeclared(requirement, role),
    ),
    durationMs: Date.now() - startedAt,
  };
}

/** The result of a check whose level the peer does not declare. */
function undeclared({ id, text, url, level }: Requirement, role: Role): CheckResult {
  return {
    id,
    text,
    url,
    level,
    verdict: 'not applicable',
    reasons: [`The ${role} does not declare "${level}".`],
    findings: [],
    scenarios: [],
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
  return requirements.map(({ id, name, text, url, level, recommended }) => {
    const own = observations.filter(({ check }) => check === name);
    const verdict = verdictOf(own, recommended);
    const decisive = own.filter(({ outcome }) =>
      verdict === 'passed'
        ? outcome === 'held'
        : verdict === 'not shown' || verdict === 'not applicable'
          ? outcome === verdict
          : outcome === 'broken',
    );
    const skipped = verdict === 'not shown' || verdict === 'not applicable';
    return {
      id,
      text,
      url,
      level,
      verdict,
      reasons:
        own.length === 0
          ? ['No scenario checks it.']
          : [
              ...new Set(
                decisive.map((look) => {
                  const why = lineOf(look);
                  return why === '' ? look.what : skipped ? why : `${look.what}: ${why}`;
                }),
              ),
            ],
      findings: verdict === 'passed' || skipped ? [] : decisive,
      scenarios: [...new Set(own.map(({ scenario }) => scenario))],
    };
  });
}
