/**
 * Serves feeds as resources on an MCP SDK server, beside whatever resources it has already. The handlers are laid around those of the SDK: feeds come and
 * go with the trigger types and differ from caller to caller, which resources that are registered cannot.
 */
import {
  ProtocolError,
  ProtocolErrorCode,
  type JSONRPCRequest,
  type McpServer,
  type Result,
  type ServerContext,
} from '@modelcontextprotocol/server';
import type { BindableEngine, Caller } from '../../engine/verbs.ts';
import { notFound, unsupported, WireError } from '../../../protocol/wire/errors.ts';
import { callerOf } from '../principal.ts';
import { feedsOf, type Feeds } from './feeds.ts';
import { listResources, listTemplates, MIME_TYPE } from './listing.ts';
import { resolveFeedOptions, type FeedOptions, type ResolvedFeedOptions } from './options.ts';
import { isFeedUri, withoutAfter } from './uri.ts';
import { Watched } from './watched.ts';
import { claimServer, protocolError, type BindingOptions } from '../sdk.ts';
import { storedHandler, type StoredHandler } from '../sdk-handlers.ts';

/** How feeds are offered on one SDK server. */
export interface ResourcesOptions extends BindingOptions, FeedOptions {}

/**
 * Offers every trigger type as a resource template and every log of a caller as a resource on `mcp`, with doorbells after `resources/subscribe`
 * and, on a pipe, for `subscriptions/listen`; over HTTP that needs {@link withFeeds} around the endpoint (SEP: When a peer lacks the extension). Call it before
 * connecting. The server's own resources go on working, whether they are registered before or after.
 * @throws Error if the server is connected, or has feeds already.
 * @throws LocalError `config_invalid` for a version of the SDK whose handlers cannot be read.
 */
export function attachResources(
  mcp: McpServer,
  engine: BindableEngine,
  options: ResourcesOptions = {},
): void {
  const hasResources = storedHandler(mcp.server, 'resources/read') !== undefined;
  claimServer(mcp, 'the resources');
  const binding = new Binding(mcp, engine, options);
  // The SDK sets its handlers for registered resources with the first of them.
  if (!hasResources)
    mcp.registerResource('triggers', 'triggers:none', {}, () => ({ contents: [] })).remove();
  for (const [method, serve] of Object.entries(binding.methods)) {
    const inner = storedHandler(mcp.server, method);
    mcp.server.setRequestHandler(method as 'resources/read', async (request, ctx) => {
      // The SDK checks the shape of both for the revision that is spoken; the request is passed on as it came.
      return (await serve(request as unknown as JSONRPCRequest, ctx, inner)) as never;
    });
  }
  mcp.server.registerCapabilities({ resources: { subscribe: true, listChanged: true } });
}

const uriOf = ({ params }: JSONRPCRequest): string => (params as { readonly uri: string }).uri;
const cursorOf = ({ params }: JSONRPCRequest): string | undefined =>
  (params as { readonly cursor?: string } | undefined)?.cursor;

/** In front of the cursors of our own pages, which come after those of the application's list. */
const OWN_CURSOR = 'triggers.';

interface Page {
  readonly entries: readonly object[];
  readonly nextCursor?: string;
}

/** Only from 2026-07-28 on may a client keep what it was answered, and then not this. */
const uncached = ({ mcpReq }: ServerContext): object =>
  mcpReq.envelope === undefined ? {} : { ttlMs: 0, cacheScope: 'private' };

/** Over HTTP without a session nothing outlives the request. */
const outlives = ({ http, sessionId }: ServerContext): boolean =>
  http === undefined || sessionId !== undefined;

type Serve = (
  request: JSONRPCRequest,
  ctx: ServerContext,
  inner: StoredHandler | undefined,
) => Promise<Result>;

class Binding {
  readonly #mcp: McpServer;
  readonly #engine: BindableEngine;
  readonly #options: ResourcesOptions;
  readonly #feeds: Feeds;
  readonly #keeping: ResolvedFeedOptions;
  readonly #watched: Watched;
  /** On a pipe: what was read last, by what is told of. */
  readonly #lastRead = new Map<string, string>();
  #unannounce: (() => void) | undefined;

  constructor(mcp: McpServer, engine: BindableEngine, options: ResourcesOptions) {
    this.#mcp = mcp;
    this.#engine = engine;
    this.#options = options;
    this.#feeds = feedsOf(engine);
    this.#keeping = resolveFeedOptions(options);
    this.#watched = new Watched({
      feeds: this.#feeds,
      feedOptions: this.#keeping,
      tell: (uri) => this.#tell(uri),
    });
    const { onclose } = mcp.server;
    mcp.server.onclose = () => {
      this.#watched.close();
      this.#unannounce?.();
      onclose?.();
    };
  }

  /** One row per method; `inner` is what the application has for it. */
  readonly methods: Readonly<Record<string, Serve>> = {
    'resources/list': this.#listing('resources', async (caller, cursor) => {
      const { resources: entries, nextCursor } = await listResources(
        this.#engine,
        this.#feeds.types,
        caller,
        cursor,
      );
      return { entries, ...(nextCursor === undefined ? {} : { nextCursor }) };
    }),
    'resources/templates/list': this.#listing('resourceTemplates', async (caller) => ({
      entries: await listTemplates(this.#feeds.types, caller),
    })),
    'resources/read': this.#ours(
      (caller, uri, ctx) => this.#read(caller, uri, ctx),
      async () => {
        throw notFound({ kind: 'trigger' });
      },
    ),
    'resources/subscribe': this.#ours(
      async (caller, uri, ctx) => {
        if (!outlives(ctx)) throw unsupported('resources/subscribe');
        await this.#watched.add(caller, uri, await this.#feeds.find(caller, uri));
        return {};
      },
      async (caller, uri) => {
        if ((await this.#options.mayRead?.(caller, uri)) !== true)
          throw notFound({ kind: 'trigger' });
        return {};
      },
    ),
    'resources/unsubscribe': this.#ours(
      async (_, uri) => {
        this.#watched.remove(uri);
        return {};
      },
      async () => ({}),
    ),
  };

  /** The application's list, and ours behind its last page. */
  #listing(
    member: 'resources' | 'resourceTemplates',
    list: (caller: Caller, cursor: string | undefined) => Promise<Page>,
  ): Serve {
    return async (request, ctx, inner) => {
      const cursor = cursorOf(request);
      const own = cursor?.startsWith(OWN_CURSOR) === true;
      const others: Result = own || inner === undefined ? {} : await inner(request, ctx);
      if (others['nextCursor'] !== undefined) return others;
      const { entries, nextCursor } = await this.#answer(ctx, undefined, (caller) =>
        list(caller, own ? cursor.slice(OWN_CURSOR.length) : undefined),
      );
      const first = (others[member] ?? []) as readonly object[];
      return {
        ...others,
        [member]: [...first, ...entries],
        ...(nextCursor === undefined ? {} : { nextCursor: OWN_CURSOR + nextCursor }),
        ...uncached(ctx),
      };
    };
  }

  /** What is said of our URIs, and of others where the application says nothing. */
  #ours(
    answer: (caller: Caller, uri: string, ctx: ServerContext) => Promise<Result>,
    others: (caller: Caller, uri: string) => Promise<Result>,
  ): Serve {
    return async (request, ctx, inner) => {
      const uri = uriOf(request);
      if (isFeedUri(uri)) return this.#answer(ctx, uri, (caller) => answer(caller, uri, ctx));
      return inner === undefined
        ? this.#answer(ctx, uri, (caller) => others(caller, uri))
        : inner(request, ctx);
    };
  }

  async #answer<T>(
    ctx: ServerContext,
    uri: string | undefined,
    answer: (caller: Caller) => Promise<T>,
  ): Promise<T> {
    try {
      await this.#options.ready?.();
      this.#announce(ctx);
      return await answer((this.#options.caller ?? callerOf)(ctx));
    } catch (error) {
      throw uri !== undefined && error instanceof WireError && error.is('NotFound')
        ? resourceNotFound(error, uri)
        : protocolError(error, ctx, this.#keeping.log);
    }
  }

  async #read(caller: Caller, uri: string, ctx: ServerContext): Promise<Result> {
    const target = await this.#feeds.find(caller, uri);
    const { text, known } = await this.#feeds.read(caller, target, this.#keeping);
    const modernPipe = ctx.http === undefined && ctx.mcpReq.envelope !== undefined;
    for (const one of modernPipe ? [withoutAfter(uri)] : this.#watched.ended(target)) {
      try {
        await this.#watched.add(caller, one, target, known);
        if (modernPipe) this.#lastRead.set(one, uri);
      } catch (error) {
        // It has been read all the same.
        this.#keeping.log.debug({ err: error }, 'a feed was read, but cannot be watched');
      }
    }
    return { contents: [{ uri, mimeType: MIME_TYPE, text }], ...uncached(ctx) };
  }

  /**
   * On a pipe the SDK keeps what is listened to for itself and sends on only that: whatever was read there is told of, as it was read and without a position.
   */
  #tell(uri: string): void {
    const lastRead = this.#lastRead.get(uri);
    for (const one of new Set([uri, lastRead ?? uri]))
      this.#mcp.server
        .sendResourceUpdated({ uri: one })
        .catch((error: unknown) => this.#lost(error));
  }

  /** Who has asked for resources on a connection that outlives the request is told when trigger types come or go. */
  #announce(ctx: ServerContext): void {
    if (!outlives(ctx)) return;
    this.#unannounce ??= this.#engine.onListChanged(() => {
      this.#mcp.server.sendResourceListChanged().catch((error: unknown) => this.#lost(error));
    });
  }

  #lost(error: unknown): void {
    this.#keeping.log.debug({ err: error }, 'a change was not told: the connection is gone');
  }
}

const NOT_FOUND = {
  trigger:
    'There is no such resource. List the resource templates for the trigger types there are.',
  subscription: 'There is no such subscription. List the resources for those there are.',
} as const;

/** The base protocol's own error, which clients recognise by its `uri`; what is known of a subscription that ended goes with it. */
function resourceNotFound(
  { data: { kind, ...more } }: WireError<'NotFound'>,
  uri: string,
): ProtocolError {
  return new ProtocolError(ProtocolErrorCode.InvalidParams, NOT_FOUND[kind], { uri, ...more });
}
