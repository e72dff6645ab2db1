/** The client suite of SEP-3415: each scenario has a scripted server of its own, starts the program, and looks at what it asks for. */
import { Program, type Applied, type Context, type Suggested } from '../client/program.ts';
import type { Haste } from '../client/scenario.ts';
import { Looks, NotApplicable, NotShown } from '../looks.ts';
import { NothingToTest } from '../nothing.ts';
import { runSuite, type SuiteRun, type Task } from '../run.ts';
import type { Outcome } from '../verdict.ts';
import type { Mode } from './scenario.ts';
import {
  ScriptedEventsServer,
  TYPE_NAME,
  type EventsCall,
  type OpenResponse,
} from './scripted-server.ts';

/** What a client is told in `MCP_CONFORMANCE_CONTEXT`: it follows every event type in this one mode. */
export interface EventsContext {
  readonly mode: Mode;
  /** The event types there are, for programs that want to be told. */
  readonly select: Context['select'];
  readonly durationMs: number;
  readonly suggested?: EventsSuggested;
}

/** Limits that make a run slow. A client says which it has taken over; what needs one that it has not is not shown. */
export interface EventsSuggested extends Pick<
  Suggested,
  'requestTimeoutMs' | 'streamSilenceMs' | 'backoffBaseMs'
> {
  /** The lower bound of the pause between polls. */
  readonly pollFloorMs?: number;
}

/** One scenario: a story with a server of its own. */
export interface EventsClientScenario {
  readonly name: string;
  /** One sentence. */
  readonly about: string;
  /** Names of requirements without prefix. Each is looked at before the scenario ends. */
  readonly checks: readonly string[];
  run(t: EventsClientTest): Promise<void>;
}

export interface EventsClientRun extends SuiteRun {
  readonly scenarios: readonly EventsClientScenario[];
  readonly command: string;
}

const DURATION_MS = 300_000;
/** Programs are slow to start. */
const PATIENCE_MS = 25_000;
const METHOD: Readonly<Record<Mode, string>> = {
  poll: 'events/poll',
  push: 'events/stream',
  webhook: 'events/subscribe',
};
const ERA = '2026-07-28';

/** Runs it. Rejects with `NothingToTest` when the command cannot be run, or runs and asks for nothing. */
export async function runEventsClient({
  scenarios,
  command,
  ...run
}: EventsClientRun): Promise<Outcome> {
  const startedAt = Date.now();
  await requireClient(command);
  const tasksOf = (scenario: EventsClientScenario): Task => ({
    name: scenario.name,
    alone: false,
    run: () => EventsClientTest.run(scenario, command),
  });
  return runSuite({ role: 'client', subject: command, scenarios, tasksOf, startedAt }, run);
}

/** In one of the modes it gets as far as the extension. */
async function requireClient(command: string): Promise<void> {
  const looks = new Looks('greeting', []);
  const tried = await Promise.all(
    (['poll', 'push', 'webhook'] as const).map((mode) =>
      EventsClientTest.with(command, looks, {}, (t) =>
        t.follow(mode).then(
          () => null,
          (error: Error) => error.message,
        ),
      ),
    ),
  );
  if (!tried.includes(null))
    throw new NothingToTest(`"${command}" is no client that can be tested: ${tried[0]}`);
}

/** One running scenario. What it opens is closed when it ends. */
export class EventsClientTest {
  readonly server: ScriptedEventsServer;
  readonly #command: string;
  readonly #looks: Looks;
  readonly #patienceMs: number;
  readonly #enough: string | undefined;
  #program: Program | undefined;

  private constructor(
    server: ScriptedEventsServer,
    command: string,
    looks: Looks,
    { patienceMs = PATIENCE_MS, enough }: Haste,
  ) {
    this.server = server;
    this.#command = command;
    this.#looks = looks;
    this.#patienceMs = patienceMs;
    this.#enough = enough;
  }

  static async run(
    definition: EventsClientScenario,
    command: string,
    haste: Haste = {},
  ): Promise<Looks> {
    const looks = new Looks(definition.name, definition.checks);
    const failure = await EventsClientTest.with(command, looks, haste, (t) =>
      definition.run(t).then(
        () => undefined,
        (error: unknown) => error,
      ),
    );
    looks.close(failure);
    return looks;
  }

  /** A server, and what is done with it. */
  static async with<T>(
    command: string,
    looks: Looks,
    haste: Haste,
    use: (t: EventsClientTest) => Promise<T>,
  ): Promise<T> {
    const server = await ScriptedEventsServer.listen();
    const test = new EventsClientTest(server, command, looks, haste);
    try {
      return await use(test);
    } finally {
      await test.#program?.stop();
      await server.close();
    }
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
        ({ check, outcome }) => check === this.#enough && outcome === 'broken',
      )
    )
      throw new Error('that was enough');
    return value;
  }

  /** Starts the program, which is to follow in this mode. */
  start(mode: Mode, suggested: EventsSuggested = {}): void {
    const context: EventsContext = {
      mode,
      select: [{ name: TYPE_NAME, arguments: {} }],
      durationMs: DURATION_MS,
      suggested: { backoffBaseMs: 100, ...suggested },
    };
    this.#program = new Program(this.#command, {
      url: this.server.url,
      scenario: `events-${mode}`,
      era: ERA,
      context: context as unknown as Context,
    });
  }

  /** The same, and waits until it follows. Throws `NotApplicable` when it has another way of following. */
  async follow(mode: Mode, suggested: EventsSuggested = {}): Promise<void> {
    this.start(mode, suggested);
    await this.until(
      `${METHOD[mode]}`,
      () => this.server.callsOf(...Object.values(METHOD)).length > 0,
    );
    if (this.server.callsOf(METHOD[mode]).length === 0)
      throw new NotApplicable(`the client does not follow by ${mode}`);
  }

  /** Polls, in order. */
  get polls(): readonly EventsCall[] {
    return this.server.callsOf('events/poll');
  }

  /** Resolves with the first poll behind the one with this index. */
  async poll(at: number): Promise<EventsCall> {
    await this.until(`poll number ${at + 1}`, () => this.polls.length > at);
    return this.polls[at]!;
  }

  /** The stream with this index. */
  async stream(at = 0): Promise<OpenResponse> {
    await this.until(`stream number ${at + 1}`, () => this.server.streams.length > at);
    return this.server.streams[at]!;
  }

  /** What the client says it has handed on. Throws `NotShown` when it says nothing. */
  get applied(): readonly Applied[] {
    const applied = this.#program!.applied;
    if (applied.length === 0)
      throw new NotShown('the client does not print what it hands to its application');
    return applied;
  }

  /** Whether it has handed on an event. Clients that print nothing are believed. */
  hasApplied(eventId: string): boolean {
    const { applied } = this.#program!;
    return applied.length > 0 && applied.some((line) => line.eventId === eventId);
  }

  get hasEnded(): boolean {
    return this.#program?.ended !== undefined;
  }

  /** Throws `NotShown` when a suggestion was not taken over. */
  requireTook(name: keyof EventsSuggested): void {
    if (!this.#program!.took.has(name))
      throw new NotShown(`the client does not take over "${name}"`);
  }

  async until(
    what: string,
    condition: () => boolean,
    patienceMs: number = this.#patienceMs,
  ): Promise<void> {
    for (const end = Date.now() + patienceMs; !condition();) {
      if (this.hasEnded && Date.now() - this.#program!.ended!.at > 100)
        throw new Error(`waited for ${what}, but ${this.#program!.epitaph}`);
      if (Date.now() > end) throw new Error(`waited ${patienceMs / 1000} s for ${what}`);
      await this.pause(10);
    }
  }

  /** Nothing can be waited for when nothing is what should happen: this long is looked at. */
  pause(ms: number): Promise<void> {
    return new Promise((resolve) => setTimeout(resolve, ms));
  }
}
