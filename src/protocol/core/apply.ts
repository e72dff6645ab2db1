/**
 * What a receiver does with a delivery, on every drain: one comparison decides whether something was missed, and what is
 * new is handed on in order, each number once (SEP: Applying a delivery). Pure: a cursor and a delivery in, a verdict
 * out. Client and callback receiver share it, so that a number can mean nothing else on one drain than on another.
 */
import type { GapReason, Position } from './types.ts';

/** Where a receiver stands in one subscription: everything up to `sequence` has been taken. */
export interface Cursor extends Position {
  readonly subscriptionId: string;
  /** Epochs left behind, latest first. A late delivery of one of them must not turn the receiver back. */
  readonly past: readonly string[];
}

/** A range of numbers that will never be delivered. */
export interface GapRange {
  readonly from: number;
  readonly to: number;
  readonly reason: GapReason;
}

/** The members of a delivery that the rule reads. */
export interface Covering<E extends { readonly sequence: number }> {
  readonly subscriptionId: string;
  readonly epoch: string;
  readonly after: number;
  readonly events: readonly E[];
  readonly gaps?: readonly GapRange[] | undefined;
}

/** One thing to take, and where its taker stands afterwards. */
export type AppliedEntry<E> =
  | { readonly type: 'event'; readonly event: E; readonly position: Position }
  | { readonly type: 'gap'; readonly gap: GapRange; readonly position: Position };

export type Received<E> =
  /** Take these in order; there are none when all of it was known. */
  | { readonly kind: 'apply'; readonly entries: readonly AppliedEntry<E>[] }
  /** Numbers from `expected` to `after` were missed. Take nothing; read the log from the cursor. */
  | { readonly kind: 'hole'; readonly expected: number; readonly after: number }
  /** The log has a new life, or another log took its place: move to `cursor`, tell the application, then judge again. */
  | { readonly kind: 'moved'; readonly cursor: Cursor; readonly replaced: boolean }
  /** Of a life of the log that is over. Take nothing, acknowledge nothing. */
  | { readonly kind: 'stale' }
  /** Contradicts itself: a number is missing, doubled or out of order. */
  | { readonly kind: 'unsound'; readonly at: number };

/** How many left epochs are remembered. Epochs change only when a server lost a log. */
const PAST_EPOCHS_MAX = 8;

/** Which log, and the number before the first one to take. */
interface Start {
  readonly subscriptionId: string;
  readonly epoch: string;
  readonly sequence: number;
}

/** The cursor of a receiver that knows nothing of the subscription yet. */
export function begin({ subscriptionId, epoch, sequence }: Start): Cursor {
  return { subscriptionId, epoch, sequence, past: [] };
}

/** The cursor in another life of the log, or in another log; the life that was left is remembered. */
export function move(cursor: Cursor, to: Start): Cursor {
  const past = [cursor.epoch, ...cursor.past.filter((epoch) => epoch !== cursor.epoch)].slice(
    0,
    PAST_EPOCHS_MAX,
  );
  return { ...begin(to), past };
}

/** The cursor once everything up to `sequence` has been taken. It never goes back. */
export function advance(cursor: Cursor, sequence: number): Cursor {
  return sequence > cursor.sequence ? { ...cursor, sequence } : cursor;
}

/** Judges a delivery against a cursor. */
export function receive<E extends { readonly sequence: number }>(
  cursor: Cursor,
  delivery: Covering<E>,
): Received<E> {
  const { epoch, subscriptionId, after } = delivery;
  if (epoch !== cursor.epoch || subscriptionId !== cursor.subscriptionId) {
    if (epoch === cursor.epoch || cursor.past.includes(epoch)) return { kind: 'stale' };
    const replaced = subscriptionId !== cursor.subscriptionId;
    // A new life numbers its rest from 1 and all of it counts; another log is joined where its sender is.
    return {
      kind: 'moved',
      cursor: move(cursor, { subscriptionId, epoch, sequence: replaced ? after : 0 }),
      replaced,
    };
  }
  if (after > cursor.sequence) return { kind: 'hole', expected: cursor.sequence + 1, after };
  return walk(cursor, delivery);
}

/** Merges events and gaps by number; what is at or below the cursor is known and falls away. */
function walk<E extends { readonly sequence: number }>(
  cursor: Cursor,
  delivery: Covering<E>,
): Received<E> {
  const { epoch, events } = delivery;
  const gaps = delivery.gaps ?? [];
  const entries: AppliedEntry<E>[] = [];
  let last = delivery.after;
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

/** The last number a delivery covers; `after` when it covers nothing. */
export function lastCovered(
  delivery: Pick<Covering<{ readonly sequence: number }>, 'after' | 'events' | 'gaps'>,
): number {
  return Math.max(
    delivery.after,
    delivery.events.at(-1)?.sequence ?? 0,
    delivery.gaps?.at(-1)?.to ?? 0,
  );
}
