/**
 * Migration 4: an accepted event can be a gap and can have an audience, and log entries have two
 * more reasons. SQLite cannot change a CHECK, so the table of log entries is copied.
 */
export const sql = `
ALTER TABLE accepted_events ADD COLUMN gap TEXT CHECK (gap IN ('invalid', 'unwatched'));
ALTER TABLE accepted_events ADD COLUMN audience TEXT;
CREATE TABLE log_entries_4 (
  row      INTEGER NOT NULL,
  sequence INTEGER NOT NULL,
  offset   INTEGER NOT NULL,
  gap      TEXT CHECK (gap IN ('retention', 'skipped', 'rejected', 'too_large', 'invalid', 'unwatched', 'redacted')),
  PRIMARY KEY (row, sequence)
) STRICT, WITHOUT ROWID;
INSERT INTO log_entries_4 (row, sequence, offset, gap)
  SELECT row, sequence, offset, gap FROM log_entries ORDER BY row, sequence;
DROP TABLE log_entries;
ALTER TABLE log_entries_4 RENAME TO log_entries;
CREATE INDEX log_entries_by_offset ON log_entries (offset) WHERE offset > 0;
`;
