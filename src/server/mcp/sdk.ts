/**
 * What every binding needs of the MCP SDK's server: one request as an exchange, errors on their way out, the end of a response
 * stream. What the SDK does differently per era or transport is levelled out here.
 */
import { ProtocolError, type McpServer, type ServerContext } from '@modelcontextprotocol/server';
import type { RequestId } from '../../../spec-schema/draft/schema.ts';
import type { Log } from '../engine/ports.ts';
import type { Caller, Engine, Verbs } from '../engine/verbs.ts';
import { internalError, WireError } from '../../protocol/wire/errors.ts';
import { attached } from './attached.ts';

/** What of an engine a binding needs. */
export type AttachableEngine = Verbs & Pick<Engine, 'onListChanged' | 'clock'>;

/** What every `attach…` function takes. */
export interface BindingOptions {
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

/** Params go through as they are: each binding validates them itself, and its errors carry typed data. */
export const passThrough = {
  '~standard': { version: 1, vendor: 'mcp-triggers', validate: (value: unknown) => ({ value }) },
} as const;

/** The bindings that a server carries. */
const claimsOf = attached((_: McpServer) => new Set<string>());

/** Marks a server as carrying a binding; the returned function takes the mark back. Throws an Error that says what is in the way. */
export function claimServer(
  mcp: McpServer,
  what: string,
  methods: readonly string[] = [],
): () => void {
  const claims = claimsOf(mcp);
  if (mcp.isConnected()) throw new Error(`Attach ${what} before connecting the server.`);
  if (claims.has(what)) throw new Error(`This server already has ${what} attached.`);
  for (const method of methods) mcp.server.assertCanSetRequestHandler(method);
  claims.add(what);
  return () => void claims.delete(what);
}

/**
 * Fires when the client cancelled the request or is gone: a cancellation aborts the first signal, a client that vanished from a session
 * transport aborts only the second.
 */
export const stopOf = (ctx: ServerContext): AbortSignal =>
  ctx.http?.req ? AbortSignal.any([ctx.mcpReq.signal, ctx.http.req.signal]) : ctx.mcpReq.signal;

/** When the authorization of a request runs out, in epoch milliseconds; null = not known. */
export function authorizedUntil(ctx: ServerContext): number | null {
  const expiresAt = ctx.http?.authInfo?.expiresAt;
  return expiresAt === undefined ? null : expiresAt * 1000;
}

/** After `notifications/cancelled` the session transport sends no answer but leaves the response stream open for good. */
export function closeResponseStream(mcp: McpServer, requestId: RequestId): void {
  const transport = mcp.server.transport;
  if (transport && 'closeSSEStream' in transport && typeof transport.closeSSEStream === 'function')
    transport.closeSSEStream(requestId);
}

/** What the client may hear: our typed errors as they are, everything else as one fixed error whose cause stays here. */
export function wireError(error: unknown, ctx: ServerContext, log: Log): WireError {
  if (error instanceof WireError) return error;
  if (!ctx.mcpReq.signal.aborted)
    log.error({ err: error, method: ctx.mcpReq.method }, 'a request failed unexpectedly');
  return internalError(error);
}

/** The same as the SDK sends it. */
export function protocolError(error: unknown, ctx: ServerContext, log: Log): ProtocolError {
  if (error instanceof ProtocolError) return error;
  const { code, message, data } = wireError(error, ctx, log).toErrorObject();
  return new ProtocolError(code, message, data);
}
