/**
 * Encrypts secrets in the store (SEP: Security Implications): AES-256-GCM with a random 96-bit
 * nonce. The tag also covers the place of a value, so that a value that was moved to another column
 * or row cannot be decrypted.
 */
import { createCipheriv, createDecipheriv, createSecretKey, randomBytes } from 'node:crypto';
import { LocalError } from '../../../protocol/wire/errors.ts';

/** The first byte of every encrypted value. */
const FORMAT = 1;
/** Bytes of the nonce and of the tag. */
const NONCE = 12;
const TAG = 16;

/** Encrypts and decrypts values of the store. */
export interface Cipher {
  /** Returns format byte, nonce, ciphertext and tag. `place` is `table/column/row identity`. */
  encrypt(place: string, plain: string): Uint8Array;
  /**
   * Returns the plain text. Throws `LocalError` `store_corrupt` if the key, place or bytes differ
   * from those of `encrypt`.
   */
  decrypt(place: string, encrypted: Uint8Array): string;
}

/**
 * Creates a cipher from a key of 32 bytes. Throws `LocalError` `config_invalid` for another length.
 */
export function createCipher(key: Uint8Array): Cipher {
  if (key.byteLength !== 32)
    throw new LocalError(
      'config_invalid',
      `The store's key must have 32 bytes, but has ${key.byteLength}. Generate one with: openssl rand -base64 32`,
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
    decrypt(place, encrypted) {
      const body = encrypted.length - TAG;
      if (encrypted[0] !== FORMAT || body < 1 + NONCE) throw damaged();
      const decipher = createDecipheriv('aes-256-gcm', secret, encrypted.subarray(1, 1 + NONCE), {
        authTagLength: TAG,
      });
      decipher.setAAD(Buffer.from(place));
      decipher.setAuthTag(encrypted.subarray(body));
      try {
        return (
          decipher.update(encrypted.subarray(1 + NONCE, body), undefined, 'utf8') +
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
    'An encrypted value of the store cannot be decrypted: it is damaged, was moved, or has another key. Restore a backup.',
    { cause },
  );
