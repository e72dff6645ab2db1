/**
 * Which keys this receiver knows, with which secret and under which URL. A registration is stored before its URL leaves, so a
 * challenge that overtakes the answer to `triggers/subscribe` is expected (SEP: Signed callback URLs, Verification).
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

/** A subscription as its receiver names it: the MCP server's resource URI and the `key`. */
export interface Who {
  readonly audience: string;
  readonly key: string;
}

/** What to hand to `triggers/subscribe` or `triggers/update`. `url` and `secret` are secrets. */
export interface Registration {
  readonly url: string;
  readonly secret: string;
  /** Register again after this instant (epoch milliseconds) and update the subscription's callback: the token ends later. */
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

/** A registration that is ready to verify. */
export interface Known {
  readonly record: RegistrationRecord;
  readonly current: Secret;
  readonly previous: Secret | null;
}

export class Registry {
  readonly #o: RegistryOptions;
  readonly #known = new Map<string, Known>();
  readonly #mutex = new KeyedMutex();

  constructor(options: RegistryOptions) {
    this.#o = options;
  }

  async find({ audience, key }: Who): Promise<Known | undefined> {
    const name = recordName('registration', audience, key);
    const cached = this.#known.get(name);
    if (cached) return cached;
    const record = await this.#o.ledger.load('registration', audience, key);
    return record && this.#keep(record);
  }

  /** The URL and secret of this key; new ones where there are none, a new URL once the old one is half through its life. */
  register(who: Who, given?: string): Promise<Registration> {
    return this.#change(who, async (before) => {
      const secret = given === undefined ? undefined : Secret.parse(given).reveal();
      const fresh = before && this.#renewAt(before) > this.#o.clock.now() ? before : undefined;
      if (fresh && (secret === undefined || secret === fresh.secret)) return fresh;
      const minted = fresh ?? {
        ...(await this.#mint(who)),
        ...(before ? secretsOf(before) : newSecrets(secret)),
      };
      return secret === undefined || secret === minted.secret
        ? minted
        : { ...minted, ...replaced(minted, secret) };
    });
  }

  /** A new secret. The old one verifies until the server has used the new one and its grace window is over. */
  rotate(who: Who): Promise<Registration> {
    return this.#change(who, async (before) => {
      if (!before)
        throw new LocalError(
          'config_invalid',
          'This key is not registered here. Call register first.',
        );
      return { ...before, ...replaced(before, Secret.generate().reveal()) };
    });
  }

  /** Deliveries of this key are refused from now on. */
  async forget({ audience, key }: Who): Promise<void> {
    const name = recordName('registration', audience, key);
    await this.#mutex.run(name, async () => {
      this.#known.delete(name);
      await this.#o.ledger.remove('registration', audience, key);
    });
  }

  /** Throws `LocalError` `signature_invalid` or `signature_stale`. */
  async verify(
    known: Known,
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

  /** The whole URL that a token of ours is registered under, whatever a proxy has made of the request's own. */
  urlWith(token: string): string {
    const { href, search } = this.#o.endpoint;
    return `${href}${search === '' ? '?' : '&'}${CALLBACK_TOKEN_PARAMETER}=${token}`;
  }

  /** The server has the new secret: the old one has one grace window left. */
  async #rotated({ server, key }: RegistrationRecord): Promise<void> {
    await this.#change({ audience: server, key }, async (before) => ({
      ...before!,
      previousUntil: before!.previousUntil ?? this.#o.clock.now() + SECRET_ROTATION_GRACE_MS,
    }));
  }

  #change(
    who: Who,
    change: (before: RegistrationRecord | undefined) => Promise<Stored>,
  ): Promise<Registration> {
    const { audience: server, key } = who;
    return this.#mutex.run(recordName('registration', server, key), async () => {
      const before = (await this.find(who))?.record;
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

  #keep(record: RegistrationRecord): Known {
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

  async #mint({ audience, key }: Who): Promise<Pick<RegistrationRecord, 'url' | 'expiresAt'>> {
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
