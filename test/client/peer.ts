/**
 * A small server on the real SDK over real loopback HTTP, or on a pipe when this file is started as
 * a program. It keeps one correct log; a test replaces single methods to make it hostile.
 */
import { randomBytes } from 'node:crypto';
import { appendFileSync, existsSync, writeFileSync } from 'node:fs';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { pathToFileURL } from 'node:url';
import { getRequestListener } from '@hono/node-server';
import {
  createMcpHandler,
  isInitializeRequest,
  McpServer,
  ProtocolError,
  WebStandardStreamableHTTPServerTransport,
} from '@modelcontextprotocol/server';
import { serveStdio } from '@modelcontextprotocol/server/stdio';
import { EXTENSION_ID, REVISION, type ServerCapability } from '../../spec-schema/draft/schema.ts';
import type {
  Challenge,
  Delivery,
  Drain,
  Gap,
  Position,
  StreamRequestParams,
  SubscribeRequestParams,
  Subscription,
  TriggerEvent,
} from '../../spec-schema/draft/schema.ts';
import { webhookId } from '../../src/protocol/wire/canonical.ts';
import { signWebhook } from '../../src/protocol/wire/signature.ts';
import { Secret } from '../../src/protocol/wire/secret.ts';

const EPOCH = 'epoch-1-aaaaaaaaaaaaaa';
export const OTHER_EPOCH = 'epoch-2-bbbbbbbbbbbbbb';
const NEVER = new Promise<never>(() => undefined);

/** Actions of a handler on the request's own stream. */
export interface Exchange {
  readonly signal: AbortSignal;
  send(delivery: unknown): Promise<void>;
}
type Handler = (params: any, exchange: Exchange) => unknown;

/** The settings of a server with durable logs and these drains. */
export const settingsOf = (drains: readonly Drain[]) =>
  ({
    revision: REVISION,
    levels: [...drains.map((drain) => (drain === 'pull' ? 'log' : drain)), 'durable'],
  }) satisfies ServerCapability;

/** One subscription, one log. */
export class HonestLog {
  id = 'sub_aaaaaaaaaaaaaaaaaaaaaaaaaa1';
  epoch = EPOCH;
  events: TriggerEvent[] = [];
  gaps: Gap[] = [];
  acked = 0;
  key = 'key';
  alive = false;
  tombstone: { reason: string; final: { epoch: string; head: number; acked: number } } | undefined;
  params: SubscribeRequestParams | undefined;
  ttlMs = 3_600_000;
  renewAfterMs = 2_000_000;
  drains: Drain[] = ['callback', 'stream', 'pull'];
  heartbeatMs = 20;
  /** Every call, in order. */
  readonly calls: { method: string; params: any }[] = [];
  readonly replaced = new Map<string, Handler>();
  #generation = 1;

  get head(): number {
    return this.events.length + this.gaps.reduce((sum, { from, to }) => sum + to - from + 1, 0);
  }

  append(count = 1): void {
    for (let made = 0; made < count; made++)
      this.events.push(
        eventOf(this.head + 1, this.#generation > 1 ? `life${this.#generation}-` : ''),
      );
  }
  gap(count: number, reason: Gap['reason']): void {
    this.gaps.push({ from: this.head + 1, to: this.head + count, reason });
  }

  subscription(): Subscription {
    const { id, epoch, key, head, acked, ttlMs, renewAfterMs, params } = this;
    return {
      subscriptionId: id,
      etag: `${epoch.slice(0, 8)}-1`,
      epoch,
      key,
      select: params?.select ?? [{ name: 'timer' }],
      ttlMs,
      expiresAt: '2030-01-01T00:00:00.000Z',
      renewAfterMs,
      head,
      acked,
      oldest: 1,
      retention: { maxAgeMs: 1000, maxEvents: 10 },
      createdAt: '2026-01-01T00:00:00.000Z',
      ...(params?.callback
        ? {
            callback: {
              origin: new URL(params.callback.url).origin,
              state: 'ok',
              verifiedAt: '2026-01-01T00:00:00.000Z',
              health: { attempts: 0 },
            },
          }
        : {}),
    };
  }

  delivery(after: number, max = 100): Delivery {
    const { id, epoch, key, head, acked } = this;
    const to = Math.min(head, after + max);
    const inside = ({ from, to: end }: Gap) => from > after && end <= to;
    const gaps = this.gaps.filter(inside);
    return {
      subscriptionId: id,
      key,
      epoch,
      afterSequence: after,
      events: this.events.filter(({ sequence }) => sequence > after && sequence <= to),
      ...(gaps.length > 0 ? { gaps } : {}),
      head,
      acked,
      etag: 'etag-1',
      expiresAt: '2030-01-01T00:00:00.000Z',
    };
  }

  check({ epoch, sequence }: Position): void {
    const data = { epoch: this.epoch, head: this.head, acked: this.acked };
    if (epoch !== this.epoch) throw new ProtocolError(-32602, 'epoch', { kind: 'epoch', ...data });
    if (sequence > this.head)
      throw new ProtocolError(-32602, 'position', { kind: 'position', ...data });
  }

  /** Ends the subscription; the next one under the key gets another id and epoch. */
  end(reason: string | undefined): void {
    this.alive = false;
    this.tombstone =
      reason === undefined
        ? undefined
        : { reason, final: { epoch: this.epoch, head: this.head, acked: this.acked } };
    this.#generation += 1;
    this.ended = this.id;
    this.id = `sub_aaaaaaaaaaaaaaaaaaaaaaaaaa${this.#generation}`;
    this.epoch = `epoch-${this.#generation}-cccccccccccccc`;
    this.events = [];
    this.gaps = [];
    this.acked = 0;
  }
  ended: string | undefined;

  /** Starts the other epoch: the unacknowledged rest is numbered from 1, as after a restored backup. */
  rotate(): void {
    this.events = this.events
      .filter(({ sequence }) => sequence > this.acked)
      .map((event, index) => ({ ...event, sequence: index + 1 }));
    this.gaps = [];
    this.epoch = OTHER_EPOCH;
    this.acked = 0;
  }

  find(subscriptionId: string): void {
    if (this.alive && subscriptionId === this.id) return;
    throw new ProtocolError(-32023, 'Subscription not found.', {
      kind: 'subscription',
      ...(subscriptionId === this.ended ? this.tombstone : {}),
    });
  }

  readonly methods: Record<string, Handler> = {
    'triggers/list': () => ({ triggers: [], etag: 'list-1', ttlMs: 1000, cacheScope: 'private' }),
    'triggers/subscriptions': () => ({ subscriptions: this.alive ? [this.subscription()] : [] }),
    'triggers/subscribe': (params: SubscribeRequestParams) => {
      const created = !this.alive;
      this.alive = true;
      if (created) this.params = params;
      if (!created && params.callback?.url !== this.params?.callback?.url) {
        throw new ProtocolError(-32602, 'key', {
          kind: 'key',
          subscriptionId: this.id,
          etag: this.subscription().etag,
        });
      }
      this.key = params.key ?? this.key;
      return { ...this.subscription(), created };
    },
    'triggers/get': ({ subscriptionId }) => (this.find(subscriptionId), this.subscription()),
    'triggers/update': ({ subscriptionId, callback, removeCallback }) => {
      this.find(subscriptionId);
      if (removeCallback) delete this.params?.callback;
      else if (callback && this.params) this.params.callback = callback;
      return this.subscription();
    },
    'triggers/unsubscribe': ({ subscriptionId }) => (
      this.find(subscriptionId),
      this.end('unsubscribed'),
      {}
    ),
    'triggers/ack': ({ subscriptionId, position }) => {
      this.find(subscriptionId);
      this.check(position);
      this.acked = Math.max(this.acked, position.sequence);
      return { epoch: this.epoch, acked: this.acked, head: this.head };
    },
    'triggers/pull': async (
      { subscriptionId, after, ack, maxEvents = 100, waitMs = 0 },
      { signal },
    ) => {
      this.find(subscriptionId);
      if (ack) this.check(ack);
      this.acked = Math.max(this.acked, ack?.sequence ?? 0);
      if (after) this.check(after);
      const from = after?.sequence ?? this.acked;
      for (
        const until = Date.now() + waitMs;
        Date.now() < until &&
        this.head <= from &&
        !signal.aborted &&
        this.alive &&
        this.epoch === (after?.epoch ?? this.epoch);
      )
        await pause(5);
      this.find(subscriptionId);
      const delivery = this.delivery(from, maxEvents);
      const hasMore = this.head > from + maxEvents;
      return { ...delivery, hasMore, nextPollMs: hasMore ? 0 : 10 };
    },
    'triggers/stream': async (
      { subscriptionId, after, window }: StreamRequestParams,
      { send, signal },
    ) => {
      this.find(subscriptionId);
      if (after) this.check(after);
      const { id, epoch } = this;
      let cursor = after?.sequence ?? this.acked;
      let spoke = 0;
      while (!signal.aborted && this.alive && this.id === id && this.epoch === epoch) {
        const room =
          (window?.events ?? 100) -
          Math.max(0, cursor - Math.max(this.acked, after?.sequence ?? 0));
        if ((this.head > cursor && room > 0) || Date.now() - spoke >= this.heartbeatMs) {
          const delivery = room > 0 ? this.delivery(cursor, room) : { ...this.delivery(cursor, 0) };
          cursor = Math.max(
            cursor,
            delivery.events.at(-1)?.sequence ?? 0,
            delivery.gaps?.at(-1)?.to ?? 0,
          );
          spoke = Date.now();
          await send(delivery);
        }
        await pause(2);
      }
      return {};
    },
  };

  answer(method: string, params: any, exchange: Exchange): unknown {
    this.calls.push({ method, params });
    return (this.replaced.get(method) ?? this.methods[method]!)(params, exchange);
  }

  server(): McpServer {
    const settings = settingsOf(this.drains);
    const capabilities =
      this.drains.length > 0
        ? { extensions: { [EXTENSION_ID]: settings }, experimental: { [EXTENSION_ID]: settings } }
        : {};
    const mcp = new McpServer({ name: 'peer', version: '1' }, { capabilities });
    const pass = {
      params: {
        '~standard': { version: 1, vendor: 'test', validate: (value: unknown) => ({ value }) },
      },
    } as const;
    for (const method of Object.keys(this.methods)) {
      mcp.server.setRequestHandler(method, pass, async (params, ctx) => {
        const signal = ctx.http?.req
          ? AbortSignal.any([ctx.mcpReq.signal, ctx.http.req.signal])
          : ctx.mcpReq.signal;
        const send = async (delivery: any): Promise<void> => {
          const tagged = { ...delivery, requestId: ctx.mcpReq.id };
          await ctx.mcpReq.notify({ method: 'notifications/triggers/delivery', params: tagged });
        };
        return (await this.answer(method, params, { signal, send })) as Record<string, unknown>;
      });
    }
    return mcp;
  }
}

export const pause = (ms: number): Promise<void> =>
  new Promise((resolve) => {
    setTimeout(resolve, ms);
  });
export const silent = (): Promise<never> => NEVER;

export function eventOf(sequence: number, prefix = ''): TriggerEvent {
  return {
    sequence,
    eventId: `event-${prefix}${sequence}`,
    name: 'timer',
    timestamp: '2026-01-01T00:00:00.000Z',
    acceptedAt: '2026-01-01T00:00:00.000Z',
    data: { sequence },
  };
}

export interface Peer extends AsyncDisposable {
  readonly log: HonestLog;
  readonly url: string;
  /** Cuts every connection. */
  cut(): void;
  /** Stops listening; `up` starts again on the same port. */
  down(): Promise<void>;
  up(): Promise<void>;
}

/** A session server of the handshake revisions. `forget` drops all sessions, as a restart does. */
export function sessionHandler(log: HonestLog): {
  fetch(request: Request): Promise<Response>;
  forget(): void;
} {
  const sessions = new Map<string, WebStandardStreamableHTTPServerTransport>();
  const fetch = async (request: Request): Promise<Response> => {
    const parsedBody = request.method === 'POST' ? await request.json() : undefined;
    const known = sessions.get(request.headers.get('mcp-session-id') ?? '');
    if (known) return known.handleRequest(request, { parsedBody });
    const error = (status: number, code: number): Response =>
      Response.json({ jsonrpc: '2.0', id: null, error: { code, message: 'no' } }, { status });
    if (request.headers.has('mcp-session-id')) return error(404, -32001);
    if (!isInitializeRequest(parsedBody)) return error(400, -32600);
    const transport = new WebStandardStreamableHTTPServerTransport({
      sessionIdGenerator: () => randomBytes(16).toString('hex'),
      onsessioninitialized: (id) => {
        sessions.set(id, transport);
      },
    });
    await log.server().connect(transport);
    return transport.handleRequest(request, { parsedBody });
  };
  return { fetch, forget: () => sessions.clear() };
}

/** A correct peer over HTTP, both eras on one URL. */
export async function startPeer(
  log = new HonestLog(),
  handler: { fetch(request: Request): Promise<Response> } = createMcpHandler(() => log.server()),
): Promise<Peer> {
  const listener = getRequestListener((request) => handler.fetch(request));
  let server: Server = createServer(listener);
  const listen = (port: number): Promise<void> =>
    new Promise((resolve) => {
      server.listen(port, '127.0.0.1', () => resolve());
    });
  await listen(0);
  const { port } = server.address() as AddressInfo;
  const down = (): Promise<void> =>
    new Promise((resolve) => {
      server.close(() => resolve());
      server.closeAllConnections();
    });
  return {
    log,
    url: `http://127.0.0.1:${port}/mcp`,
    cut: () => server.closeAllConnections(),
    down,
    up: () => {
      server = createServer(listener);
      return listen(port);
    },
    [Symbol.asyncDispose]: down,
  };
}

/** POSTs a delivery or a challenge to the registered callback, as a server does. */
export async function callBack(
  log: HonestLog,
  params: Delivery | Challenge,
  now = Date.now(),
): Promise<Response> {
  const { url, secret } = log.params!.callback!;
  const body = Buffer.from(
    JSON.stringify({ jsonrpc: '2.0', method: 'notifications/triggers/delivery', params }),
  );
  const id =
    'challenge' in params
      ? `msg_${randomBytes(24).toString('base64url')}`
      : webhookId({
          subscriptionId: params.subscriptionId,
          epoch: params.epoch,
          after: params.afterSequence,
          last: params.events.at(-1)?.sequence ?? params.afterSequence,
        });
  const timestamp = Math.floor(now / 1000);
  return fetch(url, {
    method: 'POST',
    body,
    headers: {
      'content-type': 'application/json',
      'webhook-id': id,
      'webhook-timestamp': String(timestamp),
      'webhook-signature': signWebhook(Secret.parse(secret), id, timestamp, body),
      'mcp-subscription-id': params.subscriptionId,
    },
  });
}

if (process.argv[1] !== undefined && import.meta.url === pathToFileURL(process.argv[1]).href) {
  const log = new HonestLog();
  log.append(Number(process.env['PEER_EVENTS'] ?? 3));
  if (process.env['PEER_STARTS'] !== undefined) appendFileSync(process.env['PEER_STARTS'], '.');
  // The first process of a test dies in the middle of a stream; a mark on disk tells the next one
  // that this has happened.
  const mark = process.env['PEER_DIES_ONCE'];
  log.id += randomBytes(4).toString('hex');
  log.epoch = randomBytes(12).toString('hex');
  if (mark !== undefined && !existsSync(mark)) {
    writeFileSync(mark, '');
    log.replaced.set('triggers/stream', async (params, exchange) => {
      await exchange.send(log.delivery(params.after.sequence, 1));
      await pause(50);
      process.exit(7);
    });
  }
  serveStdio(() => log.server());
}
