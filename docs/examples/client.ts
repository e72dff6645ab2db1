/** A client that follows paid orders and continues where it was when it is started again. Argument: the target, as JSON. */
import type { Target } from 'mcp-triggers-experimental/client';

/** `{ url, token }` of a server over HTTP, or `{ command, args }` of one to start. */
const target = JSON.parse(process.argv[2]!) as Target;

// #region readme
import { connect, fileLedger, triggersClient } from 'mcp-triggers-experimental/client';

const client = triggersClient(await connect(target));
const orders = client.subscribe({
  select: [{ name: 'order.paid', arguments: { shop: 'kiosk' } }],
  ledger: fileLedger('positions.json'),
});
for await (const item of orders) {
  if (item.type === 'event') console.log(item.event.sequence, item.event.data);
  else console.warn('lost', item); // a gap, a new epoch, a log that is gone: reported, never silent
}
// #endregion
