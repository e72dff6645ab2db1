/**
 * What a server of `events/*` says, read with care: occurrences, cursors, and the numbers that a server with this extension puts beside
 * them (SEP: When a peer lacks the extension).
 */
import { EXTENSION_ID } from '../../../../protocol/wire/schema.ts';
import type { FollowedEvent, ServerNumber } from '../../types.ts';
import { misbehaved } from './errors.ts';

const ID_CHARS_MAX = 1024;
const CURSOR_CHARS_MAX = 16_384;

export type Raw = Readonly<Record<string, unknown>>;

/** The members of an object, or none. */
export const members = (value: unknown): Raw => Object(value) as Raw;

export interface Occurrence {
  readonly event: FollowedEvent['event'];
  readonly number?: ServerNumber;
}

/** Throws `LocalError` `peer_misbehaved` for what is no occurrence of the type that is followed. */
export function occurrenceOf(raw: unknown, expectedName: string): Occurrence {
  const { eventId, name, timestamp, data, _meta } = members(raw);
  if (typeof eventId !== 'string' || eventId === '' || eventId.length > ID_CHARS_MAX)
    throw misbehaved('occurrence', 'an event has no usable eventId');
  if (name !== expectedName) throw misbehaved('occurrence', 'it sent an event of another type');
  if (typeof timestamp !== 'string' || Number.isNaN(Date.parse(timestamp)))
    throw misbehaved('occurrence', 'an event has no usable timestamp');
  if (typeof data !== 'object' || data === null)
    throw misbehaved('occurrence', 'the data of an event is no object');
  const number = numberOf(members(_meta)[EXTENSION_ID]);
  return { event: { eventId, name: expectedName, timestamp, data }, ...(number ? { number } : {}) };
}

function numberOf(raw: unknown): ServerNumber | undefined {
  if (raw === undefined) return undefined;
  const { subscriptionId, epoch, sequence } = members(raw);
  const isSound =
    typeof subscriptionId === 'string' &&
    subscriptionId !== '' &&
    typeof epoch === 'string' &&
    epoch !== '' &&
    Number.isSafeInteger(sequence) &&
    (sequence as number) > 0;
  if (!isSound) throw misbehaved('number', 'the number of an event is none');
  return {
    by: 'server',
    subscriptionId,
    epoch,
    sequence: sequence as number,
  };
}

/** Absent is the same as null: nothing can be had again. */
export function cursorOf(raw: unknown): string | null {
  if (raw === undefined || raw === null) return null;
  if (typeof raw !== 'string' || raw.length > CURSOR_CHARS_MAX)
    throw misbehaved('cursor', 'a cursor is no string of usable length');
  return raw;
}

export const isTruncated = ({ truncated }: Raw): boolean => truncated === true;
