/**
 * The callback endpoint as one fetch handler. It runs cheap checks before expensive ones, parses a
 * body only after verifying its signature, and responds with the exact position of the application
 * (SEP: Callback). It also accepts webhooks of `events/*` (SEP-3415).
 */
import type { JsonWebKey, KeyObject } from 'node:crypto';
import type { CallbackUrlClaims, Delivery, Position } from '../../spec-schema/draft/schema.ts';
import { lastCovered } from '../protocol/core/apply.ts';
import { systemClock, type Clock } from '../protocol/lib/clock.ts';
import type { Sink, WebhookMessage, WebhookResult, WebhookSink } from '../protocol/lib/sinks.ts';
import { X_MCP_SUBSCRIPTION_ID } from '../protocol/events/names.ts';
import { memoryLedger, recordName, type Ledger } from '../protocol/ledger/ledger.ts';
import { CALLBACK_TOKEN_PARAMETER, verifyCallbackUrl } from '../protocol/wire/callback-url.ts';
import {
  deliveryKey,
  verifyDelivery,
  type DeliveryKeyLookup,
} from '../protocol/wire/delivery-jws.ts';
import { decodeCallback, type CallbackMessage } from '../protocol/wire/envelope.ts';
import { LocalError } from '../protocol/wire/errors.ts';
import {
  MCP_DELIVERY_SIGNATURE,
  MCP_SUBSCRIPTION_ID,
  readHeader,
  type HeadersLike,
} from '../protocol/wire/headers.ts';
import { parseJson } from '../protocol/wire/json.ts';
import { CALLBACK_BODY_BYTES_MAX } from '../protocol/wire/limits.ts';
import type { Secret } from '../protocol/wire/secret.ts';
import { challengeProof, FOREIGN_WEBHOOK_ID } from '../protocol/wire/signature.ts';
import {
  Applier,
  fired,
  type Applied,
  type Apply,
  type Deadline,
  type Problem,
  type PullMissed,
} from './applier.ts';
import {
  Registry,
  type KnownRegistration,
  type Registration,
  type SubscriptionRef,
} from './registry.ts';
import {
  checkHead,
  readBody,
  RejectedRequest,
  tokenRejection,
  type RejectedRequestCode,
} from './request.ts';

/** Options of a callback endpoint. */
export interface ReceiverOptions {
  /** The public URL whose requests {@link Receiver.fetch} answers. */
  readonly endpoint: string;
  /** The issuer in the callback tokens, for example the origin of `endpoint`. */
  readonly issuer: string;
  /**
   * Ed25519 private key (KeyObject, PEM or JWK) that signs callback tokens. Store it: with another
   * key every registered URL is invalid.
   */
  readonly signingKey: KeyObject | string | JsonWebKey;
  /** Earlier private signing keys, whose tokens are still accepted. */
  readonly previousKeys?: readonly (KeyObject | string | JsonWebKey)[];
  /**
   * Returns the keys of an MCP server, which must come from the `jwksUri` of its settings: see
   * {@link createServerKeys}. Undefined = the server publishes none. If there are keys, a delivery
   * without a signature by one of them is rejected; while they cannot be had, it is answered with
   * 503.
   */
  readonly serverKeys?: (audience: string) => DeliveryKeyLookup | undefined;
  /** Applies the items of all keys that have no sink. */
  readonly apply?: Apply;
  /**
   * Called before a delivery that starts after numbers which another reader of the subscription has
   * acknowledged, until they are read. The deliveries go to `apply`. Without it, `apply` gets an
   * item `elsewhere` instead of these numbers. Concerns keys without a sink.
   */
  readonly pullMissed?: PullMissed;
  /**
   * Stores registrations and positions. Default: memory, which a restart empties. In production use
   * `fileLedger` or your own.
   */
  readonly ledger?: Ledger;
  /** Called with problems for the operator; `missing_numbers` requires a pull. Must not throw. */
  readonly onProblem?: (problem: Problem) => void;
  /** Called for every rejected request, for metrics and logs. Gets no secret. An error that it throws is ignored. */
  readonly onRejectedRequest?: (code: RejectedRequestCode, cause: unknown) => void;
  /**
   * Lifetime of a callback URL in milliseconds. Default 30 days. After half of it `register` returns
   * a new URL.
   */
  readonly tokenTtlMs?: number;
  /**
   * Milliseconds from the start of a request, its body included, after which the receiver responds with
   * the position so far. A body that takes longer to arrive is rejected. Default 8,000, because a
   * server waits 10 s.
   */
  readonly answerWithinMs?: number;
  readonly clock?: Clock;
}

/** A callback endpoint. */
export interface Receiver {
  /**
   * Answers a request. Mount it at the endpoint:
   * `app.post('/callback', (c) => receiver.fetch(c.req.raw))`. An error becomes a response.
   */
  fetch(request: Request): Promise<Response>;
  /**
   * Registers a key. Pass `url` and `secret` of the result as `callback`, and the same `key`, to
   * `triggers/subscribe`. Another call returns the same result until `renewAt`; a `secret` that
   * differs replaces the old one as {@link rotate} does.
   */
  register(ref: SubscriptionRef & { readonly secret?: string }): Promise<Registration>;
  /**
   * Generates a new secret, which you pass to `triggers/update`. An earlier secret is valid until 5
   * minutes after the server has first delivered with a later one, however often you rotate.
   * Rejects with `LocalError` `config_invalid` for a key that is not registered.
   */
  rotate(ref: SubscriptionRef): Promise<Registration>;
  /**
   * Ends every secret but the present one, for example because an earlier one has leaked. Call it
   * after a `triggers/update` with the present secret and `revokePrevious: true`; before that, the
   * deliveries of the server would be rejected. Rejects with `LocalError` `config_invalid` for a
   * key that is not registered.
   */
  revokePrevious(ref: SubscriptionRef): Promise<void>;
  /** Forgets a key and its position. From then on its deliveries are rejected. */
  forget(ref: SubscriptionRef): Promise<void>;
  /**
   * Passes the deliveries of one key to `sink` instead of `apply`. Returns a function that detaches
   * the sink. Throws `LocalError` `config_invalid` when the key has a sink already.
   */
  attach(ref: SubscriptionRef, sink: Sink): () => void;
  /**
   * Passes the webhooks of an `events/*` server (SEP-3415) for one key to `sink`. Register the key
   * first, then subscribe with its URL and secret. The receiver itself answers challenges. Returns a
   * function that detaches the sink. Throws `LocalError` `config_invalid` when the key has a sink
   * already.
   */
  attachWebhook(ref: SubscriptionRef, sink: WebhookSink): () => void;
  /**
   * Applies a delivery that did not come by callback, for example from `triggers/pull` after
   * `missing_numbers`. Resolves with the new position. Throws `LocalError` `config_invalid` when the
   * receiver has no `apply`.
   */
  accept(ref: SubscriptionRef, delivery: Delivery): Promise<Applied>;
  /**
   * Returns the position of a key, which is the `after` of the next pull. Null = nothing was applied
   * yet, or the receiver has no `apply`.
   */
  position(ref: SubscriptionRef): Promise<Position | null>;
}

const DAY_MS = 86_400_000;
const ANSWER_WITHIN_MS = 8000;
/** While a token is younger than this, another process may still be storing its key. */
const REGISTERING_MS = 60_000;

/**
 * Creates a callback endpoint: it issues signed URLs, verifies the deliveries to them, answers
 * challenges, and applies each number once (SEP: Callback). Throws `LocalError` `config_invalid` if
 * the endpoint or a key is not valid.
 */
export function createReceiver(options: ReceiverOptions): Receiver {
  return new CallbackReceiver(options);
}

class CallbackReceiver implements Receiver {
  readonly #o: ReceiverOptions;
  readonly #clock: Clock;
  readonly #registry: Registry;
  readonly #publicKeys: readonly KeyObject[];
  readonly #applier: Applier | null;
  readonly #sinks = new Map<string, Sink>();
  readonly #webhooks = new Map<string, WebhookSink>();

  constructor(options: ReceiverOptions) {
    const {
      apply,
      ledger = memoryLedger(),
      clock = systemClock,
      previousKeys = [],
      tokenTtlMs = 30 * DAY_MS,
    } = options;
    const endpoint = URL.parse(options.endpoint);
    if (!endpoint)
      throw new LocalError(
        'config_invalid',
        'The endpoint is not an absolute URL. Pass its public URL.',
      );
    const signingKey = deliveryKey(options.signingKey);
    this.#o = options;
    this.#clock = clock;
    this.#publicKeys = [signingKey, ...previousKeys.map((key) => deliveryKey(key))].map(
      ({ publicKey }) => publicKey,
    );
    this.#registry = new Registry({
      endpoint,
      issuer: options.issuer,
      signingKey,
      tokenTtlMs,
      ledger,
      clock,
    });
    this.#applier = apply
      ? new Applier({
          ledger,
          apply,
          pullMissed: options.pullMissed,
          onProblem: (problem) => options.onProblem?.(problem),
        })
      : null;
  }

  register({
    secret,
    ...ref
  }: SubscriptionRef & { readonly secret?: string }): Promise<Registration> {
    return this.#registry.register(ref, secret);
  }
  rotate(ref: SubscriptionRef): Promise<Registration> {
    return this.#registry.rotate(ref);
  }
  revokePrevious(ref: SubscriptionRef): Promise<void> {
    return this.#registry.revokePrevious(ref);
  }

  async forget(ref: SubscriptionRef): Promise<void> {
    await this.#registry.forget(ref);
    await this.#applier?.forget(ref);
  }

  attach(ref: SubscriptionRef, sink: Sink): () => void {
    return attach(this.#sinks, ref, sink);
  }
  attachWebhook(ref: SubscriptionRef, sink: WebhookSink): () => void {
    return attach(this.#webhooks, ref, sink);
  }

  accept(ref: SubscriptionRef, delivery: Delivery): Promise<Applied> {
    if (!this.#applier)
      throw new LocalError(
        'config_invalid',
        'This receiver has no `apply`. Pass one to `createReceiver`.',
      );
    return this.#applier.accept(ref, delivery);
  }

  async position(ref: SubscriptionRef): Promise<Position | null> {
    const cursor = await this.#applier?.position(ref);
    return cursor ? { epoch: cursor.epoch, sequence: cursor.sequence } : null;
  }

  async fetch(request: Request): Promise<Response> {
    try {
      return await this.#answer(request);
    } catch (error) {
      const rejected =
        error instanceof RejectedRequest ? error : new RejectedRequest('internal', error);
      try {
        this.#o.onRejectedRequest?.(rejected.code, rejected.cause);
      } catch {
        // An observer does not change the answer.
      }
      return rejected.toResponse();
    }
  }

  async #answer(request: Request): Promise<Response> {
    const until = this.#clock.now() + (this.#o.answerWithinMs ?? ANSWER_WITHIN_MS);
    checkHead(request);
    const claims = await this.#openToken(request.url);
    const body = await readBody(request, this.#clock, until - this.#clock.now());
    const ref = { audience: claims.aud, key: claims.sub };
    const known = await this.#find(ref, claims);
    if (isWebhook(request)) return this.#answerWebhook(request, body, ref, known, until);
    const secret = await this.#registry
      .verify(known, request.headers, body)
      .catch(signatureRejection);
    const subscriptionId = readHeader(request.headers, MCP_SUBSCRIPTION_ID) ?? '';
    await this.#checkServer(request, body, ref.audience, subscriptionId, until);
    const message = decode(body);
    const params = message.kind === 'challenge' ? message.challenge : message.delivery;
    if (params.subscriptionId !== subscriptionId) throw new RejectedRequest('subscription_id');
    if (params.key !== ref.key) throw new RejectedRequest('wrong_key');
    if (message.kind === 'challenge') return proofOf(secret, message.challenge.challenge);
    const { delivery } = message;
    await this.#registry.used(known, secret).catch(stateRejection);
    return acknowledgement(delivery, await this.#pass(ref, delivery, until));
  }

  /**
   * Answers a webhook of `events/*`, which is one event or one control envelope. Except after a
   * challenge, its sender reads only the status of the response.
   */
  async #answerWebhook(
    request: Request,
    body: Uint8Array,
    ref: SubscriptionRef,
    known: KnownRegistration,
    until: number,
  ): Promise<Response> {
    const secret = await this.#registry
      .verify(known, request.headers, body, FOREIGN_WEBHOOK_ID)
      .catch(signatureRejection);
    const message = messageOf(request.headers, body);
    const challenge = challengeIn(message);
    if (challenge !== null) return json({ challenge });
    await this.#registry.used(known, secret).catch(stateRejection);
    const sink = this.#webhooks.get(nameOf(ref));
    if (!sink) throw new RejectedRequest('not_ready');
    return responseTo(await this.#within(until, ({ signal }) => sink(message, signal)));
  }

  async #openToken(url: string): Promise<CallbackUrlClaims> {
    try {
      return await verifyCallbackUrl(url, {
        publicKeys: this.#publicKeys,
        issuer: this.#o.issuer,
        now: this.#clock.now(),
      });
    } catch (error) {
      throw error instanceof LocalError ? tokenRejection(error) : error;
    }
  }

  async #find(ref: SubscriptionRef, { iat }: CallbackUrlClaims): Promise<KnownRegistration> {
    const known = await this.#registry.find(ref).catch(stateRejection);
    if (known) return known;
    const isNew = iat !== undefined && this.#clock.now() - iat * 1000 < REGISTERING_MS;
    throw new RejectedRequest(isNew ? 'unknown_key_yet' : 'unknown_key');
  }

  /** Verifies that the server sent the delivery, if the server publishes keys. */
  async #checkServer(
    request: Request,
    body: Uint8Array,
    audience: string,
    subscriptionId: string,
    until: number,
  ): Promise<void> {
    const keys = this.#o.serverKeys?.(audience);
    if (!keys) return;
    const token = new URL(request.url).searchParams.get(CALLBACK_TOKEN_PARAMETER)!;
    const verified = verifyDelivery(readHeader(request.headers, MCP_DELIVERY_SIGNATURE), body, {
      url: this.#registry.urlWith(token),
      issuer: audience,
      subscriptionId,
      keys,
      nowMs: this.#clock.now(),
    }).catch((error: unknown) => {
      throw new RejectedRequest(isDecided(error) ? 'server_signature' : 'server_keys', error);
    });
    // Fetching the keys may take longer than the server waits for an answer.
    await this.#within(until, ({ signal }) =>
      Promise.race([
        verified,
        fired(signal).then(() => {
          throw new RejectedRequest('server_keys');
        }),
      ]),
    );
  }

  /** Passes the delivery to the sink of its key, or applies it, before `until`. */
  async #pass(ref: SubscriptionRef, delivery: Delivery, until: number): Promise<Applied> {
    const sink = this.#sinks.get(nameOf(ref));
    const applier = this.#applier;
    if (sink) return this.#within(until, ({ signal }) => sink(delivery, signal));
    if (!applier) throw new RejectedRequest('not_ready');
    return this.#within(until, (deadline) =>
      applier.accept(ref, delivery, deadline).catch(stateRejection),
    );
  }

  async #within<T>(until: number, take: (deadline: Deadline) => Promise<T>): Promise<T> {
    const over = new AbortController();
    const cancel = this.#clock.after(Math.max(0, until - this.#clock.now()), () => over.abort());
    try {
      return await take({
        signal: over.signal,
        passed: () => over.signal.aborted || this.#clock.now() >= until,
      });
    } finally {
      cancel();
    }
  }
}

const SIGNATURE_CODES: ReadonlySet<string> = new Set(['signature_invalid', 'signature_stale']);

/** Whether the error says that the signature is wrong, and not that its key cannot be had. */
const isDecided = (error: unknown): boolean =>
  error instanceof LocalError &&
  (SIGNATURE_CODES.has(error.code) || error.reason === 'unknown_key');

/** Rejects a request: its webhook signature is wrong, or the registry cannot be written. */
function signatureRejection(error: unknown): never {
  const isWrong = error instanceof LocalError && SIGNATURE_CODES.has(error.code);
  throw new RejectedRequest(isWrong ? 'signature' : 'state', error);
}

/** Rejects a request that the ledger's error leaves undecided. */
function stateRejection(error: unknown): never {
  throw new RejectedRequest('state', error);
}

const nameOf = ({ audience, key }: SubscriptionRef): string =>
  recordName('position', audience, key);

function attach<S>(sinks: Map<string, S>, ref: SubscriptionRef, sink: S): () => void {
  const name = nameOf(ref);
  if (sinks.has(name))
    throw new LocalError('config_invalid', 'This key has a sink already. Detach it first.');
  sinks.set(name, sink);
  return () => {
    if (sinks.get(name) === sink) sinks.delete(name);
  };
}

/** Whether the request is a webhook of `events/*`: it names its subscription in another header. */
const isWebhook = ({ headers }: Request): boolean =>
  !headers.has(MCP_SUBSCRIPTION_ID) && headers.has(X_MCP_SUBSCRIPTION_ID);

function decode(body: Uint8Array): CallbackMessage {
  try {
    return decodeCallback(body);
  } catch (error) {
    throw new RejectedRequest('body', error);
  }
}

const json = (value: object): Response =>
  new Response(JSON.stringify(value), {
    status: 200,
    headers: { 'content-type': 'application/json', 'cache-control': 'no-store' },
  });

/** Returns the response to a challenge, which the application never sees. */
const proofOf = (secret: Secret, challenge: string): Response =>
  json({ challenge, proof: challengeProof(secret, challenge) });

/** Returns the response to a delivery, given the position of the application (SEP: Answers). */
function acknowledgement(
  delivery: Delivery,
  { epoch, sequence, reject, unfinished }: Applied,
): Response {
  const { afterSequence: after } = delivery;
  const last = lastCovered(delivery);
  if (epoch !== delivery.epoch) throw new RejectedRequest('stale');
  // The server repeats the notice until it is accepted.
  if (unfinished) throw new RejectedRequest('no_progress');
  if (delivery.terminated && !reject) return json({ ackSequence: Math.min(sequence, last) });
  if (sequence < after) throw new RejectedRequest('missing_numbers');
  if (reject && reject.sequence > after && reject.sequence <= last)
    return json({ ackSequence: reject.sequence - 1, reject });
  const ackSequence = Math.min(sequence, last);
  if (ackSequence === after && last > after) throw new RejectedRequest('no_progress');
  return json({ ackSequence });
}

/* -------------------------------------------------- webhooks of events/* ----------------------------------------------- */

/** Parses a webhook whose signature has been verified. */
function messageOf(headers: HeadersLike, bytes: Uint8Array): WebhookMessage {
  let body: unknown;
  try {
    body = parseJson(bytes, { maxBytes: CALLBACK_BODY_BYTES_MAX });
  } catch (error) {
    throw new RejectedRequest('body', error);
  }
  if (typeof body !== 'object' || body === null || Array.isArray(body))
    throw new RejectedRequest('body');
  return {
    subscriptionId: readHeader(headers, X_MCP_SUBSCRIPTION_ID)!,
    body: body as Record<string, unknown>,
  };
}

/** Returns the challenge in a message; null = the message is not a challenge. */
function challengeIn({ body }: WebhookMessage): string | null {
  if (body['type'] !== 'verification') return null;
  const { challenge } = body;
  if (typeof challenge !== 'string' || challenge === '') throw new RejectedRequest('body');
  return challenge;
}

function responseTo(result: WebhookResult): Response {
  if (result === 'taken')
    return new Response(null, { status: 204, headers: { 'cache-control': 'no-store' } });
  throw new RejectedRequest(result === 'later' ? 'no_progress' : 'body');
}
