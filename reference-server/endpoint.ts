/**
 * The MCP endpoint: one URL for both protocol eras. Checks the host and the origin first, then the
 * authentication, then the body, then the rate limit, which counts the messages in the body.
 */
import {
  createMcpHandler,
  hostHeaderValidationResponse,
  isJsonContentType,
  isLegacyRequest,
  localhostAllowedHostnames,
  originValidationResponse,
  readRequestBody,
  type McpHttpHandler,
  type McpServer,
  type ServerEventBus,
} from '@modelcontextprotocol/server';
import { WireError } from 'mcp-triggers-experimental';
import { callerOf, withBoundedBacklog } from 'mcp-triggers-experimental/server';
import { RateLimiterMemory, RateLimiterRes } from 'rate-limiter-flexible';
import {
  bodyTooLarge,
  exhausted,
  methodNotAllowed,
  notJson,
  stopping,
  unsupportedContentType,
  unsupportedEncoding,
} from './error-responses.ts';
import type { Auth } from './auth.ts';
import type { Config } from './config.ts';
import { Sessions } from './sessions.ts';

/** The largest request body, in bytes. A subscription with 64 selections is far smaller. */
const BODY_BYTES_MAX = 4 * 2 ** 20;
const METHODS = new Set(['POST', 'GET', 'DELETE']);
const REAP_INTERVAL_MS = 30_000;

export interface EndpointOptions {
  readonly config: Config;
  readonly auth: Auth;
  /** Makes an SDK server with all bindings attached. */
  readonly build: () => McpServer;
  /** Passes change notifications to clients of `subscriptions/listen`. */
  readonly bus: ServerEventBus;
  /** Wraps the SDK's handler and adds feeds to its `subscriptions/listen`. */
  readonly withFeeds: (fetch: McpHttpHandler['fetch']) => McpHttpHandler['fetch'];
  readonly onError: (error: Error) => void;
}

export class McpEndpoint {
  readonly #options: EndpointOptions;
  readonly #modern: McpHttpHandler;
  readonly #fetch: McpHttpHandler['fetch'];
  readonly #sessions: Sessions;
  readonly #rate: RateLimiterMemory;
  readonly #hosts: string[];
  /** Host names whose web pages may call the endpoint. */
  readonly origins: readonly string[];
  readonly #reaper: NodeJS.Timeout;
  readonly #responses = new OpenResponses();
  #stopping = false;

  constructor(options: EndpointOptions) {
    const { config, build, bus, withFeeds, onError } = options;
    this.#options = options;
    this.#modern = createMcpHandler(() => build(), {
      bus,
      legacy: 'reject',
      onerror: onError,
      maxRequestBodySize: BODY_BYTES_MAX,
    });
    this.#fetch = withFeeds(this.#modern.fetch);
    this.#sessions = new Sessions({
      build,
      max: config.MAX_SESSIONS,
      idleMs: config.SESSION_IDLE_MS,
      now: Date.now,
      onError,
    });
    this.#rate = new RateLimiterMemory({ points: config.MAX_REQUESTS_PER_MINUTE, duration: 60 });
    const local = localhostAllowedHostnames();
    const own = [
      config.PUBLIC_URL.hostname,
      ...(local.includes(config.PUBLIC_URL.hostname) ? local : []),
    ];
    this.#hosts = [...own, ...config.ALLOWED_HOSTS];
    this.origins = [...own, ...config.ALLOWED_ORIGINS];
    this.#reaper = setInterval(
      () => void this.#sessions.reap().catch(onError),
      Math.min(REAP_INTERVAL_MS, config.SESSION_IDLE_MS),
    ).unref();
  }

  /** The number of open sessions (2025-11-25 clients). */
  get sessions(): number {
    return this.#sessions.size;
  }

  /**
   * Serves a request. `onResponseEnd` registers a function to run when the response is complete or
   * its connection closed; `drop` closes the connection.
   */
  async handle(
    request: Request,
    onResponseEnd: (run: () => void) => void,
    drop: () => void,
  ): Promise<Response> {
    return withBoundedBacklog(await this.#respond(request, onResponseEnd), () => {
      this.#options.onError(
        new Error('The client does not read its stream. Its connection was closed.'),
      );
      drop();
    });
  }

  async #respond(request: Request, onResponseEnd: (run: () => void) => void): Promise<Response> {
    if (this.#stopping) return stopping();
    const misdirected =
      hostHeaderValidationResponse(request, this.#hosts) ??
      originValidationResponse(request, [...this.origins]);
    if (misdirected) return misdirected;
    if (!METHODS.has(request.method)) return methodNotAllowed();

    const authInfo = await this.#options.auth.authenticate(request);
    if (authInfo instanceof Response) return authInfo;
    const { principal } = callerOf(
      { http: { authInfo } },
      { sharedClients: this.#options.config.SHARED_CLIENTS },
    );

    const body = request.method === 'POST' ? await readJson(request) : undefined;
    if (body instanceof Response) return body;
    const overLimit = await this.#overLimit(principal, body);
    if (overLimit) return overLimit;
    // `stop` may have been called during the checks.
    if (this.#stopping) return stopping();

    // Streams of `subscriptions/listen` end only when the handler is closed, which happens after
    // the wait for open responses. So that wait must not include them.
    if (
      body !== undefined &&
      !messagesIn(body).some(({ method }) => method === 'subscriptions/listen')
    )
      onResponseEnd(this.#responses.open());
    if (await isLegacyRequest(request, body))
      return this.#sessions.handle({ request, body, principal, authInfo, onResponseEnd });
    return this.#fetch(request, { authInfo, ...(body === undefined ? {} : { parsedBody: body }) });
  }

  async #overLimit(principal: string, body: unknown): Promise<Response | null> {
    try {
      await this.#rate.consume(principal, Math.max(1, messagesIn(body).length));
      return null;
    } catch (rejected) {
      if (!(rejected instanceof RateLimiterRes)) throw rejected;
      const error = new WireError('ResourceExhausted', {
        limit: 'requests',
        max: this.#options.config.MAX_REQUESTS_PER_MINUTE,
        retryAfterMs: Math.ceil(rejected.msBeforeNext),
      });
      return exhausted(429, error.toErrorObject(), messagesIn(body)[0]?.id);
    }
  }

  /** Rejects new requests from now on. Open ones continue. */
  stop(): void {
    this.#stopping = true;
  }

  /** Waits up to `graceMs` for open responses, then ends sessions and streams. */
  async close(graceMs: number): Promise<void> {
    this.stop();
    clearInterval(this.#reaper);
    await this.#responses.allEnded(graceMs);
    await Promise.all([this.#sessions.close(), this.#modern.close()]);
  }
}

/** Counts open responses. */
class OpenResponses {
  #count = 0;
  #whenNone: (() => void) | null = null;

  /** Counts one response; call the returned function when it has ended. */
  open(): () => void {
    this.#count += 1;
    return () => {
      this.#count -= 1;
      if (this.#count === 0) this.#whenNone?.();
    };
  }

  /** Resolves when no response is open, or after `graceMs`. */
  async allEnded(graceMs: number): Promise<void> {
    if (this.#count === 0) return;
    await new Promise<void>((resolve) => {
      const timer = setTimeout(resolve, graceMs);
      this.#whenNone = () => {
        clearTimeout(timer);
        resolve();
      };
    });
  }
}

/** Returns the parsed body, or the response that rejects it. */
async function readJson(request: Request): Promise<unknown> {
  if (!isJsonContentType(request.headers.get('content-type'))) return unsupportedContentType();
  const encoding = request.headers.get('content-encoding');
  if (encoding !== null && encoding.trim().toLowerCase() !== 'identity')
    return unsupportedEncoding();
  const read = await readRequestBody(request, BODY_BYTES_MAX);
  if (read.tooLarge) return bodyTooLarge(BODY_BYTES_MAX);
  try {
    return JSON.parse(read.text) as unknown;
  } catch {
    return notJson();
  }
}

/** The messages of a body. A client of an early protocol revision may send several in one body. */
function messagesIn(body: unknown): { readonly method?: unknown; readonly id?: unknown }[] {
  return (Array.isArray(body) ? body : [body]).filter(
    (message) => typeof message === 'object' && message !== null,
  );
}
