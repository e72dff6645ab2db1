/**
 * Migration 5: the column `principal` becomes `owner`, since the client of a token is part of its
 * value. Values stay: a row without a client belongs to tokens that name none, and to the clients
 * that an operator lets share.
 */
export const sql = `
ALTER TABLE subscriptions RENAME COLUMN principal TO owner;
DROP INDEX subscriptions_by_principal;
CREATE INDEX subscriptions_by_owner ON subscriptions (owner);
ALTER TABLE tombstones RENAME COLUMN principal TO owner;
ALTER TABLE verifications RENAME COLUMN principal TO owner;
`;
