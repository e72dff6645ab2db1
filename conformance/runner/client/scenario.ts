/** A scenario against a client: a scripted server, the command, and what was seen between them. */
import { Looks, NotApplicable, NotShown } from '../looks.ts';
import type { Era } from '../wire/session.ts';
import type { Call, ServedStream } from './exchange.ts';
import { Program, type Applied, type Context } from './program.ts';
import { ScriptedServer } from './server.ts';

/** One scenario: a story with a server of its own. */
export interface ClientScenario {
  readonly name: string;
  /** One sentence. */
  readonly about: string;
  /** Names of requirements without prefix. Each is looked at before the scenario ends. */
  readonly checks: readonly string[];
  /** Default: the newest revision the client speaks. `each`: in every one. */
  readonly eras?: 'each';
  run(t: ClientTest): Promise<void>;
}

/** Keeps the type while letting a module read as data. */
export const clientScenario = (definition: ClientScenario): ClientScenario => definition;

/** For those who know what they will see. */
export interface Haste {
  /** How long something may take that has to happen soon. */
  readonly patienceMs?: number;
  /** The scenario ends when this check is seen to be broken. */
  readonly enough?: string | undefined;
}

/** An acknowledgement, however it was said. */
export interface Acknowledged {
  readonly epoch: string;
  readonly sequence: number;
  readonly at: number;
}

/** How long a scenario waits for what has to happen soon. Programs are slow to start, and reconnect when they like. */
const PATIENCE_MS = 25_000;
const DURATION_MS = 300_000;
/** A program that has ended may have said its last word a moment before it is read. */
const LAST_WORD_MS = 100;

/** One running scenario. What it opens is closed when it ends. */
export class ClientTest {
  readonly server: ScriptedServer;
  readonly era: Era;
  /** How long something may take that has to happen soon. */
  readonly patienceMs: number;
  readonly #command: string;
  readonly #scenario: string;
  readonly #looks: Looks;
  readonly #enough: string | undefined;
  /** The last one runs, or ran. */
  readonly #programs: Program[] = [];
  /** Acknowledgements that came as answers to callbacks. */
  readonly #answered: Acknowledged[] = [];

  private constructor(
    server: ScriptedServer,
    command: string,
    scenario: string,
    looks: Looks,
    { patienceMs, enough }: Required<Haste>,
  ) {
    this.server = server;
    this.era = server.era;
    this.#command = command;
    this.#scenario = scenario;
    this.#looks = looks;
    this.patienceMs = patienceMs;
    this.#enough = enough;
  }

  /** Runs a scenario in one revision and returns what it saw. */
  static async run(
    definition: ClientScenario,
    command: string,
    era: Era,
    { patienceMs = PATIENCE_MS, enough }: Haste = {},
  ): Promise<Looks> {
    const looks = new Looks(
      definition.eras === 'each' ? `${definition.name} (${era})` : definition.name,
      definition.checks,
    );
    const server = await ScriptedServer.listen(era);
    const test = new ClientTest(server, command, definition.name, looks, { patienceMs, enough });
    let failure: unknown;
    try {
      await definition.run(test);
    } catch (error) {
      failure = error;
    }
    await Promise.all(test.#programs.map((program) => program.stop()));
    await server.close();
    looks.close(failure);
    return looks;
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
      throw new Error('what was looked for was seen');
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

  /** Runs the command and waits until it drains, in whatever way; a stream is what it is asked for. */
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

  /** The same in this way. Throws `NotApplicable` when it does so in another. */
  async drain(drain: 'stream' | 'pull', context: Partial<Context> = {}): Promise<void> {
    const actual = await this.follow({ drain, ...context });
    if (actual !== drain)
      throw new NotApplicable(`the client does not drain by ${drain}; it drains by ${actual}`);
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

  /** What was said to be done in the log's present epoch. */
  get acked(): number {
    return Math.max(
      0,
      ...this.acks
        .filter(({ epoch }) => epoch === this.server.log.epoch)
        .map(({ sequence }) => sequence),
    );
  }

  /** Waits until the client has acknowledged up to here, in the log's present epoch. */
  async untilAcked(sequence: number): Promise<void> {
    await this.until(`the client to acknowledge ${sequence}`, () => this.acked >= sequence);
  }

  /** Requests that drain: `triggers/stream` and `triggers/pull`. */
  get draining(): readonly Call[] {
    return this.server.callsOf('triggers/stream', 'triggers/pull');
  }

  /** The next one after this moment, and where it begins: at `after`, at what it acknowledges with it, or at what the server has acknowledged. */
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

  /** The open stream. Waits for it. */
  async stream(): Promise<ServedStream> {
    await this.until('an open stream', () => this.server.streams.some(({ open }) => open));
    return this.server.streams.findLast(({ open }) => open)!;
  }

  /** Sends to the callback and takes note of the answer. */
  async callBack(
    ...args: Parameters<ScriptedServer['callBack']>
  ): ReturnType<ScriptedServer['callBack']> {
    const answered = await this.server.callBack(...args);
    if (answered.status === 200 && Number.isInteger(answered.body?.ack))
      this.#answered.push({ epoch: args[0].epoch, sequence: answered.body.ack, at: Date.now() });
    return answered;
  }

  /** Kills it, as a crash does; what it had said by then is read. */
  async kill(): Promise<void> {
    this.program.kill('SIGKILL');
    await this.program.over;
  }

  /** What the client says it has handed on. Throws `NotShown` when it says nothing. */
  get applied(): readonly Applied[] {
    if (this.program.applied.length === 0)
      throw new NotShown('the client does not print what it hands to its application');
    return this.program.applied;
  }

  /** Resolves when the condition holds. Throws with `what` when it has not come true in time, or cannot because the client has ended. */
  async until(
    what: string,
    condition: () => boolean,
    patienceMs: number = this.patienceMs,
  ): Promise<void> {
    for (const end = Date.now() + patienceMs; !condition();) {
      const { ended, epitaph } = this.program;
      if (ended !== undefined && Date.now() - ended.at > LAST_WORD_MS)
        throw new Error(`waited for ${what}, but ${epitaph}`);
      if (Date.now() > end) throw new Error(`waited ${patienceMs / 1000} s for ${what}`);
      await this.pause(10);
    }
  }

  /** Nothing can be waited for when nothing is what should happen: this long is looked at. */
  pause(ms: number): Promise<void> {
    return new Promise((resolve) => setTimeout(resolve, ms));
  }
}
