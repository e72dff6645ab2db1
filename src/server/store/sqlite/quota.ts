/**
 * A quota of pages, below what the disk has. On a full disk SQLite cannot even delete, since a delete needs room in the
 * write-ahead log; under a quota it can. And so that acknowledging, trimming and ending still work when no event fits any
 * more, what makes the store grow must leave some of the quota free.
 */
import type { DatabaseSync } from 'node:sqlite';
import type { Write } from '../../store/port.ts';
import { LocalError } from '../../../protocol/wire/errors.ts';
import { storeFull } from './errors.ts';
import type { Queries } from './queries.ts';
import { pragma } from './schema.ts';

/** The smallest quota that leaves the reserves some pages. */
const MIN_BYTES = 1024 * 1024;

/** Share of the quota that must be free after a commit with this kind of write. What was accepted must still fit as entries. */
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
  redact: 0,
  forget: 0,
};

export interface PageQuota {
  /** Bytes in use, free pages inside the file not counted. */
  used(): number;
  readonly bytes: number | null;
  /** Before COMMIT: throws `LocalError` `store_full` when the writes would eat into a reserve. */
  check(writes: readonly Write[]): void;
}

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
    throw new LocalError('config_invalid', `The store's maxBytes must be at least ${MIN_BYTES}.`);
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
