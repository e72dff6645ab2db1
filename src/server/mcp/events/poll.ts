/**
 * `events/poll`: a pull of the client's log. The cursor that a client sends also acknowledges
 * everything up to it.
 */
import type { BindableEngine, Caller } from '../../engine/verbs.ts';
import type { PullRequestParams } from '../../../protocol/wire/schema.ts';
import { begin } from './start.ts';
import { cursorOf, lastOf, occurrence } from './occurrence.ts';
import type { PollParams, PollResult } from '../../../protocol/events/types.ts';

/**
 * Serves one poll. Rejects as {@link begin} and `triggers/pull` do, but not for a cursor that the
 * server cannot read from: `truncated` reports that.
 */
export async function poll(
  engine: BindableEngine,
  caller: Caller,
  params: PollParams,
  now: number,
): Promise<PollResult> {
  const { log, after, truncated } = await begin(engine, caller, params, now);
  // A poll without a cursor returns no events; the pull still checks the permission.
  const bootstrap = (params.cursor ?? null) === null;
  const pull: PullRequestParams = {
    subscriptionId: log.subscriptionId,
    after,
    ...(bootstrap ? { maxEvents: 0 } : { ack: after }),
    ...(bootstrap || params.maxEvents === undefined ? {} : { maxEvents: params.maxEvents }),
  };
  const delivery = await engine.pull(caller, pull);
  return {
    events: delivery.events.map((event) =>
      occurrence(event, delivery, cursorOf(delivery, event.sequence)),
    ),
    cursor: cursorOf(delivery, lastOf(delivery)),
    truncated: truncated || (delivery.gaps ?? []).length > 0,
    hasMore: !bootstrap && delivery.hasMore,
    nextPollMs: delivery.nextPollMs,
  };
}
