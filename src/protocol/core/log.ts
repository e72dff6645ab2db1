/**
 * From what the store read to what a delivery says. Every number of a delivery's range is an event or in a gap (SEP:
 * Delivery); a number that is neither is a defect, and is thrown rather than skipped. Callback, stream and pull all come here.
 */
import { InvariantError } from './invariant.ts';
import type { GapReason } from './types.ts';

/** A log entry as read: an event when `gap` is null and its text is there. */
export interface LogItem {
  readonly sequence: number;
  readonly gap: GapReason | null;
  /** Null when the entry is a gap, or when its event is gone. */
  readonly encoded: string | null;
}

export interface Gap {
  readonly from: number;
  readonly to: number;
  readonly reason: GapReason;
}

/** An entry that is an event. */
export type Readable<E> = E & { readonly gap: null; readonly encoded: string };

export interface BatchLimits<E> {
  readonly maxEvents: number;
  readonly maxBytes: number;
  /** False = an event larger than `maxBytes` has to wait. Default true: one event always fits. */
  readonly atLeastOne?: boolean;
  /** Bytes this event adds to the delivery. */
  sizeOf(event: Readable<E>): number;
}

/** What a delivery covers: `after + 1 … last`, each number in `events` or in `gaps`, both ascending. */
export interface Batch<E> {
  readonly events: readonly Readable<E>[];
  readonly gaps: readonly Gap[];
  /** `after` when there is nothing to say. */
  readonly last: number;
}

/** Adds `from … to` to the gaps, joined to the last one if it continues it for the same reason. */
function extend(gaps: Gap[], from: number, to: number, reason: GapReason): void {
  const last = gaps.at(-1);
  if (last !== undefined && last.reason === reason && last.to === from - 1)
    gaps[gaps.length - 1] = { ...last, to };
  else gaps.push({ from, to, reason });
}

/**
 * The longest contiguous batch after `after` that the limits allow. `entries` are the store's entries after `after`, ascending,
 * perhaps cut short; `floor` and `head` are the subscription's. Entries at or below `floor` or above `head` are ignored: they
 * are being deleted, or belong to a later state. Entries that end below `head` are no hole, since memory may be ahead of the
 * disk. Throws `InvariantError` `log_hole` when a number above `floor` is missing before an entry that is there.
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
      // An entry whose event was forgotten without a word is retention's doing: nothing else deletes events.
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
    `log entry ${sequence} is missing and no gap explains it (${found}): the store lost it; restore it from a backup or rotate the epoch`,
  );
}
