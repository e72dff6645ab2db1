/**
 * Plants the faults, one at a time, and reports which of them the kit catches. As a program, `npm
 * run faults --workspace conformance -- TEXT…`: the faults of a level, or with the text in their
 * check or sentence.
 */
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { Control } from '../../runner/control.ts';
import { lineOf } from '../../runner/observations.ts';
import { readRequirements, REQUIREMENT_FILES } from '../../runner/requirements.ts';
import { ServerTest } from '../../runner/server/scenario.ts';
import { verdictOf, type Observation } from '../../runner/verdict.ts';
import { ERAS } from '../../runner/wire/session.ts';
import { triggersServer } from '../../suites/server/index.ts';
import { faults, type Fault, type FaultLevel } from './faults.ts';
import { copyOfServer, startDurable, startServer } from './server.ts';

const LEVELS: Readonly<Record<Exclude<FaultLevel, 'durable'>, string>> = {
  log: 'log',
  stream: 'log,stream',
  callback: 'log,stream,callback',
};

/** Maximum wait for an expected event: most waits for a planted server time out. */
const PATIENCE_MS = 4000;
/** Servers at once. Most of a run is waiting. */
const AT_ONCE = 6;

export interface Planted {
  readonly fault: Fault;
  readonly caught: boolean;
  /** The scenario that caught the fault, and what it saw. */
  readonly details: string;
  readonly tookMs: number;
}

/** The module with the fault in it. Throws if its text is not there exactly once. */
export function planted({ file, old, new: text, about }: Fault, source: string): string {
  if (source.split(old).length !== 2)
    throw new Error(`${about} The text is not in ${file} exactly once: ${old}`);
  return source.replace(old, () => text);
}

/** Plants one fault and runs the scenarios of its check until one of them catches it. */
async function plant(fault: Fault): Promise<Planted> {
  const startedAt = Date.now();
  const { checks } = readRequirements(REQUIREMENT_FILES.triggers);
  const { recommended } = checks.get(fault.check)!;
  const copy = copyOfServer();
  try {
    const path = join(copy.folder, fault.file);
    writeFileSync(path, planted(fault, readFileSync(path, 'utf8')));
    const server = await (fault.level === 'durable'
      ? startDurable(copy.folder)
      : startServer(LEVELS[fault.level], copy.folder));
    try {
      const subject = {
        access: { url: server.url, token: server.token },
        control: await Control.at(server.control),
        eras: ERAS,
        callbackBase: undefined,
        requirements: checks,
        patienceMs: PATIENCE_MS,
        stopOnBroken: fault.check,
      };
      for (const scenario of triggersServer.filter((one) => one.checks.includes(fault.check))) {
        const eras = scenario.eras === 'each' ? ERAS : [scenario.eras ?? ERAS[0]];
        for (const era of eras) {
          const observations: Observation[] = [
            ...(await ServerTest.run(scenario, subject, era)).list,
          ].filter(({ check }) => check === fault.check);
          if (observations.length === 0) continue;
          const verdict = verdictOf(observations, recommended);
          if (verdict === 'violated' || verdict === 'warned') {
            const seen = observations.filter(({ outcome }) => outcome === 'broken').map(lineOf);
            return {
              fault,
              caught: true,
              details: `${scenario.name}: ${seen.join('; ')}`,
              tookMs: Date.now() - startedAt,
            };
          }
        }
      }
      return {
        fault,
        caught: false,
        details: 'no scenario saw it',
        tookMs: Date.now() - startedAt,
      };
    } finally {
      await server.close();
    }
  } finally {
    copy.remove();
  }
}

/** Plants these faults and reports each one in their order. */
export async function plantAll(
  chosen: readonly Fault[],
  report: (result: Planted) => void = () => undefined,
): Promise<Planted[]> {
  const results = new Map<Fault, Planted>();
  let next = 0;
  await Promise.all(
    Array.from({ length: AT_ONCE }, async () => {
      while (next < chosen.length) {
        const fault = chosen[next++]!;
        const result = await plant(fault);
        results.set(fault, result);
        report(result);
      }
    }),
  );
  return chosen.map((fault) => results.get(fault)!);
}

if (process.argv[1] === import.meta.filename) {
  const wanted = process.argv.slice(2);
  const chosen = faults.filter(
    ({ check, level, about }) =>
      wanted.length === 0 ||
      wanted.some((text) => level === text || check.includes(text) || about.includes(text)),
  );
  const results = await plantAll(chosen, ({ fault, caught, details, tookMs }) => {
    const took = (tookMs / 1000).toFixed(1);
    console.log(
      `${caught ? 'caught  ' : 'SURVIVED'} ${fault.level} ${fault.check}, ${took} s: ${fault.about} ${details.slice(0, 160)}`,
    );
  });
  const caught = results.filter((one) => one.caught).length;
  console.log(`${caught} of ${results.length} caught`);
}
