/**
 * The methods of `events/*` (SEP-3415) as a table, over the same engine as `triggers/*`.
 * Independent of MCP's transports and SDK; `install.ts` installs it on an SDK server.
 */
import type { Caller } from '../../engine/verbs.ts';
import { tagged, type RequestContext } from '../request-context.ts';
import { eventTypesOf } from './event-types.ts';
import { parseEventsParams } from './params.ts';
import { poll } from './poll.ts';
import { stream } from './stream.ts';
import type { EventsMethod, EventsNotification } from '../../../protocol/events/names.ts';
import type { EventSelection, ParamsOf } from '../../../protocol/events/types.ts';
import { subscribe, unsubscribe, type WebhookContext } from './webhook.ts';

/** One request of this binding. */
export type EventsRequest = RequestContext<EventsNotification>;

/** The context of a call. */
export interface EventsContext extends WebhookContext {
  readonly request: EventsRequest;
}

/** One method. */
interface Row {
  /** Whether the response stays open. */
  readonly streams: boolean;
  call(context: EventsContext, params: unknown): Promise<object>;
}

function row<M extends EventsMethod>(
  method: M,
  call: (context: EventsContext, caller: Caller, params: ParamsOf[M]) => Promise<object>,
  streams = false,
): Row {
  return {
    streams,
    async call(context, unchecked) {
      const params = parseEventsParams(method, unchecked);
      return call(context, context.request.caller(), params);
    },
  };
}

/** Rejects with `NotFound` for a trigger type that is not offered as an event type. */
const assertOffered = (
  { engine }: EventsContext,
  caller: Caller,
  { name }: EventSelection,
): Promise<void> => eventTypesOf(engine).assertOffered(caller, name);

/** The five methods. */
export const eventsMethods: Readonly<Record<EventsMethod, Row>> = {
  'events/list': row('events/list', ({ engine }, caller, { cursor }) =>
    eventTypesOf(engine).list(caller, cursor),
  ),
  'events/poll': row('events/poll', async (context, caller, params) => {
    await assertOffered(context, caller, params);
    return poll(context.engine, caller, params, context.engine.clock.now());
  }),
  'events/stream': row(
    'events/stream',
    async (context, caller, params) => {
      await assertOffered(context, caller, params);
      await stream({ ...context, caller }, params);
      return tagged({}, context.request.requestId);
    },
    true,
  ),
  'events/subscribe': row('events/subscribe', async (context, caller, params) => {
    await assertOffered(context, caller, params);
    return subscribe(caller, params, context);
  }),
  'events/unsubscribe': row('events/unsubscribe', ({ engine, profile }, caller, params) =>
    unsubscribe(engine, caller, params, profile),
  ),
};
