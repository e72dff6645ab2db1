/**
 * Installs `triggers/*` on an MCP SDK server, for both protocol eras and every transport of the
 * SDK.
 */
import {
  ResourceNotFoundError,
  type McpServer,
  type Result,
  type ServerContext,
} from '@modelcontextprotocol/server';
import {
  REVISION,
  type Option,
  type ServerCapability,
} from '../../../../spec-schema/draft/schema.ts';
import type { Clock } from '../../../protocol/lib/clock.ts';
import type { Log } from '../../engine/ports.ts';
import { isDataUri } from '../../engine/data-ref.ts';
import { silentLog } from '../../engine/ports.ts';
import type { Caller } from '../../engine/verbs.ts';
import { clientOptionsOf, placeCapability } from '../../../protocol/wire/capability.ts';
import { callerOf } from '../principal.ts';
import { tagged } from '../request-context.ts';
import { triggersMethods, type TriggersMethod, type TriggersRequest } from './methods.ts';
import {
  assertHandlersReadable,
  authorizedUntil,
  claimBinding,
  clientCapabilities,
  closeResponseStream,
  passThrough,
  protocolError,
  stopOf,
  uncached,
  wrapResources,
  type AttachableEngine,
  type BindingOptions,
} from '../sdk.ts';

/**
 * Options of {@link attachTriggers}. The members of the settings are announced unchanged (SEP:
 * Settings).
 */
export interface AttachOptions
  extends Omit<ServerCapability, 'revision' | 'options'>, BindingOptions {
  /** The options to offer. Default: all that the engine has and the levels permit, but `dataRef`. */
  readonly options?: readonly Option[];
  /**
   * Whether to offer the option `dataRef` too. It gives the server the capability `resources`.
   * Default false.
   */
  readonly dataRef?: boolean;
}

/**
 * Serves `triggers/*` on `mcp` from `engine` and announces the capability: under `extensions` for
 * 2026-07-28 and under `experimental` for the handshake revisions. Call it before connecting. One
 * engine may be attached to any number of servers (a modern HTTP endpoint makes one per request),
 * each server once. Over HTTP pass responses through `withBoundedBacklog`: the SDK does not notice
 * a client that has stopped reading. With the option `dataRef` the server has the capability
 * `resources`; the application's own resources keep working, whether they are registered before or
 * after this call.
 * @throws LocalError `config_invalid` with the option `dataRef`, for a version of the SDK whose
 * handlers cannot be read.
 * @throws Error if the server is connected, already has the extension, or already handles one of
 * its methods.
 */
export function attachTriggers(
  mcp: McpServer,
  engine: AttachableEngine,
  options: AttachOptions,
): void {
  const methods = Object.keys(triggersMethods) as TriggersMethod[];
  const settings = settingsOf(options);
  const offered = new Set([...settings.levels, ...settings.options]);
  if (offered.has('dataRef')) assertHandlersReadable(mcp);
  claimBinding(mcp, 'triggers', methods);
  const log = options.log ?? silentLog;
  const caller = options.caller ?? callerOf;
  if (offered.has('dataRef')) serveData(mcp, engine, { ...options, caller, log });
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
            requestOf(mcp, ctx, engine.clock, () => caller(ctx), offered),
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
  ['limits', 'callback'],
  ['trace', 'log'],
];

/** The settings object that both eras announce. */
function settingsOf({
  levels,
  options,
  dataRef,
  minTtlMs,
  maxTtlMs,
  maxSuspendedMs,
  jwksUri,
}: AttachOptions) {
  return {
    revision: REVISION,
    levels: [...levels],
    options: [
      ...(options ?? OPTIONS.filter(([, needs]) => levels.includes(needs)).map(([name]) => name)),
      ...(dataRef === true ? ['dataRef'] : []),
      ...(jwksUri === undefined ? [] : ['serverIdentity']),
    ],
    ...(minTtlMs === undefined ? {} : { minTtlMs }),
    ...(maxTtlMs === undefined ? {} : { maxTtlMs }),
    ...(maxSuspendedMs === undefined ? {} : { maxSuspendedMs }),
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
  mcp: McpServer,
  ctx: ServerContext,
  clock: Clock,
  caller: () => Caller,
  offered: ReadonlySet<string>,
): TriggersRequest {
  const declared = clientOptionsOf(clientCapabilities(mcp, ctx));
  return {
    offered,
    shared: new Set(declared.filter((option) => offered.has(option))),
    caller,
    requestId: ctx.mcpReq.id,
    stop: stopOf(ctx),
    authorizedUntil: authorizedUntil(ctx),
    clock,
    notify: (method, params) => ctx.mcpReq.notify({ method, params: { ...params } }),
  };
}

/**
 * Serves the data of events that are delivered by reference. Other resources are those of the
 * application.
 */
function serveData(
  mcp: McpServer,
  engine: AttachableEngine,
  { caller, log, ready }: Required<Pick<BindingOptions, 'caller' | 'log'>> & BindingOptions,
): void {
  const read = async (uri: string, ctx: ServerContext): Promise<Result> => {
    let text: string | null;
    try {
      await ready?.();
      text = await engine.data(caller(ctx), uri);
    } catch (error) {
      throw protocolError(error, ctx, log);
    }
    if (text === null) throw new ResourceNotFoundError(uri);
    return { contents: [{ uri, mimeType: 'application/json', text }], ...uncached(ctx) };
  };
  wrapResources(mcp, {
    'resources/read': async (request, ctx, inner) => {
      const { uri } = request.params as { readonly uri: string };
      if (isDataUri(uri)) return read(uri, ctx);
      if (inner === undefined) throw new ResourceNotFoundError(uri);
      return inner(request, ctx);
    },
  });
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
