/**
 * Feeds as clients see them: the reference server's own parts over loopback HTTP, with trigger
 * types whose events the test emits, permissions that the test revokes, and clients of both
 * generations from the registry.
 */
import assert from 'node:assert/strict';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Client, StreamableHTTPClientTransport } from '@modelcontextprotocol/client';
import { Client as ClientV1 } from '@modelcontextprotocol/sdk/client/index.js';
import { StreamableHTTPClientTransport as TransportV1 } from '@modelcontextprotocol/sdk/client/streamableHttp.js';
import { defineTrigger, type Engine } from 'mcp-triggers-experimental/server';
import { loadConfig } from '../../../../reference-server/config.ts';
import { createLog } from '../../../../reference-server/log.ts';
import { runHttp } from '../../../../reference-server/run-http.ts';
import { freePort } from '../../../../scripts/demo/server-process.ts';
import { Issuer, modern, type Claims } from '../../../reference-server/harness.ts';

const text = { type: 'string' } as const;

/** One argument that is a text, one that is not, and one with a reserved name. */
const box = defineTrigger<
  { box?: string; floors?: number[]; after?: string },
  { box: string; n: number }
>({
  name: 'box.opened',
  title: 'A box',
  description: 'A box was opened.',
  input: {
    type: 'object',
    properties: {
      box: { ...text, minLength: 1 },
      floors: { type: 'array', items: { type: 'integer' } },
      after: text,
    },
    additionalProperties: false,
  },
  payload: {
    type: 'object',
    required: ['box'],
    properties: { box: text, n: { type: 'integer' } },
  },
  match: () => true,
  attributes: { box: ({ box: which }) => which, floors: () => undefined, after: () => undefined },
});

/** Kept for five events. */
export const meter = defineTrigger<object, { value: number }>({
  name: 'meter/read',
  description: 'A meter was read.',
  input: { type: 'object', additionalProperties: false },
  payload: { type: 'object', required: ['value'], properties: { value: { type: 'integer' } } },
  retention: { maxAgeMs: 3_600_000, maxEvents: 5 },
});

/** The content of a feed's page. */
export interface Page {
  readonly trigger?: string;
  readonly arguments?: object;
  readonly select?: readonly { readonly name: string }[];
  readonly subscriptionId: string;
  readonly epoch: string;
  readonly after: number;
  readonly events: readonly {
    readonly sequence: number;
    readonly eventId: string;
    readonly name: string;
    readonly timestamp: string;
    readonly data: unknown;
  }[];
  readonly gaps: readonly { readonly from: number; readonly to: number; readonly reason: string }[];
  readonly head: number;
  readonly acked: number;
  readonly hasMore: boolean;
  readonly next: string;
  readonly reset?: { readonly reason: string; readonly asked: object; readonly message: string };
}

/** An SDK's client, as far as resources are concerned. */
export interface Reader {
  readonly capabilities: Record<string, unknown>;
  read(uri: string): Promise<Page>;
  /** The result of `resources/read`, unchanged. */
  result(uri: string): Promise<Record<string, unknown>>;
  list(cursor?: string): Promise<Record<string, unknown>>;
  templates(): Promise<Record<string, unknown>>;
  /**
   * Listens in the way of the generation: `subscriptions/listen`, or `resources/subscribe` for
   * each. Resolves with the URIs that are listened to.
   */
  listen(...uris: string[]): Promise<readonly string[]>;
  /** Stops listening. */
  unlisten(...uris: string[]): Promise<void>;
  /** URIs of the notifications, in order. */
  readonly notifications: string[];
  /** Number of list changes of resources. */
  readonly changes: () => number;
  close(): Promise<void>;
}

export const READERS = ['client 2.x, 2026-07-28', 'client 2.x, 2025-11-25', 'client 1.x'] as const;
export type ReaderKind = (typeof READERS)[number];
export const isModern = (kind: ReaderKind): boolean => kind === 'client 2.x, 2026-07-28';

export const pageOf = (result: Record<string, unknown>): Page => {
  const [{ text: body, mimeType }] = result['contents'] as [{ text: string; mimeType: string }];
  assert.equal(mimeType, 'application/json');
  return JSON.parse(body) as Page;
};

export class World {
  readonly url: URL;
  readonly engine: Engine;
  readonly issuer: Issuer;
  /** Every line of the server's log. */
  readonly log: readonly string[];
  /** The subjects and trigger types that are not permitted. */
  readonly forbidden: Set<string>;
  readonly #readers: Reader[] = [];
  readonly #stop: () => Promise<void>;
  #opened = 0;

  private constructor(parts: {
    url: URL;
    engine: Engine;
    issuer: Issuer;
    log: readonly string[];
    forbidden: Set<string>;
    stop: () => Promise<void>;
  }) {
    this.url = parts.url;
    this.engine = parts.engine;
    this.issuer = parts.issuer;
    this.log = parts.log;
    this.forbidden = parts.forbidden;
    this.#stop = parts.stop;
  }

  static async start(env: Readonly<Record<string, string>> = {}): Promise<World> {
    const issuer = await Issuer.start();
    const dataDir = await mkdtemp(join(tmpdir(), 'triggers-feeds-'));
    const config = loadConfig({
      TRIGGERS_PORT: String(await freePort()),
      TRIGGERS_DATA_DIR: dataDir,
      TRIGGERS_AUTH_ISSUER: issuer.url,
      TRIGGERS_AUTH_JWKS_URI: `${issuer.url}/jwks.json`,
      TRIGGERS_MAX_REQUESTS_PER_MINUTE: '100000',
      ...env,
    });
    const log: string[] = [];
    const forbidden = new Set<string>();
    const stopping = new AbortController();
    let engine: Engine | undefined;
    let stopped: Promise<void> = Promise.resolve();
    await new Promise<void>((ready, failed) => {
      stopped = runHttp({
        config,
        sources: {
          sources: [{ triggers: [box, meter], start: () => undefined, stop: () => undefined }],
          github: null,
        },
        log: createLog({
          level: 'debug',
          format: 'json',
          secrets: () => [],
          out: { write: (line) => void log.push(line) },
        }),
        stop: stopping.signal,
        addSecret: () => undefined,
        print: () => ready(),
        engine: {
          authorize: ({ claims }, { name }) => !forbidden.has(`${String(claims?.['sub'])} ${name}`),
        },
        onService: (service) => {
          engine = service.engine;
        },
      });
      stopped.catch(failed);
    });
    const stop = async (): Promise<void> => {
      stopping.abort();
      await stopped;
      issuer.close();
      await rm(dataDir, { recursive: true });
    };
    return new World({ url: config.resource, engine: engine!, issuer, log, forbidden, stop });
  }

  token(subject: string, claims?: Claims): Promise<string> {
    return this.issuer.token(this.url.href, subject, claims);
  }

  /**
   * Emits this many `box.opened` events, odd and even in turn; resolves with their ids once they
   * are numbered.
   */
  async open(count = 1): Promise<string[]> {
    const ids: string[] = [];
    for (let one = 0; one < count; one += 1) {
      const n = (this.#opened += 1);
      ids.push(`e${n}`);
      await this.engine.emit(
        box.event({ eventId: `e${n}`, data: { box: n % 2 === 0 ? 'even' : 'odd', n } }),
      );
    }
    await this.engine.settled();
    return ids;
  }

  /** Sends one modern request without any SDK. */
  async post(
    method: string,
    params: object,
    {
      as = 'alice',
      claims,
      signal,
      id = 1,
    }: {
      readonly as?: string;
      readonly claims?: Claims;
      readonly signal?: AbortSignal;
      readonly id?: number | string;
    } = {},
  ): Promise<Response> {
    const { headers, body } = modern(method, params, id);
    const name = (params as { uri?: string }).uri;
    return fetch(this.url, {
      method: 'POST',
      body: JSON.stringify(body),
      ...(signal === undefined ? {} : { signal }),
      headers: {
        'content-type': 'application/json',
        accept: 'application/json, text/event-stream',
        authorization: `Bearer ${await this.token(as, claims)}`,
        ...headers,
        ...(name === undefined ? {} : { 'mcp-name': name }),
      },
    });
  }

  /** Sends one modern request, and resolves with its JSON answer. */
  async call(
    method: string,
    params: object,
    options: { readonly as?: string } = {},
  ): Promise<{
    readonly result?: Record<string, any>;
    readonly error?: {
      readonly code: number;
      readonly message: string;
      readonly data?: Record<string, unknown>;
    };
  }> {
    return (await this.post(method, params, options)).json() as never;
  }

  async reader(kind: ReaderKind, subject = 'alice', claims?: Claims): Promise<Reader> {
    const token = () => this.token(subject, claims);
    const reader =
      kind === 'client 1.x'
        ? await readerV1(this.url, await token())
        : await readerV2(this.url, token, isModern(kind));
    this.#readers.push(reader);
    return reader;
  }

  /** Number of waiters for news in the engine, watches among them. */
  async waiting(): Promise<number> {
    return (await this.engine.health()).streams;
  }

  async close(): Promise<void> {
    await Promise.all(this.#readers.map((reader) => reader.close()));
    await this.#stop();
  }
}

async function readerV2(
  url: URL,
  token: () => Promise<string>,
  isModernClient: boolean,
): Promise<Reader> {
  const client = new Client(
    { name: 'reader', version: '1' },
    { versionNegotiation: { mode: isModernClient ? { pin: '2026-07-28' } : 'legacy' } },
  );
  const notifications: string[] = [];
  let changes = 0;
  client.setNotificationHandler(
    'notifications/resources/updated',
    ({ params }) => void notifications.push(params.uri),
  );
  client.setNotificationHandler('notifications/resources/list_changed', () => void (changes += 1));
  const transport = new StreamableHTTPClientTransport(url, { authProvider: { token } });
  await client.connect(transport);
  const listening: { close(): Promise<void> }[] = [];
  return {
    capabilities: { ...client.getServerCapabilities() },
    notifications,
    changes: () => changes,
    read: async (uri) => pageOf(await client.readResource({ uri })),
    result: async (uri) => client.readResource({ uri }),
    list: async (cursor) => client.listResources(cursor === undefined ? {} : { cursor }),
    templates: async () => client.listResourceTemplates(),
    async listen(...uris) {
      if (isModernClient) {
        const subscription = await client.listen({
          resourceSubscriptions: uris,
          resourcesListChanged: true,
        });
        listening.push(subscription);
        return subscription.honoredFilter.resourceSubscriptions ?? [];
      }
      for (const uri of uris) await client.subscribeResource({ uri });
      return uris;
    },
    async unlisten(...uris) {
      if (isModernClient) for (const one of listening.splice(0)) await one.close();
      else for (const uri of uris) await client.unsubscribeResource({ uri });
    },
    close: async () => {
      if (transport.sessionId !== undefined) await transport.terminateSession();
      await client.close();
    },
  };
}

async function readerV1(url: URL, token: string): Promise<Reader> {
  const { ResourceListChangedNotificationSchema, ResourceUpdatedNotificationSchema } =
    await import('@modelcontextprotocol/sdk/types.js');
  const client = new ClientV1({ name: 'reader', version: '1' });
  const notifications: string[] = [];
  let changes = 0;
  client.setNotificationHandler(
    ResourceUpdatedNotificationSchema,
    ({ params }) => void notifications.push(params.uri),
  );
  client.setNotificationHandler(ResourceListChangedNotificationSchema, () => void (changes += 1));
  const transport = new TransportV1(url, {
    requestInit: { headers: { authorization: `Bearer ${token}` } },
  });
  await client.connect(transport);
  return {
    capabilities: { ...client.getServerCapabilities() },
    notifications,
    changes: () => changes,
    read: async (uri) => pageOf(await client.readResource({ uri })),
    result: (uri) => client.readResource({ uri }),
    list: (cursor) => client.listResources(cursor === undefined ? {} : { cursor }),
    templates: () => client.listResourceTemplates(),
    async listen(...uris) {
      for (const uri of uris) await client.subscribeResource({ uri });
      return uris;
    },
    async unlisten(...uris) {
      for (const uri of uris) await client.unsubscribeResource({ uri });
    },
    close: async () => {
      await transport.terminateSession();
      await client.close();
    },
  };
}
