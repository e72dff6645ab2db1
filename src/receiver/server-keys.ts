/**
 * The keys of an MCP server, fetched from the `jwksUri` of its settings within limits. A set that
 * cannot be fetched, or may be older than a key, is an error and not an absent key, so that the
 * receiver can tell "wrong" from "cannot be decided yet" (SEP: Server identity).
 */
import { createPublicKey, type KeyObject } from 'node:crypto';
import { systemClock, type Clock } from '../protocol/lib/clock.ts';
import { undecidedKey, type DeliveryKeyLookup } from '../protocol/wire/delivery-jws.ts';
import { LocalError } from '../protocol/wire/errors.ts';
import { JWKS_BYTES_MAX, JWKS_DEADLINE_MS } from '../protocol/wire/limits.ts';

/** A key set is fetched again after this time, so that a withdrawn key stops being valid. */
const MAX_AGE_MS = 600_000;
/** Least time between two fetches because of an unknown `kid`. */
const REFETCH_MS = 60_000;
/** Least time between two fetches after one that failed. */
const RETRY_MS = 5000;
/** Most keys of a set that are read. */
const KEYS_MAX = 100;

/** Hosts on which a server in development publishes its keys without TLS. */
const LOOPBACK = /^(?:localhost|127(?:\.\d{1,3}){3}|\[::1\])$/;

/** Options of {@link createServerKeys}. */
export interface ServerKeysOptions {
  /** The URL of the MCP endpoint, which is the server's resource URI. */
  readonly server: string;
  /** The `jwksUri` of the server's settings. */
  readonly jwksUri: string;
  /** Fetches the set; default the platform's `fetch`. */
  readonly fetch?: typeof globalThis.fetch;
  readonly clock?: Clock;
}

/**
 * Returns the lookup for `serverKeys` of a receiver. It fetches the key set when it needs a key,
 * keeps it for ten minutes, and fetches it again for an unknown `kid` at most once per minute.
 * Throws `LocalError` `config_invalid` unless `jwksUri` has the origin of the server, and `https`
 * except on loopback. The lookup rejects with `LocalError` `unreachable` or `peer_misbehaved` if
 * the set cannot be fetched, and with `key_unknown` if the set may be older than the key.
 */
export function createServerKeys(options: ServerKeysOptions): DeliveryKeyLookup {
  const keys = new ServerKeys(options);
  return ({ kid }) => keys.find(kid);
}

interface KeySet {
  readonly keys: ReadonlyMap<string, KeyObject>;
  readonly fetchedAt: number;
}

class ServerKeys {
  readonly #uri: URL;
  readonly #fetch: typeof globalThis.fetch;
  readonly #clock: Clock;
  #set: KeySet | undefined;
  #fetching: Promise<KeySet> | undefined;
  #failed: { readonly at: number; readonly error: unknown } | undefined;

  constructor({
    server,
    jwksUri,
    fetch = globalThis.fetch,
    clock = systemClock,
  }: ServerKeysOptions) {
    const uri = URL.parse(jwksUri);
    const isSecure =
      uri?.protocol === 'https:' || (uri?.protocol === 'http:' && LOOPBACK.test(uri.hostname));
    if (!uri || !isSecure || uri.origin !== URL.parse(server)?.origin)
      throw new LocalError(
        'config_invalid',
        'The jwksUri does not have https and the origin of the server. Check the URL of the server, and report the jwksUri to its operator.',
      );
    this.#uri = uri;
    this.#fetch = fetch;
    this.#clock = clock;
  }

  /**
   * The key with this `kid`; undefined = a set that was fetched after the call does not have it.
   */
  async find(kid: string): Promise<KeyObject | undefined> {
    const before = this.#set;
    const age = before ? this.#clock.now() - before.fetchedAt : Infinity;
    // A clock that was set back makes the age negative: fetch again.
    const isFresh = age >= 0 && age < MAX_AGE_MS;
    const known = isFresh ? before?.keys.get(kid) : undefined;
    if (known) return known;
    if (isFresh && age < REFETCH_MS) throw undecidedKey();
    return (await this.#refetch()).keys.get(kid);
  }

  #refetch(): Promise<KeySet> {
    const failed = this.#failed;
    if (failed && Math.abs(this.#clock.now() - failed.at) < RETRY_MS)
      return Promise.reject(failed.error);
    this.#fetching ??= this.#load()
      .then(
        (set) => {
          this.#failed = undefined;
          return (this.#set = set);
        },
        (error: unknown) => {
          this.#failed = { at: this.#clock.now(), error };
          throw error;
        },
      )
      .finally(() => {
        this.#fetching = undefined;
      });
    return this.#fetching;
  }

  async #load(): Promise<KeySet> {
    const fetchedAt = this.#clock.now();
    const over = new AbortController();
    const cancel = this.#clock.after(JWKS_DEADLINE_MS, () => over.abort());
    try {
      const response = await this.#fetch(this.#uri, {
        headers: { accept: 'application/jwk-set+json, application/json' },
        redirect: 'error',
        credentials: 'omit',
        signal: over.signal,
      });
      if (response.status !== 200) {
        await response.body?.cancel();
        throw unreachable(`HTTP ${response.status}`);
      }
      return { keys: keysIn(await read(response)), fetchedAt };
    } catch (cause) {
      throw cause instanceof LocalError
        ? cause
        : unreachable(over.signal.aborted ? 'no answer in time' : 'no connection', cause);
    } finally {
      cancel();
    }
  }
}

/** Reads the body. Throws `LocalError` `peer_misbehaved` above 64 KiB. */
async function read(response: Response): Promise<string> {
  const chunks: Uint8Array[] = [];
  let bytes = 0;
  for await (const chunk of response.body ?? []) {
    bytes += chunk.byteLength;
    // Leaving the loop cancels the body.
    if (bytes > JWKS_BYTES_MAX) throw misbehaved(`is larger than ${JWKS_BYTES_MAX} bytes`);
    chunks.push(chunk);
  }
  return Buffer.concat(chunks).toString('utf8');
}

/** The Ed25519 keys of a set, by `kid`. Ignores other keys, as RFC 7517 section 5 says. */
function keysIn(text: string): ReadonlyMap<string, KeyObject> {
  let list: unknown;
  try {
    list = (JSON.parse(text) as { readonly keys?: unknown } | null)?.keys;
  } catch (cause) {
    throw misbehaved('is not JSON', cause);
  }
  if (!Array.isArray(list)) throw misbehaved('has no list "keys"');
  const found = new Map<string, KeyObject>();
  for (const one of list.slice(0, KEYS_MAX) as unknown[]) {
    const { kid, kty, crv, x } = Object(one) as Readonly<Record<string, unknown>>;
    if (typeof kid !== 'string' || kty !== 'OKP' || crv !== 'Ed25519' || typeof x !== 'string')
      continue;
    try {
      if (!found.has(kid)) found.set(kid, createPublicKey({ key: { kty, crv, x }, format: 'jwk' }));
    } catch {
      // One malformed key does not make the others unusable.
    }
  }
  return found;
}

const unreachable = (problem: string, cause?: unknown) =>
  new LocalError(
    'unreachable',
    `The key set of the server cannot be fetched: ${problem}. Check the jwksUri of its settings.`,
    { reason: 'jwks', cause },
  );
const misbehaved = (problem: string, cause?: unknown) =>
  new LocalError(
    'peer_misbehaved',
    `The key set of the server ${problem}. Report this to the operator of the server.`,
    { reason: 'jwks', cause },
  );
