/**
 * Installs `events/*` (SEP-3415) on an MCP SDK server, for both protocol eras and every transport of the SDK.
 */
import {
  CLIENT_CAPABILITIES_META_KEY,
  ProtocolError,
  type McpServer,
  type ServerCapabilities,
  type ServerContext,
} from '@modelcontextprotocol/server';
import { silentLog } from '../../engine/ports.ts';
import type { BindableEngine } from '../../engine/verbs.ts';
import { WireError } from '../../../protocol/wire/errors.ts';
import { endingError, eventsError, LogEnded } from './errors.ts';
import { eventsMethods, type EventsRequest } from './methods.ts';
import { profileOf, type Profile, type ProfileName } from './profiles.ts';
import {
  EVENTS_CAPABILITY,
  EVENTS_EXTENSION_ID,
  EVENTS_LIST_CHANGED,
  type EventsMethod,
} from '../../../protocol/events/names.ts';
import type { EventsErrorObject } from '../../../protocol/events/types.ts';
import { callerOf } from '../principal.ts';
import {
  authorizedUntil,
  claimServer,
  closeResponseStream,
  passThrough,
  protocolError,
  stopOf,
  type BindingOptions,
} from '../sdk.ts';

/** How `events/*` is offered on one SDK server. */
export interface EventsOptions extends BindingOptions {
  /**
   * How a client is spoken to that does not declare the Events extension in its capabilities; who declares it gets `sep`. Default `sketch`,
   * which is what clients read that were written before SEP-3415.
   */
  readonly undeclared?: ProfileName;
}

const METHODS = Object.keys(eventsMethods) as EventsMethod[];
const SETTINGS = { listChanged: true };

/**
 * Serves `events/*` on `mcp` from the logs of `engine`, and declares it in both places where peers look. Webhooks need
 * `eventsDialects()` among the engine's options. Call it before connecting; one engine may be attached to any number of servers, each
 * server once (SEP: When a peer lacks the extension).
 * @throws Error if the server is connected, already has the extension, or already handles one of its methods.
 */
export function attachEvents(
  mcp: McpServer,
  engine: BindableEngine,
  options: EventsOptions = {},
): void {
  claimServer(mcp, 'events', METHODS);
  const log = options.log ?? silentLog;
  const caller = options.caller ?? callerOf;
  const undeclared = options.undeclared ?? 'sketch';
  const announce = announcer(mcp, engine, options);
  for (const method of METHODS) {
    mcp.server.setRequestHandler(method, { params: passThrough }, async (params, ctx) => {
      announce(ctx);
      const profile = profileOf(capabilitiesOf(mcp, ctx), undeclared);
      const exchange: EventsRequest['exchange'] = {
        caller: () => caller(ctx),
        requestId: ctx.mcpReq.id,
        stop: stopOf(ctx),
        authorizedUntil: authorizedUntil(ctx),
        clock: engine.clock,
        notify: (notification, body) =>
          ctx.mcpReq.notify({ method: notification, params: { ...body } }),
      };
      try {
        await options.ready?.();
        return { ...(await answer(mcp, method, params, { engine, exchange, profile, log })) };
      } catch (error) {
        const said = errorFor(error, profile);
        throw said === null
          ? protocolError(error, ctx, log)
          : new ProtocolError(said.code, said.message, said.data);
      }
    });
  }
  // The second is where clients look that were written before SEP-3415. The SDK's type does not know it, and sends it as it is.
  mcp.server.registerCapabilities({
    extensions: { [EVENTS_EXTENSION_ID]: SETTINGS },
    [EVENTS_CAPABILITY]: SETTINGS,
  } as ServerCapabilities);
}

async function answer(
  mcp: McpServer,
  method: EventsMethod,
  params: unknown,
  request: EventsRequest,
): Promise<object> {
  const { streams, call } = eventsMethods[method];
  if (!streams) return call(request, params);
  const { stop, requestId } = request.exchange;
  const release = (): void => closeResponseStream(mcp, requestId);
  stop.addEventListener('abort', release, { once: true });
  try {
    return await call(request, params);
  } finally {
    stop.removeEventListener('abort', release);
  }
}

/** Null = nothing that a client may hear of. */
function errorFor(error: unknown, profile: Profile): EventsErrorObject | null {
  if (error instanceof LogEnded) return endingError(error.reason, profile);
  return error instanceof WireError ? eventsError(error, profile) : null;
}

/** What the client can do: of the request itself, or of the handshake that the connection began with. */
function capabilitiesOf(mcp: McpServer, ctx: ServerContext): unknown {
  const envelope = ctx.mcpReq.envelope as Readonly<Record<string, unknown>> | undefined;
  return envelope?.[CLIENT_CAPABILITIES_META_KEY] ?? mcp.server.getClientCapabilities();
}

/**
 * Who has used `events/*` on a connection that outlives the request, a session or a pipe, is told when the list changes. A modern HTTP
 * request has no such connection; there it is asked for with `subscriptions/listen`.
 */
function announcer(
  mcp: McpServer,
  engine: BindableEngine,
  { log = silentLog }: EventsOptions,
): (ctx: ServerContext) => void {
  let unsubscribe: (() => void) | undefined;
  const { onclose } = mcp.server;
  mcp.server.onclose = () => {
    unsubscribe?.();
    onclose?.();
  };
  return ({ http, sessionId }) => {
    if (http !== undefined && sessionId === undefined) return;
    unsubscribe ??= engine.onListChanged(() => {
      mcp.server
        .notification({ method: EVENTS_LIST_CHANGED })
        .catch((error: unknown) =>
          log.debug({ err: error }, 'list_changed was not sent: the connection is gone'),
        );
    });
  };
}
