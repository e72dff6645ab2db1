/**
 * Signs callback messages: the headers of Standard Webhooks with the client's secret, and the
 * server's signature if it has a key (SEP: Signature, Server identity).
 */
import {
  deliverySignatureHead,
  signDelivery,
  type DeliveryKey,
} from '../../protocol/wire/delivery-jws.ts';
import {
  CALLBACK_CONTENT_TYPE,
  CALLBACK_USER_AGENT,
  CONTENT_TYPE,
  MCP_DELIVERY_SIGNATURE,
  USER_AGENT,
  WEBHOOK_ID,
  WEBHOOK_SIGNATURE,
  WEBHOOK_TIMESTAMP,
} from '../../protocol/wire/headers.ts';
import { LocalError } from '../../protocol/wire/errors.ts';
import { Secret } from '../../protocol/wire/secret.ts';
import { signWebhook, signWebhookAsServer } from '../../protocol/wire/signature.ts';
import type { Callback } from '../../protocol/core/types.ts';
import type { CallbackDialect, CallbackMessage } from './dialect.ts';
import type { Clock } from '../../protocol/lib/clock.ts';

/** Most secrets in the cache. */
const SECRETS_MAX = 10_000;

/** A message ready to be sent. */
export interface SignedMessage {
  readonly headers: Readonly<Record<string, string>>;
  readonly body: Uint8Array;
}

/** The members of a callback that signing uses. */
export type SigningCallback = Pick<Callback, 'url' | 'secret' | 'previousSecret' | 'previousUntil'>;

/**
 * The secrets that sign a message at `now`: the newest, and for a while after a rotation the one
 * before it (SEP: Rotation).
 */
export const signingSecrets = (
  { secret, previousSecret, previousUntil }: SigningCallback,
  now: number,
): readonly string[] =>
  previousSecret !== null && previousUntil !== null && now < previousUntil
    ? [secret, previousSecret]
    : [secret];

export interface MessageSignerOptions {
  readonly clock: Clock;
  readonly deliveryKey?: DeliveryKey | undefined;
  /** The resource URI of the server, needed with `deliveryKey`. */
  readonly resource?: string | undefined;
}

/** Signs messages with the secrets of callbacks and the key of the server. */
export class MessageSigner {
  readonly #clock: Clock;
  readonly #key: DeliveryKey | undefined;
  readonly #issuer: string;
  /** Cached, because key objects are expensive to create. */
  readonly #secrets = new Map<string, Secret>();

  /** Throws `LocalError` `config_invalid` for a delivery key without a resource URI. */
  constructor(options: MessageSignerOptions) {
    this.#clock = options.clock;
    this.#key = options.deliveryKey;
    this.#issuer = options.resource ?? '';
    if (this.#key !== undefined && !URL.canParse(this.#issuer))
      throw new LocalError(
        'config_invalid',
        'A server with a delivery key needs `resource`, the URL of its MCP endpoint, which its signatures name.',
      );
  }

  /** Signs a message with the current time; call it again for every attempt. */
  async sign(
    { id, body, headers: own }: CallbackMessage,
    callback: SigningCallback,
    subscriptionId: string,
    as: CallbackDialect['serverSignature'],
  ): Promise<SignedMessage> {
    const now = this.#clock.now();
    const timestamp = Math.floor(now / 1000);
    const secrets = signingSecrets(callback, now).map((secret) => this.#secret(secret));
    const signatures = signWebhook(secrets, id, timestamp, body);
    const v1a =
      as === 'v1a' && this.#key !== undefined
        ? ` ${await signWebhookAsServer(this.#key, id, timestamp, body)}`
        : '';
    const headers: Record<string, string> = {
      [CONTENT_TYPE]: CALLBACK_CONTENT_TYPE,
      [USER_AGENT]: CALLBACK_USER_AGENT,
      [WEBHOOK_ID]: id,
      [WEBHOOK_TIMESTAMP]: String(timestamp),
      [WEBHOOK_SIGNATURE]: signatures + v1a,
      ...own,
    };
    if (as === 'jws' && this.#key !== undefined) {
      headers[MCP_DELIVERY_SIGNATURE] = await signDelivery(
        this.#key,
        deliverySignatureHead(this.#key, {
          issuer: this.#issuer,
          url: callback.url,
          subscriptionId,
        }),
        body,
        timestamp,
      );
    }
    return { headers, body };
  }

  #secret(text: string): Secret {
    let secret = this.#secrets.get(text);
    if (secret === undefined) {
      if (this.#secrets.size >= SECRETS_MAX) this.#secrets.clear();
      secret = Secret.parse(text);
      this.#secrets.set(text, secret);
    }
    return secret;
  }
}
