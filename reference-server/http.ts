/**
 * The HTTP listener: Node's server with limits against slow and oversized requests, and a graceful
 * stop.
 */
import { once } from 'node:events';
import { createServer, type Server } from 'node:http';
import { createAdaptorServer, type HttpBindings } from '@hono/node-server';
import type { Hono } from 'hono';

/**
 * Bounds on receiving a request. Sending a response has none: a stream stays open for as long as
 * its client reads.
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
 * Accepts no more connections and resolves when the open ones have ended. Closes those that are
 * still open after `graceMs`.
 */
export async function finish(server: Server, graceMs: number): Promise<void> {
  const closed = new Promise<void>((resolve) => server.close(() => resolve()));
  // `close` ends only connections that are idle when it is called.
  const idleCheck = setInterval(() => server.closeIdleConnections(), IDLE_CHECK_MS);
  const deadline = setTimeout(() => server.closeAllConnections(), graceMs);
  await closed;
  clearInterval(idleCheck);
  clearTimeout(deadline);
}
