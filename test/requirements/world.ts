/**
 * The server of the requirement tests, seen from outside: a real store on disk, a real engine, the
 * SDK's HTTP handler on a loopback port, and JSON-RPC of revision 2026-07-28 by plain `fetch`. Only
 * the time, the jitter and the caller are simulated.
 */
import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { cpSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { TestContext } from 'vitest';
import { serve, type HttpBindings, type ServerType } from '@hono/node-server';
import { createMcpHandler, McpServer, type AuthInfo } from '@modelcontextprotocol/server';
import {
  attachTriggers,
  createEgress,
  createEngine,
  defineTrigger,
  systemRandom,
  type AttachOptions,
  type DeclaredTrigger,
  type Engine,
  type EngineOptions,
} from 'mcp-triggers-experimental/server';
import { sqliteStore, type SqliteStoreOptions } from 'mcp-triggers-experimental/stores/sqlite';
import { manualClock, type ManualClock } from 'mcp-triggers-experimental/testing';
import { withBoundedBacklog } from 'mcp-triggers-experimental/server';
import { Endpoint, type Behavior } from './endpoint.ts';
import { StreamReader } from './stream-reader.ts';
import type { Json } from './values.ts';

export { eventually, lastOf, secretOf, sequencesOf, type Json } from './values.ts';

const text = { type: 'string' } as const;

/** A trigger type with history, default retention and every drain. */
export const box = defineTrigger<{ box?: string | string[] }, { box: string; text?: string }>({
  name: 'box.opened',
  description: 'A box was opened. `box`: this one, or any of these.',
  input: {
    type: 'object',
    properties: { box: { anyOf: [text, { type: 'array', items: text }] } },
    additionalProperties: false,
  },
  payload: { type: 'object', required: ['box'], properties: { box: text, text } },
  history: { maxAgeMs: 3_600_000 },
});

/** A trigger type without history, kept for an hour and a hundred events. */
export const meter = defineTrigger<object, { value: number }>({
  name: 'meter.read',
  description: 'A meter was read.',
  input: { type: 'object', additionalProperties: false },
  payload: { type: 'object', required: ['value'], properties: { value: { type: 'integer' } } },
  retention: { maxAgeMs: 3_600_000, maxEvents: 100 },
});

/** A trigger type without callbacks, kept for few hours but many events. */
export const mail = defineTrigger<object, { subject: string }>({
  name: 'mail.arrived',
  description: 'Mail arrived.',
  input: { type: 'object', additionalProperties: false },
  payload: { type: 'object', required: ['subject'], properties: { subject: text } },
  retention: { maxAgeMs: 7_200_000, maxEvents: 50_000 },
  drains: ['stream', 'pull'],
});

export interface Answer {
  readonly status: number;
  /** The bytes as text. */
  readonly text: string;
  readonly result?: Json;
  readonly error?: { readonly code: number; readonly message: string; readonly data?: Json };
}

export interface Asking {
  /** The subject; null = anonymous. An issuer may precede it: `https://other|alice`. */
  readonly as?: string | null;
  readonly id?: number | string;
  readonly clientCapabilities?: object;
  readonly signal?: AbortSignal;
}

export interface WorldOptions {
  readonly engine?: Partial<EngineOptions>;
  readonly attach?: Partial<AttachOptions>;
  readonly triggers?: readonly DeclaredTrigger[];
  readonly store?: Partial<SqliteStoreOptions>;
  /** When its tokens expire, in seconds since 1970. */
  readonly tokensExpireAt?: number;
  /** Whether the server lacks the extension. */
  readonly bare?: boolean;
  /** Attaches other bindings to every MCP server that is created. */
  readonly install?: (mcp: McpServer, world: World) => void;
}

export const EXTENSION = 'io.modelcontextprotocol/triggers';
/** The resource URI of the server; clients and receivers know it as this, as behind a proxy. */
export const RESOURCE = 'https://mcp.example.com/mcp';

export class World {
  readonly clock: ManualClock = manualClock(Date.UTC(2026, 10, 21, 9, 30));
  /** The value of the engine's `uniform()`. */
  jitter = 0.5;
  /** Every line of the server's log. */
  readonly log: string[] = [];
  engine!: Engine;
  #server!: ServerType;
  #url = '';
  #ids = 0;
  readonly #options: WorldOptions;
  readonly #directory = mkdtempSync(join(tmpdir(), 'triggers-requirements-'));
  readonly #backups: string[] = [];
  readonly #key = randomBytes(32);
  readonly #endpoints: Endpoint[] = [];
  readonly #streams: StreamReader[] = [];

  constructor(options: WorldOptions) {
    this.#options = options;
  }

  get url(): string {
    return this.#url;
  }

  async start(): Promise<void> {
    const {
      engine = {},
      attach = {},
      triggers = [box, meter, mail],
      store: storeOptions = {},
      bare = false,
      install,
    } = this.#options;
    const line =
      (level: string) =>
      (fields: object, message: string): void => {
        this.log.push(
          JSON.stringify({ level, ...fields, message }, (_, value: unknown) =>
            value instanceof Error
              ? `${value.stack} ${JSON.stringify(value)} ${String(value.cause)}`
              : value,
          ),
        );
      };
    const log = {
      debug: line('debug'),
      info: line('info'),
      warn: line('warn'),
      error: line('error'),
    };
    const store = sqliteStore({
      path: join(this.#directory, 'triggers.db'),
      key: this.#key,
      ...storeOptions,
    });
    this.engine = createEngine({
      store,
      triggers,
      log,
      clock: this.clock,
      egress: createEgress({ unsafeAllowHttpLoopback: true, log }),
      random: { uniform: () => this.jitter, token: systemRandom.token },
      resource: RESOURCE,
      ...engine,
    });
    await this.engine.start();
    const handler = createMcpHandler(
      () => {
        const mcp = new McpServer({ name: 'requirements', version: '1' });
        if (!bare)
          attachTriggers(mcp, this.engine, {
            levels: [
              ...['log', 'stream', 'callback'],
              ...(store.durability === 'durable' ? ['durable'] : []),
            ],
            minTtlMs: 60_000,
            maxTtlMs: 30 * 86_400_000,
            dataRef: true,
            log,
            ...attach,
          });
        install?.(mcp, this);
        return mcp;
      },
      { legacy: 'reject' },
    );
    await new Promise<void>((resolve) => {
      this.#server = serve(
        {
          fetch: async (request, env) => {
            const authInfo = this.#authInfo(request);
            return withBoundedBacklog(
              await handler.fetch(request, authInfo === undefined ? {} : { authInfo }),
              () => void (env as HttpBindings).outgoing.destroy(),
            );
          },
          port: 0,
          hostname: '127.0.0.1',
        },
        ({ port }) => {
          this.#url = `http://127.0.0.1:${port}/mcp`;
          resolve();
        },
      );
    });
  }

  async stop(): Promise<void> {
    await this.engine.close();
    if ('closeAllConnections' in this.#server) this.#server.closeAllConnections();
    await new Promise((resolve) => this.#server.close(resolve));
  }

  /** Stops the server and starts it again from its files; `backup` restores older files first. */
  async restart(backup?: string): Promise<void> {
    await this.stop();
    if (backup !== undefined)
      for (const suffix of ['', '-wal']) {
        rmSync(join(this.#directory, `triggers.db${suffix}`), { force: true });
        try {
          cpSync(
            join(backup, `triggers.db${suffix}`),
            join(this.#directory, `triggers.db${suffix}`),
          );
        } catch {
          /* the file did not exist */
        }
      }
    await this.start();
  }

  /** Copies the store's files in their current state. */
  backup(): string {
    const to = mkdtempSync(join(tmpdir(), 'triggers-backup-'));
    this.#backups.push(to);
    cpSync(this.#directory, to, { recursive: true });
    return to;
  }

  async close(): Promise<void> {
    for (const stream of this.#streams) stream.close();
    for (const endpoint of this.#endpoints) endpoint.close();
    await this.stop();
    for (const folder of [this.#directory, ...this.#backups])
      rmSync(folder, { recursive: true, force: true });
  }

  #authInfo(request: Request): AuthInfo | undefined {
    const token = /^Bearer (.+)$/.exec(request.headers.get('authorization') ?? '')?.[1];
    if (token === undefined) return undefined;
    const [subject, issuer = 'https://issuer.example'] = Buffer.from(token, 'base64url')
      .toString()
      .split('|')
      .reverse();
    const { tokensExpireAt } = this.#options;
    return {
      token,
      clientId: 'test',
      scopes: ['triggers'],
      extra: { iss: issuer, sub: subject },
      ...(tokensExpireAt === undefined ? {} : { expiresAt: tokensExpireAt }),
    };
  }

  /** The token of that subject. */
  token(as: string): string {
    return Buffer.from(as).toString('base64url');
  }

  /** One HTTP request of revision 2026-07-28, with the unprocessed response. */
  request(
    method: string,
    params: object = {},
    { as = 'alice', id = ++this.#ids, clientCapabilities = {}, signal }: Asking = {},
  ): Promise<Response> {
    const _meta = {
      'io.modelcontextprotocol/protocolVersion': '2026-07-28',
      'io.modelcontextprotocol/clientInfo': { name: 'test', version: '1' },
      'io.modelcontextprotocol/clientCapabilities': clientCapabilities,
    };
    return fetch(this.#url, {
      method: 'POST',
      headers: {
        'content-type': 'application/json',
        accept: 'application/json, text/event-stream',
        'mcp-protocol-version': '2026-07-28',
        'mcp-method': method,
        ...('uri' in params ? { 'mcp-name': String(params.uri) } : {}),
        ...(as === null ? {} : { authorization: `Bearer ${this.token(as)}` }),
      },
      body: JSON.stringify({ jsonrpc: '2.0', id, method, params: { ...params, _meta } }),
      ...(signal === undefined ? {} : { signal }),
    });
  }

  /** One call that is answered once. */
  async call(method: string, params: object = {}, asking: Asking = {}): Promise<Answer> {
    const response = await this.request(method, params, asking);
    const body = await response.text();
    const text =
      response.headers.get('content-type')?.includes('event-stream') === true
        ? (
            body
              .split('\n')
              .filter((line) => line.startsWith('data: '))
              .at(-1) ?? ''
          ).slice(6)
        : body;
    return {
      status: response.status,
      text,
      ...(JSON.parse(text) as Pick<Answer, 'result' | 'error'>),
    };
  }

  async ok(method: string, params: object = {}, asking: Asking = {}): Promise<Json> {
    const { result, text } = await this.call(method, params, asking);
    return result ?? assert.fail(`${method}: ${text}`);
  }

  /** The error object; the test fails without one. */
  async refused(
    method: string,
    params: object = {},
    asking: Asking = {},
  ): Promise<NonNullable<Answer['error']>> {
    const { error, text } = await this.call(method, params, asking);
    return error ?? assert.fail(`${method} was not refused: ${text}`);
  }

  subscribe(params: object = {}, asking: Asking = {}): Promise<Json> {
    return this.ok(
      'triggers/subscribe',
      { select: [{ name: box.type.name }], key: `key-${++this.#ids}`, ...params },
      asking,
    );
  }

  get(subscriptionId: string, asking: Asking = {}): Promise<Json> {
    return this.ok('triggers/get', { subscriptionId }, asking);
  }
  pull(subscriptionId: string, params: object = {}, asking: Asking = {}): Promise<Json> {
    return this.ok('triggers/pull', { subscriptionId, ...params }, asking);
  }
  ack({ subscriptionId, epoch }: Json, sequence: number): Promise<Json> {
    return this.ok('triggers/ack', { subscriptionId, position: { epoch, sequence } });
  }

  /** Opens a stream; it is closed when the test is over. */
  async stream(params: object, asking: Asking = {}): Promise<StreamReader> {
    const controller = new AbortController();
    const id = asking.id ?? ++this.#ids;
    const response = await this.request('triggers/stream', params, {
      ...asking,
      id,
      signal: controller.signal,
    });
    const stream = new StreamReader(id, response, controller);
    this.#streams.push(stream);
    return stream;
  }

  /**
   * Emits `count` events of `box.opened`, one after the other; resolves once they are numbered.
   */
  async open(count = 1, data: { box?: string; text?: string } = {}): Promise<void> {
    for (let n = 0; n < count; n += 1)
      await this.engine.emit(box.event({ data: { box: 'front', ...data } }));
    await this.engine.settled();
  }

  /** Advances the clock, and lets the effects begin. */
  async pass(ms: number): Promise<void> {
    await this.clock.run(ms);
    for (let turn = 0; turn < 20; turn += 1) await new Promise((resolve) => setImmediate(resolve));
  }

  /**
   * A callback endpoint on loopback, which proves its consent and acknowledges everything unless
   * the test says otherwise.
   */
  async endpoint(behave?: Behavior): Promise<Endpoint> {
    const endpoint = new Endpoint(behave);
    await endpoint.listen();
    this.#endpoints.push(endpoint);
    return endpoint;
  }

  /** A subscription with that endpoint as its callback. */
  async subscribeTo(endpoint: Endpoint, params: object = {}, asking: Asking = {}): Promise<Json> {
    return this.subscribe({ callback: endpoint.callback, ...params }, asking);
  }
}

export async function world(t: TestContext, options: WorldOptions = {}): Promise<World> {
  const made = new World(options);
  await made.start();
  t.onTestFinished(() => made.close());
  return made;
}
