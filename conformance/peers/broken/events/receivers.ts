/**
 * A minimal correct receiver of SEP-3415, and its faults: each row replaces some of its decisions.
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

/** Every decision that a receiver can get wrong. */
const CORRECT = {
  /** The bytes that the signature covers. */
  signed: (raw: Buffer): Buffer => raw,
  isSignature: (given: string, correct: string): boolean => given.split(' ').includes(correct),
  isFresh: (timestamp: number): boolean => Math.abs(Date.now() / 1000 - timestamp) <= 300,
  /** Whether it rejects a request with a wrong or stale signature. */
  refuses: (_body: Json): boolean => true,
  echo: (challenge: string): object => ({ challenge }),
  isKnown: (id: unknown, own: string | undefined): boolean => id === own,
  unknownStatus: 503,
  /** The deduplication key of an event. */
  nameOf: ({ eventId }: Json, _headers: IncomingHttpHeaders): string => eventId,
  /** The item that it hands to its application; undefined = none. */
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
  /** A short description of the fault. */
  readonly wrong: string;
  readonly overrides: Partial<typeof CORRECT>;
}

export const brokenEventsReceivers: readonly BrokenEventsReceiver[] = [
  {
    check: 'receiver-challenge-echo',
    wrong: 'answers a verification with an empty 200',
    overrides: { echo: () => ({}) },
  },
  {
    check: 'receiver-challenge-echo',
    wrong: 'replaces non-ASCII characters in the challenge',
    overrides: { echo: (challenge) => ({ challenge: challenge.replace(/[^ -~]/g, '?') }) },
  },
  {
    check: 'receiver-verify-first',
    wrong: 'verifies no signature',
    overrides: { isSignature: () => true },
  },
  {
    check: 'receiver-verify-first',
    wrong: 'echoes a challenge before it verifies the signature',
    overrides: { refuses: ({ type }) => type !== 'verification' },
  },
  {
    check: 'receiver-verify-first',
    wrong: 'accepts an empty signature',
    overrides: {
      isSignature: (given, correct) => given === '' || given.split(' ').includes(correct),
    },
  },
  {
    check: 'receiver-verify-first',
    wrong: 'accepts a prefix of the signature',
    overrides: {
      isSignature: (given, correct) =>
        given !== '' && given.split(' ').some((one) => correct.startsWith(one)),
    },
  },
  {
    check: 'receiver-raw-bytes',
    wrong: 'verifies the signature over a re-serialized body',
    overrides: { signed: (raw) => Buffer.from(JSON.stringify(JSON.parse(raw.toString()))) },
  },
  {
    check: 'receiver-raw-bytes',
    wrong: 'verifies the signature over a trimmed body',
    overrides: { signed: (raw) => Buffer.from(raw.toString().trim()) },
  },
  {
    check: 'receiver-several-signatures',
    wrong: 'compares only the first signature',
    overrides: { isSignature: (given, correct) => given.split(' ')[0] === correct },
  },
  {
    check: 'receiver-several-signatures',
    wrong: 'accepts only a single signature',
    overrides: { isSignature: (given, correct) => given === correct },
  },
  {
    check: 'receiver-stale-refused',
    wrong: 'accepts a timestamp of any age',
    overrides: { isFresh: () => true },
  },
  {
    check: 'receiver-stale-refused',
    wrong: 'rejects a timestamp older than a minute',
    overrides: { isFresh: (timestamp) => Math.abs(Date.now() / 1000 - timestamp) <= 60 },
  },
  {
    check: 'receiver-dedupe',
    wrong: 'hands an event on twice',
    overrides: { nameOf: () => randomBytes(9).toString('hex') },
  },
  {
    check: 'receiver-dedupe',
    wrong: 'deduplicates by webhook-id only',
    overrides: { nameOf: (_body, headers) => String(headers['webhook-id']) },
  },
  {
    check: 'receiver-hands-on-cursor',
    wrong: 'does not hand on the cursor',
    overrides: {
      item: (body) => {
        const { cursor: _, ...rest } = CORRECT.item(body);
        return rest;
      },
    },
  },
  {
    check: 'receiver-forwards-control',
    wrong: 'drops gap envelopes',
    overrides: { item: (body) => (body.type === 'gap' ? undefined : CORRECT.item(body)) },
  },
  {
    check: 'receiver-forwards-control',
    wrong: 'drops terminated envelopes',
    overrides: { item: (body) => (body.type === 'terminated' ? undefined : CORRECT.item(body)) },
  },
  {
    check: 'receiver-unknown-subscription-retryable',
    wrong: 'answers an unknown subscription with 404',
    overrides: { unknownStatus: 404 },
  },
  {
    check: 'receiver-unknown-subscription-retryable',
    wrong: 'accepts events of an unknown subscription',
    overrides: { isKnown: () => true },
  },
];

interface Registration {
  readonly secret: string;
  readonly subscriptionId: string | undefined;
  readonly items: Json[];
  readonly seen: Set<string>;
}

/** A receiver on loopback, with its control interface. */
export class MinimalEventsReceiver {
  readonly #overrides: typeof CORRECT;
  readonly #registrations = new Map<string, Registration>();
  readonly #server: Server;
  url = '';
  secret = '';

  private constructor(overrides: Partial<typeof CORRECT>) {
    this.#overrides = { ...CORRECT, ...overrides };
    this.#server = createServer((request, response) => {
      this.#serve(request, response).catch(() => response.destroy());
    });
  }

  static async start(overrides: Partial<typeof CORRECT> = {}): Promise<MinimalEventsReceiver> {
    const receiver = new MinimalEventsReceiver(overrides);
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
    const overrides = this.#overrides;
    const registration = this.#registrations.get(url!.slice('/in/'.length));
    if (registration === undefined) return answer(404);
    const body = JSON.parse(raw.toString());
    const content = Buffer.concat([
      Buffer.from(`${String(headers['webhook-id'])}.${String(headers['webhook-timestamp'])}.`),
      overrides.signed(raw),
    ]);
    const correct = `v1,${createHmac('sha256', Buffer.from(registration.secret.slice(6), 'base64'))
      .update(content)
      .digest('base64')}`;
    const isGood =
      overrides.isSignature(String(headers['webhook-signature'] ?? ''), correct) &&
      overrides.isFresh(Number(headers['webhook-timestamp']));
    if (!isGood && overrides.refuses(body)) return answer(401);
    if (body.type === 'verification') return answer(200, overrides.echo(body.challenge));
    if (!overrides.isKnown(headers['x-mcp-subscription-id'], registration.subscriptionId))
      return answer(overrides.unknownStatus);
    const name =
      body.type === undefined ? overrides.nameOf(body, headers) : `${body.type} ${body.cursor}`;
    const item = registration.seen.has(name) ? undefined : overrides.item(body);
    registration.seen.add(name);
    if (item !== undefined) registration.items.push(item);
    answer(204);
  }
}
