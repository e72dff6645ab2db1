/**
 * Signed callback URLs: a receiver mints the URL that its client registers, and later recognizes it
 * without a database, before it reads the body. The token does not replace the signature of a
 * delivery (SEP: Signed callback URLs).
 */
import { randomUUID, type KeyObject } from 'node:crypto';
import { errors, jwtVerify, SignJWT, type CryptoKey, type JWK } from 'jose';
import type { CallbackUrlClaims } from '../../../spec-schema/draft/schema.ts';
import { decodeBase64url, decodeJsonSegment } from './base64url.ts';
import { LocalError } from './errors.ts';
import { CALLBACK_URL_CHARS_MAX } from './limits.ts';
import { check } from './validate.ts';

export const CALLBACK_TOKEN_PARAMETER = 'cb';
const TYP = 'mcp-callback+jwt';
const SIGNATURE_BYTES = 64;
const ALGORITHMS = ['EdDSA', 'Ed25519'];

/** The claims of a callback URL, and the key that signs it. */
export interface MintOptions {
  /** The receiver's endpoint. */
  readonly endpoint: string;
  /** The subscription's `key`, which the client must pass to `triggers/subscribe`. */
  readonly key: string;
  /** The MCP server's resource URI. */
  readonly audience: string;
  /** The name of the receiver, the claim `iss`. */
  readonly issuer: string;
  /** An Ed25519 key. */
  readonly privateKey: KeyObject | CryptoKey | JWK;
  readonly kid?: string;
  /** Epoch milliseconds. */
  readonly now: number;
  readonly ttlSeconds: number;
  /** At least 16 characters, unique per token. Default: a random UUID. */
  readonly jti?: string;
}

/**
 * Mints the URL to register, which is a secret. Throws `LocalError` `config_invalid` if an option is
 * not valid or the URL becomes too long.
 */
export async function mintCallbackUrl(options: MintOptions): Promise<string> {
  const endpoint = URL.parse(options.endpoint);
  if (
    !endpoint ||
    endpoint.hash !== '' ||
    endpoint.username !== '' ||
    endpoint.password !== '' ||
    endpoint.searchParams.has(CALLBACK_TOKEN_PARAMETER)
  ) {
    throw new LocalError(
      'config_invalid',
      `The endpoint must be an absolute URL without a fragment, user information or a parameter "${CALLBACK_TOKEN_PARAMETER}".`,
    );
  }
  const iat = Math.floor(options.now / 1000);
  const claims: CallbackUrlClaims = {
    iss: options.issuer,
    aud: options.audience,
    sub: options.key,
    htp: endpoint.pathname,
    exp: iat + Math.floor(options.ttlSeconds),
    iat,
    jti: options.jti ?? randomUUID(),
  };
  const checked = check('CallbackUrlClaims', claims);
  if (!checked.ok)
    throw new LocalError(
      'config_invalid',
      `A callback URL cannot be minted: claim ${checked.path} must be ${checked.expected}.`,
    );

  const header =
    options.kid === undefined
      ? { typ: TYP, alg: 'EdDSA' }
      : { typ: TYP, alg: 'EdDSA', kid: options.kid };
  const token = await new SignJWT({ ...claims })
    .setProtectedHeader(header)
    .sign(options.privateKey)
    .catch((cause: unknown) => {
      throw new LocalError(
        'config_invalid',
        'The signing key of callback URLs must be an Ed25519 private key. Pass one as `privateKey`.',
        { cause },
      );
    });
  const url = `${endpoint.href}${endpoint.search === '' ? '?' : '&'}${CALLBACK_TOKEN_PARAMETER}=${token}`;
  if (url.length > CALLBACK_URL_CHARS_MAX) {
    throw new LocalError(
      'config_invalid',
      `The callback URL would have more than ${CALLBACK_URL_CHARS_MAX} characters. Shorten the endpoint, the issuer, the audience or the key.`,
    );
  }
  return url;
}

/** The trusted keys and the expected claims of a callback URL. */
export interface VerifyOptions {
  /** One key, or several during a key rotation. */
  readonly publicKeys: KeyObject | CryptoKey | JWK | readonly (KeyObject | CryptoKey | JWK)[];
  readonly issuer: string;
  /**
   * The MCP servers to accept. Absent = any; the caller then looks up the secret by the claims `aud`
   * and `sub`.
   */
  readonly audience?: string | readonly string[];
  /** Epoch milliseconds. */
  readonly now: number;
}

/** Why a token is rejected: the `reason` of `token_invalid`. */
export type TokenRefusal =
  | 'missing'
  | 'malformed'
  | 'wrong_header'
  | 'wrong_claims'
  | 'wrong_issuer'
  | 'wrong_audience'
  | 'wrong_path'
  | 'expired'
  | 'no_match';

/**
 * Verifies the token in a request's URL (absolute, or the request target) and returns its claims.
 * Throws `LocalError` `token_invalid` with a {@link TokenRefusal} as `reason`.
 */
export async function verifyCallbackUrl(
  url: string | URL,
  options: VerifyOptions,
): Promise<CallbackUrlClaims> {
  const { path, token } = locate(url);
  const [headerSegment = '', claimsSegment = '', signatureSegment = '', ...rest] = token.split('.');
  const header = decodeJsonSegment(headerSegment);
  const payload = decodeJsonSegment(claimsSegment);
  if (!header || !payload || rest.length > 0) throw refuse('malformed');
  // Checked before a key is used: no key may verify another algorithm or another type of token.
  if (!check('CallbackUrlHeader', header).ok || 'crit' in header) throw refuse('wrong_header');
  if (decodeBase64url(signatureSegment)?.length !== SIGNATURE_BYTES) throw refuse('malformed');
  await verifySignature(token, options);
  const claims = check('CallbackUrlClaims', payload);
  if (!claims.ok) throw refuse('wrong_claims');
  if (claims.value.htp !== path) throw refuse('wrong_path');
  return claims.value;
}

/**
 * Finds the path and the token in a URL. Rejects a URL with several tokens, because a gateway and a
 * receiver could pick different ones.
 */
function locate(url: string | URL): { readonly path: string; readonly token: string } {
  const parsed =
    typeof url === 'string'
      ? URL.parse(url.startsWith('/') ? `https://receiver.invalid${url}` : url)
      : url;
  const tokens = parsed?.searchParams.getAll(CALLBACK_TOKEN_PARAMETER) ?? [];
  if (!parsed || tokens.length !== 1) throw refuse('missing');
  return { path: parsed.pathname, token: tokens[0]! };
}

async function verifySignature(token: string, options: VerifyOptions): Promise<void> {
  const keys = Array.isArray(options.publicKeys)
    ? (options.publicKeys as readonly (KeyObject | CryptoKey | JWK)[])
    : [options.publicKeys as KeyObject];
  let refusal = refuse('no_match');
  for (const key of keys) {
    try {
      await jwtVerify(token, key, {
        algorithms: ALGORITHMS,
        typ: TYP,
        issuer: options.issuer,
        currentDate: new Date(options.now),
        ...(options.audience === undefined
          ? {}
          : { audience: options.audience as string | string[] }),
      });
      return;
    } catch (cause) {
      refusal = refusalOf(cause);
      // `jose` checks claims only after the signature matched, so no other key can match.
      if (refusal.reason !== 'no_match') throw refusal;
    }
  }
  throw refusal;
}

/** Converts an error of `jose`. Its claim errors contain the claims and are not kept as the cause. */
function refusalOf(cause: unknown): LocalError {
  if (cause instanceof errors.JWTExpired) return refuse('expired');
  if (cause instanceof errors.JWTClaimValidationFailed) {
    return refuse(
      cause.claim === 'iss'
        ? 'wrong_issuer'
        : cause.claim === 'aud'
          ? 'wrong_audience'
          : 'wrong_claims',
    );
  }
  return refuse('no_match', cause);
}

const MESSAGES: Readonly<Record<TokenRefusal, string>> = {
  missing: `does not have exactly one parameter "${CALLBACK_TOKEN_PARAMETER}"`,
  malformed: 'does not contain a compact JWS',
  wrong_header: `does not contain a token of type ${TYP} and algorithm Ed25519`,
  wrong_claims: 'does not contain the claims of a callback token',
  wrong_issuer: 'was minted by another receiver',
  wrong_audience: 'was minted for another MCP server',
  wrong_path: 'was minted for another path',
  expired: 'has expired',
  no_match: 'was not minted with a key of this receiver',
};

const refuse = (reason: TokenRefusal, cause?: unknown) =>
  new LocalError(
    'token_invalid',
    `The callback URL ${MESSAGES[reason]}. Register a newly minted URL, and pass it on unchanged.`,
    { reason, cause },
  );
