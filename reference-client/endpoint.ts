/**
 * A callback endpoint on this machine's loopback, open while `watch` runs. Its keys and secrets live as long as the process: each
 * run registers a new URL, and the server verifies it before it delivers.
 */
import { generateKeyPairSync } from 'node:crypto';
import { once } from 'node:events';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { getRequestListener } from '@hono/node-server';
import { createRemoteJWKSet } from 'jose';
import { createReceiver, type Receiver } from 'mcp-triggers-experimental/receiver';

const HOST = '127.0.0.1';
const PATH = '/callback';
/** A delivery is small and the server impatient: whoever sends slowly is not it. */
const LIMITS = { headersTimeout: 10_000, requestTimeout: 15_000 };

export interface Endpoint {
  readonly receiver: Receiver;
  /** Without the token that makes it a secret. */
  readonly origin: string;
  close(): Promise<void>;
}

export interface EndpointOptions {
  /** 0 = any free port. */
  readonly port: number;
  /** Where the server publishes the keys of its deliveries. */
  readonly jwksUri: string | undefined;
  readonly onRefused: (code: string) => void;
}

/** Starts to listen. Rejects with Node's own error, such as `EADDRINUSE`. */
export async function openEndpoint({
  port,
  jwksUri,
  onRefused,
}: EndpointOptions): Promise<Endpoint> {
  let receiver: Receiver | undefined;
  const { origin, close } = await listenOnLoopback(port, (request) => receiver!.fetch(request));
  const keys = jwksUri === undefined ? undefined : createRemoteJWKSet(new URL(jwksUri));
  receiver = createReceiver({
    endpoint: origin + PATH,
    issuer: origin,
    signingKey: generateKeyPairSync('ed25519').privateKey,
    serverKeys: () => keys,
    onRejectedRequest: onRefused,
  });
  return { receiver, origin, close };
}

/** A fetch handler behind HTTP on this machine. Requests come only after somebody was told of the origin. */
export async function listenOnLoopback(
  port: number,
  handler: (request: Request) => Promise<Response>,
): Promise<{ readonly origin: string; close(): Promise<void> }> {
  const listener = getRequestListener(handler, { overrideGlobalObjects: false });
  const server = createServer(LIMITS, (request, response) => void listener(request, response));
  server.listen(port, HOST);
  await once(server, 'listening');
  return {
    origin: `http://${HOST}:${(server.address() as AddressInfo).port}`,
    close: () => close(server),
  };
}

async function close(server: Server): Promise<void> {
  const closed = once(server, 'close');
  server.close();
  server.closeAllConnections();
  await closed;
}
