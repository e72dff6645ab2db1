/**
 * The suite cannot send an access token, and the server requires one. This proxy on loopback adds
 * it and otherwise passes everything on unchanged: the headers `Host` and `Origin`, which the
 * server checks, and streams while they last.
 */
import { once } from 'node:events';
import { createServer, request, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';

/** The URL that the suite uses in place of the server's. */
export interface Proxy {
  readonly url: string;
  close(): Promise<void>;
}

/** Starts the proxy in front of `target`, an MCP endpoint on loopback. */
export async function startProxy(target: URL, token: string): Promise<Proxy> {
  const pass = (incoming: IncomingMessage, answer: ServerResponse): void => {
    const onward = request(
      {
        host: target.hostname,
        port: target.port,
        path: incoming.url,
        method: incoming.method,
        headers: { ...incoming.headers, authorization: `Bearer ${token}` },
      },
      (reply) => {
        answer.writeHead(reply.statusCode ?? 502, reply.headers);
        // A stream sends its headers before it has a message.
        answer.flushHeaders();
        reply.pipe(answer);
        reply.once('error', () => answer.destroy());
      },
    );
    onward.once('error', () => answer.destroy());
    // Closing this connection closes the other one.
    answer.once('close', () => onward.destroy());
    incoming.pipe(onward);
  };
  const server = createServer(pass).listen(0, '127.0.0.1');
  await once(server, 'listening');
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}${target.pathname}`,
    async close() {
      server.close();
      server.closeAllConnections();
      await once(server, 'close');
    },
  };
}
