/** An application that is called back for paid orders. Arguments: the target as JSON, its own public origin, the port to listen on. */
import { generateKeyPairSync } from 'node:crypto';
import { serve } from '@hono/node-server';
import { connect, triggersClient, type Target } from 'mcp-triggers-experimental/client';
import type { ReceiverItem } from 'mcp-triggers-experimental/receiver';

const [target, origin, port] = process.argv.slice(2) as [string, string, string];
/** Signs the URLs that open the endpoint: keep it, or every registered URL dies with it. */
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
  apply: (item) => save(item), // what is saved is acknowledged; what throws comes again
});
const app = new Hono().post('/callback', (c) => receiver.fetch(c.req.raw));
serve({ fetch: app.fetch, port: Number(port), hostname: '127.0.0.1' });

const { url, secret } = await receiver.register({ audience: connection.server, key: 'orders' });
await client.create({ key: 'orders', select: [{ name: 'order.paid' }], callback: { url, secret } });
// #endregion
