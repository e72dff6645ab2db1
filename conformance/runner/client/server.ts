/**
 * A scripted MCP server on the raw wire: one subscription and one log, correct until a scenario
 * overrides a method. It records the client's requests with their times. It speaks one protocol
 * revision and rejects the other.
 */
import { REVISION } from '../levels.ts';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { hmac, lastOf } from '../server/callback-endpoint.ts';
import { DELIVERY_METHOD, sendDelivery, type Answered, type Sending } from '../wire/sender.ts';
import { recorder, recordServed } from '../trace.ts';
import { EXTENSION, type Era, type Json } from '../wire/session.ts';
import {
  conflict,
  DropConnection,
  methodNotFound,
  notFound,
  ErrorResponse,
  ServedStream,
  type Call,
} from './exchange.ts';
import { ScriptedLog } from './log.ts';

/**
 * Returns the result of a request; throws `ErrorResponse` or `DropConnection`. `correct` returns the
 * correct result.
 */
export type Behavior = (
  params: Json,
  correct: () => Promise<Json>,
  call: Call,
) => Json | Promise<Json>;

/** Poll interval of a waiting pull. */
const LOOK_MS = 10;
/** Interval of heartbeats. */
export const HEARTBEAT_MS = 200;
const TYPE = {
  name: 'conformance.plain',
  description: 'Something happened to a topic.',
  inputSchema: { type: 'object', properties: { topic: { type: 'string' } } },
  payloadSchema: { type: 'object' },
  drains: ['callback', 'stream', 'pull'],
  retention: { maxAgeMs: 3_600_000, maxEvents: 1000 },
  ordering: 'arrival',
};

export class ScriptedServer {
  readonly era: Era;
  readonly log = new ScriptedLog();
  /** Every request of the client, in order. */
  readonly calls: Call[] = [];
  readonly streams: ServedStream[] = [];
  /** Settings of the extension; undefined = not declared. */
  settings: Json = {
    revision: REVISION,
    levels: ['log', 'stream', 'callback', 'durable'],
    options: [
      'conditionalReads',
      'history',
      'multiSelect',
      'listChanged',
      'pause',
      'skip',
      'reject',
    ],
  };
  /** Whether streams send new events and heartbeats automatically. */
  automatic = true;
  /** `nextPollMs` of a pull that reached the head. */
  nextPollMs = 200;
  /** Whether the server answers; otherwise it drops the connection of each request. */
  up = true;
  /** Changes every result, and every delivery on a stream, before it is sent. */
  decorate: (value: Json, method: string) => Json = (value) => value;
  readonly #replaced = new Map<string, Behavior>();
  readonly #server: Server;
  readonly #record = recorder();
  readonly #session = randomBytes(16).toString('hex');
  readonly #heartbeatTimer: NodeJS.Timeout;
  #listEtag = 'types-1';
  #nextPull: (() => Json) | undefined;

  private constructor(era: Era) {
    this.era = era;
    this.#server = createServer((request, response) => {
      this.#handle(request, response).catch(() => response.destroy());
    });
    this.#heartbeatTimer = setInterval(() => this.#sendHeartbeats(), HEARTBEAT_MS);
  }

  static async listen(era: Era): Promise<ScriptedServer> {
    const server = new ScriptedServer(era);
    server.#server.listen(0, '127.0.0.1');
    await once(server.#server, 'listening');
    return server;
  }

  get url(): string {
    return `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}/mcp`;
  }
  /** The most recently opened stream. */
  get stream(): ServedStream | undefined {
    return this.streams.at(-1);
  }

  async close(): Promise<void> {
    clearInterval(this.#heartbeatTimer);
    this.#server.closeAllConnections();
    this.#server.close();
    await once(this.#server, 'close');
  }

  /** Overrides a method; without `behavior` it is correct again. */
  override(method: string, behavior?: Behavior): void {
    if (behavior === undefined) this.#replaced.delete(method);
    else this.#replaced.set(method, behavior);
  }

  /** Appends events. Streams send them at once. */
  append(count = 1): void {
    this.log.append(count);
    if (this.automatic) for (const stream of this.streams) if (stream.open) stream.flush();
  }

  /**
   * Overrides the next answer to a pull, including a pull that is waiting. Undefined = correct
   * again.
   */
  answerPull(make: (() => Json) | undefined): void {
    this.#nextPull = make;
  }

  /** Drops every open connection. */
  dropConnections(): void {
    this.#server.closeAllConnections();
  }

  /** Changes the list of trigger types. */
  changeList(): void {
    this.#listEtag = 'types-2';
  }

  callsOf(...methods: readonly string[]): readonly Call[] {
    return this.calls.filter(({ method }) => methods.includes(method));
  }

  /** Sends a delivery to the client's callback and applies its acknowledgement. */
  async callBack(delivery: Json, sending: Partial<Sending> = {}): Promise<Answered> {
    const { url, secret } = this.log.callback!;
    const answered = await sendDelivery(url, delivery, { secrets: [secret], ...sending });
    if (
      answered.status === 200 &&
      Number.isInteger(answered.body?.ackSequence) &&
      delivery.epoch === this.log.epoch
    )
      this.log.acked = Math.max(this.log.acked, answered.body.ackSequence);
    return answered;
  }

  #sendHeartbeats(): void {
    if (this.automatic) for (const stream of this.streams) if (stream.open) stream.flush(true);
  }

  /* ------------------------------------------------------------ HTTP */

  async #handle(request: IncomingMessage, response: ServerResponse): Promise<void> {
    if (request.method !== 'POST') {
      response.writeHead(request.method === 'DELETE' ? 200 : 405).end();
      return;
    }
    const chunks: Buffer[] = [];
    for await (const chunk of request) chunks.push(chunk as Buffer);
    const text = Buffer.concat(chunks).toString('utf8');
    recordServed(this.#record, 'request', request, text, response);
    const { id, method, params = {} } = JSON.parse(text);
    const call: Call = { method, params, id, at: Date.now() };
    this.calls.push(call);
    if (!this.up) return void response.destroy();
    if (id === undefined) return void response.writeHead(202).end();
    if (
      this.era === '2025-11-25' &&
      !['initialize', 'server/discover'].includes(method) &&
      request.headers['mcp-session-id'] !== this.#session
    ) {
      return void response.writeHead(404, { 'content-type': 'application/json' }).end(
        JSON.stringify({
          jsonrpc: '2.0',
          id: null,
          error: { code: -32001, message: 'Session not found' },
        }),
      );
    }
    const answer = await this.#answer(call, response);
    if (answer === undefined) return;
    call.answer = answer;
    call.answeredAt = Date.now();
    response
      .writeHead(200, {
        'content-type': 'application/json',
        ...(method === 'initialize' ? { 'mcp-session-id': this.#session } : {}),
      })
      .end(JSON.stringify({ jsonrpc: '2.0', id, ...answer }));
  }

  /** `{ result }` or `{ error }`; undefined when the response is a stream or was dropped. */
  async #answer(call: Call, response: ServerResponse): Promise<Json> {
    try {
      const correct = async (): Promise<Json> => this.#respond(call, response);
      const result = await (this.#replaced.get(call.method)?.(call.params, correct, call) ??
        correct());
      if (result instanceof ServedStream) return undefined;
      return {
        result: this.decorate(
          this.era === '2026-07-28' ? { resultType: 'complete', ...result } : result,
          call.method,
        ),
      };
    } catch (error) {
      if (error instanceof ErrorResponse) return { error: error.error };
      response.destroy();
      if (error instanceof DropConnection) return undefined;
      throw error;
    }
  }

  /* ------------------------------------------------------------ correct answers */

  #respond(call: Call, response: ServerResponse): Json | Promise<Json> {
    const { method, params } = call;
    const correct = this.#methods[method];
    if (correct === undefined) throw methodNotFound();
    return correct(params, call, response);
  }

  readonly #methods: Readonly<
    Record<string, (params: Json, call: Call, response: ServerResponse) => Json | Promise<Json>>
  > = {
    'server/discover': () => {
      if (this.era !== '2026-07-28') throw methodNotFound();
      return {
        supportedVersions: [this.era],
        capabilities: this.#capabilities(),
        ttlMs: 0,
        cacheScope: 'private',
        _meta: { 'io.modelcontextprotocol/serverInfo': { name: 'scripted', version: '1' } },
      };
    },
    initialize: () => {
      if (this.era !== '2025-11-25') throw methodNotFound();
      return {
        protocolVersion: this.era,
        capabilities: this.#capabilities(),
        serverInfo: { name: 'scripted', version: '1' },
      };
    },
    ping: () => ({}),
    'triggers/list': ({ ifNoneMatch }) => {
      const common = { etag: this.#listEtag, ttlMs: 60_000, cacheScope: 'private' };
      return ifNoneMatch === this.#listEtag
        ? { notModified: true, ...common }
        : { triggers: [TYPE], ...common };
    },
    'triggers/subscribe': async ({ key, select, callback }) => {
      const { log } = this;
      const created = !log.alive;
      if (created) Object.assign(log, { alive: true, key: key ?? 'made-by-the-server', select });
      if (callback !== undefined) await this.#verify(callback);
      log.renew();
      return { ...log.subscription(), created };
    },
    'triggers/update': async ({ subscriptionId, callback, removeCallback }) => {
      this.#find(subscriptionId);
      if (removeCallback === true) this.log.callback = undefined;
      else if (callback !== undefined) await this.#verify(callback);
      this.log.renew();
      return this.log.subscription();
    },
    'triggers/get': ({ subscriptionId }) => {
      this.#find(subscriptionId);
      return this.log.subscription();
    },
    'triggers/subscriptions': () => ({
      subscriptions: this.log.alive ? [this.log.subscription()] : [],
    }),
    'triggers/unsubscribe': ({ subscriptionId }) => {
      this.#find(subscriptionId);
      this.log.end();
      return {};
    },
    'triggers/ack': ({ subscriptionId, position }) => {
      this.#find(subscriptionId);
      this.#acknowledge(position);
      const { epoch, acked, head } = this.log;
      return { epoch, acked, head };
    },
    'triggers/pull': async (
      { subscriptionId, after, ack, maxEvents = 100, waitMs = 0 },
      _call,
      response,
    ) => {
      this.#find(subscriptionId);
      if (ack !== undefined) this.#acknowledge(ack);
      const { epoch } = this.log;
      const from = this.#start(after);
      const isQuiet = (): boolean =>
        this.log.head <= from &&
        this.log.epoch === epoch &&
        this.#nextPull === undefined &&
        !response.destroyed &&
        this.up;
      for (const until = Date.now() + waitMs; Date.now() < until && isQuiet();)
        await new Promise((resolve) => setTimeout(resolve, LOOK_MS));
      const make = response.destroyed ? undefined : this.#nextPull;
      if (make !== undefined) {
        this.#nextPull = undefined;
        return make();
      }
      this.#find(subscriptionId);
      if (this.log.epoch !== epoch) throw conflict('epoch', this.log);
      const delivery = this.log.delivery(from, maxEvents);
      const hasMore = lastOf(delivery) < this.log.head;
      return { ...delivery, hasMore, nextPollMs: hasMore ? 0 : this.nextPollMs };
    },
    'triggers/stream': ({ subscriptionId, after }, call, response) => {
      this.#find(subscriptionId);
      const stream = new ServedStream(call, this.#start(after), {
        log: this.log,
        response,
        decorate: (delivery) => this.decorate(delivery, DELIVERY_METHOD),
      });
      response.writeHead(200, { 'content-type': 'text/event-stream' });
      response.flushHeaders();
      this.streams.push(stream);
      if (this.automatic) stream.flush(true);
      return stream;
    },
  };

  #capabilities(): Json {
    if (this.settings === undefined) return {};
    return this.era === '2026-07-28'
      ? { extensions: { [EXTENSION]: this.settings } }
      : { experimental: { [EXTENSION]: this.settings } };
  }

  #find(subscriptionId: unknown): void {
    if (!this.log.alive || subscriptionId !== this.log.subscriptionId) throw notFound();
  }

  #acknowledge(position: Json): void {
    if (position.epoch !== this.log.epoch) throw conflict('epoch', this.log);
    if (position.sequence > this.log.head) throw conflict('position', this.log);
    this.log.acked = Math.max(this.log.acked, position.sequence);
  }

  #start(after: Json): number {
    if (after === undefined) return this.log.acked;
    if (after.epoch !== this.log.epoch) throw conflict('epoch', this.log);
    if (after.sequence > this.log.head) throw conflict('position', this.log);
    return after.sequence;
  }

  /**
   * The challenge that a server sends before it accepts a callback. The body contains white space,
   * as a server may write it.
   */
  async #verify(callback: { readonly url: string; readonly secret: string }): Promise<void> {
    const challenge = randomBytes(24).toString('base64url');
    const params = this.log.challenge(challenge);
    const raw = JSON.stringify({ jsonrpc: '2.0', method: DELIVERY_METHOD, params }, null, 2);
    const { status, body } = await sendDelivery(callback.url, params, {
      secrets: [callback.secret],
      raw,
    }).catch(() => ({ status: 0, body: undefined }));
    if (
      status !== 200 ||
      body?.challenge !== challenge ||
      body?.proof !== hmac(callback.secret, `challenge.${challenge}`)
    ) {
      throw new ErrorResponse(
        -32027,
        'The callback endpoint could not be verified: challenge_failed.',
        { kind: 'callback', category: 'challenge_failed' },
      );
    }
    this.log.callback = { url: callback.url, secret: callback.secret };
  }
}
