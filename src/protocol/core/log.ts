/**
 * Assembles log entries into a delivery, for callback, stream and pull. Every number of a delivery's
 * range is an event or in a gap (SEP: Delivery).
 */
import { InvariantError } from './invariant.ts';
import type { GapReason } from './types.ts';

/** A log entry as read from the store: an event when `gap` is null and `encoded` is not. */
export interface LogItem {
  readonly sequence: number;
  readonly gap: GapReason | null;
  /** The event's JSON; null when the entry is a gap or its event was deleted. */
  readonly encoded: string | null;
}

/** A range of numbers, both included, that will never be delivered. */
export interface Gap {
  readonly from: number;
  readonly to: number;
  readonly reason: GapReason;
}

/** An entry that is an event. */
export type Readable<E> = E & { readonly gap: null; readonly encoded: string };

/** Bounds of one delivery. */
export interface BatchLimits<E> {
  readonly maxEvents: number;
  readonly maxBytes: number;
  /** Whether the first event is included even if it exceeds `maxBytes`. Default true. */
  readonly atLeastOne?: boolean;
  /** Bytes this event adds to the delivery. */
  sizeOf(event: Readable<E>): number;
}

/**
 * The events and gaps of the range `after + 1 … last`: each number is in exactly one of the two, both
 * ascending.
 */
export interface Batch<E> {
  readonly events: readonly Readable<E>[];
  readonly gaps: readonly Gap[];
  /** `after` when the range is empty. */
  readonly last: number;
}

/**
 * Adds the range `from … to` to the gaps. Merges it with the last gap if it follows directly and has
 * the same reason.
 */
function extend(gaps: Gap[], from: number, to: number, reason: GapReason): void {
  const last = gaps.at(-1);
  if (last !== undefined && last.reason === reason && last.to === from - 1)
    gaps[gaps.length - 1] = { ...last, to };
  else gaps.push({ from, to, reason });
}

/**
 * Returns the longest contiguous batch after `after` within the limits. `entries` are the store's
 * entries after `after`, ascending, possibly truncated; `floor` and `head` are the subscription's.
 * Ignores entries at or below `floor`, which are being deleted, and above `head`, which belong to a
 * later state. The entries may end below `head`, because memory can be ahead of the disk. Throws
 * `InvariantError` `log_hole` when a number above `floor` is missing before an existing entry.
 */
export function assemble<E extends LogItem>(
  after: number,
  entries: Iterable<E>,
  floor: number,
  head: number,
  limits: BatchLimits<E>,
): Batch<E> {
  const events: Readable<E>[] = [];
  const gaps: Gap[] = [];
  if (limits.maxEvents <= 0 || after >= head) return { events, gaps, last: after };
  let last = after;
  let bytes = 0;
  if (last < floor) {
    last = Math.min(floor, head);
    extend(gaps, after + 1, last, 'retention');
  }
  for (const entry of entries) {
    if (entry.sequence <= Math.max(after, floor)) continue;
    if (entry.sequence > head) break;
    if (entry.sequence !== last + 1)
      throw hole(last + 1, `the next entry read is ${entry.sequence}`);
    if (!isReadable(entry)) {
      // Only retention deletes events without recording a gap.
      extend(gaps, entry.sequence, entry.sequence, entry.gap ?? 'retention');
    } else {
      const size = limits.sizeOf(entry);
      if (events.length >= limits.maxEvents) break;
      if (bytes + size > limits.maxBytes && (events.length > 0 || limits.atLeastOne === false))
        break;
      events.push(entry);
      bytes += size;
    }
    last = entry.sequence;
  }
  return { events, gaps, last };
}

function isReadable<E extends LogItem>(entry: E): entry is Readable<E> {
  return entry.gap === null && entry.encoded !== null;
}

function hole(sequence: number, found: string): InvariantError {
  return new InvariantError(
    'log_hole',
    `Log entry ${sequence} is missing and no gap explains it (${found}). The store lost it: restore a backup or rotate the epoch.`,
  );
}
