/**
 * The receiver suite: probes the receiver with a challenge, then runs every scenario against it.
 */
import { NothingToTest } from '../observations.ts';
import { runSuite, type SuiteRun, type Task } from '../run.ts';
import { hmac } from '../server/callback-endpoint.ts';
import type { Outcome } from '../verdict.ts';
import { sendDelivery, type Answered } from '../wire/sender.ts';
import { ReceiverControl } from './control.ts';
import { ReceiverTest, tokenOf, type ReceiverScenario, type ReceiverSubject } from './scenario.ts';
import { ScriptedLog } from '../client/log.ts';

export interface ReceiverRun extends SuiteRun {
  readonly scenarios: readonly ReceiverScenario[];
  readonly url: string;
  readonly secret: string;
  /** URL of the control interface. */
  readonly control: string | undefined;
}

/**
 * Runs the suite. Rejects with `NothingToTest` when nothing answers, or when the receiver does not
 * know the secret.
 */
export async function runReceiver({
  scenarios,
  url,
  secret,
  control: controlUrl,
  ...run
}: ReceiverRun): Promise<Outcome> {
  const startedAt = Date.now();
  await requireReceiver(url, secret);
  const control =
    controlUrl === undefined ? ReceiverControl.none : await ReceiverControl.at(controlUrl);
  const subject: ReceiverSubject = { url, secret, control };
  // Scenarios that share a registration run one after the other.
  const alone = !control.has('register');
  const tasksOf = (scenario: ReceiverScenario): Task => ({
    name: scenario.name,
    alone: alone || scenario.needs?.includes('restart') === true,
    run: () => ReceiverTest.run(scenario, subject),
  });
  const { origin, pathname } = new URL(url);
  return runSuite(
    { role: 'receiver', subject: origin + pathname, scenarios, tasksOf, startedAt },
    run,
  );
}

/**
 * Throws `NothingToTest` unless the receiver answers a valid challenge with the proof: otherwise the
 * URL or the secret is wrong.
 */
async function requireReceiver(url: string, secret: string): Promise<void> {
  const log = new ScriptedLog();
  log.key = tokenOf(url)?.claims.sub ?? 'conformance';
  const challenge = 'is-anybody-there-0123456789abcdef';
  const { origin } = new URL(url);
  const answered: Answered | undefined = await sendDelivery(url, log.challenge(challenge), {
    secrets: [secret],
  }).catch(() => undefined);
  if (answered === undefined)
    throw new NothingToTest(`nothing answers at ${origin}. Start the receiver or correct --url`);
  const { status, body } = answered;
  if (status === 401)
    throw new NothingToTest(
      `what answers at ${origin} rejects a challenge signed with the given secret: HTTP 401. Check --secret`,
    );
  if (status !== 200 || body?.proof === undefined)
    throw new NothingToTest(
      `what answers at ${origin} is not a receiver: it answered a challenge with HTTP ${status} and no proof. Check --url`,
    );
  if (body.proof !== hmac(secret, `challenge.${challenge}`))
    throw new NothingToTest(
      `what answers at ${origin} sent a proof that does not match the given secret. Check --secret`,
    );
}
