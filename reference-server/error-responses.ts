/**
 * HTTP responses with a JSON-RPC error, for requests that are rejected before they reach the MCP
 * SDK.
 */
import type { ErrorData, ErrorObject } from 'mcp-triggers-experimental';

/** A response with a JSON-RPC error. `id` is the id of the request, if known. */
function errorResponse(
  status: number,
  error: ErrorObject,
  options: { readonly id?: unknown; readonly headers?: Readonly<Record<string, string>> } = {},
): Response {
  const id = typeof options.id === 'string' || typeof options.id === 'number' ? options.id : null;
  return Response.json(
    { jsonrpc: '2.0', id, error },
    { status, headers: { 'cache-control': 'no-store', ...options.headers } },
  );
}

/** The codes of these errors are those of the MCP SDK. */
const TRANSPORT_ERROR = -32000;
const SESSION_NOT_FOUND = -32001;
const PARSE_ERROR = -32700;

const plain = (
  status: number,
  code: number,
  message: string,
  headers?: Readonly<Record<string, string>>,
) => errorResponse(status, { code, message }, headers === undefined ? {} : { headers });

export const methodNotAllowed = () =>
  plain(405, TRANSPORT_ERROR, 'Method not allowed. Use POST, GET or DELETE.', {
    allow: 'POST, GET, DELETE',
  });
export const unsupportedContentType = () =>
  plain(415, TRANSPORT_ERROR, 'Unsupported media type. Send "content-type: application/json".');
export const unsupportedEncoding = () =>
  plain(415, TRANSPORT_ERROR, 'Unsupported content encoding. Send the body uncompressed.', {
    'accept-encoding': 'identity',
  });
export const bodyTooLarge = (maxBytes: number) =>
  plain(413, TRANSPORT_ERROR, `The request body is too large. Send at most ${maxBytes} bytes.`, {
    connection: 'close',
  });
export const notJson = () =>
  plain(400, PARSE_ERROR, 'The request body is not valid JSON. Send one JSON-RPC message.');
export const stopping = () =>
  plain(503, TRANSPORT_ERROR, 'The server is stopping. Try again later.', {
    'retry-after': '1',
    connection: 'close',
  });
export const sessionRequired = () =>
  plain(
    400,
    TRANSPORT_ERROR,
    'The header "mcp-session-id" is missing. Initialize a session first.',
  );
/** Also sent for a session of another principal, so that its existence stays hidden. */
export const sessionNotFound = () =>
  plain(404, SESSION_NOT_FOUND, 'Session not found. Initialize a new one.');

/** The response when a quota of this server is exhausted, with `Retry-After`. */
export function exhausted(
  status: 429 | 503,
  error: ErrorObject & { readonly data?: ErrorData },
  id: unknown,
): Response {
  const wait =
    error.data && 'retryAfterMs' in error.data ? (error.data.retryAfterMs ?? 1000) : 1000;
  return errorResponse(status, error, {
    id,
    headers: { 'retry-after': String(Math.max(1, Math.ceil(wait / 1000))) },
  });
}
