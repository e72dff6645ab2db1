/** The receiver suite: looks whether somebody with this secret is there, then runs every scenario against it. */
import { NothingToTest } from '../nothing.ts';
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

/** Runs it. Rejects with `NothingToTest` when nothing answers there, or not as somebody who knows the secret. */
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
  // With one registration there is one log after the other.
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

/** A right challenge gets a right answer; else there is nothing that could be tested with this URL and this secret. */
async function requireReceiver(url: string, secret: string): Promise<void> {
  const log = new ScriptedLog();
  log.key = tokenOf(url)?.claims.sub ?? 'conformance';
  const challenge = 'is-anybody-there-0123456789abcdef';
  const { origin } = new URL(url);
  const answered: Answered | undefined = await sendDelivery(
    url,
    { ...log.heartbeat(0), challenge },
    { secrets: [secret] },
  ).catch(() => undefined);
  if (answered === undefined) throw new NothingToTest(`nothing answers at ${origin}`);
  const { status, body } = answered;
  if (status === 401)
    throw new NothingToTest(
      `what answers at ${origin} refuses a challenge that is signed with the secret given: HTTP 401`,
    );
  if (status !== 200 || body?.proof === undefined)
    throw new NothingToTest(
      `what answers at ${origin} is no receiver: a challenge gets HTTP ${status} without a proof`,
    );
  if (body.proof !== hmac(secret, `challenge.${challenge}`))
    throw new NothingToTest(
      `what answers at ${origin} proves that it knows another secret than the one given`,
    );
}
