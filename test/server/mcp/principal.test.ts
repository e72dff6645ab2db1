/** Tests who the caller is: a table of request contexts, each with its principal or error. */
import assert from 'node:assert/strict';
import { describe, test } from 'vitest';
import {
  callerOf,
  ownerOf,
  parseOwner,
  type RequestIdentity,
} from '../../../src/server/mcp/principal.ts';
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
    [
      'a token of a client',
      http({ iss: 'https://a', sub: 'x', client_id: 'mail', azp: 'chat' }),
      '["https://a","x","mail"]',
    ],
    [
      'a token with azp only',
      http({ iss: 'https://a', sub: 'x', azp: 'chat' }),
      '["https://a","x","chat"]',
    ],
    [
      'a token whose client only the authenticator names',
      { http: { authInfo: { clientId: 'mail', extra: { iss: 'https://a', sub: 'x' } } } },
      '["https://a","x","mail"]',
    ],
    [
      'a token with an empty client',
      http({ iss: 'https://a', sub: 'x', client_id: '' }),
      '["https://a","x"]',
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
          error instanceof WireError &&
          error.is('Forbidden') &&
          error.data.kind === 'authentication',
      );
    });
  }
});

test('no two owners have the same text, whatever characters their parts contain', () => {
  const parts = ['a', 'a"', '"', ',', '","', 'a","b', '\\', '\\"', '[', ']', ''];
  const owners = parts.flatMap((iss) =>
    parts.flatMap((sub) => [undefined, ...parts].map((client) => ({ iss, sub, client }))),
  );
  assert.equal(new Set(owners.map(ownerOf)).size, owners.length);
  for (const { iss, sub, client } of owners)
    assert.deepEqual(
      parseOwner(ownerOf({ iss, sub, client })),
      client === undefined ? { iss, sub } : { iss, sub, client },
    );
  for (const text of ['local', '[]', '["a"]', '["a","b","c","d"]', '["a",7]', '{}'])
    assert.equal(parseOwner(text), null);
});

test('[iso-iss-sub] clients share only where the policy names them', () => {
  const policy = { sharedClients: ['phone', 'desktop'] };
  const owner = (client_id: string): string =>
    callerOf(http({ iss: 'https://a', sub: 'x', client_id }), policy).principal;
  assert.equal(owner('phone'), owner('desktop'));
  assert.equal(owner('chat'), '["https://a","x","chat"]');
});

test('a subject named local is not the local principal', () => {
  assert.notEqual(
    callerOf(http({ iss: 'https://a', sub: 'local' })).principal,
    callerOf({}).principal,
  );
});
