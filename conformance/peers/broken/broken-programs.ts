/**
 * Runs, against each broken client or receiver, the scenarios that check what it breaks, and reports
 * which peers the scenarios catch.
 */
import { fileURLToPath } from 'node:url';
import { ClientTest, type ClientScenario } from '../../runner/client/scenario.ts';
import { ReceiverControl } from '../../runner/receiver/control.ts';
import { ReceiverTest, type ReceiverScenario } from '../../runner/receiver/scenario.ts';
import { lineOf } from '../../runner/observations.ts';
import type { Requirements } from '../../runner/requirements.ts';
import { verdictOf, type Observation } from '../../runner/verdict.ts';
import { ERAS } from '../../runner/wire/session.ts';
import { RECEIVER, serve } from '../minimal-receiver.mjs';
import { faults as clientFaults } from './client/faults.mjs';
import { faults as receiverFaults } from './receiver/faults.mjs';
import type { ProgramFault } from './faults.mjs';

/** A broken client or receiver: the minimal one with some of its decisions replaced. */
export interface BrokenProgram {
  readonly name: string;
  /** The requirement that it breaks, without prefix. */
  readonly check: string;
  /** A short description of the fault. */
  readonly wrong: string;
}

/** The result for one broken program. */
export interface CaughtProgram {
  readonly peer: BrokenProgram;
  /** Whether the verdict of the check is `violated`, or `warned` for a recommendation. */
  readonly caught: boolean;
  /** The verdict and its reasons. */
  readonly details: string;
}

export interface BrokenPrograms<S> {
  readonly peers: readonly BrokenProgram[];
  readonly scenarios: readonly S[];
  readonly requirements: Requirements;
  readonly atOnce: number;
}

const programs = (faults: Readonly<Record<string, ProgramFault>>): BrokenProgram[] =>
  Object.entries(faults).map(([name, { check, wrong }]) => ({ name, check, wrong }));
export const brokenClients: readonly BrokenProgram[] = programs(clientFaults);
export const brokenReceivers: readonly BrokenProgram[] = programs(receiverFaults);

const CLIENT = fileURLToPath(new URL('../minimal-client.mjs', import.meta.url));
/** The minimal programs answer at once, so a longer wait cannot change a verdict. */
const PATIENCE_MS = 3000;
const RECEIVER_PATIENCE_MS = 500;

/** Runs the broken clients. Results are in the order of `peers`. */
export function runBrokenClients(run: BrokenPrograms<ClientScenario>): Promise<CaughtProgram[]> {
  return runAll(run, async ({ name, check }) => {
    const observations: Observation[] = [];
    for (const scenario of run.scenarios.filter(({ checks }) => checks.includes(check))) {
      observations.push(
        ...(
          await ClientTest.run(
            scenario,
            `CONFORMANCE_WRONG=${JSON.stringify(name)} ${JSON.stringify(process.execPath)} ${JSON.stringify(CLIENT)}`,
            ERAS[0],
            { patienceMs: PATIENCE_MS, stopOnBroken: check },
          )
        ).list,
      );
      if (observations.some((look) => look.check === check && look.outcome === 'broken')) break;
    }
    return observations;
  });
}

/** Runs the broken receivers. Results are in the order of `peers`. */
export function runBrokenReceivers(
  run: BrokenPrograms<ReceiverScenario>,
): Promise<CaughtProgram[]> {
  return runAll(run, async ({ name, check }) => {
    const receiver = await serve({ ...RECEIVER, ...receiverFaults[name]!.overrides });
    try {
      const subject = {
        url: receiver.url,
        secret: receiver.secret,
        control: await ReceiverControl.at(receiver.control),
      };
      const observations: Observation[] = [];
      for (const scenario of run.scenarios.filter(({ checks }) => checks.includes(check)))
        observations.push(
          ...(await ReceiverTest.run(scenario, subject, RECEIVER_PATIENCE_MS)).list,
        );
      return observations;
    } finally {
      receiver.close();
    }
  });
}

/** Runs `atOnce` peers in parallel; `look` runs the scenarios against one peer. */
async function runAll<S>(
  { peers, requirements, atOnce }: BrokenPrograms<S>,
  look: (peer: BrokenProgram) => Promise<readonly Observation[]>,
): Promise<CaughtProgram[]> {
  const caught = new Map<BrokenProgram, CaughtProgram>();
  let next = 0;
  const one = async (peer: BrokenProgram): Promise<CaughtProgram> => {
    const requirement = requirements.checks.get(peer.check);
    if (requirement === undefined)
      return { peer, caught: false, details: 'the requirements file has no such check' };
    const looking = async (): Promise<Observation[]> =>
      (await look(peer)).filter(({ check }) => check === peer.check);
    let observations = await looking();
    // On a busy machine a delay can hide a fault, so a missed peer gets a second run.
    if (observations.every(({ outcome }) => outcome !== 'broken')) observations = await looking();
    const verdict = verdictOf(observations, requirement.recommended);
    const telling = observations.filter(({ outcome }) => outcome === 'broken');
    return {
      peer,
      caught: verdict === 'violated' || verdict === 'warned',
      details: `${verdict}: ${(telling.length > 0 ? telling : observations).map((look) => `${look.what}: ${lineOf(look) || 'held'}`).join('; ')}`,
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
