/**
 * The callback endpoint as one fetch handler. Each request is checked from the cheapest to the dearest test, nothing in the
 * body counts before its signature does, and the answer says exactly how far the application came (SEP: Callback).
 */
import type { JsonWebKey, KeyObject } from 'node:crypto';
import type { CallbackUrlClaims, Delivery, Position } from '../../spec-schema/draft/schema.ts';
import { lastCovered } from '../protocol/core/apply.ts';
import { systemClock, type Clock } from '../protocol/lib/clock.ts';
import type { Sink, WebhookSink } from '../protocol/lib/sinks.ts';
import { X_MCP_SUBSCRIPTION_ID } from '../protocol/events/names.ts';
import { memoryLedger, recordName, type Ledger } from '../protocol/ledger/ledger.ts';
import { CALLBACK_TOKEN_PARAMETER, verifyCallbackUrl } from '../protocol/wire/callback-url.ts';
import {
  deliveryKey,
  verifyDelivery,
  type DeliveryKeyLookup,
} from '../protocol/wire/delivery-jws.ts';
import { decodeDelivery } from '../protocol/wire/envelope.ts';
import { LocalError } from '../protocol/wire/errors.ts';
import {
  MCP_DELIVERY_SIGNATURE,
  MCP_SUBSCRIPTION_ID,
  readHeader,
} from '../protocol/wire/headers.ts';
import type { Secret } from '../protocol/wire/secret.ts';
import { challengeProof, FOREIGN_WEBHOOK_ID } from '../protocol/wire/signature.ts';
import { Applier, type Applied, type Apply, type Problem, type Deadline } from './applier.ts';
import { ReceiverRefusal, tokenRefusal, type RefusalCode } from './refusal.ts';
import { Registry, type Known, type Registration, type Who } from './registry.ts';
import { checkEnvelope, readBody } from './request.ts';
import { answerTo, challengeIn, messageOf } from './webhook.ts';

/** How a callback endpoint is reached, what it trusts, and who takes what it gets. */
export interface ReceiverOptions {
  /** The public URL at which {@link Receiver.fetch} is reached. */
  readonly endpoint: string;
  /** Names this receiver in its callback tokens, for example its origin. */
  readonly issuer: string;
  /** Ed25519 private key (KeyObject, PEM or JWK) that signs callback tokens: keep it, or every registered URL dies with it. */
  readonly signingKey: KeyObject | string | JsonWebKey;
  /** Keys that signed tokens before; they still open. */
  readonly previousKeys?: readonly (KeyObject | string | JsonWebKey)[];
  /**
   * The keys of an MCP server, from the `jwksUri` of its settings and nowhere else, for example `createRemoteJWKSet(new
   * URL(jwksUri))` of `jose`. Undefined = this server publishes none. Where there are keys, a delivery without their signature
   * is refused.
   */
  readonly serverKeys?: (audience: string) => DeliveryKeyLookup | undefined;
  /** Takes items of keys to which nothing else is attached. */
  readonly apply?: Apply;
  /** Registrations and positions. Default: memory, which a restart empties; use `fileLedger`. */
  readonly ledger?: Ledger;
  /** Told what an operator should look at; `missing_numbers` asks for a pull. */
  readonly onProblem?: (problem: Problem) => void;
  /** Every refusal, for metrics and logs. Holds no secret. */
  readonly onRefused?: (code: RefusalCode, cause: unknown) => void;
  /** Life of a callback URL in milliseconds. Default 30 days; a new one is due after half of it. */
  readonly tokenTtlMs?: number;
  /**
   * The server waits 10 s; after this many milliseconds the answer says what is applied so far. A body that takes longer is
   * refused. Default 8,000.
   */
  readonly answerWithinMs?: number;
  readonly clock?: Clock;
}

/** A callback endpoint. */
export interface Receiver {
  /** Mount it at the endpoint: `app.post('/callback', (c) => receiver.fetch(c.req.raw))`. Never rejects. */
  fetch(request: Request): Promise<Response>;
  /**
   * Makes a key known. Pass `url` and `secret` as `callback` and the same `key` to `triggers/subscribe`. Calling again returns
   * the same, until `renewAt`; a `secret` that differs replaces the old one as {@link rotate} does.
   */
  register(who: Who & { readonly secret?: string }): Promise<Registration>;
  /**
   * A new secret: pass it to `triggers/update`. The old one verifies until 5 minutes after the server has used the new one.
   * Rejects with `LocalError` `config_invalid` for a key that was never registered.
   */
  rotate(who: Who): Promise<Registration>;
  /** Refuses deliveries of this key from now on, and forgets its position. */
  forget(who: Who): Promise<void>;
  /**
   * Hands the deliveries of one key to `sink` instead of `apply`. Returns the end of that. One sink a key: else
   * `config_invalid`.
   */
  attach(who: Who, sink: Sink): () => void;
  /**
   * Hands the webhooks of an `events/*` server (SEP-3415) for one key to `sink`: register the key, subscribe with its URL and secret.
   * Challenges are answered here. Returns the end of that. One sink a key: else `config_invalid`.
   */
  attachWebhook(who: Who, sink: WebhookSink): () => void;
  /**
   * Applies a delivery that came another way, for example by `triggers/pull` after `missing_numbers`. Resolves with the position.
   * `LocalError` `config_invalid` when there is no `apply`.
   */
  accept(who: Who, delivery: Delivery): Promise<Applied>;
  /** Where a key stands: the `after` to pull from. Null = nothing was applied yet. */
  position(who: Who): Promise<Position | null>;
}

const DAY_MS = 86_400_000;
const ANSWER_WITHIN_MS = 8000;
/** How long after a token was minted an unknown key may be one that another process is still storing. */
const REGISTERING_MS = 60_000;

/**
 * Makes the receiving end of callbacks: mints signed URLs, verifies what arrives at them, answers challenges, and applies each
 * number once (SEP: Callback). Throws `LocalError` `config_invalid`.
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
    if (!endpoint) throw new LocalError('config_invalid', 'The endpoint must be an absolute URL.');
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
      ? new Applier({ ledger, apply, onProblem: (problem) => options.onProblem?.(problem) })
      : null;
  }

  register({ secret, ...who }: Who & { readonly secret?: string }): Promise<Registration> {
    return this.#registry.register(who, secret);
  }
  rotate(who: Who): Promise<Registration> {
    return this.#registry.rotate(who);
  }

  async forget(who: Who): Promise<void> {
    await this.#registry.forget(who);
    await this.#applier?.forget(who);
  }

  attach(who: Who, sink: Sink): () => void {
    return attach(this.#sinks, who, sink);
  }
  attachWebhook(who: Who, sink: WebhookSink): () => void {
    return attach(this.#webhooks, who, sink);
  }

  accept(who: Who, delivery: Delivery): Promise<Applied> {
    if (!this.#applier) throw new LocalError('config_invalid', 'This receiver has no apply.');
    return this.#applier.accept(who, delivery);
  }

  async position(who: Who): Promise<Position | null> {
    const cursor = await this.#applier?.position(who);
    return cursor ? { epoch: cursor.epoch, sequence: cursor.sequence } : null;
  }

  async fetch(request: Request): Promise<Response> {
    try {
      return await this.#answer(request);
    } catch (error) {
      const refusal =
        error instanceof ReceiverRefusal ? error : new ReceiverRefusal('internal', error);
      this.#o.onRefused?.(refusal.code, refusal.cause);
      return refusal.toResponse();
    }
  }

  async #answer(request: Request): Promise<Response> {
    checkEnvelope(request);
    const claims = await this.#openToken(request.url);
    const body = await readBody(request, this.#clock, this.#o.answerWithinMs ?? ANSWER_WITHIN_MS);
    const who = { audience: claims.aud, key: claims.sub };
    const known = await this.#find(who, claims);
    if (isWebhook(request)) return this.#answerWebhook(request, body, who, known);
    const secret = await this.#registry
      .verify(known, request.headers, body)
      .catch((error: unknown) => {
        throw new ReceiverRefusal('signature', error);
      });
    const subscriptionId = readHeader(request.headers, MCP_SUBSCRIPTION_ID) ?? '';
    await this.#checkServer(request, body, who.audience, subscriptionId);
    const delivery = decode(body);
    if (delivery.subscriptionId !== subscriptionId) throw new ReceiverRefusal('subscription_id');
    if (delivery.key !== who.key) throw new ReceiverRefusal('wrong_key');
    if (delivery.challenge !== undefined) return proofOf(secret, delivery.challenge);
    return acknowledgement(delivery, await this.#hand(who, delivery));
  }

  /** SEP-3415: one event, or a control envelope, and the status is the answer. */
  async #answerWebhook(
    request: Request,
    body: Uint8Array,
    who: Who,
    known: Known,
  ): Promise<Response> {
    await this.#registry
      .verify(known, request.headers, body, FOREIGN_WEBHOOK_ID)
      .catch((error: unknown) => {
        throw new ReceiverRefusal('signature', error);
      });
    const message = messageOf(request.headers, body);
    const challenge = challengeIn(message);
    if (challenge !== null) return json({ challenge });
    const sink = this.#webhooks.get(nameOf(who));
    if (!sink) throw new ReceiverRefusal('not_ready');
    return answerTo(await this.#within(({ signal }) => sink(message, signal)));
  }

  async #openToken(url: string): Promise<CallbackUrlClaims> {
    try {
      return await verifyCallbackUrl(url, {
        publicKeys: this.#publicKeys,
        issuer: this.#o.issuer,
        now: this.#clock.now(),
      });
    } catch (error) {
      throw error instanceof LocalError ? tokenRefusal(error) : error;
    }
  }

  async #find(who: Who, { iat }: CallbackUrlClaims): Promise<Known> {
    const known = await this.#registry.find(who);
    if (known) return known;
    const isNew = iat !== undefined && this.#clock.now() - iat * 1000 < REGISTERING_MS;
    throw new ReceiverRefusal(isNew ? 'unknown_key_yet' : 'unknown_key');
  }

  /** Which server it was, where the server publishes keys. */
  async #checkServer(
    request: Request,
    body: Uint8Array,
    audience: string,
    subscriptionId: string,
  ): Promise<void> {
    const keys = this.#o.serverKeys?.(audience);
    if (!keys) return;
    const token = new URL(request.url).searchParams.get(CALLBACK_TOKEN_PARAMETER)!;
    try {
      await verifyDelivery(readHeader(request.headers, MCP_DELIVERY_SIGNATURE), body, {
        url: this.#registry.urlWith(token),
        subscriptionId,
        keys,
        nowMs: this.#clock.now(),
      });
    } catch (error) {
      throw new ReceiverRefusal(
        error instanceof LocalError ? 'server_signature' : 'server_keys',
        error,
      );
    }
  }

  /** Gives the delivery to whoever takes this key, for as long as the server can be kept waiting. */
  async #hand(who: Who, delivery: Delivery): Promise<Applied> {
    const sink = this.#sinks.get(nameOf(who));
    const applier = this.#applier;
    if (sink) return this.#within(({ signal }) => sink(delivery, signal));
    if (!applier) throw new ReceiverRefusal('not_ready');
    return this.#within((deadline) => applier.accept(who, delivery, deadline));
  }

  async #within<T>(take: (deadline: Deadline) => Promise<T>): Promise<T> {
    const over = new AbortController();
    const withinMs = this.#o.answerWithinMs ?? ANSWER_WITHIN_MS;
    const until = this.#clock.now() + withinMs;
    const cancel = this.#clock.after(withinMs, () => over.abort());
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

const nameOf = ({ audience, key }: Who): string => recordName('position', audience, key);

function attach<S>(sinks: Map<string, S>, who: Who, sink: S): () => void {
  const name = nameOf(who);
  if (sinks.has(name))
    throw new LocalError(
      'config_invalid',
      'Somebody else already takes the deliveries of this key.',
    );
  sinks.set(name, sink);
  return () => {
    if (sinks.get(name) === sink) sinks.delete(name);
  };
}

/** The two kinds of message name their subscription in different headers. */
const isWebhook = ({ headers }: Request): boolean =>
  !headers.has(MCP_SUBSCRIPTION_ID) && headers.has(X_MCP_SUBSCRIPTION_ID);

function decode(body: Uint8Array): Delivery {
  try {
    return decodeDelivery(body);
  } catch (error) {
    throw new ReceiverRefusal('body', error);
  }
}

const json = (value: object): Response =>
  new Response(JSON.stringify(value), {
    status: 200,
    headers: { 'content-type': 'application/json', 'cache-control': 'no-store' },
  });

/** The application never sees a challenge. */
const proofOf = (secret: Secret, challenge: string): Response =>
  json({ challenge, proof: challengeProof(secret, challenge) });

/** What the position that was reached means for this delivery (SEP: Answers). */
function acknowledgement(delivery: Delivery, { epoch, sequence, reject }: Applied): Response {
  const { after } = delivery;
  const last = lastCovered(delivery);
  if (epoch !== delivery.epoch) throw new ReceiverRefusal('stale');
  if (sequence < after) throw new ReceiverRefusal('missing_numbers');
  if (reject && reject.sequence > after && reject.sequence <= last)
    return json({ ack: reject.sequence - 1, reject });
  const ack = Math.min(sequence, last);
  if (ack === after && last > after) throw new ReceiverRefusal('no_progress');
  return json({ ack });
}
