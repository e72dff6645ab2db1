/** A scenario against a server: what it decides, what it needs, and what it is given. */
import { randomBytes } from 'node:crypto';
import type { Control, ControlTypes, Verb } from '../control.ts';
import { Looks, NotApplicable } from '../looks.ts';
import type { Requirement } from '../requirements.ts';
import { Session, type Access, type Era, type Json } from '../wire/session.ts';
import { CallbackEndpoint } from './callback-endpoint.ts';
import { StreamReader } from './stream-reader.ts';

export type Drain = 'callback' | 'stream' | 'pull';

/** One scenario. Few scenarios, many checks: what a reader would call one story. */
export interface ServerScenario {
  readonly name: string;
  /** One sentence. */
  readonly about: string;
  /** Names of requirements without prefix. Each is looked at before the scenario ends. */
  readonly checks: readonly string[];
  readonly needs?: {
    readonly drains?: readonly Drain[];
    readonly verbs?: readonly Verb[];
    readonly types?: readonly (keyof ControlTypes)[];
    /** Only where the server declares durable logs. */
    readonly durable?: boolean;
  };
  /** Runs when nothing else does: it makes the process die, or its clock jump. */
  readonly alone?: boolean;
  /** Default: the newest revision the server speaks. `each`: in every one. */
  readonly eras?: 'each' | Era;
  run(t: ServerTest): Promise<void>;
}

/** Keeps the type while letting a module read as data. */
export const scenario = (definition: ServerScenario): ServerScenario => definition;

/** What every scenario of a run shares. */
export interface ServerSubject {
  readonly access: Access;
  readonly control: Control;
  readonly eras: readonly Era[];
  readonly callbackBase: string | undefined;
  readonly requirements: ReadonlyMap<string, Requirement>;
  /** The identifier of the extension under test; default: the one of the project. */
  readonly extension?: string | undefined;
  /** How long is waited for what has to happen soon; default 15 s. */
  readonly patienceMs?: number;
  /** A scenario ends when this check is seen to be broken. */
  readonly enough?: string;
}

const PATIENCE_MS = 15_000;

/** One running scenario. What it opens is closed when it ends. */
export class ServerTest {
  readonly subject: ServerSubject;
  readonly control: Control;
  /** The session of `--token`. */
  readonly mcp: Session;
  readonly #looks: Looks;
  readonly #closers: (() => Promise<unknown>)[] = [];

  private constructor(subject: ServerSubject, mcp: Session, looks: Looks) {
    this.subject = subject;
    this.control = subject.control;
    this.mcp = mcp;
    this.#looks = looks;
  }

  /** Runs a scenario in one revision and returns what it saw. */
  static async run(definition: ServerScenario, subject: ServerSubject, era: Era): Promise<Looks> {
    const looks = new Looks(
      subject.eras.length > 1 && definition.eras === 'each'
        ? `${definition.name} (${era})`
        : definition.name,
      definition.checks,
    );
    let test: ServerTest | undefined;
    let failure: unknown;
    try {
      test = new ServerTest(
        subject,
        await Session.open(subject.access, era, subject.extension),
        looks,
      );
      test.#require(definition);
      await definition.run(test);
    } catch (error) {
      failure = error;
    }
    if (test !== undefined) await test.#tidy();
    looks.close(failure);
    return looks;
  }

  async #tidy(): Promise<void> {
    for (const close of this.#closers.reverse()) await close().catch(() => undefined);
  }

  #require({ needs = {} }: ServerScenario): void {
    const { settings } = this.mcp;
    if (settings === undefined) throw new Error('the server does not declare the extension');
    for (const drain of needs.drains ?? [])
      if (!settings.drains?.includes(drain))
        throw new NotApplicable(`the server does not offer the drain "${drain}"`);
    if (needs.durable === true && settings.durability !== 'durable')
      throw new NotApplicable('the server does not declare durable logs');
    this.control.require(...(needs.verbs ?? []));
    for (const type of needs.types ?? []) this.control.type(type);
  }

  /** See {@link Looks.check}. */
  async check<T>(
    checks: string | readonly string[],
    what: string,
    look: () => T | Promise<T>,
  ): Promise<T | undefined> {
    const value = await this.#looks.check(checks, what, look);
    if (
      this.#looks.evidence.some(
        ({ check, outcome }) => check === this.subject.enough && outcome === 'broken',
      )
    )
      throw new Error('that was enough');
    return value;
  }

  /** The extension's settings. */
  get settings(): Json {
    return this.mcp.settings;
  }

  /** A name that nobody else uses. */
  unique(prefix = 'k'): string {
    return `${prefix}.${randomBytes(9).toString('base64url')}`;
  }

  /** Another principal. Throws `NotShown` without its token. */
  async as(principal: string, era: Era = this.mcp.era): Promise<Session> {
    return Session.open(
      { url: this.subject.access.url, token: this.control.token(principal) },
      era,
      this.subject.extension,
    );
  }

  /** The same principal in another revision, or with another access. */
  open(era: Era): Promise<Session> {
    return Session.open(this.subject.access, era, this.subject.extension);
  }

  /**
   * Subscribes to the plain type with a topic of its own, under a key of its own, unless `params` say otherwise; unsubscribes when the scenario ends. The topic is in
   * `select[0].arguments.topic` of the answer.
   */
  async subscribe(params: Json = {}, mcp: Session = this.mcp): Promise<Json> {
    const select = params.select ?? [
      { name: this.control.type('plain'), arguments: { topic: this.unique('topic') } },
    ];
    const made = await mcp.request('triggers/subscribe', { key: this.unique(), ...params, select });
    this.defer(() => mcp.ask('triggers/unsubscribe', { subscriptionId: made.subscriptionId }));
    return made;
  }

  /** Events of the plain type for this topic, numbered `n` = `from` … ; resolves when they are accepted. */
  async emit(
    topic: string,
    count: number,
    {
      from = 1,
      name = this.control.type('plain'),
      data = {},
    }: { readonly from?: number; readonly name?: string; readonly data?: object } = {},
  ): Promise<void> {
    await this.control.do('emit', {
      events: Array.from({ length: count }, (_, at) => ({
        name,
        data: { topic, n: from + at, ...data },
      })),
    });
  }

  /** The topic that a subscription made by {@link subscribe} follows. */
  topicOf(subscription: Json): string {
    return subscription.select[0].arguments.topic as string;
  }

  /** A callback of the kit. */
  async endpoint(): Promise<CallbackEndpoint> {
    const endpoint = await CallbackEndpoint.listen(this.subject.callbackBase);
    this.defer(() => endpoint.close());
    return endpoint;
  }

  /** Opens a `triggers/stream` and reads it in the background. */
  async stream(params: Json, mcp: Session = this.mcp): Promise<StreamReader> {
    const reader = new StreamReader(await mcp.open('triggers/stream', params));
    this.defer(async () => reader.close());
    return reader;
  }

  /** Pulls until `count` events or gaps' numbers came, or patience ends. Returns the deliveries. */
  async pullAll(subscriptionId: string, upTo: number, mcp: Session = this.mcp): Promise<Json[]> {
    const deliveries: Json[] = [];
    let after: Json;
    await this.until(`number ${upTo} to be pulled`, async () => {
      const answer = await mcp.request('triggers/pull', {
        subscriptionId,
        waitMs: 1000,
        ...(after === undefined ? {} : { after }),
      });
      deliveries.push(answer);
      after = {
        epoch: answer.epoch,
        sequence: Math.max(
          answer.after,
          answer.events.at(-1)?.sequence ?? 0,
          answer.gaps?.at(-1)?.to ?? 0,
        ),
      };
      return after.sequence >= upTo;
    });
    return deliveries;
  }

  /** Resolves when `holds` returns something true, and with it. Throws, saying what was waited for, when that takes too long. */
  async until<T>(
    what: string,
    holds: () => T | Promise<T>,
    patienceMs = this.subject.patienceMs ?? PATIENCE_MS,
  ): Promise<NonNullable<T>> {
    const deadline = Date.now() + patienceMs;
    for (;;) {
      const value = await holds();
      if (value) return value;
      if (Date.now() > deadline) throw new Error(`waited ${patienceMs / 1000} s for ${what}`);
      await this.pause(20);
    }
  }

  /** Nothing can be waited for when nothing is what should happen: this long is looked at. */
  pause(ms: number): Promise<void> {
    return new Promise((resolve) => setTimeout(resolve, ms));
  }

  /** Done when the scenario ends, last first. */
  defer(close: () => Promise<unknown>): void {
    this.#closers.push(close);
  }
}
