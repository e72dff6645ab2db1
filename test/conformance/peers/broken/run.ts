/** Runs, for each broken server, the scenarios that look at what it breaks, and says which of them were caught. */
import { Control } from '../../kit/control.ts';
import type { Requirements } from '../../kit/requirements.ts';
import { ServerTest, type ServerScenario, type ServerSubject } from '../../kit/server/scenario.ts';
import { verdictOf } from '../../kit/verdict.ts';
import { ERAS } from '../../kit/wire/session.ts';
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
}

/** A broken peer is waited for in vain more often than not, and the right one behind it is near. */
const PATIENCE_MS = 3000;

/** In the order of `peers`. */
export async function runBroken({ peers, scenarios, requirements, server, atOnce }: BrokenRun): Promise<Caught[]> {
  const caught = new Map<BrokenServer, Caught>();
  const looksAt = (peer: BrokenServer): readonly ServerScenario[] => scenarios.filter(({ checks }) => checks.includes(peer.check));
  const one = async (peer: BrokenServer): Promise<void> => void caught.set(peer, await runOne(peer, looksAt(peer), requirements, server));
  const alone = peers.filter((peer) => looksAt(peer).some((scenario) => scenario.alone === true));
  const together = peers.filter((peer) => !alone.includes(peer));
  let next = 0;
  await Promise.all(Array.from({ length: atOnce }, async () => { while (next < together.length) await one(together[next++]!); }));
  for (const peer of alone) await one(peer);
  return peers.map((peer) => caught.get(peer)!);
}

async function runOne(peer: BrokenServer, scenarios: readonly ServerScenario[], requirements: Requirements, server: BrokenRun['server']): Promise<Caught> {
  const requirement = requirements.checks.get(peer.check);
  if (requirement === undefined) return { peer, caught: false, says: 'there is no such check' };
  const proxy = await SpoilingProxy.start(server.url, peer.spoil);
  try {
    const subject: ServerSubject = { access: { url: proxy.url, token: server.token }, control: await Control.at(server.control), eras: ERAS, callbackBase: undefined, requirements: requirements.checks, patienceMs: PATIENCE_MS };
    const looks = [];
    for (const scenario of scenarios) {
      const eras = scenario.eras === 'each' ? ERAS : [scenario.eras ?? ERAS[0]];
      for (const era of eras) looks.push(...(await ServerTest.run(scenario, subject, era)).evidence.filter(({ check }) => check === peer.check));
    }
    const verdict = verdictOf(looks, requirement.recommended);
    const caught = verdict === 'violated' || verdict === 'warned';
    return { peer, caught, says: `${verdict}: ${looks.map(({ what, reason }) => reason ?? what).join('; ')}` };
  } finally {
    await proxy.close();
  }
}
