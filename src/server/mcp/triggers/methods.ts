/**
 * The methods of `triggers/*` as a table: each row has the wire type of the params and calls the
 * engine's method. Independent of MCP's transports and SDK; `install.ts` installs it on an SDK
 * server.
 */
import type { Level, Option } from '../../../../spec-schema/draft/schema.ts';
import { unsupported } from '../../../protocol/wire/errors.ts';
import type { StreamSink, Verbs } from '../../engine/verbs.ts';
import { parseParams, type ParamsName, type WireTypes } from '../../../protocol/wire/validate.ts';
import { untilUnauthorized, type RequestContext } from '../request-context.ts';

/** One request of this binding. */
export interface TriggersRequest extends RequestContext<NotificationMethod> {
  /** The levels and options that the connection declares. */
  readonly offered: ReadonlySet<string>;
  /** The options that both this connection and the client declare. */
  readonly shared: ReadonlySet<string>;
}

/** The notifications that a server sends. */
export type NotificationMethod =
  'notifications/triggers/delivery' | 'notifications/triggers/list_changed';

/** One method. */
interface Row {
  readonly params: ParamsName;
  /**
   * The kind of response. When the client cancels, the binding must close the response of a
   * `long-poll` or a `stream`.
   */
  readonly duration: 'short' | 'long-poll' | 'stream';
  call(verbs: Verbs, params: unknown, request: TriggersRequest): Promise<object>;
}

/** The params of a request, of whatever method. */
type AnyParams = Partial<WireTypes['SubscribeRequestParams'] & WireTypes['UpdateRequestParams']> &
  Pick<WireTypes['GetRequestParams'], 'ifNoneMatch'>;

/** The params that belong to a level or an option, with a test of their use (SEP: Settings). */
const FEATURES: readonly (readonly [
  parameter: string,
  feature: Level | Option,
  isUsed: (params: AnyParams) => boolean,
])[] = [
  ['callback', 'callback', ({ callback }) => callback !== undefined],
  ['resume', 'callback', ({ resume }) => resume !== undefined],
  ['revokePrevious', 'callback', ({ revokePrevious }) => revokePrevious !== undefined],
  ['skipAfterMs', 'skip', ({ callback }) => callback?.skipAfterMs !== undefined],
  ['limits', 'limits', ({ callback }) => callback?.limits !== undefined],
  ['removeCallback', 'callback', ({ removeCallback }) => removeCallback !== undefined],
  ['paused', 'pause', ({ paused }) => paused !== undefined],
  ['ifNoneMatch', 'conditionalReads', ({ ifNoneMatch }) => ifNoneMatch !== undefined],
  ['select', 'multiSelect', ({ select }) => select !== undefined && select.length > 1],
  ['since', 'history', ({ since }) => since !== undefined],
];

function row<N extends ParamsName>(
  name: N,
  call: (verbs: Verbs, params: WireTypes[N], request: TriggersRequest) => Promise<object>,
  duration: Row['duration'] = 'short',
): Row {
  return {
    params: name,
    duration,
    call: async (verbs, params, request) => {
      const parsed = parseParams(name, params);
      for (const [parameter, feature, isUsed] of FEATURES)
        if (!request.offered.has(feature) && isUsed(parsed)) throw unsupported(parameter);
      return call(verbs, parsed, request);
    },
  };
}

/** The nine methods (SEP: Methods). */
export const triggersMethods = {
  'triggers/list': row('ListTriggersRequestParams', (verbs, params, { caller }) =>
    verbs.list(caller(), params),
  ),
  'triggers/subscribe': row('SubscribeRequestParams', (verbs, params, { caller, shared }) =>
    verbs.subscribe(caller(), params, undefined, { dataRef: shared.has('dataRef') }),
  ),
  'triggers/update': row('UpdateRequestParams', (verbs, params, { caller }) =>
    verbs.update(caller(), params),
  ),
  'triggers/get': row('GetRequestParams', (verbs, params, { caller }) =>
    verbs.get(caller(), params),
  ),
  'triggers/subscriptions': row('SubscriptionsRequestParams', (verbs, params, { caller }) =>
    verbs.subscriptions(caller(), params),
  ),
  'triggers/unsubscribe': row('UnsubscribeRequestParams', (verbs, params, { caller }) =>
    verbs.unsubscribe(caller(), params),
  ),
  'triggers/pull': row(
    'PullRequestParams',
    (verbs, params, { caller, stop }) => verbs.pull(caller(), params, stop),
    'long-poll',
  ),
  'triggers/stream': row(
    'StreamRequestParams',
    async (verbs, params, request) => {
      if (!request.offered.has('stream')) throw unsupported('stream');
      const caller = request.caller();
      await untilUnauthorized(request, (end) => verbs.stream(caller, params, sinkOf(request), end));
      return {};
    },
    'stream',
  ),
  'triggers/ack': row('AckRequestParams', (verbs, params, { caller }) =>
    verbs.ack(caller(), params),
  ),
} as const satisfies Record<string, Row>;

/** The name of one of the nine methods. */
export type TriggersMethod = keyof typeof triggersMethods;

/**
 * A sink that sends deliveries on the response stream of the request. Sends nothing after the
 * request has stopped, even if the transport would still accept it.
 */
function sinkOf(request: TriggersRequest): StreamSink {
  return {
    async send(delivery) {
      request.stop.throwIfAborted();
      await request.notify('notifications/triggers/delivery', {
        requestId: request.requestId,
        ...delivery,
      });
    },
  };
}
