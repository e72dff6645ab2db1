/**
 * A scenario against a client: a scripted server, the client's command, and the checks on their
 * messages.
 */
import { Observations, NotApplicable, NotShown, TimedOut } from '../observations.ts';
import type { Era } from '../wire/session.ts';
import type { Call, ServedStream } from './exchange.ts';
import { Program, type Applied, type Context } from './program.ts';
import { ScriptedServer } from './server.ts';

/** One scenario with its own server. */
export interface ClientScenario {
  readonly name: string;
  /** Summary of the scenario, in one sentence. */
  readonly about: string;
  /** The requirements that the scenario decides, by name without prefix: `log-contiguous`. */
  readonly checks: readonly string[];
  /** Default: the newest revision that the client speaks. `each`: every revision. */
  readonly eras?: 'each';
  run(t: ClientTest): Promise<void>;
}

/** Declares a scenario. Returns it unchanged; the compiler checks its type. */
export const clientScenario = (definition: ClientScenario): ClientScenario => definition;

/** Limits for runs whose result is known, such as those of broken peers. */
export interface RunLimits {
  /** Maximum wait for an expected event, in milliseconds. */
  readonly patienceMs?: number;
  /** The scenario ends when this check is broken. */
  readonly stopOnBroken?: string | undefined;
}

/** An acknowledgement on any drain. */
export interface Acknowledged {
  readonly epoch: string;
  readonly sequence: number;
  /** Time of arrival, in epoch milliseconds. */
  readonly at: number;
}

/**
 * Maximum wait for an expected event. Programs start slowly and choose their own reconnect pauses.
 */
const PATIENCE_MS = 25_000;
/** `durationMs` of the context: longer than any scenario. */
const DURATION_MS = 300_000;
/** Time after the end of a program in which its last output can still arrive. */
const OUTPUT_GRACE_MS = 100;

/** The context of a running scenario. Its programs and its server end with the scenario. */
export class ClientTest {
  readonly server: ScriptedServer;
  readonly era: Era;
  /** Maximum wait for an expected event, in milliseconds. */
  readonly patienceMs: number;
  readonly #command: string;
  readonly #scenario: string;
  readonly #observations: Observations;
  readonly #stopOnBroken: string | undefined;
  /** Every program of the scenario; the last one may still run. */
  readonly #programs: Program[] = [];
  /** Acknowledgements in answers to callback requests. */
  readonly #answered: Acknowledged[] = [];

  private constructor(
    server: ScriptedServer,
    command: string,
    scenario: string,
    observations: Observations,
    { patienceMs, stopOnBroken }: Required<RunLimits>,
  ) {
    this.server = server;
    this.era = server.era;
    this.#command = command;
    this.#scenario = scenario;
    this.#observations = observations;
    this.patienceMs = patienceMs;
    this.#stopOnBroken = stopOnBroken;
  }

  /** Runs a scenario in one revision and returns its observations. */
  static async run(
    definition: ClientScenario,
    command: string,
    era: Era,
    { patienceMs = PATIENCE_MS, stopOnBroken }: RunLimits = {},
  ): Promise<Observations> {
    const observations = new Observations(
      definition.eras === 'each' ? `${definition.name} (${era})` : definition.name,
      definition.checks,
    );
    const server = await ScriptedServer.listen(era);
    const test = new ClientTest(server, command, definition.name, observations, {
      patienceMs,
      stopOnBroken,
    });
    let failure: unknown;
    try {
      await definition.run(test);
    } catch (error) {
      failure = error;
    }
    await Promise.all(test.#programs.map((program) => program.stop()));
    await server.close();
    observations.close(failure);
    return observations;
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

  /** Runs the command. */
  start(context: Pick<Context, 'drain'> & Partial<Context>): Program {
    const program = new Program(this.#command, {
      url: this.server.url,
      scenario: this.#scenario,
      era: this.era,
      context: {
        select: [{ name: 'conformance.plain', arguments: { topic: 'conformance' } }],
        durationMs: DURATION_MS,
        ...context,
      },
    });
    this.#programs.push(program);
    return program;
  }

  get program(): Program {
    return this.#programs.at(-1)!;
  }

  /**
   * Runs the command and waits until the client drains by stream or pull. Returns the drain. The
   * context asks for a stream unless `context` says otherwise.
   */
  async follow(context: Partial<Context> = {}): Promise<'stream' | 'pull'> {
    this.start({ drain: 'stream', ...context });
    const drains = (): 'stream' | 'pull' | undefined =>
      this.server.streams.length > 0
        ? 'stream'
        : this.server.callsOf('triggers/pull').length > 0
          ? 'pull'
          : undefined;
    await this.until('the client to drain', () => drains() !== undefined);
    return drains()!;
  }

  /** Runs the command with this drain. Throws `NotApplicable` when the client uses another. */
  async drain(drain: 'stream' | 'pull', context: Partial<Context> = {}): Promise<void> {
    const actual = await this.follow({ drain, ...context });
    if (actual !== drain)
      throw new NotApplicable(`The client drains by ${actual}, not by ${drain}.`);
  }

  /** Every acknowledgement, in order. */
  get acks(): readonly Acknowledged[] {
    const said = this.server.calls.flatMap(({ method, params, at }): Acknowledged[] => {
      const position =
        method === 'triggers/ack'
          ? params.position
          : method === 'triggers/pull'
            ? params.ack
            : undefined;
      return position === undefined ? [] : [{ ...position, at }];
    });
    return [...said, ...this.#answered].toSorted((a, b) => a.at - b.at);
  }

  /** The highest acknowledged sequence number of the log's current epoch. */
  get acked(): number {
    return Math.max(
      0,
      ...this.acks
        .filter(({ epoch }) => epoch === this.server.log.epoch)
        .map(({ sequence }) => sequence),
    );
  }

  /** Waits until the client acknowledges this sequence number in the log's current epoch. */
  async untilAcked(sequence: number): Promise<void> {
    await this.until(`the client to acknowledge ${sequence}`, () => this.acked >= sequence);
  }

  /** Requests that drain: `triggers/stream` and `triggers/pull`. */
  get draining(): readonly Call[] {
    return this.server.callsOf('triggers/stream', 'triggers/pull');
  }

  /**
   * The first draining request from `since` (epoch milliseconds) on, and its position: its `after`,
   * else its `ack`, else the acknowledged position of the log. Waits for `what`.
   */
  async nextDrain(
    since: number,
    what: string,
  ): Promise<{ readonly call: Call; readonly epoch: string; readonly sequence: number }> {
    const find = (): Call | undefined => this.draining.find(({ at }) => at >= since);
    await this.until(what, () => find() !== undefined);
    const call = find()!;
    const { after, ack } = call.params;
    const position = after ??
      ack ?? { epoch: this.server.log.epoch, sequence: this.server.log.acked };
    return { call, ...position };
  }

  /** The open stream. Waits until the client opens one. */
  async stream(): Promise<ServedStream> {
    await this.until('an open stream', () => this.server.streams.some(({ open }) => open));
    return this.server.streams.findLast(({ open }) => open)!;
  }

  /** Sends a delivery to the callback and records the acknowledgement. */
  async callBack(
    ...args: Parameters<ScriptedServer['callBack']>
  ): ReturnType<ScriptedServer['callBack']> {
    const answered = await this.server.callBack(...args);
    if (answered.status === 200 && Number.isInteger(answered.body?.ackSequence))
      this.#answered.push({
        epoch: args[0].epoch,
        sequence: answered.body.ackSequence,
        at: Date.now(),
      });
    return answered;
  }

  /** Kills the program as a crash does. Output that it wrote before is still read. */
  async kill(): Promise<void> {
    this.program.kill('SIGKILL');
    await this.program.over;
  }

  /** The items that the client printed. Throws `NotShown` when it prints none. */
  get applied(): readonly Applied[] {
    if (this.program.applied.length === 0)
      throw new NotShown('The client does not print what it hands to its application.');
    return this.program.applied;
  }

  /** Resolves when the condition holds. Throws after `patienceMs`, or when the client has ended. */
  async until(
    what: string,
    condition: () => boolean,
    patienceMs: number = this.patienceMs,
  ): Promise<void> {
    const start = Date.now();
    for (const end = start + patienceMs; !condition();) {
      const { ended, endMessage } = this.program;
      if (ended !== undefined && Date.now() - ended.at > OUTPUT_GRACE_MS)
        throw new TimedOut(what, Date.now() - start, endMessage);
      if (Date.now() > end) throw new TimedOut(what, patienceMs, this.#seen());
      await this.pause(10);
    }
  }

  /** A summary of the client's actions so far, for messages about a wait in vain. */
  #seen(): string {
    const { calls } = this.server;
    const last = calls.slice(-3).map(({ method }) => method);
    return [
      calls.length === 0
        ? 'no request of the client'
        : `${calls.length} requests, the last ones ${last.join(', ')}`,
      `${this.program.applied.length} items printed`,
    ].join('; ');
  }

  /** Waits a fixed time, for checks that expect nothing to happen. */
  pause(ms: number): Promise<void> {
    return new Promise((resolve) => setTimeout(resolve, ms));
  }
}
