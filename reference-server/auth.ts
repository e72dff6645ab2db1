/**
 * Authentication: accepts OAuth 2.0 bearer tokens (JWTs as in RFC 9068) of one issuer, for this
 * resource, with the scope `triggers`. In development without a configured issuer, the server
 * issues one token itself; it never runs without authentication.
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

/** The scope that a token must have. */
const SCOPE = 'triggers';

/**
 * Asymmetric algorithms only: with a symmetric one, every program that verifies tokens could also
 * forge them.
 */
const ALGORITHMS = ['EdDSA', 'Ed25519', 'ES256', 'ES384', 'PS256', 'RS256'];
const DEVELOPMENT_TOKEN_SECONDS = 30 * 86_400;

/** Authentication of the MCP endpoint. */
export interface Auth {
  /** Returns the verified token, or the response to send (401 or 403 with `WWW-Authenticate`). */
  authenticate(request: Request): Promise<AuthInfo | Response>;
  /** The protected resource metadata (RFC 9728). */
  readonly metadata: Readonly<Record<string, unknown>>;
  /** The path at which that document is served. */
  readonly metadataPath: string;
  /** The token that the server issued itself; null = the configuration names an issuer. */
  readonly developmentToken: string | null;
}

/** Creates the authentication for a configuration. */
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
    authenticate: requireBearerAuth({
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

/**
 * The issuer as tokens usually contain it: without the slash that `URL` appends to a bare origin.
 */
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
      throw new OAuthError(
        OAuthErrorCode.InvalidToken,
        'The access token has no subject. Get a token that has one.',
      );
    const named = [payload['client_id'], payload['azp']].find(
      (claim) => typeof claim === 'string' && claim !== '',
    );
    const client = typeof named === 'string' ? named : '';
    return {
      token,
      clientId: client,
      scopes:
        typeof payload['scope'] === 'string'
          ? payload['scope'].split(' ').filter((scope) => scope !== '')
          : [],
      expiresAt: payload.exp ?? 0,
      resource: audience,
      extra: { iss: issuer, sub: payload.sub, ...(client === '' ? {} : { client_id: client }) },
    };
  } catch (error) {
    throw tokenError(error);
  }
}

/** The error to send. Does not say why a token is invalid, except that it has expired. */
function tokenError(error: unknown): OAuthError {
  if (error instanceof OAuthError) return error;
  if (error instanceof errors.JWTExpired)
    return new OAuthError(
      OAuthErrorCode.InvalidToken,
      'The access token has expired. Get a new one.',
    );
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
    'The access token is not valid for this server. Get a token for this resource.',
  );
}

/**
 * An issuer for development on one machine. Its key is in the data directory, and its only subject
 * is `developer`.
 */
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
