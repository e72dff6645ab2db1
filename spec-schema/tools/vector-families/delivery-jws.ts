/** `MCP-Delivery-Signature`: valid ones, header confusion, key confusion, replay to another URL, changed bodies. */
import {
  base64,
  ed25519,
  hmac,
  OTHER_JWK,
  OTHER_KEY,
  RFC8037_KID,
  RFC8037_PRIVATE,
  segment,
  sha256,
  TRUSTED_JWK,
  TRUSTED_KEY,
} from './keys.ts';
import type { VectorCase, VectorFamily } from './types.ts';

const AT = 1795253400;
const ISSUER = 'https://mcp.example.com/mcp';
const URL = 'https://hooks.example.com/mcp/7f3a?tenant=1';
const SUB = 'sub_Zk3fQ8sL0vR2bT6yX1cN5mW9aE4hJ7dU';
const BODY = Buffer.from(
  '{"jsonrpc":"2.0","method":"notifications/triggers/delivery","params":{"afterSequence":0}}',
);
const HEADER = {
  typ: 'mcp-delivery+jws',
  alg: 'EdDSA',
  kid: RFC8037_KID,
  b64: false,
  crit: ['b64'],
  iss: ISSUER,
  iat: AT,
  htm: 'POST',
  origin: 'https://hooks.example.com',
  uh: sha256(URL),
  sub: SUB,
};

type Header = Readonly<Record<string, unknown>>;
const detached = (header: Header | string, body = BODY, key = TRUSTED_KEY): string => {
  const encoded = segment(header);
  return `${encoded}..${ed25519(key, `${encoded}.`, body)}`;
};
const but = (change: Header): Header => ({ ...HEADER, ...change });
const omit = (member: string): Header =>
  Object.fromEntries(Object.entries(HEADER).filter(([name]) => name !== member));
const good = detached(HEADER);

interface Given {
  readonly token?: string;
  readonly body?: Buffer;
  readonly issuer?: string;
  readonly url?: string;
  readonly subscriptionId?: string;
  readonly nowMs?: number;
  readonly source?: string;
}
function made(
  verdict: 'valid' | 'invalid',
  comment: string,
  flags: readonly string[],
  given: Given,
): VectorCase {
  const {
    token = good,
    body = BODY,
    issuer = ISSUER,
    url = URL,
    subscriptionId = SUB,
    nowMs = AT * 1000,
    source,
  } = given;
  return {
    comment,
    flags,
    ...(source === undefined ? {} : { source }),
    token,
    bodyBase64: base64(body),
    issuer,
    url,
    subscriptionId,
    nowMs,
    verdict,
  };
}
const valid = (comment: string, flags: readonly string[], given: Given) =>
  made('valid', comment, flags, given);
const invalid = (reason: string, comment: string, flags: readonly string[], given: Given) => ({
  ...made('invalid', comment, flags, given),
  reason,
});
const hs256 = (key: Buffer): string => {
  const encoded = segment(but({ alg: 'HS256' }));
  return `${encoded}..${hmac(key, `${encoded}.`, BODY).toString('base64url')}`;
};

export const deliveryJws: VectorFamily = {
  family: 'delivery-jws',
  description:
    'Checks of MCP-Delivery-Signature (token) over the raw body (bodyBase64) by a receiver that registered url for subscriptionId and trusts the keys in jwks, at nowMs and a tolerance of 300,000 ms.',
  notes: {
    published: 'A published vector. It is a valid JWS of another type, so it is rejected here.',
    algorithm: 'EdDSA and its RFC 9864 name Ed25519 are the only algorithms.',
    header_form:
      'The protected header has exactly the eleven members, with exactly these fixed values.',
    header_key: 'A key that the message itself contains proves nothing.',
    key_confusion: 'A public key used as the secret of an HMAC, an unknown key, or the wrong key.',
    replay:
      'A valid signature that was made for another URL, by another server or for another subscription.',
    clock: 'iat is at most 300 seconds before or after nowMs.',
    raw_bytes: 'The signature is over the bytes of the body as sent.',
    form: 'A detached JWS: protected header, two full stops, signature; base64url without padding and without stray bits.',
  },
  shared: {
    jwks: { keys: [TRUSTED_JWK] },
    privateJwk: { $comment: 'RFC 8037 appendix A.1', ...RFC8037_PRIVATE },
  },
  cases: [
    valid('EdDSA', [], {}),
    valid('Ed25519, the name of RFC 9864', ['algorithm'], {
      token: detached(but({ alg: 'Ed25519' })),
    }),
    valid('members in another order', ['header_form'], {
      token: detached(Object.fromEntries(Object.entries(HEADER).reverse())),
    }),
    valid('whitespace in the header', ['header_form'], {
      token: detached(JSON.stringify(HEADER, null, 1)),
    }),
    valid('empty body', [], { token: detached(HEADER, Buffer.alloc(0)), body: Buffer.alloc(0) }),
    valid('body with invalid UTF-8', ['raw_bytes'], {
      token: detached(HEADER, Buffer.from([0xff, 0x2e])),
      body: Buffer.from([0xff, 0x2e]),
    }),
    valid('300 s old', ['clock'], { nowMs: (AT + 300) * 1000 }),
    valid('non-default port in the origin', [], {
      url: 'https://hooks.example.com:8443/x',
      token: detached(
        but({
          origin: 'https://hooks.example.com:8443',
          uh: sha256('https://hooks.example.com:8443/x'),
        }),
      ),
    }),
    invalid('stale', '301 s old', ['clock'], { nowMs: (AT + 301) * 1000 }),
    invalid('stale', '301 s ahead', ['clock'], { nowMs: (AT - 301) * 1000 }),
    invalid('wrong_url', 'registered URL has another query', ['replay'], {
      url: 'https://hooks.example.com/mcp/7f3a?tenant=2',
    }),
    invalid('wrong_url', 'made for another receiver', ['replay'], {
      url: 'https://victim.example.net/mcp/7f3a?tenant=1',
    }),
    invalid('wrong_url', 'right hash, other origin', ['replay'], {
      token: detached(but({ origin: 'https://evil.example.com' })),
    }),
    invalid('wrong_url', 'right origin, other hash', ['replay'], {
      token: detached(but({ uh: sha256('https://hooks.example.com/') })),
    }),
    invalid('wrong_issuer', 'made by another server that has the same key', ['replay'], {
      token: detached(but({ iss: 'https://other.example.com/mcp' })),
    }),
    invalid('wrong_issuer', 'the issuer with a slash at the end', ['replay'], {
      token: detached(but({ iss: `${ISSUER}/` })),
    }),
    invalid('wrong_subscription', 'made for another subscription', ['replay'], {
      subscriptionId: 'sub_Pq7wXn2RkY5sGd0LvBf8TjMc3HzUe6iA',
    }),
    invalid('no_match', 'body changed', ['raw_bytes'], {
      body: Buffer.from(BODY.toString().replace('0}', '1}')),
    }),
    invalid('no_match', 'body serialized again with a space', ['raw_bytes'], {
      body: Buffer.from(BODY.toString().replace(':', ': ')),
    }),
    invalid(
      'no_match',
      'signature over the base64url of the body, as if b64 were true',
      ['raw_bytes'],
      {
        token: `${segment(HEADER)}..${ed25519(TRUSTED_KEY, `${segment(HEADER)}.${BODY.toString('base64url')}`)}`,
      },
    ),
    invalid('no_match', 'signed by another key under the trusted kid', ['key_confusion'], {
      token: detached(HEADER, BODY, OTHER_KEY),
    }),
    invalid('unknown_key', 'unknown kid', ['key_confusion'], {
      token: detached(but({ kid: 'other' }), BODY, OTHER_KEY),
    }),
    invalid('unknown_key', 'unknown kid, trusted key', ['key_confusion'], {
      token: detached(but({ kid: 'other' })),
    }),
    invalid('malformed', 'HS256 with the public key as secret', ['key_confusion', 'algorithm'], {
      token: hs256(Buffer.from(TRUSTED_JWK.x, 'base64url')),
    }),
    invalid('wrong_header', 'HS256 named, Ed25519 used', ['algorithm'], {
      token: detached(but({ alg: 'HS256' })),
    }),
    invalid('wrong_header', 'alg none named, Ed25519 used', ['algorithm'], {
      token: detached(but({ alg: 'none' })),
    }),
    invalid('malformed', 'alg none without signature', ['algorithm'], {
      token: `${segment(but({ alg: 'none' }))}..`,
    }),
    invalid('wrong_header', 'Ed448', ['algorithm'], { token: detached(but({ alg: 'Ed448' })) }),
    invalid('wrong_header', 'algorithm in lower case', ['algorithm'], {
      token: detached(but({ alg: 'eddsa' })),
    }),
    invalid('wrong_header', 'embedded jwk of the attacker', ['header_key'], {
      token: detached(but({ jwk: OTHER_JWK }), BODY, OTHER_KEY),
    }),
    invalid('wrong_header', 'embedded jwk beside a valid signature', ['header_key'], {
      token: detached(but({ jwk: OTHER_JWK })),
    }),
    invalid('wrong_header', 'jku', ['header_key'], {
      token: detached(but({ jku: 'https://evil.example.com/jwks.json' }), BODY, OTHER_KEY),
    }),
    invalid('wrong_header', 'x5u', ['header_key'], {
      token: detached(but({ x5u: 'https://evil.example.com/cert.pem' })),
    }),
    invalid('wrong_header', 'x5c', ['header_key'], { token: detached(but({ x5c: ['AA=='] })) }),
    invalid('wrong_header', 'a twelfth member', ['header_form'], {
      token: detached(but({ nonce: '1' })),
    }),
    invalid('wrong_header', 'no crit', ['header_form'], { token: detached(omit('crit')) }),
    invalid('wrong_header', 'no b64', ['header_form'], { token: detached(omit('b64')) }),
    invalid('wrong_header', 'b64 true', ['header_form'], { token: detached(but({ b64: true })) }),
    invalid('wrong_header', 'crit with another member', ['header_form'], {
      token: detached(but({ crit: ['b64', 'exp'] })),
    }),
    invalid('wrong_header', 'empty crit', ['header_form'], { token: detached(but({ crit: [] })) }),
    invalid('wrong_header', 'typ of a JWT', ['header_form'], {
      token: detached(but({ typ: 'JWT' })),
    }),
    invalid('wrong_header', 'typ of a callback token', ['header_form'], {
      token: detached(but({ typ: 'mcp-callback+jwt' })),
    }),
    invalid('wrong_header', 'htm PUT', ['header_form'], { token: detached(but({ htm: 'PUT' })) }),
    invalid('wrong_header', 'iat as text', ['header_form'], {
      token: detached(but({ iat: String(AT) })),
    }),
    invalid('wrong_header', 'iat with a fraction', ['header_form'], {
      token: detached(but({ iat: AT + 0.5 })),
    }),
    ...['kid', 'iss', 'iat', 'htm', 'origin', 'uh', 'sub', 'typ', 'alg'].map((member) =>
      invalid('wrong_header', `no ${member}`, ['header_form'], { token: detached(omit(member)) }),
    ),
    invalid('malformed', 'payload not detached', ['form'], {
      token: good.replace('..', `.${BODY.toString('base64url')}.`),
    }),
    invalid('malformed', 'header is not JSON', ['form'], { token: detached('not JSON') }),
    invalid('malformed', 'header is a list', ['form'], { token: detached('[]') }),
    invalid('malformed', 'two parts', ['form'], { token: good.replace('..', '.') }),
    invalid('malformed', 'four parts', ['form'], { token: `${good}.` }),
    invalid('malformed', 'padding after the signature', ['form'], { token: `${good}==` }),
    invalid('malformed', 'a space in the signature', ['form'], {
      token: `${good.slice(0, -4)} ${good.slice(-4)}`,
    }),
    invalid('malformed', 'signature of 63 bytes', ['form'], {
      token: `${segment(HEADER)}..${Buffer.alloc(63, 1).toString('base64url')}`,
    }),
    invalid('malformed', 'empty', ['form'], { token: '' }),
    invalid('malformed', 'more than 4,096 bytes', ['form'], {
      token: detached(but({ kid: 'k'.repeat(4096) })),
    }),
    invalid(
      'malformed',
      'RFC 8037 appendix A.4: a valid JWS with its payload inside',
      ['published'],
      {
        token:
          'eyJhbGciOiJFZERTQSJ9.RXhhbXBsZSBvZiBFZDI1NTE5IHNpZ25pbmc.hgyY0il_MGCjP0JzlnLWG1PPOt7-09PGcvMg3AIbQR6dWbhijcNR4ki4iylGjg5BhVsPt9g7sVvpAr_MuM0KAg',
        body: Buffer.from('Example of Ed25519 signing'),
        source: 'RFC 8037 appendix A.4',
      },
    ),
    invalid(
      'malformed',
      'RFC 7797 section 4.2: HS256, unencoded and detached',
      ['published', 'algorithm'],
      {
        token:
          'eyJhbGciOiJIUzI1NiIsImI2NCI6ZmFsc2UsImNyaXQiOlsiYjY0Il19..A5dxf2s96_n5FLueVuW1Z_vh161FwXZC4YLPff6dmDY',
        body: Buffer.from('$.02'),
        source: 'RFC 7797 section 4.2',
      },
    ),
  ],
};
