/**
 * A scenario against a server: the checks that it decides, what it needs, and the context that it
 * receives.
 */
import { randomBytes } from 'node:crypto';
import type { Control, ControlTypes, Verb } from '../control.ts';
import { declaredLevels, type Level } from '../levels.ts';
import { Observations, NotApplicable, TimedOut } from '../observations.ts';
import type { Requirement } from '../requirements.ts';
import { Session, type Access, type Era, type Json } from '../wire/session.ts';
import { CallbackEndpoint } from './callback-endpoint.ts';
import { StreamReader } from './stream-reader.ts';

export type Drain = 'callback' | 'stream' | 'pull';

/** One scenario, which decides one or more checks. */
export interface ServerScenario {
  readonly name: string;
  /** Summary of the scenario, in one sentence. */
  readonly about: string;
  /** The requirements that the scenario decides, by name without prefix: `log-contiguous`. */
  readonly checks: readonly string[];
  readonly needs?: {
    readonly drains?: readonly Drain[];
    readonly verbs?: readonly Verb[];
    readonly types?: readonly (keyof ControlTypes)[];
    /** Only for servers that declare durable logs. */
    readonly durable?: boolean;
    /** Only for servers that declare these options. */
    readonly options?: readonly string[];
  };
  /** Runs while no other scenario runs, for example because it crashes the server. */
  readonly alone?: boolean;
  /** Default: the newest revision that the server speaks. `each`: every revision. */
  readonly eras?: 'each' | Era;
  run(t: ServerTest): Promise<void>;
}

/** Declares a scenario. Returns it unchanged; the compiler checks its type. */
export const scenario = (definition: ServerScenario): ServerScenario => definition;

/** Shared by every scenario of a run. */
export interface ServerSubject {
  readonly access: Access;
  readonly control: Control;
  readonly eras: readonly Era[];
  readonly callbackBase: string | undefined;
  readonly requirements: ReadonlyMap<string, Requirement>;
  /** The identifier of the extension under test. Default: the one of this project. */
  readonly extension?: string | undefined;
  /** Maximum wait for an expected event, in milliseconds. Default 15,000. */
  readonly patienceMs?: number;
  /** A scenario ends when this check is broken. */
  readonly stopOnBroken?: string;
}

const PATIENCE_MS = 15_000;

/** The context of a running scenario. It closes everything that it opened when the scenario ends. */
export class ServerTest {
  readonly subject: ServerSubject;
  readonly control: Control;
  /** The session of `--token`. */
  readonly mcp: Session;
  readonly #observations: Observations;
  readonly #closers: (() => Promise<unknown>)[] = [];
  readonly #endpoints: CallbackEndpoint[] = [];
  readonly #streams: StreamReader[] = [];

  private constructor(subject: ServerSubject, mcp: Session, observations: Observations) {
    this.subject = subject;
    this.control = subject.control;
    this.mcp = mcp;
    this.#observations = observations;
  }

  /** Runs a scenario in one revision and returns its observations. */
  static async run(
    definition: ServerScenario,
    subject: ServerSubject,
    era: Era,
  ): Promise<Observations> {
    const observations = new Observations(
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
        observations,
      );
      test.#require(definition);
      await definition.run(test);
    } catch (error) {
      failure = error;
    }
    if (test !== undefined) {
      await test.#tidy();
      await test.#excuse(definition);
    }
    observations.close(failure);
    return observations;
  }

  async #tidy(): Promise<void> {
    for (const close of this.#closers.reverse()) await close().catch(() => undefined);
  }

  /** Notes the checks that do not apply, when the scenario has made no observation of them. */
  async #excuse({ checks }: ServerScenario): Promise<void> {
    if (this.mcp.settings === undefined) return;
    const decided = new Set(this.#observations.list.map(({ check }) => check));
    for (const name of checks)
      if (!decided.has(name) && this.#missing([name]) !== undefined)
        await this.#observations.check(name, 'the option', () => this.#requireDeclared([name]));
  }

  #require({ needs = {} }: ServerScenario): void {
    const { settings } = this.mcp;
    if (settings === undefined) throw new Error('the server does not declare the extension');
    for (const drain of needs.drains ?? [])
      if (!this.offers(drain))
        throw new NotApplicable(`The server does not offer the drain "${drain}".`);
    if (needs.durable === true && !this.declares('durable'))
      throw new NotApplicable('The server does not declare durable logs.');
    for (const option of needs.options ?? [])
      if (!this.declares(option))
        throw new NotApplicable(`The server does not declare the option "${option}".`);
    this.control.require(...(needs.verbs ?? []));
    for (const type of needs.types ?? []) this.control.type(type);
  }

  /**
   * See {@link Observations.check}. Does not run `assertion` when every check belongs to a level or
   * an option that the server does not declare.
   */
  async check<T>(
    checks: string | readonly string[],
    what: string,
    assertion: () => T | Promise<T>,
  ): Promise<T | undefined> {
    const value = await this.#observations.check(checks, what, () => {
      this.#requireDeclared([checks].flat());
      return assertion();
    });
    if (
      this.#observations.list.some(
        ({ check, outcome }) => check === this.subject.stopOnBroken && outcome === 'broken',
      )
    )
      throw new Error('the awaited check is broken');
    return value;
  }

  /** The level or option of these checks when the server declares none of theirs. */
  #missing(checks: readonly string[]): Level | undefined {
    const declared = declaredLevels(this.mcp.settings);
    const levels = checks.map((name) => this.subject.requirements.get(name)?.level);
    return levels.some((level) => level === undefined || declared.has(level))
      ? undefined
      : levels[0];
  }

  /** Throws `NotApplicable` when the server declares none of the levels of these checks. */
  #requireDeclared(checks: readonly string[]): void {
    const missing = this.#missing(checks);
    if (missing !== undefined) throw new NotApplicable(`The server does not declare "${missing}".`);
  }

  /** Whether the settings declare a level or an option. */
  declares(feature: string): boolean {
    const { levels, options } = this.mcp.settings as { levels?: unknown; options?: unknown };
    return [levels, options].some((list) => Array.isArray(list) && list.includes(feature));
  }

  /** Whether the settings declare the level of a drain. */
  offers(drain: Drain): boolean {
    return this.declares(drain === 'pull' ? 'log' : drain);
  }

  /** The declared settings of the extension. */
  get settings(): Json {
    return this.mcp.settings;
  }

  /** A name that no other scenario uses. */
  unique(prefix = 'k'): string {
    return `${prefix}.${randomBytes(9).toString('base64url')}`;
  }

  /** A session of another principal. Throws `NotShown` without its token. */
  async as(principal: string, era: Era = this.mcp.era): Promise<Session> {
    return Session.open(
      { url: this.subject.access.url, token: this.control.token(principal) },
      era,
      this.subject.extension,
    );
  }

  /** A session of the same principal in this revision, in which the kit declares these options. */
  open(era: Era, options: readonly string[] = []): Promise<Session> {
    return Session.open(this.subject.access, era, this.subject.extension, options);
  }

  /**
   * Subscribes to the plain type with a new topic under a new key, unless `params` say otherwise;
   * unsubscribes when the scenario ends. The topic is in `select[0].arguments.topic` of the result.
   */
  async subscribe(params: Json = {}, mcp: Session = this.mcp): Promise<Json> {
    const select = params.select ?? [
      { name: this.control.type('plain'), arguments: { topic: this.unique('topic') } },
    ];
    const made = await mcp.request('triggers/subscribe', { key: this.unique(), ...params, select });
    this.defer(() => mcp.ask('triggers/unsubscribe', { subscriptionId: made.subscriptionId }));
    return made;
  }

  /**
   * Emits this many events for the topic, of the plain type by default; their `n` counts from
   * `from`. Resolves when the server has accepted them.
   */
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

  /** The topic of a subscription made by {@link subscribe}. */
  topicOf(subscription: Json): string {
    return subscription.select[0].arguments.topic as string;
  }

  /** A callback endpoint of the kit. */
  async endpoint(): Promise<CallbackEndpoint> {
    const endpoint = await CallbackEndpoint.listen(this.subject.callbackBase);
    this.#endpoints.push(endpoint);
    this.defer(() => endpoint.close());
    return endpoint;
  }

  /** Opens a `triggers/stream` and reads it in the background. */
  async stream(params: Json, mcp: Session = this.mcp): Promise<StreamReader> {
    const reader = new StreamReader(await mcp.open('triggers/stream', params));
    this.#streams.push(reader);
    this.defer(async () => reader.close());
    return reader;
  }

  /** Pulls until a result covers `upTo`, and returns all results. Throws after the patience. */
  async pullAll(subscriptionId: string, upTo: number, mcp: Session = this.mcp): Promise<Json[]> {
    const deliveries: Json[] = [];
    let after: Json;
    await this.until(`sequence number ${upTo} to be pulled`, async () => {
      const answer = await mcp.request('triggers/pull', {
        subscriptionId,
        waitMs: 1000,
        ...(after === undefined ? {} : { after }),
      });
      deliveries.push(answer);
      after = {
        epoch: answer.epoch,
        sequence: Math.max(
          answer.afterSequence,
          answer.events.at(-1)?.sequence ?? 0,
          answer.gaps?.at(-1)?.to ?? 0,
        ),
      };
      return after.sequence >= upTo;
    });
    return deliveries;
  }

  /** Resolves with the first truthy value of `holds`. Throws after the patience, naming `what`. */
  async until<T>(
    what: string,
    holds: () => T | Promise<T>,
    patienceMs = this.subject.patienceMs ?? PATIENCE_MS,
  ): Promise<NonNullable<T>> {
    const deadline = Date.now() + patienceMs;
    for (;;) {
      const value = await holds();
      if (value) return value;
      if (Date.now() > deadline) throw new TimedOut(what, patienceMs, this.#seen());
      await this.pause(20);
    }
  }

  /** A summary of everything received so far, for messages about a wait in vain. */
  #seen(): string {
    return [
      ...this.#streams.map((stream) => `stream: ${stream.summary}`),
      ...this.#endpoints.map((endpoint) => `callback: ${endpoint.summary}`),
      this.mcp.lastAnswer,
    ].join('; ');
  }

  /** Waits a fixed time, for checks that expect nothing to happen. */
  pause(ms: number): Promise<void> {
    return new Promise((resolve) => setTimeout(resolve, ms));
  }

  /** Runs `close` when the scenario ends. The last one deferred runs first. */
  defer(close: () => Promise<unknown>): void {
    this.#closers.push(close);
  }
}
