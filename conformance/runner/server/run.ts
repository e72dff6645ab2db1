/**
 * The server suite: finds the revisions that the server speaks, then runs every scenario against
 * it.
 */
import { Control } from '../control.ts';
import { declaredLevels } from '../levels.ts';
import { explain } from '../observations.ts';
import { runSuite, type SuiteRun, type Task } from '../run.ts';
import type { Outcome } from '../verdict.ts';
import {
  ERAS,
  EXTENSION,
  NoServer,
  Session,
  type Access,
  type Era,
  type Json,
} from '../wire/session.ts';
import { ServerTest, type ServerScenario, type ServerSubject } from './scenario.ts';

export interface ServerRun extends SuiteRun {
  readonly scenarios: readonly ServerScenario[];
  readonly access: Access;
  /** The identifier of the extension under test. Default: the one of this project. */
  readonly extension?: string | undefined;
  /** URL of the control interface. */
  readonly control: string | undefined;
  readonly callbackBase?: string | undefined;
}

/** Runs the suite. Rejects with `NoServer` when no MCP server answers. */
export async function runServer({
  scenarios,
  access,
  control: controlUrl,
  callbackBase,
  extension,
  ...run
}: ServerRun): Promise<Outcome> {
  const startedAt = Date.now();
  const { eras, settings } = await probe(access, extension);
  const control = controlUrl === undefined ? Control.none : await Control.at(controlUrl);
  const subject: ServerSubject = {
    access,
    control,
    eras,
    callbackBase,
    extension,
    requirements: run.requirements.checks,
  };
  const tasksOf = (scenario: ServerScenario): Task[] =>
    erasFor(scenario, eras).map((era) => ({
      name: `${scenario.name} (${era})`,
      alone: scenario.alone === true,
      run: () => ServerTest.run(scenario, subject, era),
    }));
  // A server without the extension declares no level either: every check then says so.
  const declared =
    (extension ?? EXTENSION) === EXTENSION && settings !== undefined
      ? declaredLevels(settings)
      : undefined;
  return runSuite(
    { role: 'server', subject: shown(access.url), scenarios, declared, tasksOf, startedAt },
    run,
  );
}

/**
 * The revisions that the server speaks, newest first, and its settings in the first of them. Throws
 * `NoServer` when it speaks none.
 */
async function probe(
  access: Access,
  extension?: string,
): Promise<{ readonly eras: Era[]; readonly settings: Json }> {
  const spoken: Era[] = [];
  let settings: Json;
  let last: unknown;
  for (const era of ERAS) {
    try {
      const session = await Session.open(access, era, extension);
      if (spoken.length === 0) settings = session.settings;
      spoken.push(era);
    } catch (error) {
      // A server may reject an unknown revision in any way, but it has to answer.
      if (error instanceof NoServer) throw error;
      if (error instanceof DOMException && error.name === 'TimeoutError')
        throw new NoServer(
          `what listens at ${shown(access.url)} does not answer in time. Check the server and --url`,
          { cause: error },
        );
      last = error;
    }
  }
  if (spoken.length === 0)
    throw new NoServer(
      `what answers at ${shown(access.url)} is not a testable MCP server: ${explain(last)}. Check --url and --token`,
      { cause: last },
    );
  return { eras: spoken, settings };
}

function erasFor({ eras: wanted }: ServerScenario, spoken: readonly Era[]): readonly Era[] {
  if (wanted === 'each') return spoken;
  // A scenario for a revision that the server does not speak runs too, and reports why it cannot
  // proceed.
  return wanted === undefined ? spoken.slice(0, 1) : [wanted];
}

/** The URL without its query. */
const shown = (url: string): string => {
  const { origin, pathname } = new URL(url);
  return origin + pathname;
};
