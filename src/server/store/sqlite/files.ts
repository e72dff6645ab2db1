/** Where the store's files lie, and with which rights they are made. */
import { closeSync, existsSync, openSync, realpathSync } from 'node:fs';
import { basename, dirname, join } from 'node:path';
import { LocalError } from '../../../protocol/wire/errors.ts';

/** The path without symbolic links: two names of one database must lead to one lock. */
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
 * Makes the file readable for its owner only. A file that exists is not even opened: closing a descriptor would drop the
 * locks that SQLite holds on the same file in this process.
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
