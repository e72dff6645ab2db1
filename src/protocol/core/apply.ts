/**
 * Compares a delivery with the receiver's cursor: detects missing numbers and returns the new
 * entries in order, each number once (SEP: Applying a delivery). Pure functions, which the client and
 * the callback receiver share.
 */
import type { Position } from './types.ts';

/** A receiver's position in one subscription: everything up to `sequence` is applied. */
export interface Cursor extends Position {
  readonly subscriptionId: string;
  /** Former epochs, latest first. A late delivery of one of them must not move the cursor back. */
  readonly past: readonly string[];
}

/** A range of numbers, both included, that will never be delivered. */
export interface GapRange {
  readonly from: number;
  readonly to: number;
  /** Open: a later revision can add reasons. */
  readonly reason: string;
}

/** The members of a delivery that {@link receive} reads. */
export interface Covering<E extends { readonly sequence: number }> {
  readonly subscriptionId: string;
  readonly epoch: string;
  readonly afterSequence: number;
  readonly acked: number;
  readonly events: readonly E[];
  readonly gaps?: readonly GapRange[] | undefined;
}

/** One event, gap or range to apply, and the position after it. */
export type AppliedEntry<E> =
  | { readonly type: 'event'; readonly event: E; readonly position: Position }
  | { readonly type: 'gap'; readonly gap: GapRange; readonly position: Position }
  /**
   * The numbers `from` to `to`, both included, come before the delivery, and another reader of the
   * same owner has acknowledged them.
   */
  | {
      readonly type: 'elsewhere';
      readonly from: number;
      readonly to: number;
      readonly position: Position;
    };

/** The result of {@link receive}. */
export type Received<E> =
  /** Apply these in order. Empty when everything was applied before. */
  | { readonly kind: 'apply'; readonly entries: readonly AppliedEntry<E>[] }
  /**
   * The numbers `expected` to `after` are missing, and nobody has acknowledged `after`. Apply
   * nothing; read the log from the cursor.
   */
  | { readonly kind: 'hole'; readonly expected: number; readonly after: number }
  /**
   * The log has a new epoch, or another log replaced it (`replaced`). Move to `cursor`, report the
   * change, then call {@link receive} again.
   */
  | { readonly kind: 'moved'; readonly cursor: Cursor; readonly replaced: boolean }
  /**
   * The delivery belongs to a former epoch, or names another subscription in the current epoch.
   * Apply and acknowledge nothing.
   */
  | { readonly kind: 'stale' }
  /** The delivery contradicts itself: `at` is missing, duplicate or out of order. */
  | { readonly kind: 'unsound'; readonly at: number };

/** Most former epochs in a cursor (SEP: Applying a delivery). */
const PAST_EPOCHS_MAX = 16;

/** Where a cursor starts: a log, and the number before the first one to apply. */
interface Start {
  readonly subscriptionId: string;
  readonly epoch: string;
  readonly sequence: number;
}

/** Returns the cursor of a receiver that has applied nothing yet. */
export function begin({ subscriptionId, epoch, sequence }: Start): Cursor {
  return { subscriptionId, epoch, sequence, past: [] };
}

/** Returns the cursor in another epoch or another log; adds the epoch that it leaves to `past`. */
export function move(cursor: Cursor, to: Start): Cursor {
  const past = [cursor.epoch, ...cursor.past.filter((epoch) => epoch !== cursor.epoch)].slice(
    0,
    PAST_EPOCHS_MAX,
  );
  return { ...begin(to), past };
}

/** Returns the cursor after everything up to `sequence` is applied. Never moves it back. */
export function advance(cursor: Cursor, sequence: number): Cursor {
  return sequence > cursor.sequence ? { ...cursor, sequence } : cursor;
}

/** Compares a delivery with a cursor, and says what to do. */
export function receive<E extends { readonly sequence: number }>(
  cursor: Cursor,
  delivery: Covering<E>,
): Received<E> {
  const { epoch, subscriptionId, afterSequence: after, acked } = delivery;
  if (epoch !== cursor.epoch || subscriptionId !== cursor.subscriptionId) {
    if (epoch === cursor.epoch || cursor.past.includes(epoch)) return { kind: 'stale' };
    const replaced = subscriptionId !== cursor.subscriptionId;
    // In a new epoch the unacknowledged rest of the log starts at 1, so the cursor starts at 0. In
    // another log it starts where this delivery starts.
    return {
      kind: 'moved',
      cursor: move(cursor, { subscriptionId, epoch, sequence: replaced ? after : 0 }),
      replaced,
    };
  }
  if (after <= cursor.sequence) return walk(cursor, delivery, []);
  if (after > acked) return { kind: 'hole', expected: cursor.sequence + 1, after };
  const position = { epoch, sequence: after };
  return walk(advance(cursor, after), delivery, [
    { type: 'elsewhere', from: cursor.sequence + 1, to: after, position },
  ]);
}

/** Merges events and gaps by number; drops what is at or below the cursor. Appends to `entries`. */
function walk<E extends { readonly sequence: number }>(
  cursor: Cursor,
  delivery: Covering<E>,
  entries: AppliedEntry<E>[],
): Received<E> {
  const { epoch, events } = delivery;
  const gaps = delivery.gaps ?? [];
  let last = delivery.afterSequence;
  let nextEvent = 0;
  let nextGap = 0;
  while (nextEvent < events.length || nextGap < gaps.length) {
    const event = events[nextEvent];
    const gap = gaps[nextGap];
    if (event?.sequence === last + 1) {
      last += 1;
      nextEvent += 1;
      if (last > cursor.sequence)
        entries.push({ type: 'event', event, position: { epoch, sequence: last } });
    } else if (gap?.from === last + 1 && gap.to >= gap.from) {
      const from = Math.max(gap.from, cursor.sequence + 1);
      last = gap.to;
      nextGap += 1;
      if (last >= from)
        entries.push({
          type: 'gap',
          gap: { from, to: last, reason: gap.reason },
          position: { epoch, sequence: last },
        });
    } else {
      return { kind: 'unsound', at: last + 1 };
    }
  }
  return { kind: 'apply', entries };
}

/** The last number that a delivery covers; `afterSequence` when it covers nothing. */
export function lastCovered(
  delivery: Pick<Covering<{ readonly sequence: number }>, 'afterSequence' | 'events' | 'gaps'>,
): number {
  return Math.max(
    delivery.afterSequence,
    delivery.events.at(-1)?.sequence ?? 0,
    delivery.gaps?.at(-1)?.to ?? 0,
  );
}
