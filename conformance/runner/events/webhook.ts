/** A webhook of the kit for SEP-3415: records every request and answers as the scenario says. */
import {
  CallbackEndpoint,
  newSecret,
  signatureOf,
  type Hit,
  type Reply,
} from '../server/callback-endpoint.ts';

/** The types of control envelopes; an occurrence has none. */
const ENVELOPES = ['verification', 'gap', 'terminated'];

export class Webhook {
  secret = newSecret();
  /** Answers an occurrence or an envelope other than a verification; `n` counts them from 1. */
  answer: (hit: Hit, n: number) => Reply | Promise<Reply> = () => ({ status: 204 });
  /** Answers a verification. */
  consent: (hit: Hit) => Reply | Promise<Reply> = ({ message: { challenge } }) => ({
    body: { challenge },
  });
  readonly #endpoint: CallbackEndpoint;

  private constructor(endpoint: CallbackEndpoint) {
    this.#endpoint = endpoint;
    // The endpoint treats every SEP-3415 request as a delivery, because none has `params.challenge`.
    endpoint.answer = (hit) =>
      hit.message?.type === 'verification'
        ? this.consent(hit)
        : this.answer(hit, this.messages.length);
  }

  static async listen(base?: string): Promise<Webhook> {
    return new Webhook(await CallbackEndpoint.listen(base));
  }

  get url(): string {
    return this.#endpoint.url;
  }
  /** The `delivery` member of a subscribe request. */
  get delivery() {
    return { mode: 'webhook', url: this.url, secret: this.secret } as const;
  }
  get hits(): readonly Hit[] {
    return this.#endpoint.hits;
  }
  get challenges(): readonly Hit[] {
    return this.hits.filter(({ message }) => message?.type === 'verification');
  }
  /** Everything but verifications. */
  get messages(): readonly Hit[] {
    return this.hits.filter(({ message }) => message?.type !== 'verification');
  }
  get events(): readonly Hit[] {
    return this.hits.filter(({ message }) => !ENVELOPES.includes(message?.type));
  }
  /** `data.n` of every received event, in order. */
  get numbers(): readonly number[] {
    return this.events.map(({ message }) => message?.data?.n);
  }
  envelopes(type: string): readonly Hit[] {
    return this.hits.filter(({ message }) => message?.type === type);
  }

  close(): Promise<void> {
    return this.#endpoint.close();
  }
}

/** Whether one of the signatures of a request is correct under this secret. */
export const isSigned = (hit: Hit, secret: string): boolean =>
  String(hit.headers['webhook-signature'] ?? '')
    .split(' ')
    .includes(signatureOf(secret, hit));
