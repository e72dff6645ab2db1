/**
 * A scripted SEP-3415 server on the raw wire: one event type and one list of events, correct until
 * a scenario overrides a method. It records the client's requests with their times.
 */
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { recorder, recordServed } from '../trace.ts';
import { sendDelivery, type Answered } from '../wire/sender.ts';
import { EVENTS_EXTENSION, SUBSCRIPTION_META, type Json } from '../wire/session.ts';

/** A request that the client sent. */
export interface EventsCall {
  readonly method: string;
  readonly params: Json;
  readonly id: unknown;
  /** Time of arrival, in epoch milliseconds. */
  readonly at: number;
}

/**
 * Returns the result of a request, or `{ error }` for an error response. `correct` returns the
 * correct result.
 */
export type EventsBehavior = (
  params: Json,
  correct: () => Json,
  call: EventsCall,
) => Json | Promise<Json>;

const HEARTBEAT_MS = 200;
export const TYPE_NAME = 'conformance.plain';
const DESCRIPTOR = {
  name: TYPE_NAME,
  description: 'Something happened to a topic.',
  delivery: ['poll', 'push', 'webhook'],
  inputSchema: { type: 'object', properties: { topic: { type: 'string' } } },
  payloadSchema: { type: 'object' },
};

/** A response that stays open as an event stream. */
export class OpenResponse {
  readonly call: EventsCall;
  /** When it ended, and which side ended it. */
  closed: { readonly at: number; readonly by: 'client' | 'server' } | undefined;
  readonly #response: ServerResponse;

  constructor(call: EventsCall, response: ServerResponse) {
    this.call = call;
    this.#response = response;
    response.writeHead(200, { 'content-type': 'text/event-stream' });
    response.on('close', () => {
      this.closed ??= { at: Date.now(), by: 'client' };
    });
  }

  notify(method: string, params: object): void {
    if (this.closed === undefined)
      this.#response.write(
        `data: ${JSON.stringify({ jsonrpc: '2.0', method, params: { ...params, _meta: { [SUBSCRIPTION_META]: this.call.id } } })}\n\n`,
      );
  }

  /** Drops the connection without a result. */
  cut(): void {
    this.closed ??= { at: Date.now(), by: 'server' };
    this.#response.destroy();
  }

  /** Ends the stream with its final result. */
  finish(): void {
    if (this.closed !== undefined) return;
    this.closed = { at: Date.now(), by: 'server' };
    this.#response.end(
      `data: ${JSON.stringify({ jsonrpc: '2.0', id: this.call.id, result: { resultType: 'complete', _meta: { [SUBSCRIPTION_META]: this.call.id } } })}\n\n`,
    );
  }
}

export class ScriptedEventsServer {
  readonly calls: EventsCall[] = [];
  readonly streams: OpenResponse[] = [];
  /** The open responses to `subscriptions/listen`. */
  readonly listening: OpenResponse[] = [];
  /** Settings of the extension; undefined = not declared. */
  settings: object | undefined = { listChanged: true };
  /** Whether open streams send heartbeats. */
  warm = true;
  nextPollMs = 200;
  /** Time until `refreshBefore` of a subscribe result, in milliseconds. */
  grantMs = 3_600_000;
  /** The verified webhook of the client. */
  hook: { readonly url: string; readonly secret: string } | undefined;
  readonly id = `evt_${randomBytes(24).toString('base64url')}`;
  readonly #events: Json[] = [];
  readonly #replaced = new Map<string, EventsBehavior>();
  readonly #server: Server;
  readonly #record = recorder();
  readonly #heartbeatTimer: NodeJS.Timeout;

  private constructor() {
    this.#server = createServer((request, response) => {
      this.#handle(request, response).catch(() => response.destroy());
    });
    this.#heartbeatTimer = setInterval(() => {
      if (this.warm)
        for (const stream of this.streams)
          stream.notify('notifications/events/heartbeat', { cursor: this.cursor });
    }, HEARTBEAT_MS);
  }

  static async listen(): Promise<ScriptedEventsServer> {
    const server = new ScriptedEventsServer();
    await once(server.#server.listen(0, '127.0.0.1'), 'listening');
    return server;
  }

  get url(): string {
    return `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}/mcp`;
  }
  /** The cursor after the last event. */
  get cursor(): string {
    return `cursor-${this.#events.length}`;
  }

  async close(): Promise<void> {
    clearInterval(this.#heartbeatTimer);
    this.#server.closeAllConnections();
    await once(this.#server.close(), 'close');
  }

  /** Overrides a method; without `behavior` it is correct again. */
  override(method: string, behavior?: EventsBehavior): void {
    if (behavior === undefined) this.#replaced.delete(method);
    else this.#replaced.set(method, behavior);
  }

  callsOf(...methods: readonly string[]): readonly EventsCall[] {
    return this.calls.filter(({ method }) => methods.includes(method));
  }

  /** Adds an event and returns it. Open streams send it at once. */
  append(): Json {
    const event = {
      eventId: `event-${this.#events.length + 1}`,
      name: TYPE_NAME,
      timestamp: new Date().toISOString(),
      data: { topic: 'conformance', n: this.#events.length + 1 },
    };
    this.#events.push(event);
    for (const stream of this.streams)
      stream.notify('notifications/events/event', { ...event, cursor: this.cursor });
    return event;
  }

  /** Changes the list of event types. */
  changeList(): void {
    for (const open of this.listening) open.notify('notifications/events/list_changed', {});
  }

  /** Sends a request to the client's webhook. */
  deliver(body: Json): Promise<Answered> {
    const { url, secret } = this.hook!;
    const webhookId =
      body.type === undefined
        ? body.eventId
        : `msg_${body.type}_${randomBytes(9).toString('base64url')}`;
    return sendDelivery(
      url,
      {},
      {
        raw: JSON.stringify(body),
        webhookId,
        secrets: [secret],
        headers: { 'mcp-subscription-id': null, 'x-mcp-subscription-id': this.id },
      },
    );
  }

  async #handle(request: IncomingMessage, response: ServerResponse): Promise<void> {
    if (request.method !== 'POST') return void response.writeHead(405).end();
    const chunks: Buffer[] = [];
    for await (const chunk of request) chunks.push(chunk as Buffer);
    const text = Buffer.concat(chunks).toString('utf8');
    recordServed(this.#record, 'request', request, text, response);
    const { id, method, params = {} } = JSON.parse(text);
    const call: EventsCall = { method, params, id, at: Date.now() };
    this.calls.push(call);
    if (id === undefined) return void response.writeHead(202).end();
    const correct = (): Json =>
      this.#methods[method]?.(params, call, response) ?? {
        error: { code: -32601, message: 'Method not found' },
      };
    const answer = await (this.#replaced.get(method)?.(params, correct, call) ?? correct());
    if (answer instanceof OpenResponse) return;
    const message =
      answer.error === undefined
        ? { result: { resultType: 'complete', ...answer } }
        : { error: answer.error };
    response
      .writeHead(200, { 'content-type': 'application/json' })
      .end(JSON.stringify({ jsonrpc: '2.0', id, ...message }));
  }

  readonly #methods: Readonly<
    Record<
      string,
      (params: Json, call: EventsCall, response: ServerResponse) => Json | Promise<Json>
    >
  > = {
    'server/discover': () => ({
      supportedVersions: ['2026-07-28'],
      capabilities:
        this.settings === undefined ? {} : { extensions: { [EVENTS_EXTENSION]: this.settings } },
      ttlMs: 0,
      cacheScope: 'private',
      _meta: { 'io.modelcontextprotocol/serverInfo': { name: 'scripted', version: '1' } },
    }),
    ping: () => ({}),
    'subscriptions/listen': ({ notifications }, call, response) => {
      const open = new OpenResponse(call, response);
      this.listening.push(open);
      open.notify('notifications/subscriptions/acknowledged', {
        notifications: notifications?.eventsListChanged === true ? { eventsListChanged: true } : {},
      });
      return open;
    },
    'events/list': () => ({ events: [DESCRIPTOR] }),
    'events/poll': ({ cursor }) => ({
      events: cursor == null ? [] : this.#events.slice(this.#from(cursor)),
      cursor: this.cursor,
      truncated: false,
      hasMore: false,
      nextPollMs: this.nextPollMs,
    }),
    'events/stream': ({ cursor }, call, response) => {
      const stream = new OpenResponse(call, response);
      const from = cursor == null ? this.#events.length : this.#from(cursor);
      stream.notify('notifications/events/active', { cursor: `cursor-${from}`, truncated: false });
      for (const [at, event] of this.#events.entries())
        if (at >= from)
          stream.notify('notifications/events/event', { ...event, cursor: `cursor-${at + 1}` });
      this.streams.push(stream);
      return stream;
    },
    'events/subscribe': async ({ delivery: { url, secret } }) => {
      this.hook = { url, secret };
      const challenge = randomBytes(24).toString('base64url');
      const { body } = await this.deliver({ type: 'verification', challenge });
      if (body?.challenge !== challenge)
        return {
          error: {
            code: -32027,
            message: 'The endpoint did not echo the challenge.',
            data: { reason: 'challenge_failed' },
          },
        };
      return {
        id: this.id,
        cursor: this.cursor,
        truncated: false,
        refreshBefore: new Date(Date.now() + this.grantMs).toISOString(),
      };
    },
    'events/unsubscribe': () => ({}),
  };

  #from(cursor: string): number {
    const n = Number(/^cursor-(\d+)$/.exec(cursor)?.[1]);
    return Number.isInteger(n) ? n : this.#events.length;
  }
}
