/**
 * The client library as the client suite wants it: a program that follows what the context says, tells on standard output what it hands on, and goes
 * on until it is ended.
 */
import { generateKeyPairSync } from 'node:crypto';
import { once } from 'node:events';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { getRequestListener } from '@hono/node-server';
import { connect, triggersClient, type SubscribeOptions, type Tuning } from 'mcp-triggers-experimental/client';
import { createReceiver, type Receiver } from 'mcp-triggers-experimental/receiver';
import type { Context } from '../../kit/client/program.ts';
import { lineOf } from './lines.ts';

const url = process.argv.at(-1)!;
const { select, drain, durationMs, suggested = {}, unsubscribeAfter } = JSON.parse(process.env['MCP_CONFORMANCE_CONTEXT']!) as Context;
const { requestTimeoutMs, streamSilenceMs, backoffBaseMs, pullWaitMs } = suggested;
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
const connection = await connect({ url }, {
  protocol: process.env['MCP_CONFORMANCE_PROTOCOL_VERSION'] as '2026-07-28' | '2025-11-25',
  ...(requestTimeoutMs === undefined ? {} : { timeoutMs: requestTimeoutMs }),
});
const client = triggersClient(connection);
if (client.capability === null) {
  await new Promise((resolve) => setTimeout(resolve, durationMs));
}

let known = await client.list();
connection.onListChanged(() => {
  client.list({ ifNoneMatch: known.etag }).then((list) => { known = list; }, () => undefined);
});

const options: SubscribeOptions = { select: [...select] as SubscribeOptions['select'], drain, signal: stop.signal, tuning, ...(drain === 'callback' ? { callback: await listen() } : {}) };
const subscription = client.subscribe(options);
let events = 0;
for await (const item of subscription) {
  say(lineOf(item));
  if (item.type !== 'event' || ++events !== unsubscribeAfter) continue;
  await item.ack();
  await subscription.close({ unsubscribe: true });
  process.exit(0);
}
