/**
 * A reader's state and a delivery, with the items, the position and the acknowledgement after it.
 */
import { deliveryOf, EPOCH, type Gap } from './delivery.ts';
import type { VectorCase, VectorFamily } from './types.ts';

const NEWER = 'pT7dW4hLq2K9yVc1XuB5oA';
const OLDER = 'aR8nJ6gZx3M0sFe4YwD7iQ';

interface Shape {
  readonly epoch?: string;
  readonly after: number;
  readonly acked: number;
  readonly head?: number;
  readonly events?: readonly number[];
  readonly gaps?: readonly Gap[];
}
type Told =
  | { readonly told: 'event'; readonly sequence: number }
  | { readonly told: 'gap'; readonly from: number; readonly to: number; readonly reason: string }
  | { readonly told: 'elsewhere'; readonly from: number; readonly to: number }
  | { readonly told: 'lost'; readonly epoch: string; readonly sequence: number };

function delivery({ head, events = [], gaps = [], ...shape }: Shape): object {
  const last = Math.max(shape.after, ...events, ...gaps.map(([, to]) => to));
  return deliveryOf({
    ...shape,
    events,
    gaps: gaps.length > 0 ? gaps : undefined,
    head: head ?? Math.max(last, shape.acked),
  });
}

interface Result {
  /** The sequence that is applied afterwards, in `epoch`. */
  readonly applied: number;
  readonly epoch?: string;
  readonly told?: readonly Told[];
  readonly ack?: number;
  readonly reason?: 'missing' | 'left';
}

/** A case whose reader has applied `at` and has left `left`. */
function one(
  comment: string,
  flags: readonly string[],
  { at, left = [] }: { readonly at: number; readonly left?: readonly string[] },
  shape: Shape,
  { applied, epoch = EPOCH, told = [], ack, reason }: Result,
): VectorCase {
  return {
    comment,
    flags,
    applied: { epoch: EPOCH, sequence: at },
    left,
    delivery: delivery(shape),
    expected: {
      told,
      applied: { epoch, sequence: applied },
      ...(ack === undefined ? {} : { ackSequence: ack }),
      ...(reason === undefined ? {} : { refused: reason }),
    },
    verdict: reason === undefined ? 'valid' : 'invalid',
  };
}

const event = (sequence: number): Told => ({ told: 'event', sequence });
const gap = (from: number, to: number, reason = 'retention'): Told => ({
  told: 'gap',
  from,
  to,
  reason,
});
const elsewhere = (from: number, to: number): Told => ({ told: 'elsewhere', from, to });
const lost = (sequence: number): Told => ({ told: 'lost', epoch: EPOCH, sequence });

export const deliveryApply: VectorFamily = {
  family: 'delivery-apply',
  description:
    'A delivery for a reader that has applied the position `applied` and has left the epochs `left`. `expected.told` lists the items for the application, in order; `expected.applied` is the position afterwards, `expected.ack` the acknowledgement. invalid: the reader refuses the delivery, because numbers are missing or because its epoch was left.',
  notes: {
    repeated: 'Numbers that the reader has applied before.',
    missing: 'Numbers that nobody has acknowledged do not arrive.',
    elsewhere: 'Another reader of the same owner has acknowledged the numbers that do not arrive.',
    epoch: 'The server has lost the log, or the delivery is a late one of an earlier epoch.',
  },
  cases: [
    one(
      'the next numbers',
      [],
      { at: 3 },
      { after: 3, acked: 3, events: [4, 5] },
      {
        applied: 5,
        told: [event(4), event(5)],
        ack: 5,
      },
    ),
    one('a heartbeat', [], { at: 3 }, { after: 3, acked: 3 }, { applied: 3, ack: 3 }),
    one(
      'an event, a gap, and an event',
      [],
      { at: 0 },
      { after: 0, acked: 0, events: [1, 4], gaps: [[2, 3, 'too_large']] },
      { applied: 4, told: [event(1), gap(2, 3, 'too_large'), event(4)], ack: 4 },
    ),
    one(
      'known and new numbers',
      ['repeated'],
      { at: 4 },
      { after: 2, acked: 2, events: [3, 4, 5] },
      { applied: 5, told: [event(5)], ack: 5 },
    ),
    one(
      'known numbers only: the acknowledgement ends where the delivery does',
      ['repeated'],
      { at: 9 },
      { after: 2, acked: 2, events: [3, 4] },
      { applied: 9, ack: 4 },
    ),
    one(
      'a gap that is known in part',
      ['repeated'],
      { at: 4 },
      { after: 0, acked: 0, gaps: [[1, 8]] },
      { applied: 8, told: [gap(5, 8)], ack: 8 },
    ),
    one(
      'one number is missing',
      ['missing'],
      { at: 3 },
      { after: 4, acked: 3, events: [5] },
      { applied: 3, reason: 'missing' },
    ),
    one(
      'a heartbeat that shows that numbers are missing',
      ['missing'],
      { at: 3 },
      { after: 8, acked: 3 },
      { applied: 3, reason: 'missing' },
    ),
    one(
      'only a part of what is missing was acknowledged',
      ['missing'],
      { at: 3 },
      { after: 8, acked: 7, events: [9] },
      { applied: 3, reason: 'missing' },
    ),
    one(
      'another reader has acknowledged up to the start of the delivery',
      ['elsewhere'],
      { at: 4 },
      { after: 10, acked: 10, events: [11] },
      { applied: 11, told: [elsewhere(5, 10), event(11)], ack: 11 },
    ),
    one(
      'another reader has acknowledged more than the start of the delivery',
      ['elsewhere'],
      { at: 4 },
      { after: 6, acked: 10, events: [7], gaps: [[8, 8, 'rejected']] },
      { applied: 8, told: [elsewhere(5, 6), event(7), gap(8, 8, 'rejected')], ack: 8 },
    ),
    one(
      'a heartbeat after what another reader has acknowledged',
      ['elsewhere'],
      { at: 0 },
      { after: 7, acked: 7 },
      { applied: 7, told: [elsewhere(1, 7)], ack: 7 },
    ),
    one(
      'what was acknowledged is known here too',
      ['repeated'],
      { at: 6 },
      { after: 5, acked: 10, events: [6, 7] },
      { applied: 7, told: [event(7)], ack: 7 },
    ),
    one(
      'another epoch, from its start',
      ['epoch'],
      { at: 7 },
      { epoch: NEWER, after: 0, acked: 0, events: [1] },
      { epoch: NEWER, applied: 1, told: [lost(7), event(1)], ack: 1 },
    ),
    one(
      'another epoch, of which another reader has acknowledged the start',
      ['epoch', 'elsewhere'],
      { at: 7 },
      { epoch: NEWER, after: 2, acked: 2, events: [3] },
      { epoch: NEWER, applied: 3, told: [lost(7), elsewhere(1, 2), event(3)], ack: 3 },
    ),
    one(
      'another epoch, whose start is missing',
      ['epoch', 'missing'],
      { at: 7 },
      { epoch: NEWER, after: 2, acked: 0, events: [3] },
      { epoch: NEWER, applied: 0, told: [lost(7)], reason: 'missing' },
    ),
    one(
      'a late delivery of an epoch that was left',
      ['epoch'],
      { at: 7, left: [OLDER] },
      { epoch: OLDER, after: 9, acked: 9, events: [10] },
      { applied: 7, reason: 'left' },
    ),
  ],
};
