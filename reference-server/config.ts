/**
 * The reference server's configuration: environment variables, described once. The table below is at the same time the
 * parser, the documentation (`describeConfig`) and the list of what must never be printed.
 */
import { resolve } from 'node:path';
import { z } from 'zod';

const PREFIX = 'TRIGGERS_';

const DAY_MS = 86_400_000;
const GIB = 2 ** 30;

const integer = (min: number, max: number) =>
  z
    .string()
    .regex(/^[0-9]{1,16}$/, 'must be a whole number')
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
const url = () =>
  z.string().transform((text, context) => {
    const parsed = URL.canParse(text) ? new URL(text) : null;
    if (
      parsed &&
      /^https?:$/.test(parsed.protocol) &&
      parsed.username === '' &&
      parsed.password === '' &&
      parsed.hash === ''
    )
      return parsed;
    context.addIssue({
      code: 'custom',
      message: 'must be an absolute http or https URL without credentials and fragment',
    });
    return z.NEVER;
  });
const path = () => z.string().transform((text) => resolve(text));
const storeKey = () =>
  z.string().transform((text, context) => {
    const bytes = Buffer.from(text, 'base64');
    if (bytes.length === 32 && bytes.toString('base64') === text) return new Uint8Array(bytes);
    context.addIssue({
      code: 'custom',
      message: 'must be base64 of exactly 32 bytes, for example from: openssl rand -base64 32',
    });
    return z.NEVER;
  });
const privateJwk = () =>
  z.string().transform((text, context) => {
    const checked = PrivateJwk.safeParse(jsonOrNull(text));
    if (checked.success) return checked.data;
    context.addIssue({
      code: 'custom',
      message:
        'must be an Ed25519 private key as JWK: {"kty":"OKP","crv":"Ed25519","x":"…","d":"…"}',
    });
    return z.NEVER;
  });
const schedules = () =>
  z.string().transform((text, context) => {
    const pairs = text
      .split(';')
      .map((pair) => pair.trim())
      .filter((pair) => pair !== '')
      .map((pair) => /^([A-Za-z0-9_.-]{1,64})=(.+)$/.exec(pair));
    if (pairs.every((pair) => pair !== null))
      return pairs.map(([, name, cron]) => ({ name: name ?? '', cron: (cron ?? '').trim() }));
    context.addIssue({
      code: 'custom',
      message: 'must look like name=cron;name=cron, for example nightly=0 3 * * *',
    });
    return z.NEVER;
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
  /** Reads the text of the variable; optional ones may be absent. */
  readonly schema: z.ZodType;
  /** What applies when it is absent, as one would write it; null = nothing. */
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

/** Every variable, without its prefix. */
const variables = {
  MODE: variable(
    z.enum(['development', 'production'], 'must be development or production'),
    'development',
    '`production` refuses to start with anything generated or unsafe.',
  ),
  HOST: variable(z.string(), '127.0.0.1', 'Address to listen on.'),
  PORT: variable(integer(1, 65_535), '4600', 'Port to listen on.'),
  PUBLIC_URL: variable(
    url().optional(),
    null,
    'Where clients reach this server, without `/mcp`. Default: `http://HOST:PORT`. Required in production, where it must be `https`.',
  ),
  DATA_DIR: variable(
    path(),
    './data',
    'Directory of the store and of generated keys. Created if missing, readable by the owner only.',
  ),
  STORE_KEY: secret(
    storeKey().optional(),
    'Encrypts callback URLs and secrets at rest: base64 of 32 bytes. Development generates one into `DATA_DIR/store.key`; production requires it.',
  ),
  STORE_MAX_BYTES: variable(
    integer(2 ** 20, 2 ** 50),
    String(4 * GIB),
    'Size at which the store refuses new events. Acknowledging and trimming still work.',
  ),
  DELIVERY_KEY: secret(
    privateJwk().optional(),
    'Signs deliveries (`MCP-Delivery-Signature`): an Ed25519 private JWK. Generated into `DATA_DIR/delivery.jwk` when absent.',
  ),
  AUTH_ISSUER: variable(
    url().optional(),
    null,
    'Issuer (`iss`) of accepted access tokens. Development without it makes its own issuer and writes a token to `DATA_DIR/token`.',
  ),
  AUTH_JWKS_URI: variable(
    url().optional(),
    null,
    'Public keys of `AUTH_ISSUER`. Required together with it.',
  ),
  AUTH_AUDIENCE: variable(
    url().optional(),
    null,
    'Audience (`aud`) of accepted access tokens. Default: `PUBLIC_URL/mcp`.',
  ),
  DEV_TOKEN_FILE: variable(
    path().optional(),
    null,
    'Where development writes its access token. Default: `DATA_DIR/token`.',
  ),
  ALLOWED_HOSTS: variable(
    list(),
    '',
    'More host names, comma separated, that requests to `/mcp` may name besides that of `PUBLIC_URL` and, on loopback, `localhost`.',
  ),
  ALLOWED_ORIGINS: variable(
    list(),
    '',
    'More host names, comma separated, whose web pages may call `/mcp`.',
  ),
  TTL_MIN_MS: variable(
    integer(1000, 365 * DAY_MS),
    '60000',
    'Shortest lifetime of a subscription that is granted.',
  ),
  TTL_DEFAULT_MS: variable(
    integer(1000, 365 * DAY_MS),
    '3600000',
    'Lifetime when the client suggests none.',
  ),
  TTL_MAX_MS: variable(
    integer(1000, 365 * DAY_MS),
    String(30 * DAY_MS),
    'Longest lifetime of a subscription that is granted.',
  ),
  ALLOW_NO_EXPIRY: variable(
    flag(),
    'true',
    'Grant `ttlMs: null`: subscriptions that never expire.',
  ),
  MAX_SUBSCRIPTIONS_PER_PRINCIPAL: variable(
    integer(1, 1_000_000),
    '1000',
    'More are refused with `ResourceExhausted`.',
  ),
  MAX_STREAMS_PER_PRINCIPAL: variable(
    integer(1, 100_000),
    '32',
    'Streams open at once; more are refused with `ResourceExhausted`.',
  ),
  MAX_REQUESTS_PER_MINUTE: variable(
    integer(1, 1_000_000),
    '1200',
    'Requests per principal; more are refused with 429 and `Retry-After`.',
  ),
  MAX_SESSIONS: variable(
    integer(1, 1_000_000),
    '1000',
    'Sessions of 2025-11-25 clients open at once, all principals together.',
  ),
  SESSION_IDLE_MS: variable(
    integer(1000, DAY_MS),
    '1800000',
    'A 2025-11-25 session with nothing open is ended after this long without a request.',
  ),
  GITHUB_SECRET: secret(
    z.string().min(16, 'must have at least 16 characters').optional(),
    'Secret of the GitHub webhook that posts to `/sources/github`. Without it that source is off.',
  ),
  WATCH_FOLDER: variable(
    path().optional(),
    null,
    'Folder whose changes become events. Without it that source is off.',
  ),
  SCHEDULES: variable(
    schedules().optional(),
    null,
    'Schedules that become events, `name=cron;name=cron`: five fields, or six with seconds first, in UTC. Without it that source is off.',
  ),
  UNSAFE_ALLOW_HTTP_LOOPBACK_CALLBACKS: variable(
    flag(),
    'false',
    'Development only: deliver to `http` callbacks on loopback addresses.',
  ),
  EVENTS_PROFILE: variable(
    z.enum(['sketch', 'suite', 'sep'], 'must be sketch, suite or sep'),
    'sketch',
    'How a client of `events/*` is spoken to that does not declare that extension: see `sep/mapping-events.md`.',
  ),
  FIXTURES: variable(
    z.enum(['conformance'], 'must be conformance').optional(),
    null,
    'Development only, for tests: adds the tools, prompts and resources that the official conformance suite asks for. Whoever has a token may call them.',
  ),
  METRICS: variable(
    flag(),
    'true',
    'Serve Prometheus metrics at `/metrics`. They name no principal and no subscription.',
  ),
  LOG_LEVEL: variable(
    z.enum(['debug', 'info', 'warn', 'error'], 'must be debug, info, warn or error'),
    'info',
    'Least severe level that is logged, to stderr.',
  ),
  LOG_FORMAT: variable(
    z.enum(['text', 'json'], 'must be text or json').optional(),
    null,
    'Default: `text` in development, `json` in production.',
  ),
  SHUTDOWN_GRACE_MS: variable(
    integer(0, 300_000),
    '15000',
    'How long a stop waits for open responses before it cuts them.',
  ),
} as const satisfies Record<string, Variable>;

type Name = keyof typeof variables;
type Values = { readonly [N in Name]: z.output<(typeof variables)[N]['schema']> };

/** The configuration, ready to use. Members have the names of their variables. */
export interface Config extends Omit<Values, 'PUBLIC_URL' | 'LOG_FORMAT'> {
  readonly PUBLIC_URL: URL;
  readonly LOG_FORMAT: 'text' | 'json';
  /** The MCP endpoint, which is also this server's resource identifier (RFC 8707). */
  readonly resource: URL;
}

/** One row of the documentation. */
export interface VariableDescription {
  readonly name: string;
  readonly fallback: string | null;
  readonly about: string;
  readonly secret: boolean;
}

/** Every variable in the order of the table, for the README and for a test that it names them all. */
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

/** Lists everything that is wrong with the environment, one line each. Repeats no value. */
export class ConfigError extends Error {
  override readonly name = 'ConfigError';
  readonly problems: readonly string[];

  constructor(problems: readonly string[]) {
    super(
      `The configuration is not usable:\n${problems.map((problem) => `  ${problem}`).join('\n')}`,
    );
    this.problems = problems;
  }
}

/**
 * Reads the environment. An empty variable counts as absent; an unknown one with our prefix is an error, because a misspelt
 * limit that limits nothing is worse than a server that does not start.
 * @throws ConfigError
 */
export function loadConfig(env: Readonly<Record<string, string | undefined>>): Config {
  const problems: string[] = [];
  for (const name of Object.keys(env)) {
    if (name.startsWith(PREFIX) && !Object.hasOwn(variables, name.slice(PREFIX.length)))
      problems.push(`${name}: there is no such variable`);
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
  const authority =
    values.HOST === '0.0.0.0' || values.HOST === '::'
      ? 'localhost'
      : values.HOST.includes(':')
        ? `[${values.HOST}]`
        : values.HOST;
  const PUBLIC_URL = values.PUBLIC_URL ?? new URL(`http://${authority}:${values.PORT}`);
  return {
    ...values,
    PUBLIC_URL,
    LOG_FORMAT: values.LOG_FORMAT ?? (values.MODE === 'production' ? 'json' : 'text'),
    resource: new URL(`${PUBLIC_URL.href.replace(/\/$/, '')}/mcp`),
  };
}

/** What is wrong between variables that are fine by themselves. */
function conflictsIn(config: Config, publicUrlGiven: boolean): string[] {
  const production = config.MODE === 'production';
  const rules: readonly (readonly [broken: boolean, problem: string])[] = [
    [config.PUBLIC_URL.search !== '', 'TRIGGERS_PUBLIC_URL: must have no query'],
    [
      (config.AUTH_ISSUER === undefined) !== (config.AUTH_JWKS_URI === undefined),
      'TRIGGERS_AUTH_ISSUER and TRIGGERS_AUTH_JWKS_URI: set both or none',
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
      'TRIGGERS_AUTH_ISSUER: required in production; a server without an issuer would have to invent its users',
    ],
    [
      production &&
        config.AUTH_JWKS_URI !== undefined &&
        config.AUTH_JWKS_URI.protocol !== 'https:',
      'TRIGGERS_AUTH_JWKS_URI: must use https in production',
    ],
    [
      production && config.STORE_KEY === undefined,
      'TRIGGERS_STORE_KEY: required in production; a key generated beside the data would protect nothing',
    ],
    [
      production && config.DELIVERY_KEY === undefined,
      'TRIGGERS_DELIVERY_KEY: required in production, so that receivers can go on trusting it when the data directory is replaced',
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

/** The configured secrets as texts, so that the log can make sure it never writes one. */
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
