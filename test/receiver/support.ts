/**
 * A receiver behind real loopback HTTP, and helpers that sign and post deliveries as a server does.
 */
import { generateKeyPairSync, randomBytes } from 'node:crypto';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { getRequestListener } from '@hono/node-server';
import { Hono } from 'hono';
import type { Challenge, Delivery } from '../../spec-schema/draft/schema.ts';
import type { ReceiverItem } from '../../src/receiver/applier.ts';
import {
  createReceiver,
  type Receiver,
  type ReceiverOptions,
} from '../../src/receiver/receiver.ts';
import { Secret } from '../../src/protocol/wire/secret.ts';
import { signWebhook } from '../../src/protocol/wire/signature.ts';
import { eventOf } from '../client/peer.ts';

export const WHO = { audience: 'https://mcp.example.com/mcp', key: 'timers' };
export const SUBSCRIPTION = 'sub_receiver0000000000000001';
export const EPOCH = 'epoch-1-aaaaaaaaaaaaaa';
export const signingKey = generateKeyPairSync('ed25519').privateKey;

export interface Mounted extends AsyncDisposable {
  readonly receiver: Receiver;
  readonly endpoint: string;
}

/** The real endpoint: Hono on a loopback port. */
export async function mount(options: Partial<ReceiverOptions> = {}, port = 0): Promise<Mounted> {
  let receiver: Receiver | undefined;
  const app = new Hono();
  app.all('/callback', (context) => receiver!.fetch(context.req.raw));
  const server = createServer(getRequestListener(app.fetch));
  await new Promise<void>((resolve) => {
    server.listen(port, '127.0.0.1', resolve);
  });
  const endpoint = `http://127.0.0.1:${(server.address() as AddressInfo).port}/callback`;
  receiver = createReceiver({
    endpoint,
    issuer: 'https://hooks.example.com',
    signingKey,
    ...options,
  });
  return {
    receiver,
    endpoint,
    [Symbol.asyncDispose]: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  };
}

export function deliveryOf(
  after: number,
  sequences: number[],
  more: Partial<Delivery> = {},
): Delivery {
  return {
    subscriptionId: SUBSCRIPTION,
    key: WHO.key,
    epoch: EPOCH,
    afterSequence: after,
    events: sequences.map((sequence) => eventOf(sequence)),
    head: Math.max(after, ...sequences),
    acked: 0,
    etag: 'etag-1',
    ...more,
  };
}

/** The params of the request that verifies an endpoint. */
export const challengeOf = (challenge: string, more: Partial<Challenge> = {}): Challenge => ({
  subscriptionId: SUBSCRIPTION,
  key: WHO.key,
  challenge,
  ...more,
});

export interface Posting {
  readonly url: string;
  readonly secret: string | readonly string[];
  readonly now?: number;
  /** Headers to replace, or to remove (null), after signing. */
  readonly headers?: Readonly<Record<string, string | null>>;
  readonly body?: Uint8Array;
}

/** A delivery or a challenge as a server sends it. */
export function request(
  params: Delivery | Challenge,
  { url, secret, now = Date.now(), headers = {}, body }: Posting,
): Request {
  const bytes =
    body ??
    Buffer.from(
      JSON.stringify({
        jsonrpc: '2.0',
        method: 'notifications/triggers/delivery',
        params,
      }),
    );
  const timestamp = Math.floor(now / 1000);
  const id =
    'challenge' in params
      ? `msg_${randomBytes(24).toString('base64url')}`
      : `msg_${params.afterSequence}_${params.events.length}`;
  const secrets = (typeof secret === 'string' ? [secret] : secret).map((text) =>
    Secret.parse(text),
  );
  const all: Record<string, string | null> = {
    'content-type': 'application/json',
    'webhook-id': id,
    'webhook-timestamp': String(timestamp),
    'webhook-signature': signWebhook(secrets, id, timestamp, bytes),
    'mcp-subscription-id': params.subscriptionId,
    ...headers,
  };
  const kept = Object.entries(all).filter((entry): entry is [string, string] => entry[1] !== null);
  return new Request(url, { method: 'POST', body: bytes, headers: kept });
}

export const post = (params: Delivery | Challenge, posting: Posting): Promise<Response> =>
  fetch(request(params, posting));

/** Status and body, which is all that a server reads. */
export async function answer(response: Promise<Response>): Promise<unknown> {
  const { status, ...rest } = await response.then(async (one) => ({
    status: one.status,
    body: (await one.json()) as Record<string, unknown>,
  }));
  const { body } = rest;
  return status === 200 ? body : `${status} ${String(body['code'])}`;
}

/** The number of an event or gap; 0 for items without one. */
export const numberOf = (item: ReceiverItem): number =>
  'position' in item ? item.position.sequence : 0;

/** Describes items as text. */
export const words = (items: readonly ReceiverItem[]): string[] =>
  items.map((item) => {
    switch (item.type) {
      case 'event':
        return `${item.position.sequence}`;
      case 'gap':
        return `${item.gap.from}-${item.gap.to} ${item.gap.reason}`;
      case 'elsewhere':
        return `${item.from}-${item.to} elsewhere`;
      case 'epoch':
        return `epoch ${item.previous.sequence}→${item.current.sequence}`;
      case 'lost':
        return `lost ${item.reason} at ${item.last.sequence}`;
      case 'terminated':
        return `terminated ${item.reason}`;
    }
  });
