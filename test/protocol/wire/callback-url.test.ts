/**
 * Tests signed callback URLs: a minted URL is recognized by its own receiver only, until it
 * expires.
 */
import { describe, test } from 'vitest';
import assert from 'node:assert/strict';
import { generateKeyPairSync } from 'node:crypto';
import fc from 'fast-check';
import {
  mintCallbackUrl,
  verifyCallbackUrl,
  type MintOptions,
} from '../../../src/protocol/wire/callback-url.ts';
import { LocalError } from '../../../src/protocol/wire/errors.ts';
import { check } from '../../../src/protocol/wire/validate.ts';

const { privateKey, publicKey } = generateKeyPairSync('ed25519');
const now = 1_795_253_400_000;
const options: MintOptions = {
  endpoint: 'https://hooks.example.com/mcp/7f3a',
  key: 'deploys-prod',
  audience: 'https://mcp.example.com/mcp',
  issuer: 'https://hooks.example.com',
  privateKey,
  now,
  ttlSeconds: 3600,
};
const mint = (change: Partial<MintOptions> = {}) => mintCallbackUrl({ ...options, ...change });
const verify = (url: string | URL, change: object = {}) =>
  verifyCallbackUrl(url, { publicKeys: publicKey, issuer: options.issuer, now, ...change });
const refusedAs =
  (reason: string) =>
  (error: unknown): boolean =>
    error instanceof LocalError && error.code === 'token_invalid' && error.reason === reason;

describe('a minted callback URL', () => {
  test('[curl-claims] returns its claims', async () => {
    const claims = await verify(await mint({ jti: 'a'.repeat(16) }));
    assert.deepEqual(claims, {
      iss: options.issuer,
      aud: options.audience,
      sub: options.key,
      htp: '/mcp/7f3a',
      exp: now / 1000 + 3600,
      iat: now / 1000,
      jti: 'a'.repeat(16),
    });
  });

  test('is a callback URL by the schema', async () => {
    assert.equal(
      check('Callback', { url: await mint(), secret: `whsec_${'A'.repeat(32)}` }).ok,
      true,
    );
  });

  test('is recognized as text, as URL and as request target', async () => {
    const url = new URL(await mint());
    for (const form of [url.href, url, url.pathname + url.search])
      assert.equal((await verify(form)).sub, options.key);
  });

  test('keeps the parameters of the endpoint byte for byte', async () => {
    const url = await mint({ endpoint: 'https://hooks.example.com/mcp?tenant=%C3%A9+x' });
    assert.ok(url.startsWith('https://hooks.example.com/mcp?tenant=%C3%A9+x&cb='));
    assert.equal((await verify(url)).htp, '/mcp');
  });

  test('is recognized during key rotation, and by no other key', async () => {
    const other = generateKeyPairSync('ed25519').publicKey;
    assert.equal((await verify(await mint(), { publicKeys: [other, publicKey] })).sub, options.key);
    await assert.rejects(verify(await mint(), { publicKeys: [other] }), refusedAs('no_match'));
    await assert.rejects(verify(await mint(), { publicKeys: [] }), refusedAs('no_match'));
  });

  test('[curl-aud] names one server out of several', async () => {
    const url = await mint();
    assert.equal(
      (await verify(url, { audience: ['https://other.example.com', options.audience] })).aud,
      options.audience,
    );
    await assert.rejects(
      verify(url, { audience: ['https://other.example.com'] }),
      refusedAs('wrong_audience'),
    );
  });

  test('a request target that names another host cannot hide its path', async () => {
    const { search } = new URL(await mint());
    await assert.rejects(verify(`//hooks.example.com/mcp/7f3a${search}`), refusedAs('wrong_path'));
  });

  test('[curl-claims] is valid until the end of any lifetime and no longer', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.integer({ min: 1, max: 10 ** 6 }),
        fc.nat(2 * 10 ** 6),
        async (ttlSeconds, later) => {
          const url = await mint({ ttlSeconds });
          if (later < ttlSeconds)
            assert.equal((await verify(url, { now: now + later * 1000 })).sub, options.key);
          else await assert.rejects(verify(url, { now: now + later * 1000 }), refusedAs('expired'));
        },
      ),
      { numRuns: 40 },
    );
  });

  test('[err-no-value] no error repeats the URL, the token or a claim', async () => {
    const url = await mint({ jti: 'canary-canary-canary' });
    for (const change of [
      { issuer: 'x' },
      { audience: 'x' },
      { now: now + 1e10 },
      { publicKeys: generateKeyPairSync('ed25519').publicKey },
    ]) {
      await assert.rejects(verify(url, change), (error: unknown) => {
        const text = JSON.stringify([
          String(error),
          (error as Error).stack,
          (error as Error).cause,
          String((error as Error).cause),
        ]);
        return !text.includes('canary') && !text.includes(url.slice(-40));
      });
    }
  });
});

describe('minting refuses', () => {
  const table: readonly [title: string, change: Partial<MintOptions>][] = [
    ['a relative endpoint', { endpoint: '/mcp' }],
    ['an endpoint with a fragment', { endpoint: 'https://a.example/#x' }],
    ['an endpoint with user information', { endpoint: 'https://u:p@a.example/' }],
    ['an endpoint that already has the parameter', { endpoint: 'https://a.example/?cb=1' }],
    ['a key that no subscription can have', { key: 'deploys prod' }],
    ['a short jti', { jti: '1' }],
    ['a URL that would be too long', { endpoint: `https://a.example/${'x'.repeat(2000)}` }],
    ['an RSA key', { privateKey: generateKeyPairSync('rsa', { modulusLength: 2048 }).privateKey }],
    ['a public key', { privateKey: publicKey }],
  ];
  for (const [title, change] of table) {
    test(title, () =>
      assert.rejects(
        mint(change),
        (error: unknown) => error instanceof LocalError && error.code === 'config_invalid',
      ),
    );
  }
});
