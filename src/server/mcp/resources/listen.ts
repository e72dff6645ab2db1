/**
 * `subscriptions/listen` over HTTP, with authorization and feeds. The SDK's handler serves the
 * method itself, checks no permission, and ignores filter members of extensions. The wrapper here
 * takes feeds and list changes out of the request, and inserts their notifications into the
 * response stream.
 */
import {
  isJsonContentType,
  readRequestBody,
  type AuthInfo,
  type McpHttpHandler,
} from '@modelcontextprotocol/server';
import type { RequestId } from '../../../../spec-schema/draft/schema.ts';
import { PrincipalQuota } from '../../engine/quota.ts';
import type { BindableEngine, Caller } from '../../engine/verbs.ts';
import { EVENTS_LIST_CHANGED } from '../../../protocol/events/names.ts';
import { internalError, WireError } from '../../../protocol/wire/errors.ts';
import { tagged } from '../request-context.ts';
import { callerOf, type RequestIdentity } from '../principal.ts';
import { feedsOf } from './feeds.ts';
import { resolveFeedOptions, type FeedOptions } from './options.ts';
import { Splice, type FrameMessage } from './splice.ts';
import { isFeedUri } from './uri.ts';
import { WatchSet } from './watch-set.ts';
import type { BindingOptions } from '../sdk.ts';

/** Options of {@link withFeeds}. `mayRead` decides for every URI that is not a feed. */
export interface ListenOptions extends FeedOptions, Pick<BindingOptions, 'log' | 'ready'> {
  /**
   * Returns the caller of a request. Default: {@link callerOf}. Throw a `WireError` `Forbidden` to
   * reject the request.
   */
  readonly caller?: (identity: RequestIdentity) => Caller;
  /** The most open streams per principal. Default 32. */
  readonly maxStreams?: number;
  /**
   * Extensions whose `list_changed` a client may listen to, in addition to that of resources.
   * Default: `triggers`.
   */
  readonly listChanged?: readonly ('triggers' | 'events')[];
}

type Fetch = McpHttpHandler['fetch'];

/** The `limit` of `ResourceExhausted`. */
const STREAMS_LIMIT = 'listen_streams';
const STREAMS_MAX = 32;
const UPDATED = 'notifications/resources/updated';
const ACKNOWLEDGED = 'notifications/subscriptions/acknowledged';
/**
 * A URI that never changes. In the SDK's filter it keeps the stream open when the client listens
 * only to feeds and list changes, which the SDK does not see.
 */
const KEEP_OPEN = 'triggers-listen:open';

/** The notification that each filter member requests. */
const LISTS = {
  triggersListChanged: 'notifications/triggers/list_changed',
  eventsListChanged: EVENTS_LIST_CHANGED,
  resourcesListChanged: 'notifications/resources/list_changed',
} as const;

type Filter = Readonly<Record<string, unknown>> & {
  readonly resourceSubscriptions?: readonly string[];
};

interface ListenRequest {
  readonly id: RequestId;
  readonly params: Readonly<Record<string, unknown>> & { readonly notifications: Filter };
}

/**
 * Wraps the SDK handler's `fetch` and adds feeds to `subscriptions/listen` (SEP: When a peer lacks
 * the extension). The acknowledgement omits URIs that the caller may not read. The stream ends when
 * the authorization of its request expires or the log of one of its feeds ends. Needs
 * `attachResources` on the handler's servers. Pass the responses through `withBoundedBacklog`.
 */
export function withFeeds(
  handle: Fetch,
  engine: BindableEngine,
  options: ListenOptions = {},
): Fetch {
  const streams = new PrincipalQuota(STREAMS_LIMIT, options.maxStreams ?? STREAMS_MAX);
  const { log } = resolveFeedOptions(options);
  return async (request, given = {}) => {
    const parsedBody = given.parsedBody === undefined ? await bodyOf(request) : given.parsedBody;
    const listen = listenRequest(parsedBody);
    if (listen === null)
      return handle(request, parsedBody === undefined ? given : { ...given, parsedBody });
    const stream = new ListenStream(listen, engine, options);
    try {
      await options.ready?.();
      const caller = (options.caller ?? callerOf)({
        http: given.authInfo === undefined ? {} : { authInfo: given.authInfo },
      });
      stream.onClosed(streams.enter(caller.principal));
      const notifications = await stream.prepare(caller);
      return stream.serve(
        request,
        given.authInfo,
        await handle(request, {
          ...given,
          parsedBody: { ...(parsedBody as object), params: { ...listen.params, notifications } },
        }),
      );
    } catch (error) {
      stream.close();
      if (!(error instanceof WireError))
        log.error(
          { err: error, method: 'subscriptions/listen' },
          'request failed; InternalError sent',
        );
      const errorObject = (
        error instanceof WireError ? error : internalError(error)
      ).toErrorObject();
      return Response.json({ jsonrpc: '2.0', id: listen.id, error: errorObject });
    }
  };
}

/** The parsed body, read from a copy of the request; undefined = the SDK rejects the body. */
async function bodyOf(request: Request): Promise<unknown> {
  if (request.method !== 'POST' || !isJsonContentType(request.headers.get('content-type')))
    return undefined;
  try {
    const read = await readRequestBody(request.clone());
    return read.tooLarge ? undefined : (JSON.parse(read.text) as unknown);
  } catch {
    return undefined;
  }
}

/**
 * Returns a body as a request of `subscriptions/listen`; null = it has another method, or the SDK
 * rejects it.
 */
function listenRequest(body: unknown): ListenRequest | null {
  const { id, method, params } = (body ?? {}) as {
    readonly id?: unknown;
    readonly method?: unknown;
    readonly params?: { readonly notifications?: Filter | null };
  };
  if (method !== 'subscriptions/listen' || (typeof id !== 'string' && typeof id !== 'number'))
    return null;
  const notifications = params?.notifications;
  if (typeof notifications !== 'object' || notifications === null) return null;
  const { resourceSubscriptions = [] } = notifications;
  if (
    !Array.isArray(resourceSubscriptions) ||
    !resourceSubscriptions.every((uri) => typeof uri === 'string')
  )
    return null;
  return { id, params: { ...params, notifications } };
}

/** One request of `subscriptions/listen` and its response stream. */
class ListenStream {
  readonly #listen: ListenRequest;
  readonly #engine: BindableEngine;
  readonly #options: ListenOptions;
  readonly #watches: WatchSet;
  /** The accepted URIs of feeds, as the client wrote them. */
  #uris: readonly string[] = [];
  #lists: readonly (keyof typeof LISTS)[] = [];
  /** URIs that changed before the acknowledgement was sent. */
  readonly #pendingUris = new Set<string>();
  #splice: Splice | null = null;
  #acknowledged = false;
  /** Whether the stream has to end. If the acknowledgement is not sent yet, it ends after that. */
  #ended = false;
  readonly #closers: (() => void)[] = [];

  constructor(listen: ListenRequest, engine: BindableEngine, options: ListenOptions) {
    this.#listen = listen;
    this.#engine = engine;
    this.#options = options;
    this.#watches = new WatchSet({
      feeds: feedsOf(engine),
      feedOptions: resolveFeedOptions(options),
      notify: (uri) => this.#notify(uri),
      ended: () => this.#end(),
    });
    this.onClosed(() => this.#watches.close());
  }

  /** Adds a function that {@link close} calls once. */
  onClosed(run: () => void): void {
    this.#closers.push(run);
  }

  close(): void {
    for (const run of this.#closers.splice(0)) run();
  }

  /**
   * Decides which URIs and list changes to accept, and watches the accepted feeds. Returns the
   * filter to pass to the SDK.
   */
  async prepare(caller: Caller): Promise<Filter> {
    const { listChanged = ['triggers'] } = this.#options;
    const {
      resourceSubscriptions = [],
      triggersListChanged,
      eventsListChanged,
      ...filter
    } = this.#listen.params.notifications;
    const wanted = {
      triggersListChanged: listChanged.includes('triggers') && triggersListChanged,
      eventsListChanged: listChanged.includes('events') && eventsListChanged,
    };
    this.#lists = (['triggersListChanged', 'eventsListChanged'] as const).filter(
      (name) => wanted[name] === true,
    );
    const uris = [...new Set(resourceSubscriptions)];
    const accepted: string[] = [];
    for (const uri of uris)
      if (await (isFeedUri(uri) ? this.#watch(caller, uri) : this.#options.mayRead?.(caller, uri)))
        accepted.push(uri);
    this.#uris = accepted.filter(isFeedUri);
    const others = accepted.filter((uri) => !isFeedUri(uri));
    const open = this.#uris.length + this.#lists.length > 0 ? [KEEP_OPEN] : [];
    return {
      ...filter,
      ...(others.length + open.length > 0 ? { resourceSubscriptions: [...others, ...open] } : {}),
    };
  }

  /**
   * Watches a feed; false = the caller may not, or the URI is invalid. Rejects with
   * `ResourceExhausted`.
   */
  async #watch(caller: Caller, uri: string): Promise<boolean> {
    try {
      await this.#watches.add(caller, uri, await feedsOf(this.#engine).find(caller, uri));
      return true;
    } catch (error) {
      if (!(error instanceof WireError) || error.is('ResourceExhausted')) throw error;
      this.#options.log?.debug(
        { err: error },
        'watch failed; the feed is left out of the acknowledgement',
      );
      return false;
    }
  }

  /** Adds the notifications of feeds and list changes to the SDK's response. */
  serve(request: Request, authInfo: AuthInfo | undefined, response: Response): Response {
    if (
      response.body === null ||
      response.headers.get('content-type')?.startsWith('text/event-stream') !== true
    ) {
      this.close();
      return response;
    }
    const splice = (this.#splice = new Splice(response.body, {
      rewrite: (message) => this.#rewrite(message),
      closed: () => this.close(),
    }));
    const { clock } = this.#engine;
    if (authInfo?.expiresAt !== undefined)
      this.onClosed(clock.after(authInfo.expiresAt * 1000 - clock.now(), () => this.#end()));
    // The client has disconnected, so the stream ends without a result.
    const disconnected = (): void => splice.end();
    request.signal.addEventListener('abort', disconnected, { once: true });
    this.onClosed(() => request.signal.removeEventListener('abort', disconnected));
    if (request.signal.aborted) disconnected();
    return new Response(splice.body, {
      status: response.status,
      statusText: response.statusText,
      headers: response.headers,
    });
  }

  /**
   * Adds feeds and list changes to the acknowledgement, which is the first message of the stream.
   * Returns null for later messages, which are sent unchanged.
   */
  #rewrite(message: FrameMessage): readonly FrameMessage[] | null {
    if (this.#acknowledged || message.method !== ACKNOWLEDGED) return null;
    this.#acknowledged = true;
    const { resourceSubscriptions = [], ...accepted } = (message.params?.['notifications'] ??
      {}) as Filter;
    // The SDK omits the URI if the server does not declare `resources.subscribe`.
    const keptOpen = resourceSubscriptions.includes(KEEP_OPEN);
    if (!keptOpen) this.#watches.close();
    const pending = keptOpen ? [...this.#pendingUris] : [];
    const uris = [
      ...resourceSubscriptions.filter((uri) => uri !== KEEP_OPEN),
      ...(keptOpen ? this.#uris : []),
    ];
    const lists = [
      ...(keptOpen ? this.#lists : []),
      ...(accepted['resourcesListChanged'] === true ? ['resourcesListChanged' as const] : []),
    ];
    if (lists.length > 0)
      this.onClosed(
        this.#engine.onListChanged(() => {
          for (const name of lists) this.#send(LISTS[name], {});
        }),
      );
    const notifications = {
      ...accepted,
      ...Object.fromEntries(lists.map((name) => [name, true])),
      ...(uris.length > 0 ? { resourceSubscriptions: uris } : {}),
    };
    // The result must follow the acknowledgement.
    if (this.#ended) queueMicrotask(() => this.#end());
    return [
      { ...message, params: { ...message.params, notifications } },
      ...pending.map((uri) => this.#notification(UPDATED, { uri })),
    ];
  }

  #notify(uri: string): void {
    if (this.#acknowledged) this.#send(UPDATED, { uri });
    else this.#pendingUris.add(uri);
  }

  #send(method: string, params: object): void {
    this.#splice?.send(this.#notification(method, params));
  }

  #notification(method: string, params: object): FrameMessage {
    return { jsonrpc: '2.0', method, params: tagged(params, this.#listen.id) };
  }

  /** Ends the stream with an empty result, or marks it to end after the acknowledgement. */
  #end(): void {
    const { id } = this.#listen;
    this.#ended = true;
    if (this.#acknowledged)
      this.#splice?.end({ jsonrpc: '2.0', id, result: tagged({ resultType: 'complete' }, id) });
  }
}
