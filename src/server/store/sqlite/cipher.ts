/**
 * Encryption at rest (SEP: Security Implications): AES-256-GCM with a random 96-bit nonce. The place a value belongs to is
 * authenticated with it, so a sealed value that was moved to another column or row does not open.
 */
import { createCipheriv, createDecipheriv, createSecretKey, randomBytes } from 'node:crypto';
import { LocalError } from '../../../protocol/wire/errors.ts';

const FORMAT = 1;
const NONCE = 12;
const TAG = 16;

export interface Cipher {
  /** Format byte, nonce, ciphertext, tag. `place` is `table/column/row identity`. */
  encrypt(place: string, plain: string): Uint8Array;
  /** Throws `LocalError` `store_corrupt` when key, place or bytes are not those of `seal`. */
  decrypt(place: string, sealed: Uint8Array): string;
}

export function createCipher(key: Uint8Array): Cipher {
  if (key.byteLength !== 32)
    throw new LocalError(
      'config_invalid',
      `The store's key must have 32 bytes; it has ${key.byteLength}. Make one with: openssl rand -base64 32`,
    );
  const secret = createSecretKey(key);
  return {
    encrypt(place, plain) {
      const nonce = randomBytes(NONCE);
      const cipher = createCipheriv('aes-256-gcm', secret, nonce, { authTagLength: TAG });
      cipher.setAAD(Buffer.from(place));
      const body = Buffer.concat([cipher.update(plain, 'utf8'), cipher.final()]);
      return Buffer.concat([Uint8Array.of(FORMAT), nonce, body, cipher.getAuthTag()]);
    },
    decrypt(place, sealed) {
      const body = sealed.length - TAG;
      if (sealed[0] !== FORMAT || body < 1 + NONCE) throw damaged();
      const decipher = createDecipheriv('aes-256-gcm', secret, sealed.subarray(1, 1 + NONCE), {
        authTagLength: TAG,
      });
      decipher.setAAD(Buffer.from(place));
      decipher.setAuthTag(sealed.subarray(body));
      try {
        return (
          decipher.update(sealed.subarray(1 + NONCE, body), undefined, 'utf8') +
          decipher.final('utf8')
        );
      } catch (cause) {
        throw damaged(cause);
      }
    },
  };
}

const damaged = (cause?: unknown) =>
  new LocalError(
    'store_corrupt',
    'A sealed value of the store does not open: it is damaged, was moved, or was sealed with another key. Restore a backup.',
    { cause },
  );
