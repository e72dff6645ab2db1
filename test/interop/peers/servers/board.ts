/**
 * The content of the plain SDK servers: texts as resources, a list of tools and one of prompts, all
 * of which a test can change. It knows nothing of triggers, and answers the requests of either SDK,
 * which both pass on method and params.
 */
import { once } from 'node:events';
import type { Server } from 'node:http';
import { setTimeout as sleep } from 'node:timers/promises';

export const NOTICE = 'board://notice';

/** A change that a server can announce. */
export type Change = { readonly uri: string } | 'tools' | 'prompts' | 'resources';

/** A server on loopback. */
export interface StockServer extends AsyncDisposable {
  readonly url: string;
  /** Version of the package that it is made with. */
  readonly version: string;
  readonly board: Board;
  /** Announces a change to every client that asked for it, whether there was one or not. */
  announce(what: Change): Promise<void>;
  /** Cuts every connection; sessions stay. */
  cut(): void;
}

/** Stops listening and cuts every connection. */
export async function stopped(http: Server): Promise<void> {
  const closed = once(http, 'close');
  http.close();
  http.closeAllConnections();
  await closed;
}

/** How a client starts a server on a pipe. */
export interface StockProgram {
  readonly command: string;
  readonly args: readonly string[];
  readonly version: string;
}

export interface StockOptions {
  /** Default: a new one. */
  readonly board?: Board;
  /** Default: any. */
  readonly port?: number;
}

interface BoardTool {
  readonly name: string;
  readonly annotations?: object;
}

/** Goes beyond what the SDK validates: a hook that a test replaces returns or throws anything. */
export type Answer = (params: any, board: Board) => unknown;

const CHANGE_OF: Readonly<Record<string, Change>> = {
  tools: 'tools',
  prompts: 'prompts',
  resources: 'resources',
};

/** On stdio a client changes things by calling tools, since there is no other way in. */
const TOOLS: readonly BoardTool[] = [
  { name: 'status', annotations: { readOnlyHint: true } },
  { name: 'unmarked' },
  { name: 'write', annotations: { readOnlyHint: false, destructiveHint: true } },
  { name: 'announce', annotations: { readOnlyHint: false, destructiveHint: false } },
  { name: 'exit', annotations: { destructiveHint: true } },
];

export class Board {
  readonly texts = new Map<string, string>([[NOTICE, 'first']]);
  readonly tools: BoardTool[] = [...TOOLS];
  readonly prompts: string[] = ['greet'];
  /** Declared by servers that start from now on. */
  capabilities: Record<string, object> = {
    resources: { subscribe: true, listChanged: true },
    tools: { listChanged: true },
    prompts: { listChanged: true },
  };
  /** Sent with every result that may have one, from 2026-07-28 on. */
  ttlMs: number | undefined;
  /** Items per page of a list. */
  pageSize = 2;
  /** Replaces the correct answers, by method. */
  readonly replaced = new Map<string, Answer>();
  /** Ends the program; a server inside a test has none. */
  exit: () => void = () => undefined;
  /** Every request, in order. */
  readonly asked: { readonly method: string; readonly params: any }[] = [];

  /** Number of requests of a method. */
  count(method: string): number {
    return this.asked.filter((one) => one.method === method).length;
  }

  /** The result of a request; a tool calls `announce` to announce a change. */
  async answer(
    method: string,
    params: any,
    announce: (what: Change) => Promise<void>,
  ): Promise<any> {
    this.asked.push({ method, params });
    const replaced = this.replaced.get(method);
    const fresh = this.ttlMs === undefined ? {} : { ttlMs: this.ttlMs, cacheScope: 'private' };
    if (replaced) return replaced(params, this);
    switch (method) {
      case 'resources/list':
        return {
          ...this.#page(
            'resources',
            [...this.texts.keys()].map((uri) => ({ uri, name: uri })),
            params,
          ),
          ...fresh,
        };
      case 'resources/templates/list':
        return { resourceTemplates: [] };
      case 'tools/list':
        return {
          ...this.#page(
            'tools',
            this.tools.map((tool) => ({ ...tool, inputSchema: { type: 'object' } })),
            params,
          ),
          ...fresh,
        };
      case 'prompts/list':
        return {
          ...this.#page(
            'prompts',
            this.prompts.map((name) => ({ name })),
            params,
          ),
          ...fresh,
        };
      case 'prompts/get':
        return { messages: [] };
      case 'resources/read':
        return {
          contents: [
            { uri: params.uri, mimeType: 'text/plain', text: this.texts.get(params.uri) ?? '' },
          ],
          ...fresh,
        };
      case 'resources/subscribe':
      case 'resources/unsubscribe':
        return {};
      case 'tools/call':
        return this.#call(params, announce);
      default:
        throw new Error(`nobody answers ${method}`);
    }
  }

  #page(
    kind: string,
    items: readonly object[],
    params: { readonly cursor?: string } | undefined,
  ): object {
    const from = Number(params?.cursor ?? 0);
    const to = from + this.pageSize;
    return {
      [kind]: items.slice(from, to),
      ...(to < items.length ? { nextCursor: String(to) } : {}),
    };
  }

  async #call(
    {
      name,
      arguments: args = {},
    }: { readonly name: string; readonly arguments?: Record<string, any> },
    announce: (what: Change) => Promise<void>,
  ): Promise<object> {
    switch (name) {
      case 'write':
        this.texts.set(args['uri'] ?? NOTICE, args['text']);
        break;
      case 'announce':
        await announce(CHANGE_OF[args['what']] ?? { uri: args['what'] });
        break;
      // After the answer, so that the call itself succeeds.
      case 'exit':
        void sleep(20).then(this.exit);
        break;
      case 'status':
        return {
          content: [{ type: 'text', text: 'see structuredContent' }],
          structuredContent: { texts: Object.fromEntries(this.texts) },
        };
      default:
        return { content: [{ type: 'text', text: [...this.texts.values()].join(', ') }] };
    }
    return { content: [] };
  }
}

/** The methods of a server with a board; the last two exist only with sessions. */
export const BOARD_METHODS = [
  'resources/list',
  'resources/templates/list',
  'resources/read',
  'tools/list',
  'tools/call',
  'prompts/list',
  'prompts/get',
] as const;
export const SESSION_METHODS = ['resources/subscribe', 'resources/unsubscribe'] as const;
