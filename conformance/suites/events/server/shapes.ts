/** Assertions on the shapes of SEP-3415. */
import assert from 'node:assert/strict';
import type { Json } from '../../../runner/wire/session.ts';

/** An ISO 8601 instant with a time zone. */
const INSTANT = /^\d{4}-\d{2}-\d{2}T\d{2}:\d{2}(:\d{2}(\.\d+)?)?(Z|[+-]\d{2}:?\d{2})$/;

/** Asserts an occurrence of the event type `name`. */
export function isOccurrence(raw: Json, name: string): void {
  assert.ok(
    typeof raw?.eventId === 'string' && raw.eventId !== '',
    `eventId is ${JSON.stringify(raw?.eventId)}`,
  );
  assert.equal(raw.name, name, 'name:');
  assert.match(
    String(raw.timestamp),
    INSTANT,
    `timestamp is ${JSON.stringify(raw.timestamp)}, not ISO 8601`,
  );
  assert.ok(isObject(raw.data), `data is ${JSON.stringify(raw.data)}, not an object`);
}

export const isObject = (value: unknown): boolean =>
  typeof value === 'object' && value !== null && !Array.isArray(value);

/** Asserts a cursor: text, or null without replay; absent means null. */
export function isCursor(value: unknown): void {
  assert.ok(
    value === undefined || value === null || (typeof value === 'string' && value !== ''),
    `the cursor is ${JSON.stringify(value)}`,
  );
}

/** Asserts a non-empty text, such as a usable cursor. */
export function isText(value: unknown, what: string): void {
  assert.ok(typeof value === 'string' && value !== '', `${what} is ${JSON.stringify(value)}`);
}
