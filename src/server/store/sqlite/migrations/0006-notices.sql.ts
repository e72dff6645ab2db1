/**
 * Migration 6: termination notices that callbacks have still to get. The message with its URL and
 * secrets is encrypted, and its authentication tag covers it; the checksum covers the rest.
 */
export const sql = `
CREATE TABLE notices (
  subscription_id TEXT PRIMARY KEY,
  owner           TEXT    NOT NULL,
  message_sealed  BLOB    NOT NULL,
  attempts        INTEGER NOT NULL,
  due_at          INTEGER NOT NULL,
  forget_at       INTEGER NOT NULL,
  checksum        INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX notices_by_due_at ON notices (due_at);
CREATE INDEX notices_by_forget_at ON notices (forget_at);
`;
