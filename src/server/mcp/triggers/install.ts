/**
 * Installs the native binding on an MCP SDK server, for both protocol eras and every transport of the SDK.
 */
import type { McpServer, ServerContext } from '@modelcontextprotocol/server';
import type { ServerCapability } from '../../../../spec-schema/draft/schema.ts';
import type { Clock } from '../../../protocol/lib/clock.ts';
import type { Log } from '../../engine/ports.ts';
import { silentLog } from '../../engine/ports.ts';
import type { Caller } from '../../engine/verbs.ts';
import { placeCapability } from '../../../protocol/wire/capability.ts';
import { callerOf } from '../principal.ts';
import { tagged, type RequestContext as RequestExchange } from '../request-context.ts';
import { triggersMethods, type NotificationMethod, type TriggersMethod } from './methods.ts';
import {
  authorizedUntil,
  claimServer,
  closeResponseStream,
  passThrough,
  protocolError,
  stopOf,
  type AttachableEngine,
  type BindingOptions,
} from '../sdk.ts';

/** How the extension is offered on one SDK server. The members of the capability are announced as they are (SEP: Capability). */
export interface AttachOptions extends Omit<ServerCapability, 'listChanged'>, BindingOptions {}

type Exchange = RequestExchange<NotificationMethod>;

/**
 * Serves `triggers/*` on `mcp` from `engine` and announces the capability: under `extensions` for 2026-07-28 and under
 * `experimental` for the handshake revisions. Call it before connecting; one engine may be attached to any number of servers
 * (a modern HTTP endpoint makes one per request), each server once. Over HTTP pass responses through `withBoundedBacklog`: the SDK
 * itself never tells that a client has stopped reading.
 * @throws Error if the server is connected, already has the extension, or already handles one of its methods.
 */
export function attachTriggers(
  mcp: McpServer,
  engine: AttachableEngine,
  options: AttachOptions,
): void {
  const methods = Object.keys(triggersMethods) as TriggersMethod[];
  claimServer(mcp, 'triggers', methods);
  const log = options.log ?? silentLog;
  const caller = options.caller ?? callerOf;
  const connection: Connection = { mcp, engine, log, openStreams: 0, used: false };
  for (const method of methods) {
    mcp.server.setRequestHandler(method, { params: passThrough }, async (params, ctx) => {
      connection.used = true;
      try {
        await options.ready?.();
        return {
          ...(await answer(
            connection,
            method,
            params,
            exchangeOf(ctx, engine.clock, () => caller(ctx)),
          )),
        };
      } catch (error) {
        throw protocolError(error, ctx, log);
      }
    });
  }
  mcp.server.registerCapabilities(placeCapability({}, settingsOf(options)));
  announceOnSession(connection);
}

/** One SDK server and what is open on it. */
interface Connection {
  readonly mcp: McpServer;
  readonly engine: AttachableEngine;
  readonly log: Log;
  openStreams: number;
  /** Whether its client has called any method of the extension: who has not is told nothing of it. */
  used: boolean;
}

/** The settings object both eras announce; members that are not set stay away. */
function settingsOf({ drains, durability, minTtlMs, maxTtlMs, jwksUri }: AttachOptions) {
  return {
    listChanged: true,
    drains: [...drains],
    durability,
    ...(minTtlMs === undefined ? {} : { minTtlMs }),
    ...(maxTtlMs === undefined ? {} : { maxTtlMs }),
    ...(jwksUri === undefined ? {} : { jwksUri }),
  } satisfies ServerCapability;
}

async function answer(
  connection: Connection,
  method: TriggersMethod,
  params: unknown,
  exchange: Exchange,
): Promise<object> {
  const row = triggersMethods[method];
  if (row.lasts === 'no') return row.call(connection.engine, params, exchange);
  const release = () => closeResponseStream(connection.mcp, exchange.requestId);
  exchange.stop.addEventListener('abort', release, { once: true });
  const unannounce = row.lasts === 'streams' ? announceOnStream(connection, exchange) : undefined;
  try {
    return await row.call(connection.engine, params, exchange);
  } finally {
    unannounce?.();
    exchange.stop.removeEventListener('abort', release);
  }
}

/** One exchange from the SDK's context. */
function exchangeOf(ctx: ServerContext, clock: Clock, caller: () => Caller): Exchange {
  return {
    caller,
    requestId: ctx.mcpReq.id,
    stop: stopOf(ctx),
    authorizedUntil: authorizedUntil(ctx),
    clock,
    notify: (method, params) => ctx.mcpReq.notify({ method, params: { ...params } }),
  };
}

const LIST_CHANGED = 'notifications/triggers/list_changed';

/** While a stream is open, `list_changed` travels on it (SEP: triggers/list). Returns the end of that. */
function announceOnStream(connection: Connection, exchange: Exchange): () => void {
  connection.openStreams += 1;
  const unsubscribe = connection.engine.onListChanged(() => {
    if (!exchange.stop.aborted)
      exchange.notify(LIST_CHANGED, tagged({}, exchange.requestId)).catch(lost(connection));
  });
  return () => {
    connection.openStreams -= 1;
    unsubscribe();
  };
}

/**
 * A handshake client that uses the extension and has no open stream gets `list_changed` on the session itself. A modern client has no session: without
 * a stream it learns of the change from the list's `ttlMs` and ETag.
 */
function announceOnSession(connection: Connection): void {
  const { server } = connection.mcp;
  const { oninitialized, onclose } = server;
  let unsubscribe: (() => void) | undefined;
  server.oninitialized = () => {
    unsubscribe ??= connection.engine.onListChanged(() => {
      if (connection.used && connection.openStreams === 0)
        server.notification({ method: LIST_CHANGED }).catch(lost(connection));
    });
    oninitialized?.();
  };
  server.onclose = () => {
    unsubscribe?.();
    onclose?.();
  };
}

const lost = (connection: Connection) => (error: unknown) =>
  connection.log.debug({ err: error }, 'list_changed was not sent: the connection is gone');
