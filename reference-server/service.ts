/**
 * The parts that do the work, wired from one configuration and independent of how clients reach them: store, engine, the way
 * out, and the sources that feed it. `main` puts HTTP or a pipe in front.
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
  createEgress,
  createEngine,
  deliveryKey,
  eventsDialects,
  withFeeds,
  type DeliveryKey,
  type EgressOptions,
  type Engine,
  type EngineOptions,
  type Log,
  type Meter,
} from 'mcp-triggers-experimental/server';
import { sqliteStore } from 'mcp-triggers-experimental/stores/sqlite';
import packageJson from 'mcp-triggers-experimental/package.json' with { type: 'json' };
import type { Config } from './config.ts';
import { conformanceFixtures } from './fixtures/conformance.ts';
import { prepareDataDir, signingKeyFile, storeKeyFile } from './keys.ts';
import type { Source } from './source.ts';

const DRAINS = ['callback', 'stream', 'pull'] as const;

export interface ServiceOptions {
  readonly config: Config;
  readonly sources: readonly Source[];
  readonly log: Log;
  readonly meter?: Meter;
  /** Where the public halves of the delivery keys can be fetched; null = nowhere, then deliveries carry only the client's HMAC. */
  readonly jwksUri: URL | null;
  /** What of the engine and its way out is not as configured, for tests: its clock, who may follow what, how names are resolved. */
  readonly engine?: Pick<Partial<EngineOptions>, 'clock' | 'authorize' | 'reauthorize'> &
    Pick<EgressOptions, 'lookup'>;
  /** Told when `start` fails, for whoever does not call it. */
  readonly onStartFailed?: (error: unknown) => void;
}

/** The running parts. */
export interface Service {
  readonly engine: Engine;
  readonly deliveryKeys: readonly DeliveryKey[];
  /** Carries changes to whoever listens over HTTP without a session. */
  readonly bus: ServerEventBus;
  /** A fresh MCP server with the extension attached. */
  readonly buildMcpServer: () => McpServer;
  /** Lets the handler of such servers tell listeners of feeds. */
  readonly withFeeds: (fetch: McpHttpHandler['fetch']) => McpHttpHandler['fetch'];
  /** Opens the store and starts the sources. The same promise however often it is called. */
  readonly start: () => Promise<void>;
  /** Stops the sources, ends streams, waits for attempts in flight, closes the store. */
  readonly stop: () => Promise<void>;
}

/** Makes the parts; nothing is opened before `start`. */
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
    dialects: eventsDialects(),
    egress: createEgress({
      ...reports,
      ...(lookup === undefined ? {} : { lookup }),
      unsafeAllowHttpLoopback: config.UNSAFE_ALLOW_HTTP_LOOPBACK_CALLBACKS,
    }),
    ...(signing[0] === undefined ? {} : { deliveryKey: signing[0] }),
    ttl: {
      minMs: config.TTL_MIN_MS,
      defaultMs: config.TTL_DEFAULT_MS,
      maxMs: config.TTL_MAX_MS,
      allowNoExpiry: config.ALLOW_NO_EXPIRY,
    },
    quotas: {
      subscriptionsPerPrincipal: config.MAX_SUBSCRIPTIONS_PER_PRINCIPAL,
      streamsPerPrincipal: config.MAX_STREAMS_PER_PRINCIPAL,
    },
  });
  const bus = new InMemoryServerEventBus((error) =>
    log.error({ err: error }, 'a listener could not be told of a change'),
  );
  const fixtures = config.FIXTURES === undefined ? null : conformanceFixtures(bus);

  // Resources that are no feeds are the fixtures', which are everybody's.
  const feeds = { log, ready: () => service.start(), mayRead: () => fixtures !== null };

  let starting: Promise<void> | undefined;
  const start = async () => {
    await engine.start();
    for (const source of sources) await source.start((event) => engine.emit(event));
  };
  const service: Service = {
    engine,
    deliveryKeys: signing,
    bus,
    buildMcpServer() {
      const mcp = new McpServer(
        { name: packageJson.name, version: packageJson.version },
        fixtures?.options,
      );
      // First, as an application's own things are: what is attached after them leaves them in place.
      fixtures?.attach(mcp);
      attachTriggers(mcp, engine, {
        drains: [...DRAINS],
        durability: store.durability,
        minTtlMs: config.TTL_MIN_MS,
        // Also where no expiry is granted: a suggestion that is a number is cut to it all the same.
        maxTtlMs: config.TTL_MAX_MS,
        ...(jwksUri === null ? {} : { jwksUri: jwksUri.href }),
        log,
        ready: service.start,
      });
      attachEvents(mcp, engine, { undeclared: config.EVENTS_PROFILE, log, ready: service.start });
      attachTools(mcp, engine, { log, ready: service.start });
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
      // What is being started cannot be stopped half-way.
      await starting?.catch(() => undefined);
      await Promise.all(sources.map((source) => source.stop()));
      await engine.close();
    },
  };
  return service;
}
