/** Runs, for each broken server, the scenarios that look at what it breaks, and says which of them were caught. */
import { Control } from '../../runner/control.ts';
import type { Requirements } from '../../runner/requirements.ts';
import {
  ServerTest,
  type ServerScenario,
  type ServerSubject,
} from '../../runner/server/scenario.ts';
import { verdictOf, type Evidence } from '../../runner/verdict.ts';
import { ERAS } from '../../runner/wire/session.ts';
import { SpoilingProxy, type BrokenServer } from './proxy.ts';

/** What became of one. */
export interface Caught {
  readonly peer: BrokenServer;
  /** The check's verdict was violated, or warned for a recommendation. */
  readonly caught: boolean;
  /** The verdict, and why. */
  readonly says: string;
}

export interface BrokenRun {
  readonly peers: readonly BrokenServer[];
  readonly scenarios: readonly ServerScenario[];
  readonly requirements: Requirements;
  /** The right server behind all of them. */
  readonly server: { readonly url: string; readonly token: string; readonly control: string };
  readonly atOnce: number;
  /** The identifier of the extension under test; default: the one of the project. */
  readonly extension?: string;
}

/** A broken peer is waited for in vain more often than not, and the right one behind it is near. */
const PATIENCE_MS = 3000;

/** In the order of `peers`. What needs the server for itself comes last, and only for those who are not caught by then. */
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

/** Runs scenarios until one of them catches it. */
async function runOne(
  peer: BrokenServer,
  scenarios: readonly ServerScenario[],
  requirements: Requirements,
  server: BrokenRun['server'],
  extension?: string,
): Promise<Caught> {
  const requirement = requirements.checks.get(peer.check);
  if (requirement === undefined) return { peer, caught: false, says: 'there is no such check' };
  const proxy = await SpoilingProxy.start(server.url, peer.spoil);
  try {
    const subject: ServerSubject = {
      access: { url: proxy.url, token: server.token },
      control: await Control.at(server.control),
      eras: ERAS,
      callbackBase: undefined,
      extension,
      requirements: requirements.checks,
      patienceMs: PATIENCE_MS,
      enough: peer.check,
    };
    const looks: Evidence[] = [];
    const runs = scenarios.flatMap((scenario) =>
      (scenario.eras === 'each' ? ERAS : [scenario.eras ?? ERAS[0]]).map((era) => ({
        scenario,
        era,
      })),
    );
    for (const { scenario, era } of runs) {
      looks.push(
        ...(await ServerTest.run(scenario, subject, era)).evidence.filter(
          ({ check }) => check === peer.check,
        ),
      );
      if (looks.some(({ outcome }) => outcome === 'broken')) break;
    }
    const verdict = verdictOf(looks, requirement.recommended);
    const caught = looks.length > 0 && (verdict === 'violated' || verdict === 'warned');
    return {
      peer,
      caught,
      says: `${verdict}: ${looks.map(({ what, reason }) => reason ?? what).join('; ')}`,
    };
  } finally {
    await proxy.close();
  }
}
