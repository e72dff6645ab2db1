/**
 * A callback endpoint on a real loopback port. It keeps every request byte by byte and answers as
 * the test says.
 */
import { createHmac, randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { createServer, type IncomingHttpHeaders, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { eventually, lastOf, secretOf, type Json } from './values.ts';

export interface Hit {
  readonly method: string;
  readonly path: string;
  readonly headers: IncomingHttpHeaders;
  /** Header names unchanged, except for lower case. */
  readonly names: readonly string[];
  readonly raw: Buffer;
  readonly message: Json;
  readonly delivery: Json;
}

export interface Reply {
  readonly status?: number;
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: string | Buffer | object;
}

/** How a delivery (not a challenge) is answered; `n` counts from 1. */
export type Behavior = (hit: Hit, n: number) => Reply | Promise<Reply>;

export const acknowledge = ({ delivery }: Hit): Reply => ({
  body: { ackSequence: lastOf(delivery) },
});

const hmac = (secret: string, content: string | Buffer): string =>
  createHmac('sha256', Buffer.from(secret.slice('whsec_'.length), 'base64'))
    .update(content)
    .digest('base64');

/** The Standard Webhooks signature for this request, computed here and not by the library. */
export const signatureOf = (secret: string, { headers, raw }: Hit): string =>
  `v1,${hmac(secret, Buffer.concat([Buffer.from(`${String(headers['webhook-id'])}.${String(headers['webhook-timestamp'])}.`), raw]))}`;

export class Endpoint {
  secret = secretOf();
  behave: Behavior;
  /** How a challenge is answered. */
  consent: (hit: Hit) => Reply | Promise<Reply>;
  readonly hits: Hit[] = [];
  readonly #server: Server;
  readonly path = `/hook/${randomBytes(6).toString('hex')}`;

  constructor(behave: Behavior = acknowledge) {
    this.behave = behave;
    this.consent = ({ delivery: { challenge } }) => ({
      body: { challenge, proof: hmac(this.secret, `challenge.${challenge}`) },
    });
    this.#server = createServer((request, response) => {
      const chunks: Buffer[] = [];
      request
        .on('data', (chunk: Buffer) => chunks.push(chunk))
        .on('end', () => {
          const raw = Buffer.concat(chunks);
          const message = JSON.parse(raw.toString('utf8')) as Json;
          const hit: Hit = {
            method: request.method ?? '',
            path: request.url ?? '',
            headers: request.headers,
            raw,
            message,
            delivery: message['params'],
            names: request.rawHeaders
              .filter((_, at) => at % 2 === 0)
              .map((name) => name.toLowerCase()),
          };
          this.hits.push(hit);
          void (async () => {
            const {
              status = 200,
              headers = {},
              body = '',
            } = await (hit.delivery['challenge'] === undefined
              ? this.behave(hit, this.deliveries.length)
              : this.consent(hit));
            response.writeHead(status, { 'content-type': 'application/json', ...headers });
            response.end(
              typeof body === 'string' || Buffer.isBuffer(body) ? body : JSON.stringify(body),
            );
          })();
        });
    });
  }

  async listen(): Promise<void> {
    this.#server.listen(0, '127.0.0.1');
    await once(this.#server, 'listening');
  }

  get url(): string {
    return `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}${this.path}`;
  }
  get callback(): { url: string; secret: string } {
    return { url: this.url, secret: this.secret };
  }
  get challenges(): Hit[] {
    return this.hits.filter(({ delivery }) => delivery['challenge'] !== undefined);
  }
  get deliveries(): Hit[] {
    return this.hits.filter(({ delivery }) => delivery['challenge'] === undefined);
  }

  /** Resolves with the n-th delivery, counted from 1. */
  nth(n: number): Promise<Hit> {
    return eventually(`delivery ${n}`, () => this.deliveries[n - 1]);
  }

  close(): void {
    this.#server.closeAllConnections();
    this.#server.close();
  }
}
