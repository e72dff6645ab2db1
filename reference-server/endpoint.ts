/**
 * The MCP endpoint: one URL for both protocol eras. A request passes the checks in the order in which they cost least and
 * tell least: where it comes from, who sends it, how often, and only then what it says.
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
  contentTypeRefused,
  encodingRefused,
  exhausted,
  methodNotAllowed,
  notJson,
  stopping,
} from './answers.ts';
import type { Auth } from './auth.ts';
import type { Config } from './config.ts';
import { Sessions } from './sessions.ts';

/** Fixed: the largest request. A subscription with 64 selections is far below it. */
const BODY_BYTES_MAX = 4 * 2 ** 20;
const METHODS = new Set(['POST', 'GET', 'DELETE']);
const REAP_INTERVAL_MS = 30_000;

export interface EndpointOptions {
  readonly config: Config;
  readonly auth: Auth;
  /** A fresh SDK server with everything attached. */
  readonly build: () => McpServer;
  /** Where `subscriptions/listen` hears of changes. */
  readonly bus: ServerEventBus;
  /** Lets listeners hear of feeds. */
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
  /** Host names whose web pages may call. */
  readonly origins: readonly string[];
  readonly #reaper: NodeJS.Timeout;
  readonly #answers = new OpenAnswers();
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

  /** Sessions of handshake clients. */
  get sessions(): number {
    return this.#sessions.size;
  }

  /** `onAnswered` registers what to run when the answer is over, sent or cut; `drop` breaks the connection off. */
  async handle(
    request: Request,
    onAnswered: (run: () => void) => void,
    drop: () => void,
  ): Promise<Response> {
    return withBoundedBacklog(await this.#answer(request, onAnswered), () => {
      this.#options.onError(new Error('a client that does not read its stream was cut off'));
      drop();
    });
  }

  async #answer(request: Request, onAnswered: (run: () => void) => void): Promise<Response> {
    if (this.#stopping) return stopping();
    const misdirected =
      hostHeaderValidationResponse(request, this.#hosts) ??
      originValidationResponse(request, [...this.origins]);
    if (misdirected) return misdirected;
    if (!METHODS.has(request.method)) return methodNotAllowed();

    const authInfo = await this.#options.auth.gate(request);
    if (authInfo instanceof Response) return authInfo;
    const { principal } = callerOf({ http: { authInfo } });

    const body = request.method === 'POST' ? await readJson(request) : undefined;
    if (body instanceof Response) return body;
    const overLimit = await this.#overLimit(principal, body);
    if (overLimit) return overLimit;
    // It may have come to that while the token was checked and the body read.
    if (this.#stopping) return stopping();

    // Everything but the streams of the SDK, which only `close` ends.
    if (
      body !== undefined &&
      !messagesIn(body).some(({ method }) => method === 'subscriptions/listen')
    )
      onAnswered(this.#answers.open());
    if (await isLegacyRequest(request, body))
      return this.#sessions.handle({ request, body, principal, authInfo, onAnswered });
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

  /** Refuses new requests from now on. What is open goes on. */
  stop(): void {
    this.#stopping = true;
  }

  /** Waits, but not longer than `graceMs`, until what was asked is answered; then ends what never ends by itself. */
  async close(graceMs: number): Promise<void> {
    this.stop();
    clearInterval(this.#reaper);
    await this.#answers.over(graceMs);
    await Promise.all([this.#sessions.close(), this.#modern.close()]);
  }
}

/** How many answers are on their way. */
class OpenAnswers {
  #count = 0;
  #whenNone: (() => void) | null = null;

  /** Counts one; call the result when it is over. */
  open(): () => void {
    this.#count += 1;
    return () => {
      this.#count -= 1;
      if (this.#count === 0) this.#whenNone?.();
    };
  }

  /** Resolves when there is none, or after `graceMs`. */
  async over(graceMs: number): Promise<void> {
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

/** The parsed body, or why it is refused. */
async function readJson(request: Request): Promise<unknown> {
  if (!isJsonContentType(request.headers.get('content-type'))) return contentTypeRefused();
  const encoding = request.headers.get('content-encoding');
  if (encoding !== null && encoding.trim().toLowerCase() !== 'identity') return encodingRefused();
  const read = await readRequestBody(request, BODY_BYTES_MAX);
  if (read.tooLarge) return bodyTooLarge(BODY_BYTES_MAX);
  try {
    return JSON.parse(read.text) as unknown;
  } catch {
    return notJson();
  }
}

/** Early clients of the handshake era may send several messages at once. */
function messagesIn(body: unknown): { readonly method?: unknown; readonly id?: unknown }[] {
  return (Array.isArray(body) ? body : [body]).filter(
    (message) => typeof message === 'object' && message !== null,
  );
}
