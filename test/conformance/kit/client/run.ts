/** The client suite: finds out which revisions the program speaks, then runs every scenario with a server of its own. */
import { NothingToTest } from '../nothing.ts';
import { checksFor, type Requirements } from '../requirements.ts';
import { conclude, runAll, type Progress, type Task } from '../run.ts';
import type { Outcome } from '../verdict.ts';
import { ERAS, type Era } from '../wire/session.ts';
import { Program } from './program.ts';
import { ClientTest, type ClientScenario } from './scenario.ts';
import { ScriptedServer } from './server.ts';

export interface ClientRun {
  readonly requirements: Requirements;
  readonly scenarios: readonly ClientScenario[];
  readonly command: string;
  /** Only scenarios, or checks, whose name has this in it. */
  readonly only?: string | undefined;
  /** Programs at once. Default 4. */
  readonly atOnce?: number;
  readonly progress?: Progress;
  /** How long a program may take until its first request. Default 30,000. */
  readonly patienceMs?: number;
}

const PATIENCE_MS = 30_000;

/** Runs it. Rejects with `NothingToTest` when the command cannot be run, or runs and asks for nothing. */
export async function runClient({ requirements, scenarios, command, only, atOnce = 4, progress, patienceMs = PATIENCE_MS }: ClientRun): Promise<Outcome> {
  const startedAt = Date.now();
  const eras = await erasOf(command, patienceMs);
  const wanted = scenarios.filter(({ name, checks }) => only === undefined || name.includes(only) || checks.some((check) => check.includes(only)));
  const tasks = wanted.flatMap((scenario): Task[] => (scenario.eras === 'each' ? eras : eras.slice(0, 1)).map((era) => ({
    name: `${scenario.name} (${era})`, alone: false, run: () => ClientTest.run(scenario, command, era),
  })));
  const evidence = await runAll(tasks, atOnce, progress);
  const decided = new Set(wanted.flatMap(({ checks }) => checks));
  const asked = checksFor(requirements, 'client').filter(({ name }) => only === undefined || decided.has(name));
  return { role: 'client', subject: command, results: conclude(asked, evidence), durationMs: Date.now() - startedAt };
}

/** The revisions in which the program gets as far as the extension, newest first. */
async function erasOf(command: string, patienceMs: number): Promise<readonly Era[]> {
  const tried = await Promise.all(ERAS.map(async (era) => ({ era, problem: await greeting(command, era, patienceMs) })));
  const spoken = tried.filter(({ problem }) => problem === null).map(({ era }) => era);
  if (spoken.length === 0) throw new NothingToTest(`"${command}" is no client that can be tested: ${tried[0]!.problem}`);
  return spoken;
}

/** Null when it calls a method of the extension on a server that has it; otherwise what happened instead. */
async function greeting(command: string, era: Era, patienceMs: number): Promise<string | null> {
  const server = await ScriptedServer.listen(era);
  const context = { select: [{ name: 'conformance.plain', arguments: { topic: 'conformance' } }], drain: 'pull', durationMs: patienceMs } as const;
  const program = new Program(command, { url: server.url, scenario: 'greeting', era, context });
  const arrived = (): boolean => server.calls.some(({ method }) => method?.startsWith('triggers/') === true);
  try {
    for (const end = Date.now() + patienceMs; !arrived() && program.ended === undefined && Date.now() < end;) await new Promise((resolve) => setTimeout(resolve, 10));
    if (arrived()) return null;
    if (program.ended !== undefined) return program.epitaph;
    return `it runs, but has ${server.calls.length === 0 ? 'sent no request' : 'called no method of the extension'} for ${patienceMs / 1000} s`;
  } finally {
    await program.stop();
    await server.close();
  }
}
