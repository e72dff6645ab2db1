/**
 * Migration 3: retention by bytes, and the bytes of each log. NULL in `log_bytes` = not counted
 * yet, as in every log from before this migration.
 */
export const sql = `
ALTER TABLE subscriptions ADD COLUMN retention_max_bytes INTEGER;
ALTER TABLE progress ADD COLUMN log_bytes INTEGER;
`;
