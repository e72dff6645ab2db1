/** Deliveries that are valid against the schema, and that the coverage rule accepts or rejects. */
import { deliveryOf, type Gap } from './delivery.ts';
import type { VectorCase, VectorFamily } from './types.ts';

interface Shape {
  readonly after: number;
  readonly events?: readonly number[];
  readonly gaps?: readonly Gap[];
  readonly head: number;
  readonly acked?: number;
}

const delivery = ({ acked = 0, ...shape }: Shape): Readonly<Record<string, unknown>> =>
  deliveryOf({ ...shape, acked });
/** The delivery of a later revision, which has added values to the open enumerations. */
const later = (shape: Shape): Readonly<Record<string, unknown>> => {
  const { gaps, ...rest } = delivery(shape);
  return {
    ...rest,
    gaps: (gaps as readonly object[]).map((gap) => ({ ...gap, reason: 'quarantined' })),
    terminated: { reason: 'merged' },
  };
};
const valid = (comment: string, last: number, shape: Shape): VectorCase => ({
  comment,
  flags: [],
  delivery: delivery(shape),
  last,
  verdict: 'valid',
});
const invalid = (comment: string, flag: string, shape: Shape): VectorCase => ({
  comment,
  flags: [flag],
  delivery: delivery(shape),
  verdict: 'invalid',
});

export const deliveryCoverage: VectorFamily = {
  family: 'delivery-coverage',
  description:
    'Deliveries that are valid against the schema. valid: every number from afterSequence + 1 to last is covered exactly once, in ascending order, and head and acked do not contradict the range.',
  notes: {
    hole: 'A number of the range is neither an event nor in a gap: a silent loss.',
    twice: 'A number is covered twice.',
    order: 'Events or gaps are not in ascending order.',
    counters: 'head or acked contradicts the range.',
  },
  cases: [
    valid('empty: a heartbeat', 7, { after: 7, head: 7, acked: 7 }),
    valid('empty, and its head shows that later events were lost', 5, {
      after: 5,
      head: 7,
      acked: 5,
    }),
    valid('nothing assigned yet', 0, { after: 0, head: 0 }),
    valid('events', 3, { after: 0, events: [1, 2, 3], head: 3 }),
    valid('part of the log', 3, { after: 1, events: [2, 3], head: 9, acked: 1 }),
    valid('a gap before the event', 4, { after: 0, gaps: [[1, 3]], events: [4], head: 4 }),
    valid('a gap after the event', 4, { after: 2, gaps: [[4, 4]], events: [3], head: 4 }),
    valid('gaps between events', 6, {
      after: 0,
      gaps: [
        [2, 3],
        [5, 5],
      ],
      events: [1, 4, 6],
      head: 6,
    }),
    valid('two gaps side by side', 4, {
      after: 0,
      gaps: [
        [1, 2],
        [3, 4],
      ],
      head: 4,
    }),
    valid('a gap only', 4000, { after: 0, gaps: [[1, 4000]], head: 4000 }),
    valid('a range that was acknowledged before and is read again', 2, {
      after: 0,
      events: [1, 2],
      head: 9,
      acked: 9,
    }),
    valid('the highest number', 9007199254740991, {
      after: 9007199254740990,
      events: [9007199254740991],
      head: 9007199254740991,
    }),
    invalid('the first number is missing', 'hole', { after: 0, events: [2], head: 2 }),
    invalid('a number in the middle is missing', 'hole', { after: 0, events: [1, 3], head: 3 }),
    invalid('a number before a gap is missing', 'hole', {
      after: 0,
      events: [1],
      gaps: [[3, 4]],
      head: 4,
    }),
    invalid('an event twice', 'twice', { after: 0, events: [1, 1], head: 2 }),
    invalid('an event inside a gap', 'twice', { after: 0, events: [2], gaps: [[1, 3]], head: 3 }),
    invalid('overlapping gaps', 'twice', {
      after: 0,
      gaps: [
        [1, 2],
        [2, 3],
      ],
      head: 3,
    }),
    invalid('an event whose number is afterSequence', 'twice', { after: 1, events: [1], head: 2 }),
    invalid('events descending', 'order', { after: 0, events: [2, 1], head: 2 }),
    invalid('gaps descending', 'order', {
      after: 0,
      gaps: [
        [3, 4],
        [1, 2],
      ],
      head: 4,
    }),
    invalid('a gap that ends before it starts', 'order', {
      after: 0,
      gaps: [
        [1, 1],
        [2, 1],
      ],
      head: 2,
    }),
    invalid('last above head', 'counters', { after: 0, events: [1, 2], head: 1 }),
    invalid('afterSequence above head', 'counters', { after: 3, head: 2 }),
    invalid('acked above head', 'counters', { after: 0, head: 2, acked: 3 }),
    {
      ...valid('reasons that a later revision has added', 3, {
        after: 0,
        gaps: [[1, 3]],
        head: 3,
      }),
      delivery: later({ after: 0, gaps: [[1, 3]], head: 3 }),
    },
  ],
};
