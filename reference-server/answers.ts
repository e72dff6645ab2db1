/** The refusals this server gives before a request reaches the MCP SDK, each as the JSON-RPC error a client can read. */
import type { ErrorData, ErrorObject } from 'mcp-triggers-experimental';

/** An HTTP answer with a JSON-RPC error. `id` is the request's, where it is known. */
export function refusal(
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

/** Codes as the base protocol's SDK uses them on the same occasions. */
const TRANSPORT_ERROR = -32000;
const SESSION_NOT_FOUND = -32001;
const PARSE_ERROR = -32700;

const plain = (
  status: number,
  code: number,
  message: string,
  headers?: Readonly<Record<string, string>>,
) => refusal(status, { code, message }, headers === undefined ? {} : { headers });

export const methodNotAllowed = () =>
  plain(405, TRANSPORT_ERROR, 'Method not allowed. Use POST, GET or DELETE.', {
    allow: 'POST, GET, DELETE',
  });
export const contentTypeRefused = () =>
  plain(415, TRANSPORT_ERROR, 'Unsupported media type. Send "content-type: application/json".');
export const encodingRefused = () =>
  plain(415, TRANSPORT_ERROR, 'Unsupported content encoding. Send the body uncompressed.', {
    'accept-encoding': 'identity',
  });
export const bodyTooLarge = (maxBytes: number) =>
  plain(
    413,
    TRANSPORT_ERROR,
    `The request body is too large. At most ${maxBytes} bytes are read.`,
    { connection: 'close' },
  );
export const notJson = () =>
  plain(400, PARSE_ERROR, 'Parse error: the request body is not valid JSON.');
export const stopping = () =>
  plain(503, TRANSPORT_ERROR, 'The server is stopping. Try again.', {
    'retry-after': '1',
    connection: 'close',
  });
export const sessionRequired = () =>
  plain(
    400,
    TRANSPORT_ERROR,
    'Bad request: the header "mcp-session-id" is missing. Initialize a session first.',
  );
/** The same for a session that does not exist and for somebody else's. */
export const sessionNotFound = () =>
  plain(404, SESSION_NOT_FOUND, 'Session not found. Initialize a new one.');

/** A quota of this server is used up. */
export function exhausted(
  status: 429 | 503,
  error: ErrorObject & { readonly data?: ErrorData },
  id: unknown,
): Response {
  const wait =
    error.data && 'retryAfterMs' in error.data ? (error.data.retryAfterMs ?? 1000) : 1000;
  return refusal(status, error, {
    id,
    headers: { 'retry-after': String(Math.max(1, Math.ceil(wait / 1000))) },
  });
}
