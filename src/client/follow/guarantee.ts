/**
 * The guarantee of each mode, and the comparison of two guarantees (SEP: When a peer lacks the
 * extension).
 */
import type { Drain } from '../../../spec-schema/draft/schema.ts';
import { drainRank } from '../subscription/drains.ts';
import { modeRank, type ModeName } from './mode-table.ts';
import type { FollowGuarantee } from './types.ts';

/** The guarantee of the mode `triggers`. */
export const totalOrder = (drain: Drain): FollowGuarantee => ({
  mode: 'triggers',
  drain,
  order: 'total',
  loss: 'none silent',
  gaps: 'exact',
  numbers: 'server',
});

/**
 * The guarantee of a mode of `events/*` with a cursor: the server sends missed events again, or
 * says that it no longer can.
 */
export const withCursor = (mode: ModeName): FollowGuarantee => ({
  mode,
  order: 'sent',
  loss: 'flagged',
  gaps: 'flag',
  numbers: 'client',
});

/**
 * The guarantee of a mode of `events/*` without a cursor: events sent while the connection is down
 * are lost without a report.
 */
export const withoutCursor = (mode: ModeName): FollowGuarantee => ({
  mode,
  order: 'sent',
  loss: 'undetected',
  gaps: 'none',
  numbers: 'client',
});

/**
 * The guarantee of plain MCP: neither a change notification nor a hash tells what happened between
 * two reads.
 */
export const latestStateOnly = (mode: ModeName): FollowGuarantee => ({
  mode,
  order: 'observed',
  loss: 'latest state only',
  gaps: 'none',
  numbers: 'client',
});

/** Strengthens a guarantee: with sequence numbers from the server every loss shows, in any mode. */
export const withServerNumbers = (guarantee: FollowGuarantee): FollowGuarantee => ({
  ...guarantee,
  order: 'total',
  loss: 'none silent',
  gaps: 'exact',
  numbers: 'server',
});

/** Best first. Loss counts most, then gaps, then order. */
const LOSS: readonly FollowGuarantee['loss'][] = [
  'none silent',
  'flagged',
  'undetected',
  'latest state only',
];
const GAPS: readonly FollowGuarantee['gaps'][] = ['exact', 'flag', 'none'];
const ORDER: readonly FollowGuarantee['order'][] = ['total', 'sent', 'observed'];

const ranks = ({ loss, gaps, order }: FollowGuarantee): readonly number[] => [
  LOSS.indexOf(loss),
  GAPS.indexOf(gaps),
  ORDER.indexOf(order),
];

/**
 * Compares two guarantees without their modes: positive when `a` is weaker than `b`, 0 when both
 * promise the same.
 */
export function compareGuarantees(a: FollowGuarantee, b: FollowGuarantee): number {
  const other = ranks(b);
  return (
    ranks(a)
      .map((rank, at) => rank - other[at]!)
      .find((difference) => difference !== 0) ?? 0
  );
}

/** The weakest guarantee, which holds for all of them. */
export const weakestGuarantee = (
  guarantees: readonly FollowGuarantee[],
): FollowGuarantee | undefined =>
  guarantees.reduce<FollowGuarantee | undefined>(
    (worst, one) => (worst === undefined || compareGuarantees(one, worst) > 0 ? one : worst),
    undefined,
  );

export const isSameGuarantee = (a: FollowGuarantee | undefined, b: FollowGuarantee): boolean =>
  a !== undefined &&
  a.mode === b.mode &&
  a.drain === b.drain &&
  a.numbers === b.numbers &&
  compareGuarantees(a, b) === 0;

/**
 * Whether a change is for better or worse: the mode counts most, then what it promises, then the
 * drain.
 */
export function directionOf(from: FollowGuarantee, to: FollowGuarantee): 'upgraded' | 'downgraded' {
  const rank = ({ drain = 'callback' }: FollowGuarantee): number => drainRank(drain);
  const down =
    modeRank(to.mode) - modeRank(from.mode) || compareGuarantees(to, from) || rank(to) - rank(from);
  return down > 0 ? 'downgraded' : 'upgraded';
}
