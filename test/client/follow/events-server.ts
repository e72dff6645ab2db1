/**
 * A server of `events/*` with fully scripted answers: capability in either place, either set of
 * error codes, poll, push and webhooks over one list of events, with or without the numbers of this
 * extension.
 */
import { createHmac, randomUUID } from 'node:crypto';
import { EXTENSION_ID } from '../../../spec-schema/draft/schema.ts';
import { EVENTS_EXTENSION_ID } from '../../../src/protocol/events/names.ts';
import { Refused, type Asked, type RawServer } from './raw-server.ts';

export const CODES = {
  sep: {
    NotFound: -32023,
    Forbidden: -32024,
    ResourceExhausted: -32025,
    Unsupported: -32026,
    CallbackEndpointError: -32027,
  },
  sketch: {
    NotFound: -32011,
    Forbidden: -32012,
    ResourceExhausted: -32013,
    Unsupported: -32014,
    CallbackEndpointError: -32015,
  },
} as const;

const CAPABILITY = {
  sep: { extensions: { [EVENTS_EXTENSION_ID]: { listChanged: true } } },
  sketch: { events: {} },
} as const;

export interface Happening {
  readonly eventId: string;
  readonly at: number;
}
interface Hook {
  readonly id: string;
  readonly url: string;
  secrets: string[];
  cursor: number;
}

export class EventsServer {
  /** Selects the error codes and the place of the capability. */
  dialect: keyof typeof CODES = 'sep';
  name = 'timer';
  delivery: string[] = ['webhook', 'push', 'poll'];
  events: Happening[] = [];
  /** Cursors below this cannot be served. */
  oldest = 0;
  /** False = every cursor is null. */
  replays = true;
  /** Undefined = events carry no numbers. */
  log: { subscriptionId: string; epoch: string; shift: number } | undefined;
  nextPollMs = 5;
  maxEvents = 100;
  heartbeatMs = 20;
  ttlMs: number | null = 60_000;
  /** The subscribed webhooks, by URL. */
  readonly hooks = new Map<string, Hook>();
  #streams = new Set<Asked>();

  attach(server: RawServer): this {
    const { extensions, ...rest }: { readonly extensions?: object; readonly events?: object } =
      CAPABILITY[this.dialect];
    server.capabilities = {
      ...server.capabilities,
      ...rest,
      extensions: { ...(server.capabilities['extensions'] as object | undefined), ...extensions },
    };
    Object.assign(server.handlers, this.handlers);
    return this;
  }

  /** Appends `count` events and sends each on the open streams; returns their ids. */
  happen(count = 1): string[] {
    const made: string[] = [];
    for (let n = 0; n < count; n++) {
      const one = { eventId: `e${this.events.length + 1}`, at: this.events.length + 1 };
      this.events.push(one);
      made.push(one.eventId);
      for (const stream of this.#streams)
        stream.notify('notifications/events/event', this.occurrence(one, true));
    }
    return made;
  }

  get head(): number {
    return this.events.length;
  }
  get streams(): ReadonlySet<Asked> {
    return this.#streams;
  }
  cursor(at: number): string | null {
    return this.replays ? `c${at}` : null;
  }

  occurrence({ eventId, at }: Happening, withCursor = false): Record<string, unknown> {
    const { log } = this;
    return {
      eventId,
      name: this.name,
      timestamp: '2026-01-01T00:00:00.000Z',
      data: { at },
      ...(withCursor ? { cursor: this.cursor(at) } : {}),
      ...(log
        ? {
            _meta: {
              [EXTENSION_ID]: {
                subscriptionId: log.subscriptionId,
                epoch: log.epoch,
                sequence: at - log.shift,
                head: this.head - log.shift,
              },
            },
          }
        : {}),
    };
  }

  refuse(name: keyof (typeof CODES)['sep'], data?: unknown): never {
    throw new Refused(CODES[this.dialect][name], data);
  }

  /** The index at which reading begins, and whether events before it are gone. */
  place(raw: unknown): { readonly from: number; readonly truncated: boolean } {
    if (raw === null || raw === undefined) return { from: this.head, truncated: false };
    const at = /^c(\d+)$/.exec(String(raw))?.[1];
    if (at === undefined || Number(at) > this.head || Number(at) < this.oldest)
      return { from: this.oldest, truncated: true };
    return { from: Number(at), truncated: false };
  }

  #known({ params: { name, arguments: args } }: Asked, mode: string): void {
    if (name !== this.name) this.refuse('NotFound', { kind: 'event' });
    if (typeof args !== 'object') throw new Refused(-32602);
    if (!this.delivery.includes(mode)) this.refuse('Unsupported', { feature: 'deliveryMode' });
  }

  readonly handlers = {
    'events/list': () => ({
      events: [
        {
          name: this.name,
          description: 'ticks',
          delivery: this.delivery,
          inputSchema: { type: 'object' },
          payloadSchema: { type: 'object' },
        },
      ],
    }),
    'events/poll': (asked: Asked) => {
      this.#known(asked, 'poll');
      const { cursor, maxEvents = this.maxEvents } = asked.params;
      const { from, truncated } = this.place(cursor);
      const events = this.events.slice(from, from + Math.min(maxEvents, this.maxEvents));
      const to = from + events.length;
      return {
        events: events.map((one) => this.occurrence(one)),
        cursor: this.cursor(to),
        truncated,
        hasMore: to < this.head,
        nextPollMs: this.nextPollMs,
      };
    },
    'events/stream': async (asked: Asked) => {
      this.#known(asked, 'push');
      const { from, truncated } = this.place(asked.params.cursor);
      asked.notify('notifications/events/active', { cursor: this.cursor(from), truncated });
      for (const one of this.events.slice(from))
        asked.notify('notifications/events/event', this.occurrence(one, true));
      this.#streams.add(asked);
      const beat = setInterval(
        () => asked.notify('notifications/events/heartbeat', { cursor: this.cursor(this.head) }),
        this.heartbeatMs,
      );
      await new Promise<void>((resolve) => {
        asked.signal.addEventListener('abort', () => resolve(), { once: true });
      });
      clearInterval(beat);
      this.#streams.delete(asked);
      return {};
    },
    'events/subscribe': async (asked: Asked) => {
      this.#known(asked, 'webhook');
      const {
        cursor,
        delivery: { url, secret },
      } = asked.params;
      const { from, truncated } = this.place(cursor);
      const before = this.hooks.get(url);
      const hook = before ?? { id: `sub-${randomUUID()}`, url, secrets: [], cursor: from };
      hook.secrets = [...new Set([secret, ...hook.secrets.slice(0, 1)])];
      const challenge = randomUUID();
      const answer = await this.post(hook, { type: 'verification', challenge }).catch(
        () => undefined,
      );
      if (!answer) this.refuse('CallbackEndpointError', { reason: 'connection_refused' });
      if (
        answer.status !== 200 ||
        ((await answer.json()) as { challenge: string }).challenge !== challenge
      )
        this.refuse('CallbackEndpointError', { reason: 'challenge_failed' });
      this.hooks.set(url, hook);
      return {
        id: hook.id,
        refreshBefore: this.ttlMs === null ? null : new Date(Date.now() + this.ttlMs).toISOString(),
        cursor: this.cursor(hook.cursor),
        truncated: before ? false : truncated,
      };
    },
    'events/unsubscribe': ({ params }: Asked) => {
      if (!this.hooks.delete(params.delivery.url))
        this.refuse('NotFound', { kind: 'subscription' });
      return {};
    },
  };

  /** The first webhook; no test subscribes two. */
  get hook(): Hook {
    return [...this.hooks.values()][0]!;
  }

  /**
   * Delivers one event; a 2xx answer moves the watermark. Resolves with the status; 0 = no
   * response.
   */
  async deliver(one: Happening, hook = this.hook): Promise<number> {
    const { status } = await this.post(
      hook,
      { ...this.occurrence(one), cursor: this.cursor(hook.cursor) },
      one.eventId,
    ).catch(() => ({ status: 0 }));
    if (status >= 200 && status < 300) hook.cursor = Math.max(hook.cursor, one.at);
    return status;
  }

  /**
   * POSTs a body signed by hand, as Standard Webhooks specifies; `change` alters the signed headers.
   */
  post(
    hook: Hook,
    body: object,
    id = `msg_${randomUUID()}`,
    change: (headers: Record<string, string>) => void = () => undefined,
  ): Promise<Response> {
    const bytes = JSON.stringify(body);
    const timestamp = String(Math.floor(Date.now() / 1000));
    const sign = (secret: string): string =>
      `v1,${createHmac('sha256', Buffer.from(secret.slice('whsec_'.length), 'base64'))
        .update(`${id}.${timestamp}.${bytes}`)
        .digest('base64')}`;
    const headers = {
      'content-type': 'application/json',
      'webhook-id': id,
      'webhook-timestamp': timestamp,
      'x-mcp-subscription-id': hook.id,
      'webhook-signature': hook.secrets.map(sign).join(' '),
    };
    change(headers);
    return fetch(hook.url, { method: 'POST', body: bytes, headers });
  }
}
