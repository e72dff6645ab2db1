/**
 * A callback endpoint of the kit: records every request as received and answers as the scenario
 * says.
 */
import { createHmac, randomBytes } from 'node:crypto';
import { once } from 'node:events';
import {
  createServer,
  type IncomingHttpHeaders,
  type Server,
  type ServerResponse,
} from 'node:http';
import type { AddressInfo } from 'node:net';
import { recorder, recordServed } from '../trace.ts';
import type { Json } from '../wire/session.ts';

/** A request as received. */
export interface Hit {
  readonly method: string;
  readonly path: string;
  readonly headers: IncomingHttpHeaders;
  /** Header names in order and in lower case; repeated names repeat here. */
  readonly names: readonly string[];
  readonly raw: Buffer;
  /** The body as JSON; undefined for any other body. */
  readonly message: Json;
  /** `params` of the message: a delivery or a challenge. */
  readonly delivery: Json;
  /** Time of arrival, in epoch milliseconds. */
  readonly at: number;
}

/** An answer. Without `body` it is empty. */
export interface Reply {
  readonly status?: number;
  readonly headers?: Readonly<Record<string, string>>;
  /** A generator's chunks are sent one by one until the other side disconnects. */
  readonly body?: string | Buffer | object | AsyncGenerator<string>;
}

/** The last sequence number that a delivery covers. */
export const lastOf = ({ afterSequence, events = [], gaps = [] }: Json): number =>
  Math.max(
    afterSequence,
    ...events.map(({ sequence }: Json) => sequence),
    ...gaps.map(({ to }: Json) => to),
  );

/** Whether the params of a callback request are a challenge. */
export const isChallenge = (params: Json): boolean => params.challenge !== undefined;

/** The reply that acknowledges the whole delivery. */
export const acknowledge = ({ delivery }: Hit): Reply => ({
  body: { ackSequence: lastOf(delivery) },
});

/** HMAC-SHA256 in base64 under a `whsec_` secret. */
export const hmac = (secret: string, content: string | Buffer): string =>
  createHmac('sha256', Buffer.from(secret.slice('whsec_'.length), 'base64'))
    .update(content)
    .digest('base64');

export const newSecret = (bytes = 32): string => `whsec_${randomBytes(bytes).toString('base64')}`;

/** The correct `webhook-signature` of this request (Standard Webhooks). */
export const signatureOf = (secret: string, { headers, raw }: Hit): string =>
  `v1,${hmac(secret, Buffer.concat([Buffer.from(`${String(headers['webhook-id'])}.${String(headers['webhook-timestamp'])}.`), raw]))}`;

export class CallbackEndpoint {
  secret = newSecret();
  /** Answers a delivery; `n` counts them from 1. */
  answer: (hit: Hit, n: number) => Reply | Promise<Reply> = acknowledge;
  /** Answers a challenge. */
  consent: (hit: Hit) => Reply | Promise<Reply> = ({ delivery: { challenge } }) => ({
    body: { challenge, proof: hmac(this.secret, `challenge.${challenge}`) },
  });
  readonly hits: Hit[] = [];
  readonly #server: Server;
  readonly #path = `/callback/${randomBytes(9).toString('base64url')}`;
  readonly #base: string | undefined;

  private constructor(base: string | undefined) {
    this.#base = base;
    const record = recorder();
    this.#server = createServer((request, response) => {
      const chunks: Buffer[] = [];
      request.on('error', () => response.destroy());
      request
        .on('data', (chunk: Buffer) => chunks.push(chunk))
        .on('end', () => {
          const raw = Buffer.concat(chunks);
          const message = parse(raw);
          recordServed(record, 'callback request', request, raw.toString('utf8'), response);
          const hit: Hit = {
            method: request.method ?? '',
            path: request.url ?? '',
            headers: request.headers,
            raw,
            message,
            delivery: message?.params ?? {},
            at: Date.now(),
            names: request.rawHeaders
              .filter((_, at) => at % 2 === 0)
              .map((name) => name.toLowerCase()),
          };
          this.hits.push(hit);
          void (async () => {
            const {
              status = 200,
              headers = {},
              body,
            } = await (isChallenge(hit.delivery)
              ? this.consent(hit)
              : this.answer(hit, this.deliveries.length));
            response.writeHead(status, { 'content-type': 'application/json', ...headers });
            if (isGenerator(body)) await drip(body, response);
            response.end(
              body === undefined || isGenerator(body)
                ? ''
                : typeof body === 'string' || Buffer.isBuffer(body)
                  ? body
                  : JSON.stringify(body),
            );
          })().catch(() => response.destroy());
        });
    });
  }

  /**
   * Listens on loopback. `base` is the public origin of a tunnel to it; without one, the server
   * under test has to allow loopback.
   */
  static async listen(base?: string, port = 0): Promise<CallbackEndpoint> {
    const endpoint = new CallbackEndpoint(base);
    endpoint.#server.listen(port, '127.0.0.1');
    await once(endpoint.#server, 'listening');
    return endpoint;
  }

  get url(): string {
    const base = this.#base ?? `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}`;
    return `${base.replace(/\/$/, '')}${this.#path}`;
  }

  /** The `callback` member of a subscribe request. */
  get callback(): { readonly url: string; readonly secret: string } {
    return { url: this.url, secret: this.secret };
  }
  get challenges(): readonly Hit[] {
    return this.hits.filter(({ delivery }) => isChallenge(delivery));
  }
  get deliveries(): readonly Hit[] {
    return this.hits.filter(({ delivery }) => !isChallenge(delivery));
  }
  /** Every received event, in order. */
  get events(): readonly Json[] {
    return this.deliveries.flatMap(({ delivery }) => delivery.events ?? []);
  }

  /** A summary of the requests in one line. */
  get summary(): string {
    const { challenges, deliveries, events } = this;
    return `${challenges.length} challenges and ${deliveries.length} deliveries with ${events.length} events`;
  }

  async close(): Promise<void> {
    this.#server.closeAllConnections();
    this.#server.close();
    await once(this.#server, 'close');
  }
}

const isGenerator = (body: Reply['body']): body is AsyncGenerator<string> =>
  typeof body === 'object' && Symbol.asyncIterator in body;

async function drip(pieces: AsyncGenerator<string>, response: ServerResponse): Promise<void> {
  for await (const piece of pieces) {
    if (response.destroyed) return;
    response.write(piece);
  }
}

function parse(raw: Buffer): Json {
  try {
    return JSON.parse(raw.toString('utf8'));
  } catch {
    return undefined;
  }
}
