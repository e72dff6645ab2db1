/**
 * The native binding: one row per method of the protocol, each naming the wire type of its params and the engine's verb.
 * It knows nothing of MCP's transports or SDK; `mcp.ts` installs it on an SDK server, and a test may walk the table.
 */
import type { Meta, RequestId } from '../../spec-schema/draft/schema.ts';
import type { Caller, StreamSink, Verbs } from '../engine/verbs.ts';
import { SUBSCRIPTION_ID_META_KEY } from '../wire/schema.ts';
import { parseParams, type ParamsName, type WireTypes } from '../wire/validate.ts';

/** One request as a transport hands it over: who asks, under which id, and how to send on the request's own stream. */
export interface Exchange {
  /** Throws `WireError` Forbidden. Asked only once the params have the right shape (SEP: Methods). */
  caller(): Caller;
  readonly requestId: RequestId;
  /** Fires when the client cancelled the request or is gone; nothing may be sent for the request afterwards. */
  readonly stop: AbortSignal;
  /**
   * When the authorization of this request runs out, in epoch milliseconds; null = not known. A stream ends then, with its
   * result.
   */
  readonly authorizedUntil: number | null;
  /** Sends a notification on the response of this very request. Rejects when the connection is gone. */
  notify(method: NotificationMethod, params: object): Promise<void>;
}

/** The notifications a server sends. */
export type NotificationMethod = 'notifications/triggers/delivery' | 'notifications/triggers/list_changed';

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
  name: N, call: (verbs: Verbs, params: WireTypes[N], exchange: Exchange) => Promise<object>, lasts: Row['lasts'] = 'no',
): Row {
  return { params: name, lasts, call: async (verbs, params, exchange) => call(verbs, parseParams(name, params), exchange) };
}

/** The nine methods (SEP: Methods). */
export const triggersMethods = {
  'triggers/list': row('ListTriggersParams', (verbs, params, { caller }) => verbs.list(caller(), params)),
  'triggers/subscribe': row('SubscribeParams', (verbs, params, { caller }) => verbs.subscribe(caller(), params)),
  'triggers/update': row('UpdateParams', (verbs, params, { caller }) => verbs.update(caller(), params)),
  'triggers/get': row('GetParams', (verbs, params, { caller }) => verbs.get(caller(), params)),
  'triggers/subscriptions': row('SubscriptionsParams', (verbs, params, { caller }) => verbs.subscriptions(caller(), params)),
  'triggers/unsubscribe': row('UnsubscribeParams', (verbs, params, { caller }) => verbs.unsubscribe(caller(), params)),
  'triggers/pull': row('PullParams', (verbs, params, { caller, stop }) => verbs.pull(caller(), params, stop), 'waits'),
  'triggers/stream': row('StreamParams', async (verbs, params, exchange) => {
    const caller = exchange.caller();
    await untilUnauthorized(exchange, (end) => verbs.stream(caller, params, sinkOf(exchange), end));
    return {};
  }, 'streams'),
  'triggers/ack': row('AckParams', (verbs, params, { caller }) => verbs.ack(caller(), params)),
} as const satisfies Record<string, Row>;

/** The name of one of the nine methods. */
export type TriggersMethod = keyof typeof triggersMethods;

/** Params of a notification with the tag that ties it to the request whose stream carries it (SEP: Stream). */
export function tagged<T extends object>(params: T, requestId: RequestId): T & { _meta: Meta } {
  const meta = '_meta' in params && typeof params._meta === 'object' ? params._meta : {};
  return { ...params, _meta: { ...meta, [SUBSCRIPTION_ID_META_KEY]: requestId } };
}

/** A sink that sends nothing once the exchange has stopped, whatever the transport underneath would still accept. */
function sinkOf(exchange: Exchange): StreamSink {
  return {
    async send(delivery) {
      exchange.stop.throwIfAborted();
      await exchange.notify('notifications/triggers/delivery', tagged(delivery.params, exchange.requestId));
    },
  };
}

const LONGEST_TIMER_MS = 2 ** 31 - 1;

/** Whoever has lost access must not go on listening, so a stream ends at the latest with the authorization it was opened with. */
async function untilUnauthorized({ stop, authorizedUntil }: Exchange, run: (end: AbortSignal) => Promise<void>): Promise<void> {
  if (authorizedUntil === null) return run(stop);
  const expiry = new AbortController();
  const leftMs = Math.min(Math.max(0, authorizedUntil - Date.now()), LONGEST_TIMER_MS);
  const timer = setTimeout(() => expiry.abort(), leftMs).unref();
  try {
    await run(AbortSignal.any([stop, expiry.signal]));
  } finally {
    clearTimeout(timer);
  }
}
