/**
 * Tests every rejection by the endpoint and its error; nothing rejected ever reaches the
 * application.
 */
import assert from 'node:assert/strict';
import { generateKeyPairSync } from 'node:crypto';
import { inspect } from 'node:util';
import { describe, test } from 'vitest';
import { createLocalJWKSet, SignJWT } from 'jose';
import type { ReceiverItem } from '../../src/receiver/applier.ts';
import { createReceiver } from '../../src/receiver/receiver.ts';
import { memoryLedger, type Ledger } from '../../src/protocol/ledger/ledger.ts';
import { mintCallbackUrl } from '../../src/protocol/wire/callback-url.ts';
import {
  deliverySignatureHead,
  generateDeliveryKey,
  signDelivery,
} from '../../src/protocol/wire/delivery-jws.ts';
import { Secret } from '../../src/protocol/wire/secret.ts';
import {
  answer,
  deliveryOf,
  EPOCH,
  mount,
  post,
  request,
  signingKey,
  SUBSCRIPTION,
  WHO,
  type Mounted,
  type Posting,
} from './support.ts';

const ISSUER = 'https://hooks.example.com';
const DAY_S = 86_400;
const one = deliveryOf(0, [1]);

/** A registered, valid delivery with one thing changed. */
type Change = (good: Posting, mounted: Mounted) => Promise<Request> | Request;
const mintAs = (mounted: Mounted, changes: Partial<Parameters<typeof mintCallbackUrl>[0]>) =>
  mintCallbackUrl({
    endpoint: mounted.endpoint,
    ...WHO,
    issuer: ISSUER,
    privateKey: signingKey,
    now: Date.now(),
    ttlSeconds: DAY_S,
    ...changes,
  });
const withToken = (url: string, change: (token: string) => string): string =>
  url.replace(/cb=(.*)$/, (_, token: string) => `cb=${change(token)}`);
const signedToken = (mounted: Mounted, header: object, claims: object) =>
  new SignJWT({
    iss: ISSUER,
    aud: WHO.audience,
    sub: WHO.key,
    htp: '/callback',
    exp: 4_000_000_000,
    jti: 'j'.repeat(20),
    ...claims,
  })
    .setProtectedHeader({ alg: 'EdDSA', typ: 'mcp-callback+jwt', ...header })
    .sign(signingKey)
    .then((token) => `${mounted.endpoint}?cb=${token}`);

const TABLE: readonly [string, Change, string][] = [
  ['GET', ({ url }) => new Request(url), '405 method'],
  ['PUT', (good) => new Request(request(one, good), { method: 'PUT' }), '405 method'],
  [
    'another content type',
    (good) => request(one, { ...good, headers: { 'content-type': 'text/plain' } }),
    '415 content_type',
  ],
  [
    'no content type',
    (good) => request(one, { ...good, headers: { 'content-type': null } }),
    '415 content_type',
  ],
  [
    'a binary content type',
    (good) => request(one, { ...good, headers: { 'content-type': 'application/octet-stream' } }),
    '415 content_type',
  ],
  [
    'an encoded body',
    (good) => request(one, { ...good, headers: { 'content-encoding': 'gzip' } }),
    '415 content_encoding',
  ],
  [
    'a body of 256 KiB and one byte',
    (good) => request(one, { ...good, body: Buffer.alloc(262_145, 0x20) }),
    '413 too_large',
  ],
  [
    'no token',
    (good) => request(one, { ...good, url: good.url.split('?')[0]! }),
    '401 token_missing',
  ],
  [
    'two tokens',
    (good) => request(one, { ...good, url: `${good.url}&${good.url.split('?')[1]}` }),
    '401 token_missing',
  ],
  [
    'a token that is not a token',
    (good) => request(one, { ...good, url: withToken(good.url, () => 'x.y.z') }),
    '401 token_invalid',
  ],
  [
    'a token with a changed end',
    (good) =>
      request(one, { ...good, url: withToken(good.url, (token) => `${token.slice(0, -4)}AAAA`) }),
    '401 token_invalid',
  ],
  [
    'a token of another key',
    async (good, m) =>
      request(one, {
        ...good,
        url: await mintAs(m, { privateKey: generateKeyPairSync('ed25519').privateKey }),
      }),
    '401 token_invalid',
  ],
  [
    '[curl-alg] a token without a signature',
    (good) =>
      request(one, {
        ...good,
        url: withToken(
          good.url,
          (token) =>
            `${Buffer.from('{"alg":"none","typ":"mcp-callback+jwt"}').toString('base64url')}.${token.split('.')[1]}.`,
        ),
      }),
    '401 token_invalid',
  ],
  [
    '[curl-alg] a token of another type',
    async (good, m) => request(one, { ...good, url: await signedToken(m, { typ: 'at+jwt' }, {}) }),
    '401 token_invalid',
  ],
  [
    '[curl-claims] an expired token',
    async (good, m) =>
      request(one, { ...good, url: await mintAs(m, { now: Date.now() - 2000 * DAY_S }) }),
    '401 token_invalid',
  ],
  [
    '[curl-claims] a token of another receiver',
    async (good, m) =>
      request(one, { ...good, url: await mintAs(m, { issuer: 'https://other.example' }) }),
    '401 token_foreign',
  ],
  [
    '[curl-claims] a token for another path',
    async (good, m) =>
      request(one, { ...good, url: await signedToken(m, {}, { htp: '/elsewhere' }) }),
    '404 token_path',
  ],
  [
    'a token for a forgotten key',
    async (good, m) =>
      request(one, {
        ...good,
        url: await mintAs(m, { key: 'unknown', now: Date.now() - 120_000 }),
      }),
    '404 unknown_key',
  ],
  [
    '[ans-receiver-unknown] a fresh token for a key that is not registered yet',
    async (good, m) => request(one, { ...good, url: await mintAs(m, { key: 'unknown' }) }),
    '503 unknown_key_yet',
  ],
  [
    '[curl-aud] a token for another server',
    async (good, m) =>
      request(one, {
        ...good,
        url: await mintAs(m, { audience: 'https://evil.example/mcp', now: Date.now() - 120_000 }),
      }),
    '404 unknown_key',
  ],
  [
    '[curl-not-instead] no signature',
    (good) => request(one, { ...good, headers: { 'webhook-signature': null } }),
    '401 signature',
  ],
  [
    'no webhook-id',
    (good) => request(one, { ...good, headers: { 'webhook-id': null } }),
    '401 signature',
  ],
  [
    '[sig-grammar] a dot in the id',
    (good) => request(one, { ...good, headers: { 'webhook-id': 'msg.1' } }),
    '401 signature',
  ],
  [
    '[sig-grammar] junk after the timestamp',
    (good) =>
      request(one, {
        ...good,
        headers: { 'webhook-timestamp': `${Math.floor(Date.now() / 1000)}.0` },
      }),
    '401 signature',
  ],
  [
    '[sig-grammar] eleven signatures',
    (good) =>
      request(one, { ...good, secret: Array.from({ length: 11 }, () => good.secret as string) }),
    '401 signature',
  ],
  [
    'another secret',
    (good) => request(one, { ...good, secret: Secret.generate().reveal() }),
    '401 signature',
  ],
  [
    '[sig-window] 301 seconds old',
    (good) => request(one, { ...good, now: Date.now() - 301_500 }),
    '401 signature',
  ],
  [
    '[sig-window] 301 seconds ahead',
    (good) => request(one, { ...good, now: Date.now() + 301_500 }),
    '401 signature',
  ],
  [
    '[sig-raw-bytes] one byte of the body changed after signing',
    (good) => {
      const signed = request(one, good);
      return new Request(signed.url, {
        method: 'POST',
        headers: signed.headers,
        body: JSON.stringify({
          jsonrpc: '2.0',
          method: 'notifications/triggers/delivery',
          params: deliveryOf(0, [2]),
        }),
      });
    },
    '401 signature',
  ],
  [
    '[sig-subscription] another subscription in the header',
    (good) =>
      request(one, { ...good, headers: { 'mcp-subscription-id': 'sub_another00000000000000001' } }),
    '401 subscription_id',
  ],
  [
    'no subscription in the header',
    (good) => request(one, { ...good, headers: { 'mcp-subscription-id': null } }),
    '401 subscription_id',
  ],
  [
    '[curl-body] another key in the body',
    (good) => request({ ...one, key: 'other' }, good),
    '401 wrong_key',
  ],
  [
    'a body that is not JSON',
    (good) => request(one, { ...good, body: Buffer.from('{') }),
    '400 body',
  ],
  [
    'a body that is not UTF-8',
    (good) => request(one, { ...good, body: Buffer.from([0x22, 0xff, 0x22]) }),
    '400 body',
  ],
  [
    'a body 100,000 levels deep',
    (good) => request(one, { ...good, body: Buffer.from('['.repeat(100_000)) }),
    '400 body',
  ],
  [
    'another notification',
    (good) =>
      request(one, {
        ...good,
        body: Buffer.from('{"jsonrpc":"2.0","method":"notifications/other","params":{}}'),
      }),
    '400 body',
  ],
  ['a delivery with a number left out', (good) => request(deliveryOf(0, [1, 3]), good), '400 body'],
  ['numbers beyond 2^53', (good) => request(deliveryOf(0, [2 ** 53]), good), '400 body'],
];

test('[sig-refusal] an observer that throws does not change the answer', async () => {
  await using mounted = await mount({
    onRejectedRequest: () => {
      throw new Error('the metrics are down');
    },
  });
  const response = await mounted.receiver.fetch(new Request('https://receiver.example/nowhere'));
  assert.ok(response.status >= 400 && response.status < 500);
});

describe('[sig-refusal, sig-verify-first, sig-grammar, sig-window, sig-raw-bytes, sig-subscription, curl-refusal, curl-alg, curl-claims, curl-aud, curl-body, curl-not-instead, ans-receiver-malformed, ans-receiver-unknown] rejected requests', () => {
  for (const [name, change, expected] of TABLE) {
    test(`${name} → ${expected}`, async () => {
      const applied: ReceiverItem[] = [];
      const refused: [string, unknown][] = [];
      await using mounted = await mount({
        apply: (item) => {
          applied.push(item);
        },
        onRejectedRequest: (code, cause) => refused.push([code, cause]),
      });
      const good = await mounted.receiver.register(WHO);
      const bad = await change(good, mounted);
      const response = await mounted.receiver.fetch(bad);
      const text = await response.clone().text();
      assert.equal(await answer(Promise.resolve(response)), expected);
      assert.deepEqual(applied, []);
      assert.equal(refused[0]?.[0], expected.split(' ')[1]);
      const told = text + inspect(refused, { depth: 10, showHidden: true });
      assert.ok(
        !told.includes(good.secret) && !told.includes(good.url.split('cb=')[1]!),
        'the error contains neither secret nor token',
      );

      assert.deepEqual(
        await answer(post(one, good)),
        { ackSequence: 1 },
        'the valid delivery still gets through',
      );
    });
  }

  test('answers 413 to a long and to an endless body over real HTTP, and names the allowed method', async () => {
    await using mounted = await mount({ apply: () => undefined });
    const good = await mounted.receiver.register(WHO);
    assert.equal(
      await answer(
        fetch(good.url, {
          method: 'POST',
          body: 'x'.repeat(300_000),
          headers: { 'content-type': 'application/json' },
        }),
      ),
      '413 too_large',
    );
    const endless = new ReadableStream({
      pull: (controller) => {
        controller.enqueue(new Uint8Array(65_536));
      },
    });
    assert.equal(
      await answer(
        fetch(good.url, {
          method: 'POST',
          body: endless,
          headers: { 'content-type': 'application/json' },
          duplex: 'half',
        }),
      ),
      '413 too_large',
    );
    assert.equal((await fetch(good.url)).headers.get('allow'), 'POST');
  });

  test('answers 503 with Retry-After when no iterator accepts deliveries', async () => {
    await using mounted = await mount();
    const response = await post(one, await mounted.receiver.register(WHO));
    assert.equal(response.status, 503);
    assert.equal(response.headers.get('retry-after'), '1');
  });

  test('rejects invalid options', () => {
    for (const options of [
      { endpoint: 'nowhere' },
      { signingKey: generateKeyPairSync('ec', { namedCurve: 'P-256' }).privateKey },
    ]) {
      assert.throws(
        () =>
          createReceiver({
            endpoint: 'https://a.example/cb',
            issuer: ISSUER,
            signingKey,
            ...options,
          }),
        { code: 'config_invalid' },
      );
    }
  });
});

describe('[jws-verify, jws-no-header-keys, jws-refusal] server signature', () => {
  const key = generateDeliveryKey();
  const other = generateDeliveryKey();
  const keys = ({ kid }: { kid: string }) => (kid === key.kid ? key.publicKey : undefined);

  async function signed(
    good: Posting,
    {
      by = key,
      issuer = WHO.audience,
      url = good.url,
      subscription = SUBSCRIPTION,
      iat = Date.now(),
      over = one,
    } = {},
  ): Promise<Request> {
    const body = Buffer.from(
      JSON.stringify({ jsonrpc: '2.0', method: 'notifications/triggers/delivery', params: over }),
    );
    const token = await signDelivery(
      by,
      deliverySignatureHead(by, { issuer, url, subscriptionId: subscription }),
      body,
      Math.floor(iat / 1000),
    );
    return request(one, { ...good, headers: { 'mcp-delivery-signature': token } });
  }
  const cases: readonly [string, (good: Posting) => Promise<Request> | Request, unknown][] = [
    ['right', (good) => signed(good), { ackSequence: 1 }],
    ['missing', (good) => request(one, good), '401 server_signature'],
    [
      '[jws-no-header-keys] by a key that is not among the trusted ones',
      (good) => signed(good, { by: other }),
      '401 server_signature',
    ],
    [
      'made by another server that has the key',
      (good) => signed(good, { issuer: 'https://other.example.com/mcp' }),
      '401 server_signature',
    ],
    [
      'made for another URL',
      (good) => signed(good, { url: `${good.url}x` }),
      '401 server_signature',
    ],
    [
      'made for another subscription',
      (good) => signed(good, { subscription: 'sub_another00000000000000001' }),
      '401 server_signature',
    ],
    [
      'of another body',
      (good) => signed(good, { over: deliveryOf(0, [2]) }),
      '401 server_signature',
    ],
    [
      'an hour old',
      (good) => signed(good, { iat: Date.now() - 3_600_000 }),
      '401 server_signature',
    ],
    [
      'garbage',
      (good) => request(one, { ...good, headers: { 'mcp-delivery-signature': 'a..b' } }),
      '401 server_signature',
    ],
  ];
  for (const [name, make, expected] of cases) {
    test(`[jws-verify] ${name} → ${JSON.stringify(expected)}`, async () => {
      await using mounted = await mount({
        apply: () => undefined,
        serverKeys: (audience) => (audience === WHO.audience ? keys : undefined),
      });
      const good = await mounted.receiver.register(WHO);
      assert.deepEqual(await answer(mounted.receiver.fetch(await make(good))), expected);
    });
  }

  test('[jws-verify] answers 503 when the keys cannot be fetched', async () => {
    await using mounted = await mount({
      apply: () => undefined,
      serverKeys: () => () => Promise.reject(new Error('offline')),
    });
    const good = await mounted.receiver.register(WHO);
    assert.equal(await answer(mounted.receiver.fetch(await signed(good))), '503 server_keys');
  });

  test('[jws-unknown-kid] answers 503 to a kid that is not in the key set while the set is not fetched again', async () => {
    await using mounted = await mount({
      apply: () => undefined,
      serverKeys: () => createLocalJWKSet({ keys: [] }),
    });
    const good = await mounted.receiver.register(WHO);
    assert.equal(await answer(mounted.receiver.fetch(await signed(good))), '503 server_keys');
  });

  test('[jws-after-hmac] looks up no key for a request whose webhook signature is wrong', async () => {
    let lookups = 0;
    await using mounted = await mount({
      apply: () => undefined,
      serverKeys: () => (header) => {
        lookups += 1;
        return keys(header);
      },
    });
    const good = await mounted.receiver.register(WHO);
    const forged = { ...good, secret: Secret.generate().reveal() };
    assert.equal(await answer(mounted.receiver.fetch(await signed(forged))), '401 signature');
    assert.equal(lookups, 0);
    assert.deepEqual(await answer(mounted.receiver.fetch(await signed(good))), { ackSequence: 1 });
    assert.equal(lookups, 1);
  });

  test('a server without keys needs no signature', async () => {
    await using mounted = await mount({ apply: () => undefined, serverKeys: () => undefined });
    assert.deepEqual(await answer(post(one, await mounted.receiver.register(WHO))), {
      ackSequence: 1,
    });
    assert.equal(EPOCH, one.epoch);
  });
});

describe('[sig-refusal] state that cannot be read or written', () => {
  for (const kind of ['registration', 'position'] as const)
    for (const verb of ['load', 'save'] as const)
      test(`answers 503 when a ${kind} cannot be ${verb === 'load' ? 'read' : 'written'}, and applies it later`, async () => {
        const ledger = memoryLedger();
        let broken = false;
        const failing: Ledger = {
          ...ledger,
          load: async (of, server, key) => {
            if (broken && verb === 'load' && of === kind) throw new Error('disk gone');
            return await ledger.load(of, server, key);
          },
          save: async (record) => {
            if (broken && verb === 'save' && record.kind === kind) throw new Error('disk gone');
            return ledger.save(record);
          },
        };
        const good = await (async () => {
          await using first = await mount({ apply: () => undefined, ledger });
          await first.receiver.register(WHO);
          return await first.receiver.rotate(WHO);
        })();
        await using mounted = await mount({ apply: () => undefined, ledger: failing });
        const url = `${mounted.endpoint}?${good.url.split('?')[1]}`;
        broken = true;
        assert.equal(await answer(post(one, { ...good, url })), '503 state');
        broken = false;
        assert.deepEqual(await answer(post(one, { ...good, url })), { ackSequence: 1 });
      });
});
