/** Tests delivery signatures: round trips, key lookups of every kind, and key confusion. */
import { describe, test } from 'vitest';
import assert from 'node:assert/strict';
import { createHmac, generateKeyPairSync } from 'node:crypto';
import fc from 'fast-check';
import { createLocalJWKSet, flattenedVerify } from 'jose';
import {
  deliveryKey,
  deliverySignatureHead,
  generateDeliveryKey,
  publicJwks,
  signDelivery,
  verifyDelivery,
  type DeliveryKeyLookup,
} from '../../../src/protocol/wire/delivery-jws.ts';
import { LocalError } from '../../../src/protocol/wire/errors.ts';
import { check } from '../../../src/protocol/wire/validate.ts';

const URL_TEXT = 'https://hooks.example.com/mcp/7f3a?tenant=1';
const ISSUER = 'https://mcp.example.com/mcp';
const SUBSCRIPTION = 'sub_Zk3fQ8sL0vR2bT6yX1cN5mW9aE4hJ7dU';
const key = generateDeliveryKey();
const FOR = { issuer: ISSUER, url: URL_TEXT, subscriptionId: SUBSCRIPTION };
const head = deliverySignatureHead(key, FOR);
const body = Buffer.from('{"jsonrpc":"2.0"}');
const at = 1_795_253_400;
const verifyWith = (token: string, keys: DeliveryKeyLookup, bytes: Uint8Array = body) =>
  verifyDelivery(token, bytes, {
    ...FOR,
    keys,
    nowMs: at * 1000,
  });
const refusedAs =
  (code: string, reason: string) =>
  (error: unknown): boolean =>
    error instanceof LocalError && error.code === code && error.reason === reason;

describe('a delivery signature', () => {
  test('[jws-header] has exactly the header of the schema', async () => {
    const token = await signDelivery(key, head, body, at);
    const header: unknown = JSON.parse(Buffer.from(token.split('.')[0]!, 'base64url').toString());
    assert.equal(check('DeliverySignatureHeader', header).ok, true);
    assert.deepEqual(Object.keys(header as object).sort(), [
      'alg',
      'b64',
      'crit',
      'htm',
      'iat',
      'iss',
      'kid',
      'origin',
      'sub',
      'typ',
      'uh',
    ]);
  });

  test('[jws-verify] is bound to the server, the URL and the subscription', async () => {
    const token = await signDelivery(key, head, body, at);
    for (const [other, reason] of [
      [{ issuer: 'https://other.example.com/mcp' }, 'wrong_issuer'],
      [{ issuer: `${ISSUER}/` }, 'wrong_issuer'],
      [{ url: 'https://hooks.example.com/mcp/7f3a?tenant=2' }, 'wrong_url'],
      [{ subscriptionId: `${SUBSCRIPTION}x` }, 'wrong_subscription'],
    ] as const)
      await assert.rejects(
        verifyDelivery(token, body, {
          ...FOR,
          ...other,
          keys: () => assert.fail('no key is looked up'),
          nowMs: at * 1000,
        }),
        refusedAs('signature_invalid', reason),
      );
  });

  test('does not contain the path or query of the URL', async () => {
    const header = Buffer.from(
      (await signDelivery(key, head, body, at)).split('.')[0]!,
      'base64url',
    ).toString();
    assert.equal(/7f3a|tenant/.test(header), false);
  });

  test('[jws-key] verifies with the published key set and an unmodified jose', async () => {
    const [header, , signature] = (await signDelivery(key, head, body, at)).split('.') as [
      string,
      string,
      string,
    ];
    await flattenedVerify(
      { protected: header, payload: body, signature },
      createLocalJWKSet({ keys: publicJwks([key]).keys.map((jwk) => ({ ...jwk })) }),
    );
  });

  test('verifies for any body and any time within the window', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.uint8Array({ maxLength: 300 }),
        fc.integer({ min: -300, max: 300 }),
        async (bytes, skew) => {
          const header = await verifyWith(
            await signDelivery(key, head, bytes, at + skew),
            () => key.publicKey,
            bytes,
          );
          assert.equal(header.iat, at + skew);
        },
      ),
      { numRuns: 40 },
    );
  });

  test('[jws-verify] is rejected after any flipped bit of body or token', async () => {
    const token = await signDelivery(key, head, body, at);
    await fc.assert(
      fc.asyncProperty(fc.nat(body.length * 8 - 1), async (bit) => {
        await assert.rejects(
          verifyWith(
            token,
            () => key.publicKey,
            body.map((byte, index) => (index === bit >> 3 ? byte ^ (1 << (bit & 7)) : byte)),
          ),
          refusedAs('signature_invalid', 'no_match'),
        );
      }),
      { numRuns: 40 },
    );
    await fc.assert(
      fc.asyncProperty(
        fc.nat(token.length - 1),
        fc.constantFrom('A', 'B', '-', '.', ' '),
        async (index, char) => {
          fc.pre(token[index] !== char);
          await assert.rejects(
            verifyWith(token.slice(0, index) + char + token.slice(index + 1), () => key.publicKey),
            (error: unknown) => error instanceof LocalError,
          );
        },
      ),
      { numRuns: 60 },
    );
  });
});

describe('[jws-verify] key confusion', () => {
  const token = signDelivery(key, head, body, at);

  test('another Ed25519 key under the same kid', async () => {
    await assert.rejects(
      verifyWith(await token, () => generateDeliveryKey().publicKey),
      refusedAs('signature_invalid', 'no_match'),
    );
  });

  test('a key of another kind in the key set', async () => {
    for (const other of [
      generateKeyPairSync('rsa', { modulusLength: 2048 }).publicKey,
      generateKeyPairSync('ec', { namedCurve: 'P-256' }).publicKey,
      generateKeyPairSync('x25519').publicKey,
    ]) {
      await assert.rejects(
        verifyWith(await token, () => other),
        refusedAs('signature_invalid', 'no_match'),
      );
    }
  });

  test('an HMAC under the public key, whatever the header calls it', async () => {
    const header = (await token).split('.')[0]!;
    for (const secret of [
      Buffer.from(String(key.publicKey.export({ format: 'jwk' }).x), 'base64url'),
      key.publicKey.export({ format: 'der', type: 'spki' }),
    ]) {
      const mac = createHmac('sha512', secret)
        .update(`${header}.`)
        .update(body)
        .digest('base64url');
      await assert.rejects(
        verifyWith(`${header}..${mac}`, () => secret),
        refusedAs('signature_invalid', 'no_match'),
      );
    }
  });

  test('[jws-unknown-kid] an unknown kid is reported as such, for every kind of lookup', async () => {
    for (const [keys, reason] of [
      [() => undefined, 'unknown_key'],
      [async () => undefined, 'unknown_key'],
      // A set of jose does not say whether it may be too old.
      [createLocalJWKSet({ keys: [] }), 'undecided_key'],
    ] as [DeliveryKeyLookup, string][]) {
      await assert.rejects(verifyWith(await token, keys), refusedAs('key_unknown', reason));
    }
  });

  test('a lookup that fails is an error, not an invalid signature', async () => {
    await assert.rejects(
      verifyWith(await token, () => Promise.reject(new Error('key set unreachable'))),
      /key set unreachable/,
    );
  });

  test('an absent header is rejected', async () => {
    await assert.rejects(
      verifyDelivery(undefined, body, {
        ...FOR,
        keys: () => key.publicKey,
        nowMs: 0,
      }),
      refusedAs('signature_invalid', 'missing_header'),
    );
  });
});

describe('a delivery key', () => {
  test('has the same thumbprint as kid when loaded from PEM and from JWK', () => {
    assert.equal(
      deliveryKey(key.privateKey.export({ format: 'pem', type: 'pkcs8' }).toString()).kid,
      key.kid,
    );
    assert.equal(deliveryKey(key.privateKey.export({ format: 'jwk' })).kid, key.kid);
    assert.equal(deliveryKey(key.privateKey, '2026-11').kid, '2026-11');
  });

  test('is published without its private part', () => {
    assert.deepEqual(Object.keys(publicJwks([key]).keys[0]!).sort(), [
      'crv',
      'kid',
      'kty',
      'use',
      'x',
    ]);
  });

  test('must be an Ed25519 private key', () => {
    const wrong = [
      key.publicKey,
      generateKeyPairSync('rsa', { modulusLength: 2048 }).privateKey,
      'not PEM',
      { kty: 'OKP', crv: 'Ed25519', x: 'AA' },
    ];
    for (const source of wrong)
      assert.throws(
        () => deliveryKey(source),
        (error: unknown) => error instanceof LocalError && error.code === 'config_invalid',
      );
  });
});
