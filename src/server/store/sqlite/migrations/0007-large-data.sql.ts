/**
 * Migration 7: the data of a large event is apart from its text, so that reading a log does not
 * read it; a subscription has such events by reference or not (NULL = as a gap); and an event can be
 * too large to be stored. The columns of the data are the last ones, because SQLite reads a row up
 * to the column that it needs. SQLite cannot change a CHECK, so the column `gap` is replaced. Large
 * events from before this migration have their data in `encoded`, and stay gaps.
 */
export const sql = `
ALTER TABLE subscriptions ADD COLUMN data_ref INTEGER CHECK (data_ref = 1);
ALTER TABLE accepted_events ADD COLUMN gap_7 TEXT CHECK (gap_7 IN ('invalid', 'unwatched', 'too_large'));
UPDATE accepted_events SET gap_7 = gap WHERE gap IS NOT NULL;
ALTER TABLE accepted_events DROP COLUMN gap;
ALTER TABLE accepted_events RENAME COLUMN gap_7 TO gap;
ALTER TABLE accepted_events ADD COLUMN data_bytes INTEGER;
ALTER TABLE accepted_events ADD COLUMN data_checksum INTEGER;
ALTER TABLE accepted_events ADD COLUMN data TEXT;
`;
