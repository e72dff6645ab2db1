/**
 * A server below every library: `node:http`, JSON, and nothing else. It keeps the protocol, in both
 * eras, except where a row of a table makes it fail. It records what it sent and what the client
 * sent, so that both can be checked.
 */
import { REVISION } from '../../../spec-schema/draft/schema.ts';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';

const EXTENSION = 'io.modelcontextprotocol/triggers';
export const EPOCH = 'epoch-1-aaaaaaaaaaaaaa';
export const OTHER_EPOCH = 'epoch-2-bbbbbbbbbbbbbb';
export const OTHER_ID = 'sub_ffffffffffffffffffffffffffff';
/** Number of events in the log. */
export const EVENTS = 6;
/** Largest number of events in a delivery. */
const BATCH = 2;
const HEARTBEAT_MS = 40;

export type Json = any;

/** A JSON-RPC error. */
export class Refused extends Error {
  readonly code: unknown;
  readonly data: unknown;

  constructor(code: unknown, data?: unknown, message = 'no') {
    super(message);
    this.code = code;
    this.data = data;
  }
}

/** Returned by a hook that has answered by itself. */
export const ANSWERED = Symbol('answered');

/** One request of the client. */
export interface Call {
  readonly method: string;
  readonly id: unknown;
  readonly params: Json;
  /** Counts the calls of the method from 1. */
  readonly n: number;
  readonly peer: HostilePeer;
  readonly headers: IncomingMessage['headers'];
  readonly response: ServerResponse;
  /** The answer of a correct peer. */
  honest(): Promise<Json>;
  /** Answers by hand. */
  send(
    status: number,
    type: string,
    body: string | Uint8Array,
    headers?: Readonly<Record<string, string>>,
  ): typeof ANSWERED;
  /** Begins an event stream by hand. */
  events(): EventStream;
}

/** Replaces the answer to a method: another result, a thrown error, or anything at all. */
export type Hook = (call: Call) => Json;

/** One misbehavior. Everything that is left out is correct. */
export interface Misbehavior {
  /** Replaces the extension's settings; undefined = not declared. */
  readonly settings?: (handshakes: number) => Json;
  /**
   * Replaces a delivery, on a stream and in a pull: another one, or several (a pull takes the
   * first). `n` counts from 1 on every stream; on a pull it is 1.
   */
  readonly delivery?: (delivery: Json, n: number, peer: HostilePeer) => Json;
  readonly calls?: Readonly<Record<string, Hook>>;
  /** Number of times it misbehaves before it keeps the protocol. Default: always. */
  readonly times?: number;
}

/** An event stream as an answer. */
export class EventStream {
  readonly #response: ServerResponse;
  readonly #call: Pick<Call, 'id' | 'peer'>;

  constructor(response: ServerResponse, call: Pick<Call, 'id' | 'peer'>) {
    this.#response = response;
    this.#call = call;
    response.writeHead(200, { 'content-type': 'text/event-stream', 'cache-control': 'no-store' });
    response.flushHeaders();
  }

  get closed(): boolean {
    return this.#response.destroyed || this.#response.writableEnded;
  }

  /** Waits for the other side to read. */
  async raw(bytes: string | Uint8Array): Promise<void> {
    if (this.closed || this.#response.write(bytes)) return;
    await new Promise<void>((resolve) => {
      this.#response.once('drain', resolve);
      this.#response.once('close', resolve);
    });
  }
  message(message: object): Promise<void> {
    return this.raw(`event: message\ndata: ${JSON.stringify(message)}\n\n`);
  }
  /** Sends a notification that is tied to the request, unless `tag` says otherwise. */
  delivery(delivery: Json, tag: Json = this.#call.id): Promise<void> {
    return this.raw(`event: message\ndata: ${this.notification(delivery, tag)}\n\n`);
  }
  notification(delivery: Json, tag: Json = this.#call.id): string {
    this.#call.peer.noteSent(delivery);
    return JSON.stringify({
      jsonrpc: '2.0',
      method: 'notifications/triggers/delivery',
      params: { ...delivery, ...(tag === undefined ? {} : { requestId: tag }) },
    });
  }
  result(result: object = {}): Promise<void> {
    return this.message({
      jsonrpc: '2.0',
      id: this.#call.id,
      result: { resultType: 'complete', ...result },
    });
  }
  end(): typeof ANSWERED {
    this.#response.end();
    return ANSWERED;
  }
  /** Cuts the connection without ending the response. */
  cut(): typeof ANSWERED {
    this.#response.destroy();
    return ANSWERED;
  }
}

export const pause = (ms: number): Promise<void> =>
  new Promise((resolve) => {
    setTimeout(resolve, ms);
  });

export const eventOf = (sequence: Json, eventPrefix = ''): Json => ({
  sequence,
  eventId: `event-${eventPrefix}${sequence}`,
  name: 'timer',
  timestamp: '2026-01-01T00:00:00.000Z',
  acceptedAt: '2026-01-01T00:00:00.000Z',
  data: { sequence },
});

function moreAfter({ afterSequence: after, events, head }: Json): object {
  const hasMore = after + events?.length < head;
  return { hasMore, nextPollMs: hasMore ? 0 : 20 };
}

/** One subscription, its log, and the protocol. */
export class HostilePeer {
  readonly #wrong: Misbehavior;
  readonly #server: Server;
  readonly #counts = new Map<string, number>();
  id = 'sub_aaaaaaaaaaaaaaaaaaaaaaaaaaaa';
  epoch = EPOCH;
  key = 'k';
  eventPrefix = '';
  acked = 0;
  head = EVENTS;
  created = false;
  ttlMs: number | null = 3_600_000;
  renewAfterMs: number | null = 1_800_000;
  /** The callback that the client registered. */
  callback: { readonly url: string; readonly secret: string } | undefined;
  /** The highest number that was sent, per epoch. */
  readonly sent = new Map<string, number>();
  /** The client's acknowledgements, each with the highest number sent by then. */
  readonly said: { readonly epoch: string; readonly sequence: number; readonly sent: number }[] =
    [];
  /** Every request, as method names. */
  readonly requests: string[] = [];

  constructor(wrong: Misbehavior) {
    this.#wrong = wrong;
    this.#server = createServer((request, response) => void this.#receive(request, response));
  }

  static async start(wrong: Misbehavior = {}): Promise<HostilePeer> {
    const peer = new HostilePeer(wrong);
    await new Promise<void>((resolve) => {
      peer.#server.listen(0, '127.0.0.1', resolve);
    });
    return peer;
  }

  get port(): number {
    return (this.#server.address() as AddressInfo).port;
  }
  get url(): string {
    return `http://127.0.0.1:${this.port}/mcp`;
  }
  /** Number of calls per method. */
  count(method: string): number {
    return this.#counts.get(method) ?? 0;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#server.closeAllConnections();
    await new Promise((resolve) => {
      this.#server.close(resolve);
    });
  }

  /** Replaces the log with another one, or with another epoch. */
  renew(change: { readonly epoch?: string; readonly id?: string }): void {
    this.epoch = change.epoch ?? this.epoch;
    this.id = change.id ?? this.id;
    this.eventPrefix += 'x';
    this.acked = 0;
  }

  noteSent({ epoch, afterSequence: after, events, gaps }: Json): void {
    const numbers = [
      ...[events].flat().map((event: Json) => event?.sequence),
      ...[gaps].flat().map((gap: Json) => gap?.to),
      after,
    ].filter((one) => Number.isSafeInteger(one)) as number[];
    this.sent.set(epoch, Math.max(this.sent.get(epoch) ?? 0, ...numbers));
  }

  subscription(): Json {
    const { id, epoch, key, head, acked, ttlMs, renewAfterMs } = this;
    return {
      subscriptionId: id,
      etag: `${epoch.slice(0, 8)}-1`,
      epoch,
      key,
      select: [{ name: 'timer' }],
      ttlMs,
      renewAfterMs,
      expiresAt: '2030-01-01T00:00:00.000Z',
      head,
      acked,
      oldest: 1,
      retention: { maxAgeMs: 1000, maxEvents: 10 },
      createdAt: '2026-01-01T00:00:00.000Z',
      ...(this.callback
        ? {
            callback: {
              origin: new URL(this.callback.url).origin,
              state: 'ok',
              verifiedAt: '2026-01-01T00:00:00.000Z',
              health: { attempts: 0 },
            },
          }
        : {}),
    };
  }

  delivery(after: number, max = BATCH): Json {
    const { id, epoch, key, head, acked } = this;
    const events = Array.from(
      { length: Math.max(0, Math.min(head, after + max) - after) },
      (_, n) => eventOf(after + 1 + n, this.eventPrefix),
    );
    return {
      subscriptionId: id,
      key,
      epoch,
      afterSequence: after,
      events,
      head,
      acked,
      etag: 'etag-1',
    };
  }

  #check({ epoch, sequence }: Json): void {
    const data = { epoch: this.epoch, head: this.head, acked: this.acked };
    if (epoch !== this.epoch) throw new Refused(-32602, { kind: 'epoch', ...data });
    if (sequence > this.head) throw new Refused(-32602, { kind: 'position', ...data });
  }

  #hear(position: Json): void {
    this.said.push({ ...position, sent: this.sent.get(position.epoch) ?? 0 });
    this.#check(position);
    this.acked = Math.max(this.acked, position.sequence);
  }

  #find({ subscriptionId }: Json): void {
    if (!this.created || subscriptionId !== this.id)
      throw new Refused(-32023, { kind: 'subscription' });
  }

  #isWrong(n: number): boolean {
    return n <= (this.#wrong.times ?? Infinity);
  }

  #deliveries(call: Call, delivery: Json, n: number): Json[] {
    const changed =
      this.#wrong.delivery && this.#isWrong(call.n)
        ? this.#wrong.delivery(delivery, n, this)
        : delivery;
    return [changed].flat();
  }

  /** The behavior of a correct peer. */
  readonly #methods: Readonly<Record<string, Hook>> = {
    'server/discover': ({ n }) => ({
      supportedVersions: ['2026-07-28'],
      capabilities: this.#capabilities('extensions', n),
      serverInfo: { name: 'raw', version: '1' },
      ttlMs: 0,
      cacheScope: 'private',
    }),
    initialize: ({ n }) => ({
      protocolVersion: '2025-11-25',
      capabilities: this.#capabilities('experimental', n),
      serverInfo: { name: 'raw', version: '1' },
    }),
    'triggers/list': () => ({ triggers: [], etag: 'list-1', ttlMs: 1000, cacheScope: 'private' }),
    'triggers/subscriptions': () => ({ subscriptions: this.created ? [this.subscription()] : [] }),
    'triggers/subscribe': ({ params }) => {
      const created = !this.created;
      this.created = true;
      if (created) this.key = params.key ?? this.key;
      this.callback = params.callback;
      return { ...this.subscription(), created };
    },
    'triggers/get': ({ params }) => (this.#find(params), this.subscription()),
    'triggers/update': ({ params }) => (this.#find(params), this.subscription()),
    'triggers/unsubscribe': ({ params }) => {
      this.#find(params);
      this.created = false;
      return {};
    },
    'triggers/ack': ({ params }) => {
      this.#find(params);
      this.#hear(params.position);
      return { epoch: this.epoch, acked: this.acked, head: this.head };
    },
    'triggers/pull': async (call) => {
      const {
        params: { after, ack, maxEvents = 100, waitMs = 0, ...params },
      } = call;
      this.#find(params);
      if (ack) this.#hear(ack);
      if (after) this.#check(after);
      const from = after?.sequence ?? this.acked;
      for (
        const until = Date.now() + waitMs;
        this.head <= from && Date.now() < until && !call.response.destroyed;
      )
        await pause(5);
      const delivery = this.delivery(from, Math.min(maxEvents, BATCH));
      const [result] = this.#deliveries(call, { ...delivery, ...moreAfter(delivery) }, 1);
      this.noteSent(result);
      return { ...moreAfter(result), ...result };
    },
    'triggers/stream': async (call) => {
      const { params } = call;
      this.#find(params);
      if (params.after) this.#check(params.after);
      const stream = call.events();
      let cursor = params.after?.sequence ?? this.acked;
      for (let n = 1; !stream.closed && this.created; n++) {
        const inFlight = cursor - Math.max(this.acked, params.after?.sequence ?? 0);
        const delivery = this.delivery(
          cursor,
          Math.max(0, Math.min(BATCH, (params.window?.events ?? BATCH) - inFlight)),
        );
        for (const one of this.#deliveries(call, delivery, n)) await stream.delivery(one);
        cursor += delivery.events.length;
        await pause(delivery.events.length > 0 ? 1 : HEARTBEAT_MS);
      }
      return stream.end();
    },
  };

  #capabilities(place: string, n: number): Json {
    const right = { revision: REVISION, levels: ['log', 'stream', 'durable'] };
    const settings = this.#wrong.settings && this.#isWrong(n) ? this.#wrong.settings(n) : right;
    return settings === undefined ? {} : { [place]: { [EXTENSION]: settings } };
  }

  async #receive(request: IncomingMessage, response: ServerResponse): Promise<void> {
    request.on('error', () => undefined);
    response.on('error', () => undefined);
    let body = '';
    try {
      for await (const chunk of request) body += chunk;
    } catch {
      return; // The client has disconnected.
    }
    // Offers neither a standalone stream nor the end of a session unless a row says so.
    const message =
      request.method === 'POST'
        ? JSON.parse(body)
        : { method: request.method, id: null, params: {} };
    const { method, id, params } = message;
    const n = this.count(method) + 1;
    this.#counts.set(method, n);
    this.requests.push(method);
    const send: Call['send'] = (status, type, text, headers = {}) => {
      response
        .writeHead(status, { ...(type === '' ? {} : { 'content-type': type }), ...headers })
        .end(text);
      return ANSWERED;
    };
    const call: Call = {
      method,
      id,
      params: params ?? {},
      n,
      peer: this,
      headers: request.headers,
      response,
      send,
      honest: async () => this.#methods[method]!(call),
      events: () => new EventStream(response, { id, peer: this }),
    };
    const hook = this.#wrong.calls?.[method];
    try {
      if (hook && this.#isWrong(n)) return void this.#reply(call, await hook(call));
      if (request.method !== 'POST')
        return void send(request.method === 'DELETE' ? 200 : 405, 'text/plain', '');
      if (id === undefined) return void send(202, 'text/plain', '');
      if (!this.#methods[method]) throw new Refused(-32601);
      this.#reply(call, await call.honest());
    } catch (error) {
      if (!(error instanceof Refused)) throw error;
      const { code, data, message: words } = error;
      send(
        200,
        'application/json',
        JSON.stringify({
          jsonrpc: '2.0',
          id,
          error: {
            ...(code === undefined ? {} : { code }),
            message: words,
            ...(data === undefined ? {} : { data }),
          },
        }),
      );
    }
  }

  #reply({ id, send }: Call, result: Json): void {
    if (result === ANSWERED) return;
    send(
      200,
      'application/json',
      JSON.stringify({ jsonrpc: '2.0', id, result: { resultType: 'complete', ...result } }),
    );
  }
}
