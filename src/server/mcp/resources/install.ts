/**
 * Serves feeds as resources on an MCP SDK server, in addition to the application's own resources.
 * The handlers wrap those of the SDK, because a resource that is registered with the SDK is the
 * same for every caller, and a feed is not.
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
import { WatchSet } from './watch-set.ts';
import {
  assertHandlersReadable,
  claimBinding,
  protocolError,
  uncached,
  wrapResources,
  type BindingOptions,
  type WrappedHandler,
} from '../sdk.ts';

/** Options of {@link attachResources}. */
export interface ResourcesOptions extends BindingOptions, FeedOptions {}

/**
 * Offers every trigger type as a resource template and every log of a caller as a resource on `mcp`
 * (SEP: When a peer lacks the extension). Sends change notifications after `resources/subscribe`,
 * and on a pipe for `subscriptions/listen`; over HTTP, `subscriptions/listen` also needs {@link
 * withFeeds} around the handler. Call it before connecting. The application's own resources keep
 * working, whether they are registered before or after this call.
 * @throws Error if the server is connected, or has feeds already.
 * @throws LocalError `config_invalid` for a version of the SDK whose handlers cannot be read.
 */
export function attachResources(
  mcp: McpServer,
  engine: BindableEngine,
  options: ResourcesOptions = {},
): void {
  assertHandlersReadable(mcp);
  claimBinding(mcp, 'the resources');
  const binding = new Binding(mcp, engine, options);
  wrapResources(mcp, binding.methods);
  mcp.server.registerCapabilities({ resources: { subscribe: true, listChanged: true } });
}

const uriOf = ({ params }: JSONRPCRequest): string => (params as { readonly uri: string }).uri;
const cursorOf = ({ params }: JSONRPCRequest): string | undefined =>
  (params as { readonly cursor?: string } | undefined)?.cursor;

/** Marks the cursors of pages with feeds. These pages follow those of the application's list. */
const FEED_CURSOR_PREFIX = 'triggers.';

interface Page {
  readonly entries: readonly object[];
  readonly nextCursor?: string;
}

/** Whether the connection outlasts the request. HTTP without a session does not. */
const hasLastingConnection = ({ http, sessionId }: ServerContext): boolean =>
  http === undefined || sessionId !== undefined;

class Binding {
  readonly #mcp: McpServer;
  readonly #engine: BindableEngine;
  readonly #options: ResourcesOptions;
  readonly #feeds: Feeds;
  readonly #feedOptions: ResolvedFeedOptions;
  readonly #watches: WatchSet;
  /** For each URI that is watched because it was read on a pipe: the URI of the last read. */
  readonly #lastRead = new Map<string, string>();
  #unannounce: (() => void) | undefined;

  constructor(mcp: McpServer, engine: BindableEngine, options: ResourcesOptions) {
    this.#mcp = mcp;
    this.#engine = engine;
    this.#options = options;
    this.#feeds = feedsOf(engine);
    this.#feedOptions = resolveFeedOptions(options);
    this.#watches = new WatchSet({
      feeds: this.#feeds,
      feedOptions: this.#feedOptions,
      notify: (uri) => this.#notify(uri),
    });
    const { onclose } = mcp.server;
    mcp.server.onclose = () => {
      this.#watches.close();
      this.#unannounce?.();
      onclose?.();
    };
  }

  /** The handlers by method; `inner` is the handler of the application. */
  readonly methods: Readonly<Record<string, WrappedHandler>> = {
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
    'resources/read': this.#forFeeds(
      (caller, uri, ctx) => this.#read(caller, uri, ctx),
      async () => {
        throw notFound({ kind: 'trigger' });
      },
    ),
    'resources/subscribe': this.#forFeeds(
      async (caller, uri, ctx) => {
        if (!hasLastingConnection(ctx)) throw unsupported('resources/subscribe');
        await this.#watches.add(caller, uri, await this.#feeds.find(caller, uri));
        return {};
      },
      async (caller, uri) => {
        if ((await this.#options.mayRead?.(caller, uri)) !== true)
          throw notFound({ kind: 'trigger' });
        return {};
      },
    ),
    'resources/unsubscribe': this.#forFeeds(
      async (_, uri) => {
        this.#watches.remove(uri);
        return {};
      },
      async () => ({}),
    ),
  };

  /** Serves a list: the application's pages first, then the feeds. */
  #listing(
    member: 'resources' | 'resourceTemplates',
    list: (caller: Caller, cursor: string | undefined) => Promise<Page>,
  ): WrappedHandler {
    return async (request, ctx, inner) => {
      const cursor = cursorOf(request);
      const own = cursor?.startsWith(FEED_CURSOR_PREFIX) === true;
      const others: Result = own || inner === undefined ? {} : await inner(request, ctx);
      if (others['nextCursor'] !== undefined) return others;
      const { entries, nextCursor } = await this.#respond(ctx, undefined, (caller) =>
        list(caller, own ? cursor.slice(FEED_CURSOR_PREFIX.length) : undefined),
      );
      const first = (others[member] ?? []) as readonly object[];
      return {
        ...others,
        [member]: [...first, ...entries],
        ...(nextCursor === undefined ? {} : { nextCursor: FEED_CURSOR_PREFIX + nextCursor }),
        ...uncached(ctx),
      };
    };
  }

  /**
   * Calls `answer` for the URI of a feed. For other URIs calls the application's handler, or
   * `others` if the application has no handler.
   */
  #forFeeds(
    answer: (caller: Caller, uri: string, ctx: ServerContext) => Promise<Result>,
    others: (caller: Caller, uri: string) => Promise<Result>,
  ): WrappedHandler {
    return async (request, ctx, inner) => {
      const uri = uriOf(request);
      if (isFeedUri(uri)) return this.#respond(ctx, uri, (caller) => answer(caller, uri, ctx));
      return inner === undefined
        ? this.#respond(ctx, uri, (caller) => others(caller, uri))
        : inner(request, ctx);
    };
  }

  async #respond<T>(
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
        : protocolError(error, ctx, this.#feedOptions.log);
    }
  }

  async #read(caller: Caller, uri: string, ctx: ServerContext): Promise<Result> {
    const target = await this.#feeds.find(caller, uri);
    const { text, known } = await this.#feeds.read(caller, target, this.#feedOptions);
    // On a modern pipe the SDK serves `subscriptions/listen` and does not say to which URIs the client
    // listens, so every feed that was read is watched. On other connections a read only restores
    // the watches of a log that has ended.
    const modernPipe = ctx.http === undefined && ctx.mcpReq.envelope !== undefined;
    for (const one of modernPipe ? [withoutAfter(uri)] : this.#watches.ended(target)) {
      try {
        await this.#watches.add(caller, one, target, known);
        if (modernPipe) this.#lastRead.set(one, uri);
      } catch (error) {
        this.#feedOptions.log.debug(
          { err: error },
          'watching a feed failed; the client is not notified of its changes',
        );
      }
    }
    return { contents: [{ uri, mimeType: MIME_TYPE, text }], ...uncached(ctx) };
  }

  /**
   * Sends `resources/updated`. On a modern pipe the SDK drops notifications of URIs that the client
   * does not listen to. The client may listen to the URI with or without a position, so both get a
   * notification.
   */
  #notify(uri: string): void {
    const lastRead = this.#lastRead.get(uri);
    for (const one of new Set([uri, lastRead ?? uri]))
      this.#mcp.server
        .sendResourceUpdated({ uri: one })
        .catch((error: unknown) => this.#notSent(error));
  }

  /**
   * After the first request for resources, sends `list_changed` for every change of the trigger
   * types until the connection closes.
   */
  #announce(ctx: ServerContext): void {
    if (!hasLastingConnection(ctx)) return;
    this.#unannounce ??= this.#engine.onListChanged(() => {
      this.#mcp.server.sendResourceListChanged().catch((error: unknown) => this.#notSent(error));
    });
  }

  #notSent(error: unknown): void {
    this.#feedOptions.log.debug(
      { err: error },
      'sending a change notification failed; the client is not notified',
    );
  }
}

const NOT_FOUND = {
  trigger: 'Resource not found. List the resource templates to see the trigger types.',
  subscription: 'Subscription not found. List the resources to see your subscriptions.',
} as const;

/**
 * The error of MCP for an unknown resource. Clients recognize it by `data.uri`; for a subscription
 * that ended, `data` also has the details.
 */
function resourceNotFound(
  { data: { kind, ...more } }: WireError<'NotFound'>,
  uri: string,
): ProtocolError {
  return new ProtocolError(ProtocolErrorCode.InvalidParams, NOT_FOUND[kind], { uri, ...more });
}
