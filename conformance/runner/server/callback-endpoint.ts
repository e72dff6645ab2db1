/** A callback that the kit owns: keeps every request byte by byte and answers as the scenario says. */
import { createHmac, randomBytes } from 'node:crypto';
import { once } from 'node:events';
import {
  createServer,
  type IncomingHttpHeaders,
  type Server,
  type ServerResponse,
} from 'node:http';
import type { AddressInfo } from 'node:net';
import type { Json } from '../wire/session.ts';

/** One request as it came. */
export interface Hit {
  readonly method: string;
  readonly path: string;
  readonly headers: IncomingHttpHeaders;
  /** Names in the order they came, lower case, so that a repeated one shows. */
  readonly names: readonly string[];
  readonly raw: Buffer;
  /** The body as JSON; undefined when it is none. */
  readonly message: Json;
  /** `params` of the message. */
  readonly delivery: Json;
  readonly at: number;
}

/** An answer. No body = an empty one. */
export interface Reply {
  readonly status?: number;
  readonly headers?: Readonly<Record<string, string>>;
  /** A generator's pieces are sent as they come, until the other side has gone. */
  readonly body?: string | Buffer | object | AsyncGenerator<string>;
}

/** The last number that a delivery covers. */
export const lastOf = ({ after, events = [], gaps = [] }: Json): number =>
  Math.max(
    after,
    ...events.map(({ sequence }: Json) => sequence),
    ...gaps.map(({ to }: Json) => to),
  );

/** Takes everything. */
export const acknowledge = ({ delivery }: Hit): Reply => ({ body: { ack: lastOf(delivery) } });

/** base64 of HMAC-SHA256 under a `whsec_` secret. */
export const hmac = (secret: string, content: string | Buffer): string =>
  createHmac('sha256', Buffer.from(secret.slice('whsec_'.length), 'base64'))
    .update(content)
    .digest('base64');

export const newSecret = (bytes = 32): string => `whsec_${randomBytes(bytes).toString('base64')}`;

/** What Standard Webhooks wants in `webhook-signature` for this request. */
export const signatureOf = (secret: string, { headers, raw }: Hit): string =>
  `v1,${hmac(secret, Buffer.concat([Buffer.from(`${String(headers['webhook-id'])}.${String(headers['webhook-timestamp'])}.`), raw]))}`;

export class CallbackEndpoint {
  secret = newSecret();
  /** How a delivery is answered; `n` counts them from 1. */
  answer: (hit: Hit, n: number) => Reply | Promise<Reply> = acknowledge;
  /** How a challenge is answered. */
  consent: (hit: Hit) => Reply | Promise<Reply> = ({ delivery: { challenge } }) => ({
    body: { challenge, proof: hmac(this.secret, `challenge.${challenge}`) },
  });
  readonly hits: Hit[] = [];
  readonly #server: Server;
  readonly #path = `/callback/${randomBytes(9).toString('base64url')}`;
  readonly #base: string | undefined;

  private constructor(base: string | undefined) {
    this.#base = base;
    this.#server = createServer((request, response) => {
      const chunks: Buffer[] = [];
      request.on('error', () => response.destroy());
      request
        .on('data', (chunk: Buffer) => chunks.push(chunk))
        .on('end', () => {
          const raw = Buffer.concat(chunks);
          const message = parse(raw);
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
            } = await (hit.delivery.challenge === undefined
              ? this.answer(hit, this.deliveries.length)
              : this.consent(hit));
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

  /** `base`: where a tunnel brings requests from, without a path; absent = loopback, which the server under test has to allow. */
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

  /** What to register. */
  get callback(): { readonly url: string; readonly secret: string } {
    return { url: this.url, secret: this.secret };
  }
  get challenges(): readonly Hit[] {
    return this.hits.filter(({ delivery }) => delivery.challenge !== undefined);
  }
  get deliveries(): readonly Hit[] {
    return this.hits.filter(({ delivery }) => delivery.challenge === undefined);
  }
  /** Every event that came, in the order it came. */
  get events(): readonly Json[] {
    return this.deliveries.flatMap(({ delivery }) => delivery.events ?? []);
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
