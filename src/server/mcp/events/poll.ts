/** `events/poll`: an ordinary pull of the client's log, in which the cursor that a client sends acknowledges what is behind it. */
import type { BindableEngine, Caller } from '../../engine/verbs.ts';
import { WireError } from '../../../protocol/wire/errors.ts';
import type { PullParams, PullResult } from '../../../protocol/wire/schema.ts';
import { cursorAt } from './cursor.ts';
import { begin } from './feed.ts';
import { lastOf, occurrence } from './occurrence.ts';
import type { PollParams, PollResult } from '../../../protocol/events/types.ts';

/** Rejects as {@link begin} and `triggers/pull` do. A cursor that cannot be served is no error. */
export async function poll(
  engine: BindableEngine,
  caller: Caller,
  params: PollParams,
  now: number,
): Promise<PollResult> {
  const { log, after, truncated } = await begin(engine, caller, params, now);
  // Without a cursor there is nothing to hand over, and nothing was read that could be acknowledged; permission is asked all the same.
  const bootstrap = (params.cursor ?? null) === null;
  const pull: PullParams = {
    subscriptionId: log.subscriptionId,
    after,
    ...(bootstrap
      ? { maxEvents: 0 }
      : params.maxEvents === undefined
        ? {}
        : { maxEvents: params.maxEvents }),
  };
  const delivery = bootstrap
    ? await read(engine, caller, pull)
    : await acknowledgeAndRead(engine, caller, pull);
  return {
    events: delivery.events.map((event) => occurrence(event, delivery)),
    cursor: cursorAt(delivery, lastOf(delivery)),
    truncated: truncated || (delivery.gaps ?? []).length > 0,
    hasMore: !bootstrap && delivery.hasMore,
    nextPollMs: delivery.nextPollMs,
  };
}

const read = async (
  engine: BindableEngine,
  caller: Caller,
  params: PullParams,
): Promise<PullResult> => engine.pull(caller, params);

async function acknowledgeAndRead(
  engine: BindableEngine,
  caller: Caller,
  params: PullParams,
): Promise<PullResult> {
  try {
    return await read(engine, caller, {
      ...params,
      ...(params.after === undefined ? {} : { ack: params.after }),
    });
  } catch (error) {
    // The first cursor of a client may lie above everything that was ever sent. Nothing below it is anybody's any more.
    if (error instanceof WireError && error.is('Conflict') && error.data.kind === 'position')
      return read(engine, caller, params);
    throw error;
  }
}
