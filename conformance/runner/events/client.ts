/**
 * The client suite of SEP-3415: each scenario starts the program against its own scripted server
 * and checks the requests.
 */
import { Program, type Applied, type Context, type Suggested } from '../client/program.ts';
import type { RunLimits } from '../client/scenario.ts';
import { Observations, NotApplicable, NotShown, TimedOut } from '../observations.ts';
import { NothingToTest } from '../observations.ts';
import { runSuite, type SuiteRun, type Task } from '../run.ts';
import type { Outcome } from '../verdict.ts';
import type { Mode } from './scenario.ts';
import {
  ScriptedEventsServer,
  TYPE_NAME,
  type EventsCall,
  type OpenResponse,
} from './scripted-server.ts';

/** The content of `MCP_CONFORMANCE_CONTEXT`: the program follows every event type in this mode. */
export interface EventsContext {
  readonly mode: Mode;
  /** The event types, for programs that do not list them. */
  readonly select: Context['select'];
  readonly durationMs: number;
  readonly suggested?: EventsSuggested;
}

/**
 * Limits whose usual values make a run slow. The client prints the names of those that it adopts;
 * checks that need a limit which the client does not adopt are `not shown`.
 */
export interface EventsSuggested extends Pick<
  Suggested,
  'requestTimeoutMs' | 'streamSilenceMs' | 'backoffBaseMs'
> {
  /** The lower bound of the pause between polls. */
  readonly pollFloorMs?: number;
}

/** One scenario with its own server. */
export interface EventsClientScenario {
  readonly name: string;
  /** Summary of the scenario, in one sentence. */
  readonly about: string;
  /** The requirements that the scenario decides, by name without prefix: `log-contiguous`. */
  readonly checks: readonly string[];
  run(t: EventsClientTest): Promise<void>;
}

export interface EventsClientRun extends SuiteRun {
  readonly scenarios: readonly EventsClientScenario[];
  readonly command: string;
}

/** `durationMs` of the context: longer than any scenario. */
const DURATION_MS = 300_000;
/** Maximum wait for an expected event. Programs start slowly. */
const PATIENCE_MS = 25_000;
const METHOD: Readonly<Record<Mode, string>> = {
  poll: 'events/poll',
  push: 'events/stream',
  webhook: 'events/subscribe',
};
const ERA = '2026-07-28';

/** Runs the suite. Rejects with `NothingToTest` when the program follows in none of the modes. */
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

/** Throws `NothingToTest` unless the program follows in at least one of the modes. */
async function requireClient(command: string): Promise<void> {
  const observations = new Observations('greeting', []);
  const tried = await Promise.all(
    (['poll', 'push', 'webhook'] as const).map((mode) =>
      EventsClientTest.with(command, observations, {}, (t) =>
        t.follow(mode).then(
          () => null,
          (error: Error) => error.message,
        ),
      ),
    ),
  );
  if (!tried.includes(null))
    throw new NothingToTest(
      `"${command}" cannot be tested as a client: ${tried[0]}. Run the command by hand with a server URL as its last argument`,
    );
}

/** The context of a running scenario. Its program and its server end with the scenario. */
export class EventsClientTest {
  readonly server: ScriptedEventsServer;
  readonly #command: string;
  readonly #observations: Observations;
  readonly #patienceMs: number;
  readonly #stopOnBroken: string | undefined;
  #program: Program | undefined;

  private constructor(
    server: ScriptedEventsServer,
    command: string,
    observations: Observations,
    { patienceMs = PATIENCE_MS, stopOnBroken }: RunLimits,
  ) {
    this.server = server;
    this.#command = command;
    this.#observations = observations;
    this.#patienceMs = patienceMs;
    this.#stopOnBroken = stopOnBroken;
  }

  static async run(
    definition: EventsClientScenario,
    command: string,
    limits: RunLimits = {},
  ): Promise<Observations> {
    const observations = new Observations(definition.name, definition.checks);
    const failure = await EventsClientTest.with(command, observations, limits, (t) =>
      definition.run(t).then(
        () => undefined,
        (error: unknown) => error,
      ),
    );
    observations.close(failure);
    return observations;
  }

  /** Runs `use` with its own scripted server. */
  static async with<T>(
    command: string,
    observations: Observations,
    limits: RunLimits,
    use: (t: EventsClientTest) => Promise<T>,
  ): Promise<T> {
    const server = await ScriptedEventsServer.listen();
    const test = new EventsClientTest(server, command, observations, limits);
    try {
      return await use(test);
    } finally {
      await test.#program?.stop();
      await server.close();
    }
  }

  /** See {@link Observations.check}. */
  async check<T>(
    checks: string | readonly string[],
    what: string,
    assertion: () => T | Promise<T>,
  ): Promise<T | undefined> {
    const value = await this.#observations.check(checks, what, assertion);
    if (
      this.#observations.list.some(
        ({ check, outcome }) => check === this.#stopOnBroken && outcome === 'broken',
      )
    )
      throw new Error('the awaited check is broken');
    return value;
  }

  /** Starts the program in this mode. */
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

  /**
   * Starts the program and waits until it follows. Throws `NotApplicable` when it uses another
   * mode.
   */
  async follow(mode: Mode, suggested: EventsSuggested = {}): Promise<void> {
    this.start(mode, suggested);
    await this.until(
      `${METHOD[mode]}`,
      () => this.server.callsOf(...Object.values(METHOD)).length > 0,
    );
    if (this.server.callsOf(METHOD[mode]).length === 0)
      throw new NotApplicable(`The client does not follow by ${mode}.`);
  }

  /** Polls, in order. */
  get polls(): readonly EventsCall[] {
    return this.server.callsOf('events/poll');
  }

  /** Resolves with the poll at this index, counted from 0, when it arrives. */
  async poll(at: number): Promise<EventsCall> {
    await this.until(`poll number ${at + 1}`, () => this.polls.length > at);
    return this.polls[at]!;
  }

  /** Resolves with the stream at this index, counted from 0, when the client opens it. */
  async stream(at = 0): Promise<OpenResponse> {
    await this.until(`stream number ${at + 1}`, () => this.server.streams.length > at);
    return this.server.streams[at]!;
  }

  /** The items that the client printed. Throws `NotShown` when it prints none. */
  get applied(): readonly Applied[] {
    const applied = this.#program!.applied;
    if (applied.length === 0)
      throw new NotShown('The client does not print what it hands to its application.');
    return applied;
  }

  /** Whether the client printed the event. */
  hasApplied(eventId: string): boolean {
    const { applied } = this.#program!;
    return applied.length > 0 && applied.some((line) => line.eventId === eventId);
  }

  get hasEnded(): boolean {
    return this.#program?.ended !== undefined;
  }

  /** Throws `NotShown` when the client did not adopt a suggested limit. */
  requireTook(name: keyof EventsSuggested): void {
    if (!this.#program!.adopted.has(name))
      throw new NotShown(`The client does not adopt the suggested limit "${name}".`);
  }

  /** Resolves when the condition holds. Throws after `patienceMs`, or when the client has ended. */
  async until(
    what: string,
    condition: () => boolean,
    patienceMs: number = this.#patienceMs,
  ): Promise<void> {
    const start = Date.now();
    for (const end = start + patienceMs; !condition();) {
      if (this.hasEnded && Date.now() - this.#program!.ended!.at > 100)
        throw new TimedOut(what, Date.now() - start, this.#program!.endMessage);
      if (Date.now() > end) throw new TimedOut(what, patienceMs, this.#seen());
      await this.pause(10);
    }
  }

  /** A summary of the client's actions so far, for messages about a wait in vain. */
  #seen(): string {
    const { calls } = this.server;
    const last = calls.slice(-3).map(({ method }) => method);
    return calls.length === 0
      ? 'no request of the client'
      : `${calls.length} requests, the last ones ${last.join(', ')}`;
  }

  /** Waits a fixed time, for checks that expect nothing to happen. */
  pause(ms: number): Promise<void> {
    return new Promise((resolve) => setTimeout(resolve, ms));
  }
}
