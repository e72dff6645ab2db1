/**
 * Webhooks of `events/*` (SEP-3415) at the same endpoint: one occurrence or one control envelope in a request, a challenge that is
 * echoed, and a status that says whether it comes again.
 */
import { CALLBACK_BODY_BYTES_MAX } from '../protocol/wire/limits.ts';
import { X_MCP_SUBSCRIPTION_ID } from '../protocol/events/names.ts';
import { readHeader, type HeadersLike } from '../protocol/wire/headers.ts';
import { parseJson } from '../protocol/wire/json.ts';
import type { WebhookMessage, WebhookResult } from '../protocol/lib/sinks.ts';
import { ReceiverRefusal } from './refusal.ts';

/** Of a body whose signature has been checked. */
export function messageOf(headers: HeadersLike, bytes: Uint8Array): WebhookMessage {
  let body: unknown;
  try {
    body = parseJson(bytes, { maxBytes: CALLBACK_BODY_BYTES_MAX });
  } catch (error) {
    throw new ReceiverRefusal('body', error);
  }
  if (typeof body !== 'object' || body === null || Array.isArray(body))
    throw new ReceiverRefusal('body');
  return {
    subscriptionId: readHeader(headers, X_MCP_SUBSCRIPTION_ID)!,
    body: body as Record<string, unknown>,
  };
}

/** Null = it is none. */
export function challengeIn({ body }: WebhookMessage): string | null {
  if (body['type'] !== 'verification') return null;
  const { challenge } = body;
  if (typeof challenge !== 'string' || challenge === '') throw new ReceiverRefusal('body');
  return challenge;
}

/** The status is all that a server of `events/*` understands. */
export function answerTo(verdict: WebhookResult): Response {
  if (verdict === 'taken')
    return new Response(null, { status: 204, headers: { 'cache-control': 'no-store' } });
  throw new ReceiverRefusal(verdict === 'later' ? 'no_progress' : 'body');
}
