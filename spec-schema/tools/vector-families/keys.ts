/**
 * Keys and encodings of the vectors. They use `node:crypto` and nothing from `src`, because the vectors that test the
 * library must not depend on it. The keys are public: do not use them anywhere else.
 */
import {
  createHash,
  createHmac,
  createPrivateKey,
  createPublicKey,
  sign,
  type KeyObject,
} from 'node:crypto';

/** RFC 8037 appendix A.1. Its RFC 7638 thumbprint, the `kid`, is in appendix A.3. */
export const RFC8037_PRIVATE = {
  kty: 'OKP',
  crv: 'Ed25519',
  d: 'nWGxne_9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A',
  x: '11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo',
} as const;
export const RFC8037_KID = 'kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k';

/** The attacker's Ed25519 key. Its seed is the bytes 1 to 32. */
export const OTHER_KEY: KeyObject = createPrivateKey({
  key: Buffer.concat([
    Buffer.from('302e020100300506032b657004220420', 'hex'),
    Buffer.from(Array.from({ length: 32 }, (_, i) => i + 1)),
  ]),
  format: 'der',
  type: 'pkcs8',
});
export const TRUSTED_KEY: KeyObject = createPrivateKey({
  key: { ...RFC8037_PRIVATE },
  format: 'jwk',
});

const { d: _private, ...publicJwk } = RFC8037_PRIVATE;
export const TRUSTED_JWK = { ...publicJwk, kid: RFC8037_KID, use: 'sig' } as const;

/** The attacker's public key, as a message would contain it. */
export const OTHER_JWK = createPublicKey(OTHER_KEY).export({ format: 'jwk' });

/** Returns a secret of this many equal bytes. */
export const secretOf = (bytes: number, fill: number): string =>
  `whsec_${Buffer.alloc(bytes, fill).toString('base64')}`;
export const secretBytes = (secret: string): Buffer =>
  Buffer.from(secret.slice('whsec_'.length), 'base64');
export const base64 = (bytes: Buffer | string): string =>
  Buffer.from(bytes as string).toString('base64');
export const segment = (value: unknown): string =>
  Buffer.from(typeof value === 'string' ? value : JSON.stringify(value)).toString('base64url');
export const sha256 = (text: string): string =>
  createHash('sha256').update(text, 'utf8').digest('base64url');

export const hmac = (key: Buffer, ...parts: (string | Buffer)[]): Buffer => {
  const mac = createHmac('sha256', key);
  for (const part of parts) mac.update(part);
  return mac.digest();
};

export const ed25519 = (key: KeyObject, ...parts: (string | Buffer)[]): string =>
  sign(null, Buffer.concat(parts.map((part) => Buffer.from(part as string))), key).toString(
    'base64url',
  );
