/**
 * Translates errors of the SDK: into a typed error of the server, or into a `LocalError` that says
 * whether a retry may help. Decides by codes and status, never by a message. Redacts the server's
 * text: the server knows the secrets of its client, and errors end up in logs (SEP: Errors).
 */
import { LocalError } from '../../protocol/wire/errors.ts';
import { fromErrorObject, RemoteError } from '../../protocol/wire/remote-error.ts';
import { inspectJson } from '../../protocol/wire/json.ts';

const METHOD_NOT_FOUND = -32601;
/** The answer of session transports to an unknown session. */
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
    new LocalError(
      'timeout',
      'The server did not answer in time. Try again, or raise `timeoutMs`.',
      { cause },
    ),
  CONNECTION_CLOSED: (cause) => unreachable('the connection was closed', cause),
  NOT_CONNECTED: (cause) => unreachable('the connection is closed', cause),
  SEND_FAILED: (cause) => unreachable('the request could not be sent', cause),
  INVALID_RESULT: (cause) => misbehaved(undefined, 'its result is not valid', cause),
  UNSUPPORTED_RESULT_TYPE: (cause) =>
    misbehaved(undefined, 'its result has a type that this method does not have', cause),
  CLIENT_HTTP_UNEXPECTED_CONTENT: (cause) =>
    misbehaved(undefined, 'its response is neither JSON nor an event stream', cause),
  // A probe that did not reach the server says nothing about revisions.
  ERA_NEGOTIATION_FAILED: (cause, error) => {
    const underlying = peerError((error as Error).cause);
    return underlying instanceof LocalError ? underlying : noRevision(cause);
  },
};

/** Class names of authorization errors. */
const UNAUTHORIZED = new Set(['UnauthorizedError', 'InsufficientScopeError', 'OAuthError']);

/**
 * Translates an error; returns an unknown one unchanged. `token`: the access token, which a server
 * may repeat.
 */
export function peerError(error: unknown, token?: string): unknown {
  const thrown = Object(error) as Thrown;
  if (error instanceof LocalError) return error;
  const cause = withoutMessage(thrown);
  if (thrown.name !== undefined && UNAUTHORIZED.has(thrown.name)) return unauthorized(cause);
  if (typeof thrown.code === 'number')
    return fromCode(thrown.code, thrown.message, thrown.data, cause, token);
  if (typeof thrown.data?.status === 'number')
    return fromStatus(thrown.data.status, thrown.data.text, cause, token);
  if (typeof thrown.code === 'string' && BY_SDK_CODE[thrown.code])
    return BY_SDK_CODE[thrown.code]!(cause, error);
  // A body that is not JSON, or JSON that is not JSON-RPC.
  if (error instanceof SyntaxError || thrown.name === 'ZodError')
    return misbehaved(undefined, 'its response is not JSON-RPC', cause);
  // `fetch` throws a TypeError for every failed connection, `spawn` an errno for a missing program.
  if (
    (error instanceof TypeError && error.cause !== undefined) ||
    typeof (thrown as { errno?: unknown }).errno === 'number'
  )
    return unreachable('there is no connection', error);
  return error;
}

/** The message of an SDK error can quote the server, so only name and code remain. */
function withoutMessage({ name, code }: Thrown): Error {
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
    return new LocalError(
      'not_supported',
      'The server does not have this method. Call only methods of the capabilities that it declares.',
      {
        reason: 'method_not_found',
        cause,
      },
    );
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
  // 429 and 5xx say that a retry may help. An error code without a known meaning does not say that.
  if ((status === 429 || status >= 500) && (!stated || stated instanceof RemoteError))
    return unreachable(`it responded with HTTP ${status}`, cause);
  if (stated) return stated;
  if (status === 404)
    return new LocalError(
      'not_supported',
      'There is no MCP endpoint at this address, or it has ended the session. Check the URL, or connect again.',
      { reason: 'http_404', cause },
    );
  return misbehaved(undefined, `it responded with HTTP ${status}`, cause);
}

function errorIn(
  text: unknown,
): { readonly code: number; readonly message?: unknown; readonly data?: unknown } | undefined {
  if (typeof text !== 'string') return undefined;
  try {
    const { error } = Object(JSON.parse(text)) as { error?: { code?: unknown } };
    return Number.isInteger(error?.code) ? (error as { code: number }) : undefined;
  } catch {
    return undefined; // An error page.
  }
}

const unauthorized = (cause: unknown) =>
  new LocalError(
    'unauthorized',
    'The server rejected the access token. Get a new one, or one with more scope.',
    { cause },
  );

export const noRevision = (cause: unknown) =>
  new LocalError(
    'not_supported',
    'The server supports none of the requested protocol revisions. Request another with `protocol`.',
    {
      reason: 'revision',
      cause,
    },
  );

export const unreachable = (problem: string, cause?: unknown, reason?: string) =>
  new LocalError('unreachable', `The server cannot be reached: ${problem}.`, {
    cause,
    ...(reason === undefined ? {} : { reason }),
  });

/** The server broke the protocol. `reason` names the rule for programs. */
export const misbehaved = (reason: string | undefined, problem: string, cause?: unknown) =>
  new LocalError('peer_misbehaved', `The server broke the protocol: ${problem}.`, {
    cause,
    ...(reason === undefined ? {} : { reason }),
  });

/* -------------------------------------------------- redaction ---------------------------------------------------------- */

const SECRET_SHAPES: readonly (readonly [RegExp, string])[] = [
  [/whsec_[\w+/-]{8,}={0,2}/g, 'whsec_[secret]'],
  [/([?&]cb=)[\w.%~-]+/g, '$1[token]'],
  [/\b(Bearer|DPoP)\s+[\w.~+/=-]+/gi, '$1 [token]'],
];

/** A shorter token could be part of any word. */
const TOKEN_CHARS_MIN = 8;

/** Replaces `token`, and everything that has the shape of a secret. */
function redact(text: string, token: string | undefined): string {
  const withoutToken =
    token === undefined || token.length < TOKEN_CHARS_MIN
      ? text
      : text.replaceAll(token, '[token]');
  return SECRET_SHAPES.reduce((shown, [shape, mark]) => shown.replace(shape, mark), withoutToken);
}

/**
 * Redacts the `data` of an error in the same way. Undefined when the data is not JSON that can be
 * sent, for example too deep.
 */
function redactData(data: unknown, token: string | undefined): unknown {
  if (data === undefined || inspectJson(data) !== null) return undefined;
  const text = JSON.stringify(data);
  const shown = redact(text, token);
  return shown === text ? data : JSON.parse(shown);
}
