/**
 * Groups steps, writes and effects into commits. A step changes the state in memory at once and
 * adds its writes to the current batch; most of its effects run after the commit of that batch. All
 * writes of one turn of the event loop share one commit.
 */
import { dueAt, step, type Bounds, type Input, type Step } from '../../protocol/core/index.ts';
import type {
  Attempt,
  Effect,
  Subscription,
  TerminationReason,
} from '../../protocol/core/types.ts';
import { LocalError } from '../../protocol/wire/errors.ts';
import type { Notice, Store, Tombstone, Write } from '../store/port.ts';
import type { LoadedSubscription, SubscriptionCache } from './subscription-cache.ts';

/** Most turns of the event loop for which a commit waits while its batch grows. */
const GATHER_TURNS = 4;
/** Writes and changed states in a batch at which the commit no longer waits. */
const GATHER_SIZE = 2048;

export interface UnitOfWorkOptions {
  readonly store: Pick<Store, 'commit'>;
  readonly cache: SubscriptionCache;
  readonly bounds: Bounds;
  /** Epoch milliseconds. */
  now(): number;
  /** Called after the commit, in the order of the steps, for effects that concern listeners. */
  onEffect(
    loaded: LoadedSubscription,
    effect: Extract<Effect, { type: 'wake' | 'announce' }>,
  ): void;
  /**
   * Called before the commit for a subscription whose callback has something to deliver. May add
   * steps to the same commit.
   */
  onReady(loaded: LoadedSubscription): void;
  /**
   * Called in the same turn when a subscription terminates, with the attempt that was in flight.
   * Must call `end`.
   */
  onTerminated(
    loaded: LoadedSubscription,
    reason: TerminationReason,
    attempt: Attempt | null,
  ): void;
  /**
   * Called after a failed commit, when the cache is cleared and every waiting `commit` has
   * rejected.
   */
  onFailed(cause: unknown): void;
  /** Called after a commit with the earliest `dueAt` that it wrote. */
  onDue(at: number): void;
}

interface Waiter {
  resolve(): void;
  reject(cause: unknown): void;
}

/** The write by which the commit saves a changed state. */
type Change = 'progress' | 'configure' | 'create';

/** The writes of one commit and what follows it. */
class Batch {
  /**
   * In the order of the calls. A `created` becomes a `create` with the state at the time of the
   * commit.
   */
  readonly writes: (Write | { readonly type: 'created'; readonly loaded: LoadedSubscription })[] =
    [];
  readonly changed = new Map<LoadedSubscription, Change>();
  /**
   * Subscriptions whose callback has something to deliver. Handled when the batch is complete, so
   * that one delivery takes all its events.
   */
  readonly ready = new Set<LoadedSubscription>();
  readonly after: (() => void)[] = [];
  readonly waiters: Waiter[] = [];
  get size(): number {
    return this.writes.length + this.changed.size;
  }
  get empty(): boolean {
    return this.size === 0 && this.ready.size === 0 && this.after.length === 0;
  }
}

export class UnitOfWork {
  readonly #options: UnitOfWorkOptions;
  readonly #cache: SubscriptionCache;
  #batch = new Batch();
  #scheduled = false;
  #inFlight: Promise<void> | null = null;

  constructor(options: UnitOfWorkOptions) {
    this.#options = options;
    this.#cache = options.cache;
  }

  /** Adds a new subscription to the cache and to the commit. */
  create(row: number, createdOffset: number, state: Subscription): LoadedSubscription {
    const loaded = this.#cache.add({ row, createdOffset, state });
    this.#batch.changed.set(loaded, 'create');
    this.#batch.writes.push({ type: 'created', loaded });
    this.#schedule();
    return loaded;
  }

  /**
   * Applies one input to a subscription. No other code of the engine changes a subscription.
   * Throws when the handle is stale; a refused input changes nothing.
   */
  step(loaded: LoadedSubscription, input: Input): Step {
    if (!this.#cache.isCurrent(loaded)) throw this.#stale(loaded);
    const before = loaded.state;
    const result = step(before, input, this.#options.now(), this.#options.bounds);
    if (result.refused !== undefined) return result;
    const after = result.subscription;
    if (after !== before) {
      const configured =
        before.version !== after.version ||
        before.callback !== after.callback ||
        input.type === 'configure';
      const change = this.#batch.changed.get(loaded);
      if (change !== 'create')
        this.#batch.changed.set(loaded, configured ? 'configure' : (change ?? 'progress'));
      loaded.advance(after);
      this.#schedule();
    }
    for (const effect of result.effects) this.#add(loaded, effect, before);
    return result;
  }

  #stale({ generation }: LoadedSubscription): Error {
    return generation === this.#cache.generation
      ? new Error('Stale handle: get the subscription from the cache again after every await.')
      : new LocalError(
          'store_failed',
          'A commit failed during this call and its changes were rolled back. Try again.',
        );
  }

  #add(loaded: LoadedSubscription, effect: Effect, before: Subscription): void {
    const { row } = loaded;
    switch (effect.type) {
      case 'gap': {
        const { from, to, reason } = effect;
        this.write({ type: 'gap', row, from, to, reason });
        loaded.replaceByGap(from, to, reason);
        break;
      }
      case 'trim':
        this.write({ type: 'trim', row, upTo: effect.upTo });
        break;
      case 'renumber':
        this.write({ type: 'renumber', row, by: effect.by });
        loaded.forgetTail();
        break;
      case 'ready':
        this.#batch.ready.add(loaded);
        this.#schedule();
        break;
      case 'terminated':
        this.#options.onTerminated(loaded, effect.reason, before.attempt);
        break;
      case 'attempt':
        // The dispatcher, which made the claim, posts the attempt after the commit.
        break;
      default:
        this.afterCommit(() => this.#options.onEffect(loaded, effect));
    }
  }

  /** Adds a write to the current batch. */
  write(write: Write): void {
    this.#batch.writes.push(write);
    this.#schedule();
  }

  /**
   * Adds the deletion of an ended subscription to the current batch, with its tombstone and the
   * notice for its callback.
   */
  end(loaded: LoadedSubscription, tombstone: Tombstone, notice?: Notice): void {
    if (loaded.ended) return;
    loaded.end();
    this.write({
      type: 'end',
      row: loaded.row,
      tombstone,
      ...(notice === undefined ? {} : { notice }),
    });
    this.afterCommit(() => this.#cache.delete(loaded.row));
  }

  /** Calls `run` when the commit of the current batch is on disk; never if that commit fails. */
  afterCommit(run: () => void): void {
    this.#batch.after.push(run);
    this.#schedule();
  }

  /**
   * Resolves when everything added so far is on disk; rejects with the store's error when the
   * commit failed. Call it in the same turn as the step that it waits for: it does not report a
   * commit that failed before the call.
   */
  commit(): Promise<void> {
    if (this.#batch.empty) return this.#inFlight ?? Promise.resolve();
    this.#schedule();
    return new Promise((resolve, reject) => this.#batch.waiters.push({ resolve, reject }));
  }

  /** Commits after this turn, or after the commit in flight. */
  #schedule(): void {
    if (this.#scheduled) return;
    this.#scheduled = true;
    let { size } = this.#batch;
    let turns = 0;
    // Under load every turn adds writes, and a large commit costs hardly more than a small one.
    // When a turn adds nothing, or the batch is large, waiting gains nothing. Turns are counted,
    // not milliseconds, so that a simulation repeats exactly.
    const gather = (): void => {
      const grown = this.#batch.size;
      if (grown > size && grown < GATHER_SIZE && turns < GATHER_TURNS) {
        size = grown;
        turns += 1;
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
    for (const loaded of batch.ready)
      if (this.#cache.isCurrent(loaded)) this.#options.onReady(loaded);
    this.#batch = new Batch();
    this.#scheduled = false;
    this.#cache.nextTurn();
    const states: Write[] = [];
    let soonest = Number.POSITIVE_INFINITY;
    for (const [loaded, change] of batch.changed) {
      if (loaded.ended) continue;
      const { row, state } = loaded;
      const due = dueAt(state);
      if (due !== null && due < soonest) soonest = due;
      if (change !== 'create') states.push({ type: change, row, state, dueAt: due });
    }
    // In the order of the calls, because one subscription may take a key that another gives up in
    // the same commit. States come last, once per row.
    const writes = batch.writes
      .map((write) => (write.type === 'created' ? creationOf(write.loaded) : write))
      .concat(states);
    try {
      if (writes.length > 0) await this.#options.store.commit(writes);
    } catch (cause) {
      this.#rollback(cause, batch);
      throw cause;
    }
    for (const run of batch.after) run();
    for (const waiter of batch.waiters) waiter.resolve();
    if (soonest !== Number.POSITIVE_INFINITY) this.#options.onDue(soonest);
    this.#cache.evict((loaded) => this.#batch.changed.has(loaded));
  }

  /**
   * Discards everything in memory, including the batch that grew during the commit, because its
   * states follow from states that were not written. Subscriptions are loaded again on demand.
   */
  #rollback(cause: unknown, failed: Batch): void {
    const gathered = this.#batch;
    this.#batch = new Batch();
    this.#cache.clear();
    for (const waiter of failed.waiters) waiter.reject(cause);
    for (const waiter of gathered.waiters) waiter.reject(cause);
    this.#options.onFailed(cause);
  }
}

function creationOf({ row, createdOffset, state }: LoadedSubscription): Write {
  return { type: 'create', row, createdOffset, state, dueAt: dueAt(state) };
}

/**
 * Runs `work` once more if its commit failed because the store is full. The failed commit may
 * have contained an event of another caller that did not fit. The second one contains none, because
 * the engine accepts no events for a while after a failed commit (SEP: Limits).
 */
export async function retryWhenFull<T>(work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (cause) {
    if (!(cause instanceof LocalError) || cause.code !== 'store_full') throw cause;
    return work();
  }
}
