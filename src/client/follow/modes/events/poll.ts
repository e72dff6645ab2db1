/** `events/poll`: asked again and again from the last cursor, which is where the next answer begins (SEP-3415). */
import { sleep } from '../../../../protocol/lib/clock.ts';
import type { FollowGuarantee, ModeContext, ModeYield, FollowTarget } from '../../types.ts';
import { ask, isCursorRefused } from './ask.ts';
import { endedBy, misbehaved } from './errors.ts';
import { cursorOf, isTruncated, occurrenceOf, type Raw } from './occurrence.ts';

const EVENTS_MAX = 100;
/** However long a server wants to be left alone, after a day it is asked. */
const PAUSE_MS_MAX = 86_400_000;
/** However much a server says that it still has, after so many answers in a row somebody else gets a turn. */
const ANSWERS_IN_A_ROW_MAX = 1000;

/** With a cursor whatever was missed is had, or said to be gone. */
const WITH_CURSOR: FollowGuarantee = {
  mode: 'events.poll',
  order: 'sent',
  loss: 'flagged',
  gaps: 'flag',
  numbers: 'client',
};
const WITHOUT: FollowGuarantee = {
  mode: 'events.poll',
  order: 'sent',
  loss: 'undetected',
  gaps: 'none',
  numbers: 'client',
};

export async function* poll(
  { selection }: FollowTarget,
  { connection, clock, signal, mark, tuning }: ModeContext,
): AsyncGenerator<ModeYield, void> {
  const askFrom = (from: string | null): Promise<Raw> =>
    ask(connection, 'events/poll', selection, { cursor: from, maxEvents: EVENTS_MAX }, signal);
  let cursor: string | null = mark ?? null;
  let hasWorked = false;
  let inARow = 0;
  for (;;) {
    const before = cursor;
    let isReset = false;
    const result = await askFrom(cursor).catch((error: unknown) => {
      isReset = isCursorRefused(error, cursor);
      if (isReset) return askFrom(null);
      throw (hasWorked ? endedBy(error) : null) ?? error;
    });
    hasWorked = true;
    cursor = cursorOf(result['cursor']);
    yield { type: 'guarantee', guarantee: cursor === null ? WITHOUT : WITH_CURSOR };
    yield* told(result, selection.name, {
      cursor,
      isMissing: isReset || (isTruncated(result) && before !== null),
    });
    if (result['hasMore'] === true && cursor !== before && ++inARow < ANSWERS_IN_A_ROW_MAX)
      continue;
    inARow = 0;
    await sleep(clock, pauseAfter(result['nextPollMs'], tuning), signal);
    signal.throwIfAborted();
  }
}

/** What is in one answer. Its cursor stands for all of it: until its last event is done with, the old one is right. */
function* told(
  { events }: Raw,
  name: string,
  { cursor, isMissing }: { readonly cursor: string | null; readonly isMissing: boolean },
): Generator<ModeYield> {
  if (!Array.isArray(events)) throw misbehaved('poll', 'the result of events/poll has no events');
  const occurrences = events.map((raw) => occurrenceOf(raw, name));
  const mark = cursor === null ? {} : { mark: cursor };
  // Without replay `truncated` says nothing.
  if (isMissing && cursor !== null)
    yield {
      type: 'gap',
      reason: 'truncated',
      shown: occurrences.flatMap(({ number }) => number ?? []),
    };
  const last = occurrences.pop();
  for (const occurrence of occurrences) yield { type: 'event', ...occurrence };
  if (last) yield { type: 'event', ...last, ...mark };
  else if (cursor !== null) yield { type: 'mark', mark: cursor };
}

/** The server's interval, within bounds; without one, ours. */
export function pauseAfter(
  nextPollMs: unknown,
  { pollMs, pollFloorMs }: Pick<ModeContext['tuning'], 'pollMs' | 'pollFloorMs'>,
): number {
  const wanted =
    typeof nextPollMs === 'number' && Number.isFinite(nextPollMs) ? nextPollMs : pollMs;
  return Math.max(pollFloorMs, Math.min(wanted, PAUSE_MS_MAX));
}
