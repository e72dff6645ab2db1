/**
 * Schema migrations: numbered, applied in order, each in one transaction with its version (`PRAGMA
 * user_version`). A process that is killed during a migration therefore leaves the store at the
 * version before it.
 */
import type { DatabaseSync } from 'node:sqlite';
import { LocalError } from '../../../protocol/wire/errors.ts';
import { sql as initial } from './migrations/0001-initial.sql.ts';
import { sql as eventScope } from './migrations/0002-event-scope.sql.ts';
import { sql as retentionBytes } from './migrations/0003-retention-bytes.sql.ts';
import { sql as gapsAndAudience } from './migrations/0004-gaps-and-audience.sql.ts';
import { sql as owners } from './migrations/0005-owners.sql.ts';
import { sql as notices } from './migrations/0006-notices.sql.ts';
import { sql as largeData } from './migrations/0007-large-data.sql.ts';
import { sql as endsAt } from './migrations/0008-ends-at.sql.ts';
import { sql as tombstonesByOwner } from './migrations/0009-tombstones-by-owner.sql.ts';

/**
 * The position in this list, from 1, is the schema version. Append only: a published migration
 * never changes.
 */
const MIGRATIONS: readonly string[] = [
  initial,
  eventScope,
  retentionBytes,
  gapsAndAudience,
  owners,
  notices,
  largeData,
  endsAt,
  tombstonesByOwner,
];

/**
 * Identifies a store in the database header ("mcpt"), so that no other database is migrated by
 * mistake.
 */
const APPLICATION_ID = 0x6d637074;

/** The current schema version. */
export const SCHEMA_VERSION = MIGRATIONS.length;

/**
 * Migrates the database to {@link SCHEMA_VERSION}. Throws `LocalError` `store_corrupt` for a
 * database of another application or of a newer version.
 */
export function migrate(database: DatabaseSync): void {
  const version = pragma(database, 'user_version');
  const application = pragma(database, 'application_id');
  if (
    application !== APPLICATION_ID &&
    !(application === 0 && version === 0 && isEmpty(database))
  ) {
    throw new LocalError(
      'store_corrupt',
      'This file is a SQLite database of another application. Use another path for the store.',
    );
  }
  if (version > SCHEMA_VERSION) {
    throw new LocalError(
      'store_corrupt',
      `A newer version created this store (schema ${version}; this version supports up to ${SCHEMA_VERSION}). Run the newer version, or use a new path.`,
    );
  }
  for (let next = version; next < SCHEMA_VERSION; next += 1) {
    database.exec(
      `BEGIN IMMEDIATE; ${MIGRATIONS[next]} PRAGMA user_version = ${next + 1}; PRAGMA application_id = ${APPLICATION_ID}; COMMIT`,
    );
  }
}

/** The numeric value of a pragma. */
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
