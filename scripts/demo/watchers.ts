/**
 * The clients of the demo. Each follows the same trigger types by another drain, with the client
 * library.
 */
import { generateKeyPairSync } from 'node:crypto';
import type { Drain, TriggerEvent, Selection } from 'mcp-triggers-experimental';
import {
  connect,
  triggersClient,
  type TriggersClient,
  type TriggersSubscription,
} from 'mcp-triggers-experimental/client';
import {
  createReceiver,
  createServerKeys,
  type Receiver,
} from 'mcp-triggers-experimental/receiver';
import { listenOnLoopback } from '../../reference-client/endpoint.ts';
import { Wiretap } from './wiretap.ts';

export interface Arrival {
  readonly event: TriggerEvent;
  /** The time of the arrival, by `performance.now()`. */
  readonly at: number;
}

export interface WatcherOptions {
  readonly url: string;
  readonly token: string;
  readonly drain: Drain;
  readonly select: readonly Selection[];
  readonly onArrival: () => void;
}

/** A client and the events that have arrived. */
export class Watcher {
  readonly drain: Drain;
  readonly arrivals: Arrival[] = [];
  /** The types of the reported losses. */
  readonly losses: string[] = [];
  readonly wiretap: Wiretap;
  readonly subscription: TriggersSubscription;
  /** The origin of the callback URL. */
  readonly origin: string | undefined;
  readonly #client: TriggersClient;
  readonly #closeEndpoint: () => Promise<void>;
  /** Rejects if the subscription ends early. */
  readonly ended: Promise<void>;
  #reconnects = 0;

  private constructor(
    options: WatcherOptions,
    client: TriggersClient,
    wiretap: Wiretap,
    endpoint: Endpoint | undefined,
  ) {
    const { drain, select, onArrival } = options;
    this.drain = drain;
    this.wiretap = wiretap;
    this.origin = endpoint?.origin;
    this.#client = client;
    this.#closeEndpoint = async () => endpoint?.close();
    this.subscription = client.subscribe({
      key: `demo-${drain}`,
      select,
      drain,
      ...(endpoint === undefined ? {} : { callback: endpoint.receiver }),
      onState: ({ phase }) => {
        if (phase === 'waiting') this.#reconnects += 1;
      },
      tuning: { backoff: { baseMs: 100, maxMs: 500 } },
    });
    this.ended = this.#follow(onArrival);
    // The promise is awaited while the demo waits for events. Until then a rejection would be
    // unhandled.
    this.ended.catch(() => undefined);
  }

  /** Connects and subscribes. When it resolves, a callback has been verified. */
  static async start(options: WatcherOptions): Promise<Watcher> {
    const wiretap = new Wiretap();
    const client = triggersClient(
      await connect({ url: options.url, token: options.token, fetch: wiretap.fetch }),
    );
    const endpoint =
      options.drain === 'callback'
        ? await openEndpoint(wiretap, options.url, client.capability?.jwksUri)
        : undefined;
    const watcher = new Watcher(options, client, wiretap, endpoint);
    await watcher.subscription.ready();
    return watcher;
  }

  /** The number of attempts to reconnect. */
  get reconnects(): number {
    return this.#reconnects;
  }

  async #follow(onArrival: () => void): Promise<void> {
    for await (const item of this.subscription) {
      if (item.type === 'event') this.arrivals.push({ event: item.event, at: performance.now() });
      else this.losses.push(item.type);
      onArrival();
    }
  }

  /** Unsubscribes and closes everything. */
  async close(): Promise<void> {
    await this.subscription.close({ unsubscribe: true }).catch(() => undefined);
    await this.#client.close().catch(() => undefined);
    await this.#closeEndpoint();
  }
}

interface Endpoint {
  readonly receiver: Receiver;
  readonly origin: string;
  close(): Promise<void>;
}

async function openEndpoint(
  wiretap: Wiretap,
  server: string,
  jwksUri: string | undefined,
): Promise<Endpoint> {
  let receiver: Receiver | undefined;
  const { origin, close } = await listenOnLoopback(0, async (request) => {
    // Counted before it is passed on, because the demo reads the counts as soon as the last event
    // has arrived.
    const copy = request.clone();
    await copy.text().then(
      (text) => wiretap.message(text),
      () => undefined,
    );
    return receiver!.fetch(request);
  });
  const keys = jwksUri === undefined ? undefined : createServerKeys({ server, jwksUri });
  receiver = createReceiver({
    endpoint: `${origin}/callback`,
    issuer: origin,
    signingKey: generateKeyPairSync('ed25519').privateKey,
    serverKeys: () => keys,
  });
  return { receiver, origin, close };
}
