/**
 * The embedded store on `node:sqlite`: one file, one process, every commit synced to disk before it
 * resolves. The path `:memory:` is a volatile store. Calls block during a sync, although the port
 * is asynchronous.
 *
 * @packageDocumentation
 */
import { randomBytes } from 'node:crypto';
import type { DatabaseSync } from 'node:sqlite';
import type { EventIdentity, Opened, Store, Write } from '../../store/port.ts';
import { LocalError } from '../../../protocol/wire/errors.ts';
import { readWitness, WitnessFile } from './continuity.ts';
import { openDatabase } from './database.ts';
import { storeError, storeFenced } from './errors.ts';
import { canonicalPath, createPrivate, lockStore } from './files.ts';
import { saveStoreMeta, type StoreMeta } from './store-meta.ts';
import { takeOver } from './ownership.ts';
import { prepareQueries, type Queries } from './queries.ts';
import { pageQuota, type PageQuota } from './quota.ts';
import * as reads from './reads.ts';
import { migrate } from './schema.ts';
import { createCipher, type Cipher } from './cipher.ts';
import { apply, CommitTotals, type Counts } from './writes.ts';

/** Location, key and limits of the embedded store. */
export interface SqliteStoreOptions {
  /**
   * The database file; its directory must exist. The store creates `-wal`, `-shm`, `.lock` and
   * `.instance` beside it. `:memory:` = volatile. Back up the database and `-wal`, but never
   * `.instance`: the store compares it with the database to detect a restored backup.
   */
  readonly path: string;
  /**
   * The key that encrypts callback URLs and secrets in the file, 32 bytes; undefined = callbacks
   * cannot be stored. A `:memory:` store without a key generates one.
   */
  readonly key: Uint8Array | undefined;
  /**
   * Most bytes of the database file, at least 1 MiB. Leave at least 64 MiB more of disk space, so
   * that acknowledging and trimming still work when the store is full. Default 4 GiB (no limit for
   * `:memory:`); null = no limit.
   */
  readonly maxBytes?: number | null;
  /**
   * Integrity check at open. `quick` (default) reads every page once; `full` also compares indexes
   * with tables; `none` is for files too large to be read at every start.
   */
  readonly check?: 'quick' | 'full' | 'none';
  /** Receives each warning once. A warning is a problem that does not stop the store. */
  readonly warn?: (message: string) => void;
}

const DEFAULT_MAX_BYTES = 4 * 1024 ** 3;
const VOLATILE = ':memory:';

/**
 * Creates an embedded store for `createEngine`; the engine's `start` opens it. Every method rejects
 * with a `LocalError`: `store_full`, `store_corrupt`, `store_locked`, `store_failed`,
 * `store_fenced`, `key_unknown`, `config_invalid` or `closed`.
 */
export function sqliteStore(options: SqliteStoreOptions): Store {
  return new SqliteStore(options);
}

/** The resources of an open store. */
interface Session {
  readonly database: DatabaseSync;
  readonly queries: Queries;
  readonly cipher: Cipher | null;
  readonly quota: PageQuota;
  readonly witness: WitnessFile | null;
  readonly unlock: () => void;
  meta: StoreMeta;
  counts: Counts;
  /** See `CommitTotals.sweptTo`. */
  sweptTo: number;
}

class SqliteStore implements Store {
  readonly durability: Store['durability'];
  readonly #options: SqliteStoreOptions;
  #session: Session | null = null;
  readonly #warned = new Set<string>();

  constructor(options: SqliteStoreOptions) {
    this.#options = options;
    this.durability = options.path === VOLATILE ? 'volatile' : 'durable';
  }

  async open(_now: number): Promise<Opened> {
    if (this.#session !== null)
      throw new LocalError(
        'store_failed',
        'The store is already open. Close it first, or create another one.',
      );
    const { path: given, check = 'quick', maxBytes = DEFAULT_MAX_BYTES } = this.#options;
    const cleanup: (() => void)[] = [];
    try {
      const volatile = this.durability === 'volatile';
      const cipher = this.#createCipher();
      const path = volatile ? given : canonicalPath(given);
      const unlock = volatile ? () => {} : lockStore(path);
      cleanup.push(unlock);
      if (!volatile) createPrivate(path);
      const database = openDatabase(path, check);
      cleanup.push(() => database.close());
      migrate(database);
      const queries = prepareQueries(database);
      const pages = pageQuota(
        database,
        queries,
        volatile && this.#options.maxBytes === undefined ? null : maxBytes,
      );
      const before = volatile ? null : readWitness(`${path}.instance`);
      const { continuity, meta } = transact(database, queries, () =>
        takeOver(queries, cipher, before),
      );
      const witness = volatile ? null : new WitnessFile(`${path}.instance`);
      if (witness !== null) cleanup.push(() => witness.close());
      witness?.write(meta);
      witness?.sync();
      this.#session = {
        database,
        queries,
        cipher,
        quota: pages,
        witness,
        unlock,
        meta,
        counts: reads.count(queries),
        sweptTo: 0,
      };
      const { generation, lastOffset, nextRow, checkpoint } = meta;
      return { continuity, generation, lastOffset, nextRow, checkpoint };
    } catch (cause) {
      for (const undo of cleanup.reverse()) undo();
      throw storeError(cause);
    }
  }

  #createCipher(): Cipher | null {
    const { key, path } = this.#options;
    if (key !== undefined) return createCipher(key);
    return path === VOLATILE ? createCipher(randomBytes(32)) : null;
  }

  async commit(writes: readonly Write[]): Promise<void> {
    const session = this.#open();
    if (writes.length === 0) return;
    const { database, queries, cipher, quota, meta: before } = session;
    const totals = new CommitTotals(before, session.counts, session.sweptTo);
    try {
      session.meta = transact(database, queries, () => {
        if (reads.one<number>(queries.generation) !== before.generation) throw storeFenced();
        for (const write of writes) apply(write, { queries, cipher, totals });
        const { lastOffset, nextRow, checkpoint } = totals;
        const meta = { ...before, commits: before.commits + 1, lastOffset, nextRow, checkpoint };
        saveStoreMeta(queries, meta);
        quota.check(writes);
        return meta;
      });
    } catch (cause) {
      throw storeError(cause);
    } finally {
      if (totals.redacted) queries.eraseCheaply();
    }
    session.counts = totals.counts;
    session.sweptTo = totals.sweptTo;
    this.#afterCommit(session, totals.redacted);
  }

  /** Runs after COMMIT. An error here must not reject the commit, which is on disk. */
  #afterCommit({ witness, meta, queries }: Session, redacted: boolean): void {
    try {
      witness?.write(meta);
    } catch {
      this.#warn(
        'The .instance file beside the store cannot be written. Until it can, a restored backup may go unnoticed.',
      );
    }
    if (!redacted) return;
    try {
      // The write-ahead log still contains the old pages.
      queries.emptyWal.get();
    } catch {
      this.#warn('Redacted data may remain in the -wal file until the next checkpoint.');
    }
  }

  #warn(message: string): void {
    if (!this.#warned.has(message)) this.#options.warn?.(message);
    this.#warned.add(message);
  }

  async close(): Promise<void> {
    const session = this.#session;
    if (session === null) return;
    this.#session = null;
    const { witness, database, unlock } = session;
    try {
      // The witness is synced but not written again: a fenced process must not overwrite that of
      // the new owner.
      witness?.sync();
      witness?.close();
      database.close();
    } catch (cause) {
      throw storeError(cause);
    } finally {
      unlock();
    }
  }

  #open(): Session {
    if (this.#session === null)
      throw new LocalError(
        'closed',
        'The store is not open. Open it first, or create a new one after close().',
      );
    return this.#session;
  }

  /** Runs one read; converts errors to `LocalError`. */
  #read<Result>(run: (session: Session) => Result): Result {
    const session = this.#open();
    try {
      return run(session);
    } catch (cause) {
      throw storeError(cause);
    }
  }

  async *index() {
    const { queries } = this.#open();
    try {
      yield* reads.index(queries);
    } catch (cause) {
      throw storeError(cause);
    }
  }

  async load(rows: readonly number[]) {
    return this.#read(({ queries, cipher }) => reads.load(queries, cipher, rows));
  }
  async rowOf(subscriptionId: string) {
    return this.#read(({ queries }) => reads.one<number>(queries.rowOf, subscriptionId));
  }
  async rowOfKey(principal: string, key: string) {
    return this.#read(({ queries }) => reads.one<number>(queries.rowOfKey, principal, key));
  }
  async rowsOf(principal: string, afterRow: number, limit: number) {
    return this.#read(({ queries }) => reads.column(queries.rowsOf, principal, afterRow, limit));
  }
  async countOf(principal: string) {
    return this.#read(({ queries }) => reads.one<number>(queries.countOf, principal) ?? 0);
  }
  async due(now: number, limit: number) {
    return this.#read(({ queries }) => reads.column(queries.due, now, limit));
  }
  async nextDueAt() {
    return this.#read(({ queries }) => reads.one<number>(queries.nextDueAt));
  }
  async backlog(afterRow: number, limit: number) {
    return this.#read(({ queries }) => reads.column(queries.backlog, afterRow, limit));
  }
  async read(row: number, after: number, maxEvents: number, maxBytes: number) {
    return this.#read(({ queries }) => reads.read(queries, row, after, maxEvents, maxBytes));
  }
  async agedOut(row: number, acceptedBefore: number) {
    return this.#read(({ queries }) => reads.agedOut(queries, row, acceptedBefore));
  }
  async oversize(row: number, maxBytes: number) {
    return this.#read(({ queries }) => reads.oversize(queries, row, maxBytes));
  }
  async bytesOf(principal: string) {
    return this.#read(({ queries }) => reads.one<number>(queries.bytesOf, principal) ?? 0);
  }
  async data(offset: number) {
    return this.#read(({ queries }) => reads.data(queries, offset));
  }
  async acceptedAt(row: number, sequence: number) {
    return this.#read(({ queries }) => reads.one<number>(queries.acceptedAt, row, sequence));
  }
  async accepted(offset: number, limit: number) {
    return this.#read(({ queries }) => reads.accepted(queries, offset, limit));
  }
  async history(names: readonly string[], since: number, afterOffset: number, limit: number) {
    return this.#read(({ queries }) => reads.history(queries, names, since, afterOffset, limit));
  }
  async known(ids: readonly EventIdentity[]) {
    return this.#read(({ queries }) =>
      ids.map(({ scope, name, eventId }) => reads.one<number>(queries.known, name, eventId, scope)),
    );
  }
  async tombstone(subscriptionId: string) {
    return this.#read(({ queries }) => reads.tombstone(queries, subscriptionId));
  }
  async dueNotices(now: number, limit: number, except: readonly string[]) {
    return this.#read(({ queries, cipher }) =>
      reads.dueNotices(queries, cipher, now, limit, except),
    );
  }
  async nextNoticeAt(now: number) {
    return this.#read(({ queries }) => reads.one<number>(queries.nextNoticeAt, now));
  }
  async verification(principal: string, urlHash: string) {
    return this.#read(({ queries }) => reads.one<number>(queries.verification, principal, urlHash));
  }
  async stats() {
    return this.#read(({ counts, quota }) => ({
      ...counts,
      bytes: quota.used(),
      quotaBytes: quota.bytes,
    }));
  }
}

/** Runs `run` in a transaction; rolls back if it throws. */
function transact<Result>(database: DatabaseSync, queries: Queries, run: () => Result): Result {
  queries.begin.run();
  try {
    const result = run();
    queries.commit.run();
    return result;
  } catch (cause) {
    // SQLite rolls back by itself after some errors, for example a full disk.
    if (database.isTransaction) queries.rollback.run();
    throw cause;
  }
}
