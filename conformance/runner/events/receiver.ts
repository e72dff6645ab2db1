/**
 * The receiver suite of SEP-3415: the kit acts as the server and sends valid and invalid requests.
 */
import { randomBytes } from 'node:crypto';
import { Observations, NotShown } from '../observations.ts';
import { NothingToTest } from '../observations.ts';
import { ReceiverControl, type ReceiverVerb, type RegistrationKey } from '../receiver/control.ts';
import { runSuite, type SuiteRun, type Task } from '../run.ts';
import type { Outcome } from '../verdict.ts';
import { sendDelivery, type Answered, type Sending } from '../wire/sender.ts';
import type { Json } from '../wire/session.ts';

/** One scenario. It gets its own registration when the control interface can make one. */
export interface EventsReceiverScenario {
  readonly name: string;
  /** Summary of the scenario, in one sentence. */
  readonly about: string;
  /** The requirements that the scenario decides, by name without prefix: `log-contiguous`. */
  readonly checks: readonly string[];
  /** Control verbs; without one of them the checks are `not shown`. */
  readonly needs?: readonly ReceiverVerb[];
  run(t: EventsReceiverTest): Promise<void>;
}

/** Shared by every scenario of a run. */
export interface EventsReceiverSubject {
  /** `--url` and `--secret` of the command line. */
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

/**
 * Runs the suite. Rejects with `NothingToTest` when nothing answers, or when the receiver does not
 * know the secret.
 */
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

/**
 * Throws `NothingToTest` unless the receiver echoes a valid verification: otherwise the URL or the
 * secret is wrong.
 */
async function requireReceiver(url: string, secret: string): Promise<void> {
  const challenge = random(24);
  const answered: Answered | undefined = await sendMessage(
    url,
    { type: 'verification', challenge },
    { secrets: [secret], subscriptionId: `evt_${random()}` },
  ).catch(() => undefined);
  const { origin } = new URL(url);
  if (answered === undefined)
    throw new NothingToTest(`nothing answers at ${origin}. Start the receiver or correct --url`);
  if (answered.body?.challenge !== challenge)
    throw new NothingToTest(
      `what answers at ${origin} is not a receiver with the given secret: it answered a verification with HTTP ${answered.status} and no challenge. Check --url and --secret`,
    );
}

type Message = Partial<Sending> & {
  readonly subscriptionId: string;
  readonly secrets: readonly string[];
};

/** POSTs an occurrence or a control envelope, as an SEP-3415 server does. */
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

/** The context of a running scenario. */
export class EventsReceiverTest {
  readonly control: ReceiverControl;
  /** The id that a server would have returned. */
  readonly subscriptionId = `evt_${random(32)}`;
  readonly #observations: Observations;
  readonly #who: RegistrationKey = { audience: AUDIENCE, key: `events.${random()}` };
  #url: string;
  #secret: string;

  private constructor({ url, secret, control }: EventsReceiverSubject, observations: Observations) {
    this.#url = url;
    this.#secret = secret;
    this.control = control;
    this.#observations = observations;
  }

  static async run(
    definition: EventsReceiverScenario,
    subject: EventsReceiverSubject,
  ): Promise<Observations> {
    const observations = new Observations(definition.name, definition.checks);
    const test = new EventsReceiverTest(subject, observations);
    let failure: unknown;
    try {
      subject.control.require(...(definition.needs ?? []));
      if (subject.control.has('register')) await test.#register();
      // A receiver may learn the id from the first verification.
      await test.send({ type: 'verification', challenge: random(24) });
      await definition.run(test);
    } catch (error) {
      failure = error;
    }
    observations.close(failure);
    return observations;
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

  /** See {@link Observations.check}. */
  check<T>(
    checks: string | readonly string[],
    what: string,
    assertion: () => T | Promise<T>,
  ): Promise<T | undefined> {
    return this.#observations.check(checks, what, assertion);
  }

  /** Sends a request once; `message` replaces parts of a correct one. */
  send(body: Json, message: Partial<Message> = {}): Promise<Answered> {
    return sendMessage(this.#url, body, {
      subscriptionId: this.subscriptionId,
      secrets: [this.#secret],
      ...message,
    });
  }

  /**
   * Throws `NotShown` when the receiver rejects even a valid event because it does not know the
   * subscription.
   */
  async requireKnown(): Promise<void> {
    const { status } = await this.send(this.occurrence());
    if (!this.control.has('register') && (status === 503 || status === 425))
      throw new NotShown(
        'The receiver does not know the subscription, and the control interface does not offer the verb "register".',
      );
  }

  /** A new occurrence. */
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

  /**
   * The items that the receiver handed to its application, in order. Throws `NotShown` without the
   * verb `applied`.
   */
  async applied(): Promise<readonly Json[]> {
    return (await this.control.do('applied', this.#who)).items;
  }
}
