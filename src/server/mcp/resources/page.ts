/**
 * One page of a feed: a pull, as a document with the URI of the next page. A page is acknowledged
 * by reading the next one, so a reader that stops in between gets it again (SEP: Pull).
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

/** The largest size of the events of a page. Pages are often read by models. */
const PAGE_BYTES = 256 * 1024;

/** Present when a page does not start after the position that was asked for. */
export interface Reset {
  /** `epoch` = the position belongs to an earlier log; `position` = it is beyond what was sent. */
  readonly reason: 'epoch' | 'position';
  /** The position that was asked for. It acknowledged nothing. */
  readonly asked: Position;
  /** The reason, for models and people. */
  readonly message: string;
}

/** The content of a page. */
export interface FeedPage {
  readonly subscriptionId: string;
  readonly epoch: string;
  /** The page starts after this sequence number. */
  readonly after: SequenceOrZero;
  readonly events: readonly Pick<Event, 'sequence' | 'eventId' | 'name' | 'timestamp' | 'data'>[];
  readonly gaps: readonly Gap[];
  readonly head: SequenceOrZero;
  readonly acked: SequenceOrZero;
  /** Whether more can be read immediately. */
  readonly hasMore: boolean;
  /** The end of the page. Reading from here acknowledges the page. */
  readonly end: Position;
  readonly reset?: Reset;
}

const RESET_MESSAGES: Readonly<Record<Reset['reason'], string>> = {
  epoch:
    'The position belongs to a log that no longer exists: it expired, or the server was restored. Events in between may be missing here or come again.',
  position:
    'The position is beyond what was sent to you. It acknowledged nothing; this page starts after the acknowledged position.',
};

/**
 * Acknowledges everything up to `after` and reads from there; null = reads from the acknowledged
 * position. If the position cannot be served, reads from the acknowledged position and says so in
 * `reset`. Otherwise rejects as `triggers/pull` does.
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
  // The engine returns the result as plain JSON, ready to be sent.
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

/** The subject of a page: a trigger type with arguments, or the selections of a subscription. */
export type FeedSubject =
  | { readonly trigger: string; readonly arguments: Readonly<JsonObject> }
  | { readonly select: readonly Selection[] };

/** The page as the text of a resource. */
export function pageText(
  followed: FeedSubject,
  { end: _end, reset, ...page }: FeedPage,
  next: string,
): string {
  return JSON.stringify({ ...followed, ...page, next, ...(reset === undefined ? {} : { reset }) });
}
