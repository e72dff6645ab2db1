/** The client library as the client suite of SEP-3415 wants it: follows in the one mode that it is told, and tells on standard output what it hands on. */
import { generateKeyPairSync } from 'node:crypto';
import { once } from 'node:events';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { getRequestListener } from '@hono/node-server';
import { connect, triggersClient, type FollowItem, type FollowOptions } from 'mcp-triggers-experimental/client';
import { createReceiver, type Receiver } from 'mcp-triggers-experimental/receiver';
import type { EventsContext } from '../../kit/events/client.ts';

const LIST_CHANGED = 'notifications/events/list_changed';
const url = process.argv.at(-1)!;
const { mode, select, durationMs, suggested = {} } = JSON.parse(process.env['MCP_CONFORMANCE_CONTEXT']!) as EventsContext;
const { requestTimeoutMs, streamSilenceMs, backoffBaseMs, pollFloorMs } = suggested;
const say = (line: object): void => void process.stdout.write(`${JSON.stringify(line)}\n`);

/** A callback on loopback, for as long as this process lives. */
async function listen(): Promise<Receiver> {
  let receiver: Receiver | undefined;
  const server = createServer(getRequestListener((request) => receiver!.fetch(request))).listen(0, '127.0.0.1');
  await once(server, 'listening');
  const origin = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  receiver = createReceiver({ endpoint: `${origin}/callback`, issuer: origin, signingKey: generateKeyPairSync('ed25519').privateKey });
  return receiver;
}

function lineOf(item: FollowItem): object {
  switch (item.type) {
    case 'event': return { applied: 'event', eventId: item.event.eventId };
    case 'gap': return { applied: 'gap', reason: item.reason };
    default: return { told: item.type };
  }
}

process.once('SIGTERM', () => process.exit(0));
setTimeout(() => process.exit(0), durationMs).unref();
say({ took: Object.keys(suggested) });
const connection = await connect({ url }, { protocol: '2026-07-28', ...(requestTimeoutMs === undefined ? {} : { timeoutMs: requestTimeoutMs }) });
// What there is to follow is the application's affair, so it is the one that looks again.
const { extensions } = connection.serverCapabilities as { readonly extensions?: Readonly<Record<string, { readonly listChanged?: boolean }>> };
if (extensions?.['io.modelcontextprotocol/events']?.listChanged === true) {
  connection.stream('subscriptions/listen', { notifications: { eventsListChanged: true } }, {
    signal: new AbortController().signal, silenceMs: durationMs, notifications: [LIST_CHANGED], onNotification: () => void connection.call('events/list', {}).catch(() => undefined),
  }).catch(() => undefined);
}
const following = triggersClient(connection).follow({
  select: select as FollowOptions['select'], rungs: [`events.${mode}`],
  ...(mode === 'webhook' ? { callback: await listen() } : {}),
  tuning: {
    ...(streamSilenceMs === undefined ? {} : { silenceMs: streamSilenceMs }), ...(pollFloorMs === undefined ? {} : { pollFloorMs }),
    ...(backoffBaseMs === undefined ? {} : { backoff: { baseMs: backoffBaseMs, maxMs: 10 * backoffBaseMs } }),
  },
});
try {
  for await (const item of following) say(lineOf(item));
} catch (error) {
  say({ applied: 'ended', reason: (error as Error).message });
  // A program that stays: what it does after the end is looked at.
  await new Promise((resolve) => setTimeout(resolve, durationMs));
}
