/**
 * Migration 2: an accepted event has a scope, and its identifier is unique within that scope.
 * SQLite cannot drop the old UNIQUE constraint, so the table is copied. Events of a store that had
 * no scopes keep NULL: their source is unknown, and an event of any source repeats them until they
 * are deleted. Otherwise every source would emit its recent events again after the upgrade.
 */
export const sql = `
CREATE TABLE accepted_events_2 (
  offset      INTEGER PRIMARY KEY,
  name        TEXT    NOT NULL,
  event_id    TEXT    NOT NULL,
  scope       TEXT,
  accepted_at INTEGER NOT NULL,
  redacted    INTEGER NOT NULL DEFAULT 0,
  checksum    INTEGER NOT NULL,
  encoded     TEXT,
  UNIQUE (name, event_id, scope)
) STRICT;
INSERT INTO accepted_events_2 (offset, name, event_id, accepted_at, redacted, checksum, encoded)
  SELECT offset, name, event_id, accepted_at, redacted, checksum, encoded FROM accepted_events ORDER BY offset;
DROP TABLE accepted_events;
ALTER TABLE accepted_events_2 RENAME TO accepted_events;
CREATE INDEX accepted_events_by_name ON accepted_events (name, offset, accepted_at);
`;
