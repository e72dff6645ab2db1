/**
 * A minimal server to be killed a hundred times: one trigger type, the SQLite store, callbacks, MCP
 * over HTTP, and a path to post events to, all through the public exports. It loads everything and
 * opens the store only on request, so that the next process is loaded while this one still runs.
 *
 * Arguments: data directory, port. Prints `loaded`, reads a line, prints `ready`.
 */
import { once } from 'node:events';
import { createServer } from 'node:http';
import { join } from 'node:path';
import { getRequestListener } from '@hono/node-server';
import { createMcpHandler, McpServer } from '@modelcontextprotocol/server';
import {
  attachTriggers,
  createEgress,
  createEngine,
  defineTrigger,
} from 'mcp-triggers-experimental/server';
import { sqliteStore } from 'mcp-triggers-experimental/stores/sqlite';

const [dataDir, port] = process.argv.slice(2);

const happened = defineTrigger({
  name: 'thing.happened',
  description: 'Something happened.',
  input: { type: 'object' },
  payload: { type: 'object' },
});
const engine = createEngine({
  // The same key in every process; this test is not about secrecy.
  store: sqliteStore({ path: join(dataDir!, 'triggers.db'), key: new Uint8Array(32).fill(7) }),
  triggers: [happened],
  egress: createEgress({ unsafeAllowHttpLoopback: true }),
});
const mcp = createMcpHandler(() => {
  const server = new McpServer({ name: 'kill', version: '0' });
  attachTriggers(server, engine, { levels: ['log', 'stream', 'callback', 'durable'] });
  return server;
});
const authInfo = {
  token: 'test',
  clientId: 'test',
  scopes: [],
  expiresAt: 4_102_444_800,
  extra: { iss: 'https://issuer.test', sub: 'alice' },
};

/** The upstream's path: answers 202 only once the event is durable. */
async function emit(request: Request): Promise<Response> {
  const { eventId, data } = (await request.json()) as { eventId: string; data: unknown };
  const { duplicate } = await engine.emit(happened.event({ eventId, data }));
  return new Response(duplicate ? 'duplicate' : 'accepted', { status: 202 });
}

const handle = async (request: Request): Promise<Response> =>
  new URL(request.url).pathname === '/emit'
    ? emit(request).catch(() => new Response('', { status: 503 }))
    : mcp.fetch(request, { authInfo });

process.stdout.write('loaded\n');
await once(process.stdin, 'data');
await engine.start();
const server = createServer(getRequestListener(handle, { overrideGlobalObjects: false })).listen(
  Number(port),
  '127.0.0.1',
);
await once(server, 'listening');
process.stdout.write('ready\n');
