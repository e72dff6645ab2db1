/**
 * Runs the server over HTTP: creates and starts its parts, prints the address, and stops the parts
 * when it is asked to.
 */
import { once } from 'node:events';
import type { Server } from 'node:http';
import { join } from 'node:path';
import type { Logger } from 'pino';
import { createApp } from './app.ts';
import { createAuth, type Auth } from './auth.ts';
import type { Config } from './config.ts';
import { McpEndpoint } from './endpoint.ts';
import { finish, listen } from './http.ts';
import { writeSecretFile } from './keys.ts';
import { createMetrics } from './metrics.ts';
import { createService, type Service, type ServiceOptions } from './service.ts';
import type { Sources } from './sources.ts';

/** Options of `runHttp` and `runStdio`. */
export interface Run {
  readonly config: Config;
  readonly log: Logger;
  readonly sources: Sources;
  /** Fires when the server is asked to stop. */
  readonly stop: AbortSignal;
  /** Adds a secret that the log must never contain. */
  readonly addSecret: (secret: string) => void;
  /** Prints to standard output. */
  readonly print: (text: string) => void;
  /** Overrides of engine options, for tests. */
  readonly engine?: ServiceOptions['engine'];
  /** Overrides the authentication, for tests. */
  readonly auth?: Auth;
  /** Called with the parts before they start, for tests. */
  readonly onService?: (service: Service) => void;
}

/** Runs until `stop` fires and everything is closed. */
export async function runHttp({
  config,
  log,
  sources: { sources, github },
  stop,
  addSecret,
  print,
  engine,
  auth: given,
  onService,
}: Run): Promise<void> {
  const onError = (error: Error) =>
    log.debug({ err: error }, 'MCP request failed; it was rejected or its connection closed');
  const metrics = config.METRICS ? createMetrics() : null;
  const jwksUri = new URL('.well-known/jwks.json', `${config.PUBLIC_URL.href.replace(/\/$/, '')}/`);
  const service = await createService({
    config,
    sources,
    log,
    jwksUri,
    ...(engine === undefined ? {} : { engine }),
    ...(metrics === null ? {} : { meter: metrics.meter }),
  });
  onService?.(service);
  const auth = given ?? (await createAuth(config));
  const tokenFile =
    auth.developmentToken === null
      ? null
      : (config.DEV_TOKEN_FILE ?? join(config.DATA_DIR, 'token'));
  if (auth.developmentToken !== null) addSecret(auth.developmentToken);
  const endpoint = new McpEndpoint({
    config,
    auth,
    build: service.buildMcpServer,
    bus: service.bus,
    withFeeds: service.withFeeds,
    onError,
  });
  const app = createApp({
    engine: service.engine,
    auth,
    endpoint,
    deliveryKeys: service.deliveryKeys,
    metrics,
    github,
    accepting: () => !stop.aborted,
    onError: (error) => log.error({ err: error }, 'request failed; status 500 sent'),
  });

  let finished: Promise<void> | undefined;
  let server: Server | undefined;
  try {
    await service.start();
    // Not before: until here, the file may belong to another server that has the store open.
    if (auth.developmentToken !== null && tokenFile !== null)
      await writeSecretFile(tokenFile, auth.developmentToken);
    server = await listen(app, { host: config.HOST, port: config.PORT });
    print(
      banner(
        config,
        sources.flatMap((source) => source.triggers.map(({ type }) => type.name)),
        tokenFile,
      ),
    );
    log.info({ mode: config.MODE }, 'listening');
    if (!stop.aborted) await once(stop, 'abort');
    log.info({}, 'stopping');
  } finally {
    endpoint.stop();
    if (server) finished = finish(server, config.SHUTDOWN_GRACE_MS);
    // The service stops first: it ends streams with their result. Then sessions and connections close.
    await service.stop();
    await endpoint.close(config.SHUTDOWN_GRACE_MS);
    await finished;
  }
  log.info({}, 'stopped');
}

function banner(config: Config, triggers: readonly string[], tokenFile: string | null): string {
  const rows: readonly (readonly [name: string, value: string])[] = [
    ['endpoint', config.resource.href],
    ['mode', config.MODE],
    ['data', config.DATA_DIR],
    [
      'trigger types',
      triggers.length === 0 ? 'none (configure a source)' : grouped(triggers).join(', '),
    ],
    [
      'access tokens',
      tokenFile === null
        ? `issued by ${config.AUTH_ISSUER?.href}`
        : `one for the subject "developer", in ${tokenFile}`,
    ],
    ...(config.UNSAFE_ALLOW_HTTP_LOOPBACK_CALLBACKS
      ? [['UNSAFE', 'http callbacks to loopback are allowed'] as const]
      : []),
    ...(config.FIXTURES === undefined
      ? []
      : [['UNSAFE', `fixtures for the ${config.FIXTURES} suite are enabled`] as const]),
  ];
  return `MCP triggers reference server (experimental)\n${rows.map(([name, value]) => `  ${name.padEnd(14)} ${value}\n`).join('')}Stop with Ctrl+C.\n`;
}

/**
 * Shortens a list of trigger types: more than three names with the same prefix become one entry,
 * because a source can declare dozens.
 */
function grouped(names: readonly string[]): string[] {
  const groups = new Map<string, string[]>();
  for (const name of names) {
    const family = name.split('.')[0] ?? name;
    groups.set(family, [...(groups.get(family) ?? []), name]);
  }
  return [...groups].flatMap(([family, members]) =>
    members.length > 3 ? [`${family}.* (${members.length})`] : members,
  );
}
