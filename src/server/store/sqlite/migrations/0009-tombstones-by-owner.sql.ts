/** Migration 9: an index to find the oldest tombstones of an owner. */
export const sql = `
CREATE INDEX tombstones_by_owner ON tombstones (owner, forget_at);
`;
