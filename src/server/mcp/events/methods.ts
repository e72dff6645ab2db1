/**
 * `events/*` (SEP-3415) over the same engine as `triggers/*`: one row for each method. It knows nothing of MCP's transports or SDK;
 * `mcp/events.ts` installs it on an SDK server.
 */
import type { Log } from '../../engine/ports.ts';
import type { BindableEngine, Caller } from '../../engine/verbs.ts';
import { tagged, type RequestContext } from '../request-context.ts';
import { eventTypesOf } from './event-types.ts';
import { parseEventsParams } from './params.ts';
import { poll } from './poll.ts';
import type { Profile } from './profiles.ts';
import { stream } from './stream.ts';
import type { EventsMethod, EventsNotification } from '../../../protocol/events/names.ts';
import type { EventSelection, ParamsOf } from '../../../protocol/events/types.ts';
import { subscribe, unsubscribe } from './webhook.ts';

/** One request with everything that answering it needs. */
export interface EventsRequest {
  readonly engine: BindableEngine;
  readonly exchange: RequestContext<EventsNotification>;
  /** How this peer is spoken to. */
  readonly profile: Profile;
  readonly log: Log;
}

/** A row: what is done with params of the right shape. */
interface Row {
  /** Whether the response stays open. */
  readonly streams: boolean;
  call(request: EventsRequest, params: unknown): Promise<object>;
}

function row<M extends EventsMethod>(
  method: M,
  call: (request: EventsRequest, caller: Caller, params: ParamsOf[M]) => Promise<object>,
  streams = false,
): Row {
  return {
    streams,
    async call(request, given) {
      const params = parseEventsParams(method, given);
      return call(request, request.exchange.caller(), params);
    },
  };
}

/** Refuses a type that is not offered as an event type before anything is made for it. */
async function offered(
  engine: BindableEngine,
  caller: Caller,
  { name }: EventSelection,
): Promise<BindableEngine> {
  await eventTypesOf(engine).refuseUnoffered(caller, name);
  return engine;
}

/** The five methods. */
export const eventsMethods: Readonly<Record<EventsMethod, Row>> = {
  'events/list': row('events/list', ({ engine }, caller, { cursor }) =>
    eventTypesOf(engine).list(caller, cursor),
  ),
  'events/poll': row('events/poll', async ({ engine }, caller, params) =>
    poll(await offered(engine, caller, params), caller, params, engine.clock.now()),
  ),
  'events/stream': row(
    'events/stream',
    async (request, caller, params) => {
      await offered(request.engine, caller, params);
      await stream({ ...request, caller }, params);
      return tagged({}, request.exchange.requestId);
    },
    true,
  ),
  'events/subscribe': row('events/subscribe', async ({ engine, profile, log }, caller, params) =>
    subscribe(await offered(engine, caller, params), caller, params, profile, log),
  ),
  'events/unsubscribe': row('events/unsubscribe', ({ engine, profile }, caller, params) =>
    unsubscribe(engine, caller, params, profile),
  ),
};
