/**
 * A callback endpoint on the loopback interface, open while `watch` runs. Its keys and secrets are
 * not stored: each run registers a new URL, which the server verifies.
 */
import { generateKeyPairSync } from 'node:crypto';
import { once } from 'node:events';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { getRequestListener } from '@hono/node-server';
import {
  createReceiver,
  createServerKeys,
  type Receiver,
} from 'mcp-triggers-experimental/receiver';

const HOST = '127.0.0.1';
const PATH = '/callback';
/** A server sends its deliveries quickly, so slower requests are rejected. */
const LIMITS = { headersTimeout: 10_000, requestTimeout: 15_000 };

export interface Endpoint {
  readonly receiver: Receiver;
  /** The origin of the callback URL; not a secret. */
  readonly origin: string;
  close(): Promise<void>;
}

export interface EndpointOptions {
  /** 0 = any free port. */
  readonly port: number;
  /** The URL of the MCP server. */
  readonly server: string;
  /** The URL of the server's public delivery keys. */
  readonly jwksUri: string | undefined;
  readonly onRejected: (code: string) => void;
}

/** Opens the endpoint. Rejects with Node's error, such as `EADDRINUSE`. */
export async function openEndpoint({
  port,
  server,
  jwksUri,
  onRejected,
}: EndpointOptions): Promise<Endpoint> {
  let receiver: Receiver | undefined;
  const { origin, close } = await listenOnLoopback(port, (request) => receiver!.fetch(request));
  const keys = jwksUri === undefined ? undefined : createServerKeys({ server, jwksUri });
  receiver = createReceiver({
    endpoint: origin + PATH,
    issuer: origin,
    signingKey: generateKeyPairSync('ed25519').privateKey,
    serverKeys: () => keys,
    onRejectedRequest: onRejected,
  });
  return { receiver, origin, close };
}

/**
 * Serves a fetch handler over HTTP on the loopback interface. No request arrives before the caller
 * has published the origin.
 */
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
