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
import { Secret } from '../protocol/wire/secret.ts';
import { verifyWebhook } from '../protocol/wire/signature.ts';
import {
  isAccepted,
  isFirstUse,
  rotatedTo,
  usedAt,
  withoutEarlier,
  type RegisteredSecrets,
} from './registered-secrets.ts';

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
  /** The present one, then the earlier ones, newest first. */
  readonly secrets: readonly KnownSecret[];
}

interface KnownSecret {
  readonly secret: Secret;
  readonly until: number | null;
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
        : { ...minted, ...rotatedTo(minted, secret, this.#o.clock.now()) };
    });
  }

  /**
   * Generates a new secret. An earlier one stays valid until 5 minutes after the server has first
   * delivered with a later one (SEP: Signature).
   */
  rotate(ref: SubscriptionRef): Promise<Registration> {
    return this.#change(ref, async (before) => {
      const known = required(before);
      return { ...known, ...rotatedTo(known, Secret.generate().reveal(), this.#o.clock.now()) };
    });
  }

  /** Ends every secret but the present one. */
  async revokePrevious(ref: SubscriptionRef): Promise<void> {
    await this.#change(ref, async (before) => {
      const known = required(before);
      return { ...known, ...withoutEarlier(known) };
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
    const valid = known.secrets.filter((one) => isAccepted(one, now));
    for (const { secret } of valid.slice(0, -1)) {
      try {
        verifyWebhook(headers, body, secret, now, undefined, idGrammar);
        return secret;
      } catch (error) {
        if ((error as LocalError).reason !== 'no_match') throw error;
      }
    }
    const { secret } = valid.at(-1)!;
    verifyWebhook(headers, body, secret, now, undefined, idGrammar);
    return secret;
  }

  /**
   * Records that the server has delivered with this secret: those before it end in 5 minutes. A
   * challenge does not count, because the call that caused it can still fail.
   */
  async used({ record }: KnownRegistration, secret: Secret): Promise<void> {
    const used = secret.reveal();
    if (!isFirstUse(record, used)) return;
    await this.#change({ audience: record.server, key: record.key }, async (before) => {
      const known = required(before);
      return { ...known, ...usedAt(known, used, this.#o.clock.now()) };
    });
  }

  /**
   * Returns the registered URL with this token. The URL of the request may differ, because a proxy
   * can change it.
   */
  urlWith(token: string): string {
    const { href, search } = this.#o.endpoint;
    return `${href}${search === '' ? '?' : '&'}${CALLBACK_TOKEN_PARAMETER}=${token}`;
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
        record.earlierSecrets !== before.earlierSecrets
      )
        await this.#o.ledger.save(record);
      this.#keep(record);
      return { url: record.url, secret: record.secret, renewAt: this.#renewAt(record) };
    });
  }

  #keep(record: RegistrationRecord): KnownRegistration {
    const known = {
      record,
      secrets: [{ secret: record.secret, until: null }, ...record.earlierSecrets].map(
        ({ secret, until }) => ({ secret: Secret.parse(secret), until }),
      ),
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

type Stored = RegisteredSecrets & Pick<RegistrationRecord, 'url' | 'expiresAt'>;

const newSecrets = (secret = Secret.generate().reveal()): RegisteredSecrets => ({
  secret,
  earlierSecrets: [],
});
const secretsOf = ({ secret, earlierSecrets }: RegisteredSecrets): RegisteredSecrets => ({
  secret,
  earlierSecrets,
});

function required(before: RegistrationRecord | undefined): RegistrationRecord {
  if (before) return before;
  throw new LocalError('config_invalid', 'The key is not registered. Call `register` first.');
}
