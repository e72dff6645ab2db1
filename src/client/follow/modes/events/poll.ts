/**
 * The mode `events.poll`: calls `events/poll` at intervals, each time from the last cursor
 * (SEP-3415).
 */
import { sleep } from '../../../../protocol/lib/clock.ts';
import { misbehaved } from '../../../sdk/peer-error.ts';
import { withCursor, withoutCursor } from '../../guarantee.ts';
import type { FollowTarget, ModeContext, ModeYield } from '../../types.ts';
import { endedBy } from './errors.ts';
import {
  callEvents,
  cursorOf,
  eventOf,
  isCursorRefused,
  isTruncated,
  markOf,
  type Raw,
} from './messages.ts';

const EVENTS_MAX = 100;
/** Longest pause between two polls, whatever the server asks for. */
const PAUSE_MS_MAX = 86_400_000;
/** Most polls in a row without a pause, even if the server has more events. */
const POLLS_IN_A_ROW_MAX = 1000;

export async function* poll(
  { selection }: FollowTarget,
  { connection, clock, signal, mark, tuning }: ModeContext,
): AsyncGenerator<ModeYield, void> {
  const pollFrom = (from: string | null): Promise<Raw> =>
    callEvents(
      connection,
      'events/poll',
      selection,
      { cursor: from, maxEvents: EVENTS_MAX },
      signal,
    );
  let cursor: string | null = mark ?? null;
  let hasWorked = false;
  let inARow = 0;
  for (;;) {
    const before = cursor;
    let isReset = false;
    const result = await pollFrom(cursor).catch((error: unknown) => {
      isReset = isCursorRefused(error, cursor);
      if (isReset) return pollFrom(null);
      throw (hasWorked ? endedBy(error) : null) ?? error;
    });
    hasWorked = true;
    cursor = cursorOf(result['cursor']);
    yield {
      type: 'guarantee',
      guarantee: (cursor === null ? withoutCursor : withCursor)('events.poll'),
    };
    yield* yieldsOf(result, selection.name, {
      cursor,
      isMissing: isReset || (isTruncated(result) && before !== null),
    });
    if (result['hasMore'] === true && cursor !== before && ++inARow < POLLS_IN_A_ROW_MAX) continue;
    inARow = 0;
    await sleep(clock, pollPause(result['nextPollMs'], tuning), signal);
    signal.throwIfAborted();
  }
}

/**
 * Yields the gap and the events of one result. Its cursor covers all of it, so only the last event
 * carries the mark.
 */
function* yieldsOf(
  { events }: Raw,
  name: string,
  { cursor, isMissing }: { readonly cursor: string | null; readonly isMissing: boolean },
): Generator<ModeYield> {
  if (!Array.isArray(events))
    throw misbehaved('poll', 'the result of events/poll has no "events" array');
  const yields = events.map((raw) => eventOf(raw, name));
  // Without a cursor the server replays nothing, so `truncated` means nothing.
  if (isMissing && cursor !== null)
    yield {
      type: 'gap',
      reason: 'truncated',
      shown: yields.flatMap(({ number }) => number ?? []),
    };
  const last = yields.pop();
  yield* yields;
  if (last) yield { ...last, ...markOf(cursor) };
  else if (cursor !== null) yield { type: 'mark', mark: cursor };
}

/** Milliseconds until the next poll: the interval of the server within bounds, or else `pollMs`. */
export function pollPause(
  nextPollMs: unknown,
  { pollMs, pollFloorMs }: Pick<ModeContext['tuning'], 'pollMs' | 'pollFloorMs'>,
): number {
  const wanted =
    typeof nextPollMs === 'number' && Number.isFinite(nextPollMs) ? nextPollMs : pollMs;
  return Math.max(pollFloorMs, Math.min(wanted, PAUSE_MS_MAX));
}
