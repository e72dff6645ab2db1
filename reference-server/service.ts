/**
 * Creates store, engine, egress and sources from the configuration and connects them. Independent
 * of the transport, which `run-http.ts` and `run-stdio.ts` add.
 */
import { join } from 'node:path';
import {
  InMemoryServerEventBus,
  McpServer,
  type McpHttpHandler,
  type ServerEventBus,
} from '@modelcontextprotocol/server';
import {
  attachEvents,
  attachResources,
  attachTools,
  attachTriggers,
  callerOf,
  createEgress,
  createEngine,
  deliveryKey,
  publishedKey,
  eventsDialects,
  withFeeds,
  type Caller,
  type PublishedKey,
  type EgressOptions,
  type Engine,
  type EngineOptions,
  type Log,
  type Meter,
  type RequestIdentity,
} from 'mcp-triggers-experimental/server';
import { sqliteStore } from 'mcp-triggers-experimental/stores/sqlite';
import packageJson from 'mcp-triggers-experimental/package.json' with { type: 'json' };
import type { Config } from './config.ts';
import { conformanceFixtures } from './fixtures/conformance.ts';
import { prepareDataDir, signingKeyFile, storeKeyFile } from './keys.ts';
import type { Source } from './sources/source.ts';

export interface ServiceOptions {
  readonly config: Config;
  readonly sources: readonly Source[];
  readonly log: Log;
  readonly meter?: Meter;
  /**
   * The URL of the public delivery keys; null = they are not published, and only the client's secret
   * signs deliveries.
   */
  readonly jwksUri: URL | null;
  /** Overrides of engine and egress options, for tests. */
  readonly engine?: Pick<Partial<EngineOptions>, 'clock' | 'authorize' | 'reauthorize'> &
    Pick<EgressOptions, 'lookup'>;
  /** Called when `start` fails. On a pipe the first request calls `start`. */
  readonly onStartFailed?: (error: unknown) => void;
}

/** The parts of a server. */
export interface Service {
  readonly engine: Engine;
  /** The keys to publish; the first one signs. */
  readonly deliveryKeys: readonly PublishedKey[];
  /** Passes change notifications to clients that listen over HTTP without a session. */
  readonly bus: ServerEventBus;
  /** Makes an MCP server with all bindings attached. */
  readonly buildMcpServer: () => McpServer;
  /** Wraps the handler of these servers and adds feeds to its `subscriptions/listen`. */
  readonly withFeeds: (fetch: McpHttpHandler['fetch']) => McpHttpHandler['fetch'];
  /** Opens the store and starts the sources. Later calls return the same promise. */
  readonly start: () => Promise<void>;
  /** Stops the sources, ends streams, waits for attempts in flight, closes the store. */
  readonly stop: () => Promise<void>;
}

/** Creates the parts. Does not open the store; `start` does. */
export async function createService({
  config,
  sources,
  log,
  meter,
  jwksUri,
  engine: { lookup, ...given } = {},
  onStartFailed,
}: ServiceOptions): Promise<Service> {
  await prepareDataDir(config.DATA_DIR);
  const key = config.STORE_KEY ?? (await storeKeyFile(config.DATA_DIR));
  const signing =
    jwksUri === null
      ? []
      : [deliveryKey(config.DELIVERY_KEY ?? (await signingKeyFile(config.DATA_DIR, 'delivery')))];
  const store = sqliteStore({
    path: join(config.DATA_DIR, 'triggers.db'),
    key,
    maxBytes: config.STORE_MAX_BYTES,
    warn: (message) => log.warn({}, message),
  });
  const reports = { log, ...(meter === undefined ? {} : { meter }) };
  const engine = createEngine({
    ...reports,
    ...given,
    store,
    triggers: sources.flatMap((source) => source.triggers),
    dialects: eventsDialects({ webhookId: config.EVENTS_WEBHOOK_ID }),
    egress: createEgress({
      ...reports,
      ...(lookup === undefined ? {} : { lookup }),
      unsafeAllowHttpLoopback: config.UNSAFE_ALLOW_HTTP_LOOPBACK_CALLBACKS,
    }),
    ...(signing[0] === undefined
      ? {}
      : { deliveryKey: signing[0], resource: config.resource.href }),
    ttl: {
      minMs: config.TTL_MIN_MS,
      defaultMs: config.TTL_DEFAULT_MS,
      maxMs: config.TTL_MAX_MS,
      allowNoExpiry: config.ALLOW_NO_EXPIRY,
    },
    maxEventBytes: config.MAX_EVENT_BYTES,
    maxSuspendedMs: config.MAX_SUSPENDED_MS,
    quotas: {
      subscriptionsPerPrincipal: config.MAX_SUBSCRIPTIONS_PER_PRINCIPAL,
      streamsPerPrincipal: config.MAX_STREAMS_PER_PRINCIPAL,
    },
  });
  const bus = new InMemoryServerEventBus((error) =>
    log.error({ err: error }, 'change notification failed; a listener missed it'),
  );
  const fixtures = config.FIXTURES === undefined ? null : conformanceFixtures(bus);

  // All resources that are not feeds are fixtures, which every caller may read.
  // One function for every binding, so that all of them agree about the owner.
  const caller = (identity: RequestIdentity): Caller =>
    callerOf(identity, { sharedClients: config.SHARED_CLIENTS });
  const feeds = { log, caller, ready: () => service.start(), mayRead: () => fixtures !== null };

  let starting: Promise<void> | undefined;
  const start = async () => {
    await engine.start();
    for (const source of sources) await source.start((event) => engine.emit(event));
  };
  const service: Service = {
    engine,
    deliveryKeys: [...signing, ...config.DELIVERY_KEYS_PUBLISHED.map(publishedKey)],
    bus,
    buildMcpServer() {
      const mcp = new McpServer(
        { name: packageJson.name, version: packageJson.version },
        fixtures?.options,
      );
      // First, as an application registers its own resources and tools before the bindings.
      fixtures?.attach(mcp);
      attachTriggers(mcp, engine, {
        levels: [
          'log',
          'stream',
          'callback',
          ...(store.durability === 'durable' ? ['durable'] : []),
        ],
        minTtlMs: config.TTL_MIN_MS,
        // Announced even if subscriptions without expiry are allowed, because it bounds every
        // suggested lifetime.
        maxTtlMs: config.TTL_MAX_MS,
        maxSuspendedMs: config.MAX_SUSPENDED_MS,
        dataRef: true,
        ...(jwksUri === null ? {} : { jwksUri: jwksUri.href }),
        log,
        caller,
        ready: service.start,
      });
      attachEvents(mcp, engine, {
        undeclared: config.EVENTS_PROFILE,
        alwaysExpires: config.EVENTS_ALWAYS_EXPIRE,
        log,
        caller,
        ready: service.start,
      });
      attachTools(mcp, engine, { log, caller, ready: service.start });
      attachResources(mcp, engine, feeds);
      return mcp;
    },
    withFeeds: (fetch) =>
      withFeeds(fetch, engine, { ...feeds, listChanged: ['triggers', 'events'] }),
    start: () =>
      (starting ??= start().catch((error: unknown) => {
        onStartFailed?.(error);
        throw error;
      })),
    async stop() {
      // The parts can be stopped only after a start in progress has finished.
      await starting?.catch(() => undefined);
      await Promise.all(sources.map(async (source) => source.stop()));
      await engine.close();
    },
  };
  return service;
}
