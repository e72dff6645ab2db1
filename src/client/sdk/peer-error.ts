/**
 * What the SDK throws, in the terms of this library: a typed error of the peer, or a `LocalError` that says whether another
 * try is worth it. Looks at codes and status only, never at a message (SEP: Errors), and keeps no words of the peer in a cause.
 */
import { LocalError } from '../../protocol/wire/errors.ts';
import { fromErrorObject, RemoteError } from '../../protocol/wire/remote-error.ts';
import { redact, redactData } from '../redact.ts';

const METHOD_NOT_FOUND = -32601;
/** What session transports answer for a session they do not know. */
const SESSION_NOT_FOUND = -32001;
const REVISION_NOT_SUPPORTED = -32022;

interface Thrown {
  readonly name?: string;
  readonly code?: unknown;
  readonly message?: string;
  readonly data?: { readonly status?: unknown; readonly text?: unknown };
}

/** The SDK's own error codes that have a meaning here. */
const BY_SDK_CODE: Readonly<Record<string, (cause: unknown, error: unknown) => LocalError>> = {
  REQUEST_TIMEOUT: (cause) =>
    new LocalError('timeout', 'The server did not answer in time.', { cause }),
  CONNECTION_CLOSED: (cause) => unreachable('the connection was closed', cause),
  NOT_CONNECTED: (cause) => unreachable('the connection is closed', cause),
  SEND_FAILED: (cause) => unreachable('the request could not be sent', cause),
  INVALID_RESULT: (cause) => misbehaved('its result is not valid', cause),
  UNSUPPORTED_RESULT_TYPE: (cause) =>
    misbehaved('its result has a type that this method does not have', cause),
  CLIENT_HTTP_UNEXPECTED_CONTENT: (cause) =>
    misbehaved('its answer is neither JSON nor an event stream', cause),
  // A probe that reached nobody has found out nothing about revisions.
  ERA_NEGOTIATION_FAILED: (cause, error) => {
    const underlying = peerError((error as Error).cause);
    return underlying instanceof LocalError ? underlying : noRevision(cause);
  },
};

/** Errors of failed authorization, by class name. */
const UNAUTHORIZED = new Set(['UnauthorizedError', 'InsufficientScopeError', 'OAuthError']);

/** Never throws. What it does not know it hands back. `token`: the access token, which a server may repeat. */
export function peerError(error: unknown, token?: string): unknown {
  const thrown = Object(error) as Thrown;
  if (error instanceof LocalError) return error;
  const cause = wordless(thrown);
  if (thrown.name !== undefined && UNAUTHORIZED.has(thrown.name)) return unauthorized(cause);
  if (typeof thrown.code === 'number')
    return fromCode(thrown.code, thrown.message, thrown.data, cause, token);
  if (typeof thrown.data?.status === 'number')
    return fromStatus(thrown.data.status, thrown.data.text, cause, token);
  if (typeof thrown.code === 'string' && BY_SDK_CODE[thrown.code])
    return BY_SDK_CODE[thrown.code]!(cause, error);
  // A body that is not JSON, or JSON that is not JSON-RPC.
  if (error instanceof SyntaxError || thrown.name === 'ZodError')
    return misbehaved('its answer is not JSON-RPC', cause);
  // What fetch throws for everything from a refused connection to a reset one, and spawn for a missing program.
  if (
    (error instanceof TypeError && error.cause !== undefined) ||
    typeof (thrown as { errno?: unknown }).errno === 'number'
  )
    return unreachable('there is no connection', error);
  return error;
}

/** What the SDK says can quote the peer. */
function wordless({ name, code }: Thrown): Error {
  return new Error([name ?? 'Error', code].filter((part) => part !== undefined).join(' '));
}

function fromCode(
  code: number,
  message: unknown,
  data: unknown,
  cause: unknown,
  token: string | undefined,
): Error {
  if (code === METHOD_NOT_FOUND)
    return new LocalError('not_supported', 'The server does not have this method.', {
      reason: 'method_not_found',
      cause,
    });
  if (code === SESSION_NOT_FOUND)
    return unreachable('it has ended the session', cause, 'session_ended');
  if (code === REVISION_NOT_SUPPORTED) return noRevision(cause);
  return fromErrorObject(
    code,
    typeof message === 'string' ? redact(message, token) : message,
    redactData(data, token),
  );
}

/** On the modern transport an unknown method is an HTTP 404 whose text is the JSON-RPC error. */
function fromStatus(
  status: number,
  text: unknown,
  cause: unknown,
  token: string | undefined,
): Error {
  const error = errorIn(text);
  if (status === 401 || status === 403) return unauthorized(cause);
  const stated = error && fromCode(error.code, error.message, error.data, cause, token);
  // A status that promises better times says more than an error that nobody has agreed on.
  if ((status === 429 || status >= 500) && (!stated || stated instanceof RemoteError))
    return unreachable(`it answers HTTP ${status}`, cause);
  if (stated) return stated;
  if (status === 404)
    return new LocalError(
      'not_supported',
      'There is no MCP endpoint at this address, or it has ended the session.',
      { reason: 'http_404', cause },
    );
  return misbehaved(`it answers HTTP ${status}`, cause);
}

function errorIn(
  text: unknown,
): { readonly code: number; readonly message?: unknown; readonly data?: unknown } | undefined {
  if (typeof text !== 'string') return undefined;
  try {
    const { error } = Object(JSON.parse(text)) as { error?: { code?: unknown } };
    return Number.isInteger(error?.code) ? (error as { code: number }) : undefined;
  } catch {
    return undefined; // Not JSON: an error page.
  }
}

const unauthorized = (cause: unknown) =>
  new LocalError(
    'unauthorized',
    'The server refused the access token. Get a new one, or one with more scope.',
    { cause },
  );
export const noRevision = (cause: unknown) =>
  new LocalError('not_supported', 'The server speaks no protocol revision that was asked for.', {
    reason: 'revision',
    cause,
  });
export const unreachable = (problem: string, cause?: unknown, reason?: string) =>
  new LocalError('unreachable', `The server cannot be reached: ${problem}.`, {
    cause,
    ...(reason === undefined ? {} : { reason }),
  });
export const misbehaved = (problem: string, cause?: unknown) =>
  new LocalError('peer_misbehaved', `The server broke the protocol: ${problem}.`, { cause });
