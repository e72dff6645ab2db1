/** Signed callback URLs: valid tokens, tokens for another purpose, server, path or time, and forged tokens. */
import {
  ed25519,
  hmac,
  OTHER_JWK,
  OTHER_KEY,
  RFC8037_PRIVATE,
  segment,
  TRUSTED_JWK,
  TRUSTED_KEY,
} from './keys.ts';
import type { VectorCase, VectorFamily } from './types.ts';

const AT = 1795253400;
const ENDPOINT = 'https://hooks.example.com/mcp/7f3a';
const ISSUER = 'https://hooks.example.com';
const AUDIENCE = 'https://mcp.example.com/mcp';
const HEADER = { typ: 'mcp-callback+jwt', alg: 'EdDSA' };
const CLAIMS = {
  iss: ISSUER,
  aud: AUDIENCE,
  sub: 'deploys-prod',
  htp: '/mcp/7f3a',
  exp: AT + 86400,
  iat: AT,
  jti: '0659db18-6ccd-4beb-805f-baababd6ec2a',
};

type Members = Readonly<Record<string, unknown>>;
const token = (header: Members, claims: Members, key = TRUSTED_KEY): string => {
  const input = `${segment(header)}.${segment(claims)}`;
  return `${input}.${ed25519(key, input)}`;
};
const good = token(HEADER, CLAIMS);
const claims = (change: Members): string => token(HEADER, { ...CLAIMS, ...change });
const omit = (member: string): string =>
  token(HEADER, Object.fromEntries(Object.entries(CLAIMS).filter(([name]) => name !== member)));
const header = (change: Members, key = TRUSTED_KEY): string =>
  token({ ...HEADER, ...change }, CLAIMS, key);
const at = (cb: string): string => `${ENDPOINT}?cb=${cb}`;

interface Given {
  readonly url?: string;
  readonly issuer?: string;
  readonly audience?: string;
  readonly nowMs?: number;
}
function made(
  verdict: 'valid' | 'invalid',
  comment: string,
  flags: readonly string[],
  given: Given,
): VectorCase {
  const { url = at(good), issuer = ISSUER, audience = AUDIENCE, nowMs = AT * 1000 } = given;
  return { comment, flags, url, issuer, audience, nowMs, verdict };
}
const valid = (comment: string, flags: readonly string[], given: Given) =>
  made('valid', comment, flags, given);
const invalid = (reason: string, comment: string, flags: readonly string[], given: Given) => ({
  ...made('invalid', comment, flags, given),
  reason,
});
const [h, c, s] = good.split('.') as [string, string, string];
const hs256 = (): string => {
  const input = `${segment({ ...HEADER, alg: 'HS256' })}.${c}`;
  return `${input}.${hmac(Buffer.from(TRUSTED_JWK.x, 'base64url'), input).toString('base64url')}`;
};

export const callbackUrlToken: VectorFamily = {
  family: 'callback-url-token',
  description:
    'Checks of the token in a request URL (url) by the receiver issuer, for deliveries of the MCP server audience, with publicJwk, at nowMs. No other input is needed.',
  notes: {
    algorithm: 'EdDSA and its RFC 9864 name Ed25519 are the only algorithms.',
    token_type:
      'A valid token of another type, such as an access token under the same key, is rejected.',
    misdirected: 'A valid token for another server, path or receiver.',
    clock: 'The token ends at exp, without tolerance: receiver and issuer are the same party.',
    forged: 'The token was made or changed without the private key.',
    form: 'Exactly one parameter cb with one compact JWS, base64url without padding and without stray bits; claims of the right shape.',
  },
  shared: {
    publicJwk: TRUSTED_JWK,
    privateJwk: { $comment: 'RFC 8037 appendix A.1', ...RFC8037_PRIVATE },
  },
  cases: [
    valid('EdDSA', [], {}),
    valid('Ed25519, the name of RFC 9864', ['algorithm'], { url: at(header({ alg: 'Ed25519' })) }),
    valid('with kid', [], { url: at(header({ kid: '2026-11' })) }),
    valid('without iat', [], { url: at(omit('iat')) }),
    valid('an unknown claim', [], { url: at(claims({ tenant: 'a' })) }),
    valid('other parameters of the endpoint', [], { url: `${ENDPOINT}?tenant=1&cb=${good}` }),
    valid('one second before exp', ['clock'], { nowMs: (AT + 86399) * 1000 }),
    invalid('expired', 'at exp', ['clock'], { nowMs: (AT + 86400) * 1000 }),
    invalid('expired', 'after exp', ['clock'], { nowMs: (AT + 86401) * 1000 }),
    invalid('wrong_claims', 'nbf in the future', ['clock'], {
      url: at(claims({ nbf: AT + 60 })),
    }),
    invalid('wrong_audience', 'for another MCP server', ['misdirected'], {
      url: at(claims({ aud: 'https://other.example.com/mcp' })),
    }),
    invalid('wrong_issuer', 'minted by another receiver under the same key', ['misdirected'], {
      url: at(claims({ iss: 'https://other.example.com' })),
    }),
    invalid('wrong_path', 'for another path', ['misdirected'], {
      url: `https://hooks.example.com/mcp/admin?cb=${good}`,
    }),
    invalid('wrong_path', 'for a path below', ['misdirected'], { url: `${ENDPOINT}/x?cb=${good}` }),
    invalid('wrong_path', 'trailing slash', ['misdirected'], { url: `${ENDPOINT}/?cb=${good}` }),
    invalid('wrong_header', 'access token', ['token_type'], { url: at(header({ typ: 'at+jwt' })) }),
    invalid('wrong_header', 'plain JWT', ['token_type'], { url: at(header({ typ: 'JWT' })) }),
    invalid('wrong_header', 'no typ', ['token_type'], { url: at(token({ alg: 'EdDSA' }, CLAIMS)) }),
    invalid('wrong_header', 'typ of a delivery signature', ['token_type'], {
      url: at(header({ typ: 'mcp-delivery+jws' })),
    }),
    invalid('wrong_header', 'typ with the prefix application/', ['token_type'], {
      url: at(header({ typ: 'application/mcp-callback+jwt' })),
    }),
    invalid('wrong_header', 'alg none, no signature', ['algorithm', 'forged'], {
      url: at(`${segment({ ...HEADER, alg: 'none' })}.${c}.`),
    }),
    invalid('wrong_header', 'alg none, valid signature', ['algorithm'], {
      url: at(header({ alg: 'none' })),
    }),
    invalid('wrong_header', 'HS256 with the public key as secret', ['algorithm', 'forged'], {
      url: at(hs256()),
    }),
    invalid('wrong_header', 'a critical extension', ['form'], {
      url: at(header({ crit: ['exp'], exp: 1 })),
    }),
    invalid('no_match', 'another key', ['forged'], { url: at(token(HEADER, CLAIMS, OTHER_KEY)) }),
    invalid('no_match', 'another key, embedded as jwk', ['forged'], {
      url: at(header({ jwk: OTHER_JWK }, OTHER_KEY)),
    }),
    invalid('no_match', 'claims changed under the old signature', ['forged'], {
      url: at(`${h}.${segment({ ...CLAIMS, sub: 'another-key' })}.${s}`),
    }),
    invalid('no_match', 'header changed under the old signature', ['forged'], {
      url: at(`${segment({ ...HEADER, kid: 'x' })}.${c}.${s}`),
    }),
    invalid('no_match', 'first character of the signature changed', ['forged'], {
      url: at(`${h}.${c}.${s[0] === 'A' ? 'B' : 'A'}${s.slice(1)}`),
    }),
    invalid('malformed', 'stray bits at the end of the signature', ['form'], {
      url: at(`${good.slice(0, -1)}${String.fromCharCode(good.charCodeAt(good.length - 1) + 1)}`),
    }),
    invalid('malformed', 'two parts', ['form'], { url: at(`${h}.${c}`) }),
    invalid('malformed', 'four parts', ['form'], { url: at(`${good}.${s}`) }),
    invalid('malformed', 'claims are not JSON', ['form'], {
      url: at(`${h}.${segment('no')}.${s}`),
    }),
    invalid('malformed', 'empty parameter', ['form'], { url: `${ENDPOINT}?cb=` }),
    invalid('missing', 'no parameter', ['form'], { url: ENDPOINT }),
    invalid('missing', 'two parameters', ['form'], { url: `${ENDPOINT}?cb=${good}&cb=${good}` }),
    invalid('missing', 'in the fragment', ['form'], { url: `${ENDPOINT}#cb=${good}` }),
    invalid('wrong_claims', 'several audiences', ['form', 'misdirected'], {
      url: at(claims({ aud: [AUDIENCE, 'https://other.example.com/mcp'] })),
    }),
    invalid('wrong_claims', 'exp with a fraction', ['form'], {
      url: at(claims({ exp: AT + 0.5 })),
    }),
    ...['sub', 'htp', 'jti', 'exp'].map((member) =>
      invalid('wrong_claims', `no ${member}`, ['form'], { url: at(omit(member)) }),
    ),
    invalid('wrong_issuer', 'no iss', ['form'], { url: at(omit('iss')) }),
    invalid('wrong_audience', 'no aud', ['form'], { url: at(omit('aud')) }),
  ],
};
