/**
 * The native binding: one row per method of the protocol, each naming the wire type of its params and the engine's verb.
 * It knows nothing of MCP's transports or SDK; `mcp.ts` installs it on an SDK server, and a test may walk the table.
 */
import type { StreamSink, Verbs } from '../../engine/verbs.ts';
import { parseParams, type ParamsName, type WireTypes } from '../../../protocol/wire/validate.ts';
import {
  tagged,
  untilUnauthorized,
  type RequestContext as RequestExchange,
} from '../request-context.ts';

/** One request of this binding. */
type Exchange = RequestExchange<NotificationMethod>;

/** The notifications a server sends. */
export type NotificationMethod =
  'notifications/triggers/delivery' | 'notifications/triggers/list_changed';

/** A row: what the params must look like, and what to do with them. */
interface Row {
  readonly params: ParamsName;
  /**
   * Whether the exchange may stay open: a long poll `waits`, a stream `streams`. Such a response has to be looked after when the
   * client cancels.
   */
  readonly lasts: 'no' | 'waits' | 'streams';
  call(verbs: Verbs, params: unknown, exchange: Exchange): Promise<object>;
}

function row<N extends ParamsName>(
  name: N,
  call: (verbs: Verbs, params: WireTypes[N], exchange: Exchange) => Promise<object>,
  lasts: Row['lasts'] = 'no',
): Row {
  return {
    params: name,
    lasts,
    call: async (verbs, params, exchange) => call(verbs, parseParams(name, params), exchange),
  };
}

/** The nine methods (SEP: Methods). */
export const triggersMethods = {
  'triggers/list': row('ListTriggersParams', (verbs, params, { caller }) =>
    verbs.list(caller(), params),
  ),
  'triggers/subscribe': row('SubscribeParams', (verbs, params, { caller }) =>
    verbs.subscribe(caller(), params),
  ),
  'triggers/update': row('UpdateParams', (verbs, params, { caller }) =>
    verbs.update(caller(), params),
  ),
  'triggers/get': row('GetParams', (verbs, params, { caller }) => verbs.get(caller(), params)),
  'triggers/subscriptions': row('SubscriptionsParams', (verbs, params, { caller }) =>
    verbs.subscriptions(caller(), params),
  ),
  'triggers/unsubscribe': row('UnsubscribeParams', (verbs, params, { caller }) =>
    verbs.unsubscribe(caller(), params),
  ),
  'triggers/pull': row(
    'PullParams',
    (verbs, params, { caller, stop }) => verbs.pull(caller(), params, stop),
    'waits',
  ),
  'triggers/stream': row(
    'StreamParams',
    async (verbs, params, exchange) => {
      const caller = exchange.caller();
      await untilUnauthorized(exchange, (end) =>
        verbs.stream(caller, params, sinkOf(exchange), end),
      );
      return {};
    },
    'streams',
  ),
  'triggers/ack': row('AckParams', (verbs, params, { caller }) => verbs.ack(caller(), params)),
} as const satisfies Record<string, Row>;

/** The name of one of the nine methods. */
export type TriggersMethod = keyof typeof triggersMethods;

/** A sink that sends nothing once the exchange has stopped, whatever the transport underneath would still accept. */
function sinkOf(exchange: Exchange): StreamSink {
  return {
    async send(delivery) {
      exchange.stop.throwIfAborted();
      await exchange.notify(
        'notifications/triggers/delivery',
        tagged(delivery, exchange.requestId),
      );
    },
  };
}
