/** A webhook of SEP-3415 that the kit owns: keeps every request and answers as the scenario says. */
import {
  CallbackEndpoint,
  newSecret,
  signatureOf,
  type Hit,
  type Reply,
} from '../server/callback-endpoint.ts';

/** The control envelopes there are. */
const ENVELOPES = ['verification', 'gap', 'terminated'];

export class Webhook {
  secret = newSecret();
  /** How an occurrence or an envelope is answered; `n` counts these from 1. */
  answer: (hit: Hit, n: number) => Reply | Promise<Reply> = () => ({ status: 204 });
  /** How a verification is answered. */
  consent: (hit: Hit) => Reply | Promise<Reply> = ({ message: { challenge } }) => ({
    body: { challenge },
  });
  readonly #endpoint: CallbackEndpoint;

  private constructor(endpoint: CallbackEndpoint) {
    this.#endpoint = endpoint;
    // Of the other protocol nothing comes here, so everything is a "delivery" to the endpoint.
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
  /** What to subscribe with. */
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
  /** `data.n` of every event that came, in the order it came. */
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

/** Whether one of the signatures of a request is the right one under this secret. */
export const isSigned = (hit: Hit, secret: string): boolean =>
  String(hit.headers['webhook-signature'] ?? '')
    .split(' ')
    .includes(signatureOf(secret, hit));
