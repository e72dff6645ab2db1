/** Tests that a secret cannot be printed by accident. */
import { describe, test } from 'vitest';
import assert from 'node:assert/strict';
import { format, inspect } from 'node:util';
import fc from 'fast-check';
import { LocalError } from '../../../src/protocol/wire/errors.ts';
import { Secret } from '../../../src/protocol/wire/secret.ts';

const PRINTED = '[secret]';

describe('Secret', () => {
  test('[sig-client-secret] generates 32 fresh random bytes', () => {
    const [one, two] = [Secret.generate(), Secret.generate()];
    assert.match(one.reveal(), /^whsec_[A-Za-z0-9+/]{43}=$/);
    assert.notEqual(one.reveal(), two.reveal());
    assert.equal(one.key.symmetricKeySize, 32);
  });

  test('prints as [secret] in every way that a log might format it', () => {
    const secret = Secret.generate();
    const canary = secret.reveal().slice(6);
    const printed = [
      `${secret}`,
      String(secret),
      JSON.stringify({ secret }),
      inspect({ secret }, { depth: null, showHidden: true }),
      format('%s %o %O %j', secret, secret, secret, secret),
      new Error(`x ${secret}`).stack ?? '',
    ];
    for (const text of printed) {
      assert.ok(text.includes(PRINTED), text);
      assert.equal(text.includes(canary), false);
    }
    assert.deepEqual(Object.keys(secret), []);
    assert.equal(structuredCloneText(secret).includes(canary), false);
  });

  test('[sig-secret-format] accepts 24 to 64 bytes and returns the text', () => {
    fc.assert(
      fc.property(fc.uint8Array({ minLength: 24, maxLength: 64 }), (bytes) => {
        const text = `whsec_${Buffer.from(bytes).toString('base64')}`;
        assert.equal(Secret.parse(text).reveal(), text);
        assert.deepEqual(Secret.parse(text).key.export(), Buffer.from(bytes));
      }),
    );
  });

  test('[sig-secret-format, err-no-value] rejects everything else without repeating it', () => {
    const short = fc
      .uint8Array({ minLength: 4, maxLength: 23 })
      .map((bytes) => `whsec_${Buffer.from(bytes).toString('base64')}`);
    const long = fc
      .uint8Array({ minLength: 65, maxLength: 90 })
      .map((bytes) => `whsec_${Buffer.from(bytes).toString('base64')}`);
    fc.assert(
      fc.property(
        fc.oneof(
          short,
          long,
          fc.string({ minLength: 8 }),
          fc.string({ minLength: 8 }).map((text) => `whsec_${text}`),
        ),
        (text) => {
          assert.throws(
            () => Secret.parse(text),
            (error: unknown) =>
              error instanceof LocalError &&
              error.code === 'secret_malformed' &&
              !error.message.includes(text),
          );
        },
      ),
    );
  });
});

/** Prints a structured clone, which goes to workers and into IndexedDB and must not carry the secret. */
function structuredCloneText(value: unknown): string {
  return inspect(structuredClone(value), { depth: null, showHidden: true });
}
