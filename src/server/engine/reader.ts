/**
 * Reads a range of a log and encodes the delivery that covers it. All drains share this code, so
 * that order, gaps and bytes cannot differ between them (SEP: Delivery, Positions).
 */
import type { Delivery, Gap } from '../../../spec-schema/draft/schema.ts';
import { assemble, etagOf } from '../../protocol/core/index.ts';
import type {
  DeliveredState,
  Position,
  StepRefusal,
  Subscription,
} from '../../protocol/core/types.ts';
import { encodeDelivery, eventBytes, eventInLog } from '../../protocol/wire/envelope.ts';
import { conflict, notFound, type WireError } from '../../protocol/wire/errors.ts';
import type { ReadEntry, Store } from '../store/port.ts';
import { dataRefOf } from './data-ref.ts';
import type { LoadedSubscription } from './subscription-cache.ts';

/** Bytes reserved for everything in a delivery that is not an event: keys, counters, gaps. */
export const ENVELOPE_BYTES = 8 * 1024;

/** A contiguous part of a log, ready to be sent. */
export interface LogRange {
  /** The sequence number before the range. */
  readonly after: number;
  /** The last number covered; equals `after` when the range is empty. */
  readonly last: number;
  /** Each event's JSON, including `sequence`. */
  readonly events: readonly string[];
  readonly gaps: readonly Gap[];
  /** The sequence number of each of `events`. */
  readonly sequences: readonly number[];
  /** When the first of `events` was accepted, in epoch milliseconds; null without events. */
  readonly oldestAt: number | null;
}

/** Limits of one read. */
export interface ReadLimits {
  readonly events: number;
  /** Bytes of the events' JSON. The first event is read whatever its size. */
  readonly bytes: number;
}

/** Reads a range from memory; null = only the store has its entries. */
export function readTail(
  loaded: LoadedSubscription,
  after: number,
  limits: ReadLimits,
): LogRange | null {
  const entries = loaded.tailAfter(after, limits.events);
  return entries === null ? null : rangeOf(loaded.state, after, entries, limits);
}

/** Reads committed entries from the store, up to the limits or to the end of the log. */
export async function readStore(
  store: Store,
  loaded: LoadedSubscription,
  after: number,
  limits: ReadLimits,
): Promise<readonly ReadEntry[]> {
  return store.read(loaded.row, Math.max(after, loaded.state.floor), limits.events, limits.bytes);
}

/**
 * Turns entries into a range. Trimmed numbers become a leading gap. The range ends with the last
 * entry even if `head` is greater, because later entries may not be on disk yet. Throws
 * `InvariantError` `log_hole` when an entry in between is missing.
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
    sizeOf: (entry) => sizeOf(state, entry),
  });
  return {
    after,
    last,
    events: events.map((entry) =>
      eventInLog(entry.encoded ?? '', entry.sequence, entry.acceptedAt, dataRefOf(state, entry)),
    ),
    gaps,
    sequences: events.map((entry) => entry.sequence),
    oldestAt: events[0]?.acceptedAt ?? null,
  };
}

/** Bytes of the event as sent, with its number. */
function sizeOf(state: Subscription, entry: ReadEntry): number {
  const { encoded, sequence } = entry;
  if (encoded === null) return 0;
  const ref = dataRefOf(state, entry);
  const refBytes = ref === undefined ? 0 : '"dataRef":,'.length + JSON.stringify(ref).length;
  return eventBytes(encoded) + refBytes + '"sequence":,'.length + String(sequence).length;
}

/** The first part of a range: one event, or one run of gaps. */
export function firstOf(range: LogRange): LogRange {
  const first = range.after + 1;
  const gaps = range.gaps[0]?.from === first ? range.gaps.slice(0, runLength(range.gaps)) : [];
  if (gaps.length > 0)
    return {
      after: range.after,
      last: gaps.at(-1)!.to,
      events: [],
      gaps,
      sequences: [],
      oldestAt: null,
    };
  return {
    after: range.after,
    last: Math.min(range.last, first),
    events: range.events.slice(0, 1),
    gaps: [],
    sequences: range.sequences.slice(0, 1),
    oldestAt: range.oldestAt,
  };
}

/**
 * The longest first part of a range whose delivery has at most `maxBytes` bytes, but at least one
 * event or one gap. `bytesOf` has the bytes of the delivery of a part.
 */
export function cutToBytes(
  range: LogRange,
  maxBytes: number,
  bytesOf: (part: LogRange) => number,
): LogRange {
  if (bytesOf(range) <= maxBytes) return range;
  const ends = [...range.sequences, ...range.gaps.map(({ to }) => to)].sort((a, b) => a - b);
  let [fits, exceeds] = [0, ends.length - 1];
  while (fits + 1 < exceeds) {
    const middle = (fits + exceeds) >>> 1;
    if (bytesOf(partOf(range, ends[middle]!)) <= maxBytes) fits = middle;
    else exceeds = middle;
  }
  return partOf(range, ends[fits]!);
}

/** The part of a range up to a number at which an event or a gap ends. */
function partOf(range: LogRange, last: number): LogRange {
  const sequences = range.sequences.filter((sequence) => sequence <= last);
  return {
    after: range.after,
    last,
    events: range.events.slice(0, sequences.length),
    gaps: range.gaps.filter(({ to }) => to <= last),
    sequences,
    oldestAt: sequences.length === 0 ? null : range.oldestAt,
  };
}

/** The number of gaps at the start that follow each other without an event in between. */
function runLength(gaps: readonly Gap[]): number {
  const end = gaps.findIndex((gap, at) => at > 0 && gap.from !== gaps[at - 1]!.to + 1);
  return end === -1 ? gaps.length : end;
}

/** The delivery as JSON text, with the counters of `state`. */
export function deliveryOf(
  state: DeliveredState,
  range: LogRange,
  terminated?: Delivery['terminated'],
): string {
  return encodeDelivery(
    {
      subscriptionId: state.subscriptionId,
      key: state.key,
      epoch: state.epoch,
      afterSequence: range.after,
      ...(range.gaps.length > 0 ? { gaps: [...range.gaps] } : {}),
      head: state.head,
      acked: state.acked,
      etag: etagOf(state),
      ...(state.expiresAt === null ? {} : { expiresAt: instant(state.expiresAt) }),
      ...(terminated === undefined ? {} : { terminated }),
    },
    range.events,
  );
}

/**
 * The range of a delivery without events and gaps: a heartbeat or a termination notice.
 */
export const emptyRange = (after: number): LogRange => ({
  after,
  last: after,
  events: [],
  gaps: [],
  sequences: [],
  oldestAt: null,
});

/** Epoch milliseconds as an RFC 3339 instant. */
export const instant = (at: number): string => new Date(at).toISOString();

/** Throws `WireError` `Conflict` for a position of another epoch or beyond the end of the log. */
export function assertPosition(position: Position, state: Subscription): void {
  if (position.epoch !== state.epoch) throw rejectionError({ kind: 'epoch' }, state);
  if (position.sequence > state.head) throw rejectionError({ kind: 'position' }, state);
}

/** The wire error for an input that the core rejected. */
export function rejectionError(refused: StepRefusal, state: Subscription): WireError {
  const { epoch, head, acked, sent } = state;
  switch (refused.kind) {
    case 'epoch':
      return conflict({ kind: 'epoch', epoch, head, acked });
    case 'position':
      return conflict({ kind: 'position', epoch, head, acked, sent });
    default:
      return notFound({ kind: 'subscription' });
  }
}
