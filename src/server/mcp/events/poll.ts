/**
 * `events/poll`: a pull of the client's log. The cursor that a client sends also acknowledges
 * everything up to it.
 */
import type { BindableEngine, Caller } from '../../engine/verbs.ts';
import { WireError } from '../../../protocol/wire/errors.ts';
import type { PullParams, PullResult } from '../../../protocol/wire/schema.ts';
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
    cursor: cursorOf(delivery, lastOf(delivery)),
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
    // The first cursor of a client may be beyond everything that was sent. The server then cannot
    // acknowledge up to it, but can read from it.
    if (error instanceof WireError && error.is('Conflict') && error.data.kind === 'position')
      return read(engine, caller, params);
    throw error;
  }
}
