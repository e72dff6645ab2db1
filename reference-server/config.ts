/**
 * The reference server's configuration from environment variables. One table parses the variables
 * and documents them (`describeConfig`).
 */
import { resolve } from 'node:path';
import { z } from 'zod';

const PREFIX = 'TRIGGERS_';

const DAY_MS = 86_400_000;
const GIB = 2 ** 30;
const MIB = 2 ** 20;
/** An event of this size fits into a delivery. */
const EVENT_BYTES_MAX = 240 * 1024;

const integer = (min: number, max: number) =>
  z
    .string()
    .regex(/^[0-9]{1,16}$/, 'must be a whole number in digits')
    .transform(Number)
    .pipe(z.number().min(min, `must be at least ${min}`).max(max, `must be at most ${max}`));
const flag = () =>
  z.enum(['true', 'false'], 'must be true or false').transform((text) => text === 'true');
const list = () =>
  z.string().transform((text) =>
    text
      .split(',')
      .map((item) => item.trim())
      .filter((item) => item !== ''),
  );
/** A text that `parse` turns into a value; undefined = the text is not valid, as `message` says. */
const parsed = <T>(parse: (text: string) => T | undefined, message: string) =>
  z.string().transform((text, context) => {
    const value = parse(text);
    if (value !== undefined) return value;
    context.addIssue({ code: 'custom', message });
    return z.NEVER;
  });
const url = () =>
  parsed((text) => {
    const value = URL.canParse(text) ? new URL(text) : null;
    return value &&
      /^https?:$/.test(value.protocol) &&
      value.username === '' &&
      value.password === '' &&
      value.hash === ''
      ? value
      : undefined;
  }, 'must be an absolute http or https URL without credentials or fragment');
const authorityOf = (host: string, port: number): string =>
  `${host.includes(':') ? `[${host}]` : host}:${port}`;
const host = () =>
  z
    .string()
    .refine(
      (text) => /^[\w.:-]+$/.test(text) && URL.canParse(`http://${authorityOf(text, 1)}`),
      'must be an IP address or a host name, without a port',
    );
const path = () => z.string().transform((text) => resolve(text));
const storeKey = () =>
  parsed((text) => {
    const bytes = Buffer.from(text, 'base64');
    return bytes.length === 32 && bytes.toString('base64') === text
      ? new Uint8Array(bytes)
      : undefined;
  }, 'must be base64 of exactly 32 bytes; make one with: openssl rand -base64 32');
const privateJwk = () =>
  parsed(
    (text) => PrivateJwk.safeParse(jsonOrNull(text)).data,
    'must be an Ed25519 private key as a JWK: {"kty":"OKP","crv":"Ed25519","x":"…","d":"…"}',
  );
const schedules = () =>
  parsed((text) => {
    const pairs = text
      .split(';')
      .map((pair) => pair.trim())
      .filter((pair) => pair !== '')
      .map((pair) => /^([A-Za-z0-9_.-]{1,64})=(.+)$/.exec(pair));
    return pairs.every((pair) => pair !== null)
      ? pairs.map(([, name, cron]) => ({ name: name ?? '', cron: (cron ?? '').trim() }))
      : undefined;
  }, 'must have the form name=cron;name=cron, for example nightly=0 3 * * *');

const publicJwks = () =>
  parsed(
    (text) => z.array(PublicJwk).max(8).safeParse(jsonOrNull(text)).data,
    'must be a list of at most 8 Ed25519 public keys as JWK: [{"kty":"OKP","crv":"Ed25519","x":"…"}]',
  );

/** A strict object: a private key here would be a mistake. */
const PublicJwk = z.strictObject({
  kty: z.literal('OKP'),
  crv: z.literal('Ed25519'),
  x: z.string().length(43),
});
const PrivateJwk = z.object({
  kty: z.literal('OKP'),
  crv: z.literal('Ed25519'),
  x: z.string().length(43),
  d: z.string().length(43),
  kid: z.string().min(1).max(64).exactOptional(),
});

/** An Ed25519 private key as JWK. */
export type PrivateJwk = z.infer<typeof PrivateJwk>;

interface Variable {
  /** Parses the text of the variable; undefined = the variable is absent. */
  readonly schema: z.ZodType;
  /** The text to parse when the variable is absent; null = there is no default. */
  readonly fallback: string | null;
  readonly about: string;
  readonly secret?: true;
}

const variable = <S extends z.ZodType>(schema: S, fallback: string | null, about: string) => ({
  schema,
  fallback,
  about,
});
const secret = <S extends z.ZodType>(schema: S, about: string) => ({
  schema,
  fallback: null,
  about,
  secret: true as const,
});

/** All variables, without their prefix. */
const variables = {
  MODE: variable(
    z.enum(['development', 'production'], 'must be development or production'),
    'development',
    'In `production` the server does not start with generated keys or unsafe settings.',
  ),
  HOST: variable(host(), '127.0.0.1', 'The address to listen on.'),
  PORT: variable(integer(1, 65_535), '4600', 'The port to listen on.'),
  PUBLIC_URL: variable(
    url().optional(),
    null,
    'The URL at which clients reach this server, without `/mcp`. Default: `http://HOST:PORT`. Required in production, with `https`.',
  ),
  DATA_DIR: variable(
    path(),
    './data',
    'The directory of the store and of generated keys. Created if missing, accessible to its owner only.',
  ),
  STORE_KEY: secret(
    storeKey().optional(),
    'The key that encrypts callback URLs and secrets at rest: base64 of 32 bytes. Required in production; in development it is generated into `DATA_DIR/store.key`.',
  ),
  STORE_MAX_BYTES: variable(
    integer(2 ** 20, 2 ** 50),
    String(4 * GIB),
    'The size at which the store rejects new events. Acknowledging and trimming still work.',
  ),
  MAX_EVENT_BYTES: variable(
    integer(EVENT_BYTES_MAX, 2 ** 30),
    String(4 * MIB),
    'The largest data of an event that is stored, in bytes. Data above 240 KiB are delivered by reference to clients that declare it.',
  ),
  DELIVERY_KEY: secret(
    privateJwk().optional(),
    'The key that signs deliveries (`MCP-Delivery-Signature`): an Ed25519 private JWK. Required in production; in development it is generated into `DATA_DIR/delivery.jwk`.',
  ),
  DELIVERY_KEYS_PUBLISHED: variable(
    publicJwks(),
    '[]',
    'More keys to publish, as a list of Ed25519 public JWKs: the next `DELIVERY_KEY` from ten minutes before its use, and the previous one until ten minutes after.',
  ),
  AUTH_ISSUER: variable(
    url().optional(),
    null,
    'The issuer (`iss`) of accepted access tokens. Required in production; in development the server makes its own issuer and writes a token to `DATA_DIR/token`.',
  ),
  AUTH_JWKS_URI: variable(
    url().optional(),
    null,
    'The URL of the public keys of `AUTH_ISSUER`. Set both or neither.',
  ),
  AUTH_AUDIENCE: variable(
    url().optional(),
    null,
    'The audience (`aud`) of accepted access tokens. Default: `PUBLIC_URL/mcp`.',
  ),
  DEV_TOKEN_FILE: variable(
    path().optional(),
    null,
    'The file to which the server writes the access token in development. Default: `DATA_DIR/token`.',
  ),
  ALLOWED_HOSTS: variable(
    list(),
    '',
    'Further host names that requests to `/mcp` may use, comma separated. The host of `PUBLIC_URL` is always allowed; if it is a loopback host, so are the other loopback names.',
  ),
  ALLOWED_ORIGINS: variable(
    list(),
    '',
    'Further host names whose web pages may call `/mcp`, comma separated.',
  ),
  SHARED_CLIENTS: variable(
    list(),
    '',
    'Clients (`client_id` or `azp` of the token), comma separated, that share the subscriptions of their user: each of them can change and acknowledge what the others created. Without it, every client has its own.',
  ),
  TTL_MIN_MS: variable(
    integer(1000, 365 * DAY_MS),
    '60000',
    'The shortest lifetime that a subscription gets.',
  ),
  TTL_DEFAULT_MS: variable(
    integer(1000, 365 * DAY_MS),
    '3600000',
    'The lifetime of a subscription if the client suggests none.',
  ),
  TTL_MAX_MS: variable(
    integer(1000, 365 * DAY_MS),
    String(30 * DAY_MS),
    'The longest lifetime that a subscription gets.',
  ),
  ALLOW_NO_EXPIRY: variable(
    flag(),
    'true',
    'Whether a client that requests it (`noExpiry: true`) gets a subscription that never expires.',
  ),
  MAX_SUSPENDED_MS: variable(
    integer(60_000, 3650 * DAY_MS),
    String(30 * DAY_MS),
    'Time in milliseconds after which a suspended subscription without expiry ends if nothing has read it.',
  ),
  MAX_SUBSCRIPTIONS_PER_PRINCIPAL: variable(
    integer(1, 1_000_000),
    '1000',
    'Subscriptions per principal; more are rejected with `ResourceExhausted`.',
  ),
  MAX_STREAMS_PER_PRINCIPAL: variable(
    integer(1, 100_000),
    '32',
    'Open streams per principal; more are rejected with `ResourceExhausted`.',
  ),
  MAX_REQUESTS_PER_MINUTE: variable(
    integer(1, 1_000_000),
    '1200',
    'Requests per principal and minute; more are rejected with 429 and `Retry-After`.',
  ),
  MAX_SESSIONS: variable(
    integer(1, 1_000_000),
    '1000',
    'Open sessions (2025-11-25 clients) of all principals; one principal gets at most a tenth. At the limit a new session replaces an unused one of the same principal, or is rejected with `ResourceExhausted`.',
  ),
  SESSION_IDLE_MS: variable(
    integer(1000, DAY_MS),
    '1800000',
    'Time without a request or an open response after which a session (2025-11-25 clients) ends.',
  ),
  GITHUB_SECRET: secret(
    z.string().min(16, 'must have at least 16 characters').optional(),
    'The secret of the GitHub webhook that posts to `/sources/github`. Enables this source.',
  ),
  WATCH_FOLDER: variable(
    path().optional(),
    null,
    'The folder whose changes become events. The data directory and names that start with a dot are left out. Enables this source.',
  ),
  SCHEDULES: variable(
    schedules().optional(),
    null,
    'Schedules that become events, as `name=cron;name=cron`: five fields, or six with seconds first, in UTC. Enables this source.',
  ),
  UNSAFE_ALLOW_HTTP_LOOPBACK_CALLBACKS: variable(
    flag(),
    'false',
    'Development only: allows `http` callbacks to loopback addresses.',
  ),
  EVENTS_PROFILE: variable(
    z.enum(['sketch', 'suite', 'sep'], 'must be sketch, suite or sep'),
    'sketch',
    'The profile of `events/*` for clients that do not declare that extension: see `sep/mapping-events.md`.',
  ),
  EVENTS_ALWAYS_EXPIRE: variable(
    flag(),
    'false',
    'Whether webhooks of `events/*` that ask for no expiry get the longest lifetime instead, for receivers that require an instant in `refreshBefore`.',
  ),
  EVENTS_WEBHOOK_ID: variable(
    z.enum(['eventId', 'message'], 'must be eventId or message'),
    'eventId',
    'The `webhook-id` of an event for clients that declare `events/*`: its `eventId`, or an id for each message.',
  ),
  FIXTURES: variable(
    z.enum(['conformance'], 'must be conformance').optional(),
    null,
    'Development only, for tests: adds the tools, prompts and resources that the official conformance suite needs. Every client with a token may use them.',
  ),
  METRICS: variable(
    flag(),
    'true',
    'Whether `/metrics` serves Prometheus metrics. They name no principal and no subscription.',
  ),
  LOG_LEVEL: variable(
    z.enum(['debug', 'info', 'warn', 'error'], 'must be debug, info, warn or error'),
    'info',
    'The least severe level that is logged (to stderr).',
  ),
  LOG_FORMAT: variable(
    z.enum(['text', 'json'], 'must be text or json').optional(),
    null,
    'The format of logs. Default: `text` in development, `json` in production.',
  ),
  SHUTDOWN_GRACE_MS: variable(
    integer(0, 300_000),
    '15000',
    'Time for which a stopping server waits for open responses before it closes their connections.',
  ),
} as const satisfies Record<string, Variable>;

type Name = keyof typeof variables;
type Values = { readonly [N in Name]: z.output<(typeof variables)[N]['schema']> };

/** The parsed configuration. Members have the names of their variables. */
export interface Config extends Omit<Values, 'PUBLIC_URL' | 'LOG_FORMAT'> {
  readonly PUBLIC_URL: URL;
  readonly LOG_FORMAT: 'text' | 'json';
  /** The URL of the MCP endpoint, which is also the resource identifier (RFC 8707). */
  readonly resource: URL;
}

/** The documentation of a variable. */
export interface VariableDescription {
  readonly name: string;
  readonly fallback: string | null;
  readonly about: string;
  readonly secret: boolean;
}

/** The documentation of all variables, for the README. */
export function describeConfig(): VariableDescription[] {
  return Object.entries<Variable>(variables).map(
    ([name, { fallback, about, secret: hidden = false }]) => ({
      name: PREFIX + name,
      fallback,
      about,
      secret: hidden,
    }),
  );
}

/** The environment is not valid. The message lists the problems, one per line, without values. */
export class ConfigError extends Error {
  override readonly name = 'ConfigError';
  readonly problems: readonly string[];

  constructor(problems: readonly string[]) {
    super(
      `The configuration is not valid:\n${problems.map((problem) => `  ${problem}`).join('\n')}`,
    );
    this.problems = problems;
  }
}

/**
 * Reads the configuration from `env`. An empty variable counts as absent. An unknown variable with
 * the prefix is an error, because a misspelled limit would otherwise have no effect.
 * @throws ConfigError
 */
export function loadConfig(env: Readonly<Record<string, string | undefined>>): Config {
  const problems: string[] = [];
  for (const name of Object.keys(env)) {
    if (name.startsWith(PREFIX) && !Object.hasOwn(variables, name.slice(PREFIX.length)))
      problems.push(`${name}: unknown variable; correct its name or remove it`);
  }
  const read: Record<string, unknown> = {};
  for (const [name, { schema, fallback }] of Object.entries<Variable>(variables)) {
    const text = env[PREFIX + name];
    const parsed = schema.safeParse((text === '' ? undefined : text) ?? fallback ?? undefined);
    if (parsed.success) read[name] = parsed.data;
    else problems.push(...parsed.error.issues.map((issue) => `${PREFIX}${name}: ${issue.message}`));
  }
  if (problems.length > 0) throw new ConfigError(problems);
  const config = complete(read as Values);
  const conflicts = conflictsIn(config, (read as Values).PUBLIC_URL !== undefined);
  if (conflicts.length > 0) throw new ConfigError(conflicts);
  return config;
}

function complete(values: Values): Config {
  const name = values.HOST === '0.0.0.0' || values.HOST === '::' ? 'localhost' : values.HOST;
  const PUBLIC_URL = values.PUBLIC_URL ?? new URL(`http://${authorityOf(name, values.PORT)}`);
  return {
    ...values,
    PUBLIC_URL,
    LOG_FORMAT: values.LOG_FORMAT ?? (values.MODE === 'production' ? 'json' : 'text'),
    resource: new URL(`${PUBLIC_URL.href.replace(/\/$/, '')}/mcp`),
  };
}

/** The problems of variables that are valid alone but not together, or not in production. */
function conflictsIn(config: Config, publicUrlGiven: boolean): string[] {
  const production = config.MODE === 'production';
  const rules: readonly (readonly [broken: boolean, problem: string])[] = [
    [config.PUBLIC_URL.search !== '', 'TRIGGERS_PUBLIC_URL: must not have a query'],
    [
      (config.AUTH_ISSUER === undefined) !== (config.AUTH_JWKS_URI === undefined),
      'TRIGGERS_AUTH_ISSUER and TRIGGERS_AUTH_JWKS_URI: set both or neither',
    ],
    [
      config.TTL_MIN_MS > config.TTL_DEFAULT_MS,
      'TRIGGERS_TTL_MIN_MS: must not be above TRIGGERS_TTL_DEFAULT_MS',
    ],
    [
      config.TTL_DEFAULT_MS > config.TTL_MAX_MS,
      'TRIGGERS_TTL_DEFAULT_MS: must not be above TRIGGERS_TTL_MAX_MS',
    ],
    [
      production && (!publicUrlGiven || config.PUBLIC_URL.protocol !== 'https:'),
      'TRIGGERS_PUBLIC_URL: required in production, with https',
    ],
    [
      production && config.AUTH_ISSUER === undefined,
      'TRIGGERS_AUTH_ISSUER: required in production; the development issuer knows one user only',
    ],
    [
      production &&
        config.AUTH_JWKS_URI !== undefined &&
        config.AUTH_JWKS_URI.protocol !== 'https:',
      'TRIGGERS_AUTH_JWKS_URI: must use https in production',
    ],
    [
      production && config.STORE_KEY === undefined,
      'TRIGGERS_STORE_KEY: required in production; a key stored beside the data does not protect it',
    ],
    [
      production && config.DELIVERY_KEY === undefined,
      'TRIGGERS_DELIVERY_KEY: required in production, so that receivers keep trusting it when the data directory is replaced',
    ],
    [
      production && config.UNSAFE_ALLOW_HTTP_LOOPBACK_CALLBACKS,
      'TRIGGERS_UNSAFE_ALLOW_HTTP_LOOPBACK_CALLBACKS: must not be set in production',
    ],
    [
      production && config.FIXTURES !== undefined,
      'TRIGGERS_FIXTURES: must not be set in production',
    ],
  ];
  return rules.filter(([broken]) => broken).map(([, problem]) => problem);
}

/** The configured secrets as text, for removing them from the log. */
export function secretsOf(config: Config): string[] {
  const { STORE_KEY, DELIVERY_KEY, GITHUB_SECRET } = config;
  return [
    STORE_KEY && Buffer.from(STORE_KEY).toString('base64'),
    DELIVERY_KEY?.d,
    GITHUB_SECRET,
  ].filter((text) => text !== undefined);
}

function jsonOrNull(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return null;
  }
}
