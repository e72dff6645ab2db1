/**
 * Calls the methods of `events/*`, and checks what a server sends: events, cursors, and the numbers
 * that a server with this extension adds (SEP: When a peer lacks the extension).
 */
import type { Selection } from '../../../../../spec-schema/draft/schema.ts';
import { WireError } from '../../../../protocol/wire/errors.ts';
import { EXTENSION_ID } from '../../../../protocol/wire/schema.ts';
import type { Connection } from '../../../sdk/connection.ts';
import { misbehaved } from '../../../sdk/peer-error.ts';
import type { EventYield, ServerNumber } from '../../types.ts';
import { eventsError } from './errors.ts';

const ID_CHARS_MAX = 1024;
const CURSOR_CHARS_MAX = 16_384;

export type Raw = Readonly<Record<string, unknown>>;

/** The members of an object; any other value has none. */
export const members = (value: unknown): Raw => Object(value) as Raw;

/**
 * The members that name a selection in a call. Deployed servers reject absent arguments; none
 * rejects an empty object.
 */
export const eventKey = ({
  name,
  arguments: given,
}: Selection): { readonly name: string; readonly arguments: object } => ({
  name,
  arguments: given ?? {},
});

/**
 * Calls a method of `events/*` for a selection. Rejects as {@link Connection.call} does, with
 * translated errors.
 */
export async function callEvents(
  connection: Connection,
  method: string,
  selection: Selection,
  params: object,
  signal: AbortSignal,
): Promise<Raw> {
  try {
    return members(
      await connection.call(method, { ...eventKey(selection), ...params }, { signal }),
    );
  } catch (error) {
    signal.throwIfAborted();
    throw eventsError(error);
  }
}

/**
 * Whether the error rejects the cursor. SEP-3415 allows a cursor that the server does not know, but
 * some servers reject it.
 */
export const isCursorRefused = (error: unknown, cursor: string | null): boolean =>
  cursor !== null &&
  error instanceof WireError &&
  error.is('InvalidParams') &&
  (error.data.path === '' || error.data.path === '/cursor');

/** Reads an event of the followed type. Throws `LocalError` `peer_misbehaved` for anything else. */
export function eventOf(raw: unknown, expectedName: string): EventYield {
  const { eventId, name, timestamp, data, _meta } = members(raw);
  if (typeof eventId !== 'string' || eventId === '' || eventId.length > ID_CHARS_MAX)
    throw misbehaved('occurrence', 'an event has no valid eventId');
  if (name !== expectedName) throw misbehaved('occurrence', 'it sent an event of another type');
  if (typeof timestamp !== 'string' || Number.isNaN(Date.parse(timestamp)))
    throw misbehaved('occurrence', 'an event has no valid timestamp');
  if (typeof data !== 'object' || data === null)
    throw misbehaved('occurrence', 'the data of an event is not an object');
  const ours = members(_meta)[EXTENSION_ID];
  const number = numberOf(ours);
  const acceptedAt = acceptedAtOf(ours);
  return {
    type: 'event',
    event: {
      eventId,
      name: expectedName,
      timestamp,
      ...(acceptedAt === undefined ? {} : { acceptedAt }),
      data,
    },
    ...(number ? { number } : {}),
  };
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
  if (!isSound) throw misbehaved('number', 'the number of an event is not valid');
  return { by: 'server', subscriptionId, epoch, sequence: sequence as number };
}

function acceptedAtOf(raw: unknown): string | undefined {
  const { acceptedAt } = raw === undefined ? {} : members(raw);
  if (acceptedAt === undefined) return undefined;
  if (typeof acceptedAt !== 'string' || Number.isNaN(Date.parse(acceptedAt)))
    throw misbehaved('occurrence', 'the time of acceptance of an event is not valid');
  return acceptedAt;
}

/** Reads a cursor. Absent and null mean the same: the server replays nothing. */
export function cursorOf(raw: unknown): string | null {
  if (raw === undefined || raw === null) return null;
  if (typeof raw !== 'string' || raw.length > CURSOR_CHARS_MAX)
    throw misbehaved('cursor', 'a cursor is not a string, or is too long');
  return raw;
}

export const markOf = (cursor: string | null): { readonly mark?: string } =>
  cursor === null ? {} : { mark: cursor };

export const isTruncated = ({ truncated }: Raw): boolean => truncated === true;
