/**
 * Installs the native binding on an MCP SDK server, for both protocol eras and every transport of the SDK. The only file of
 * the library's server side that imports the SDK: what the SDK does differently per era or transport is levelled out here.
 */
import { ProtocolError, type McpServer, type ServerContext } from '@modelcontextprotocol/server';
import type { ServerCapability } from '../../spec-schema/draft/schema.ts';
import type { Log } from '../engine/ports.ts';
import { silentLog } from '../engine/system.ts';
import type { Caller, Engine, Verbs } from '../engine/verbs.ts';
import { placeCapability } from '../wire/capability.ts';
import { WireError, internalError } from '../wire/errors.ts';
import { callerOf } from './principal.ts';
import { tagged, triggersMethods, type Exchange, type TriggersMethod } from './triggers.ts';

/** How the extension is offered on one SDK server. The first four members are announced as they are (SEP: Capability). */
export interface AttachOptions extends Omit<ServerCapability, 'listChanged'> {
  /**
   * Who is asking, from the request's context. Default: {@link callerOf}, which takes `iss` and `sub` from
   * `authInfo.extra` over HTTP and `local` on a pipe. Throw a `WireError` `Forbidden` to refuse.
   */
  readonly caller?: (ctx: ServerContext) => Caller;
  /**
   * Awaited before every request is answered. For a server that opens its store only when it is first needed, as one started on
   * stdio should: a client that probes for the protocol era starts it twice.
   */
  readonly ready?: () => Promise<unknown>;
  /** Where unexpected failures are reported; the client sees a fixed `-32603`. Default: nowhere. */
  readonly log?: Log;
}

/** What of an engine a binding needs. */
export type AttachableEngine = Verbs & Pick<Engine, 'onListChanged'>;

/** Params go through as they are: they are validated by the extension's own schema, whose errors carry typed data. */
const passThrough = {
  '~standard': { version: 1, vendor: 'mcp-triggers', validate: (value: unknown) => ({ value }) },
} as const;

const attached = new WeakSet<McpServer>();

/**
 * Serves `triggers/*` on `mcp` from `engine` and announces the capability: under `extensions` for 2026-07-28 and under
 * `experimental` for the handshake revisions. Call it before connecting; one engine may be attached to any number of servers
 * (a modern HTTP endpoint makes one per request), each server once. Over HTTP pass responses through `withBoundedBacklog`: the SDK
 * itself never tells that a client has stopped reading.
 * @throws Error if the server is connected, already has the extension, or already handles one of its methods.
 */
export function attachTriggers(mcp: McpServer, engine: AttachableEngine, options: AttachOptions): void {
  if (mcp.isConnected()) throw new Error('Attach triggers before connecting the server.');
  if (attached.has(mcp)) throw new Error('This server already has triggers attached.');
  const methods = Object.keys(triggersMethods) as TriggersMethod[];
  for (const method of methods) mcp.server.assertCanSetRequestHandler(method);

  const log = options.log ?? silentLog;
  const caller = options.caller ?? callerOf;
  const connection: Connection = { mcp, engine, log, openStreams: 0, used: false };
  for (const method of methods) {
    mcp.server.setRequestHandler(method, { params: passThrough }, async (params, ctx) => {
      connection.used = true;
      try {
        await options.ready?.();
        return { ...(await answer(connection, method, params, exchangeOf(ctx, () => caller(ctx)))) };
      } catch (error) {
        throw protocolError(error, ctx, log);
      }
    });
  }
  mcp.server.registerCapabilities(placeCapability({}, settingsOf(options)));
  announceOnSession(connection);
  attached.add(mcp);
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

async function answer(connection: Connection, method: TriggersMethod, params: unknown, exchange: Exchange): Promise<object> {
  const row = triggersMethods[method];
  if (row.lasts === 'no') return row.call(connection.engine, params, exchange);
  // After `notifications/cancelled` the session transport sends no answer but leaves the response stream open for good.
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

function closeResponseStream(mcp: McpServer, requestId: Exchange['requestId']): void {
  const transport = mcp.server.transport;
  if (transport && 'closeSSEStream' in transport && typeof transport.closeSSEStream === 'function') transport.closeSSEStream(requestId);
}

/** One exchange from the SDK's context. */
function exchangeOf(ctx: ServerContext, caller: () => Caller): Exchange {
  const expiresAt = ctx.http?.authInfo?.expiresAt;
  return {
    caller,
    requestId: ctx.mcpReq.id,
    // A cancellation aborts the first; a client that vanished from a session transport aborts only the second.
    stop: ctx.http?.req ? AbortSignal.any([ctx.mcpReq.signal, ctx.http.req.signal]) : ctx.mcpReq.signal,
    authorizedUntil: expiresAt === undefined ? null : expiresAt * 1000,
    notify: (method, params) => ctx.mcpReq.notify({ method, params: { ...params } }),
  };
}

/** What goes on the wire: our typed errors as they are, everything else as one fixed error whose cause stays here. */
function protocolError(error: unknown, ctx: ServerContext, log: Log): ProtocolError {
  if (!(error instanceof WireError) && !ctx.mcpReq.signal.aborted) {
    log.error({ err: error, method: ctx.mcpReq.method }, 'a request failed unexpectedly');
  }
  const { code, message, data } = (error instanceof WireError ? error : internalError(error)).toErrorObject();
  return new ProtocolError(code, message, data);
}

const LIST_CHANGED = 'notifications/triggers/list_changed';

/** While a stream is open, `list_changed` travels on it (SEP: triggers/list). Returns the end of that. */
function announceOnStream(connection: Connection, exchange: Exchange): () => void {
  connection.openStreams += 1;
  const unsubscribe = connection.engine.onListChanged(() => {
    if (!exchange.stop.aborted) exchange.notify(LIST_CHANGED, tagged({}, exchange.requestId)).catch(lost(connection));
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
      if (connection.used && connection.openStreams === 0) server.notification({ method: LIST_CHANGED }).catch(lost(connection));
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
