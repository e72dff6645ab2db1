/** Tests who the caller is: a table of request contexts, each with its principal or error. */
import assert from 'node:assert/strict';
import { describe, test } from 'vitest';
import { callerOf, principalOf, type RequestIdentity } from '../../../src/server/mcp/principal.ts';
import { WireError } from '../../../src/protocol/wire/errors.ts';

const http = (extra?: Record<string, unknown>): RequestIdentity => ({
  http: { authInfo: extra === undefined ? {} : { extra } },
});

describe('the principal of a request [iso-iss-sub] [iso-principal]', () => {
  const rows: readonly (readonly [
    about: string,
    identity: RequestIdentity,
    principal: string | null,
  ])[] = [
    ['a pipe', {}, 'local'],
    ['a verified token', http({ iss: 'https://a', sub: 'x' }), '["https://a","x"]'],
    [
      'the same subject of another issuer',
      http({ iss: 'https://b', sub: 'x' }),
      '["https://b","x"]',
    ],
    ['HTTP without a token', { http: {} }, null],
    ['a session without HTTP', { sessionId: 's' }, null],
    ['a token without claims', http(), null],
    ['a token without an issuer', http({ sub: 'x' }), null],
    ['a token without a subject', http({ iss: 'https://a' }), null],
    ['an empty subject', http({ iss: 'https://a', sub: '' }), null],
    ['an empty issuer', http({ iss: '', sub: 'x' }), null],
    ['a subject that is a number', http({ iss: 'https://a', sub: 7 }), null],
  ];
  for (const [about, identity, principal] of rows) {
    test(`${about} → ${principal ?? 'Forbidden'}`, () => {
      if (principal !== null) return assert.equal(callerOf(identity).principal, principal);
      assert.throws(
        () => callerOf(identity),
        (error) =>
          error instanceof WireError && error.is('Forbidden') && error.data.kind === 'principal',
      );
    });
  }
});

test('no two pairs of issuer and subject give the same principal, whatever characters they contain', () => {
  const parts = ['a', 'a"', '"', ',', '","', 'a","b', '\\', '\\"', '[', ']', ''];
  const pairs = parts.flatMap((iss) => parts.map((sub) => principalOf(iss, sub)));
  assert.equal(new Set(pairs).size, pairs.length);
});

test('a subject named local is not the local principal', () => {
  assert.notEqual(
    callerOf(http({ iss: 'https://a', sub: 'local' })).principal,
    callerOf({}).principal,
  );
});
