/** The delivery of a vector, from the numbers that it covers. */

export const EPOCH = 'mF3kQ0sZy8T1vXb6RnE2cw';

/** A range, both ends included. Default of the reason: `retention`. */
export type Gap = readonly [from: number, to: number, reason?: string];

export interface Covered {
  readonly epoch?: string;
  readonly after: number;
  readonly events?: readonly number[];
  /** Absent = the delivery has no member `gaps`. */
  readonly gaps?: readonly Gap[] | undefined;
  readonly head: number;
  readonly acked: number;
}

/** A delivery with these numbers, valid against the schema. */
export const deliveryOf = ({
  epoch = EPOCH,
  after,
  events = [],
  gaps,
  head,
  acked,
}: Covered): Readonly<Record<string, unknown>> => ({
  subscriptionId: 'sub_Zk3fQ8sL0vR2bT6yX1cN5mW9aE4hJ7dU',
  key: 'deploys-prod',
  epoch,
  afterSequence: after,
  events: events.map((sequence) => ({
    sequence,
    eventId: `deploy-${sequence}`,
    name: 'deploy.finished',
    timestamp: '2026-11-21T09:30:00.000Z',
    acceptedAt: '2026-11-21T09:30:01.250Z',
    data: {},
  })),
  ...(gaps ? { gaps: gaps.map(([from, to, reason = 'retention']) => ({ from, to, reason })) } : {}),
  head,
  acked,
  etag: 'mF3kQ0sZ-3',
});
