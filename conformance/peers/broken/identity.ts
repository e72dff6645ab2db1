/**
 * The proxy's own signing key. The server signs for the callback URL of the proxy instead of the
 * registered one, so its `MCP-Delivery-Signature` does not verify at the callback. The proxy
 * therefore publishes its own key and signs its requests as a correct server would.
 */
import { createHash, generateKeyPairSync, sign, type KeyObject } from 'node:crypto';

/** Parsed JSON. */
type Json = any;

const KID = 'proxy';

export class Identity {
  readonly #privateKey: KeyObject;
  /** The JWK Set as text. */
  readonly jwks: string;

  constructor() {
    const { privateKey, publicKey } = generateKeyPairSync('ed25519');
    this.#privateKey = privateKey;
    this.jwks = JSON.stringify({
      keys: [{ ...publicKey.export({ format: 'jwk' }), kid: KID, alg: 'EdDSA', use: 'sig' }],
    });
  }

  /**
   * The protected header of the server's signature, corrected for the registered URL; undefined
   * without a signature.
   */
  headerFor(url: string, value: string | undefined): Json {
    if (value === undefined) return undefined;
    const header = JSON.parse(Buffer.from(value.split('.')[0]!, 'base64url').toString()) as object;
    return {
      ...header,
      kid: KID,
      origin: new URL(url).origin,
      uh: createHash('sha256').update(url).digest('base64url'),
    };
  }

  /** Signs a body. Returns the value of `MCP-Delivery-Signature`. */
  sign(header: Json, body: Buffer): string {
    const head = Buffer.from(JSON.stringify(header)).toString('base64url');
    return `${head}..${sign(null, Buffer.concat([Buffer.from(`${head}.`), body]), this.#privateKey).toString('base64url')}`;
  }
}
