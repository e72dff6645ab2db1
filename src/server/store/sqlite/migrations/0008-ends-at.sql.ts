/** Migration 8: when a suspended subscription without expiry ends. */
export const sql = `
ALTER TABLE progress ADD COLUMN ends_at INTEGER;
`;
