/** Guarantees compared: which one is weaker, and whether two say the same (SEP: When a peer lacks the extension). */
import { MODE_NAMES } from './modes/index.ts';
import type { FollowGuarantee } from './types.ts';

/** Best first. What is lost counts most. */
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

/** Positive when `a` promises less than `b`, 0 when it promises the same by whatever rung. */
export function compareGuarantees(a: FollowGuarantee, b: FollowGuarantee): number {
  const other = ranks(b);
  return (
    ranks(a)
      .map((rank, at) => rank - other[at]!)
      .find((difference) => difference !== 0) ?? 0
  );
}

/** What can be relied on for all of them. */
export const weakest = (guarantees: readonly FollowGuarantee[]): FollowGuarantee | undefined =>
  guarantees.reduce<FollowGuarantee | undefined>(
    (worst, one) => (worst === undefined || compareGuarantees(one, worst) > 0 ? one : worst),
    undefined,
  );

export const isSame = (a: FollowGuarantee | undefined, b: FollowGuarantee): boolean =>
  a !== undefined &&
  a.mode === b.mode &&
  a.drain === b.drain &&
  a.numbers === b.numbers &&
  compareGuarantees(a, b) === 0;

/** With the server's numbers every loss shows, on whatever way the events come. */
export const withNumbers = (guarantee: FollowGuarantee): FollowGuarantee => ({
  ...guarantee,
  order: 'total',
  loss: 'none silent',
  gaps: 'exact',
  numbers: 'server',
});

const DRAINS = ['callback', 'stream', 'pull'] as const;

/** What a change means: the rung counts most, then what it promises, then how the events get here. */
export function direction(from: FollowGuarantee, to: FollowGuarantee): 'upgraded' | 'downgraded' {
  const drain = ({ drain: one = 'callback' }: FollowGuarantee): number => DRAINS.indexOf(one);
  const down =
    MODE_NAMES.indexOf(to.mode) - MODE_NAMES.indexOf(from.mode) ||
    compareGuarantees(to, from) ||
    drain(to) - drain(from);
  return down > 0 ? 'downgraded' : 'upgraded';
}
