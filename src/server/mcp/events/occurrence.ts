/** One event of a log as an occurrence of `events/*`: the same in a poll, on a stream and in a webhook. */
import {
  EXTENSION_ID,
  type Delivery,
  type Event,
  type Meta,
} from '../../../protocol/wire/schema.ts';
import type { EventOccurrence } from '../../../protocol/events/types.ts';

/** The log that an event is read from, and how far it goes at the moment. */
export interface LogAt {
  readonly subscriptionId: string;
  readonly epoch: string;
  readonly head: number;
}

/** With its number in `_meta`, so that a client that looks can see what is missing (SEP: When a peer lacks the extension). */
export function occurrence(
  { sequence, eventId, name, timestamp, data, _meta }: Event,
  { subscriptionId, epoch, head }: LogAt,
  cursor?: string,
): EventOccurrence {
  return {
    eventId,
    name,
    timestamp,
    data,
    ...(cursor === undefined ? {} : { cursor }),
    _meta: { ..._meta, [EXTENSION_ID]: { subscriptionId, epoch, sequence, head } } satisfies Meta,
  };
}

/** The last number that a delivery covers. */
export const lastOf = ({
  after,
  events,
  gaps = [],
}: Pick<Delivery, 'after' | 'events' | 'gaps'>): number =>
  Math.max(after, events.at(-1)?.sequence ?? 0, gaps.at(-1)?.to ?? 0);
