/**
 * Installs `events/*` (SEP-3415) on an MCP SDK server, for both protocol eras and every transport
 * of the SDK.
 */
import {
  ProtocolError,
  type McpServer,
  type ServerCapabilities,
  type ServerContext,
} from '@modelcontextprotocol/server';
import { silentLog } from '../../engine/ports.ts';
import type { BindableEngine } from '../../engine/verbs.ts';
import { WireError } from '../../../protocol/wire/errors.ts';
import { endingError, eventsError, LogEnded } from './errors.ts';
import { eventsMethods, type EventsContext, type EventsRequest } from './methods.ts';
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
  claimBinding,
  clientCapabilities,
  closeResponseStream,
  passThrough,
  protocolError,
  stopOf,
  type BindingOptions,
} from '../sdk.ts';

/** Options of {@link attachEvents}. */
export interface EventsOptions extends BindingOptions {
  /**
   * The profile of clients that do not declare the Events extension in their capabilities; clients
   * that declare it get `sep`. Default `sketch`, which clients from before SEP-3415 expect.
   */
  readonly undeclared?: ProfileName;
  /**
   * Whether every webhook gets the longest lifetime at most, also one that asks for no expiry. For
   * receivers that require an instant in `refreshBefore`. Default false.
   */
  readonly alwaysExpires?: boolean;
}

const METHODS = Object.keys(eventsMethods) as EventsMethod[];
const SETTINGS = { listChanged: true };

/**
 * Serves `events/*` on `mcp` from the logs of `engine`, and declares it in both places where
 * clients look for it. Webhooks need `eventsDialects()` in the engine's options. Call it before
 * connecting. One engine may be attached to any number of servers, each server once (SEP: When a
 * peer lacks the extension).
 * @throws Error if the server is connected, already has the extension, or already handles one of
 * its methods.
 */
export function attachEvents(
  mcp: McpServer,
  engine: BindableEngine,
  options: EventsOptions = {},
): void {
  claimBinding(mcp, 'events', METHODS);
  const log = options.log ?? silentLog;
  const caller = options.caller ?? callerOf;
  const { undeclared = 'sketch', alwaysExpires = false } = options;
  const announce = announcer(mcp, engine, options);
  for (const method of METHODS) {
    mcp.server.setRequestHandler(method, { params: passThrough }, async (params, ctx) => {
      announce(ctx);
      const profile = profileOf(clientCapabilities(mcp, ctx), undeclared);
      const request: EventsRequest = {
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
        return {
          ...(await answer(mcp, method, params, { engine, request, profile, log, alwaysExpires })),
        };
      } catch (error) {
        const known = errorFor(error, profile);
        throw known === null
          ? protocolError(error, ctx, log)
          : new ProtocolError(known.code, known.message, known.data);
      }
    });
  }
  // Clients from before SEP-3415 look for `events`. The SDK's type lacks this member, but the SDK
  // sends it.
  mcp.server.registerCapabilities({
    extensions: { [EVENTS_EXTENSION_ID]: SETTINGS },
    [EVENTS_CAPABILITY]: SETTINGS,
  } as ServerCapabilities);
}

async function answer(
  mcp: McpServer,
  method: EventsMethod,
  params: unknown,
  context: EventsContext,
): Promise<object> {
  const { streams, call } = eventsMethods[method];
  if (!streams) return call(context, params);
  const { stop, requestId } = context.request;
  const release = (): void => closeResponseStream(mcp, requestId);
  stop.addEventListener('abort', release, { once: true });
  try {
    return await call(context, params);
  } finally {
    stop.removeEventListener('abort', release);
  }
}

/** The error object for the client; null = an unexpected error, whose content is not sent. */
function errorFor(error: unknown, profile: Profile): EventsErrorObject | null {
  if (error instanceof LogEnded) return endingError(error.reason, profile);
  return error instanceof WireError ? eventsError(error, profile) : null;
}

/**
 * Returns a function to call for every request. After the first request on a session or a pipe, it
 * sends `list_changed` there. A modern HTTP client has no such connection and listens with
 * `subscriptions/listen`.
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
          log.debug({ err: error }, 'sending list_changed failed; the client is not notified'),
        );
    });
  };
}
