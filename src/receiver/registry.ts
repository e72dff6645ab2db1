/**
 * The registered keys of a receiver, each with its URL and secrets. A registration is stored before
 * its URL is returned, so that the receiver can answer a challenge that arrives before the result of
 * `triggers/subscribe` (SEP: Signed callback URLs, Verification).
 */
import type { KeyObject } from 'node:crypto';
import type { Clock } from '../protocol/lib/clock.ts';
import { recordName, type Ledger, type RegistrationRecord } from '../protocol/ledger/ledger.ts';
import { KeyedMutex } from '../protocol/lib/keyed-mutex.ts';
import { CALLBACK_TOKEN_PARAMETER, mintCallbackUrl } from '../protocol/wire/callback-url.ts';
import { LocalError } from '../protocol/wire/errors.ts';
import type { HeadersLike } from '../protocol/wire/headers.ts';
import { SECRET_ROTATION_GRACE_MS } from '../protocol/wire/limits.ts';
import { Secret } from '../protocol/wire/secret.ts';
import { verifyWebhook } from '../protocol/wire/signature.ts';

/** Identifies a subscription at its receiver: the MCP server's resource URI and the `key`. */
export interface SubscriptionRef {
  readonly audience: string;
  readonly key: string;
}

/**
 * A registered callback. Pass `url` and `secret` to `triggers/subscribe` or `triggers/update`; both
 * are secrets.
 */
export interface Registration {
  readonly url: string;
  readonly secret: string;
  /**
   * Instant (epoch milliseconds) after which to register again and to update the callback. The token
   * in the URL expires later.
   */
  readonly renewAt: number;
}

export interface RegistryOptions {
  readonly endpoint: URL;
  readonly issuer: string;
  readonly signingKey: { readonly kid: string; readonly privateKey: KeyObject };
  readonly tokenTtlMs: number;
  readonly ledger: Ledger;
  readonly clock: Clock;
}

/** A registration with parsed secrets. */
export interface KnownRegistration {
  readonly record: RegistrationRecord;
  readonly current: Secret;
  readonly previous: Secret | null;
}

export class Registry {
  readonly #o: RegistryOptions;
  readonly #known = new Map<string, KnownRegistration>();
  readonly #mutex = new KeyedMutex();

  constructor(options: RegistryOptions) {
    this.#o = options;
  }

  async find({ audience, key }: SubscriptionRef): Promise<KnownRegistration | undefined> {
    const name = recordName('registration', audience, key);
    const cached = this.#known.get(name);
    if (cached) return cached;
    const record = await this.#o.ledger.load('registration', audience, key);
    return record && this.#keep(record);
  }

  /**
   * Returns the URL and the secret of a key. Makes both for a new key, and a new URL after half the
   * lifetime of the old one. A `given` secret that differs replaces the old one as `rotate` does.
   */
  register(ref: SubscriptionRef, given?: string): Promise<Registration> {
    return this.#change(ref, async (before) => {
      const secret = given === undefined ? undefined : Secret.parse(given).reveal();
      const fresh = before && this.#renewAt(before) > this.#o.clock.now() ? before : undefined;
      if (fresh && (secret === undefined || secret === fresh.secret)) return fresh;
      const minted = fresh ?? {
        ...(await this.#mint(ref)),
        ...(before ? secretsOf(before) : newSecrets(secret)),
      };
      return secret === undefined || secret === minted.secret
        ? minted
        : { ...minted, ...replaced(minted, secret) };
    });
  }

  /**
   * Generates a new secret. The old one stays valid until 5 minutes after the first use of the new
   * one.
   */
  rotate(ref: SubscriptionRef): Promise<Registration> {
    return this.#change(ref, async (before) => {
      if (!before)
        throw new LocalError('config_invalid', 'The key is not registered. Call `register` first.');
      return { ...before, ...replaced(before, Secret.generate().reveal()) };
    });
  }

  /** Forgets a key. From then on its deliveries are rejected. */
  async forget({ audience, key }: SubscriptionRef): Promise<void> {
    const name = recordName('registration', audience, key);
    await this.#mutex.run(name, async () => {
      this.#known.delete(name);
      await this.#o.ledger.remove('registration', audience, key);
    });
  }

  /**
   * Returns the secret that verifies the body. Throws `LocalError` `signature_invalid` or
   * `signature_stale`.
   */
  async verify(
    known: KnownRegistration,
    headers: HeadersLike,
    body: Uint8Array,
    idGrammar?: RegExp,
  ): Promise<Secret> {
    const now = this.#o.clock.now();
    const { current, previous, record } = known;
    try {
      verifyWebhook(headers, body, current, now, undefined, idGrammar);
    } catch (error) {
      const mayBePrevious =
        previous && (record.previousUntil === null || now <= record.previousUntil);
      if (!mayBePrevious || (error as LocalError).reason !== 'no_match') throw error;
      verifyWebhook(headers, body, previous, now, undefined, idGrammar);
      return previous;
    }
    if (previous && record.previousUntil === null) await this.#rotated(record);
    return current;
  }

  /**
   * Returns the registered URL with this token. The URL of the request may differ, because a proxy
   * can change it.
   */
  urlWith(token: string): string {
    const { href, search } = this.#o.endpoint;
    return `${href}${search === '' ? '?' : '&'}${CALLBACK_TOKEN_PARAMETER}=${token}`;
  }

  /** Starts the grace window of the old secret, after the server has used the new one. */
  async #rotated({ server, key }: RegistrationRecord): Promise<void> {
    await this.#change({ audience: server, key }, async (before) => ({
      ...before!,
      previousUntil: before!.previousUntil ?? this.#o.clock.now() + SECRET_ROTATION_GRACE_MS,
    }));
  }

  #change(
    ref: SubscriptionRef,
    change: (before: RegistrationRecord | undefined) => Promise<Stored>,
  ): Promise<Registration> {
    const { audience: server, key } = ref;
    return this.#mutex.run(recordName('registration', server, key), async () => {
      const before = (await this.find(ref))?.record;
      const record: RegistrationRecord = {
        ...(await change(before)),
        kind: 'registration',
        server,
        key,
      };
      if (
        record.url !== before?.url ||
        record.secret !== before.secret ||
        record.previousUntil !== before.previousUntil
      )
        await this.#o.ledger.save(record);
      this.#keep(record);
      return { url: record.url, secret: record.secret, renewAt: this.#renewAt(record) };
    });
  }

  #keep(record: RegistrationRecord): KnownRegistration {
    const known = {
      record,
      current: Secret.parse(record.secret),
      previous: record.previousSecret === null ? null : Secret.parse(record.previousSecret),
    };
    this.#known.set(recordName('registration', record.server, record.key), known);
    return known;
  }

  #renewAt({ expiresAt }: Pick<RegistrationRecord, 'expiresAt'>): number {
    return expiresAt - this.#o.tokenTtlMs / 2;
  }

  async #mint({
    audience,
    key,
  }: SubscriptionRef): Promise<Pick<RegistrationRecord, 'url' | 'expiresAt'>> {
    const {
      endpoint,
      issuer,
      signingKey: { kid, privateKey },
      tokenTtlMs,
      clock,
    } = this.#o;
    const now = clock.now();
    const url = await mintCallbackUrl({
      endpoint: endpoint.href,
      key,
      audience,
      issuer,
      privateKey,
      kid,
      now,
      ttlSeconds: tokenTtlMs / 1000,
    });
    return { url, expiresAt: now + tokenTtlMs };
  }
}

type Secrets = Pick<RegistrationRecord, 'secret' | 'previousSecret' | 'previousUntil'>;
type Stored = Secrets & Pick<RegistrationRecord, 'url' | 'expiresAt'>;

const newSecrets = (secret = Secret.generate().reveal()): Secrets => ({
  secret,
  previousSecret: null,
  previousUntil: null,
});
const secretsOf = ({ secret, previousSecret, previousUntil }: Secrets): Secrets => ({
  secret,
  previousSecret,
  previousUntil,
});
const replaced = (before: Secrets, secret: string): Secrets => ({
  secret,
  previousSecret: before.secret,
  previousUntil: null,
});
