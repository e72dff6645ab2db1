/**
 * A correct SEP-3415 receiver in a few lines, and its faults: each row replaces some of its
 * decisions.
 */
import { createHmac, randomBytes } from 'node:crypto';
import { once } from 'node:events';
import {
  createServer,
  type IncomingHttpHeaders,
  type IncomingMessage,
  type Server,
  type ServerResponse,
} from 'node:http';
import type { AddressInfo } from 'node:net';
import type { Json } from '../proxy.ts';

const RIGHT = {
  /** The bytes that the signature covers. */
  signed: (raw: Buffer): Buffer => raw,
  isSignature: (given: string, right: string): boolean => given.split(' ').includes(right),
  isFresh: (timestamp: number): boolean => Math.abs(Date.now() / 1000 - timestamp) <= 300,
  /** Whether it accepts requests for an unknown subscription. */
  refuses: (_body: Json): boolean => true,
  echo: (challenge: string): object => ({ challenge }),
  isKnown: (id: unknown, own: string | undefined): boolean => id === own,
  unknownStatus: 503,
  /** The deduplication key of an event. */
  nameOf: ({ eventId }: Json, _headers: IncomingHttpHeaders): string => eventId,
  item: (body: Json): Json => {
    if (body.type === undefined)
      return { applied: 'event', eventId: body.eventId, cursor: body.cursor };
    return body.type === 'gap' ? { applied: 'gap', cursor: body.cursor } : { applied: 'ended' };
  },
};

/** A broken receiver. */
export interface BrokenEventsReceiver {
  /** The requirement that it breaks, without prefix. */
  readonly check: string;
  /** What it does wrong, in a few words. */
  readonly wrong: string;
  readonly how: Partial<typeof RIGHT>;
}

export const brokenEventsReceivers: readonly BrokenEventsReceiver[] = [
  {
    check: 'receiver-challenge-echo',
    wrong: 'answers a verification with an empty 200',
    how: { echo: () => ({}) },
  },
  {
    check: 'receiver-challenge-echo',
    wrong: 'replaces non-ASCII characters in the challenge',
    how: { echo: (challenge) => ({ challenge: challenge.replace(/[^ -~]/g, '?') }) },
  },
  {
    check: 'receiver-verify-first',
    wrong: 'verifies no signature',
    how: { isSignature: () => true },
  },
  {
    check: 'receiver-verify-first',
    wrong: 'echoes a challenge before it verifies the signature',
    how: { refuses: ({ type }) => type !== 'verification' },
  },
  {
    check: 'receiver-verify-first',
    wrong: 'accepts an empty signature',
    how: { isSignature: (given, right) => given === '' || given.split(' ').includes(right) },
  },
  {
    check: 'receiver-verify-first',
    wrong: 'accepts a prefix of the signature',
    how: {
      isSignature: (given, right) =>
        given !== '' && given.split(' ').some((one) => right.startsWith(one)),
    },
  },
  {
    check: 'receiver-raw-bytes',
    wrong: 'verifies the signature over a re-serialized body',
    how: { signed: (raw) => Buffer.from(JSON.stringify(JSON.parse(raw.toString()))) },
  },
  {
    check: 'receiver-raw-bytes',
    wrong: 'verifies the signature over a trimmed body',
    how: { signed: (raw) => Buffer.from(raw.toString().trim()) },
  },
  {
    check: 'receiver-several-signatures',
    wrong: 'compares only the first signature',
    how: { isSignature: (given, right) => given.split(' ')[0] === right },
  },
  {
    check: 'receiver-several-signatures',
    wrong: 'accepts only a single signature',
    how: { isSignature: (given, right) => given === right },
  },
  {
    check: 'receiver-stale-refused',
    wrong: 'accepts a timestamp of any age',
    how: { isFresh: () => true },
  },
  {
    check: 'receiver-stale-refused',
    wrong: 'rejects a timestamp older than a minute',
    how: { isFresh: (timestamp) => Math.abs(Date.now() / 1000 - timestamp) <= 60 },
  },
  {
    check: 'receiver-dedupe',
    wrong: 'hands an event on twice',
    how: { nameOf: () => randomBytes(9).toString('hex') },
  },
  {
    check: 'receiver-dedupe',
    wrong: 'deduplicates by webhook-id only',
    how: { nameOf: (_body, headers) => String(headers['webhook-id']) },
  },
  {
    check: 'receiver-hands-on-cursor',
    wrong: 'does not hand on the cursor',
    how: {
      item: (body) => {
        const { cursor: _, ...rest } = RIGHT.item(body);
        return rest;
      },
    },
  },
  {
    check: 'receiver-forwards-control',
    wrong: 'drops gap envelopes',
    how: { item: (body) => (body.type === 'gap' ? undefined : RIGHT.item(body)) },
  },
  {
    check: 'receiver-forwards-control',
    wrong: 'drops terminated envelopes',
    how: { item: (body) => (body.type === 'terminated' ? undefined : RIGHT.item(body)) },
  },
  {
    check: 'receiver-unknown-subscription-retryable',
    wrong: 'answers an unknown subscription with 404',
    how: { unknownStatus: 404 },
  },
  {
    check: 'receiver-unknown-subscription-retryable',
    wrong: 'accepts events of an unknown subscription',
    how: { isKnown: () => true },
  },
];

interface Registration {
  readonly secret: string;
  readonly subscriptionId: string | undefined;
  readonly items: Json[];
  readonly seen: Set<string>;
}

export class MinimalEventsReceiver {
  readonly #how: typeof RIGHT;
  readonly #registrations = new Map<string, Registration>();
  readonly #server: Server;
  url = '';
  secret = '';

  private constructor(how: Partial<typeof RIGHT>) {
    this.#how = { ...RIGHT, ...how };
    this.#server = createServer((request, response) => {
      this.#serve(request, response).catch(() => response.destroy());
    });
  }

  static async start(how: Partial<typeof RIGHT> = {}): Promise<MinimalEventsReceiver> {
    const receiver = new MinimalEventsReceiver(how);
    await once(receiver.#server.listen(0, '127.0.0.1'), 'listening');
    Object.assign(receiver, receiver.#register('first', undefined));
    return receiver;
  }

  get control(): string {
    return `${this.#origin}/control`;
  }
  get #origin(): string {
    return `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}`;
  }

  async close(): Promise<void> {
    this.#server.closeAllConnections();
    await once(this.#server.close(), 'close');
  }

  #register(
    key: string,
    subscriptionId: string | undefined,
  ): { readonly url: string; readonly secret: string } {
    const secret = `whsec_${randomBytes(32).toString('base64')}`;
    this.#registrations.set(key, { secret, subscriptionId, items: [], seen: new Set() });
    return { url: `${this.#origin}/in/${key}`, secret };
  }

  async #serve(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const chunks: Buffer[] = [];
    for await (const chunk of request) chunks.push(chunk as Buffer);
    const raw = Buffer.concat(chunks);
    const answer = (status: number, body?: object): void =>
      void response
        .writeHead(status, { 'content-type': 'application/json' })
        .end(body === undefined ? '' : JSON.stringify(body));
    if (request.url !== '/control') return this.#take(request, raw, answer);
    if (request.method === 'GET') return answer(200, { verbs: ['register', 'applied'] });
    const { do: verb, key, subscriptionId } = JSON.parse(raw.toString());
    answer(
      200,
      verb === 'register'
        ? this.#register(key, subscriptionId)
        : { items: this.#registrations.get(key)?.items ?? [] },
    );
  }

  #take(
    { url, headers }: IncomingMessage,
    raw: Buffer,
    answer: (status: number, body?: object) => void,
  ): void {
    const how = this.#how;
    const registration = this.#registrations.get(url!.slice('/in/'.length));
    if (registration === undefined) return answer(404);
    const body = JSON.parse(raw.toString());
    const content = Buffer.concat([
      Buffer.from(`${String(headers['webhook-id'])}.${String(headers['webhook-timestamp'])}.`),
      how.signed(raw),
    ]);
    const right = `v1,${createHmac('sha256', Buffer.from(registration.secret.slice(6), 'base64'))
      .update(content)
      .digest('base64')}`;
    const isGood =
      how.isSignature(String(headers['webhook-signature'] ?? ''), right) &&
      how.isFresh(Number(headers['webhook-timestamp']));
    if (!isGood && how.refuses(body)) return answer(401);
    if (body.type === 'verification') return answer(200, how.echo(body.challenge));
    if (!how.isKnown(headers['x-mcp-subscription-id'], registration.subscriptionId))
      return answer(how.unknownStatus);
    const name =
      body.type === undefined ? how.nameOf(body, headers) : `${body.type} ${body.cursor}`;
    const item = registration.seen.has(name) ? undefined : how.item(body);
    registration.seen.add(name);
    if (item !== undefined) registration.items.push(item);
    answer(204);
  }
}
