/**
 * A scenario against a receiver: the kit acts as the server with a log and sends valid and invalid
 * requests.
 */
import { randomBytes } from 'node:crypto';
import assert from 'node:assert/strict';
import type { Applied } from '../client/program.ts';
import { ScriptedLog } from '../client/log.ts';
import { Observations, NotApplicable } from '../observations.ts';
import { lastOf } from '../server/callback-endpoint.ts';
import { bodyOf, sendDelivery, type Answered, type Sending } from '../wire/sender.ts';
import type { Json } from '../wire/session.ts';
import type { ReceiverControl, ReceiverVerb, RegistrationKey } from './control.ts';
import { detached, Identity } from './identity.ts';

/** One scenario. It gets its own registration when the control interface can make one. */
export interface ReceiverScenario {
  readonly name: string;
  /** Summary of the scenario, in one sentence. */
  readonly about: string;
  /** The requirements that the scenario decides, by name without prefix: `log-contiguous`. */
  readonly checks: readonly string[];
  /** Control verbs; without one of them the checks are `not shown`. */
  readonly needs?: readonly ReceiverVerb[];
  run(t: ReceiverTest): Promise<void>;
}

/** Declares a scenario. Returns it unchanged; the compiler checks its type. */
export const receiverScenario = (definition: ReceiverScenario): ReceiverScenario => definition;

/** Shared by every scenario of a run. */
export interface ReceiverSubject {
  /** `--url` and `--secret` of the command line. */
  readonly url: string;
  readonly secret: string;
  readonly control: ReceiverControl;
}

/** A registration: where deliveries go, and the secret that signs them. */
export interface Registered extends RegistrationKey {
  readonly url: string;
  readonly secret: string;
}

/** The token of a signed callback URL, and its parts; undefined for any other URL. */
export function tokenOf(
  url: string,
): { readonly header: Json; readonly claims: Json; readonly token: string } | undefined {
  const token = new URL(url).searchParams.get('cb');
  const [header, claims] = (token ?? '')
    .split('.')
    .map((part) => parse(Buffer.from(part, 'base64url').toString()));
  return token !== null && header?.alg !== undefined && claims?.sub !== undefined
    ? { header, claims, token }
    : undefined;
}

/** The same callback URL with another token. */
export const withToken = (url: string, token: string): string =>
  url.replace(/([?&]cb=)[^&]*/, `$1${token}`);

const AUDIENCE = 'https://mcp.example.com/mcp';
/** Maximum time for a receiver to apply a delivery, which the kit repeats until then. */
const PATIENCE_MS = 8000;
/** Pause before a delivery is repeated. */
const AGAIN_MS = 200;

/** The context of a running scenario. It closes everything that it opened when the scenario ends. */
export class ReceiverTest {
  readonly subject: ReceiverSubject;
  readonly control: ReceiverControl;
  readonly #observations: Observations;
  readonly #patienceMs: number;
  readonly #closers: (() => Promise<unknown>)[] = [];
  /** The registration to which this scenario sends. */
  registered!: Registered;
  /** The log from which it sends. */
  readonly log = new ScriptedLog();

  private constructor(subject: ReceiverSubject, observations: Observations, patienceMs: number) {
    this.#patienceMs = patienceMs;
    this.subject = subject;
    this.control = subject.control;
    this.#observations = observations;
  }

  static async run(
    definition: ReceiverScenario,
    subject: ReceiverSubject,
    patienceMs = PATIENCE_MS,
  ): Promise<Observations> {
    const observations = new Observations(definition.name, definition.checks);
    const test = new ReceiverTest(subject, observations, patienceMs);
    let failure: unknown;
    try {
      subject.control.require(...(definition.needs ?? []));
      await test.use(await test.register());
      await definition.run(test);
    } catch (error) {
      failure = error;
    }
    for (const close of test.#closers.reverse()) await close().catch(() => undefined);
    observations.close(failure);
    return observations;
  }

  /** See {@link Observations.check}. */
  check<T>(
    checks: string | readonly string[],
    what: string,
    assertion: () => T | Promise<T>,
  ): Promise<T | undefined> {
    return this.#observations.check(checks, what, assertion);
  }

  /** Makes a registration. Without the verb `register`, returns that of the command line. */
  async register(
    more: Partial<RegistrationKey> & { readonly jwksUri?: string } = {},
  ): Promise<Registered> {
    if (!this.control.has('register')) {
      const { url, secret } = this.subject;
      const { aud = AUDIENCE, sub = 'conformance' } = tokenOf(url)?.claims ?? {};
      return { audience: aud, key: sub, url, secret };
    }
    const who = { audience: AUDIENCE, key: `k.${randomBytes(9).toString('base64url')}`, ...more };
    const { url, secret } = await this.control.do('register', who);
    return { ...who, url, secret };
  }

  /** Makes this the registration to which further deliveries go. */
  async use(registered: Registered): Promise<void> {
    this.registered = registered;
    Object.assign(this.log, {
      alive: true,
      key: registered.key,
      select: [{ name: 'conformance.plain', arguments: {} }],
    });
  }

  /** Sends a delivery once; `sending` changes parts of a correct request. */
  send(
    delivery: Json,
    { url = this.registered.url, ...sending }: Partial<Sending> & { readonly url?: string } = {},
  ): Promise<Answered> {
    return sendDelivery(url, delivery, { secrets: [this.registered.secret], ...sending });
  }

  /**
   * Appends this many events and repeats the unacknowledged ones, as a server does, until the
   * answer is final. Resolves with that answer. Throws unless it acknowledges all of them.
   */
  async deliver(count: number, sending?: Parameters<ReceiverTest['send']>[1]): Promise<Answered> {
    this.log.append(count);
    const delivery = this.log.delivery(this.log.acked);
    const answered = await this.settled(delivery, sending);
    assert.deepEqual(
      { status: answered.status, ackSequence: answered.body?.ackSequence },
      { status: 200, ackSequence: lastOf(delivery) },
    );
    this.log.acked = lastOf(delivery);
    return answered;
  }

  /**
   * Repeats a delivery until the answer is final: not 5xx, and no `ackSequence` below the delivery's end.
   * Resolves with that answer, or after the patience with the last one.
   */
  settled(delivery: Json, sending?: Parameters<ReceiverTest['send']>[1]): Promise<Answered> {
    return this.repeated(() => this.send(delivery, sending), delivery);
  }

  /** As {@link settled}, with another way to send the delivery. */
  async repeated(send: () => Promise<Answered>, delivery: Json): Promise<Answered> {
    for (const end = Date.now() + this.#patienceMs; ;) {
      const answered = await send();
      const onItsWay =
        answered.status >= 500 ||
        (answered.status === 200 &&
          Number.isInteger(answered.body?.ackSequence) &&
          answered.body.ackSequence < lastOf(delivery));
      if (!onItsWay || Date.now() > end) return answered;
      await new Promise((resolve) => setTimeout(resolve, AGAIN_MS));
    }
  }

  /**
   * A delivery of the next event, which the log does not contain yet: for requests that a receiver
   * has to reject.
   */
  get next(): Json {
    const { head, acked } = this.log;
    const event = {
      sequence: head + 1,
      eventId: `refused-${randomBytes(6).toString('hex')}`,
      name: 'conformance.plain',
      timestamp: new Date().toISOString(),
      acceptedAt: new Date().toISOString(),
      data: { topic: 'conformance', n: 0 },
    };
    return { ...this.log.heartbeat(acked), head: head + 1, events: [event] };
  }

  /**
   * The items that the receiver handed to its application. Throws `NotShown` without the verb
   * `applied`.
   */
  async applied(): Promise<readonly Applied[]> {
    const { audience, key } = this.registered;
    return (await this.control.do('applied', { audience, key })).items;
  }

  /**
   * Throws when the receiver applied the event of {@link next}: such a receiver acknowledges the
   * event after it, or lists it as applied.
   */
  async nothingApplied(): Promise<void> {
    const { head, acked } = this.log;
    const event = { ...this.next.events[0], sequence: head + 2 };
    const { status, body } = await this.send({
      ...this.log.heartbeat(acked),
      afterSequence: head + 1,
      head: head + 2,
      events: [event],
    });
    assert.ok(
      status !== 200 || !(body?.ackSequence > head),
      `the receiver acknowledges the event after the rejected one: HTTP ${status} ${JSON.stringify(body)}`,
    );
    if (!this.control.has('applied')) return;
    assert.deepEqual(
      (await this.applied()).filter(({ eventId }) => eventId?.startsWith('refused-')),
      [],
    );
  }

  /** The token of this registration's URL. Throws `NotApplicable` for an unsigned URL. */
  token(): NonNullable<ReturnType<typeof tokenOf>> {
    const token = tokenOf(this.registered.url);
    if (token === undefined) throw new NotApplicable('The receiver does not mint signed URLs.');
    return token;
  }

  /** A server's signing key, published until the scenario ends. */
  async identity(kid: string): Promise<Identity> {
    const identity = await Identity.publish(kid);
    this.#closers.push(() => identity.close());
    return identity;
  }

  /**
   * Sends a delivery with this server's signature; `change` changes its header, its token or the
   * secret of the webhook signature.
   */
  sendAs(
    identity: Identity,
    delivery: Json,
    change: {
      readonly header?: (correct: Json) => Json;
      readonly token?: (correct: string, body: Buffer) => string | null;
      readonly secret?: string;
    } = {},
  ): Promise<Answered> {
    const { url, audience } = this.registered;
    const body = Buffer.from(bodyOf(delivery));
    const correct = identity.header(url, delivery.subscriptionId, audience);
    const token = detached(change.header?.(correct) ?? correct, body, identity.signer);
    return this.send(delivery, {
      secrets: [change.secret ?? this.registered.secret],
      raw: body,
      headers: {
        'mcp-delivery-signature': change.token === undefined ? token : change.token(token, body),
      },
    });
  }
}

function parse(text: string): Json {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}
