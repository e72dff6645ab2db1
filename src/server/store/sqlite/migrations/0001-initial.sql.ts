/**
 * Migration 1: the initial schema. A module instead of an .sql file, so that the compiled package
 * contains it.
 *
 * The engine assigns row numbers and offsets; there is no AUTOINCREMENT (ADR 0003). Table
 * `progress` has the columns that change on every delivery. The wide configuration is in
 * `subscriptions`, so that frequent updates rewrite short rows. Columns `checksum` contain a
 * CRC-32, because SQLite has no checksums for the pages of a database file. An index or a CHECK
 * covers the columns without a checksum, so that the full integrity check detects damage to them.
 */
export const sql = `
CREATE TABLE meta (
  id                INTEGER PRIMARY KEY CHECK (id = 1),
  instance          TEXT    NOT NULL,
  generation        INTEGER NOT NULL DEFAULT 0,
  commits           INTEGER NOT NULL DEFAULT 0,
  last_offset       INTEGER NOT NULL DEFAULT 0,
  next_row          INTEGER NOT NULL DEFAULT 1,
  checkpoint_offset INTEGER NOT NULL DEFAULT 0,
  checkpoint_row    INTEGER NOT NULL DEFAULT 0,
  checksum          INTEGER NOT NULL DEFAULT 0,
  key_check         BLOB
) STRICT;

CREATE TABLE subscriptions (
  row                     INTEGER PRIMARY KEY,
  subscription_id         TEXT    NOT NULL UNIQUE,
  principal               TEXT    NOT NULL,
  key                     TEXT    NOT NULL,
  created_at              INTEGER NOT NULL,
  created_offset          INTEGER NOT NULL,
  select_json             TEXT    NOT NULL,
  callback_sealed         BLOB,
  callback_previous_until INTEGER,
  callback_verified_at    INTEGER,
  callback_skip_after_ms  INTEGER,
  ttl_ms                  INTEGER,
  paused                  INTEGER NOT NULL,
  version                 INTEGER NOT NULL,
  retention_max_age_ms    INTEGER NOT NULL,
  retention_max_events    INTEGER NOT NULL,
  checksum                INTEGER NOT NULL,
  UNIQUE (principal, key)
) STRICT;
CREATE INDEX subscriptions_by_principal ON subscriptions (principal);

CREATE TABLE progress (
  row                    INTEGER PRIMARY KEY REFERENCES subscriptions (row),
  due_at                 INTEGER,
  expires_at             INTEGER,
  epoch                  TEXT    NOT NULL,
  head                   INTEGER NOT NULL,
  acked                  INTEGER NOT NULL,
  sent                   INTEGER NOT NULL,
  floor                  INTEGER NOT NULL,
  oldest_at              INTEGER,
  attempt_id             INTEGER,
  attempt_after          INTEGER,
  attempt_to             INTEGER,
  attempt_events         INTEGER,
  attempt_first          INTEGER,
  attempt_lease_until    INTEGER,
  attempts               INTEGER NOT NULL,
  retry_at               INTEGER,
  batch_limit            INTEGER,
  health_attempts        INTEGER NOT NULL,
  health_config_failures INTEGER NOT NULL,
  config_failing_since   INTEGER,
  transient_since        INTEGER,
  failing_since          INTEGER,
  last_error             TEXT,
  last_delivery_at       INTEGER,
  suspended_at           INTEGER,
  probe_at               INTEGER,
  terminated_reason      TEXT,
  terminated_at          INTEGER,
  checksum               INTEGER NOT NULL,
  rotation_due           INTEGER NOT NULL DEFAULT 0
) STRICT;
CREATE INDEX progress_due ON progress (due_at) WHERE due_at IS NOT NULL;

CREATE TABLE accepted_events (
  offset      INTEGER PRIMARY KEY,
  name        TEXT    NOT NULL,
  event_id    TEXT    NOT NULL,
  accepted_at INTEGER NOT NULL,
  redacted    INTEGER NOT NULL DEFAULT 0,
  checksum    INTEGER NOT NULL,
  encoded     TEXT,
  UNIQUE (name, event_id)
) STRICT;
CREATE INDEX accepted_events_by_name ON accepted_events (name, offset, accepted_at);

CREATE TABLE log_entries (
  row      INTEGER NOT NULL,
  sequence INTEGER NOT NULL,
  offset   INTEGER NOT NULL,
  gap      TEXT CHECK (gap IN ('retention', 'skipped', 'rejected', 'too_large', 'redacted')),
  PRIMARY KEY (row, sequence)
) STRICT, WITHOUT ROWID;
CREATE INDEX log_entries_by_offset ON log_entries (offset) WHERE offset > 0;

CREATE TABLE tombstones (
  subscription_id TEXT PRIMARY KEY,
  principal       TEXT    NOT NULL,
  reason          TEXT    NOT NULL,
  epoch           TEXT    NOT NULL,
  head            INTEGER NOT NULL,
  acked           INTEGER NOT NULL,
  forget_at       INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX tombstones_by_forget_at ON tombstones (forget_at);

CREATE TABLE verifications (
  principal   TEXT NOT NULL,
  url_hash    TEXT NOT NULL,
  verified_at INTEGER NOT NULL,
  PRIMARY KEY (principal, url_hash)
) STRICT, WITHOUT ROWID;
CREATE INDEX verifications_by_verified_at ON verifications (verified_at);
`;
