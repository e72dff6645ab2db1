/**
 * A whole simulation from one number: the production engine over a store, with a simulated clock,
 * randomness, endpoints and clients, and with crashes, rejected commits and lost answers. The same
 * seed gives the same run, so a failure can be repeated:
 *
 * ```ts
 * const { violations } = await simulate({ seed: 7, openStore: () => sqliteStore({ path: ':memory:',
 * key: undefined }) });
 * ```
 */
import { createEngine, type EngineOptions } from '../../src/server/engine/create-engine.ts';
import type { Egress, Log } from '../../src/server/engine/ports.ts';
import type { Opened, Store } from '../../src/server/store/port.ts';
import type { DeclaredTrigger, Engine } from '../../src/server/engine/verbs.ts';
import { LocalError } from '../../src/protocol/wire/errors.ts';
import { manualClock, type ManualClock } from '../../src/testing/clock.ts';
import { seededRandom } from '../../src/testing/random.ts';
import { SimulatedClients } from './simulated-clients.ts';
import { InvariantChecker } from './invariant-checker.ts';
import { MortalStore } from './reference-model.ts';
import { Endpoints, MemoryLedger, type Dice } from './peers.ts';

/** Which run, and over which store. */
export interface SimulateOptions {
  /** An integer that determines the whole run. */
  readonly seed: number;
  /** A new, empty store; it stays open through all crashes of the engine. */
  openStore(): Store;
  /** Number of actions before all faults end. Default 250. */
  readonly steps?: number;
  /** Wraps what the engine sees, to prove that a broken engine would be caught. */
  readonly sabotage?: {
    /** A store that breaks its contract; `world` lets it do so at a certain time. */
    store?(store: Store, world: { readonly clock: ManualClock }): Store;
    /** An egress that breaks its contract. */
    egress?(egress: Egress): Egress;
  };
  /** Called with each step, for reading along. */
  readonly log?: Log;
}

/** The result of a run. */
export interface SimulateResult {
  /** The given seed, to repeat the run. */
  readonly seed: number;
  /** Empty = every invariant was kept. */
  readonly violations: readonly string[];
  /** Counts of what happened, since a run in which nothing happens proves nothing. */
  readonly counts: Readonly<Record<string, number>>;
}

const TRIGGERS: readonly DeclaredTrigger[] = ['alpha', 'beta'].map((name) => ({
  type: {
    name,
    description: 'Something happened.',
    inputSchema: { type: 'object', properties: { topic: { type: 'string' } } },
    payloadSchema: { type: 'object' },
    retention:
      name === 'alpha'
        ? { maxAgeMs: 1_800_000, maxEvents: 20 }
        : { maxAgeMs: 7_200_000, maxEvents: 500 },
    history: { maxAgeMs: 600_000 },
  },
}));

/**
 * Simulated time after the last fault (ms): longer than the longest wait between two
 * attempts.
 */
const QUIET_MS = 2 * 3_600_000;

/** Runs one simulation. Never rejects for a fault of the engine; those are in `violations`. */
export async function simulate(options: SimulateOptions): Promise<SimulateResult> {
  const world = new World(options);
  await world.run(options.steps ?? 250);
  return world.result();
}

class World {
  readonly #options: SimulateOptions;
  readonly #clock = manualClock();
  readonly #dice: Dice;
  readonly #checker: InvariantChecker;
  readonly #ledger: MemoryLedger;
  readonly #endpoints: Endpoints;
  readonly #clients: SimulatedClients;
  readonly #counts = { crashes: 0, rotations: 0, refusedCommits: 0, steps: 0 };
  #inner: Store | null = null;
  #server: { readonly engine: Engine; readonly store: MortalStore; alive: boolean } | null = null;
  #faults = true;
  #runs = 0;

  constructor(options: SimulateOptions) {
    this.#options = options;
    this.#dice = dice(options.seed);
    this.#checker = new InvariantChecker(
      () => this.#clock.now(),
      (selection, event) => {
        const { name, data } = JSON.parse(event.encoded ?? '{}') as {
          name: string;
          data: { topic?: string };
        };
        const { topic } = selection.arguments as { topic?: string };
        return selection.name === name && (topic === undefined || topic === data.topic);
      },
    );
    this.#ledger = new MemoryLedger(this.#checker);
    this.#endpoints = new Endpoints(this.#checker, this.#ledger, this.#clock, this.#dice);
    this.#clients = new SimulatedClients({
      checker: this.#checker,
      ledger: this.#ledger,
      clock: this.#clock,
      dice: this.#dice,
      engine: () => this.#engine(),
    });
  }

  result(): SimulateResult {
    return {
      seed: this.#options.seed,
      violations: this.#checker.violations,
      counts: { ...this.#counts, ...this.#checker.counts, ...this.#clients.counts },
    };
  }

  async run(steps: number): Promise<void> {
    this.#inner = this.#options.openStore();
    await this.#inner.open(this.#clock.now());
    try {
      await this.#begin('new');
      for (let step = 0; step < steps && this.#checker.violations.length === 0; step += 1) {
        this.#counts.steps += 1;
        await this.#step();
      }
      if (this.#checker.violations.length === 0) await this.#quiet();
    } finally {
      this.#kill();
      await this.#inner.close();
    }
  }

  async #step(): Promise<void> {
    const { below, chance } = this.#dice;
    if (chance(0.012)) return this.#crash();
    this.#clients.act();
    await turns(below(4));
    if (chance(0.45))
      await this.#pass(chance(0.06) ? below(900_000) : below(chance(0.3) ? 20_000 : 400));
  }

  #engine(): Engine | null {
    return this.#server?.engine ?? null;
  }

  async #begin(continuity: Opened['continuity']): Promise<void> {
    const { below, chance } = this.#dice;
    const opened = this.#checker.model.reopened(continuity);
    const store = new MortalStore(
      this.#inner!,
      this.#checker.model,
      {
        delay: () => (chance(0.25) ? below(4) : 0),
        refusal: () => {
          if (!this.#faults || !chance(0.01)) return null;
          this.#counts.refusedCommits += 1;
          this.#checker.excuse();
          return chance(0.5)
            ? new LocalError('store_full', 'the simulation reports a full store')
            : new LocalError('store_failed', 'the simulation rejects the commit');
        },
      },
      opened,
    );
    const server = { alive: true } as { engine: Engine; store: MortalStore; alive: boolean };
    const { sabotage, log, seed } = this.#options;
    const egress = this.#endpoints.egress(() => server.alive);
    const engineOptions: EngineOptions = {
      store: sabotage?.store?.(store, { clock: this.#clock }) ?? store,
      egress: sabotage?.egress?.(egress) ?? egress,
      triggers: TRIGGERS,
      clock: this.#clock,
      random: seededRandom(seed * 1000 + this.#runs),
      quotas: { attempts: 3, loaded: 5 },
      batchEvents: 7,
      sequencerChunk: 4,
      ...(log === undefined ? {} : { log }),
    };
    this.#runs += 1;
    server.store = store;
    server.engine = createEngine(engineOptions);
    this.#server = server;
    let started = false;
    server.engine.start().then(
      () => {
        started = true;
      },
      (cause: unknown) => this.#checker.blame('start', String(cause)),
    );
    for (
      let tries = 0;
      !started && tries < 2000 && this.#checker.violations.length === 0;
      tries += 1
    )
      await turns(1);
    if (!started) {
      // A commit that is rejected at start fails the start, and the operator starts the server
      // again.
      this.#checker.violations.length = 0;
      await this.#crash();
    }
  }

  #kill(): void {
    if (this.#server === null) return;
    this.#server.alive = false;
    this.#server.store.die();
    this.#server = null;
    this.#clients.disconnected();
    this.#checker.crashed();
  }

  /** The process dies between two instructions; pending writes may or may not reach the disk. */
  async #crash(): Promise<void> {
    this.#counts.crashes += 1;
    this.#kill();
    await turns(this.#dice.below(6));
    await this.#pass(this.#dice.below(3_000));
    const lost = this.#dice.chance(0.15);
    if (lost) this.#counts.rotations += 1;
    await this.#begin(lost ? 'maybe_lost' : 'continued');
  }

  /** All faults end and clients clean up; in the end everything must have been drained. */
  async #quiet(): Promise<void> {
    this.#faults = false;
    this.#endpoints.trouble = false;
    await this.#pass(15_000);
    // The last fault may have been a rejected commit, from which the same process recovers.
    await this.#clients.settle(() => this.#pass(30_000));
    await this.#pass(QUIET_MS, 60_000);
    await this.#clients.collect(() => this.#pass(5_000));
    if (this.#checker.violations.length > 0) return;
    this.#checker.finish(this.#ledger.cursors);
    let closed = false;
    void this.#engine()
      ?.close()
      .then(
        () => {
          closed = true;
        },
        (cause: unknown) => this.#checker.blame('close', String(cause)),
      );
    await this.#pass(30_000);
    if (!closed) this.#checker.blame('close', 'the engine did not close');
  }

  /** Advances the clock; every timer on the way gets some turns of the event loop for its work. */
  async #pass(ms: number, atMost = Number.POSITIVE_INFINITY): Promise<void> {
    let left = ms;
    while (left > 0 && this.#checker.violations.length === 0) {
      const leap = Math.min(left, this.#clock.nextIn ?? left, atMost);
      await this.#clock.run(leap);
      await turns(8);
      left -= Math.max(leap, 1);
    }
  }
}

function dice(seed: number): Dice {
  const { uniform } = seededRandom(seed ^ 0x5eed);
  const below = (count: number): number => Math.floor(uniform() * count);
  return {
    below,
    chance: (probability) => uniform() < probability,
    pick: (from) => from[below(from.length)]!,
  };
}

async function turns(count: number): Promise<void> {
  for (let turn = 0; turn < count; turn += 1) await new Promise((resolve) => setImmediate(resolve));
}
