/** The server over HTTP: starts the parts in order, says where it is, and on a stop takes them down in the opposite order. */
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

/** What a way of running is given. */
export interface Run {
  readonly config: Config;
  readonly log: Logger;
  readonly sources: Sources;
  /** Fires when the server is asked to stop. */
  readonly stop: AbortSignal;
  /** Another secret that the log must never write. */
  readonly remember: (secret: string) => void;
  /** For the person who started it. */
  readonly print: (text: string) => void;
  /** What of the engine is not as configured, for tests. */
  readonly engine?: ServiceOptions['engine'];
  /** Who may come in, instead of what the configuration says; for tests. */
  readonly auth?: Auth;
  /** Given the parts before they start, for tests. */
  readonly onService?: (service: Service) => void;
}

/** Runs until `stop` fires and everything is closed. */
export async function runHttp({
  config,
  log,
  sources: { sources, github },
  stop,
  remember,
  print,
  engine,
  auth: given,
  onService,
}: Run): Promise<void> {
  const onError = (error: Error) => log.debug({ err: error }, 'a request was refused or lost');
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
  if (auth.developmentToken !== null && tokenFile !== null) {
    remember(auth.developmentToken);
    await writeSecretFile(tokenFile, auth.developmentToken);
  }
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
    onError: (error) => log.error({ err: error }, 'a request failed unexpectedly'),
  });

  let finished: Promise<void> | undefined;
  let server: Server | undefined;
  try {
    await service.start();
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
    // Streams end with their result first, then what is left of sessions, then the connections are empty and close.
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
      triggers.length === 0 ? 'none: configure a source' : families(triggers).join(', '),
    ],
    [
      'access tokens',
      tokenFile === null
        ? `from ${config.AUTH_ISSUER?.href}`
        : `one for subject "developer", in ${tokenFile}`,
    ],
    ...(config.UNSAFE_ALLOW_HTTP_LOOPBACK_CALLBACKS
      ? [['UNSAFE', 'http callbacks to loopback are allowed'] as const]
      : []),
    ...(config.FIXTURES === undefined
      ? []
      : [['UNSAFE', `fixtures for the ${config.FIXTURES} suite are offered`] as const]),
  ];
  return `MCP triggers reference server (experimental)\n${rows.map(([name, value]) => `  ${name.padEnd(14)} ${value}\n`).join('')}Stop with Ctrl+C.\n`;
}

/** Names that share what is before the dot are told as one once there are several: a source can declare dozens. */
function families(names: readonly string[]): string[] {
  const groups = new Map<string, string[]>();
  for (const name of names) {
    const family = name.split('.')[0] ?? name;
    groups.set(family, [...(groups.get(family) ?? []), name]);
  }
  return [...groups].flatMap(([family, members]) =>
    members.length > 3 ? [`${family}.* (${members.length})`] : members,
  );
}
