/**
 * Cursors: a position in a log as one opaque text. Nothing in it is secret or authenticated, because its holder can only name places in
 * logs of its own, as `triggers/pull` lets it do in the open. It names the log too, so that a cursor whose log has ended is recognised.
 */
import { decodeBase64url } from '../../../protocol/wire/base64url.ts';

/** A place in one life of one log. */
export interface Place {
  readonly subscriptionId: string;
  readonly epoch: string;
  /** The last number that is behind it. */
  readonly sequence: number;
}

const VERSION = '1';
const GRAMMAR = /^1 ([A-Za-z0-9_-]{22,128}) ([A-Za-z0-9_-]{8,64}) (0|[1-9][0-9]{0,15})$/;

export function cursorAt(
  { subscriptionId, epoch }: Omit<Place, 'sequence'>,
  sequence: number,
): string {
  return Buffer.from(`${VERSION} ${subscriptionId} ${epoch} ${sequence}`, 'latin1').toString(
    'base64url',
  );
}

/** Null when this server cannot have made it. */
export function placeOf(cursor: string): Place | null {
  const [, subscriptionId, epoch, digits] =
    GRAMMAR.exec(decodeBase64url(cursor)?.toString('latin1') ?? '') ?? [];
  const sequence = Number(digits);
  if (subscriptionId === undefined || epoch === undefined || !Number.isSafeInteger(sequence))
    return null;
  return { subscriptionId, epoch, sequence };
}
