/**
 * Limits the pages of the database file, so that the store is full before the disk is. On a full
 * disk SQLite cannot even delete, because a delete needs space in the write-ahead log; at this
 * limit it can. Writes that make the store grow must leave a reserve, so that acknowledging,
 * trimming and ending still work when no more events fit.
 */
import type { DatabaseSync } from 'node:sqlite';
import type { Write } from '../../store/port.ts';
import { LocalError } from '../../../protocol/wire/errors.ts';
import { storeFull } from './errors.ts';
import type { Queries } from './queries.ts';
import { pragma } from './schema.ts';

/** The smallest quota whose reserves suffice. */
const MIN_BYTES = 1024 * 1024;

/**
 * Share of the quota that must stay free after a write of this type. It is smaller for entries than
 * for events, so that the store has space for the entries of events that it accepted.
 */
const RESERVE: Readonly<Record<Write['type'], number>> = {
  event: 1 / 8,
  create: 1 / 8,
  verification: 1 / 8,
  entry: 1 / 16,
  gap: 1 / 16,
  progress: 0,
  configure: 0,
  checkpoint: 0,
  trim: 0,
  renumber: 0,
  end: 0,
  postpone: 0,
  noticed: 0,
  redact: 0,
  forget: 0,
};

/** The quota of an open database, and how much of it is used. */
export interface PageQuota {
  /** Used bytes; free pages of the file do not count. */
  used(): number;
  /** The quota; null = no limit. */
  readonly bytes: number | null;
  /**
   * Must be called before COMMIT. Throws `LocalError` `store_full` if the writes use their reserve.
   */
  check(writes: readonly Write[]): void;
}

/**
 * Sets the quota; `maxBytes` null = no limit. Throws `LocalError` `config_invalid` if it is too
 * small.
 */
export function pageQuota(
  database: DatabaseSync,
  queries: Queries,
  maxBytes: number | null,
): PageQuota {
  const pageSize = pragma(database, 'page_size');
  const usedPages = (): number => page(queries.pageCount) - page(queries.freePages);
  const used = (): number => usedPages() * pageSize;
  if (maxBytes === null) return { used, bytes: null, check: () => {} };
  if (!(maxBytes >= MIN_BYTES))
    throw new LocalError(
      'config_invalid',
      `The store's maxBytes must be at least ${MIN_BYTES}, or null for no limit.`,
    );
  const pages = Math.floor(maxBytes / pageSize);
  database.exec(`PRAGMA max_page_count = ${pages}`);
  return {
    used,
    bytes: pages * pageSize,
    check(writes) {
      let reserve = 0;
      for (const { type } of writes) if (RESERVE[type] > reserve) reserve = RESERVE[type];
      if (reserve > 0 && usedPages() > pages * (1 - reserve)) throw storeFull();
    },
  };
}

const page = (statement: Queries['pageCount']): number =>
  (statement.get() as unknown as [number])[0];
