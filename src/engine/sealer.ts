/**
 * Dresses a delivery for its callback: the body's bytes, Standard Webhooks headers with the client's secret, and the server's
 * own signature where it has a key (SEP: Signature, Server identity).
 */
import { randomWebhookId, webhookId } from '../wire/canonical.ts';
import { deliverySignatureHead, signDelivery, type DeliveryKey } from '../wire/delivery-jws.ts';
import { encodeDeliveryNotification } from '../wire/envelope.ts';
import { CALLBACK_CONTENT_TYPE, CALLBACK_USER_AGENT, CONTENT_TYPE, MCP_DELIVERY_SIGNATURE, MCP_SUBSCRIPTION_ID, USER_AGENT, WEBHOOK_ID, WEBHOOK_SIGNATURE, WEBHOOK_TIMESTAMP } from '../wire/headers.ts';
import { Secret } from '../wire/secret.ts';
import { signWebhook } from '../wire/signature.ts';
import type { Callback, Subscription } from '../core/types.ts';
import type { Clock, Random } from './ports.ts';
import type { Range } from './reader.ts';

export interface Sealed {
  readonly headers: Readonly<Record<string, string>>;
  readonly body: Buffer;
}

export class Sealer {
  readonly #clock: Clock;
  readonly #random: Random;
  readonly #key: DeliveryKey | undefined;
  /** Key objects are costly to make, and the same few callbacks are used again and again. */
  readonly #secrets = new Map<string, Secret>();

  constructor(options: { readonly clock: Clock; readonly random: Random; readonly deliveryKey?: DeliveryKey | undefined }) {
    this.#clock = options.clock;
    this.#random = options.random;
    this.#key = options.deliveryKey;
  }

  async seal(state: Pick<Subscription, 'subscriptionId' | 'epoch'>, callback: Pick<Callback, 'url' | 'secret' | 'previousSecret' | 'previousUntil'>, delivery: string, range: Range): Promise<Sealed> {
    const now = this.#clock.now();
    const body = encodeDeliveryNotification(delivery);
    // Same id, same events. A message without any has nothing to repeat, and an id of its own.
    const id = range.last > range.after
      ? webhookId({ subscriptionId: state.subscriptionId, epoch: state.epoch, after: range.after, last: range.last, gaps: range.gaps })
      : randomWebhookId((bytes) => this.#random.token(bytes));
    const timestamp = Math.floor(now / 1000);
    const secrets = [this.#secret(callback.secret)];
    if (callback.previousSecret !== null && callback.previousUntil !== null && now < callback.previousUntil) secrets.push(this.#secret(callback.previousSecret));
    const headers: Record<string, string> = {
      [CONTENT_TYPE]: CALLBACK_CONTENT_TYPE,
      [USER_AGENT]: CALLBACK_USER_AGENT,
      [WEBHOOK_ID]: id,
      [WEBHOOK_TIMESTAMP]: String(timestamp),
      [WEBHOOK_SIGNATURE]: signWebhook(secrets, id, timestamp, body),
      [MCP_SUBSCRIPTION_ID]: state.subscriptionId,
    };
    if (this.#key !== undefined) {
      headers[MCP_DELIVERY_SIGNATURE] = await signDelivery(this.#key, deliverySignatureHead(this.#key, callback.url, state.subscriptionId), body, timestamp);
    }
    return { headers, body };
  }

  #secret(text: string): Secret {
    let secret = this.#secrets.get(text);
    if (secret === undefined) {
      if (this.#secrets.size >= 10_000) this.#secrets.clear();
      secret = Secret.parse(text);
      this.#secrets.set(text, secret);
    }
    return secret;
  }
}
