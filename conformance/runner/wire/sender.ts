/**
 * The sending side of a callback, written from the SEP: sends what a correct server sends, and can
 * change each part before or after signing.
 */
import { createHash, randomBytes } from 'node:crypto';
import { hmac, isChallenge, lastOf } from '../server/callback-endpoint.ts';
import { parsed, recorder } from '../trace.ts';
import type { Json } from './session.ts';

export const DELIVERY_METHOD = 'notifications/triggers/delivery';

/** How a request is sent: the secrets, and changes to a correct request. */
export interface Sending {
  /** Signs under each of these secrets, in this order. */
  readonly secrets: readonly string[];
  /** Body bytes that replace the serialized delivery. */
  readonly raw?: string | Buffer;
  readonly webhookId?: string;
  /** Seconds since 1970, as text. */
  readonly timestamp?: string;
  /** Returns the value of `webhook-signature`, given the correct signatures. */
  readonly signatures?: (correct: readonly string[]) => string;
  /** Headers added or replaced after signing; null = removed. */
  readonly headers?: Readonly<Record<string, string | null>>;
}

/** The response of a callback or webhook. */
export interface Answered {
  readonly status: number;
  /** The body as JSON; undefined for any other body. */
  readonly body: Json;
}

/** `webhook-id` as the SEP defines it; random for a challenge and for a delivery that covers no number. */
export function webhookIdOf(delivery: Json): string {
  const { subscriptionId, epoch, afterSequence, gaps = [] } = delivery;
  const last = lastOf(delivery);
  if (isChallenge(delivery) || last === afterSequence)
    return `msg_${randomBytes(24).toString('base64url')}`;
  const fields = [
    subscriptionId,
    epoch,
    afterSequence,
    last,
    gaps.map(({ from, to }: Json) => `${from}-${to}`).join(','),
  ].join('\n');
  return `msg_${createHash('sha256').update(fields).digest('base64url').slice(0, 32)}`;
}

/** The body of a callback request. */
export const bodyOf = (delivery: Json): string =>
  JSON.stringify({ jsonrpc: '2.0', method: DELIVERY_METHOD, params: delivery });

/** POSTs a delivery to a callback. Rejects when nothing answers. */
export async function sendDelivery(
  url: string,
  delivery: Json,
  {
    secrets,
    raw = bodyOf(delivery),
    webhookId = webhookIdOf(delivery),
    timestamp = seconds(),
    signatures,
    headers = {},
  }: Sending,
): Promise<Answered> {
  const body = Buffer.from(raw);
  const correct = secrets.map(
    (secret) =>
      `v1,${hmac(secret, Buffer.concat([Buffer.from(`${webhookId}.${timestamp}.`), body]))}`,
  );
  const all: Record<string, string | null> = {
    connection: 'close',
    'content-type': 'application/json',
    'user-agent': 'triggers-conformance',
    'mcp-subscription-id': String(delivery?.subscriptionId),
    'webhook-id': webhookId,
    'webhook-timestamp': timestamp,
    'webhook-signature': signatures?.(correct) ?? correct.join(' '),
    ...headers,
  };
  const kept = Object.entries(all).filter((entry): entry is [string, string] => entry[1] !== null);
  const record = recorder();
  record({
    from: 'kit',
    what: 'callback request',
    to: `POST ${new URL(url).pathname}`,
    headers: Object.fromEntries(kept),
    body: parsed(body.toString()),
  });
  const response = await fetch(url, {
    method: 'POST',
    headers: kept,
    body: new Uint8Array(body),
    redirect: 'manual',
    signal: AbortSignal.timeout(15_000),
  });
  const text = await response.text();
  record({
    from: 'peer',
    what: 'callback answer',
    status: response.status,
    headers: Object.fromEntries(response.headers),
    body: parsed(text),
  });
  return { status: response.status, body: parse(text) };
}

/** The current time plus this many seconds, in the format of `webhook-timestamp`. */
export const seconds = (later = 0): string => String(Math.floor(Date.now() / 1000) + later);

function parse(text: string): Json {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}
