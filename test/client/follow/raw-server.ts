/**
 * A server without any SDK, so that a test decides every byte on the wire: capabilities in any
 * place, either protocol era, results and errors of any shape, streams that break. On loopback, can
 * stop and restart on one port.
 */
import { randomUUID } from 'node:crypto';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import type { TestContext } from 'vitest';

export const MODERN = '2026-07-28';
export const SESSIONS = '2025-11-25';

/** One request of a client. */
export interface Asked {
  readonly id: string | number;
  readonly method: string;
  readonly params: any;
  readonly headers: IncomingMessage['headers'];
  readonly signal: AbortSignal;
  /** Sends a notification on the response's own stream, tied to this request. */
  notify(method: string, params?: object): void;
  /** Cuts the response's connection. */
  cut(): void;
}

/** A JSON-RPC error, thrown by a handler. */
export class Refused extends Error {
  readonly code: number;
  readonly data: unknown;
  constructor(code: number, data?: unknown) {
    super(`refused with ${code}`);
    this.code = code;
    this.data = data;
  }
}

/**
 * The response is sent when the returned promise settles; a promise that never does leaves it open.
 */
export type Handler = (asked: Asked) => unknown;

const TIED = 'io.modelcontextprotocol/subscriptionId';

export class RawServer {
  /** The revision it speaks: the modern one, or sessions after a handshake. */
  era: typeof MODERN | typeof SESSIONS = MODERN;
  capabilities: Record<string, unknown> = {};
  handlers: Record<string, Handler> = {};
  /** Answers 401 to every request. */
  unauthorized = false;
  /** Every request, in order. */
  readonly calls: { readonly method: string; readonly params: any; readonly at: number }[] = [];
  #server: Server | undefined;
  #port = 0;
  #sessions = new Map<string, { readonly listening: Set<ServerResponse> }>();

  get url(): string {
    return `http://127.0.0.1:${this.#port}/mcp`;
  }
  get sessionCount(): number {
    return this.#sessions.size;
  }

  async up(): Promise<void> {
    const server = createServer(
      (request, response) => void this.#answer(request, response).catch(() => response.destroy()),
    );
    await new Promise<void>((resolve) => {
      server.listen(this.#port, '127.0.0.1', () => resolve());
    });
    this.#server = server;
    this.#port = (server.address() as AddressInfo).port;
  }

  /** Stops listening, cuts every connection and forgets all sessions, like a process that dies. */
  async down(): Promise<void> {
    const server = this.#server;
    this.#server = undefined;
    this.#sessions.clear();
    if (!server) return;
    await new Promise<void>((resolve) => {
      server.close(() => resolve());
      server.closeAllConnections();
    });
  }

  /** Stops, applies the change, starts again. */
  async restart(change: () => void): Promise<void> {
    await this.down();
    change();
    await this.up();
  }

  cut(): void {
    this.#server?.closeAllConnections();
  }

  countOf(method: string): number {
    return this.calls.filter((call) => call.method === method).length;
  }

  /** Sends on the listening streams of all sessions. */
  announce(method: string): void {
    for (const { listening } of this.#sessions.values()) {
      for (const response of listening) response.write(frame({ jsonrpc: '2.0', method }));
    }
  }

  async #answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    if (this.unauthorized)
      return void response.writeHead(401, { 'www-authenticate': 'Bearer' }).end();
    const session =
      this.era === SESSIONS
        ? this.#sessions.get(String(request.headers['mcp-session-id']))
        : undefined;
    if (request.method === 'DELETE') {
      this.#sessions.delete(String(request.headers['mcp-session-id']));
      return void response.writeHead(200).end();
    }
    if (request.method === 'GET' && session) {
      session.listening.add(response);
      response.on('close', () => session.listening.delete(response));
      response.writeHead(200, { 'content-type': 'text/event-stream' });
      return void response.write(': open\n\n');
    }
    if (request.method !== 'POST') return void response.writeHead(405).end();
    const chunks: Buffer[] = [];
    for await (const chunk of request) chunks.push(chunk as Buffer);
    const message = JSON.parse(Buffer.concat(chunks).toString()) as {
      id?: string | number;
      method: string;
      params?: any;
    };
    if (message.id === undefined) return void response.writeHead(202).end();
    if (this.era === SESSIONS && !session && message.method !== 'initialize') {
      const known = request.headers['mcp-session-id'] === undefined;
      return send(response, known ? 400 : 404, {
        jsonrpc: '2.0',
        id: message.id,
        error: { code: known ? -32000 : -32001, message: 'No session.' },
      });
    }
    await this.#dispatch({ ...message, id: message.id }, request, response);
  }

  async #dispatch(
    { id, method, params = {} }: { id: string | number; method: string; params?: any },
    request: IncomingMessage,
    response: ServerResponse,
  ): Promise<void> {
    this.calls.push({ method, params, at: Date.now() });
    const gone = new AbortController();
    response.on('close', () => gone.abort());
    let streaming = false;
    const asked: Asked = {
      id,
      method,
      params,
      headers: request.headers,
      signal: gone.signal,
      notify: (name, content = {}) => {
        if (!streaming) response.writeHead(200, { 'content-type': 'text/event-stream' });
        streaming = true;
        response.write(
          frame({
            jsonrpc: '2.0',
            method: name,
            params: { ...content, _meta: { ...(content as { _meta?: object })._meta, [TIED]: id } },
          }),
        );
      },
      cut: () => response.destroy(),
    };
    const own = this.#own(method, response);
    const handler = own ?? this.handlers[method];
    if (!handler)
      return send(response, this.era === MODERN ? 404 : 200, {
        jsonrpc: '2.0',
        id,
        error: { code: -32601, message: 'Method not found.' },
      });
    let answer: object;
    try {
      const result = await handler(asked);
      answer = {
        jsonrpc: '2.0',
        id,
        result: this.era === MODERN ? { resultType: 'complete', ...(result as object) } : result,
      };
    } catch (error) {
      const { code = -32603, data, message } = error as Refused;
      answer = {
        jsonrpc: '2.0',
        id,
        error: { code, message, ...(data === undefined ? {} : { data }) },
      };
    }
    if (gone.signal.aborted) return;
    if (streaming) return void response.end(frame(answer));
    send(response, 200, answer);
  }

  #own(method: string, response: ServerResponse): Handler | undefined {
    const { capabilities } = this;
    const serverInfo = { name: 'raw', version: '1' };
    if (method === 'server/discover' && this.era === MODERN) {
      return () => ({
        supportedVersions: [MODERN],
        capabilities,
        ttlMs: 0,
        cacheScope: 'private',
        _meta: { 'io.modelcontextprotocol/serverInfo': serverInfo },
      });
    }
    if (method === 'initialize' && this.era === SESSIONS) {
      return () => {
        const id = randomUUID();
        this.#sessions.set(id, { listening: new Set() });
        response.setHeader('mcp-session-id', id);
        return { protocolVersion: SESSIONS, capabilities, serverInfo };
      };
    }
    return undefined;
  }
}

const frame = (message: object): string => `event: message\ndata: ${JSON.stringify(message)}\n\n`;
const send = (response: ServerResponse, status: number, body: object): void => {
  response.writeHead(status, { 'content-type': 'application/json' }).end(JSON.stringify(body));
};

/** Starts a server that stops when the test is over. */
export async function startRaw(
  test: TestContext,
  change: (server: RawServer) => void = () => undefined,
): Promise<RawServer> {
  const server = new RawServer();
  change(server);
  await server.up();
  test.onTestFinished(() => server.down());
  return server;
}
