/** `webhook-id`: the same id means the same events, so everything that can change the events is part of the id. */
import { sha256 } from './keys.ts';
import type { VectorCase, VectorFamily } from './types.ts';

interface Range {
  readonly subscriptionId: string;
  readonly epoch: string;
  readonly afterSequence: number;
  readonly last: number;
  readonly gaps: readonly { from: number; to: number; reason: string }[];
}
const RANGE: Range = {
  subscriptionId: 'sub_Zk3fQ8sL0vR2bT6yX1cN5mW9aE4hJ7dU',
  epoch: 'mF3kQ0sZy8T1vXb6RnE2cw',
  afterSequence: 5,
  last: 7,
  gaps: [],
};
const BASE = idOf(RANGE);

function idOf({ subscriptionId, epoch, afterSequence, last, gaps }: Range): string {
  return `msg_${sha256(`${subscriptionId}\n${epoch}\n${afterSequence}\n${last}\n${gaps.map(({ from, to }) => `${from}-${to}`).join(',')}`).slice(0, 32)}`;
}

const valid = (
  comment: string,
  change: Partial<Range>,
  flags: readonly string[] = [],
): VectorCase => {
  const range = { ...RANGE, ...change };
  return { comment, flags, ...range, webhookId: idOf(range), verdict: 'valid' };
};
/** A delivery that differs from the base case, with the id of the base case. */
const invalid = (comment: string, change: Partial<Range>): VectorCase => ({
  comment,
  flags: ['same_id'],
  ...RANGE,
  ...change,
  webhookId: BASE,
  verdict: 'invalid',
});

export const webhookId: VectorFamily = {
  family: 'webhook-id',
  description:
    'webhook-id of a delivery that covers the numbers from afterSequence + 1 to last. valid: webhookId is the id of this delivery.',
  notes: {
    same_id:
      'The id of another delivery. A receiver that deduplicates by id would drop events that it never saw.',
    gap_reason: 'The reason of a gap is not part of the id: the events are the same.',
  },
  cases: [
    valid('two events', {}),
    valid('from the start', { afterSequence: 0, last: 1 }),
    valid('one gap', { gaps: [{ from: 6, to: 6, reason: 'rejected' }] }),
    valid(
      'one gap of another reason: the same id',
      { gaps: [{ from: 6, to: 6, reason: 'skipped' }] },
      ['gap_reason'],
    ),
    valid('gap over the whole range', { gaps: [{ from: 6, to: 7, reason: 'retention' }] }),
    valid('two gaps', {
      last: 9,
      gaps: [
        { from: 6, to: 6, reason: 'rejected' },
        { from: 8, to: 9, reason: 'redacted' },
      ],
    }),
    valid('the highest numbers', { afterSequence: 9007199254740990, last: 9007199254740991 }),
    invalid('a retry that carries one more event', { last: 8 }),
    invalid('a retry that carries one event fewer', { last: 6 }),
    invalid('a number that became a gap', { gaps: [{ from: 6, to: 6, reason: 'rejected' }] }),
    invalid('another start', { afterSequence: 4 }),
    invalid('another epoch', { epoch: 'Jd8rWq5LhN0aTz2BxK7gPs' }),
    invalid('another subscription', { subscriptionId: 'sub_Pq7wXn2RkY5sGd0LvBf8TjMc3HzUe6iA' }),
    {
      comment: 'an id with a dot',
      flags: ['same_id'],
      ...RANGE,
      webhookId: `${BASE.slice(0, 10)}.${BASE.slice(11)}`,
      verdict: 'invalid',
    },
  ],
};
