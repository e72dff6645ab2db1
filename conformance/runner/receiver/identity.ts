/**
 * The identity of a server (SEP: Server identity): its signing key, the key set that it publishes on
 * loopback, and detached JWS with any header.
 */
import { createHash, createHmac, generateKeyPairSync, sign, type KeyObject } from 'node:crypto';
import { once } from 'node:events';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import type { Json } from '../wire/session.ts';

const encode = (value: object): string => Buffer.from(JSON.stringify(value)).toString('base64url');

/** Signs the signing input of a JWS. */
export type Signer = (input: Buffer) => Buffer;
const ed25519 =
  (key: KeyObject): Signer =>
  (input) =>
    sign(null, input, key);
export const hs256 =
  (secret: Buffer | string): Signer =>
  (input) =>
    createHmac('sha256', secret).update(input).digest();
export const unsigned: Signer = () => Buffer.alloc(0);
/** ES256 under a new, unpublished key. */
export function es256(): Signer {
  const { privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  return (input) => sign('sha256', input, { key: privateKey, dsaEncoding: 'ieee-p1363' });
}

/** A compact JWS. */
export function compact(header: object, claims: object, make: Signer): string {
  const input = `${encode(header)}.${encode(claims)}`;
  return `${input}.${make(Buffer.from(input)).toString('base64url')}`;
}

/** A detached JWS with an unencoded payload. */
export function detached(header: object, body: Buffer, make: Signer): string {
  const first = encode(header);
  return `${first}..${make(Buffer.concat([Buffer.from(`${first}.`), body])).toString('base64url')}`;
}

/** The signing key of one server, published in a key set. */
export class Identity {
  readonly kid: string;
  /** Number of times the key set was fetched. */
  fetched = 0;
  /** Whether the key set cannot be fetched at the moment. */
  isDown = false;
  readonly #keys = generateKeyPairSync('ed25519');
  readonly #server: Server;

  private constructor(kid: string) {
    this.kid = kid;
    this.#server = createServer((_request, response) => {
      this.fetched += 1;
      if (this.isDown) return void response.writeHead(503).end();
      return void response
        .writeHead(200, { 'content-type': 'application/json' })
        .end(JSON.stringify({ keys: [this.jwk] }));
    });
  }

  static async publish(kid: string): Promise<Identity> {
    const identity = new Identity(kid);
    identity.#server.listen(0, '127.0.0.1');
    await once(identity.#server, 'listening');
    return identity;
  }

  get #origin(): string {
    return `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}`;
  }
  /** The resource URI of the server. */
  get audience(): string {
    return `${this.#origin}/mcp`;
  }
  get jwksUri(): string {
    return `${this.#origin}/jwks.json`;
  }
  /** The members of a registration that describe this server. */
  get registration(): { readonly audience: string; readonly jwksUri: string } {
    return { audience: this.audience, jwksUri: this.jwksUri };
  }
  get jwk(): Json {
    return { ...this.#keys.publicKey.export({ format: 'jwk' }), kid: this.kid, use: 'sig' };
  }
  get signer(): Signer {
    return ed25519(this.#keys.privateKey);
  }

  /**
   * The protected header of a correct signature for this URL and subscription, issued now. `issuer` is
   * the server that the receiver registered with.
   */
  header(url: string, subscriptionId: string, issuer: string): Json {
    return {
      typ: 'mcp-delivery+jws',
      alg: 'EdDSA',
      kid: this.kid,
      b64: false,
      crit: ['b64'],
      iss: issuer,
      iat: Math.floor(Date.now() / 1000),
      htm: 'POST',
      origin: new URL(url).origin,
      uh: createHash('sha256').update(url).digest('base64url'),
      sub: subscriptionId,
    };
  }

  async close(): Promise<void> {
    this.#server.closeAllConnections();
    this.#server.close();
    await once(this.#server, 'close');
  }
}
