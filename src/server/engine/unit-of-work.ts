/**
 * The book: every subscription the engine is working on, and the one unit of work. A step changes the state in memory at
 * once and enters its writes; whatever the step wants done in the world waits until the commit that holds those writes is
 * on disk. All that happens in one turn of the event loop shares one commit.
 */
import { dueAt, step, type Input, type Step } from '../../protocol/core/index.ts';
import type { Effect, Subscription, TerminationReason } from '../../protocol/core/types.ts';
import { LocalError } from '../../protocol/wire/errors.ts';
import type { ReadEntry, Store, StoredSubscription, Tombstone, Write } from '../store/port.ts';

/** A subscription in memory. `state` may be one commit ahead of the disk; nobody outside sees it before it is there. */
export interface LoadedSubscription {
  readonly row: number;
  readonly createdOffset: number;
  state: Subscription;
  /** The newest log entries without a hole, or null when only the store has them. */
  tail: ReadEntry[] | null;
  tailBytes: number;
  /** Open streams and waiting pulls. */
  listeners: number;
  /** What the next commit has to write of `state`. */
  dirty: 'no' | 'progress' | 'configure' | 'create';
  /** Ended, and its end is entered: nothing may be written for it any more. */
  ended: boolean;
  /** Turn of the last use, for eviction. */
  usedAt: number;
  /** Grows when a number that was an event becomes a gap: what was read before must not be sent after somebody was told so. */
  revision: number;
  /** Of the book's memory, which a failed commit ends. */
  readonly generation: number;
}

export interface UnitOfWorkOptions {
  readonly store: Store;
  now(): number;
  /** Effects that need the world, in order, after their commit. */
  act(loaded: LoadedSubscription, effect: Extract<Effect, { type: 'wake' | 'announce' }>): void;
  /** Called at the end of the turn: a callback has work. May enter more steps into the same commit. */
  ready(loaded: LoadedSubscription): void;
  /** Called in the same turn: the subscription is over. Enters its end. */
  terminated(loaded: LoadedSubscription, reason: TerminationReason): void;
  /** A commit failed: memory was thrown away, whatever waited was told. */
  failed(cause: unknown): void;
  /** After each commit: the earliest `dueAt` it wrote. */
  due(at: number): void;
  /** How many idle subscriptions stay in memory. */
  readonly maxLoaded: number;
}

const NONE: ReadonlySet<number> = new Set();

/** How long a commit goes on gathering while every turn brings more, and how much. */
const GATHER_MS = 2;
const GATHER_SIZE = 2048;

interface Waiter {
  resolve(): void;
  reject(cause: unknown): void;
}

/** Writes and consequences of one commit. */
class Batch {
  /** In the order entered; a `Held` stands for its own creation, with the state it has by then. */
  readonly writes: (Write | LoadedSubscription)[] = [];
  readonly dirty = new Set<LoadedSubscription>();
  /** Their callbacks have work. Looked at when the turn is over, so that one delivery takes all that came in it. */
  readonly ready = new Set<LoadedSubscription>();
  readonly after: (() => void)[] = [];
  readonly waiters: Waiter[] = [];
  get size(): number {
    return this.writes.length + this.dirty.size;
  }
  get empty(): boolean {
    return (
      this.writes.length === 0 &&
      this.dirty.size === 0 &&
      this.ready.size === 0 &&
      this.after.length === 0
    );
  }
}

export class UnitOfWork {
  readonly #options: UnitOfWorkOptions;
  readonly #loaded = new Map<number, LoadedSubscription>();
  /** Rows on their way into memory. */
  readonly #loading = new Map<number, Promise<Set<number>>>();
  #batch = new Batch();
  #scheduled = false;
  #inFlight: Promise<void> | null = null;
  #turn = 0;
  /** How often memory was thrown away. */
  #generation = 0;

  constructor(options: UnitOfWorkOptions) {
    this.#options = options;
  }

  get size(): number {
    return this.#loaded.size;
  }

  /** The subscription if it is in memory. */
  get(row: number): LoadedSubscription | undefined {
    const loaded = this.#loaded.get(row);
    if (loaded !== undefined) loaded.usedAt = this.#turn;
    return loaded;
  }

  /** Whether this is still the subscription in memory. What was read from one that left may be of a commit that failed. */
  isCurrent(loaded: LoadedSubscription): boolean {
    return this.#loaded.get(loaded.row) === loaded;
  }

  /** Whether what was read of it at this revision may be sent. */
  isUnchanged(loaded: LoadedSubscription, revision: number): boolean {
    return this.isCurrent(loaded) && loaded.revision === revision;
  }

  /** Brings rows into memory and resolves with those that do not exist. Look with `peek`, in the same turn. */
  async load(rows: readonly number[]): Promise<ReadonlySet<number>> {
    for (;;) {
      const missing = rows.filter((row) => !this.#loaded.has(row));
      if (missing.length === 0) break;
      const fresh = missing.filter((row) => !this.#loading.has(row));
      // One load at a time for each row: the slower of two could bring back what the faster one's reader has changed since.
      if (fresh.length > 0) {
        const load = this.#load(fresh).finally(() => {
          for (const row of fresh) this.#loading.delete(row);
        });
        for (const row of fresh) this.#loading.set(row, load);
      }
      const found = await Promise.all(new Set(missing.map((row) => this.#loading.get(row)!)));
      // Rows that were there, or came, can have left again while this waited; only those that no load found do not exist.
      const existing = new Set(found.flatMap((some) => [...some]));
      const absent = new Set(missing.filter((row) => !existing.has(row)));
      if (rows.every((row) => this.#loaded.has(row) || absent.has(row))) {
        for (const row of rows) this.get(row);
        return absent;
      }
    }
    for (const row of rows) this.get(row);
    return NONE;
  }

  /** The subscription, from memory or from disk; undefined when it does not exist. */
  async getOrLoad(row: number): Promise<LoadedSubscription | undefined> {
    for (;;) {
      const here = this.get(row);
      if (here !== undefined) return here;
      const absent = await this.load([row]);
      // It may have left memory on the way here; only the store can say that it is not there.
      if (absent.has(row) && this.get(row) === undefined) return undefined;
    }
  }

  /** Resolves with the rows that exist. */
  async #load(rows: readonly number[]): Promise<Set<number>> {
    const stored = await this.#options.store.load(rows);
    for (const one of stored)
      if (!this.#loaded.has(one.row)) this.#loaded.set(one.row, this.#wrap(one, 'no'));
    return new Set(stored.map(({ row }) => row));
  }

  #wrap(stored: StoredSubscription, dirty: LoadedSubscription['dirty']): LoadedSubscription {
    return {
      ...stored,
      tail: null,
      tailBytes: 0,
      listeners: 0,
      dirty,
      ended: false,
      usedAt: this.#turn,
      revision: 0,
      generation: this.#generation,
    };
  }

  /** Enters a new subscription. */
  create(row: number, createdOffset: number, state: Subscription): LoadedSubscription {
    const loaded = this.#wrap({ row, createdOffset, state }, 'create');
    this.#loaded.set(row, loaded);
    this.#batch.dirty.add(loaded);
    this.#batch.writes.push(loaded);
    this.#schedule();
    return loaded;
  }

  /** Feeds one input to the subscription: the only place in the engine where a subscription changes. */
  step(loaded: LoadedSubscription, input: Input): Step {
    if (!this.isCurrent(loaded)) throw this.#stale(loaded);
    const now = this.#options.now();
    const result = step(loaded.state, input, now);
    if (result.refused !== undefined) return result;
    if (result.subscription !== loaded.state) {
      const before = loaded.state;
      loaded.state = result.subscription;
      if (loaded.dirty !== 'create') {
        const configured =
          before.version !== loaded.state.version ||
          before.callback !== loaded.state.callback ||
          input.type === 'configure';
        if (configured) loaded.dirty = 'configure';
        else if (loaded.dirty === 'no') loaded.dirty = 'progress';
      }
      this.#batch.dirty.add(loaded);
      if (before.floor !== loaded.state.floor) loaded.revision += 1;
      if (
        before.acked !== loaded.state.acked ||
        before.floor !== loaded.state.floor ||
        before.epoch !== loaded.state.epoch
      )
        this.#dropTail(loaded, before);
      this.#schedule();
    }
    for (const effect of result.effects) this.#enter(loaded, effect);
    return result;
  }

  #stale({ generation: life }: LoadedSubscription): Error {
    return life === this.#generation
      ? new Error('a subscription that left memory was stepped: hold it again after every await')
      : new LocalError(
          'store_failed',
          'a commit failed just now, and what was known before it is void; nothing was done, try again',
        );
  }

  #enter(loaded: LoadedSubscription, effect: Effect): void {
    switch (effect.type) {
      case 'gap':
        loaded.revision += 1;
        this.write({
          type: 'gap',
          row: loaded.row,
          from: effect.from,
          to: effect.to,
          reason: effect.reason,
        });
        // Entries in memory must tell the same story as those on disk.
        if (loaded.tail !== null)
          loaded.tail = loaded.tail.map((entry) =>
            entry.sequence >= effect.from && entry.sequence <= effect.to
              ? { ...entry, gap: effect.reason, encoded: null }
              : entry,
          );
        break;
      case 'trim':
        this.write({ type: 'trim', row: loaded.row, upTo: effect.upTo });
        break;
      case 'renumber':
        this.write({ type: 'renumber', row: loaded.row, by: effect.by });
        loaded.tail = null;
        break;
      case 'ready':
        this.#batch.ready.add(loaded);
        this.#schedule();
        break;
      case 'terminated':
        this.#options.terminated(loaded, effect.reason);
        break;
      case 'attempt':
        // The dispatcher, which claimed it, posts it after the commit.
        break;
      default:
        this.afterCommit(() => this.#options.act(loaded, effect));
    }
  }

  /** Something that is in memory must not be sent any more: let the store say what is there. */
  forgetTails(): void {
    for (const loaded of this.#loaded.values()) {
      loaded.tail = null;
      loaded.tailBytes = 0;
      loaded.revision += 1;
    }
  }

  /** Entries that are acknowledged or trimmed need not stay in memory. */
  #dropTail(loaded: LoadedSubscription, before: Subscription): void {
    if (loaded.tail === null) return;
    if (before.epoch !== loaded.state.epoch) {
      loaded.tail = null;
      loaded.tailBytes = 0;
      return;
    }
    const settled = Math.max(loaded.state.acked, loaded.state.floor);
    let count = 0;
    while (count < loaded.tail.length && loaded.tail[count]!.sequence <= settled) {
      loaded.tailBytes -= loaded.tail[count]!.encoded?.length ?? 0;
      count += 1;
    }
    if (count > 0) loaded.tail.splice(0, count);
  }

  /** Adds a write to the commit of this turn. */
  write(write: Write): void {
    this.#batch.writes.push(write);
    this.#schedule();
  }

  /** Enters the end of a subscription: its rows go, a tombstone stays. */
  end(loaded: LoadedSubscription, tombstone: Tombstone): void {
    if (loaded.ended) return;
    loaded.ended = true;
    this.write({ type: 'end', row: loaded.row, tombstone });
    this.afterCommit(() => this.#loaded.delete(loaded.row));
  }

  /** Runs once the commit of this turn is on disk; never if it fails. */
  afterCommit(run: () => void): void {
    this.#batch.after.push(run);
    this.#schedule();
  }

  /**
   * Resolves when everything entered so far is on disk; rejects with the store's error when it could not be. Call it in the
   * turn of the step it is to wait for: an older failure is not remembered.
   */
  commit(): Promise<void> {
    if (this.#batch.empty) return this.#inFlight ?? Promise.resolve();
    this.#schedule();
    return new Promise((resolve, reject) => this.#batch.waiters.push({ resolve, reject }));
  }

  #schedule(): void {
    if (this.#scheduled) return;
    this.#scheduled = true;
    // One commit for all that arrives in this turn; while one is being written, the next gathers.
    const since = performance.now();
    let size = this.#batch.size;
    const gather = (): void => {
      // Under load every turn brings more, and a commit costs the same for much as for little. When a turn brought nothing, or
      // for a batch that is large already, waiting would only cost time.
      const grown = this.#batch.size;
      if (grown > size && grown < GATHER_SIZE && performance.now() - since < GATHER_MS) {
        size = grown;
        setImmediate(gather);
      } else if (this.#inFlight === null) this.#run();
      else
        this.#inFlight.then(
          () => this.#run(),
          () => this.#run(),
        );
    };
    setImmediate(gather);
  }

  #run(): void {
    const flush = this.#flush();
    this.#inFlight = flush;
    const done = (): void => {
      if (this.#inFlight === flush) this.#inFlight = null;
    };
    flush.then(done, done);
  }

  async #flush(): Promise<void> {
    const batch = this.#batch;
    for (const loaded of batch.ready) if (this.isCurrent(loaded)) this.#options.ready(loaded);
    this.#batch = new Batch();
    this.#scheduled = false;
    this.#turn += 1;
    const saves: Write[] = [];
    let soonest = Number.POSITIVE_INFINITY;
    for (const loaded of batch.dirty) {
      if (loaded.dirty === 'no' || loaded.ended) continue;
      const due = dueAt(loaded.state);
      if (due !== null && due < soonest) soonest = due;
      if (loaded.dirty === 'create') continue;
      saves.push({ type: loaded.dirty, row: loaded.row, state: loaded.state, dueAt: due });
      loaded.dirty = 'no';
    }
    // In the order entered, because a key that one subscription gives up may be taken by the next in the same commit. Counters
    // come last: each row's are written once, as they are now.
    const writes = batch.writes
      .map((write) => ('type' in write ? write : creation(write)))
      .concat(saves);
    try {
      if (writes.length > 0) await this.#options.store.commit(writes);
    } catch (cause) {
      this.#forgetEverything(cause, batch);
      throw cause;
    }
    for (const run of batch.after) run();
    for (const waiter of batch.waiters) waiter.resolve();
    if (soonest !== Number.POSITIVE_INFINITY) this.#options.due(soonest);
    if (this.#loaded.size > this.#options.maxLoaded) this.#evict();
  }

  /**
   * The disk is the truth and memory ran ahead of it: throw memory away, the batch that gathered meanwhile included, since its
   * states build on the ones that were not written. Everything is loaded again when it is next needed.
   */
  #forgetEverything(cause: unknown, batch: Batch): void {
    const gathered = this.#batch;
    this.#batch = new Batch();
    this.#loaded.clear();
    this.#generation += 1;
    for (const waiter of batch.waiters) waiter.reject(cause);
    for (const waiter of gathered.waiters) waiter.reject(cause);
    this.#options.failed(cause);
  }

  #evict(): void {
    const goal = Math.floor(this.#options.maxLoaded * 0.9);
    for (const [row, loaded] of this.#loaded) {
      if (this.#loaded.size <= goal) break;
      const busy =
        loaded.dirty !== 'no' ||
        loaded.listeners > 0 ||
        loaded.state.attempt !== null ||
        loaded.usedAt >= this.#turn - 1 ||
        this.#batch.dirty.has(loaded);
      if (!busy) this.#loaded.delete(row);
    }
  }
}

function creation(loaded: LoadedSubscription): Write {
  loaded.dirty = 'no';
  return {
    type: 'create',
    row: loaded.row,
    createdOffset: loaded.createdOffset,
    state: loaded.state,
    dueAt: dueAt(loaded.state),
  };
}

/**
 * Runs `work`, and once more when its commit failed because the store is full. A commit holds all that arrived in one turn, and
 * an event of somebody else that does not fit is no reason to refuse an acknowledgement: the second time it stands alone,
 * since no event is accepted for a while (SEP: Limits).
 */
export async function retryWhenFull<T>(work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (cause) {
    if (!(cause instanceof LocalError) || cause.code !== 'store_full') throw cause;
    return work();
  }
}
