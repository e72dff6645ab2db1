/**
 * One page of a feed: the result of a pull, with the URI of the next page. Reading the next page
 * acknowledges this one, so a reader that stops in between gets this page again (SEP:
 * triggers/pull).
 */
import type {
  TriggerEvent,
  Gap,
  JsonObject,
  Position,
  PullResult,
  Selection,
  SequenceOrZero,
} from '../../../../spec-schema/draft/schema.ts';
import type { BindableEngine, Caller } from '../../engine/verbs.ts';
import { WireError } from '../../../protocol/wire/errors.ts';

/** The most bytes of events in a page. Small, because models read pages. */
const PAGE_BYTES = 256 * 1024;

/** Says why a page does not start at the requested position. */
export interface Reset {
  /** `epoch` = the position is of another epoch; `position` = it is beyond what was sent. */
  readonly reason: 'epoch' | 'position';
  /** The requested position. It acknowledged nothing. */
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
  readonly events: readonly Pick<
    TriggerEvent,
    'sequence' | 'eventId' | 'name' | 'timestamp' | 'acceptedAt' | 'data' | 'dataRef'
  >[];
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
    'The position belongs to a log that no longer exists: the log expired, or the server was restored from a backup. Events after the position may be missing here or come again.',
  position:
    'The position is beyond what was sent to you. It acknowledged nothing; this page starts after the acknowledged position.',
};

/**
 * Reads one page. Acknowledges everything up to `after` and reads from there; null = reads from the
 * acknowledged position. If the server cannot read from `after`, reads from the acknowledged
 * position and explains it in `reset`. Otherwise rejects as `triggers/pull` does.
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
  afterSequence: after,
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
    events: events.map(
      ({ sequence: number, eventId, name, timestamp, acceptedAt, data, dataRef }) => ({
        sequence: number,
        eventId,
        name,
        timestamp,
        acceptedAt,
        ...(dataRef === undefined ? { data } : { dataRef }),
      }),
    ),
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
