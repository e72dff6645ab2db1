/** Opens the SQLite file with the settings that durability requires, and checks its integrity. */
import { DatabaseSync } from 'node:sqlite';
import { LocalError } from '../../../protocol/wire/errors.ts';
import { storeCorrupt } from './errors.ts';

/** The integrity check at open. */
export type Check = 'quick' | 'full' | 'none';

/** Pages in the write-ahead log at which SQLite moves them to the database file. */
const WAL_PAGES = 4000;
/** Size to which the file of the write-ahead log is cut afterwards. */
const WAL_BYTES_KEPT = 32 * 1024 * 1024;

/**
 * Longest time that a statement blocks while another program, such as a backup, has the database
 * locked.
 */
const BUSY_MS = 1000;

/** Opens the database. Throws `LocalError` `store_failed` or `store_corrupt`. */
export function openDatabase(path: string, check: Check): DatabaseSync {
  const database = new DatabaseSync(path, { timeout: BUSY_MS });
  try {
    // The first two settings check pages before use, and keep a manipulated schema from calling
    // functions.
    database.exec(`
      PRAGMA cell_size_check = ON;
      PRAGMA trusted_schema = OFF;
      PRAGMA foreign_keys = ON;
      PRAGMA secure_delete = FAST;
      PRAGMA temp_store = MEMORY;
      PRAGMA cache_size = -16384;
    `);
    if (path !== ':memory:') {
      const { journal_mode: mode } = database.prepare('PRAGMA journal_mode = WAL').get() as {
        journal_mode: string;
      };
      if (mode !== 'wal')
        throw new LocalError(
          'store_failed',
          'The file system of the store does not support write-ahead logging; it is probably a network drive. Use a local disk.',
        );
      // FULL syncs the log in every commit. With NORMAL, a power failure can lose commits.
      database.exec(`
        PRAGMA synchronous = FULL;
        PRAGMA wal_autocheckpoint = ${WAL_PAGES};
        PRAGMA journal_size_limit = ${WAL_BYTES_KEPT};
      `);
    }
    if (check !== 'none') verify(database, check);
    return database;
  } catch (cause) {
    database.close();
    throw cause;
  }
}

function verify(database: DatabaseSync, check: Exclude<Check, 'none'>): void {
  const pragma = check === 'full' ? 'integrity_check' : 'quick_check';
  const result = Object.values(database.prepare(`PRAGMA ${pragma}(1)`).get() ?? {})[0];
  if (result !== 'ok') throw storeCorrupt(`SQLite reports ${String(result).replaceAll('\n', ' ')}`);
}
