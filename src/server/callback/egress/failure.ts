/**
 * Why nothing came back. The world's many error codes become three categories; the message is fixed per category, so that
 * no URL, address or certificate text travels on, and a refused address looks like a closed port (SEP: Destination rules).
 */
import type { OutboundResult } from '../../engine/ports.ts';

export type OutboundFailure = Extract<OutboundResult, { readonly kind: 'failure' }>;
export type OutboundFailureCategory = OutboundFailure['category'];

/** How far an attempt had come. */
export type Phase = 'connect' | 'tls' | 'exchange';

const MESSAGES: Readonly<Record<OutboundFailureCategory, string>> = {
  connection_refused: 'The callback endpoint could not be reached or broke off.',
  timeout: 'The callback endpoint did not answer within the deadline.',
  tls_error: 'No trusted TLS connection to the callback endpoint could be made.',
};

/** The category as an error; holds nothing of the endpoint. */
export class OutboundError extends Error {
  override readonly name = 'OutboundError';
  readonly code: OutboundFailureCategory;

  constructor(code: OutboundFailureCategory) {
    super(MESSAGES[code]);
    this.code = code;
  }
}

/** A failure of the world before it becomes a category: what the operator may know and the client may not. */
export class DestinationRefused extends Error {
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

/** Classifies what a socket or the HTTP client reports. Drops its message, which can name the endpoint. */
export function refusalOf(error: unknown, phase: Phase): DestinationRefused {
  if (error instanceof DestinationRefused) return error;
  const code = codeOf(error);
  if (code === BLOCKED) return new DestinationRefused('connection_refused', 'blocked');
  if (TIMEOUTS.has(code)) return new DestinationRefused('timeout', code);
  // An alert after the handshake (a client certificate is wanted, say) surfaces while the answer is awaited.
  if (phase === 'tls' || code.startsWith('ERR_SSL_') || code === 'EPROTO')
    return new DestinationRefused('tls_error', code);
  return new DestinationRefused('connection_refused', code);
}

/** What resolving to a refused address yields; the same code as the socket's own refusal. */
export const addressBlocked = (): Error =>
  Object.assign(new Error('address not allowed'), { code: BLOCKED });

function codeOf(error: unknown): string {
  const code = (error as { readonly code?: unknown } | null)?.code;
  return typeof code === 'string' && /^[A-Z0-9_]{1,64}$/.test(code) ? code : 'unknown';
}
