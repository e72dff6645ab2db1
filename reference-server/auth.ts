/**
 * Who may come in: OAuth 2.0 bearer tokens (JWT, RFC 9068 shape) of one issuer, for this resource, with scope `triggers`. This
 * server is a resource server only. Development without an issuer makes its own and hands out one token; there is no way
 * to run without checking.
 */
import {
  getOAuthProtectedResourceMetadataUrl,
  OAuthError,
  OAuthErrorCode,
  requireBearerAuth,
  type AuthInfo,
} from '@modelcontextprotocol/server';
import {
  calculateJwkThumbprint,
  createLocalJWKSet,
  createRemoteJWKSet,
  errors,
  importJWK,
  jwtVerify,
  SignJWT,
  type JWTVerifyGetKey,
} from 'jose';
import type { Config } from './config.ts';
import { signingKeyFile } from './keys.ts';

/** The scope a token needs for everything this server does. */
export const SCOPE = 'triggers';

/** Symmetric algorithms are left out: with them, whoever can check a token can make one. */
const ALGORITHMS = ['EdDSA', 'Ed25519', 'ES256', 'ES384', 'PS256', 'RS256'];
const DEVELOPMENT_TOKEN_SECONDS = 30 * 86_400;

/** The door of the MCP endpoint. */
export interface Auth {
  /** The verified token, or the refusal to send (401 or 403 with `WWW-Authenticate`). */
  gate(request: Request): Promise<AuthInfo | Response>;
  /** RFC 9728: where to get a token for which resource. */
  readonly metadata: Readonly<Record<string, unknown>>;
  /** Path of that document. */
  readonly metadataPath: string;
  /** The one token of a development issuer; null when there is a real issuer. */
  readonly developmentToken: string | null;
}

/** Builds the door from the configuration. */
export async function createAuth(config: Config): Promise<Auth> {
  const audience = config.AUTH_AUDIENCE ?? config.resource;
  const resourceMetadataUrl = getOAuthProtectedResourceMetadataUrl(config.resource);
  const issuer =
    config.AUTH_ISSUER && config.AUTH_JWKS_URI
      ? {
          iss: issuerText(config.AUTH_ISSUER),
          keys: createRemoteJWKSet(config.AUTH_JWKS_URI, { timeoutDuration: 5000 }),
          token: null,
        }
      : await developmentIssuer(config, audience);
  return {
    gate: requireBearerAuth({
      verifier: { verifyAccessToken: (token) => verify(token, issuer.keys, issuer.iss, audience) },
      requiredScopes: [SCOPE],
      expectedResource: audience,
      resourceMetadataUrl,
    }),
    metadata: {
      resource: config.resource.href,
      ...(issuer.token === null ? { authorization_servers: [issuer.iss] } : {}),
      scopes_supported: [SCOPE],
      bearer_methods_supported: ['header'],
      resource_name: 'MCP triggers reference server',
    },
    metadataPath: new URL(resourceMetadataUrl).pathname,
    developmentToken: issuer.token,
  };
}

/** An issuer is compared as text, and most have no trailing slash, which `URL` would add to a bare origin. */
const issuerText = (url: URL) =>
  url.pathname === '/' && url.search === '' ? url.origin : url.href;

async function verify(
  token: string,
  keys: JWTVerifyGetKey,
  issuer: string,
  audience: URL,
): Promise<AuthInfo> {
  try {
    const { payload } = await jwtVerify(token, keys, {
      issuer,
      audience: audience.href,
      algorithms: ALGORITHMS,
      requiredClaims: ['exp', 'sub'],
      clockTolerance: 5,
    });
    if (typeof payload.sub !== 'string' || payload.sub === '')
      throw new OAuthError(OAuthErrorCode.InvalidToken, 'The access token has no subject.');
    return {
      token,
      clientId: typeof payload['client_id'] === 'string' ? payload['client_id'] : payload.sub,
      scopes:
        typeof payload['scope'] === 'string'
          ? payload['scope'].split(' ').filter((scope) => scope !== '')
          : [],
      expiresAt: payload.exp ?? 0,
      resource: audience,
      extra: { iss: issuer, sub: payload.sub },
    };
  } catch (error) {
    throw refusal(error);
  }
}

/** One sentence per kind of failure. None tells a forger more than that it did not work. */
function refusal(error: unknown): OAuthError {
  if (error instanceof OAuthError) return error;
  if (error instanceof errors.JWTExpired)
    return new OAuthError(OAuthErrorCode.InvalidToken, 'The access token has expired.');
  const keysUnavailable =
    error instanceof errors.JWKSTimeout ||
    !(error instanceof errors.JOSEError) ||
    error.code === 'ERR_JOSE_GENERIC';
  if (keysUnavailable)
    return new OAuthError(
      OAuthErrorCode.ServerError,
      "The issuer's keys are not available. Try again later.",
    );
  return new OAuthError(
    OAuthErrorCode.InvalidToken,
    'The access token is not valid for this server.',
  );
}

/** An issuer for one machine: its key stays in the data directory, its only subject is `developer`. */
async function developmentIssuer(config: Config, audience: URL) {
  const jwk = await signingKeyFile(config.DATA_DIR, 'issuer');
  const kid = await calculateJwkThumbprint(jwk);
  const { d: _private, ...publicJwk } = jwk;
  const iss = `${config.PUBLIC_URL.origin}/development`;
  const token = await new SignJWT({ scope: SCOPE, client_id: 'development' })
    .setProtectedHeader({ alg: 'EdDSA', typ: 'at+jwt', kid })
    .setIssuer(iss)
    .setSubject('developer')
    .setAudience(audience.href)
    .setIssuedAt()
    .setExpirationTime(`${DEVELOPMENT_TOKEN_SECONDS}s`)
    .sign(await importJWK(jwk, 'EdDSA'));
  return {
    iss,
    keys: createLocalJWKSet({ keys: [{ ...publicJwk, kid, alg: 'EdDSA', use: 'sig' }] }),
    token,
  };
}
