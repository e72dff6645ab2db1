/** The HTTP listener: Node's server with the timeouts and sizes that keep slow and greedy peers from holding it. */
import { once } from 'node:events';
import { createServer, type Server } from 'node:http';
import { createAdaptorServer, type HttpBindings } from '@hono/node-server';
import type { Hono } from 'hono';

/**
 * Receiving a request is bounded, answering is not: a stream stays open for as long as its client reads. A header block holds
 * a bearer token and little else.
 */
const LIMITS = {
  maxHeaderSize: 8 * 1024,
  headersTimeout: 10_000,
  requestTimeout: 15_000,
  connectionsCheckingInterval: 2000,
  keepAliveTimeout: 5000,
};
const LOOK_FOR_IDLE_MS = 50;

/** Serves `app` there. Rejects with Node's own error, such as `EADDRINUSE`. */
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

/** Accepts no more connections and resolves when the open ones are done. What is still open after `graceMs` is cut. */
export async function finish(server: Server, graceMs: number): Promise<void> {
  const closed = new Promise<void>((resolve) => server.close(() => resolve()));
  // Connections that become idle later are not noticed by `close`.
  const looking = setInterval(() => server.closeIdleConnections(), LOOK_FOR_IDLE_MS);
  const cutting = setTimeout(() => server.closeAllConnections(), graceMs);
  await closed;
  clearInterval(looking);
  clearTimeout(cutting);
}
