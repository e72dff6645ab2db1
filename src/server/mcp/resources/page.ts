/**
 * One page of a feed: an ordinary pull, told as a document that says where the next page is. Reading a page acknowledges nothing of it; reading
 * the next one does, so that whoever stops in between gets it again (SEP: Pull).
 */
import type {
  Event,
  Gap,
  JsonObject,
  Position,
  PullResult,
  Selection,
  SequenceOrZero,
} from '../../../../spec-schema/draft/schema.ts';
import type { BindableEngine, Caller } from '../../engine/verbs.ts';
import { WireError } from '../../../protocol/wire/errors.ts';

/** Room for events in a page: pages are often read by models. What is left stands on the next ones. */
const PAGE_BYTES = 256 * 1024;

/** Why the reading did not go on from where it was asked to. */
export interface Reset {
  /** `epoch` = the position is of another log than the one there is now; `position` = it is beyond what was sent. */
  readonly reason: 'epoch' | 'position';
  /** The position that was asked for. Nothing was acknowledged by it. */
  readonly asked: Position;
  /** What that means, in words. */
  readonly message: string;
}

/** What was read. */
export interface FeedPage {
  readonly subscriptionId: string;
  readonly epoch: string;
  /** The page starts right after this number. */
  readonly after: SequenceOrZero;
  readonly events: readonly Pick<Event, 'sequence' | 'eventId' | 'name' | 'timestamp' | 'data'>[];
  readonly gaps: readonly Gap[];
  readonly head: SequenceOrZero;
  readonly acked: SequenceOrZero;
  /** More can be read at once. */
  readonly hasMore: boolean;
  /** Where the page ends: reading on from it acknowledges the page. */
  readonly end: Position;
  readonly reset?: Reset;
}

const RESET_MESSAGES: Readonly<Record<Reset['reason'], string>> = {
  epoch:
    'The position is of a log that is no more: it ran out, or the server was restored. Events in between may be missing here or come again.',
  position:
    'The position is beyond what was sent to you. Nothing was acknowledged; this page starts after what is.',
};

/**
 * Reads on from what is acknowledged, or acknowledges everything up to `after` and reads on from there. A position that cannot be served resets the reader
 * instead of stranding it. Rejects as `triggers/pull` does, but for that.
 */
export async function readPage(
  engine: BindableEngine,
  caller: Caller,
  subscriptionId: string,
  after: Position | null,
): Promise<FeedPage> {
  if (after === null) return pageOf(await pull(engine, caller, subscriptionId));
  try {
    return pageOf(await pull(engine, caller, subscriptionId, after));
  } catch (error) {
    const reason = resetReason(error);
    if (reason === null) throw error;
    return {
      ...pageOf(await pull(engine, caller, subscriptionId)),
      reset: { reason, asked: after, message: RESET_MESSAGES[reason] },
    };
  }
}

function pull(
  engine: BindableEngine,
  caller: Caller,
  subscriptionId: string,
  after?: Position,
): Promise<PullResult> {
  const params = { subscriptionId, ...(after === undefined ? {} : { after, ack: after }) };
  // The engine hands out a delivery that is ready to be sent, as plain JSON.
  return engine.pull(caller, params, undefined, PAGE_BYTES);
}

function resetReason(error: unknown): Reset['reason'] | null {
  if (!(error instanceof WireError) || !error.is('Conflict')) return null;
  const { kind } = error.data;
  return kind === 'epoch' || kind === 'position' ? kind : null;
}

function pageOf({
  subscriptionId,
  epoch,
  after,
  events,
  gaps = [],
  head,
  acked,
  hasMore,
}: PullResult): FeedPage {
  const sequence = Math.max(after, events.at(-1)?.sequence ?? 0, gaps.at(-1)?.to ?? 0);
  return {
    subscriptionId,
    epoch,
    after,
    events: events.map(({ sequence: number, eventId, name, timestamp, data }) => ({
      sequence: number,
      eventId,
      name,
      timestamp,
      data,
    })),
    gaps,
    head,
    acked,
    hasMore,
    end: { epoch, sequence },
  };
}

/** What a page is of. */
export type Followed =
  | { readonly trigger: string; readonly arguments: Readonly<JsonObject> }
  | { readonly select: readonly Selection[] };

/** The page as the text of a resource. */
export function pageText(
  followed: Followed,
  { end: _end, reset, ...page }: FeedPage,
  next: string,
): string {
  return JSON.stringify({ ...followed, ...page, next, ...(reset === undefined ? {} : { reset }) });
}
