/**
 * Access of the bindings to the MCP SDK's server: the record of attached bindings, the signals and
 * errors of a request, and the handlers that are already registered. Hides differences between
 * protocol eras and transports.
 */
import {
  CLIENT_CAPABILITIES_META_KEY,
  ProtocolError,
  Server,
  type JSONRPCRequest,
  type McpServer,
  type Result,
  type ServerContext,
} from '@modelcontextprotocol/server';
import type { RequestId } from '../../../spec-schema/draft/schema.ts';
import type { Log } from '../engine/ports.ts';
import type { Caller, Engine, Verbs } from '../engine/verbs.ts';
import { internalError, LocalError, WireError } from '../../protocol/wire/errors.ts';
import { attached } from './attached.ts';

/** The part of an engine that a binding uses. */
export type AttachableEngine = Verbs & Pick<Engine, 'onListChanged' | 'clock'>;

/** Options that every `attach…` function takes. */
export interface BindingOptions {
  /**
   * Returns the caller of a request. Default: {@link callerOf}, which takes issuer, subject and
   * client from `authInfo` over HTTP and returns `local` on a pipe. Pass the same function to every
   * binding. Throw a `WireError` `Forbidden` to reject the request.
   */
  readonly caller?: (ctx: ServerContext) => Caller;
  /**
   * Awaited before every request. Lets a server on stdio open its store at the first request
   * instead of at the start: a client that probes for the protocol era starts the server twice.
   */
  readonly ready?: () => Promise<unknown>;
  /**
   * Receives unexpected failures, for which the client gets only the fixed error -32603. Default:
   * nothing is logged.
   */
  readonly log?: Log;
}

/**
 * A params schema that accepts everything: each binding validates params itself, so that its errors
 * carry typed data.
 */
export const passThrough = {
  '~standard': { version: 1, vendor: 'mcp-triggers', validate: (value: unknown) => ({ value }) },
} as const;

/** The bindings attached to a server. */
const bindingsOf = attached((_: McpServer) => new Set<string>());

/**
 * Records that a server has a binding and returns a function that removes the record. Throws an
 * Error if the server is connected, has this binding already, or already handles one of `methods`.
 */
export function claimBinding(
  mcp: McpServer,
  binding: string,
  methods: readonly string[] = [],
): () => void {
  const bindings = bindingsOf(mcp);
  if (mcp.isConnected())
    throw new Error(`The server is already connected. Attach ${binding} before connecting it.`);
  if (bindings.has(binding))
    throw new Error(`This server already has ${binding} attached. Attach ${binding} once.`);
  for (const method of methods) mcp.server.assertCanSetRequestHandler(method);
  bindings.add(binding);
  return () => void bindings.delete(binding);
}

/** A signal that fires when the client cancels the request or disconnects. */
export const stopOf = (ctx: ServerContext): AbortSignal =>
  // On a session transport a cancellation aborts only `mcpReq.signal`, and a lost connection only
  // `http.req.signal`.
  ctx.http?.req ? AbortSignal.any([ctx.mcpReq.signal, ctx.http.req.signal]) : ctx.mcpReq.signal;

/** When the authorization of a request expires, in epoch milliseconds; null = unknown. */
export function authorizedUntil(ctx: ServerContext): number | null {
  const expiresAt = ctx.http?.authInfo?.expiresAt;
  return expiresAt === undefined ? null : expiresAt * 1000;
}

/**
 * Closes the response stream of a canceled request. After `notifications/cancelled` the session
 * transport sends no response and never closes the stream itself.
 */
export function closeResponseStream(mcp: McpServer, requestId: RequestId): void {
  const transport = mcp.server.transport;
  if (transport && 'closeSSEStream' in transport && typeof transport.closeSSEStream === 'function')
    transport.closeSSEStream(requestId);
}

/**
 * The error to send: a `WireError` unchanged, every other error as `InternalError`. The cause of
 * that is never sent; it is logged, unless the request was canceled.
 */
export function wireError(error: unknown, ctx: ServerContext, log: Log): WireError {
  if (error instanceof WireError) return error;
  if (!ctx.mcpReq.signal.aborted)
    log.error({ err: error, method: ctx.mcpReq.method }, 'request failed; InternalError sent');
  return internalError(error);
}

/** {@link wireError} as the SDK's error class. Returns an error of the SDK unchanged. */
export function protocolError(error: unknown, ctx: ServerContext, log: Log): ProtocolError {
  if (error instanceof ProtocolError) return error;
  const { code, message, data } = wireError(error, ctx, log).toErrorObject();
  return new ProtocolError(code, message, data);
}

/**
 * A request handler as the SDK stores it: it validates the request for the protocol revision in
 * use.
 */
export type StoredHandler = (request: JSONRPCRequest, ctx: ServerContext) => Promise<Result>;

/**
 * Reads the request handlers of an SDK server. They are protected members, so only a subclass may
 * read them; this one is never instantiated, and lets the compiler check the access.
 */
class HandlerReader extends Server {
  static read(server: Server, method: string): StoredHandler | undefined {
    // eslint-disable-next-line @typescript-eslint/no-unnecessary-type-assertion -- only the subclass may read it
    const readable = server as HandlerReader;
    if (typeof readable._getRequestHandler !== 'function') {
      throw new LocalError(
        'config_invalid',
        'The request handlers of this version of @modelcontextprotocol/server cannot be read. Install a version in the range of the peer dependency.',
      );
    }
    return readable._getRequestHandler(method);
  }
}

/**
 * Answers requests of one method before the handler that the server has, which `inner` calls;
 * undefined = it has none.
 */
export type WrappedHandler = (
  request: JSONRPCRequest,
  ctx: ServerContext,
  inner: StoredHandler | undefined,
) => Promise<Result>;

/**
 * Throws `LocalError` `config_invalid` if the handlers for resources cannot be wrapped, before
 * anything is changed.
 */
export const assertHandlersReadable = ({ server }: McpServer): void =>
  void storedHandler(server, 'resources/read');

/**
 * Wraps the server's handlers for resources, by method. The resources of the application keep
 * working, whether they are registered before or after this call.
 */
export function wrapResources(
  mcp: McpServer,
  methods: Readonly<Record<string, WrappedHandler>>,
): void {
  // The SDK installs its resource handlers when the first resource is registered.
  if (storedHandler(mcp.server, 'resources/read') === undefined)
    mcp.registerResource('triggers', 'triggers:none', {}, () => ({ contents: [] })).remove();
  for (const [method, serve] of Object.entries(methods)) {
    const inner = storedHandler(mcp.server, method);
    mcp.server.setRequestHandler(method as 'resources/read', async (request, ctx) => {
      // The SDK validates request and result for the protocol revision in use.
      return (await serve(request as unknown as JSONRPCRequest, ctx, inner)) as never;
    });
  }
}

/** Members that forbid the client to cache a result. Only revision 2026-07-28 and later have them. */
export const uncached = ({ mcpReq }: ServerContext): object =>
  mcpReq.envelope === undefined ? {} : { ttlMs: 0, cacheScope: 'private' };

/** The client's capabilities, from the request itself or else from the handshake. */
export function clientCapabilities(mcp: McpServer, ctx: ServerContext): unknown {
  const envelope = ctx.mcpReq.envelope as Readonly<Record<string, unknown>> | undefined;
  return envelope?.[CLIENT_CAPABILITIES_META_KEY] ?? mcp.server.getClientCapabilities();
}

/**
 * The handler that a server has for a method, if any. Throws `LocalError` `config_invalid` if the
 * SDK version does not allow reading it.
 */
const storedHandler = (server: Server, method: string): StoredHandler | undefined =>
  HandlerReader.read(server, method);
