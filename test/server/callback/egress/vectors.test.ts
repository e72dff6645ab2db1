/** Runs the language-neutral vectors on resolved addresses against the egress rules. */
import assert from 'node:assert/strict';
import { describe, test } from 'vitest';
import vectors from '../../../../spec-schema/draft/vectors/callback-address.json' with { type: 'json' };
import { publicInternet } from '../../../../src/server/callback/egress/addresses.ts';

describe('vectors/callback-address', () => {
  for (const { id, comment, addresses, verdict } of vectors.cases) {
    test(`${id}: ${comment}`, () => {
      const allowed =
        addresses.length > 0 && addresses.every((address) => publicInternet.allows(address));
      assert.equal(allowed ? 'valid' : 'invalid', verdict);
    });
  }
});
