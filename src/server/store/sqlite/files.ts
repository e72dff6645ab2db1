/**
 * The files of a store: their paths, their permissions, and the lock that excludes other processes.
 */
import { closeSync, existsSync, openSync, realpathSync } from 'node:fs';
import { basename, dirname, join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { LocalError } from '../../../protocol/wire/errors.ts';
import { isBusy, storeError } from './errors.ts';

/** The path without symbolic links, so that two names of one database share a lock. */
export function canonicalPath(path: string): string {
  try {
    return existsSync(path)
      ? realpathSync(path)
      : join(realpathSync(dirname(path)), basename(path));
  } catch (cause) {
    throw new LocalError(
      'store_failed',
      `The directory of the store ${path} does not exist or cannot be read. Create it first.`,
      { cause },
    );
  }
}

/**
 * Creates the file if it does not exist, readable only for its owner. Does not open an existing
 * one, because closing it would release the locks that SQLite holds on it in this process.
 */
export function createPrivate(path: string): void {
  if (existsSync(path)) return;
  try {
    closeSync(openSync(path, 'wx', 0o600));
  } catch (cause) {
    if (cause instanceof Error && 'code' in cause && cause.code === 'EEXIST') return;
    throw new LocalError(
      'store_failed',
      `The file ${path} cannot be created. Check the permissions of its directory and the space on the disk.`,
      { cause },
    );
  }
}

/**
 * Locks the store for this process (ADR 0002); the returned function releases the lock. Throws
 * `LocalError` `store_locked`. Node has no file locks, so this holds an exclusive SQLite
 * transaction open on the empty database `<path>.lock`. SQLite uses a lock of the operating system,
 * which ends with the process. The lock has its own file, so that other programs can read the
 * store, for example for a backup.
 */
export function lockStore(path: string): () => void {
  const file = `${path}.lock`;
  createPrivate(file);
  let database: DatabaseSync | undefined;
  try {
    database = new DatabaseSync(file, { timeout: 0 });
    database.exec('BEGIN EXCLUSIVE');
  } catch (cause) {
    database?.close();
    if (!isBusy(cause)) throw storeError(cause);
    throw new LocalError(
      'store_locked',
      `Another process has the store ${path} open. Stop it, or use another store for this process: a store has one writer.`,
      { cause },
    );
  }
  const held = database;
  return () => held.close();
}
