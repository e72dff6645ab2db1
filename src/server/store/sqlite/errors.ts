/**
 * What SQLite says, in this library's words: one table from its result codes to `LocalError` codes and advice. Messages of
 * SQLite name tables and columns, never values, so they are safe to keep as cause.
 */
import { LocalError, type LocalErrorCode } from '../../../protocol/wire/errors.ts';

interface Verdict {
  readonly code: LocalErrorCode;
  readonly message: string;
}

/** By primary result code (https://sqlite.org/rescode.html). */
const VERDICTS: Readonly<Record<number, Verdict>> = {
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
    message: 'The database file is damaged. Restore a backup; epochs will then rotate.',
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
    message: 'The file is not a SQLite database. Give another path, or restore a backup.',
  },
};

/** A `LocalError` for whatever was thrown; one that is a `LocalError` already is left as it is. */
export function storeError(thrown: unknown): LocalError {
  if (thrown instanceof LocalError) return thrown;
  const verdict = VERDICTS[resultCode(thrown)];
  return verdict === undefined
    ? new LocalError(
        'store_failed',
        `The store could not do this: ${thrown instanceof Error ? thrown.message : 'unknown cause'}.`,
        { cause: thrown },
      )
    : new LocalError(verdict.code, verdict.message, { cause: thrown });
}

export const isBusy = (thrown: unknown): boolean => resultCode(thrown) === 5;

export const storeFull = () => new LocalError('store_full', VERDICTS[13]!.message);
export const storeFenced = () =>
  new LocalError(
    'store_fenced',
    'Another process has taken this store over; this one must stop. Run one process per store.',
  );
export const storeCorrupt = (what: string) =>
  new LocalError(
    'store_corrupt',
    `The store is damaged: ${what}. Restore a backup; epochs will then rotate.`,
  );
export const keyMissing = () =>
  new LocalError(
    'key_unknown',
    'This store has no key, so it keeps no callback. Give sqliteStore a key of 32 bytes.',
  );
export const noSuchRow = (row: number) =>
  new LocalError(
    'store_failed',
    `There is no subscription with row ${row}; nothing of this commit was kept.`,
  );

/** The primary result code; 0 when this is not an error of SQLite. */
function resultCode(thrown: unknown): number {
  const code: unknown = thrown instanceof Error && 'errcode' in thrown ? thrown.errcode : 0;
  return typeof code === 'number' ? code & 0xff : 0;
}
