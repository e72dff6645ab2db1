/**
 * Measures streams and pulls through the MCP SDK. The limit of a pull is an empty request to the
 * SDK; the limit of a stream is a bare HTTP route.
 */
import { createServer } from 'node:http';
import { serve, type HttpBindings } from '@hono/node-server';
import { createMcpHandler, McpServer } from '@modelcontextprotocol/server';
import { attachTriggers } from 'mcp-triggers-experimental/server';
import { Hono } from 'hono';
import { z } from 'zod';
import {
  filler,
  interleaved,
  logs,
  median,
  perSecond,
  spread,
  startEngine,
  type Bench,
  type Row,
} from './harness.ts';

const HEADERS = {
  'content-type': 'application/json',
  accept: 'application/json, text/event-stream',
  'mcp-protocol-version': '2026-07-28',
};
const META = {
  'io.modelcontextprotocol/protocolVersion': '2026-07-28',
  'io.modelcontextprotocol/clientInfo': { name: 'bench', version: '1' },
  'io.modelcontextprotocol/clientCapabilities': {},
};
const EVENT_BYTES = 900;

/**
 * Starts a server with the extension, an empty custom method, and a bare route that streams the
 * same bytes.
 */
async function startHttp(bench: Bench): Promise<{ url: string; close(): Promise<void> }> {
  const handler = createMcpHandler(() => {
    const mcp = new McpServer({ name: 'bench', version: '1' }, { capabilities: {} });
    mcp.server.setRequestHandler('bench/empty', { params: z.looseObject({}) }, () => ({}));
    attachTriggers(mcp, bench.engine, { levels: ['log', 'stream', 'durable'] });
    return mcp;
  });
  const app = new Hono<{ Bindings: HttpBindings }>();
  const claims = {
    token: 'bench',
    clientId: 'bench',
    scopes: [],
    expiresAt: Date.now() / 1000 + 3600,
    extra: { iss: 'bench', sub: 'bench' },
  };
  app.all('/mcp', (c) => handler.fetch(c.req.raw, { authInfo: claims }));
  app.get('/raw', (c) => {
    // The limit of streams: a bare route sends the same bytes as server-sent events, several per
    // write.
    const total = Number(c.req.query('total'));
    const frame = `event: message\ndata: ${JSON.stringify({ jsonrpc: '2.0', method: 'notifications/triggers/delivery', params: { subscriptionId: 's', key: 'k', epoch: 'e', after: 0, head: 1, acked: 0, events: Array.from({ length: 100 }, (_, sequence) => ({ sequence, eventId: '0123456789abcdef', name: 'bench.log', timestamp: '2026-11-21T09:30:00.000Z', data: { log: 1, data: filler(EVENT_BYTES) } })) } })}\n\n`;
    let sent = 0;
    const bytes = new TextEncoder().encode(frame);
    return new Response(
      new ReadableStream({
        pull(controller) {
          if (sent >= total) {
            controller.close();
            return;
          }
          controller.enqueue(bytes);
          sent += 100;
        },
      }),
      { headers: { 'content-type': 'text/event-stream' } },
    );
  });
  const server = serve({ fetch: app.fetch, hostname: '127.0.0.1', port: 0, createServer });
  await new Promise<void>((resolve) => {
    if (server.listening) resolve();
    else server.once('listening', resolve);
  });
  return {
    url: `http://127.0.0.1:${(server.address() as { port: number }).port}`,
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        (server as { closeAllConnections?: () => void }).closeAllConnections?.();
      }),
  };
}

async function post(url: string, method: string, params: object): Promise<Response> {
  return fetch(`${url}/mcp`, {
    method: 'POST',
    headers: { ...HEADERS, 'mcp-method': method },
    body: JSON.stringify({ jsonrpc: '2.0', id: 1, method, params: { ...params, _meta: META } }),
  });
}

async function requests(
  url: string,
  method: string,
  params: object,
  total: number,
): Promise<number> {
  let left = total;
  const startedAt = performance.now();
  await Promise.all(
    Array.from({ length: 16 }, async () => {
      while (left > 0) {
        left -= 1;
        const response = await post(url, method, params);
        const text = await response.text();
        if (!text.includes('"result"'))
          throw new Error(`The server rejected ${method}: ${text.slice(0, 300)}`);
      }
    }),
  );
  return (total / (performance.now() - startedAt)) * 1000;
}

/**
 * Reads server-sent events until `total` events of logs have arrived. Calls `onLast` with the
 * number of events so far.
 */
async function readEvents(
  response: Response,
  total: number,
  onLast: (sequence: number) => void,
): Promise<void> {
  const reader = response.body!.getReader();
  const decoder = new TextDecoder();
  let seen = 0;
  let rest = '';
  while (seen < total) {
    const { done, value } = await reader.read();
    if (done) break;
    rest += decoder.decode(value, { stream: true });
    const frames = rest.split('\n\n');
    rest = frames.pop() ?? '';
    for (const frame of frames) {
      if (frame.includes('"error"') || frame.includes('"result"'))
        throw new Error(`The server ended the stream: ${frame.slice(0, 300)}`);
      const count = frame.split('{"sequence":').length - 1;
      if (count === 0) continue;
      seen += count;
      onLast(seen);
    }
  }
  await reader.cancel();
  if (seen < total) throw new Error(`The stream ended after ${seen} of ${total} events.`);
}

export async function protocolBench(rounds: number): Promise<Row[]> {
  const bench = await startEngine();
  const http = await startHttp(bench);
  const caller = { principal: JSON.stringify(['bench', 'bench']) };
  const idle = await bench.engine.subscribe(caller, {
    key: 'pull',
    select: [{ name: logs.type.name, arguments: { log: 1 } }],
    noExpiry: true,
  });
  // Fewer events than a log keeps, so that nothing is trimmed before it is read.
  const total = 9_000;
  const streamed = async (): Promise<number> => {
    const key = `stream-${performance.now()}`;
    const subscription = await bench.engine.subscribe(caller, {
      key,
      select: [{ name: logs.type.name, arguments: { log: 2 } }],
      noExpiry: true,
    });
    for (let at = 0; at < total; at += 1000)
      await Promise.all(
        Array.from({ length: 1000 }, () =>
          bench.engine.emit({
            name: logs.type.name,
            data: { log: 2, data: filler(EVENT_BYTES) },
          }),
        ),
      );
    await bench.engine.settled();
    const { subscriptionId, epoch } = subscription;
    const startedAt = performance.now();
    const response = await post(http.url, 'triggers/stream', {
      subscriptionId,
      after: { epoch, sequence: 0 },
      window: { events: 1000, bytes: 4 * 1024 * 1024 },
    });
    let acked = 0;
    await readEvents(response, total, (last) => {
      if (last - acked < 300) return;
      acked = last;
      void bench.engine.ack(caller, { subscriptionId, position: { epoch, sequence: last } });
    });
    const rate = (total / (performance.now() - startedAt)) * 1000;
    await bench.engine.unsubscribe(caller, { subscriptionId });
    return rate;
  };
  const raw = async (): Promise<number> => {
    const startedAt = performance.now();
    await readEvents(await fetch(`${http.url}/raw?total=9000`), 9_000, () => undefined);
    return (9_000 / (performance.now() - startedAt)) * 1000;
  };
  const pull = { subscriptionId: idle.subscriptionId };
  await requests(http.url, 'bench/empty', {}, 500);
  await requests(http.url, 'triggers/pull', pull, 500);
  const rates = await interleaved(rounds, {
    empty: () => requests(http.url, 'bench/empty', {}, 3000),
    pulls: () => requests(http.url, 'triggers/pull', pull, 3000),
    raw,
    streamed,
  });
  await http.close();
  await bench.close();
  const ratio = (ours: string, limit: string): string =>
    (median(rates[ours]!) / median(rates[limit]!)).toFixed(2);
  return [
    {
      measure: 'pull through the SDK',
      ours: spread(rates['pulls']!, perSecond),
      limit: `${perSecond(median(rates['empty']!))} empty custom method`,
      ratio: ratio('pulls', 'empty'),
      aim: '0.85',
    },
    {
      measure: 'stream events through the SDK, acknowledged',
      ours: spread(rates['streamed']!, perSecond),
      limit: `${perSecond(median(rates['raw']!))} bare server-sent events`,
      ratio: ratio('streamed', 'raw'),
      aim: '0.70',
    },
  ];
}
