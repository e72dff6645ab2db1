/**
 * What the callback endpoint answers when it does not acknowledge: a status that tells the server whether to try again, and an
 * RFC 9457 body for whoever debugs it. Nothing of the request is repeated (SEP: Answers).
 */
import type { LocalError } from '../protocol/wire/errors.ts';

/** The `code` in the RFC 9457 body of a refusal; each has one HTTP status (SEP: Answers). */
export type RefusalCode =
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
  | 'subscription_id'
  | 'wrong_key'
  | 'body'
  | 'stale'
  | 'missing_numbers'
  | 'not_ready'
  | 'no_progress'
  | 'internal';

/** Every condition under which the endpoint refuses, with its status and, where a later try may succeed, when. */
const CONDITIONS: Readonly<
  Record<
    RefusalCode,
    { readonly status: number; readonly title: string; readonly retryAfter?: number }
  >
> = {
  method: { status: 405, title: 'Callbacks are sent with POST.' },
  content_type: { status: 415, title: 'The content type must be application/json.' },
  content_encoding: { status: 415, title: 'The body must not be encoded.' },
  too_large: { status: 413, title: 'The body must have at most 256 KiB.' },
  incomplete: { status: 408, title: 'The body did not arrive whole, or not in time.' },
  token_missing: { status: 401, title: 'The URL carries no callback token.' },
  token_invalid: {
    status: 401,
    title: 'The callback token is not one of this receiver, or has expired.',
  },
  token_foreign: { status: 401, title: 'The callback token was minted for somebody else.' },
  token_path: { status: 404, title: 'The callback token does not open this path.' },
  unknown_key: { status: 404, title: 'This subscription has been forgotten here.' },
  unknown_key_yet: {
    status: 503,
    title: 'This subscription is not known here yet.',
    retryAfter: 1,
  },
  signature: { status: 401, title: 'The webhook signature is missing, malformed, stale or wrong.' },
  server_signature: {
    status: 401,
    title: 'The server signature is missing, malformed, stale or wrong.',
  },
  server_keys: {
    status: 503,
    title: 'The keys of the server cannot be had at the moment.',
    retryAfter: 5,
  },
  subscription_id: {
    status: 401,
    title: 'MCP-Subscription-Id and the body name different subscriptions.',
  },
  wrong_key: { status: 401, title: 'The body names another key than the callback token.' },
  body: { status: 400, title: 'The body is not an acceptable delivery.' },
  stale: { status: 409, title: 'The delivery belongs to a log that has ended.' },
  missing_numbers: {
    status: 503,
    title: 'Numbers before this delivery are missing here. The client will pull them.',
    retryAfter: 5,
  },
  not_ready: {
    status: 503,
    title: 'Nobody is taking deliveries of this subscription at the moment.',
    retryAfter: 1,
  },
  no_progress: { status: 503, title: 'The delivery has not been applied yet.', retryAfter: 1 },
  internal: { status: 500, title: 'The receiver failed.' },
};

export class ReceiverRefusal extends Error {
  override readonly name = 'Refusal';
  readonly code: RefusalCode;

  constructor(code: RefusalCode, cause?: unknown) {
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

/** Reasons of the token check that are not simply "not a valid token of ours". */
const TOKEN_REASONS: Readonly<Record<string, RefusalCode>> = {
  missing: 'token_missing',
  wrong_issuer: 'token_foreign',
  wrong_audience: 'token_foreign',
  wrong_path: 'token_path',
};

export const tokenRefusal = (error: LocalError): ReceiverRefusal =>
  new ReceiverRefusal(TOKEN_REASONS[error.reason ?? ''] ?? 'token_invalid', error);
