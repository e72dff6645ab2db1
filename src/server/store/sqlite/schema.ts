/**
 * The schema's history: numbered migrations, applied in order, each in its own transaction together with the number it
 * leads to (`PRAGMA user_version`). A process killed in the middle therefore leaves the version before or after, never a mix.
 */
import type { DatabaseSync } from 'node:sqlite';
import { LocalError } from '../../../protocol/wire/errors.ts';
import { sql as initial } from './migrations/0001-initial.sql.ts';

/** Position in this list, from 1, is the schema version. Append only: a published migration never changes. */
const MIGRATIONS: readonly string[] = [initial];

/** Marks the file as ours in the database header ("mcpt"), so that no foreign database is migrated by mistake. */
const APPLICATION_ID = 0x6d637074;

export const SCHEMA_VERSION = MIGRATIONS.length;

/** Brings the database to {@link SCHEMA_VERSION}; a second run does nothing. Throws `LocalError` `store_corrupt`. */
export function migrate(database: DatabaseSync): void {
  const version = pragma(database, 'user_version');
  const application = pragma(database, 'application_id');
  if (
    application !== APPLICATION_ID &&
    !(application === 0 && version === 0 && isEmpty(database))
  ) {
    throw new LocalError(
      'store_corrupt',
      'This file is a SQLite database of something else. Give the store a path of its own.',
    );
  }
  if (version > SCHEMA_VERSION) {
    throw new LocalError(
      'store_corrupt',
      `This store was made by a newer version (schema ${version}; this one knows up to ${SCHEMA_VERSION}). Run the newer version, or give a new path.`,
    );
  }
  for (let next = version; next < SCHEMA_VERSION; next += 1) {
    database.exec(
      `BEGIN IMMEDIATE; ${MIGRATIONS[next]} PRAGMA user_version = ${next + 1}; PRAGMA application_id = ${APPLICATION_ID}; COMMIT`,
    );
  }
}

export function pragma(
  database: DatabaseSync,
  name: 'user_version' | 'application_id' | 'page_count' | 'page_size' | 'freelist_count',
): number {
  const row = database.prepare(`PRAGMA ${name}`).get();
  return Number(row?.[name]);
}

function isEmpty(database: DatabaseSync): boolean {
  return database.prepare('SELECT 1 FROM sqlite_schema LIMIT 1').get() === undefined;
}
