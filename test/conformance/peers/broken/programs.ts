/** Runs, for each broken client, the scenarios that look at what it breaks, and says which of them were caught. */
import { fileURLToPath } from 'node:url';
import { ClientTest, type ClientScenario } from '../../kit/client/scenario.ts';
import type { Requirements } from '../../kit/requirements.ts';
import { verdictOf, type Evidence } from '../../kit/verdict.ts';
import { ERAS } from '../../kit/wire/session.ts';
import { ways as clientWays } from './client/ways.mjs';

/** One broken program: the minimal one, told by its environment how to be wrong. */
export interface BrokenProgram {
  readonly name: string;
  /** The requirement it breaks, without prefix. */
  readonly check: string;
  /** What it does wrong, in a few words. */
  readonly wrong: string;
}

/** What became of one. */
export interface CaughtProgram {
  readonly peer: BrokenProgram;
  /** The check's verdict was violated, or warned for a recommendation. */
  readonly caught: boolean;
  /** The verdict, and why. */
  readonly says: string;
}

export interface BrokenPrograms<S> {
  readonly peers: readonly BrokenProgram[];
  readonly scenarios: readonly S[];
  readonly requirements: Requirements;
  readonly atOnce: number;
}

export const brokenClients: readonly BrokenProgram[] = Object.entries(clientWays).map(([name, { check, wrong }]) => ({ name, check, wrong }));

const CLIENT = fileURLToPath(new URL('../minimal-client.mjs', import.meta.url));
/** They are quick, and what they do not do they never do. */
const PATIENCE_MS = 3000;

/** In the order of `peers`. */
export function runBrokenClients(run: BrokenPrograms<ClientScenario>): Promise<CaughtProgram[]> {
  return runAll(run, async ({ name, check }) => {
    const looks: Evidence[] = [];
    for (const scenario of run.scenarios.filter(({ checks }) => checks.includes(check))) {
      looks.push(...(await ClientTest.run(scenario, `CONFORMANCE_WRONG=${JSON.stringify(name)} ${JSON.stringify(process.execPath)} ${JSON.stringify(CLIENT)}`, ERAS[0], PATIENCE_MS)).evidence);
      // One scenario that sees it is enough.
      if (looks.some((look) => look.check === check && look.outcome === 'broken')) break;
    }
    return looks;
  });
}

/** A few at a time. */
async function runAll<S>({ peers, requirements, atOnce }: BrokenPrograms<S>, look: (peer: BrokenProgram) => Promise<readonly Evidence[]>): Promise<CaughtProgram[]> {
  const caught = new Map<BrokenProgram, CaughtProgram>();
  let next = 0;
  const one = async (peer: BrokenProgram): Promise<CaughtProgram> => {
    const requirement = requirements.checks.get(peer.check);
    if (requirement === undefined) return { peer, caught: false, says: 'there is no such check' };
    const looks = (await look(peer)).filter(({ check }) => check === peer.check);
    const verdict = verdictOf(looks, requirement.recommended);
    const telling = looks.filter(({ outcome }) => outcome === 'broken');
    return { peer, caught: verdict === 'violated' || verdict === 'warned', says: `${verdict}: ${(telling.length > 0 ? telling : looks).map(({ what, reason }) => `${what}: ${reason ?? 'held'}`).join('; ')}` };
  };
  await Promise.all(Array.from({ length: atOnce }, async () => {
    while (next < peers.length) {
      const peer = peers[next++]!;
      caught.set(peer, await one(peer));
    }
  }));
  return peers.map((peer) => caught.get(peer)!);
}
