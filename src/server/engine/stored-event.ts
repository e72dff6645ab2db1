/**
 * The form in which the accept log has an event, and what a log shows of it (SEP: The log, Data by
 * reference).
 */
import type { GapReason, Subscription } from '../../protocol/core/types.ts';
import { fitsDelivery, type EncodedEvent } from '../../protocol/wire/envelope.ts';
import type { AcceptedEvent, Write } from '../store/port.ts';

/** Why a log has a gap instead of this event; null = it has the event. */
export function gapIn(
  { dataRef }: Subscription,
  { gap, encoded, dataBytes }: AcceptedEvent,
): GapReason | null {
  if (gap !== null) return gap;
  if (encoded === null) return 'redacted';
  const isDeliverable = dataBytes === undefined || dataRef === true;
  return isDeliverable && fitsDelivery(encoded) ? null : 'too_large';
}

/** The text of an event as the accept log has it. */
export const stored = ({
  encoded,
  data,
}: EncodedEvent): Pick<AcceptedEvent, 'encoded' | 'dataBytes'> => ({
  encoded,
  ...(data === undefined ? {} : { dataBytes: Buffer.byteLength(data) }),
});

/** The write that accepts an event. */
export const eventWrite = (event: AcceptedEvent, { data }: EncodedEvent): Write => ({
  type: 'event',
  event,
  ...(data === undefined ? {} : { data }),
});
