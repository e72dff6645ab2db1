/** The receiver suite of SEP-3415: the kit is the server, and sends what a server sends or should not. */
import { randomBytes } from 'node:crypto';
import { Looks, NotShown } from '../looks.ts';
import { NothingToTest } from '../nothing.ts';
import { ReceiverControl, type ReceiverVerb, type Who } from '../receiver/control.ts';
import { runSuite, type SuiteRun, type Task } from '../run.ts';
import type { Outcome } from '../verdict.ts';
import { sendDelivery, type Answered, type Sending } from '../wire/sender.ts';
import type { Json } from '../wire/session.ts';

/** One scenario: a story with a registration of its own, where those can be made. */
export interface EventsReceiverScenario {
  readonly name: string;
  /** One sentence. */
  readonly about: string;
  /** Names of requirements without prefix. Each is looked at before the scenario ends. */
  readonly checks: readonly string[];
  readonly needs?: readonly ReceiverVerb[];
  run(t: EventsReceiverTest): Promise<void>;
}

/** What every scenario of a run shares. */
export interface EventsReceiverSubject {
  /** What the command line says. */
  readonly url: string;
  readonly secret: string;
  readonly control: ReceiverControl;
}

export interface EventsReceiverRun extends SuiteRun {
  readonly scenarios: readonly EventsReceiverScenario[];
  readonly url: string;
  readonly secret: string;
  /** URL of the control interface. */
  readonly control: string | undefined;
}

const AUDIENCE = 'https://mcp.example.com/mcp';
const random = (bytes = 9): string => randomBytes(bytes).toString('base64url');

/** Runs it. Rejects with `NothingToTest` when nothing answers there, or not as somebody who knows the secret. */
export async function runEventsReceiver({
  scenarios,
  url,
  secret,
  control: controlUrl,
  ...run
}: EventsReceiverRun): Promise<Outcome> {
  const startedAt = Date.now();
  await requireReceiver(url, secret);
  const control =
    controlUrl === undefined ? ReceiverControl.none : await ReceiverControl.at(controlUrl);
  const tasksOf = (scenario: EventsReceiverScenario): Task => ({
    name: scenario.name,
    alone: !control.has('register'),
    run: () => EventsReceiverTest.run(scenario, { url, secret, control }),
  });
  const { origin, pathname } = new URL(url);
  return runSuite(
    { role: 'receiver', subject: origin + pathname, scenarios, tasksOf, startedAt },
    run,
  );
}

/** A right verification is echoed; else there is nothing that could be tested with this URL and this secret. */
async function requireReceiver(url: string, secret: string): Promise<void> {
  const challenge = random(24);
  const answered: Answered | undefined = await sendMessage(
    url,
    { type: 'verification', challenge },
    { secrets: [secret], subscriptionId: `evt_${random()}` },
  ).catch(() => undefined);
  const { origin } = new URL(url);
  if (answered === undefined) throw new NothingToTest(`nothing answers at ${origin}`);
  if (answered.body?.challenge !== challenge)
    throw new NothingToTest(
      `what answers at ${origin} is no receiver with the secret given: a verification gets HTTP ${answered.status} without its challenge`,
    );
}

type Message = Partial<Sending> & {
  readonly subscriptionId: string;
  readonly secrets: readonly string[];
};

/** POSTs an occurrence or an envelope as a server of SEP-3415 does. */
function sendMessage(
  url: string,
  body: Json,
  { subscriptionId, headers, ...sending }: Message,
): Promise<Answered> {
  const id = body?.type === undefined ? String(body?.eventId) : `msg_${body.type}_${random()}`;
  return sendDelivery(
    url,
    {},
    {
      raw: JSON.stringify(body),
      webhookId: id,
      ...sending,
      headers: { 'mcp-subscription-id': null, 'x-mcp-subscription-id': subscriptionId, ...headers },
    },
  );
}

/** One running scenario. */
export class EventsReceiverTest {
  readonly control: ReceiverControl;
  /** As a server would have answered. */
  readonly subscriptionId = `evt_${random(32)}`;
  readonly #looks: Looks;
  readonly #who: Who = { audience: AUDIENCE, key: `events.${random()}` };
  #url: string;
  #secret: string;

  private constructor({ url, secret, control }: EventsReceiverSubject, looks: Looks) {
    this.#url = url;
    this.#secret = secret;
    this.control = control;
    this.#looks = looks;
  }

  static async run(
    definition: EventsReceiverScenario,
    subject: EventsReceiverSubject,
  ): Promise<Looks> {
    const looks = new Looks(definition.name, definition.checks);
    const test = new EventsReceiverTest(subject, looks);
    let failure: unknown;
    try {
      subject.control.require(...(definition.needs ?? []));
      if (subject.control.has('register')) await test.#register();
      // A receiver may learn the id from this.
      await test.send({ type: 'verification', challenge: random(24) });
      await definition.run(test);
    } catch (error) {
      failure = error;
    }
    looks.close(failure);
    return looks;
  }

  async #register(): Promise<void> {
    const { url, secret } = await this.control.do('register', {
      ...this.#who,
      subscriptionId: this.subscriptionId,
    });
    this.#url = url;
    this.#secret = secret;
  }

  get secret(): string {
    return this.#secret;
  }

  /** See {@link Looks.check}. */
  check<T>(
    checks: string | readonly string[],
    what: string,
    look: () => T | Promise<T>,
  ): Promise<T | undefined> {
    return this.#looks.check(checks, what, look);
  }

  /** Sends it once, right in everything that is not said. */
  send(body: Json, message: Partial<Message> = {}): Promise<Answered> {
    return sendMessage(this.#url, body, {
      subscriptionId: this.subscriptionId,
      secrets: [this.#secret],
      ...message,
    });
  }

  /** Throws `NotShown` when even a right event is put off, because nobody has told the receiver of the subscription. */
  async requireKnown(): Promise<void> {
    const { status } = await this.send(this.occurrence());
    if (!this.control.has('register') && (status === 503 || status === 425))
      throw new NotShown(
        'the receiver does not know the subscription, for which it needs the control verb "register"',
      );
  }

  /** An occurrence that nobody has sent yet. */
  occurrence(more: object = {}): Json {
    return {
      eventId: `event-${random()}`,
      name: 'conformance.plain',
      timestamp: new Date().toISOString(),
      data: { topic: 'conformance', n: 1 },
      cursor: `cursor-${random()}`,
      ...more,
    };
  }

  /** What was handed on, in order. Throws `NotShown`. */
  async applied(): Promise<readonly Json[]> {
    return (await this.control.do('applied', this.#who)).items;
  }
}
