/**
 * One writer per store (ADR 0002). Node has no file lock of its own, but SQLite has: an open exclusive transaction on an
 * empty database `<path>.lock` is a lock of the operating system, which ends with the process however it ends. The lock has
 * a file of its own so that other programs can still read the store, for example to back it up.
 */
import { DatabaseSync } from 'node:sqlite';
import { LocalError } from '../../../protocol/wire/errors.ts';
import { createPrivate } from './files.ts';
import { isBusy, storeError } from './errors.ts';

/** Takes the lock or throws `LocalError` `store_locked`. The returned function gives it back. */
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
      `Another process has the store ${path} open. Stop it, or give this one a store of its own: a store has one writer.`,
      { cause },
    );
  }
  const loaded = database;
  return () => loaded.close();
}
