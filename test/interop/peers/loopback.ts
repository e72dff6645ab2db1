/** A fetch handler on a port of the loopback interface. */
import { once } from 'node:events';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { getRequestListener } from '@hono/node-server';

export interface Loopback extends AsyncDisposable {
  readonly origin: string;
}

/** Serves it until it is disposed of, which cuts open connections. Port 0 = any. */
export async function serveFetch(
  handle: (request: Request) => Promise<Response>,
  port = 0,
): Promise<Loopback> {
  const server = createServer(getRequestListener(handle, { overrideGlobalObjects: false })).listen(
    port,
    '127.0.0.1',
  );
  await once(server, 'listening');
  return {
    origin: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    async [Symbol.asyncDispose]() {
      const closed = once(server, 'close');
      server.close();
      server.closeAllConnections();
      await closed;
    },
  };
}
