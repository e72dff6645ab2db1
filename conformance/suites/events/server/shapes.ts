/** What members of this extension look like, as assertions. */
import assert from 'node:assert/strict';
import type { Json } from '../../../runner/wire/session.ts';

/** ISO 8601 as a point in time: with a zone. */
const INSTANT = /^\d{4}-\d{2}-\d{2}T\d{2}:\d{2}(:\d{2}(\.\d+)?)?(Z|[+-]\d{2}:?\d{2})$/;

export function isOccurrence(raw: Json, name: string): void {
  assert.ok(
    typeof raw?.eventId === 'string' && raw.eventId !== '',
    `eventId is ${JSON.stringify(raw?.eventId)}`,
  );
  assert.equal(raw.name, name, 'name:');
  assert.match(
    String(raw.timestamp),
    INSTANT,
    `timestamp is ${JSON.stringify(raw.timestamp)}, no ISO 8601`,
  );
  assert.ok(isObject(raw.data), `data is ${JSON.stringify(raw.data)}, no object`);
}

export const isObject = (value: unknown): boolean =>
  typeof value === 'object' && value !== null && !Array.isArray(value);

/** A cursor: opaque text, or null where there is no replay; absent is the same as null. */
export function isCursor(value: unknown): void {
  assert.ok(
    value === undefined || value === null || (typeof value === 'string' && value !== ''),
    `the cursor is ${JSON.stringify(value)}`,
  );
}

/** A cursor that can be used. */
export function isText(value: unknown, what: string): void {
  assert.ok(typeof value === 'string' && value !== '', `${what} is ${JSON.stringify(value)}`);
}
