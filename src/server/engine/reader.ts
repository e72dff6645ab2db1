/**
 * Reads a range of a log and makes the delivery that covers it: the same for callback, stream and pull, so that order, gaps
 * and bytes cannot differ between drains (SEP: Delivery).
 */
import type { Delivery, Gap } from '../../../spec-schema/draft/schema.ts';
import { assemble, etagOf, statusOf } from '../../protocol/core/index.ts';
import type { Subscription } from '../../protocol/core/types.ts';
import { encodeDelivery, eventWithSequence } from '../../protocol/wire/envelope.ts';
import type { LoadedSubscription } from './unit-of-work.ts';
import type { ReadEntry, Store } from '../store/port.ts';

/** Room for everything in a delivery that is not an event: keys, counters, gaps. */
export const ENVELOPE_BYTES = 8 * 1024;

/** A contiguous stretch of the log, ready to be sent. */
export interface LogRange {
  readonly after: number;
  /** The last number covered; equals `after` when there is nothing. */
  readonly last: number;
  /** Each event's JSON, `sequence` included. */
  readonly events: readonly string[];
  readonly gaps: readonly Gap[];
  /** Numbers of the events, ascending, beside `events`. */
  readonly sequences: readonly number[];
}

export interface ReadLimits {
  readonly events: number;
  /** Bytes of event JSON. One event always fits, unless there is no room at all (`events` is then 0). */
  readonly bytes: number;
}

/** From memory; null when only the store knows. */
export function readTail(
  loaded: LoadedSubscription,
  after: number,
  limits: ReadLimits,
): LogRange | null {
  const { tail, state } = loaded;
  if (tail === null || after < state.floor) return null;
  const first = tail[0]?.sequence ?? state.head + 1;
  if (first > after + 1) return null;
  return rangeOf(
    state,
    after,
    tail.slice(after + 1 - first, after + 1 - first + limits.events),
    limits,
  );
}

/** From the store, as far as it is committed. Reads less than asked when the range ends before `head`. */
export async function readStore(
  store: Store,
  loaded: LoadedSubscription,
  after: number,
  limits: ReadLimits,
): Promise<readonly ReadEntry[]> {
  return store.read(loaded.row, Math.max(after, loaded.state.floor), limits.events, limits.bytes);
}

/**
 * Turns entries into a range. What is trimmed shows as a leading gap; a hole that nothing explains is a defect and throws. The
 * range ends with the entries, even if more is numbered: what was read is what is on disk.
 */
export function rangeOf(
  state: Subscription,
  after: number,
  entries: readonly ReadEntry[],
  limits: ReadLimits,
): LogRange {
  const readable = Math.max(entries.at(-1)?.sequence ?? 0, Math.min(state.floor, state.head));
  const { events, gaps, last } = assemble(after, entries, state.floor, readable, {
    maxEvents: limits.events,
    maxBytes: limits.bytes,
    sizeOf,
  });
  return {
    after,
    last,
    events: events.map((entry) => eventWithSequence(entry.encoded ?? '', entry.sequence)),
    gaps,
    sequences: events.map((entry) => entry.sequence),
  };
}

/** Bytes of the event as it is sent: `"sequence":n,` goes in front of what is stored. */
const sizeOf = ({ encoded, sequence }: ReadEntry): number =>
  encoded === null
    ? 0
    : Buffer.byteLength(encoded) + '"sequence":,'.length + String(sequence).length;

/** What comes first in a range, alone: one event, or one run of gaps. */
export function firstOf(range: LogRange): LogRange {
  const first = range.after + 1;
  const gaps = range.gaps[0]?.from === first ? range.gaps.slice(0, runLength(range.gaps)) : [];
  if (gaps.length > 0)
    return { after: range.after, last: gaps.at(-1)!.to, events: [], gaps, sequences: [] };
  return {
    after: range.after,
    last: Math.min(range.last, first),
    events: range.events.slice(0, 1),
    gaps: [],
    sequences: range.sequences.slice(0, 1),
  };
}

/** How many gaps follow each other without a number between them. */
function runLength(gaps: readonly Gap[]): number {
  const end = gaps.findIndex((gap, at) => at > 0 && gap.from !== gaps[at - 1]!.to + 1);
  return end === -1 ? gaps.length : end;
}

export interface DeliveryExtras {
  readonly challenge?: string;
  readonly terminated?: NonNullable<Delivery['terminated']>;
}

/** The delivery as JSON text. Counters are those of the moment it is sent. */
export function deliveryOf(
  state: Subscription,
  range: LogRange,
  extras: DeliveryExtras = {},
): string {
  return encodeDelivery(
    {
      subscriptionId: state.subscriptionId,
      key: state.key,
      epoch: state.epoch,
      after: range.after,
      ...(range.gaps.length > 0 ? { gaps: [...range.gaps] } : {}),
      head: state.head,
      acked: state.acked,
      etag: etagOf(state),
      status: statusOf(state),
      expiresAt: instant(state.expiresAt),
      ...extras,
    },
    range.events,
  );
}

/** A delivery that covers nothing: heartbeat, probe, challenge, last word. */
export const emptyRange = (after: number): LogRange => ({
  after,
  last: after,
  events: [],
  gaps: [],
  sequences: [],
});

export function instant(at: number): string;
export function instant(at: number | null): string | null;
export function instant(at: number | null): string | null {
  return at === null ? null : new Date(at).toISOString();
}
