/**
 * Errors of the store: a table of `LocalError` codes and messages by result code of SQLite.
 * SQLite's own error is kept as the cause; its message names tables and columns but no values.
 */
import { LocalError, type LocalErrorCode } from '../../../protocol/wire/errors.ts';

interface Condition {
  readonly code: LocalErrorCode;
  readonly message: string;
}

/** By primary result code (https://sqlite.org/rescode.html). */
const CONDITIONS: Readonly<Record<number, Condition>> = {
  5: {
    code: 'store_failed',
    message:
      'Another program holds a write lock on the database file. Stop it: a store has one writer.',
  },
  8: {
    code: 'store_failed',
    message:
      'The database file cannot be written. Check its permissions and those of its directory.',
  },
  11: {
    code: 'store_corrupt',
    message: 'The database file is damaged. Restore a backup; all epochs then rotate.',
  },
  13: {
    code: 'store_full',
    message: 'The store is full. Let retention trim it, raise maxBytes, or free disk space.',
  },
  14: {
    code: 'store_failed',
    message:
      'The database file cannot be opened. Check that its directory exists and can be written.',
  },
  26: {
    code: 'store_corrupt',
    message: 'The file is not a SQLite database. Use another path, or restore a backup.',
  },
};

/** Converts an error to a `LocalError`; returns a `LocalError` unchanged. */
export function storeError(thrown: unknown): LocalError {
  if (thrown instanceof LocalError) return thrown;
  const condition = CONDITIONS[resultCode(thrown)];
  return condition === undefined
    ? new LocalError(
        'store_failed',
        `The store failed: ${thrown instanceof Error ? thrown.message : 'unknown cause'}.`,
        { cause: thrown },
      )
    : new LocalError(condition.code, condition.message, { cause: thrown });
}

/** Whether an error means that another connection has the database locked. */
export const isBusy = (thrown: unknown): boolean => resultCode(thrown) === 5;

export const storeFull = () => new LocalError('store_full', CONDITIONS[13]!.message);
export const storeFenced = () =>
  new LocalError(
    'store_fenced',
    'Another process took over this store. Stop this process, and run one process per store.',
  );
export const storeCorrupt = (what: string) =>
  new LocalError(
    'store_corrupt',
    `The store is damaged: ${what}. Restore a backup; all epochs then rotate.`,
  );
export const keyMissing = () =>
  new LocalError(
    'key_unknown',
    'The store was opened without a key, which callbacks need. Pass sqliteStore a key of 32 bytes.',
  );
export const noSuchRow = (row: number) =>
  new LocalError('store_failed', `No subscription has row ${row}. The commit was rolled back.`);

/** The primary result code of an error of SQLite; 0 for any other value. */
function resultCode(thrown: unknown): number {
  const code: unknown = thrown instanceof Error && 'errcode' in thrown ? thrown.errcode : 0;
  return typeof code === 'number' ? code & 0xff : 0;
}
