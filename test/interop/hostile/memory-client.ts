/**
 * A client in its own process with little memory: follows one peer and reports the outcome and the
 * memory it used.
 */
import { triggersClient } from '../../../src/client/client.ts';
import { connect } from '../../../src/client/sdk/connection.ts';
import type { Drain } from '../../../spec-schema/draft/schema.ts';

const [url, drain, most] = process.argv.slice(2) as [string, Drain, string];
let peak = 0;
const sample = (): void => {
  peak = Math.max(peak, process.memoryUsage().rss);
};
setInterval(sample, 5).unref();

const client = triggersClient(
  await connect({ url, token: 'canary-token-5f1e9a' }, { protocol: '2026-07-28' }),
);
const before = process.memoryUsage().rss;
const subscription = client.subscribe({
  select: [{ name: 'timer' }],
  key: 'k',
  drain,
  tuning: { backoff: { baseMs: 5, maxMs: 20 }, ackDelayMs: 5, waitMs: 0 },
});
let last = 0;
let error: unknown;
try {
  for await (const item of subscription) {
    if (!('position' in item)) continue;
    const first = item.type === 'gap' ? item.gap.from : item.position.sequence;
    if (first !== last + 1) throw new Error(`${first} after ${last}`);
    last = item.position.sequence;
    // A slow reader: the peer answers when it has sent everything, or when nobody reads any more.
    if (last === 1) await fetch(url);
    if (last >= Number(most)) break;
  }
} catch (thrown) {
  error = thrown;
}
sample();
await client.close();
const { code, reason, message } = Object(error) as {
  code?: string;
  reason?: string;
  message?: string;
};
process.stdout.write(
  JSON.stringify({
    end: error === undefined ? 'all' : [code ?? message, reason].filter(Boolean).join(' '),
    last,
    grownMiB: Math.round((peak - before) / 2 ** 20),
  }),
);
