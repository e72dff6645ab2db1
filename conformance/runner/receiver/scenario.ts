/** A scenario against a receiver: the kit is the server, with a log, and sends what a server sends or should not. */
import { randomBytes } from 'node:crypto';
import assert from 'node:assert/strict';
import type { Applied } from '../client/program.ts';
import { ScriptedLog } from '../client/log.ts';
import { Looks, NotApplicable } from '../looks.ts';
import { lastOf } from '../server/callback-endpoint.ts';
import { bodyOf, sendDelivery, type Answered, type Sending } from '../wire/sender.ts';
import type { Json } from '../wire/session.ts';
import type { ReceiverControl, ReceiverVerb, Who } from './control.ts';
import { detached, Identity } from './identity.ts';

/** One scenario: a story with a registration of its own, where those can be made. */
export interface ReceiverScenario {
  readonly name: string;
  /** One sentence. */
  readonly about: string;
  /** Names of requirements without prefix. Each is looked at before the scenario ends. */
  readonly checks: readonly string[];
  readonly needs?: readonly ReceiverVerb[];
  run(t: ReceiverTest): Promise<void>;
}

/** Keeps the type while letting a module read as data. */
export const receiverScenario = (definition: ReceiverScenario): ReceiverScenario => definition;

/** What every scenario of a run shares. */
export interface ReceiverSubject {
  /** What the command line says. */
  readonly url: string;
  readonly secret: string;
  readonly control: ReceiverControl;
}

/** Where deliveries go, and what signs them. */
export interface Registered extends Who {
  readonly url: string;
  readonly secret: string;
}

/** The claims of a signed callback URL; undefined when it is none. */
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
/** How long a receiver may take to apply something, by asking for it again. */
const PATIENCE_MS = 8000;
const AGAIN_MS = 200;

/** One running scenario. What it opens is closed when it ends. */
export class ReceiverTest {
  readonly subject: ReceiverSubject;
  readonly control: ReceiverControl;
  readonly #looks: Looks;
  readonly #patienceMs: number;
  readonly #closers: (() => Promise<unknown>)[] = [];
  /** The registration and the log of this scenario. */
  registered!: Registered;
  readonly log = new ScriptedLog();

  private constructor(subject: ReceiverSubject, looks: Looks, patienceMs: number) {
    this.#patienceMs = patienceMs;
    this.subject = subject;
    this.control = subject.control;
    this.#looks = looks;
  }

  static async run(
    definition: ReceiverScenario,
    subject: ReceiverSubject,
    patienceMs = PATIENCE_MS,
  ): Promise<Looks> {
    const looks = new Looks(definition.name, definition.checks);
    const test = new ReceiverTest(subject, looks, patienceMs);
    let failure: unknown;
    try {
      subject.control.require(...(definition.needs ?? []));
      await test.use(await test.register());
      await definition.run(test);
    } catch (error) {
      failure = error;
    }
    for (const close of test.#closers.reverse()) await close().catch(() => undefined);
    looks.close(failure);
    return looks;
  }

  /** See {@link Looks.check}. */
  check<T>(
    checks: string | readonly string[],
    what: string,
    look: () => T | Promise<T>,
  ): Promise<T | undefined> {
    return this.#looks.check(checks, what, look);
  }

  /** A registration of its own; where none can be made, the one of the command line. */
  async register(more: Partial<Who> & { readonly jwksUri?: string } = {}): Promise<Registered> {
    if (!this.control.has('register')) {
      const { url, secret } = this.subject;
      const { aud = AUDIENCE, sub = 'conformance' } = tokenOf(url)?.claims ?? {};
      return { audience: aud, key: sub, url, secret };
    }
    const who = { audience: AUDIENCE, key: `k.${randomBytes(9).toString('base64url')}`, ...more };
    const { url, secret } = await this.control.do('register', who);
    return { ...who, url, secret };
  }

  /** Deliveries go to this registration from now on. */
  async use(registered: Registered): Promise<void> {
    this.registered = registered;
    Object.assign(this.log, {
      alive: true,
      key: registered.key,
      select: [{ name: 'conformance.plain', arguments: {} }],
    });
  }

  /** Sends it once, signed as it should be where `sending` says nothing else. */
  send(
    delivery: Json,
    { url = this.registered.url, ...sending }: Partial<Sending> & { readonly url?: string } = {},
  ): Promise<Answered> {
    return sendDelivery(url, delivery, { secrets: [this.registered.secret], ...sending });
  }

  /**
   * Appends this many events and delivers what is not acknowledged, again and again like a server, until all of it is. Resolves with the last answer. Throws
   * when it is not acknowledged in time.
   */
  async deliver(count: number, sending?: Parameters<ReceiverTest['send']>[1]): Promise<Answered> {
    this.log.append(count);
    const delivery = this.log.delivery(this.log.acked);
    const answered = await this.settled(delivery, sending);
    assert.deepEqual(
      { status: answered.status, ack: answered.body?.ack },
      { status: 200, ack: lastOf(delivery) },
    );
    this.log.acked = lastOf(delivery);
    return answered;
  }

  /** Sends it until the answer is no "not yet": anything but 5xx and an `ack` that is on its way. */
  async settled(delivery: Json, sending?: Parameters<ReceiverTest['send']>[1]): Promise<Answered> {
    for (const end = Date.now() + this.#patienceMs; ;) {
      const answered = await this.send(delivery, sending);
      const onItsWay =
        answered.status >= 500 ||
        (answered.status === 200 &&
          Number.isInteger(answered.body?.ack) &&
          answered.body.ack < lastOf(delivery));
      if (!onItsWay || Date.now() > end) return answered;
      await new Promise((resolve) => setTimeout(resolve, AGAIN_MS));
    }
  }

  /** The next event, not yet appended, as a delivery: for requests that have to be refused. */
  get next(): Json {
    const { head, acked } = this.log;
    const event = {
      sequence: head + 1,
      eventId: `refused-${randomBytes(6).toString('hex')}`,
      name: 'conformance.plain',
      timestamp: new Date().toISOString(),
      data: { topic: 'conformance', n: 0 },
    };
    return { ...this.log.heartbeat(acked), head: head + 1, events: [event] };
  }

  /** What the receiver has handed to its application. Throws `NotShown`. */
  async applied(): Promise<readonly Applied[]> {
    const { audience, key } = this.registered;
    return (await this.control.do('applied', { audience, key })).items;
  }

  /** Throws when anything of {@link next} was applied: what comes after it would then be taken, and it would be in the list. */
  async nothingApplied(): Promise<void> {
    const { head, acked } = this.log;
    const event = { ...this.next.events[0], sequence: head + 2 };
    const { status, body } = await this.send({
      ...this.log.heartbeat(acked),
      after: head + 1,
      head: head + 2,
      events: [event],
    });
    assert.ok(
      status !== 200 || !(body?.ack > head),
      `what follows the refused delivery is acknowledged: HTTP ${status} ${JSON.stringify(body)}`,
    );
    if (!this.control.has('applied')) return;
    assert.deepEqual(
      (await this.applied()).filter(({ eventId }) => eventId?.startsWith('refused-')),
      [],
    );
  }

  /** The claims of this registration's URL. Throws `NotApplicable` when it is not signed. */
  token(): NonNullable<ReturnType<typeof tokenOf>> {
    const token = tokenOf(this.registered.url);
    if (token === undefined) throw new NotApplicable('the receiver does not mint signed URLs');
    return token;
  }

  /** A server's keys, published for as long as the scenario runs. */
  async identity(kid: string): Promise<Identity> {
    const identity = await Identity.publish(kid);
    this.#closers.push(() => identity.close());
    return identity;
  }

  /** Sends a delivery with this server's signature; `change` makes its header, or its signing, another one. */
  sendAs(
    identity: Identity,
    delivery: Json,
    change: {
      readonly header?: (right: Json) => Json;
      readonly token?: (right: string, body: Buffer) => string | null;
    } = {},
  ): Promise<Answered> {
    const body = Buffer.from(bodyOf(delivery));
    const right = identity.header(this.registered.url, delivery.subscriptionId);
    const token = detached(change.header?.(right) ?? right, body, identity.signer);
    return this.send(delivery, {
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
