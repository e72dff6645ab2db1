/**
 * Tests configuration: every mistake is reported in one message, no value is repeated, and
 * production rejects development defaults.
 */
import assert from 'node:assert/strict';
import { describe, test } from 'vitest';
import {
  ConfigError,
  describeConfig,
  loadConfig,
  secretsOf,
} from '../../reference-server/config.ts';

const key = Buffer.alloc(32, 1).toString('base64');
const jwk = JSON.stringify({ kty: 'OKP', crv: 'Ed25519', x: 'x'.repeat(43), d: 'd'.repeat(43) });
const production = {
  TRIGGERS_MODE: 'production',
  TRIGGERS_PUBLIC_URL: 'https://triggers.example',
  TRIGGERS_STORE_KEY: key,
  TRIGGERS_DELIVERY_KEY: jwk,
  TRIGGERS_AUTH_ISSUER: 'https://id.example',
  TRIGGERS_AUTH_JWKS_URI: 'https://id.example/jwks.json',
};

function problems(env: Record<string, string>): readonly string[] {
  try {
    loadConfig(env);
    return [];
  } catch (error) {
    assert.ok(error instanceof ConfigError);
    return error.problems;
  }
}

test('an empty environment is a development server on loopback', () => {
  const config = loadConfig({});
  assert.deepEqual(
    [config.MODE, config.HOST, config.PORT, config.resource.href, config.LOG_FORMAT],
    ['development', '127.0.0.1', 4600, 'http://127.0.0.1:4600/mcp', 'text'],
  );
});

test('a complete production environment is accepted', () => {
  const config = loadConfig(production);
  assert.equal(config.resource.href, 'https://triggers.example/mcp');
  assert.deepEqual(secretsOf(config), [key, 'd'.repeat(43)]);
});

test('a public URL may have a path', () => {
  assert.equal(
    loadConfig({ TRIGGERS_PUBLIC_URL: 'https://a.example/base/' }).resource.href,
    'https://a.example/base/mcp',
  );
});

test('an empty variable counts as absent', () => {
  assert.equal(loadConfig({ TRIGGERS_PORT: '' }).PORT, 4600);
});

test('all mistakes are reported at once, and no value is repeated', () => {
  const canary = 'canary-31ab';
  const told = problems({
    TRIGGERS_PORT: canary,
    TRIGGERS_STORE_KEY: canary,
    TRIGGERS_DELIVERY_KEY: canary,
    TRIGGERS_GITHUB_SECRET: 'short',
    TRIGGERS_PROT: '1',
  });
  assert.deepEqual(
    told.map((problem) => problem.split(':')[0]),
    [
      'TRIGGERS_PROT',
      'TRIGGERS_PORT',
      'TRIGGERS_STORE_KEY',
      'TRIGGERS_DELIVERY_KEY',
      'TRIGGERS_GITHUB_SECRET',
    ],
  );
  assert.ok(!told.join().includes(canary));
});

describe('one mistake, one problem', () => {
  const rows: readonly (readonly [about: string, env: Record<string, string>, problem: RegExp])[] =
    [
      [
        'a port above the range',
        { TRIGGERS_PORT: '65536' },
        /TRIGGERS_PORT: must be at most 65535/,
      ],
      [
        'a host with a port',
        { TRIGGERS_HOST: '127.0.0.1:4600' },
        /TRIGGERS_HOST: must be an IP address or a host name/,
      ],
      [
        'an address with a number above 255',
        { TRIGGERS_HOST: '300.1.1.1' },
        /TRIGGERS_HOST: must be an IP address or a host name/,
      ],
      [
        'a negative number',
        { TRIGGERS_TTL_MIN_MS: '-1' },
        /TRIGGERS_TTL_MIN_MS: must be a whole number/,
      ],
      [
        'a number as a word',
        { TRIGGERS_MAX_SESSIONS: 'many' },
        /TRIGGERS_MAX_SESSIONS: must be a whole number/,
      ],
      [
        'a flag that is neither true nor false',
        { TRIGGERS_METRICS: 'yes' },
        /TRIGGERS_METRICS: must be true or false/,
      ],
      [
        'a URL with credentials',
        { TRIGGERS_PUBLIC_URL: 'https://u:p@a.example' },
        /TRIGGERS_PUBLIC_URL: must be an absolute http/,
      ],
      [
        'a file URL',
        { TRIGGERS_AUTH_ISSUER: 'file:///etc' },
        /TRIGGERS_AUTH_ISSUER: must be an absolute http/,
      ],
      [
        'a store key of 16 bytes',
        { TRIGGERS_STORE_KEY: Buffer.alloc(16).toString('base64') },
        /TRIGGERS_STORE_KEY: must be base64 of exactly 32 bytes/,
      ],
      [
        'a public key as signing key',
        { TRIGGERS_DELIVERY_KEY: '{"kty":"OKP","crv":"Ed25519","x":"a"}' },
        /TRIGGERS_DELIVERY_KEY: must be an Ed25519 private key/,
      ],
      [
        'a private key among the published ones',
        { TRIGGERS_DELIVERY_KEYS_PUBLISHED: `[${jwk}]` },
        /TRIGGERS_DELIVERY_KEYS_PUBLISHED: must be a list of at most 8 Ed25519 public keys/,
      ],
      ['unknown fixtures', { TRIGGERS_FIXTURES: 'true' }, /TRIGGERS_FIXTURES: must be conformance/],
      [
        'a schedule without a name',
        { TRIGGERS_SCHEDULES: '* * * * *' },
        /TRIGGERS_SCHEDULES: must have the form/,
      ],
      [
        'an issuer without its keys',
        { TRIGGERS_AUTH_ISSUER: 'https://id.example' },
        /set both or neither/,
      ],
      [
        'a floor above the default',
        { TRIGGERS_TTL_MIN_MS: '7200000' },
        /TRIGGERS_TTL_MIN_MS: must not be above/,
      ],
      [
        'a default above the ceiling',
        { TRIGGERS_TTL_MAX_MS: '100000' },
        /TRIGGERS_TTL_DEFAULT_MS: must not be above/,
      ],
      ...Object.entries({
        TRIGGERS_PUBLIC_URL: /TRIGGERS_PUBLIC_URL: required in production/,
        TRIGGERS_STORE_KEY: /TRIGGERS_STORE_KEY: required in production/,
        TRIGGERS_DELIVERY_KEY: /TRIGGERS_DELIVERY_KEY: required in production/,
      }).map(
        ([name, problem]) =>
          [`production without ${name}`, { ...production, [name]: '' }, problem] as const,
      ),
      [
        'production without an issuer',
        { ...production, TRIGGERS_AUTH_ISSUER: '', TRIGGERS_AUTH_JWKS_URI: '' },
        /TRIGGERS_AUTH_ISSUER: required in production/,
      ],
      [
        'production over http',
        { ...production, TRIGGERS_PUBLIC_URL: 'http://a.example' },
        /TRIGGERS_PUBLIC_URL: required in production, with https/,
      ],
      [
        'production with keys over http',
        { ...production, TRIGGERS_AUTH_JWKS_URI: 'http://id.example/k' },
        /TRIGGERS_AUTH_JWKS_URI: must use https/,
      ],
      [
        'production with fixtures',
        { ...production, TRIGGERS_FIXTURES: 'conformance' },
        /TRIGGERS_FIXTURES: must not be set in production/,
      ],
      [
        'production with the unsafe option',
        { ...production, TRIGGERS_UNSAFE_ALLOW_HTTP_LOOPBACK_CALLBACKS: 'true' },
        /must not be set in production/,
      ],
    ];
  for (const [about, env, problem] of rows) {
    test(about, () => {
      const told = problems(env);
      assert.equal(told.length, 1, told.join('\n'));
      assert.match(told[0] ?? '', problem);
    });
  }
});

test('schedules are read as name and cron', () => {
  assert.deepEqual(
    loadConfig({ TRIGGERS_SCHEDULES: 'nightly=0 3 * * *; hourly = 0 * * * *'.replace(' = ', '=') })
      .SCHEDULES,
    [
      { name: 'nightly', cron: '0 3 * * *' },
      { name: 'hourly', cron: '0 * * * *' },
    ],
  );
});

test('every variable is documented, and the secret ones are marked', () => {
  const rows = describeConfig();
  assert.ok(rows.every(({ name, about }) => name.startsWith('TRIGGERS_') && about.endsWith('.')));
  assert.deepEqual(
    rows.filter(({ secret }) => secret).map(({ name }) => name),
    ['TRIGGERS_STORE_KEY', 'TRIGGERS_DELIVERY_KEY', 'TRIGGERS_GITHUB_SECRET'],
  );
});
