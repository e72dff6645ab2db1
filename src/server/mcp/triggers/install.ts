/**
 * Installs `triggers/*` on an MCP SDK server, for both protocol eras and every transport of the
 * SDK.
 */
import type { McpServer, ServerContext } from '@modelcontextprotocol/server';
import {
  REVISION,
  type Option,
  type ServerCapability,
} from '../../../../spec-schema/draft/schema.ts';
import type { Clock } from '../../../protocol/lib/clock.ts';
import type { Log } from '../../engine/ports.ts';
import { silentLog } from '../../engine/ports.ts';
import type { Caller } from '../../engine/verbs.ts';
import { placeCapability } from '../../../protocol/wire/capability.ts';
import { callerOf } from '../principal.ts';
import { tagged } from '../request-context.ts';
import { triggersMethods, type TriggersMethod, type TriggersRequest } from './methods.ts';
import {
  authorizedUntil,
  claimBinding,
  closeResponseStream,
  passThrough,
  protocolError,
  stopOf,
  type AttachableEngine,
  type BindingOptions,
} from '../sdk.ts';

/**
 * Options of {@link attachTriggers}. The members of the settings are announced unchanged (SEP:
 * Settings).
 */
export interface AttachOptions
  extends Omit<ServerCapability, 'revision' | 'options'>, BindingOptions {
  /** The options to offer. Default: all that the engine has and the levels permit. */
  readonly options?: readonly Option[];
}

/**
 * Serves `triggers/*` on `mcp` from `engine` and announces the capability: under `extensions` for
 * 2026-07-28 and under `experimental` for the handshake revisions. Call it before connecting. One
 * engine may be attached to any number of servers (a modern HTTP endpoint makes one per request),
 * each server once. Over HTTP pass responses through `withBoundedBacklog`: the SDK does not notice
 * a client that has stopped reading.
 * @throws Error if the server is connected, already has the extension, or already handles one of
 * its methods.
 */
export function attachTriggers(
  mcp: McpServer,
  engine: AttachableEngine,
  options: AttachOptions,
): void {
  const methods = Object.keys(triggersMethods) as TriggersMethod[];
  claimBinding(mcp, 'triggers', methods);
  const log = options.log ?? silentLog;
  const caller = options.caller ?? callerOf;
  const settings = settingsOf(options);
  const offered = new Set([...settings.levels, ...settings.options]);
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
            requestOf(ctx, engine.clock, () => caller(ctx), offered),
          )),
        };
      } catch (error) {
        throw protocolError(error, ctx, log);
      }
    });
  }
  mcp.server.registerCapabilities(placeCapability({}, settings));
  announceOnSession(connection);
}

/** One SDK server and its open streams. */
interface Connection {
  readonly mcp: McpServer;
  readonly engine: AttachableEngine;
  readonly log: Log;
  openStreams: number;
  /** Whether the client has called a method of the extension. Only then does it get `list_changed`. */
  used: boolean;
}

/** The options of the engine, each with the level that it needs. */
const OPTIONS: readonly (readonly [option: Option, needs: string])[] = [
  ['conditionalReads', 'log'],
  ['history', 'log'],
  ['multiSelect', 'log'],
  ['listChanged', 'stream'],
  ['pause', 'callback'],
  ['skip', 'callback'],
  ['reject', 'callback'],
  ['trace', 'log'],
];

/** The settings object that both eras announce. */
function settingsOf({ levels, options, minTtlMs, maxTtlMs, jwksUri }: AttachOptions) {
  return {
    revision: REVISION,
    levels: [...levels],
    options: [
      ...(options ?? OPTIONS.filter(([, needs]) => levels.includes(needs)).map(([name]) => name)),
      ...(jwksUri === undefined ? [] : ['serverIdentity']),
    ],
    ...(minTtlMs === undefined ? {} : { minTtlMs }),
    ...(maxTtlMs === undefined ? {} : { maxTtlMs }),
    ...(jwksUri === undefined ? {} : { jwksUri }),
  } satisfies ServerCapability;
}

async function answer(
  connection: Connection,
  method: TriggersMethod,
  params: unknown,
  request: TriggersRequest,
): Promise<object> {
  const row = triggersMethods[method];
  if (row.duration === 'short') return row.call(connection.engine, params, request);
  const release = () => closeResponseStream(connection.mcp, request.requestId);
  request.stop.addEventListener('abort', release, { once: true });
  const unannounce = row.duration === 'stream' ? announceOnStream(connection, request) : undefined;
  try {
    return await row.call(connection.engine, params, request);
  } finally {
    unannounce?.();
    request.stop.removeEventListener('abort', release);
  }
}

function requestOf(
  ctx: ServerContext,
  clock: Clock,
  caller: () => Caller,
  offered: ReadonlySet<string>,
): TriggersRequest {
  return {
    offered,
    caller,
    requestId: ctx.mcpReq.id,
    stop: stopOf(ctx),
    authorizedUntil: authorizedUntil(ctx),
    clock,
    notify: (method, params) => ctx.mcpReq.notify({ method, params: { ...params } }),
  };
}

const LIST_CHANGED = 'notifications/triggers/list_changed';

/**
 * Sends `list_changed` on an open stream (SEP: triggers/list) until the returned function is
 * called.
 */
function announceOnStream(connection: Connection, request: TriggersRequest): () => void {
  connection.openStreams += 1;
  const unsubscribe = connection.engine.onListChanged(() => {
    if (!request.stop.aborted)
      request.notify(LIST_CHANGED, tagged({}, request.requestId)).catch(notSent(connection));
  });
  return () => {
    connection.openStreams -= 1;
    unsubscribe();
  };
}

/**
 * Sends `list_changed` on the session of a client from before 2026-07-28 that uses the extension and
 * has no open stream. A later client has no session; without a stream it lists again after the
 * list's `ttlMs`.
 */
function announceOnSession(connection: Connection): void {
  const { server } = connection.mcp;
  const { oninitialized, onclose } = server;
  let unsubscribe: (() => void) | undefined;
  server.oninitialized = () => {
    unsubscribe ??= connection.engine.onListChanged(() => {
      if (connection.used && connection.openStreams === 0)
        server.notification({ method: LIST_CHANGED }).catch(notSent(connection));
    });
    oninitialized?.();
  };
  server.onclose = () => {
    unsubscribe?.();
    onclose?.();
  };
}

const notSent = (connection: Connection) => (error: unknown) =>
  connection.log.debug({ err: error }, 'sending list_changed failed; the client is not notified');
