/**
 * What every MCP server can be asked, as calls whose results are checked as far as they are used: reading a resource, paging through a
 * list, calling a tool, subscribing to a resource. The tool is called by the SDK's client, which knows what of its arguments belongs
 * into headers.
 */
import type { Tool } from '@modelcontextprotocol/client';
import { orAbort } from '../../protocol/lib/abort.ts';
import { LocalError } from '../../protocol/wire/errors.ts';
import { RemoteError } from '../../protocol/wire/remote-error.ts';
import type { Connection } from './connection.ts';
import { peerError, unreachable } from './peer-error.ts';

export type { Tool } from '@modelcontextprotocol/client';

/** How to ask: every call has an end. */
export interface AskOptions {
  readonly signal: AbortSignal;
  readonly timeoutMs: number;
}

/** A result with the time for which the server says that it is good, from 2026-07-28 on. */
interface Cacheable {
  readonly ttlMs: number | undefined;
}

export interface ResourceAnswer extends Cacheable {
  readonly contents: readonly object[];
}

/** One page of a list. */
export interface PageAnswer extends Cacheable {
  readonly items: readonly object[];
  readonly nextCursor: string | undefined;
}

/** What a tool answered. */
export interface ToolAnswer {
  readonly content: readonly unknown[];
  readonly structuredContent?: unknown;
  /** The tool says that it failed. */
  readonly isError: boolean;
}

/** Answers `resources/read`. Rejects as {@link Connection.call} does, and with `peer_misbehaved` for what is no such result. */
export async function readResource(
  connection: Connection,
  uri: string,
  options: AskOptions,
): Promise<ResourceAnswer> {
  const result = await ask(connection, 'resources/read', { uri }, options);
  return { contents: objects(result['contents'], 'contents'), ttlMs: ttlOf(result) };
}

/** Answers `tools/list`, `prompts/list` or `resources/list` for one page. */
export async function listPage(
  connection: Connection,
  kind: 'tools' | 'prompts' | 'resources',
  cursor: string | undefined,
  options: AskOptions,
): Promise<PageAnswer> {
  const result = await ask(
    connection,
    `${kind}/list`,
    cursor === undefined ? {} : { cursor },
    options,
  );
  const { nextCursor } = result;
  if (nextCursor !== undefined && typeof nextCursor !== 'string')
    throw notAResult('nextCursor is no string');
  return { items: objects(result[kind], kind), nextCursor, ttlMs: ttlOf(result) };
}

/** `resources/subscribe`, and the end of it. */
export async function subscribeResource(
  connection: Connection,
  uri: string,
  options: AskOptions,
): Promise<void> {
  await ask(connection, 'resources/subscribe', { uri }, options);
}

export async function unsubscribeResource(
  connection: Connection,
  uri: string,
  options: AskOptions,
): Promise<void> {
  await ask(connection, 'resources/unsubscribe', { uri }, options);
}

/** Calls a tool as the list has it. */
export async function callTool(
  connection: Connection,
  tool: Tool,
  args: Readonly<Record<string, unknown>>,
  { signal, timeoutMs }: AskOptions,
): Promise<ToolAnswer> {
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

async function ask(
  connection: Connection,
  method: string,
  params: object,
  options: AskOptions,
): Promise<Readonly<Record<string, unknown>>> {
  return inSession(
    connection,
    method,
    options.signal,
    async () => Object(await connection.call(method, params, options)) as Record<string, unknown>,
  );
}

/** Many servers answer for a session that they have forgotten what they answer for any bad request. */
const BAD_REQUEST = -32000;

/** A call whose session may be gone: then it is left, so that the next call opens another. */
async function inSession<T>(
  connection: Connection,
  method: string,
  signal: AbortSignal,
  run: () => Promise<T>,
): Promise<T> {
  const { doubts } = connection.shared;
  const session = await orAbort(connection.opened(), signal);
  try {
    const answer = await run();
    doubts.delete(method);
    return answer;
  } catch (error) {
    signal.throwIfAborted();
    if (!mayBeForgotten(error, connection) || (doubts.get(method) ?? session) !== session)
      throw error;
    doubts.set(method, session);
    await connection.renew();
    throw unreachable('it has ended the session', error, 'session_ended');
  }
}

/** Whether it may be the session. A bad request that is one in a new session too is what it says. */
const mayBeForgotten = (error: unknown, connection: Connection): boolean =>
  error instanceof RemoteError && error.code === BAD_REQUEST && connection.pushState !== undefined;

function objects(value: unknown, name: string): readonly object[] {
  if (Array.isArray(value) && value.every((item) => typeof item === 'object' && item !== null))
    return value as object[];
  throw notAResult(`${name} is no array of objects`);
}

const ttlOf = ({ ttlMs }: Readonly<Record<string, unknown>>): number | undefined =>
  typeof ttlMs === 'number' && Number.isFinite(ttlMs) && ttlMs >= 0 ? ttlMs : undefined;

const notAResult = (problem: string): LocalError =>
  new LocalError('peer_misbehaved', `The server's result is not acceptable: ${problem}.`, {
    reason: 'result',
  });
