/** Runs, for each broken client or receiver, the scenarios that look at what it breaks, and says which of them were caught. */
import { fileURLToPath } from 'node:url';
import { ClientTest, type ClientScenario } from '../../runner/client/scenario.ts';
import { ReceiverControl } from '../../runner/receiver/control.ts';
import { ReceiverTest, type ReceiverScenario } from '../../runner/receiver/scenario.ts';
import type { Requirements } from '../../runner/requirements.ts';
import { verdictOf, type Evidence } from '../../runner/verdict.ts';
import { ERAS } from '../../runner/wire/session.ts';
import { RECEIVER, serve } from '../minimal-receiver.mjs';
import { ways as clientWays } from './client/ways.mjs';
import { ways as receiverWays } from './receiver/ways.mjs';
import type { Way } from './ways.mjs';

/** One broken program: the minimal one, told how to be wrong. */
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

const programs = (ways: Readonly<Record<string, Way>>): BrokenProgram[] =>
  Object.entries(ways).map(([name, { check, wrong }]) => ({ name, check, wrong }));
export const brokenClients: readonly BrokenProgram[] = programs(clientWays);
export const brokenReceivers: readonly BrokenProgram[] = programs(receiverWays);

const CLIENT = fileURLToPath(new URL('../minimal-client.mjs', import.meta.url));
/** They are quick, and what they do not do they never do. */
const PATIENCE_MS = 3000;
const RECEIVER_PATIENCE_MS = 500;

/** In the order of `peers`. */
export function runBrokenClients(run: BrokenPrograms<ClientScenario>): Promise<CaughtProgram[]> {
  return runAll(run, async ({ name, check }) => {
    const looks: Evidence[] = [];
    for (const scenario of run.scenarios.filter(({ checks }) => checks.includes(check))) {
      looks.push(
        ...(
          await ClientTest.run(
            scenario,
            `CONFORMANCE_WRONG=${JSON.stringify(name)} ${JSON.stringify(process.execPath)} ${JSON.stringify(CLIENT)}`,
            ERAS[0],
            { patienceMs: PATIENCE_MS, enough: check },
          )
        ).evidence,
      );
      // One scenario that sees it is enough.
      if (looks.some((look) => look.check === check && look.outcome === 'broken')) break;
    }
    return looks;
  });
}

/** In the order of `peers`. */
export function runBrokenReceivers(
  run: BrokenPrograms<ReceiverScenario>,
): Promise<CaughtProgram[]> {
  return runAll(run, async ({ name, check }) => {
    const receiver = await serve({ ...RECEIVER, ...receiverWays[name]!.how });
    try {
      const subject = {
        url: receiver.url,
        secret: receiver.secret,
        control: await ReceiverControl.at(receiver.control),
      };
      const looks: Evidence[] = [];
      for (const scenario of run.scenarios.filter(({ checks }) => checks.includes(check)))
        looks.push(...(await ReceiverTest.run(scenario, subject, RECEIVER_PATIENCE_MS)).evidence);
      return looks;
    } finally {
      receiver.close();
    }
  });
}

/** A few at a time. */
async function runAll<S>(
  { peers, requirements, atOnce }: BrokenPrograms<S>,
  look: (peer: BrokenProgram) => Promise<readonly Evidence[]>,
): Promise<CaughtProgram[]> {
  const caught = new Map<BrokenProgram, CaughtProgram>();
  let next = 0;
  const one = async (peer: BrokenProgram): Promise<CaughtProgram> => {
    const requirement = requirements.checks.get(peer.check);
    if (requirement === undefined) return { peer, caught: false, says: 'there is no such check' };
    const looking = async (): Promise<Evidence[]> =>
      (await look(peer)).filter(({ check }) => check === peer.check);
    let looks = await looking();
    // On a busy machine times can look like others: who was missed is looked at again.
    if (looks.every(({ outcome }) => outcome !== 'broken')) looks = await looking();
    const verdict = verdictOf(looks, requirement.recommended);
    const telling = looks.filter(({ outcome }) => outcome === 'broken');
    return {
      peer,
      caught: verdict === 'violated' || verdict === 'warned',
      says: `${verdict}: ${(telling.length > 0 ? telling : looks).map(({ what, reason }) => `${what}: ${reason ?? 'held'}`).join('; ')}`,
    };
  };
  await Promise.all(
    Array.from({ length: atOnce }, async () => {
      while (next < peers.length) {
        const peer = peers[next++]!;
        caught.set(peer, await one(peer));
      }
    }),
  );
  return peers.map((peer) => caught.get(peer)!);
}
