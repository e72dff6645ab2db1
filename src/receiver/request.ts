/**
 * Checks and reads a request to the callback endpoint within limits, before its sender is known, and
 * makes the response that rejects it. The response repeats nothing from the request (SEP: Answers).
 */
import type { Clock } from '../protocol/lib/clock.ts';
import type { LocalError } from '../protocol/wire/errors.ts';
import { CALLBACK_CONTENT_TYPE, CONTENT_TYPE } from '../protocol/wire/headers.ts';
import { CALLBACK_BODY_BYTES_MAX } from '../protocol/wire/limits.ts';

/**
 * Why a request was rejected: the `code` in the RFC 9457 body of the response. Each code has one HTTP
 * status (SEP: Answers).
 */
export type RejectedRequestCode =
  | 'method'
  | 'content_type'
  | 'content_encoding'
  | 'too_large'
  | 'incomplete'
  | 'token_missing'
  | 'token_invalid'
  | 'token_foreign'
  | 'token_path'
  | 'unknown_key'
  | 'unknown_key_yet'
  | 'signature'
  | 'server_signature'
  | 'server_keys'
  | 'state'
  | 'subscription_id'
  | 'wrong_key'
  | 'body'
  | 'stale'
  | 'missing_numbers'
  | 'not_ready'
  | 'no_progress'
  | 'internal';

/** Status and title of each code, and the `Retry-After` in seconds if a retry may succeed. */
const CONDITIONS: Readonly<
  Record<
    RejectedRequestCode,
    { readonly status: number; readonly title: string; readonly retryAfter?: number }
  >
> = {
  method: { status: 405, title: 'Callbacks must be sent with POST.' },
  content_type: { status: 415, title: 'The content type must be application/json.' },
  content_encoding: { status: 415, title: 'The body must not be encoded.' },
  too_large: { status: 413, title: 'The body must have at most 256 KiB.' },
  incomplete: { status: 408, title: 'The body did not arrive completely and in time.' },
  token_missing: { status: 401, title: 'The URL has no callback token.' },
  token_invalid: {
    status: 401,
    title: 'The callback token is not valid here, or has expired.',
  },
  token_foreign: { status: 401, title: 'The callback token was issued for another receiver.' },
  token_path: { status: 404, title: 'The callback token is not valid for this path.' },
  unknown_key: { status: 404, title: 'The receiver does not know this subscription.' },
  unknown_key_yet: {
    status: 503,
    title: 'The receiver does not know this subscription yet.',
    retryAfter: 1,
  },
  signature: { status: 401, title: 'The webhook signature is missing, malformed, stale or wrong.' },
  server_signature: {
    status: 401,
    title: 'The server signature is missing, malformed, stale or wrong.',
  },
  server_keys: {
    status: 503,
    title: 'The keys of the server cannot be fetched at the moment.',
    retryAfter: 5,
  },
  state: {
    status: 503,
    title: 'The receiver cannot read or write its state at the moment.',
    retryAfter: 5,
  },
  subscription_id: {
    status: 401,
    title: 'MCP-Subscription-Id and the body name different subscriptions.',
  },
  wrong_key: { status: 401, title: 'The body and the callback token name different keys.' },
  body: { status: 400, title: 'The body is not a valid delivery.' },
  stale: { status: 409, title: 'The delivery belongs to a log that has ended.' },
  missing_numbers: {
    status: 503,
    title: 'Numbers before this delivery never arrived. The client will pull them.',
    retryAfter: 5,
  },
  not_ready: {
    status: 503,
    title: 'The receiver does not accept deliveries of this subscription at the moment.',
    retryAfter: 1,
  },
  no_progress: { status: 503, title: 'The delivery has not been applied yet.', retryAfter: 1 },
  internal: { status: 500, title: 'The receiver failed. See its log.' },
};

/** Thrown to reject a request. */
export class RejectedRequest extends Error {
  override readonly name = 'RejectedRequest';
  readonly code: RejectedRequestCode;

  constructor(code: RejectedRequestCode, cause?: unknown) {
    super(CONDITIONS[code].title, { cause });
    this.code = code;
  }

  get status(): number {
    return CONDITIONS[this.code].status;
  }

  toResponse(): Response {
    const { status, title, retryAfter } = CONDITIONS[this.code];
    const headers = new Headers({
      'content-type': 'application/problem+json',
      'cache-control': 'no-store',
    });
    if (retryAfter !== undefined) headers.set('retry-after', String(retryAfter));
    if (status === 405) headers.set('allow', 'POST');
    return new Response(JSON.stringify({ title, status, code: this.code }), { status, headers });
  }
}

/** The codes for reasons of token errors; any other reason is `token_invalid`. */
const TOKEN_CODES: Readonly<Record<string, RejectedRequestCode>> = {
  missing: 'token_missing',
  wrong_issuer: 'token_foreign',
  wrong_audience: 'token_foreign',
  wrong_path: 'token_path',
};

export const tokenRejection = (error: LocalError): RejectedRequest =>
  new RejectedRequest(TOKEN_CODES[error.reason ?? ''] ?? 'token_invalid', error);

/** Checks method, media type, encoding and announced size. Throws {@link RejectedRequest}. */
export function checkHead(request: Request): void {
  if (request.method !== 'POST') throw new RejectedRequest('method');
  const media = request.headers.get(CONTENT_TYPE)?.split(';')[0]?.trim().toLowerCase();
  if (media !== CALLBACK_CONTENT_TYPE) throw new RejectedRequest('content_type');
  const encoding = request.headers.get('content-encoding');
  // Compressed bodies are rejected, so that none can be a decompression bomb.
  if (encoding !== null && encoding.trim().toLowerCase() !== 'identity')
    throw new RejectedRequest('content_encoding');
  if (Number(request.headers.get('content-length') ?? 0) > CALLBACK_BODY_BYTES_MAX)
    throw new RejectedRequest('too_large');
}

/**
 * Reads the raw body. Throws {@link RejectedRequest} `too_large` above 256 KiB, and `incomplete` if
 * the body breaks off or takes longer than `withinMs`.
 */
export async function readBody(
  request: Request,
  clock: Clock,
  withinMs: number,
): Promise<Uint8Array> {
  const reader = request.body?.getReader();
  if (!reader) return new Uint8Array();
  const chunks: Uint8Array[] = [];
  let bytes = 0;
  let isLate = false;
  const cancel = (): void => void reader.cancel().catch(() => undefined);
  const cancelTimer = clock.after(withinMs, () => {
    isLate = true;
    cancel();
  });
  try {
    for (let part = await reader.read(); !part.done; part = await reader.read()) {
      bytes += part.value.byteLength;
      if (bytes > CALLBACK_BODY_BYTES_MAX) throw new RejectedRequest('too_large');
      chunks.push(part.value);
    }
  } catch (error) {
    cancel();
    throw error instanceof RejectedRequest ? error : new RejectedRequest('incomplete', error);
  } finally {
    cancelTimer();
  }
  if (isLate) throw new RejectedRequest('incomplete');
  return Buffer.concat(chunks);
}
