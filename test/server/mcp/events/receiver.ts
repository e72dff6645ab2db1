/**
 * A webhook receiver on a real loopback port, built from what SEP-3415 asks of a receiver and the
 * public Standard Webhooks library; it uses none of this project's signing code.
 */
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { createServer, type IncomingHttpHeaders, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { Webhook } from 'standardwebhooks';
import { eventually, secretOf, type Json } from '../../../requirements/world.ts';

/** One request as received. */
export interface Hit {
  readonly method: string;
  readonly headers: IncomingHttpHeaders;
  readonly raw: Buffer;
  readonly body: Json;
}

export interface Reply {
  readonly status?: number;
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: string | object;
}

/** How anything but a challenge is answered; `n` counts from 1. */
export type Behavior = (hit: Hit, n: number) => Reply | Promise<Reply>;

export class Receiver {
  secret = secretOf();
  behave: Behavior;
  /** How a challenge is answered. */
  consent: Behavior = ({ body: { challenge } }) => ({ body: { challenge } });
  readonly hits: Hit[] = [];
  readonly path = `/hook/${randomBytes(6).toString('hex')}`;
  readonly #server: Server;

  constructor(behave: Behavior = () => ({ status: 204 })) {
    this.behave = behave;
    this.#server = createServer((request, response) => {
      const chunks: Buffer[] = [];
      request
        .on('data', (chunk: Buffer) => chunks.push(chunk))
        .on('end', () => {
          const raw = Buffer.concat(chunks);
          const hit: Hit = {
            method: request.method ?? '',
            headers: request.headers,
            raw,
            body: JSON.parse(raw.toString('utf8')) as Json,
          };
          this.hits.push(hit);
          void (async () => {
            const {
              status = 200,
              headers = {},
              body = '',
            } = await (hit.body['type'] === 'verification'
              ? this.consent(hit, this.challenges.length)
              : this.behave(hit, this.messages.length));
            response.writeHead(status, { 'content-type': 'application/json', ...headers });
            response.end(
              status === 204 ? undefined : typeof body === 'string' ? body : JSON.stringify(body),
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
  get delivery(): { mode: 'webhook'; url: string; secret: string } {
    return { mode: 'webhook', url: this.url, secret: this.secret };
  }

  get challenges(): Hit[] {
    return this.hits.filter(({ body }) => body['type'] === 'verification');
  }
  /** All requests but challenges. */
  get messages(): Hit[] {
    return this.hits.filter(({ body }) => body['type'] !== 'verification');
  }
  get events(): Hit[] {
    return this.hits.filter(({ body }) => body['type'] === undefined);
  }

  /** Resolves with the n-th message that is not a challenge, counted from 1. */
  nth(n: number): Promise<Hit> {
    return eventually(`message ${n} at the receiver`, () => this.messages[n - 1]);
  }

  close(): void {
    this.#server.closeAllConnections();
    this.#server.close();
  }
}

/**
 * Whether the public library accepts the request under this secret. The library checks the real
 * time, so the signed timestamp is first checked against the test's clock and then shifted; false
 * for a request that is signed for another moment.
 */
export function verifies(secret: string, { headers, raw }: Hit, now: number): boolean {
  const dateNow = Date.now;
  Date.now = () => now;
  try {
    new Webhook(secret).verify(raw, {
      'webhook-id': String(headers['webhook-id']),
      'webhook-timestamp': String(headers['webhook-timestamp']),
      'webhook-signature': String(headers['webhook-signature']),
    });
    return true;
  } catch {
    return false;
  } finally {
    Date.now = dateNow;
  }
}
