/**
 * The client library as a program for the client suite: follows the selections of the context,
 * prints the items, and runs until it is stopped.
 */
import {
  connect,
  triggersClient,
  type SubscribeOptions,
  type Tuning,
} from 'mcp-triggers-experimental/client';
import type { Context } from '../../runner/client/program.ts';
import { appliedOf } from './applied.ts';
import { loopbackReceiver } from './loopback-receiver.ts';

const url = process.argv.at(-1)!;
const {
  select,
  drain,
  durationMs,
  suggested = {},
  unsubscribeAfter,
} = JSON.parse(process.env['MCP_CONFORMANCE_CONTEXT']!) as Context;
const { requestTimeoutMs, streamSilenceMs, backoffBaseMs, pullWaitMs } = suggested;
const say = (line: object): void => void process.stdout.write(`${JSON.stringify(line)}\n`);

const stop = new AbortController();
process.once('SIGTERM', () => process.exit(0));
setTimeout(() => process.exit(0), durationMs).unref();

const tuning: Tuning = {
  ackDelayMs: 10,
  ...(streamSilenceMs === undefined ? {} : { silenceMs: streamSilenceMs }),
  ...(pullWaitMs === undefined ? {} : { waitMs: pullWaitMs }),
  backoff: backoffBaseMs === undefined ? { baseMs: 100, maxMs: 1000 } : { baseMs: backoffBaseMs },
};
say({ took: Object.keys(suggested) });
const connection = await connect(
  { url },
  {
    protocol: process.env['MCP_CONFORMANCE_PROTOCOL_VERSION'] as '2026-07-28' | '2025-11-25',
    ...(requestTimeoutMs === undefined ? {} : { timeoutMs: requestTimeoutMs }),
  },
);
const client = triggersClient(connection);
if (client.capability === null) {
  await new Promise((resolve) => setTimeout(resolve, durationMs));
}

let known = await client.list();
connection.onListChanged(() => {
  client.list({ ifNoneMatch: known.etag }).then(
    (list) => {
      known = list;
    },
    () => undefined,
  );
});

const options: SubscribeOptions = {
  key: 'conformance',
  select: [...select] as SubscribeOptions['select'],
  drain,
  signal: stop.signal,
  tuning,
  ...(drain === 'callback' ? { callback: await loopbackReceiver() } : {}),
};
const subscription = client.subscribe(options);
let events = 0;
for await (const item of subscription) {
  say(appliedOf(item));
  if (item.type !== 'event' || ++events !== unsubscribeAfter) continue;
  await item.ack();
  await subscription.close({ unsubscribe: true });
  process.exit(0);
}
