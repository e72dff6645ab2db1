/**
 * Runs, against each broken server, the scenarios that check what it breaks, and reports which
 * peers the scenarios catch.
 */
import { Control } from '../../runner/control.ts';
import { lineOf } from '../../runner/observations.ts';
import type { Requirements } from '../../runner/requirements.ts';
import {
  ServerTest,
  type ServerScenario,
  type ServerSubject,
} from '../../runner/server/scenario.ts';
import { verdictOf, type Observation } from '../../runner/verdict.ts';
import { ERAS } from '../../runner/wire/session.ts';
import { FaultProxy, type BrokenServer } from './proxy.ts';

/** The result for one broken server. */
export interface Caught {
  readonly peer: BrokenServer;
  /** Whether the verdict of the check is `violated`, or `warned` for a recommendation. */
  readonly caught: boolean;
  /** The verdict and its reasons. */
  readonly details: string;
}

export interface BrokenRun {
  readonly peers: readonly BrokenServer[];
  readonly scenarios: readonly ServerScenario[];
  readonly requirements: Requirements;
  /** The correct server behind all the proxies. */
  readonly server: { readonly url: string; readonly token: string; readonly control: string };
  readonly atOnce: number;
  /** The identifier of the extension under test. Default: the one of this project. */
  readonly extension?: string;
}

/**
 * Maximum wait for an expected event. It is short, because most waits for a broken peer time out,
 * and the correct server behind it answers in milliseconds.
 */
const PATIENCE_MS = 3000;

/**
 * Runs the peers. Scenarios that need the server for themselves run last, and only for peers that
 * are not caught yet. Results are in the order of `peers`.
 */
export async function runBroken({
  peers,
  scenarios,
  requirements,
  server,
  atOnce,
  extension,
}: BrokenRun): Promise<Caught[]> {
  const caught = new Map<BrokenServer, Caught>();
  const looksAt = ({ check }: BrokenServer, alone: boolean): readonly ServerScenario[] =>
    scenarios.filter(
      (scenario) => scenario.checks.includes(check) && (scenario.alone === true) === alone,
    );
  const one = async (peer: BrokenServer, alone: boolean): Promise<void> => {
    const looking = looksAt(peer, alone);
    if (looking.length > 0 || !caught.has(peer))
      caught.set(peer, await runOne(peer, looking, requirements, server, extension));
  };
  let next = 0;
  await Promise.all(
    Array.from({ length: atOnce }, async () => {
      while (next < peers.length) await one(peers[next++]!, false);
    }),
  );
  for (const peer of peers) if (!caught.get(peer)!.caught) await one(peer, true);
  return peers.map((peer) => caught.get(peer)!);
}

/** Runs scenarios until one of them catches the peer. */
async function runOne(
  peer: BrokenServer,
  scenarios: readonly ServerScenario[],
  requirements: Requirements,
  server: BrokenRun['server'],
  extension?: string,
): Promise<Caught> {
  const requirement = requirements.checks.get(peer.check);
  if (requirement === undefined)
    return { peer, caught: false, details: 'the requirements file has no such check' };
  const proxy = await FaultProxy.start(server.url, peer.fault);
  try {
    const subject: ServerSubject = {
      access: { url: proxy.url, token: server.token },
      control: await Control.at(server.control),
      eras: ERAS,
      callbackBase: undefined,
      extension,
      requirements: requirements.checks,
      patienceMs: PATIENCE_MS,
      stopOnBroken: peer.check,
    };
    const observations: Observation[] = [];
    const runs = scenarios.flatMap((scenario) =>
      (scenario.eras === 'each' ? ERAS : [scenario.eras ?? ERAS[0]]).map((era) => ({
        scenario,
        era,
      })),
    );
    for (const { scenario, era } of runs) {
      observations.push(
        ...(await ServerTest.run(scenario, subject, era)).list.filter(
          ({ check }) => check === peer.check,
        ),
      );
      if (observations.some(({ outcome }) => outcome === 'broken')) break;
    }
    const verdict = verdictOf(observations, requirement.recommended);
    const caught = observations.length > 0 && (verdict === 'violated' || verdict === 'warned');
    return {
      peer,
      caught,
      details: `${verdict}: ${observations.map((look) => lineOf(look) || look.what).join('; ')}`,
    };
  } finally {
    await proxy.close();
  }
}
