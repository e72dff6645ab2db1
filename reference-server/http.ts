/**
 * The HTTP listener: Node's server with limits on slow and oversized requests, and a stop that lets
 * open responses finish.
 */
import { once } from 'node:events';
import { createServer, type Server } from 'node:http';
import { createAdaptorServer, type HttpBindings } from '@hono/node-server';
import type { Hono } from 'hono';

/**
 * Limits on receiving a request, in bytes and milliseconds. Sending a response has no limit, because
 * a stream stays open for as long as its client reads.
 */
const LIMITS = {
  maxHeaderSize: 8 * 1024,
  headersTimeout: 10_000,
  requestTimeout: 15_000,
  connectionsCheckingInterval: 2000,
  keepAliveTimeout: 5000,
};
const IDLE_CHECK_MS = 50;

/** Listens on an address and serves `app`. Rejects with Node's error, such as `EADDRINUSE`. */
export async function listen(
  app: Hono<{ Bindings: HttpBindings }>,
  at: { readonly host: string; readonly port: number },
): Promise<Server> {
  const server = createAdaptorServer({
    fetch: app.fetch,
    createServer,
    serverOptions: LIMITS,
    overrideGlobalObjects: false,
  }) as Server;
  server.listen(at.port, at.host);
  await once(server, 'listening');
  return server;
}

/**
 * Stops accepting connections and resolves when the open ones have closed. Closes those that are
 * still open after `graceMs`.
 */
export async function finish(server: Server, graceMs: number): Promise<void> {
  const closed = new Promise<void>((resolve) => server.close(() => resolve()));
  // `close` closes only connections that are idle when it is called; others become idle later.
  const idleCheck = setInterval(() => server.closeIdleConnections(), IDLE_CHECK_MS);
  const deadline = setTimeout(() => server.closeAllConnections(), graceMs);
  await closed;
  clearInterval(idleCheck);
  clearTimeout(deadline);
}
