/** The server's numbers on `events/*`: what one of them says about the one before (SEP: When a peer lacks the extension). */
import type { ServerNumber } from './types.ts';

/** A number and the log that it counts in. */
export type Numbered = Omit<ServerNumber, 'by'>;

export type Place =
  | 'next'
  /** The first one that is seen. */
  | 'first'
  /** It was there before: a repetition, or a server that counts backwards. */
  | 'behind'
  /** Numbers in between are missing. */
  | { readonly kind: 'gap'; readonly from: number; readonly to: number }
  /** The log has a new life, in which the numbers before this one were not seen; none of them when `to` is below `from`. */
  | { readonly kind: 'epoch'; readonly from: number; readonly to: number }
  /** Another log. */
  | 'replaced';

export function place(last: Numbered | undefined, now: Numbered): Place {
  if (last === undefined) return 'first';
  if (last.subscriptionId !== now.subscriptionId) return 'replaced';
  if (last.epoch !== now.epoch) return { kind: 'epoch', from: 1, to: now.sequence - 1 };
  if (now.sequence <= last.sequence) return 'behind';
  return now.sequence === last.sequence + 1
    ? 'next'
    : { kind: 'gap', from: last.sequence + 1, to: now.sequence - 1 };
}

/** Whether a row of numbers shows by itself that something is missing. */
export function showsLoss(last: Numbered | undefined, numbers: readonly Numbered[]): boolean {
  let before = last;
  for (const number of numbers) {
    const where = place(before, number);
    if (typeof where === 'object' || where === 'replaced') return true;
    before = number;
  }
  return false;
}
