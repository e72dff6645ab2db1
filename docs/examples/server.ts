/**
 * An MCP server with one trigger type, on stdio. It sells an order every 200 ms. A client such as
 * `docs/examples/client.ts` starts it.
 */
import { createEgress } from 'mcp-triggers-experimental/server';

/** 32 bytes that encrypt callback URLs and secrets at rest. Store them with your other secrets. */
const key = new Uint8Array(Buffer.from(process.env['SHOP_STORE_KEY'] ?? '', 'base64'));
// By default, callback URLs must use https. This option also permits http on the same machine, for
// experiments.
const egress = createEgress({
  unsafeAllowHttpLoopback: process.env['SHOP_UNSAFE_LOOPBACK'] === 'true',
});

// #region readme
import { McpServer } from '@modelcontextprotocol/server';
import { serveStdio } from '@modelcontextprotocol/server/stdio';
import { attachTriggers, createEngine, defineTrigger } from 'mcp-triggers-experimental/server';
import { sqliteStore } from 'mcp-triggers-experimental/stores/sqlite';
import { z } from 'zod';

const orderPaid = defineTrigger({
  name: 'order.paid',
  description: 'An order was paid in full.',
  input: z.object({ shop: z.string().optional() }),
  payload: z.object({ shop: z.string(), order: z.string(), cents: z.int() }),
});
const engine = createEngine({
  store: sqliteStore({ path: 'orders.db', key }),
  triggers: [orderPaid],
  egress,
});
await engine.start();

serveStdio(() => {
  const mcp = new McpServer({ name: 'shop', version: '1.0.0' });
  attachTriggers(mcp, engine, { levels: ['log', 'stream', 'callback', 'durable'] });
  return mcp;
});

// Call this where an order is paid. Resolves once the event is on disk; a repeated eventId appends nothing.
export const paid = (order: string, cents: number) =>
  engine.emit(orderPaid.event({ eventId: `paid:${order}`, data: { shop: 'kiosk', order, cents } }));
// #endregion

let orders = 0;
const selling = setInterval(() => void paid(`o-${++orders}`, 100 * orders), 200);
// The client closes the pipe when it ends.
process.stdin.once('close', () => {
  clearInterval(selling);
  void engine.close();
});
