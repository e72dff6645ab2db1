/**
 * Tests signatures against the public Standard Webhooks verifiers, and properties that no list of
 * vectors can show.
 */
import { describe, test } from 'vitest';
import assert from 'node:assert/strict';
import { createHmac } from 'node:crypto';
import fc from 'fast-check';
import { Webhook as StandardWebhook } from 'standardwebhooks';
import { Webhook as SvixWebhook } from 'svix';
import { LocalError } from '../../../src/protocol/wire/errors.ts';
import { Secret } from '../../../src/protocol/wire/secret.ts';
import {
  challengeProof,
  isChallengeProof,
  signWebhook,
  verifyWebhook,
} from '../../../src/protocol/wire/signature.ts';

const now = Date.now();
const at = Math.floor(now / 1000);
const headersOf = (id: string, timestamp: string | number, signature: string) => ({
  'webhook-id': id,
  'webhook-timestamp': String(timestamp),
  'webhook-signature': signature,
});
const refusedAs =
  (reason: string) =>
  (error: unknown): boolean =>
    error instanceof LocalError && error.reason === reason;

/** The two packages that receivers use today, unmodified. */
const stock: readonly (readonly [
  name: string,
  make: (secret: string) => {
    verify(
      payload: string | Buffer,
      headers: Record<string, string>,
      options?: { jsonParse?: boolean },
    ): unknown;
    sign(id: string, at: Date, payload: string | Buffer): string;
  },
])[] = [
  ['standardwebhooks', (secret) => new StandardWebhook(secret)],
  ['svix', (secret) => new SvixWebhook(secret)],
];

for (const [name, make] of stock) {
  describe(`public verifier ${name}`, () => {
    const secret = Secret.generate();
    const theirs = make(secret.reveal());
    const body = Buffer.from('{"jsonrpc":"2.0","params":{"head":1,"text":"ä€😀"}}');

    test('[sig-raw-bytes] accepts what this library signs', () => {
      assert.doesNotThrow(() =>
        theirs.verify(
          body.toString(),
          headersOf('msg_a', at, signWebhook(secret, 'msg_a', at, body)),
        ),
      );
    });

    test('[sig-rotation] accepts either secret while two sign', () => {
      const next = Secret.generate();
      const signature = signWebhook([next, secret], 'msg_a', at, body);
      assert.doesNotThrow(() => theirs.verify(body.toString(), headersOf('msg_a', at, signature)));
      assert.doesNotThrow(() =>
        make(next.reveal()).verify(body.toString(), headersOf('msg_a', at, signature)),
      );
    });

    test('produces signatures that this library accepts', () => {
      const signature = theirs.sign('msg_a', new Date(at * 1000), body.toString());
      assert.deepEqual(verifyWebhook(headersOf('msg_a', at, signature), body, secret, now), {
        id: 'msg_a',
        timestamp: at,
      });
    });
  });
}

/**
 * First shows what the package `standardwebhooks` wrongly accepts today, so that this test fails
 * when that changes.
 */
describe('[sig-grammar, sig-raw-bytes] this library rejects what a public verifier wrongly accepts', () => {
  const secret = Secret.generate();
  const theirs = new StandardWebhook(secret.reveal());
  const accepts = (body: string | Buffer, headers: Record<string, string>): void =>
    assert.doesNotThrow(() => theirs.verify(body, headers, { jsonParse: false }));

  test('a timestamp with trailing junk', () => {
    const headers = headersOf(
      'msg_a',
      `${at}xyz`,
      signWebhook(secret, 'msg_a', at, Buffer.from('{}')),
    );
    accepts('{}', headers);
    assert.throws(
      () => verifyWebhook(headers, Buffer.from('{}'), secret, now),
      refusedAs('malformed_timestamp'),
    );
  });

  test('an id with a dot that moves the boundary', () => {
    const signature = theirs.sign('msg_a', new Date((at - 5) * 1000), `${at}.{"evil":true}`);
    const headers = headersOf(`msg_a.${at - 5}`, at, signature);
    accepts('{"evil":true}', headers);
    assert.throws(
      () => verifyWebhook(headers, Buffer.from('{"evil":true}'), secret, now),
      refusedAs('malformed_id'),
    );
  });

  test('a body with byte 0xFE under the signature of byte 0xFF', () => {
    const [signed, sent] = [0xff, 0xfe].map((byte) =>
      Buffer.concat([Buffer.from('{"a":"'), Buffer.from([byte]), Buffer.from('"}')]),
    ) as [Buffer, Buffer];
    accepts(sent, headersOf('msg_a', at, theirs.sign('msg_a', new Date(at * 1000), signed)));
    const headers = headersOf('msg_a', at, signWebhook(secret, 'msg_a', at, signed));
    assert.doesNotThrow(() => verifyWebhook(headers, signed, secret, now));
    assert.throws(() => verifyWebhook(headers, sent, secret, now), refusedAs('no_match'));
  });

  test('a secret of one byte', () => {
    const weak = `whsec_${Buffer.from('x').toString('base64')}`;
    assert.doesNotThrow(() => new StandardWebhook(weak));
    assert.throws(
      () => Secret.parse(weak),
      (error: unknown) => error instanceof LocalError && error.code === 'secret_malformed',
    );
  });

  test('a hundred thousand signatures', () => {
    const headers = headersOf(
      'msg_a',
      at,
      `${Array(1e5).fill('v1,AAAA').join(' ')} ${signWebhook(secret, 'msg_a', at, Buffer.from('{}'))}`,
    );
    accepts('{}', headers);
    assert.throws(
      () => verifyWebhook(headers, Buffer.from('{}'), secret, now),
      refusedAs('malformed_signature'),
    );
  });
});

describe('headers', () => {
  const secret = Secret.generate();
  const body = Buffer.from('{}');
  const signature = signWebhook(secret, 'msg_a', at, body);

  test('are read from a Fetch Headers object, from Node and in any case', () => {
    assert.doesNotThrow(() =>
      verifyWebhook(new Headers(headersOf('msg_a', at, signature)), body, secret, now),
    );
    assert.doesNotThrow(() =>
      verifyWebhook(
        {
          'Webhook-Id': 'msg_a',
          'WEBHOOK-TIMESTAMP': [String(at)],
          'webhook-signature': signature,
        },
        body,
        secret,
        now,
      ),
    );
  });

  test('that are repeated are rejected', () => {
    assert.throws(
      () =>
        verifyWebhook(
          { ...headersOf('msg_a', at, signature), 'webhook-id': ['msg_a', 'msg_b'] },
          body,
          secret,
          now,
        ),
      refusedAs('missing_header'),
    );
    assert.throws(
      () =>
        verifyWebhook(
          { ...headersOf('msg_a', at, signature), 'Webhook-Id': 'msg_b' },
          body,
          secret,
          now,
        ),
      refusedAs('missing_header'),
    );
    const twice = new Headers(headersOf('msg_a', at, signature));
    twice.append('webhook-timestamp', String(at));
    assert.throws(() => verifyWebhook(twice, body, secret, now), refusedAs('malformed_timestamp'));
  });
});

describe('properties', () => {
  const id = fc.stringMatching(/^[A-Za-z0-9_-]{1,128}$/);
  const key = fc.uint8Array({ minLength: 24, maxLength: 64 });
  const body = fc.uint8Array({ minLength: 1, maxLength: 300 });
  const secretOf = (raw: Uint8Array): Secret =>
    Secret.parse(`whsec_${Buffer.from(raw).toString('base64')}`);

  test('[sig-raw-bytes] a signature is HMAC-SHA256 over id, timestamp and the bytes, and verifies', () => {
    fc.assert(
      fc.property(id, key, body, fc.nat(10 ** 11), (name, raw, bytes, seconds) => {
        const signature = signWebhook(secretOf(raw), name, seconds, bytes);
        assert.equal(
          signature,
          `v1,${createHmac('sha256', raw)
            .update(Buffer.concat([Buffer.from(`${name}.${seconds}.`), bytes]))
            .digest('base64')}`,
        );
        assert.deepEqual(
          verifyWebhook(headersOf(name, seconds, signature), bytes, secretOf(raw), seconds * 1000),
          { id: name, timestamp: seconds },
        );
      }),
    );
  });

  test('[sig-raw-bytes] one flipped bit of body, key or signature is rejected', () => {
    fc.assert(
      fc.property(
        key,
        body,
        fc.nat(),
        fc.constantFrom('body', 'key', 'signature'),
        (raw, bytes, bit, where) => {
          const flip = (given: Uint8Array): Uint8Array =>
            given.map((byte, index) =>
              index === (bit >> 3) % given.length ? byte ^ (1 << (bit & 7)) : byte,
            );
          const good = signWebhook(secretOf(raw), 'msg_a', at, bytes);
          const mac = Buffer.from(good.slice(3), 'base64');
          const signature =
            where === 'signature' ? `v1,${Buffer.from(flip(mac)).toString('base64')}` : good;
          const secret = secretOf(where === 'key' ? flip(raw) : raw);
          assert.throws(
            () =>
              verifyWebhook(
                headersOf('msg_a', at, signature),
                where === 'body' ? flip(bytes) : bytes,
                secret,
                now,
              ),
            refusedAs('no_match'),
          );
        },
      ),
    );
  });

  test('[sig-window] the window is 300 seconds in both directions', () => {
    const secret = Secret.generate();
    const bytes = Buffer.from('{}');
    fc.assert(
      fc.property(fc.integer({ min: -700_000, max: 700_000 }), (skewMs) => {
        const check = (): unknown =>
          verifyWebhook(
            headersOf('msg_a', at, signWebhook(secret, 'msg_a', at, bytes)),
            bytes,
            secret,
            at * 1000 + skewMs,
          );
        if (Math.abs(skewMs) <= 300_000) assert.doesNotThrow(check);
        else
          assert.throws(
            check,
            (error: unknown) => error instanceof LocalError && error.code === 'signature_stale',
          );
      }),
    );
  });

  test('[cbv-proof] a proof is valid for one challenge and one secret', () => {
    fc.assert(
      fc.property(
        key,
        key,
        fc.stringMatching(/^[A-Za-z0-9_-]{22,128}$/),
        fc.stringMatching(/^[A-Za-z0-9_-]{22,128}$/),
        (raw, other, challenge, second) => {
          fc.pre(challenge !== second && Buffer.compare(raw, other) !== 0);
          const proof = challengeProof(secretOf(raw), challenge);
          assert.equal(isChallengeProof(secretOf(raw), challenge, proof), true);
          assert.equal(isChallengeProof(secretOf(raw), second, proof), false);
          assert.equal(isChallengeProof(secretOf(other), challenge, proof), false);
        },
      ),
    );
  });

  test('[sig-constant-time] a proof of any length or alphabet is compared without throwing', () => {
    const secret = Secret.generate();
    fc.assert(
      fc.property(fc.string({ unit: 'binary' }), (proof) =>
        assert.equal(isChallengeProof(secret, 'c'.repeat(22), proof), false),
      ),
    );
  });
});
