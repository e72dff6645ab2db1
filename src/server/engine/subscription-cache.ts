/**
 * The cache of subscriptions in memory. Each row has at most one `LoadedSubscription`, so that
 * every part of the engine sees the same state. Above a limit, idle subscriptions are evicted.
 */
import type { GapReason, Subscription } from '../../protocol/core/types.ts';
import type { ReadEntry, Store, StoredSubscription } from '../store/port.ts';

/** Most log entries kept in memory for one subscription. */
const TAIL_ENTRIES = 512;
/** Most characters (UTF-16 code units) of the events in these entries. */
const TAIL_CHARS = 2 * 1024 * 1024;
/** Share of the limit that remains after an eviction. */
const EVICTION_GOAL = 0.9;

const NONE: ReadonlySet<number> = new Set();

/**
 * One subscription in memory. Only the unit of work changes its state. The state may be one commit
 * ahead of the disk, so nothing of it leaves the server before that commit.
 */
export class LoadedSubscription {
  readonly row: number;
  readonly createdOffset: number;
  /** Generation of the cache at the time of the load; a failed commit starts a new generation. */
  readonly generation: number;
  /** The cache's count of commits at the last use, for eviction. */
  usedAt: number;
  #state: Subscription;
  #ended = false;
  #revision = 0;
  #listeners = 0;
  /** The newest entries of the log, contiguous up to its head; null = only the store has them. */
  #tail: ReadEntry[] | null = null;
  #tailChars = 0;

  constructor({ row, createdOffset, state }: StoredSubscription, generation: number, turn: number) {
    this.row = row;
    this.createdOffset = createdOffset;
    this.generation = generation;
    this.usedAt = turn;
    this.#state = state;
  }

  get state(): Subscription {
    return this.#state;
  }
  /** True = its end is on disk or in the next commit; no further write may name its row. */
  get ended(): boolean {
    return this.#ended;
  }
  /**
   * Grows when an event of the log becomes a gap. Entries that were read at an earlier revision
   * must not be sent.
   */
  get revision(): number {
    return this.#revision;
  }
  /** Open streams, waiting pulls and listeners of bindings. */
  get listeners(): number {
    return this.#listeners;
  }

  /** Replaces the state. Drops entries from memory that the new state acknowledges or trims. */
  advance(next: Subscription): void {
    const before = this.#state;
    this.#state = next;
    if (before.floor !== next.floor) this.#revision += 1;
    if (before.epoch !== next.epoch) this.forgetTail();
    else if (before.acked !== next.acked || before.floor !== next.floor)
      this.#dropTail(Math.max(next.acked, next.floor));
  }

  end(): void {
    this.#ended = true;
  }

  setListeners(count: number): void {
    this.#listeners = count;
  }

  /**
   * Keeps a new entry in memory if a drain follows the end of the log. Above the limits, drops all
   * entries from memory, and drains read the store. Call it before the step that increments `head`.
   */
  append(entry: ReadEntry): void {
    const { callback, head, acked, floor } = this.#state;
    const drained = callback !== null || this.#listeners > 0;
    if (this.#tail === null && drained && head === Math.max(acked, floor)) this.#tail = [];
    if (this.#tail === null) return;
    const size = entry.encoded?.length ?? 0;
    if (!drained || this.#tail.length >= TAIL_ENTRIES || this.#tailChars + size > TAIL_CHARS) {
      this.forgetTail();
      return;
    }
    this.#tail.push(entry);
    this.#tailChars += size;
  }

  /** At most `limit` entries after `after`; null = only the store has them. */
  tailAfter(after: number, limit: number): readonly ReadEntry[] | null {
    if (this.#tail === null || after < this.#state.floor) return null;
    const first = this.#tail[0]?.sequence ?? this.#state.head + 1;
    if (first > after + 1) return null;
    return this.#tail.slice(after + 1 - first, after + 1 - first + limit);
  }

  /** Turns entries in memory into gaps, as the commit does on disk. */
  replaceByGap(from: number, to: number, reason: GapReason): void {
    this.#revision += 1;
    this.#tail =
      this.#tail?.map((entry) =>
        entry.sequence >= from && entry.sequence <= to
          ? { ...entry, gap: reason, encoded: null }
          : entry,
      ) ?? null;
    this.#tailChars = (this.#tail ?? []).reduce(
      (sum, { encoded }) => sum + (encoded?.length ?? 0),
      0,
    );
  }

  forgetTail(): void {
    this.#tail = null;
    this.#tailChars = 0;
  }

  /** Makes every reader ask the store again. */
  invalidate(): void {
    this.forgetTail();
    this.#revision += 1;
  }

  #dropTail(upTo: number): void {
    if (this.#tail === null) return;
    let count = 0;
    while (count < this.#tail.length && this.#tail[count]!.sequence <= upTo) {
      this.#tailChars -= this.#tail[count]!.encoded?.length ?? 0;
      count += 1;
    }
    if (count > 0) this.#tail.splice(0, count);
  }
}

export interface SubscriptionCacheOptions {
  readonly store: Pick<Store, 'load'>;
  /** Subscriptions in memory above which idle ones are evicted. */
  readonly maxLoaded: number;
}

export class SubscriptionCache {
  readonly #options: SubscriptionCacheOptions;
  readonly #loaded = new Map<number, LoadedSubscription>();
  /** Loads in progress, by row; each resolves with the rows that exist. */
  readonly #loading = new Map<number, Promise<Set<number>>>();
  #turn = 0;
  #generation = 0;

  constructor(options: SubscriptionCacheOptions) {
    this.#options = options;
  }

  get size(): number {
    return this.#loaded.size;
  }
  /** Number of times the cache was cleared. */
  get generation(): number {
    return this.#generation;
  }

  /**
   * The subscription if it is in memory. The result is valid until the next `await`; call `get`
   * again afterwards.
   */
  get(row: number): LoadedSubscription | undefined {
    const loaded = this.#loaded.get(row);
    if (loaded !== undefined) loaded.usedAt = this.#turn;
    return loaded;
  }

  /**
   * Whether this is still the subscription in memory. If not, its state may be one that a failed
   * commit discarded.
   */
  isCurrent(loaded: LoadedSubscription): boolean {
    return this.#loaded.get(loaded.row) === loaded;
  }

  /** Whether entries read at this revision may be sent. */
  isUnchanged(loaded: LoadedSubscription, revision: number): boolean {
    return this.isCurrent(loaded) && loaded.revision === revision;
  }

  /**
   * Loads rows; resolves with those that do not exist. Call `get` in the same turn, before a row
   * can be evicted.
   */
  async load(rows: readonly number[]): Promise<ReadonlySet<number>> {
    for (;;) {
      const missing = rows.filter((row) => !this.#loaded.has(row));
      if (missing.length === 0) break;
      const fresh = missing.filter((row) => !this.#loading.has(row));
      // One load at a time for each row: the slower of two would restore a state that has changed
      // since.
      if (fresh.length > 0) {
        const load = this.#load(fresh).finally(() => {
          for (const row of fresh) this.#loading.delete(row);
        });
        for (const row of fresh) this.#loading.set(row, load);
      }
      const found = await Promise.all(new Set(missing.map((row) => this.#loading.get(row)!)));
      // A row can be evicted during the wait. A row does not exist only if no load found it.
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

  /** The subscription, from memory or from the store; undefined when it does not exist. */
  async getOrLoad(row: number): Promise<LoadedSubscription | undefined> {
    for (;;) {
      const loaded = this.get(row);
      if (loaded !== undefined) return loaded;
      const absent = await this.load([row]);
      // Another call may have created or evicted the row meanwhile, so its absence from memory
      // alone does not show that it does not exist.
      if (absent.has(row) && this.get(row) === undefined) return undefined;
    }
  }

  /** Adds a subscription that the store does not have yet. */
  add(created: StoredSubscription): LoadedSubscription {
    const loaded = new LoadedSubscription(created, this.#generation, this.#turn);
    this.#loaded.set(created.row, loaded);
    return loaded;
  }

  delete(row: number): void {
    this.#loaded.delete(row);
  }

  /** Removes everything after a failed commit, whose states are not on disk. */
  clear(): void {
    this.#loaded.clear();
    this.#generation += 1;
  }

  /** Makes every reader ask the store again, for all subscriptions. */
  invalidateAll(): void {
    for (const loaded of this.#loaded.values()) loaded.invalidate();
  }

  /** Counts a commit, for eviction. */
  nextTurn(): void {
    this.#turn += 1;
  }

  /**
   * Evicts idle subscriptions if there are too many, except those with `isDirty`, whose state is
   * not on disk.
   */
  evict(isDirty: (loaded: LoadedSubscription) => boolean): void {
    if (this.#loaded.size <= this.#options.maxLoaded) return;
    const goal = Math.floor(this.#options.maxLoaded * EVICTION_GOAL);
    for (const [row, loaded] of this.#loaded) {
      if (this.#loaded.size <= goal) break;
      const busy =
        loaded.listeners > 0 ||
        loaded.state.attempt !== null ||
        loaded.usedAt >= this.#turn - 1 ||
        isDirty(loaded);
      if (!busy) this.#loaded.delete(row);
    }
  }

  async #load(rows: readonly number[]): Promise<Set<number>> {
    const stored = await this.#options.store.load(rows);
    for (const one of stored) if (!this.#loaded.has(one.row)) this.add(one);
    return new Set(stored.map(({ row }) => row));
  }
}
