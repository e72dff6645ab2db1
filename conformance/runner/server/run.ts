/** The server suite: finds out what the server speaks, then runs every scenario against it. */
import { Control } from '../control.ts';
import { explain } from '../looks.ts';
import { runSuite, type SuiteRun, type Task } from '../run.ts';
import type { Outcome } from '../verdict.ts';
import { ERAS, NoServer, Session, type Access, type Era } from '../wire/session.ts';
import { ServerTest, type ServerScenario, type ServerSubject } from './scenario.ts';

export interface ServerRun extends SuiteRun {
  readonly scenarios: readonly ServerScenario[];
  readonly access: Access;
  /** The identifier of the extension under test; default: the one of the project. */
  readonly extension?: string | undefined;
  /** URL of the control interface. */
  readonly control: string | undefined;
  readonly callbackBase?: string | undefined;
}

/** Runs it. Rejects with `NoServer` when there is nothing to test, before anything else happens. */
export async function runServer({
  scenarios,
  access,
  control: controlUrl,
  callbackBase,
  extension,
  ...run
}: ServerRun): Promise<Outcome> {
  const startedAt = Date.now();
  const eras = await erasOf(access);
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
  return runSuite(
    { role: 'server', subject: shown(access.url), scenarios, tasksOf, startedAt },
    run,
  );
}

/** The revisions this server speaks, newest first. Throws `NoServer` when it speaks none. */
async function erasOf(access: Access): Promise<Era[]> {
  const spoken: Era[] = [];
  let last: unknown;
  for (const era of ERAS) {
    try {
      await Session.open(access, era);
      spoken.push(era);
    } catch (error) {
      // A server that does not know a revision says so in many ways; one that is not there is another matter.
      if (error instanceof NoServer) throw error;
      last = error;
    }
  }
  if (spoken.length === 0)
    throw new NoServer(
      `what answers at ${shown(access.url)} is no MCP server that can be tested: ${explain(last)}`,
      { cause: last },
    );
  return spoken;
}

function erasFor({ eras: wanted }: ServerScenario, spoken: readonly Era[]): readonly Era[] {
  if (wanted === 'each') return spoken;
  // A revision that the server does not speak still has its scenario: it then says why it could not be run.
  return wanted === undefined ? spoken.slice(0, 1) : [wanted];
}

/** Without what may be secret in it. */
const shown = (url: string): string => {
  const { origin, pathname } = new URL(url);
  return origin + pathname;
};
