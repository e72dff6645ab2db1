/**
 * The client suite: finds the revisions that the program speaks, then runs each scenario with its
 * own server.
 */
import { NothingToTest } from '../observations.ts';
import { runSuite, type SuiteRun, type Task } from '../run.ts';
import type { Outcome } from '../verdict.ts';
import { ERAS, type Era } from '../wire/session.ts';
import { Program } from './program.ts';
import { ClientTest, type ClientScenario } from './scenario.ts';
import { ScriptedServer } from './server.ts';

export interface ClientRun extends SuiteRun {
  readonly scenarios: readonly ClientScenario[];
  readonly command: string;
  /** Maximum time until a program calls a method of the extension, in ms. Default 30,000. */
  readonly patienceMs?: number;
}

const PATIENCE_MS = 30_000;

/**
 * Runs the suite. Rejects with `NothingToTest` when the program ends early or calls no method of the
 * extension.
 */
export async function runClient({
  scenarios,
  command,
  patienceMs = PATIENCE_MS,
  ...run
}: ClientRun): Promise<Outcome> {
  const startedAt = Date.now();
  const eras = await erasOf(command, patienceMs);
  const tasksOf = (scenario: ClientScenario): Task[] =>
    (scenario.eras === 'each' ? eras : eras.slice(0, 1)).map((era) => ({
      name: `${scenario.name} (${era})`,
      alone: false,
      run: () => ClientTest.run(scenario, command, era),
    }));
  return runSuite({ role: 'client', subject: command, scenarios, tasksOf, startedAt }, run);
}

/** The revisions in which the program calls a method of the extension, newest first. */
async function erasOf(command: string, patienceMs: number): Promise<readonly Era[]> {
  const tried = await Promise.all(
    ERAS.map(async (era) => ({ era, problem: await greeting(command, era, patienceMs) })),
  );
  const spoken = tried.filter(({ problem }) => problem === null).map(({ era }) => era);
  if (spoken.length === 0)
    throw new NothingToTest(
      `"${command}" cannot be tested as a client: ${tried[0]!.problem}. Run the command by hand with a server URL as its last argument`,
    );
  return spoken;
}

/** Null when the program calls a method of the extension in this revision; otherwise why not. */
async function greeting(command: string, era: Era, patienceMs: number): Promise<string | null> {
  const server = await ScriptedServer.listen(era);
  const context = {
    select: [{ name: 'conformance.plain', arguments: { topic: 'conformance' } }],
    drain: 'pull',
    durationMs: patienceMs,
  } as const;
  const program = new Program(command, { url: server.url, scenario: 'greeting', era, context });
  const arrived = (): boolean =>
    server.calls.some(({ method }) => method?.startsWith('triggers/') === true);
  try {
    for (
      const end = Date.now() + patienceMs;
      !arrived() && program.ended === undefined && Date.now() < end;
    )
      await new Promise((resolve) => setTimeout(resolve, 10));
    if (arrived()) return null;
    if (program.ended !== undefined) return program.endMessage;
    return `it runs, but ${server.calls.length === 0 ? 'sent no request' : 'called no method of the extension'} for ${patienceMs / 1000} s`;
  } finally {
    await program.stop();
    await server.close();
  }
}
