/**
 * `subscriptions/listen` over HTTP, with authorisation. The SDK answers it by itself and asks nobody, knows no doorbells of ours and drops what extensions
 * add to the filter; so this goes around its handler: it takes our part out of the request and puts it into the response. A doorbell is
 * written on the stream of the one who may hear it and nowhere else.
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
import { Watched } from './watched.ts';
import type { BindingOptions } from '../sdk.ts';

/** How listening is guarded. `mayRead` decides about every URI that is no feed. */
export interface ListenOptions extends FeedOptions, Pick<BindingOptions, 'log' | 'ready'> {
  /** Who is asking. Default: {@link callerOf}. Throw a `WireError` `Forbidden` to refuse. */
  readonly caller?: (identity: RequestIdentity) => Caller;
  /** Streams that one principal may have open. Default 32. */
  readonly maxStreams?: number;
  /** Whose `list_changed` may be asked for in the filter, beside that of resources. Default: `triggers`. */
  readonly listChanged?: readonly ('triggers' | 'events')[];
}

type Fetch = McpHttpHandler['fetch'];

/** The name of the quota in a refusal. */
const STREAMS_LIMIT = 'listen_streams';
const STREAMS_MAX = 32;
const UPDATED = 'notifications/resources/updated';
const ACKNOWLEDGED = 'notifications/subscriptions/acknowledged';
/** Keeps the SDK's stream open when all that is listened to is ours. Nobody ever publishes it. */
const KEEP_OPEN = 'triggers-listen:open';

/** Members of the filter, and what is sent when the list of trigger types changes. */
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
 * The SDK handler's `fetch`, with feeds on `subscriptions/listen` (SEP: When a peer lacks the extension). URIs that the caller may not have are left out, so that the
 * acknowledgement says what is listened to. The stream ends with the authorization of its request, and when the log of one of its feeds does. Needs `attachResources` on
 * the servers of the handler, and `withBoundedBacklog` around it.
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
    const asked = listenRequest(parsedBody);
    if (asked === null)
      return handle(request, parsedBody === undefined ? given : { ...given, parsedBody });
    const listening = new Listening(asked, engine, options);
    try {
      await options.ready?.();
      const caller = (options.caller ?? callerOf)({
        http: given.authInfo === undefined ? {} : { authInfo: given.authInfo },
      });
      listening.onClosed(streams.enter(caller.principal));
      const notifications = await listening.prepare(caller);
      return listening.serve(
        request,
        given.authInfo,
        await handle(request, {
          ...given,
          parsedBody: { ...(parsedBody as object), params: { ...asked.params, notifications } },
        }),
      );
    } catch (error) {
      listening.close();
      if (!(error instanceof WireError))
        log.error({ err: error, method: 'subscriptions/listen' }, 'a request failed unexpectedly');
      const refusal = (error instanceof WireError ? error : internalError(error)).toErrorObject();
      return Response.json({ jsonrpc: '2.0', id: asked.id, error: refusal });
    }
  };
}

/** What the SDK would read, of a copy; undefined = something that it refuses. */
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

/** Null = not ours to look at: another method, or something that the SDK refuses. */
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

/** One request to listen, from its filter to the end of its stream. */
class Listening {
  readonly #asked: ListenRequest;
  readonly #engine: BindableEngine;
  readonly #options: ListenOptions;
  readonly #watched: Watched;
  /** Ours that are honoured, in the words of the client. */
  #uris: readonly string[] = [];
  #lists: readonly (keyof typeof LISTS)[] = [];
  /** What rang before the acknowledgement. */
  readonly #early = new Set<string>();
  #splice: Splice | null = null;
  #acknowledged = false;
  /** It is over, and the client has not even been told that it began. */
  #over = false;
  readonly #closers: (() => void)[] = [];

  constructor(asked: ListenRequest, engine: BindableEngine, options: ListenOptions) {
    this.#asked = asked;
    this.#engine = engine;
    this.#options = options;
    this.#watched = new Watched({
      feeds: feedsOf(engine),
      feedOptions: resolveFeedOptions(options),
      tell: (uri) => this.#ring(uri),
      ended: () => this.#end(),
    });
    this.onClosed(() => this.#watched.close());
  }

  /** Runs once the stream is over, or was never opened. */
  onClosed(run: () => void): void {
    this.#closers.push(run);
  }

  close(): void {
    for (const run of this.#closers.splice(0)) run();
  }

  /** Decides what is honoured, and begins to watch it. What is left goes to the SDK. */
  async prepare(caller: Caller): Promise<Filter> {
    const { listChanged = ['triggers'] } = this.#options;
    const {
      resourceSubscriptions = [],
      triggersListChanged,
      eventsListChanged,
      ...filter
    } = this.#asked.params.notifications;
    const wanted = {
      triggersListChanged: listChanged.includes('triggers') && triggersListChanged,
      eventsListChanged: listChanged.includes('events') && eventsListChanged,
    };
    this.#lists = (['triggersListChanged', 'eventsListChanged'] as const).filter(
      (name) => wanted[name] === true,
    );
    const uris = [...new Set(resourceSubscriptions)];
    const honoured: string[] = [];
    for (const uri of uris)
      if (await (isFeedUri(uri) ? this.#watch(caller, uri) : this.#options.mayRead?.(caller, uri)))
        honoured.push(uri);
    this.#uris = honoured.filter(isFeedUri);
    const others = honoured.filter((uri) => !isFeedUri(uri));
    const open = this.#uris.length + this.#lists.length > 0 ? [KEEP_OPEN] : [];
    return {
      ...filter,
      ...(others.length + open.length > 0 ? { resourceSubscriptions: [...others, ...open] } : {}),
    };
  }

  /** Whether this caller may listen to it. How many it may is said, everything else that is in the way only by leaving it out. */
  async #watch(caller: Caller, uri: string): Promise<boolean> {
    try {
      await this.#watched.add(caller, uri, await feedsOf(this.#engine).find(caller, uri));
      return true;
    } catch (error) {
      if (!(error instanceof WireError) || error.is('ResourceExhausted')) throw error;
      this.#options.log?.debug({ err: error }, 'a feed is not listened to');
      return false;
    }
  }

  /** The SDK's response with our part in it. */
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
    // Whoever is gone reads no end, and need not be told of it.
    const gone = (): void => splice.end();
    request.signal.addEventListener('abort', gone, { once: true });
    this.onClosed(() => request.signal.removeEventListener('abort', gone));
    if (request.signal.aborted) gone();
    return new Response(splice.body, {
      status: response.status,
      statusText: response.statusText,
      headers: response.headers,
    });
  }

  /** The acknowledgement is the first message; whatever follows belongs to the application. */
  #rewrite(message: FrameMessage): readonly FrameMessage[] | null {
    if (this.#acknowledged || message.method !== ACKNOWLEDGED) return null;
    this.#acknowledged = true;
    const { resourceSubscriptions = [], ...honoured } = (message.params?.['notifications'] ??
      {}) as Filter;
    // Without the capability nothing of ours is open.
    const ours = resourceSubscriptions.includes(KEEP_OPEN);
    if (!ours) this.#watched.close();
    const rung = ours ? [...this.#early] : [];
    const uris = [
      ...resourceSubscriptions.filter((uri) => uri !== KEEP_OPEN),
      ...(ours ? this.#uris : []),
    ];
    const lists = [
      ...(ours ? this.#lists : []),
      ...(honoured['resourcesListChanged'] === true ? ['resourcesListChanged' as const] : []),
    ];
    if (lists.length > 0)
      this.onClosed(
        this.#engine.onListChanged(() => {
          for (const name of lists) this.#send(LISTS[name], {});
        }),
      );
    const notifications = {
      ...honoured,
      ...Object.fromEntries(lists.map((name) => [name, true])),
      ...(uris.length > 0 ? { resourceSubscriptions: uris } : {}),
    };
    // Once this has been sent.
    if (this.#over) queueMicrotask(() => this.#end());
    return [
      { ...message, params: { ...message.params, notifications } },
      ...rung.map((uri) => this.#notification(UPDATED, { uri })),
    ];
  }

  #ring(uri: string): void {
    if (this.#acknowledged) this.#send(UPDATED, { uri });
    else this.#early.add(uri);
  }

  #send(method: string, params: object): void {
    this.#splice?.send(this.#notification(method, params));
  }

  #notification(method: string, params: object): FrameMessage {
    return { jsonrpc: '2.0', method, params: tagged(params, this.#asked.id) };
  }

  /** The server ends it, as the protocol has it: with an empty result. */
  #end(): void {
    const { id } = this.#asked;
    this.#over = true;
    if (this.#acknowledged)
      this.#splice?.end({ jsonrpc: '2.0', id, result: tagged({ resultType: 'complete' }, id) });
  }
}
