/**
 * Occurrences of `events/*` and their cursors: how an event and a position of a log look in a poll,
 * on a stream and in a webhook.
 */
import type { EventOccurrence } from '../../../protocol/events/types.ts';
import { decodeBase64url } from '../../../protocol/wire/base64url.ts';
import {
  EXTENSION_ID,
  type Delivery,
  type TriggerEvent,
  type MetaObject,
} from '../../../protocol/wire/schema.ts';

/** A log, and its head when the message was made. */
export interface LogAt {
  readonly subscriptionId: string;
  readonly epoch: string;
  readonly head: number;
}

/**
 * Converts an event into an occurrence. Its `_meta` has the sequence number, so that a client can
 * notice missing events, and the time of acceptance (SEP: When a peer lacks the extension). The
 * cursor is optional in SEP-3415, and receivers exist that require it.
 */
export function occurrence(
  { sequence, eventId, name, timestamp, acceptedAt, data, _meta }: TriggerEvent,
  { subscriptionId, epoch, head }: LogAt,
  cursor: string,
): EventOccurrence {
  return {
    eventId,
    name,
    timestamp,
    data,
    cursor,
    _meta: {
      ..._meta,
      [EXTENSION_ID]: { subscriptionId, epoch, sequence, head, acceptedAt },
    } satisfies MetaObject,
  };
}

/** The last sequence number that a delivery covers. */
export const lastOf = ({
  afterSequence,
  events,
  gaps = [],
}: Pick<Delivery, 'afterSequence' | 'events' | 'gaps'>): number =>
  Math.max(afterSequence, events.at(-1)?.sequence ?? 0, gaps.at(-1)?.to ?? 0);

/**
 * The content of a cursor: a position in one epoch of one log. A cursor is neither secret nor
 * authenticated: a forged one can only name a position in the client's own log, as in
 * `triggers/pull`. It names the log, so that the server recognizes a cursor of a log that has ended.
 */
export interface CursorPosition {
  readonly subscriptionId: string;
  readonly epoch: string;
  /** The last sequence number up to which the client has read. */
  readonly sequence: number;
}

const VERSION = '1';
const GRAMMAR = /^1 ([A-Za-z0-9_-]{22,128}) ([A-Za-z0-9_-]{8,64}) (0|[1-9][0-9]{0,15})$/;

/** Formats a cursor. */
export function cursorOf(
  { subscriptionId, epoch }: Omit<CursorPosition, 'sequence'>,
  sequence: number,
): string {
  return Buffer.from(`${VERSION} ${subscriptionId} ${epoch} ${sequence}`, 'latin1').toString(
    'base64url',
  );
}

/** Parses a cursor; null = this server did not make it. */
export function parseCursor(cursor: string): CursorPosition | null {
  const [, subscriptionId, epoch, digits] =
    GRAMMAR.exec(decodeBase64url(cursor)?.toString('latin1') ?? '') ?? [];
  const sequence = Number(digits);
  if (subscriptionId === undefined || epoch === undefined || !Number.isSafeInteger(sequence))
    return null;
  return { subscriptionId, epoch, sequence };
}
