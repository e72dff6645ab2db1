/**
 * `@ai-sdk/mcp` as an application uses it: a client with a store of its subscriptions, and its
 * webhook handler on a port. A tap in front of the handler records requests and answers, and can
 * answer in the handler's place, as a proxy in front of an application does.
 */
import { createMCPClient, experimental_createMCPEventWebhook, type MCPClient } from '@ai-sdk/mcp';
import { serveFetch } from './loopback.ts';
import type { PeerRow } from './matrix.ts';

type HandlerOptions = Parameters<typeof experimental_createMCPEventWebhook>[0];
type Store = HandlerOptions['store'];
type Received = Parameters<HandlerOptions['onEvent']>[0];
type Gap = Parameters<NonNullable<HandlerOptions['onGap']>>[0];
type Terminated = Parameters<NonNullable<HandlerOptions['onTerminated']>>[0];

/** One request to the webhook and its answer. */
export interface Post {
  readonly headers: Headers;
  readonly body: string;
  /** `event`, or the type of a control message. */
  readonly kind: string;
  /** Undefined while the handler works on it. */
  readonly status: number | undefined;
}

export interface AiSdk extends AsyncDisposable {
  /**
   * A client of the application, with its store. It asks for the newest revision first by default.
   */
  connect(url: string | URL, token: string, era?: PeerRow['era']): Promise<MCPClient>;
  readonly callbackUrl: string;
  readonly store: Store;
  readonly posts: Post[];
  /** The events and messages that the application's handlers received. */
  readonly received: Received[];
  readonly gaps: Gap[];
  readonly terminations: Terminated[];
  /** Answers in the handler's place when it returns a status. */
  inFront: (post: Post) => number | undefined;
  /**
   * Awaited by the application before it accepts an event; an error makes the handler answer 503.
   */
  onEvent: (received: Received) => Promise<void>;
}

/** A store as the documentation of the AI SDK describes it, in memory. */
function memoryStore(): Store {
  const records = new Map<string, Parameters<Store['set']>[0]>();
  const find = async (key: string) => structuredClone(records.get(key));
  return {
    get: find,
    getById: async (id) =>
      structuredClone([...records.values()].find((record) => record.id === id)),
    set: async (record) => void records.set(record.key, structuredClone(record)),
    update: async (key, patch) => {
      const record = records.get(key);
      if (record) records.set(key, { ...record, ...structuredClone(patch) });
    },
    delete: async (key) => void records.delete(key),
  };
}

export async function startAiSdk(): Promise<AiSdk> {
  const store = memoryStore();
  const clients: MCPClient[] = [];
  const handler = experimental_createMCPEventWebhook({
    store,
    onEvent: async (received) => {
      await application.onEvent(received);
      application.received.push(received);
    },
    onGap: async (gap) => void application.gaps.push(gap),
    onTerminated: async (terminated) => void application.terminations.push(terminated),
  });
  const hook = await serveFetch(async (request) => {
    const body = await request.text();
    const post: Post = { headers: request.headers, body, kind: kindOf(body), status: undefined };
    application.posts.push(post);
    const instead = application.inFront(post);
    const response =
      instead === undefined
        ? await handler(
            new Request(request.url, { method: request.method, headers: request.headers, body }),
          )
        : new Response(null, { status: instead });
    Object.assign(post, { status: response.status });
    return response;
  });
  const application: AiSdk = {
    store,
    callbackUrl: `${hook.origin}/mcp-events`,
    posts: [],
    received: [],
    gaps: [],
    terminations: [],
    inFront: () => undefined,
    onEvent: async () => undefined,
    async connect(url, token, era = '2026-07-28') {
      const client = await createMCPClient({
        transport: {
          type: 'http',
          url: String(url),
          headers: { authorization: `Bearer ${token}` },
        },
        protocolVersionDiscovery: era === '2026-07-28',
        experimental_events: { store },
      });
      clients.push(client);
      return client;
    },
    async [Symbol.asyncDispose]() {
      await Promise.all(clients.map((client) => client.close()));
      await hook[Symbol.asyncDispose]();
    },
  };
  return application;
}

function kindOf(body: string): string {
  const { type } = JSON.parse(body) as { readonly type?: string };
  return type ?? 'event';
}
