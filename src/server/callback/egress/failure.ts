/**
 * Classifies failed requests. Every failure has one of three categories, each with a fixed message,
 * so that no URL, address or certificate text leaks, and a blocked address looks like a closed port
 * (SEP: Destination rules).
 */
import type { OutboundResult } from '../../engine/ports.ts';

export type OutboundFailure = Extract<OutboundResult, { readonly kind: 'failure' }>;
export type OutboundFailureCategory = OutboundFailure['category'];

/** The phase in which a request failed; `exchange` = sending the request and reading the answer. */
export type AttemptPhase = 'connect' | 'tls' | 'exchange';

const MESSAGES: Readonly<Record<OutboundFailureCategory, string>> = {
  connection_refused: 'The callback endpoint could not be reached, or closed the connection.',
  timeout: 'The callback endpoint did not answer within the deadline.',
  tls_error: 'The TLS connection to the callback endpoint failed or is not trusted.',
};

/** The error in a result: only the category, without information about the endpoint. */
export class OutboundError extends Error {
  override readonly name = 'OutboundError';
  readonly code: OutboundFailureCategory;

  constructor(code: OutboundFailureCategory) {
    super(MESSAGES[code]);
    this.code = code;
  }
}

/** The error inside the egress: the category, and a detail that only the server's log shows. */
export class AttemptFailure extends Error {
  readonly category: OutboundFailureCategory;
  /** A system, TLS or HTTP client code such as `ECONNREFUSED`, or `blocked`. Never free text. */
  readonly detail: string;

  constructor(category: OutboundFailureCategory, detail: string) {
    super(category);
    this.category = category;
    this.detail = detail;
  }
}

const BLOCKED = 'ERR_IP_BLOCKED';
const TIMEOUTS: ReadonlySet<string> = new Set([
  'ETIMEDOUT',
  'ESOCKETTIMEDOUT',
  'UND_ERR_CONNECT_TIMEOUT',
  'UND_ERR_HEADERS_TIMEOUT',
  'UND_ERR_BODY_TIMEOUT',
]);

/**
 * Classifies an error of a socket or the HTTP client. Drops its message, which may name the
 * endpoint.
 */
export function attemptFailureOf(error: unknown, phase: AttemptPhase): AttemptFailure {
  if (error instanceof AttemptFailure) return error;
  const code = codeOf(error);
  if (code === BLOCKED) return new AttemptFailure('connection_refused', 'blocked');
  if (TIMEOUTS.has(code)) return new AttemptFailure('timeout', code);
  // A TLS alert can also arrive after the handshake, instead of the answer, for example when the
  // endpoint requires a client certificate.
  if (phase === 'tls' || code.startsWith('ERR_SSL_') || code === 'EPROTO')
    return new AttemptFailure('tls_error', code);
  return new AttemptFailure('connection_refused', code);
}

/** The error for a blocked address, with the code that `net.connect` uses. */
export const addressBlocked = (): Error =>
  Object.assign(new Error('address not allowed'), { code: BLOCKED });

function codeOf(error: unknown): string {
  const code = (error as { readonly code?: unknown } | null)?.code;
  return typeof code === 'string' && /^[A-Z0-9_]{1,64}$/.test(code) ? code : 'unknown';
}
