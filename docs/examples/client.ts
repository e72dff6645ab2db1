/**
 * A client that follows paid orders. After a restart it continues at its last position. The
 * argument is the target as JSON; README.md has a command that runs this client with
 * `docs/examples/server.ts`.
 */
import type { Target } from 'mcp-triggers-experimental/client';

/** `{ url, token }` for a server over HTTP, or `{ command, args }` for a server that this program starts. */
const target = JSON.parse(process.argv[2]!) as Target;

// #region readme
import { connect, fileLedger, triggersClient } from 'mcp-triggers-experimental/client';

const client = triggersClient(await connect(target));
const orders = client.subscribe({
  key: 'orders',
  select: [{ name: 'order.paid', arguments: { shop: 'kiosk' } }],
  ledger: fileLedger('positions.json'),
});
for await (const item of orders) {
  if (item.type === 'event') console.log(item.event.sequence, item.event.data);
  else console.warn('lost', item); // a gap, a new epoch or a lost log: never silent
}
// #endregion
