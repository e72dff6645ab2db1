/** Every SQL statement of the store, prepared once. Groups and names follow the port. */
import type { DatabaseSync } from 'node:sqlite';
import { CONFIGURATION_COLUMNS, IDENTITY_COLUMNS, PROGRESS_COLUMNS } from './codec.ts';

/** The prepared statements. */
export type Queries = ReturnType<typeof prepareQueries>;

/** Prepares all statements. */
export function prepareQueries(database: DatabaseSync) {
  const sql = (text: string) => database.prepare(text);
  /** Returns rows as arrays, which is faster in bulk. */
  const bulk = (text: string) => {
    const statement = database.prepare(text);
    statement.setReturnArrays(true);
    return statement;
  };
  return {
    begin: sql('BEGIN IMMEDIATE'),
    commit: sql('COMMIT'),
    rollback: sql('ROLLBACK'),

    meta: sql('SELECT * FROM meta WHERE id = 1'),
    insertMeta: sql('INSERT OR IGNORE INTO meta (id, instance) VALUES (1, ?)'),
    setKeyCheck: sql('UPDATE meta SET key_check = ? WHERE id = 1'),
    generation: bulk('SELECT generation FROM meta WHERE id = 1'),
    saveMeta: sql(
      'UPDATE meta SET instance = ?, generation = ?, commits = ?, last_offset = ?, next_row = ?, checkpoint_offset = ?, checkpoint_row = ?, checksum = ? WHERE id = 1',
    ),
    markRotationDue: sql('UPDATE progress SET rotation_due = 1'),
    rotationDue: sql('SELECT 1 FROM progress WHERE rotation_due = 1 LIMIT 1'),

    create:
      sql(`INSERT INTO subscriptions (row, ${IDENTITY_COLUMNS.join(', ')}, ${CONFIGURATION_COLUMNS.join(', ')}, checksum)
      VALUES (${placeholders(2 + IDENTITY_COLUMNS.length + CONFIGURATION_COLUMNS.length)})`),
    createProgress: sql(
      `INSERT INTO progress (row, ${PROGRESS_COLUMNS.join(', ')}, checksum) VALUES (${placeholders(2 + PROGRESS_COLUMNS.length)})`,
    ),
    configure: sql(
      `UPDATE subscriptions SET ${CONFIGURATION_COLUMNS.map((column) => `${column} = ?`).join(', ')}, checksum = ? WHERE row = ?`,
    ),
    /** A change of epoch clears `rotation_due`. */
    progress:
      sql(`UPDATE progress SET ${PROGRESS_COLUMNS.map((column) => `${column} = ?`).join(', ')}, checksum = ?,
      rotation_due = (rotation_due AND epoch = ?) WHERE row = ?`),
    identity: bulk('SELECT created_offset FROM subscriptions WHERE row = ?'),
    deleteProgress: sql('DELETE FROM progress WHERE row = ?'),
    deleteSubscription: sql('DELETE FROM subscriptions WHERE row = ?'),
    insertTombstone: sql(
      'INSERT OR REPLACE INTO tombstones (subscription_id, owner, reason, epoch, head, acked, forget_at) VALUES (?, ?, ?, ?, ?, ?, ?)',
    ),
    surplusTombstones: bulk(
      'SELECT subscription_id FROM tombstones WHERE owner = ? ORDER BY forget_at DESC, subscription_id DESC LIMIT -1 OFFSET ?',
    ),
    deleteTombstone: sql('DELETE FROM tombstones WHERE subscription_id = ?'),
    insertNotice: sql(
      'INSERT OR REPLACE INTO notices (subscription_id, owner, message_sealed, attempts, due_at, forget_at, checksum) VALUES (?, ?, ?, ?, ?, ?, ?)',
    ),
    noticePlace: bulk('SELECT owner, forget_at FROM notices WHERE subscription_id = ?'),
    postpone: sql(
      'UPDATE notices SET attempts = ?, due_at = ?, checksum = ? WHERE subscription_id = ?',
    ),
    deleteNotice: sql('DELETE FROM notices WHERE subscription_id = ?'),

    event: sql(
      'INSERT INTO accepted_events (offset, scope, name, event_id, gap, audience, accepted_at, checksum, encoded, data_bytes, data_checksum, data) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)',
    ),
    /**
     * Makes SQLite overwrite everything that it frees from now on, at the cost of more writes. Not
     * prepared, because SQLite applies this pragma when it compiles the statement.
     */
    eraseFully: () => database.exec('PRAGMA secure_delete = ON'),
    eraseCheaply: () => database.exec('PRAGMA secure_delete = FAST'),
    emptyWal: sql('PRAGMA wal_checkpoint(TRUNCATE)'),
    redact: sql(
      'UPDATE accepted_events SET redacted = 1, checksum = ?, encoded = NULL, data_bytes = NULL, data_checksum = NULL, data = NULL WHERE offset = ?',
    ),
    eventPlace: bulk('SELECT accepted_at, gap, audience FROM accepted_events WHERE offset = ?'),
    entry: sql('INSERT INTO log_entries (row, sequence, offset, gap) VALUES (?, ?, ?, ?)'),
    gap: sql(`WITH RECURSIVE numbers (sequence) AS (SELECT ?1 UNION ALL SELECT sequence + 1 FROM numbers WHERE sequence < ?2)
      INSERT INTO log_entries (row, sequence, offset, gap) SELECT ?3, sequence, 0, ?4 FROM numbers WHERE true
      ON CONFLICT (row, sequence) DO UPDATE SET gap = excluded.gap`),
    countEntries: bulk(
      'SELECT count(*) FROM log_entries WHERE row = ? AND sequence BETWEEN ? AND ?',
    ),
    trim: sql('DELETE FROM log_entries WHERE row = ? AND sequence <= ?'),
    /**
     * Renumbers through negative numbers, so that no two rows have the same number at any time, in
     * whatever order SQLite updates them.
     */
    renumberAway: sql(
      'UPDATE log_entries SET sequence = ?1 - sequence WHERE row = ?2 AND sequence > ?1',
    ),
    renumberBack: sql('UPDATE log_entries SET sequence = -sequence WHERE row = ? AND sequence < 0'),
    verified: sql(
      'INSERT INTO verifications (owner, url_hash, verified_at) VALUES (?, ?, ?) ON CONFLICT DO UPDATE SET verified_at = excluded.verified_at',
    ),

    sweepWindow: bulk(
      'SELECT offset, accepted_at FROM accepted_events WHERE offset > ? AND offset <= ? ORDER BY offset LIMIT ?',
    ),
    sweep: sql(`DELETE FROM accepted_events WHERE offset > ? AND offset <= ?
      AND NOT EXISTS (SELECT 1 FROM log_entries WHERE log_entries.offset = accepted_events.offset AND log_entries.offset > 0)`),
    sweepTombstones: sql(
      'DELETE FROM tombstones WHERE subscription_id IN (SELECT subscription_id FROM tombstones WHERE forget_at <= ? LIMIT ?)',
    ),
    sweepNotices: sql(
      'DELETE FROM notices WHERE subscription_id IN (SELECT subscription_id FROM notices WHERE forget_at <= ? LIMIT ?)',
    ),
    sweepVerifications: sql(`DELETE FROM verifications WHERE (owner, url_hash) IN
      (SELECT owner, url_hash FROM verifications WHERE verified_at <= ? LIMIT ?)`),

    index: bulk(
      'SELECT row, owner, created_offset, select_json FROM subscriptions WHERE row > ? ORDER BY row LIMIT ?',
    ),
    load: sql(`SELECT subscriptions.*, progress.*, subscriptions.checksum AS configuration_checksum, progress.checksum AS progress_checksum
      FROM subscriptions JOIN progress USING (row) WHERE row = ?`),
    rowOf: bulk('SELECT row FROM subscriptions WHERE subscription_id = ?'),
    rowOfKey: bulk('SELECT row FROM subscriptions WHERE owner = ? AND key = ?'),
    rowsOf: bulk('SELECT row FROM subscriptions WHERE owner = ? AND row > ? ORDER BY row LIMIT ?'),
    countOf: bulk('SELECT count(*) FROM subscriptions WHERE owner = ?'),
    due: bulk('SELECT row FROM progress WHERE due_at <= ? ORDER BY due_at, row LIMIT ?'),
    nextDueAt: bulk('SELECT min(due_at) FROM progress WHERE due_at IS NOT NULL'),
    backlog: bulk(`SELECT row FROM progress JOIN subscriptions USING (row)
      WHERE row > ? AND (attempt_id IS NOT NULL OR acked < head) AND callback_sealed IS NOT NULL ORDER BY row LIMIT ?`),

    read: bulk(`SELECT e.sequence, e.offset, e.gap, a.gap, a.audience, a.accepted_at, a.redacted, a.checksum, a.encoded, a.data_bytes, a.data_checksum
      FROM log_entries e LEFT JOIN accepted_events a ON a.offset = e.offset WHERE e.row = ? AND e.sequence > ? ORDER BY e.sequence LIMIT ?`),
    firstYoung:
      bulk(`SELECT e.sequence, a.accepted_at FROM log_entries e JOIN accepted_events a ON a.offset = e.offset
      WHERE e.row = ? AND a.accepted_at >= ? ORDER BY e.sequence LIMIT 1`),
    lastBefore: bulk('SELECT max(sequence) FROM log_entries WHERE row = ? AND sequence < ?'),
    newest:
      bulk(`SELECT e.sequence, CASE WHEN e.gap IS NULL AND a.redacted = 0 THEN octet_length(a.encoded) + coalesce(a.data_bytes, 0) END
      FROM log_entries e LEFT JOIN accepted_events a ON a.offset = e.offset WHERE e.row = ? ORDER BY e.sequence DESC`),
    bytesOf: bulk(
      'SELECT coalesce(sum(log_bytes), 0) FROM subscriptions JOIN progress USING (row) WHERE owner = ?',
    ),
    acceptedAt: bulk(
      'SELECT a.accepted_at FROM log_entries e JOIN accepted_events a ON a.offset = e.offset WHERE e.row = ? AND e.sequence = ?',
    ),
    accepted: bulk(
      'SELECT offset, scope, name, event_id, gap, audience, accepted_at, redacted, checksum, encoded, data_bytes, data_checksum FROM accepted_events WHERE offset > ? ORDER BY offset LIMIT ?',
    ),
    acceptedOne: bulk(
      'SELECT offset, scope, name, event_id, gap, audience, accepted_at, redacted, checksum, encoded, data_bytes, data_checksum FROM accepted_events WHERE offset = ?',
    ),
    data: bulk('SELECT data, data_checksum FROM accepted_events WHERE offset = ?'),
    history: bulk(
      'SELECT offset FROM accepted_events WHERE name = ? AND offset > ? AND accepted_at >= ? ORDER BY offset LIMIT ?',
    ),
    /** NULL = an event from before migration 2, whose source is unknown. */
    known: bulk(
      'SELECT offset FROM accepted_events WHERE name = ? AND event_id = ? AND (scope = ? OR scope IS NULL) ORDER BY offset DESC LIMIT 1',
    ),
    tombstone: sql('SELECT * FROM tombstones WHERE subscription_id = ?'),
    dueNotices:
      bulk(`SELECT subscription_id, owner, message_sealed, attempts, due_at, forget_at, checksum FROM notices
      WHERE due_at <= ? AND owner NOT IN (SELECT value FROM json_each(?)) ORDER BY due_at, subscription_id LIMIT ?`),
    nextNoticeAt: bulk('SELECT min(due_at) FROM notices WHERE due_at > ?'),
    verification: bulk('SELECT verified_at FROM verifications WHERE owner = ? AND url_hash = ?'),
    count: bulk(
      'SELECT (SELECT count(*) FROM subscriptions), (SELECT count(*) FROM accepted_events), (SELECT count(*) FROM log_entries)',
    ),
    pageCount: bulk('PRAGMA page_count'),
    freePages: bulk('PRAGMA freelist_count'),
  };
}

const placeholders = (count: number): string => Array(count).fill('?').join(', ');
