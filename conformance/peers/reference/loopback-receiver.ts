/** A callback receiver for the reference clients. */
import { generateKeyPairSync } from 'node:crypto';
import { once } from 'node:events';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { getRequestListener } from '@hono/node-server';
import { createReceiver, type Receiver } from 'mcp-triggers-experimental/receiver';

/** Starts a callback receiver on loopback. It runs as long as the process. */
export async function loopbackReceiver(): Promise<Receiver> {
  let receiver: Receiver | undefined;
  const server = createServer(getRequestListener((request) => receiver!.fetch(request))).listen(
    0,
    '127.0.0.1',
  );
  await once(server, 'listening');
  const origin = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  receiver = createReceiver({
    endpoint: `${origin}/callback`,
    issuer: origin,
    signingKey: generateKeyPairSync('ed25519').privateKey,
  });
  return receiver;
}
