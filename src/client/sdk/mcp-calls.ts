/**
 * The calls of plain MCP: read a resource, page through a list, call a tool, subscribe to a
 * resource. Checks only the members of a result that are used. A tool is called through the SDK's
 * client, because it knows which arguments go into headers.
 */
import type { Tool } from '@modelcontextprotocol/client';
import { orAbort } from '../../protocol/lib/abort.ts';
import type { LocalError } from '../../protocol/wire/errors.ts';
import { RemoteError } from '../../protocol/wire/remote-error.ts';
import type { Connection } from './connection.ts';
import { misbehaved, peerError, unreachable } from './peer-error.ts';

export type { Tool } from '@modelcontextprotocol/client';

/** The signal and the timeout of a call, both required. */
export interface McpCallOptions {
  readonly signal: AbortSignal;
  readonly timeoutMs: number;
}

/** A result with the lifetime that the server names, from 2026-07-28 on. */
interface Cacheable {
  readonly ttlMs: number | undefined;
}

interface ResourceResult extends Cacheable {
  readonly contents: readonly object[];
}

/** One page of a list. */
export interface ListPage extends Cacheable {
  readonly items: readonly object[];
  readonly nextCursor: string | undefined;
}

/** The result of a tool. */
interface ToolResult {
  readonly content: readonly unknown[];
  readonly structuredContent?: unknown;
  /** The tool reports that it failed. */
  readonly isError: boolean;
}

/**
 * Calls `resources/read`. Rejects as {@link Connection.call} does, and with `peer_misbehaved` for
 * an invalid result.
 */
export async function readResource(
  connection: Connection,
  uri: string,
  options: McpCallOptions,
): Promise<ResourceResult> {
  const result = await callInSession(connection, 'resources/read', { uri }, options);
  return { contents: objects(result['contents'], 'contents'), ttlMs: ttlOf(result) };
}

/** Calls `tools/list`, `prompts/list` or `resources/list` for one page. */
export async function listPage(
  connection: Connection,
  kind: 'tools' | 'prompts' | 'resources',
  cursor: string | undefined,
  options: McpCallOptions,
): Promise<ListPage> {
  const result = await callInSession(
    connection,
    `${kind}/list`,
    cursor === undefined ? {} : { cursor },
    options,
  );
  const { nextCursor } = result;
  if (nextCursor !== undefined && typeof nextCursor !== 'string')
    throw invalidResult('nextCursor is not a string');
  return { items: objects(result[kind], kind), nextCursor, ttlMs: ttlOf(result) };
}

export async function subscribeResource(
  connection: Connection,
  uri: string,
  options: McpCallOptions,
): Promise<void> {
  await callInSession(connection, 'resources/subscribe', { uri }, options);
}

export async function unsubscribeResource(
  connection: Connection,
  uri: string,
  options: McpCallOptions,
): Promise<void> {
  await callInSession(connection, 'resources/unsubscribe', { uri }, options);
}

/** Calls a tool with the definition that the server lists. */
export async function callTool(
  connection: Connection,
  tool: Tool,
  args: Readonly<Record<string, unknown>>,
  { signal, timeoutMs }: McpCallOptions,
): Promise<ToolResult> {
  const result = await inSession(connection, 'tools/call', signal, async () => {
    const { client } = await connection.opened();
    return client
      .callTool(
        { name: tool.name, arguments: { ...args } },
        { signal, timeout: timeoutMs, toolDefinition: tool },
      )
      .catch((error: unknown) => {
        throw peerError(error);
      });
  });
  const { content, structuredContent, isError = false } = result;
  return structuredContent === undefined
    ? { content, isError }
    : { content, structuredContent, isError };
}

async function callInSession(
  connection: Connection,
  method: string,
  params: object,
  options: McpCallOptions,
): Promise<Readonly<Record<string, unknown>>> {
  return inSession(
    connection,
    method,
    options.signal,
    async () => Object(await connection.call(method, params, options)) as Record<string, unknown>,
  );
}

/** The code of a bad request. Many servers use it for an unknown session too. */
const BAD_REQUEST = -32000;

/**
 * Calls `run`. If the server may have forgotten the session, leaves it, so that the next call opens
 * another.
 */
async function inSession<T>(
  connection: Connection,
  method: string,
  signal: AbortSignal,
  run: () => Promise<T>,
): Promise<T> {
  const { doubtedSessions: doubts } = connection.shared;
  const session = await orAbort(connection.opened(), signal);
  try {
    const result = await run();
    doubts.delete(method);
    return result;
  } catch (error) {
    signal.throwIfAborted();
    // A request that is bad in a new session too is a bad request.
    if (!mayBeForgotten(error, connection) || (doubts.get(method) ?? session) !== session)
      throw error;
    doubts.set(method, session);
    await connection.renew();
    throw unreachable('it has ended the session', error, 'session_ended');
  }
}

/** Whether the server may have forgotten the session. */
const mayBeForgotten = (error: unknown, connection: Connection): boolean =>
  error instanceof RemoteError && error.code === BAD_REQUEST && connection.pushState !== undefined;

function objects(value: unknown, name: string): readonly object[] {
  if (Array.isArray(value) && value.every((item) => typeof item === 'object' && item !== null))
    return value as object[];
  throw invalidResult(`${name} is not an array of objects`);
}

const ttlOf = ({ ttlMs }: Readonly<Record<string, unknown>>): number | undefined =>
  typeof ttlMs === 'number' && Number.isFinite(ttlMs) && ttlMs >= 0 ? ttlMs : undefined;

const invalidResult = (problem: string): LocalError => misbehaved('result', problem);
