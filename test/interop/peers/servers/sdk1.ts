/**
 * A plain server on the SDK's 1.x line: sessions over Streamable HTTP, one server object each, or a
 * pipe when this file is started as a program. It speaks the handshake revisions only.
 */
import { randomUUID } from 'node:crypto';
import { once } from 'node:events';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { Server } from '@modelcontextprotocol/sdk/server/index.js';
import { StdioServerTransport } from '@modelcontextprotocol/sdk/server/stdio.js';
import { StreamableHTTPServerTransport } from '@modelcontextprotocol/sdk/server/streamableHttp.js';
import {
  CallToolRequestSchema,
  GetPromptRequestSchema,
  ListPromptsRequestSchema,
  ListResourcesRequestSchema,
  ListResourceTemplatesRequestSchema,
  ListToolsRequestSchema,
  ReadResourceRequestSchema,
  SubscribeRequestSchema,
  UnsubscribeRequestSchema,
} from '@modelcontextprotocol/sdk/types.js';
import { installedVersion } from '../matrix.ts';
import {
  Board,
  type Change,
  type StockOptions,
  stopped,
  type StockProgram,
  type StockServer,
} from './board.ts';

const SCHEMAS = [
  CallToolRequestSchema,
  GetPromptRequestSchema,
  ListPromptsRequestSchema,
  ListResourcesRequestSchema,
  ListResourceTemplatesRequestSchema,
  ListToolsRequestSchema,
  ReadResourceRequestSchema,
  SubscribeRequestSchema,
  UnsubscribeRequestSchema,
] as const;

interface Session {
  readonly server: Server;
  readonly subscribed: Set<string>;
}

function session(board: Board, announce: (what: Change) => Promise<void>): Session {
  const subscribed = new Set<string>();
  const server = new Server({ name: 'sdk-1', version: '1' }, { capabilities: board.capabilities });
  for (const schema of SCHEMAS) {
    const method = schema.shape.method.value;
    const capability = method.slice(0, method.indexOf('/'));
    if (!(capability in board.capabilities)) continue;
    server.setRequestHandler(schema as typeof ListToolsRequestSchema, async ({ params }) => {
      const result = await board.answer(method, params, announce);
      if (method === 'resources/subscribe')
        subscribed.add((params as unknown as { uri: string }).uri);
      if (method === 'resources/unsubscribe')
        subscribed.delete((params as unknown as { uri: string }).uri);
      return result;
    });
  }
  return { server, subscribed };
}

async function announceIn({ server, subscribed }: Session, what: Change): Promise<void> {
  if (what === 'tools') return server.sendToolListChanged();
  if (what === 'prompts') return server.sendPromptListChanged();
  if (what === 'resources') return server.sendResourceListChanged();
  if (subscribed.has(what.uri)) await server.sendResourceUpdated(what);
}

export interface Sdk1Options extends StockOptions {
  /** The status for an unknown session. Default: as the specification requires. */
  readonly unknownSession?: { readonly status: number; readonly code: number };
  /** Whether it has the stream that notifies a session of changes. Default true. */
  readonly stream?: boolean;
}

export interface Sdk1Server extends StockServer {
  /** Number of sessions so far. */
  readonly sessionCount: number;
  /** The URIs that sessions have subscribed to, once per session. */
  subscribed(): string[];
  /** Open streams of sessions. */
  readonly streams: ReadonlySet<ServerResponse>;
}

const SPECIFIED = { status: 404, code: -32001 };

/** Starts the server over HTTP. */
export async function startSdk1({
  board = new Board(),
  port = 0,
  unknownSession = SPECIFIED,
  stream = true,
}: Sdk1Options = {}): Promise<Sdk1Server> {
  const sessions = new Map<
    string,
    Session & { readonly transport: StreamableHTTPServerTransport }
  >();
  const streams = new Set<ServerResponse>();
  let sessionCount = 0;
  const announce = async (what: Change): Promise<void> => {
    await Promise.all([...sessions.values()].map((one) => announceIn(one, what)));
  };

  const handle = async (request: IncomingMessage, response: ServerResponse): Promise<void> => {
    const id = request.headers['mcp-session-id'];
    const known = typeof id === 'string' ? sessions.get(id) : undefined;
    if (request.method === 'GET') {
      if (!stream) return void response.writeHead(405).end();
      if (known) {
        streams.add(response);
        response.once('close', () => streams.delete(response));
      }
    }
    if (known) return known.transport.handleRequest(request, response);
    if (id !== undefined) {
      const error = { code: unknownSession.code, message: 'no such session' };
      return void response
        .writeHead(unknownSession.status, { 'content-type': 'application/json' })
        .end(JSON.stringify({ jsonrpc: '2.0', error, id: null }));
    }
    const made = session(board, announce);
    const transport = new StreamableHTTPServerTransport({
      sessionIdGenerator: randomUUID,
      onsessioninitialized: (sessionId) => {
        sessionCount += 1;
        sessions.set(sessionId, { ...made, transport });
      },
      onsessionclosed: (sessionId) => {
        sessions.delete(sessionId);
      },
    });
    // The SDK's own types do not hold under exactOptionalPropertyTypes.
    await made.server.connect(transport);
    await transport.handleRequest(request, response);
  };

  const http = createServer((request, response) => {
    handle(request, response).catch(() => response.destroy());
  }).listen(port, '127.0.0.1');
  await once(http, 'listening');
  return {
    url: `http://127.0.0.1:${(http.address() as AddressInfo).port}/mcp`,
    version: installedVersion('@modelcontextprotocol/sdk'),
    board,
    announce,
    streams,
    get sessionCount() {
      return sessionCount;
    },
    subscribed: () => [...sessions.values()].flatMap((one) => [...one.subscribed]),
    cut: () => http.closeAllConnections(),
    [Symbol.asyncDispose]: () => stopped(http),
  };
}

/** The program that serves on a pipe. */
export const sdk1Program = (): StockProgram => ({
  command: process.execPath,
  args: [fileURLToPath(import.meta.url)],
  version: installedVersion('@modelcontextprotocol/sdk'),
});

if (import.meta.url === pathToFileURL(process.argv[1] ?? '').href) {
  const board = new Board();
  board.exit = () => process.exit(0);
  const only: Session = session(board, (what) => announceIn(only, what));
  await only.server.connect(new StdioServerTransport());
}
