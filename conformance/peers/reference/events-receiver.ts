/**
 * The receiver library as a receiver of SEP-3415 webhooks, with the control interface of the
 * receiver suite. It deduplicates events, which the library leaves to the client.
 */
import { generateKeyPairSync } from 'node:crypto';
import { once } from 'node:events';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { getRequestListener } from '@hono/node-server';
import { createReceiver, type Receiver } from 'mcp-triggers-experimental/receiver';
import { rejectionOf } from '../../runner/control-schema.ts';
import type { RegistrationKey } from '../../runner/receiver/control.ts';

/** The verbs of its control interface. */
const VERBS = ['register', 'applied'];

interface Item {
  readonly applied: 'event' | 'gap' | 'ended';
  readonly eventId?: unknown;
  readonly cursor?: unknown;
}

const nameOf = ({ audience, key }: RegistrationKey): string => JSON.stringify([audience, key]);
const originOf = (server: Server): string =>
  `http://127.0.0.1:${(server.address() as AddressInfo).port}`;

function itemOf({ type, eventId, cursor }: Readonly<Record<string, unknown>>): Item {
  if (type === undefined) return { applied: 'event', eventId, cursor };
  return type === 'gap' ? { applied: 'gap', cursor } : { applied: 'ended' };
}

export class ReferenceEventsReceiver {
  readonly #items = new Map<string, Item[]>();
  readonly #server: Server;
  readonly #side: Server;
  #receiver!: Receiver;
  #first!: { readonly url: string; readonly secret: string };

  private constructor() {
    this.#server = createServer(getRequestListener((request) => this.#receiver.fetch(request)));
    this.#side = createServer(getRequestListener((request) => this.#asked(request)));
  }

  static async start(): Promise<ReferenceEventsReceiver> {
    const reference = new ReferenceEventsReceiver();
    for (const server of [reference.#server, reference.#side])
      await once(server.listen(0, '127.0.0.1'), 'listening');
    const issuer = originOf(reference.#server);
    reference.#receiver = createReceiver({
      endpoint: `${issuer}/callback`,
      issuer,
      signingKey: generateKeyPairSync('ed25519').privateKey,
    });
    reference.#first = await reference.#receiver.register({
      audience: 'https://mcp.example.com/mcp',
      key: 'conformance',
    });
    return reference;
  }

  /** The URL and the secret of the first registration, for the command line. */
  get url(): string {
    return this.#first.url;
  }
  get secret(): string {
    return this.#first.secret;
  }
  get control(): string {
    return `${originOf(this.#side)}/`;
  }

  async close(): Promise<void> {
    for (const server of [this.#server, this.#side]) {
      server.closeAllConnections();
      await once(server.close(), 'close');
    }
  }

  async #asked(request: Request): Promise<Response> {
    if (request.method === 'GET') return Response.json({ verbs: VERBS });
    const asked: unknown = await request.json().catch(() => undefined);
    const rejected = rejectionOf('Receiver', VERBS, asked);
    if (rejected !== null) return Response.json(rejected.body, { status: rejected.status });
    const {
      do: verb,
      subscriptionId,
      ...who
    } = asked as RegistrationKey & {
      readonly do: string;
      readonly subscriptionId?: string;
    };
    if (verb === 'applied') return Response.json({ items: this.#items.get(nameOf(who)) ?? [] });
    const items: Item[] = [];
    this.#items.set(nameOf(who), items);
    const { url, secret } = await this.#receiver.register({ audience: who.audience, key: who.key });
    this.#receiver.attachWebhook(who, async ({ subscriptionId: id, body }) => {
      if (id !== subscriptionId) return 'later';
      const item = itemOf(body);
      const isKnown = items.some(
        ({ applied, eventId }) => applied === 'event' && eventId === item.eventId,
      );
      if (item.applied !== 'event' || !isKnown) items.push(item);
      return 'taken';
    });
    return Response.json({ url, secret });
  }
}
