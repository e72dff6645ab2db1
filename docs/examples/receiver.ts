/**
 * An application that receives paid orders by callback. Arguments: the target as JSON, the
 * application's own public origin, and the port to listen on. To try it on one machine, pass
 * `http://127.0.0.1:8080` and `8080`, and set SHOP_UNSAFE_LOOPBACK to `true` in the target's `env`.
 */
import { generateKeyPairSync } from 'node:crypto';
import { serve } from '@hono/node-server';
import { connect, triggersClient, type Target } from 'mcp-triggers-experimental/client';
import type { ReceiverItem } from 'mcp-triggers-experimental/receiver';

const [target, origin, port] = process.argv.slice(2) as [string, string, string];
/** Signs the callback URLs. Store this key: without it, the endpoint rejects every URL that it registered. */
const { privateKey: signingKey } = generateKeyPairSync('ed25519');
const save = async (item: ReceiverItem) => console.log(JSON.stringify(item));
const connection = await connect(JSON.parse(target) as Target);
const client = triggersClient(connection);

// #region readme
import { Hono } from 'hono';
import { createReceiver, fileLedger } from 'mcp-triggers-experimental/receiver';

const receiver = createReceiver({
  endpoint: `${origin}/callback`,
  issuer: origin,
  signingKey,
  ledger: fileLedger('receiver.json'),
  apply: (item) => save(item), // acknowledged once saved; delivered again if this throws
});
const app = new Hono().post('/callback', (c) => receiver.fetch(c.req.raw));
serve({ fetch: app.fetch, port: Number(port), hostname: '127.0.0.1' });

const { url, secret } = await receiver.register({ audience: connection.server, key: 'orders' });
await client.create({ key: 'orders', select: [{ name: 'order.paid' }], callback: { url, secret } });
// #endregion
