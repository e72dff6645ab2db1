/**
 * An MCP session over Streamable HTTP, written from the base protocol: JSON-RPC by `fetch`, in the
 * requested revision. Responses are returned as received, without their headers.
 */
import { brief, NothingToTest } from '../observations.ts';
import { messagesOf, type Message } from './sse.ts';
import { requireResult } from './schema.ts';
import { recorder } from '../trace.ts';

export const ERAS = ['2026-07-28', '2025-11-25'] as const;
export type Era = (typeof ERAS)[number];

export const EXTENSION = 'io.modelcontextprotocol/triggers';
export const EVENTS_EXTENSION = 'io.modelcontextprotocol/events';
const META = 'io.modelcontextprotocol';
/** The `_meta` key with which SEP-3415 names the request of a stream's notification. */
export const SUBSCRIPTION_META = `${META}/subscriptionId`;
const CLIENT = { name: 'triggers-conformance', version: '1' };
/** Limit of one request: longer than the longest wait that the protocol allows, 25 s. */
const DEADLINE_MS = 40_000;

/** Parsed JSON of any shape: assertions and the schema validate it instead of the compiler. */
export type Json = any;

/** The address of the server and the token of the principal. */
export interface Access {
  readonly url: string;
  readonly token: string | undefined;
}

/** A JSON-RPC error with its HTTP status. */
export class RpcError extends Error {
  override readonly name = 'RpcError';
  readonly code: number;
  readonly data: Json;
  readonly status: number;

  constructor({ code, message, data }: NonNullable<Message['error']>, status: number) {
    super(
      Number.isInteger(code)
        ? `the server answered with error ${code}: ${message}`
        : `the server answered with status ${status} and no JSON-RPC error`,
    );
    this.code = code;
    this.data = data;
    this.status = status;
  }
}

/** Thrown when the server cannot be reached, or is not an MCP server. */
export class NoServer extends NothingToTest {
  override readonly name = 'NoServer';
}

/** Options for one request. */
export interface Asking {
  /** Default: declares the extension. */
  readonly clientCapabilities?: object;
  /** Further members of `_meta`. */
  readonly meta?: Readonly<Record<string, unknown>>;
  readonly headers?: Readonly<Record<string, string>>;
  readonly signal?: AbortSignal;
  /** Whether to validate the result of the method. Default true. */
  readonly validated?: boolean;
}

/** A response with everything received. */
export interface Answer {
  readonly status: number;
  readonly headers: Headers;
  /** Every message, in order; the last one with the request's id is the answer. */
  readonly messages: readonly Message[];
  readonly result: Json;
  readonly error: Message['error'];
}

/** An open stream: notifications as they arrive, then the answer. */
export interface OpenStream {
  readonly requestId: number;
  readonly messages: AsyncGenerator<Message, void>;
  /** Closes the connection as a disconnecting client does. */
  close(): void;
}

/** Pages after which a list is taken as endless. */
const PAGES_MAX = 1000;

export class Session {
  readonly era: Era;
  readonly access: Access;
  /** The identifier of the extension. */
  readonly extension: string;
  /** The declared capabilities of the server. */
  readonly capabilities: Json;
  /** The options that the kit declares as a client. */
  readonly #options: readonly string[];
  readonly #sessionId: string | null;
  readonly #record = recorder();
  #id = 0;
  /** The last answer in one line, for messages about what did not happen. */
  lastAnswer = 'no answer yet';

  private constructor(
    era: Era,
    access: Access,
    extension: string,
    capabilities: Json,
    sessionId: string | null,
    options: readonly string[],
  ) {
    this.era = era;
    this.access = access;
    this.extension = extension;
    this.capabilities = capabilities;
    this.#sessionId = sessionId;
    this.#options = options;
  }

  /**
   * Opens a session, in which the kit declares these options. Throws `NoServer` when no MCP server
   * answers, `RpcError` when the server rejects the revision.
   */
  static async open(
    access: Access,
    era: Era,
    extension: string = EXTENSION,
    options: readonly string[] = [],
  ): Promise<Session> {
    const probe = new Session(era, access, extension, {}, null, options);
    if (era === '2026-07-28') {
      const { result, error, status } = await probe.ask('server/discover', {});
      if (error !== undefined) throw new RpcError(error, status);
      return new Session(era, access, extension, result?.capabilities ?? {}, null, options);
    }
    const answer = await probe.ask('initialize', {
      protocolVersion: era,
      capabilities: { experimental: probe.#declared },
      clientInfo: CLIENT,
    });
    if (answer.error !== undefined) throw new RpcError(answer.error, answer.status);
    const session = new Session(
      era,
      access,
      extension,
      answer.result?.capabilities ?? {},
      answer.headers.get('mcp-session-id'),
      options,
    );
    await session.notify('notifications/initialized', {});
    return session;
  }

  /** The settings of the kit as a client. */
  get #declared(): object {
    return { [this.extension]: this.#options.length === 0 ? {} : { options: this.#options } };
  }

  /** The extension's settings at the place of this revision; undefined = not declared. */
  get settings(): Json {
    const place = this.era === '2026-07-28' ? 'extensions' : 'experimental';
    return this.capabilities?.[place]?.[this.extension];
  }

  /** The result of a request. Throws `RpcError` for an error, `Error` for an invalid result. */
  async request(method: string, params: object = {}, asking: Asking = {}): Promise<Json> {
    const { result, error, status } = await this.ask(method, params, asking);
    if (error !== undefined) throw new RpcError(error, status);
    if (asking.validated !== false) requireResult(method, result);
    return result;
  }

  /** The result of every page of a list. Throws after {@link PAGES_MAX} pages. */
  async pages(method: string): Promise<Json[]> {
    const all: Json[] = [];
    for (let cursor: string | undefined; all.length < PAGES_MAX;) {
      const page = await this.request(method, cursor === undefined ? {} : { cursor });
      all.push(page);
      cursor = page.nextCursor ?? undefined;
      if (cursor === undefined) return all;
    }
    throw new Error(`${method} still returns a nextCursor after ${PAGES_MAX} pages.`);
  }

  /** The error of a request. Throws when it succeeds. */
  async errorOf(method: string, params: object = {}, asking: Asking = {}): Promise<RpcError> {
    const { result, error, status } = await this.ask(method, params, asking);
    if (error === undefined)
      throw new Error(
        `${method} was not rejected; it returned ${JSON.stringify(result)?.slice(0, 200)}`,
      );
    return new RpcError(error, status);
  }

  /** The full response. Throws when none arrives. */
  async ask(method: string, params: object = {}, asking: Asking = {}): Promise<Answer> {
    const id = ++this.#id;
    const signal = AbortSignal.any([
      AbortSignal.timeout(DEADLINE_MS),
      ...(asking.signal ? [asking.signal] : []),
    ]);
    const response = await this.#post(id, method, params, asking, signal);
    const messages: Message[] = [];
    for await (const message of this.#messages(response)) {
      messages.push(message);
      if (message.id === id && message.method === undefined) break;
    }
    const answer = messages.findLast(
      (message) => message.id === id && message.method === undefined,
    );
    // An error that precedes the parsing of the request has no id.
    const error = answer?.error ?? messages.find((message) => message.error !== undefined)?.error;
    if (answer?.result === undefined && error === undefined)
      throw new Error(
        `${method} got no answer: HTTP ${response.status}${response.status === 401 || response.status === 403 ? ', which asks for an access token: pass one with --token' : ` with ${messages.length} JSON messages`}`,
      );
    this.lastAnswer = `${method} answered ${brief(error ?? shortened(answer?.result))}`;
    return {
      status: response.status,
      headers: response.headers,
      messages,
      result: answer?.result,
      error,
    };
  }

  /** Opens a stream. Its first message may be an error. */
  async open(method: string, params: object, asking: Asking = {}): Promise<OpenStream> {
    const id = ++this.#id;
    const stop = new AbortController();
    const response = await this.#post(
      id,
      method,
      params,
      asking,
      AbortSignal.any([stop.signal, ...(asking.signal ? [asking.signal] : [])]),
    );
    return { requestId: id, messages: this.#messages(response), close: () => stop.abort() };
  }

  /** Sends a notification. */
  async notify(method: string, params: object): Promise<void> {
    const response = await this.#post(
      undefined,
      method,
      params,
      {},
      AbortSignal.timeout(DEADLINE_MS),
    );
    await response.body?.cancel();
  }

  async *#messages(response: Response): AsyncGenerator<Message, void> {
    for await (const message of messagesOf(response)) {
      this.#record({ from: 'peer', what: 'message', body: message });
      yield message;
    }
  }

  async #post(
    id: number | undefined,
    method: string,
    params: object,
    { clientCapabilities, meta, headers, signal: _ }: Asking,
    signal: AbortSignal,
  ): Promise<Response> {
    const modern = this.era === '2026-07-28';
    const declared = clientCapabilities ?? { extensions: this.#declared };
    const envelope = {
      [`${META}/protocolVersion`]: this.era,
      [`${META}/clientInfo`]: CLIENT,
      [`${META}/clientCapabilities`]: declared,
    };
    const { _meta: own, uri } = params as { readonly _meta?: object; readonly uri?: string };
    const _meta = { ...(modern ? envelope : {}), ...own, ...meta };
    const body = {
      jsonrpc: '2.0',
      ...(id === undefined ? {} : { id }),
      method,
      params: { ...params, ...(Object.keys(_meta).length > 0 ? { _meta } : {}) },
    };
    const sent = {
      // A server may close an idle connection at the moment in which a request reuses it.
      connection: 'close',
      'content-type': 'application/json',
      accept: 'application/json, text/event-stream',
      ...(method === 'initialize' ? {} : { 'mcp-protocol-version': this.era }),
      ...(modern ? { 'mcp-method': method } : {}),
      ...(modern && uri !== undefined ? { 'mcp-name': uri } : {}),
      ...(this.#sessionId === null ? {} : { 'mcp-session-id': this.#sessionId }),
      ...(this.access.token === undefined ? {} : { authorization: `Bearer ${this.access.token}` }),
      ...headers,
    };
    const { pathname } = new URL(this.access.url);
    this.#record({ from: 'kit', what: 'request', to: `POST ${pathname}`, headers: sent, body });
    try {
      const response = await fetch(this.access.url, {
        method: 'POST',
        redirect: 'manual',
        signal,
        headers: sent,
        body: JSON.stringify(body),
      });
      this.#record({
        from: 'peer',
        what: 'response',
        status: response.status,
        headers: Object.fromEntries(response.headers),
      });
      return response;
    } catch (error) {
      if (signal.aborted) throw error;
      throw new NoServer(
        `nothing answers at ${new URL(this.access.url).origin}. Start the server or correct --url`,
        { cause: error },
      );
    }
  }
}

/** A result without the members that say little about the state of a log. */
const shortened = ({
  resultType: _resultType,
  subscriptionId: _subscriptionId,
  select: _select,
  key: _key,
  etag: _etag,
  createdAt: _createdAt,
  retention: _retention,
  _meta,
  events,
  ...rest
}: Json): Json => ({
  ...rest,
  ...(events === undefined ? {} : { events: events.map(({ sequence }: Json) => sequence) }),
});
