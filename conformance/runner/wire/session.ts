/**
 * One principal's way to an MCP server over Streamable HTTP, written from the base protocol's text: JSON-RPC by `fetch`, in the revision that is asked for. Nothing
 * is hidden but the headers: what the server says is handed on as it came.
 */
import { NothingToTest } from '../nothing.ts';
import { messagesOf, type Message } from './sse.ts';
import { requireResult } from './schema.ts';

export const ERAS = ['2026-07-28', '2025-11-25'] as const;
export type Era = (typeof ERAS)[number];

export const EXTENSION = 'io.modelcontextprotocol/triggers';
export const EVENTS_EXTENSION = 'io.modelcontextprotocol/events';
const META = 'io.modelcontextprotocol';
/** The `_meta` key that ties a notification to the request whose stream carries it. */
export const SUBSCRIPTION_META = `${META}/subscriptionId`;
const CLIENT = { name: 'triggers-conformance', version: '1' };
/** Nothing of the protocol takes longer: the longest wait it allows is 25 s. */
const DEADLINE_MS = 40_000;

/* Results are what a stranger sent: loosely typed on purpose, looked at with assertions and validated against the schema. */

export type Json = any;

/** Where the server is and who asks. */
export interface Access {
  readonly url: string;
  readonly token: string | undefined;
}

/** A JSON-RPC error, with the HTTP status it came under. */
export class RpcError extends Error {
  override readonly name = 'RpcError';
  readonly code: number;
  readonly data: Json;
  readonly status: number;

  constructor({ code, message, data }: NonNullable<Message['error']>, status: number) {
    super(`the server answered with error ${code}: ${message}`);
    this.code = code;
    this.data = data;
    this.status = status;
  }
}

/** The server cannot be reached, or what is there is no MCP server. */
export class NoServer extends NothingToTest {
  override readonly name = 'NoServer';
}

/** What may differ from one request to the next. */
export interface Asking {
  /** Default: declares the extension. */
  readonly clientCapabilities?: object;
  /** Further members of `_meta`. */
  readonly meta?: Readonly<Record<string, unknown>>;
  readonly headers?: Readonly<Record<string, string>>;
  readonly signal?: AbortSignal;
  /** Whether the result has to be a valid one of its method. Default true. */
  readonly validated?: boolean;
}

/** An answer with everything around it. */
export interface Answer {
  readonly status: number;
  readonly headers: Headers;
  /** Everything that came, in order; the last one with our id is the answer. */
  readonly messages: readonly Message[];
  readonly result: Json;
  readonly error: Message['error'];
}

/** An open stream: notifications as they come, then what the request was answered with. */
export interface OpenStream {
  readonly requestId: number;
  readonly messages: AsyncGenerator<Message, void>;
  /** Closes the connection, as a client that has gone. */
  close(): void;
}

export class Session {
  readonly era: Era;
  readonly access: Access;
  /** The identifier of the extension that is spoken. */
  readonly extension: string;
  /** What the server declared. */
  readonly capabilities: Json;
  readonly #sessionId: string | null;
  #id = 0;

  private constructor(
    era: Era,
    access: Access,
    extension: string,
    capabilities: Json,
    sessionId: string | null,
  ) {
    this.era = era;
    this.access = access;
    this.extension = extension;
    this.capabilities = capabilities;
    this.#sessionId = sessionId;
  }

  /** Greets the server. Throws `NoServer` when nothing answers there that speaks MCP, `RpcError` when it does not speak this revision. */
  static async open(access: Access, era: Era, extension: string = EXTENSION): Promise<Session> {
    const probe = new Session(era, access, extension, {}, null);
    if (era === '2026-07-28') {
      const { result, error, status } = await probe.ask('server/discover', {});
      if (error !== undefined) throw new RpcError(error, status);
      return new Session(era, access, extension, result?.capabilities ?? {}, null);
    }
    const answer = await probe.ask('initialize', {
      protocolVersion: era,
      capabilities: { experimental: { [extension]: {} } },
      clientInfo: CLIENT,
    });
    if (answer.error !== undefined) throw new RpcError(answer.error, answer.status);
    const session = new Session(
      era,
      access,
      extension,
      answer.result?.capabilities ?? {},
      answer.headers.get('mcp-session-id'),
    );
    await session.notify('notifications/initialized', {});
    return session;
  }

  /** The extension's settings, from the place of this revision; undefined = not declared. */
  get settings(): Json {
    const place = this.era === '2026-07-28' ? 'extensions' : 'experimental';
    return this.capabilities?.[place]?.[this.extension];
  }

  /** The result. Throws `RpcError` when the server refuses, `Error` when the result is not what the schema says. */
  async request(method: string, params: object = {}, asking: Asking = {}): Promise<Json> {
    const { result, error, status } = await this.ask(method, params, asking);
    if (error !== undefined) throw new RpcError(error, status);
    if (asking.validated !== false) requireResult(method, result);
    return result;
  }

  /** The refusal. Throws when there is none. */
  async refusal(method: string, params: object = {}, asking: Asking = {}): Promise<RpcError> {
    const { result, error, status } = await this.ask(method, params, asking);
    if (error === undefined)
      throw new Error(
        `${method} was not refused; it answered ${JSON.stringify(result)?.slice(0, 200)}`,
      );
    return new RpcError(error, status);
  }

  /** The whole answer, whatever it is. Throws when none comes. */
  async ask(method: string, params: object = {}, asking: Asking = {}): Promise<Answer> {
    const id = ++this.#id;
    const signal = AbortSignal.any([
      AbortSignal.timeout(DEADLINE_MS),
      ...(asking.signal ? [asking.signal] : []),
    ]);
    const response = await this.#post(id, method, params, asking, signal);
    const messages: Message[] = [];
    for await (const message of messagesOf(response)) {
      messages.push(message);
      if (message.id === id && message.method === undefined) break;
    }
    const answer = messages.findLast(
      (message) => message.id === id && message.method === undefined,
    );
    // An error that came before the request was understood has no id.
    const error = answer?.error ?? messages.find((message) => message.error !== undefined)?.error;
    if (answer?.result === undefined && error === undefined)
      throw new Error(
        `${method} was not answered: HTTP ${response.status}${response.status === 401 || response.status === 403 ? ', so give an access token with --token' : ` with ${messages.length} JSON messages`}`,
      );
    return {
      status: response.status,
      headers: response.headers,
      messages,
      result: answer?.result,
      error,
    };
  }

  /** Opens a stream. The first thing that comes may be an error. */
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
    return { requestId: id, messages: messagesOf(response), close: () => stop.abort() };
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

  async #post(
    id: number | undefined,
    method: string,
    params: object,
    { clientCapabilities, meta, headers, signal: _ }: Asking,
    signal: AbortSignal,
  ): Promise<Response> {
    const modern = this.era === '2026-07-28';
    const declared = clientCapabilities ?? { extensions: { [this.extension]: {} } };
    const envelope = {
      [`${META}/protocolVersion`]: this.era,
      [`${META}/clientInfo`]: CLIENT,
      [`${META}/clientCapabilities`]: declared,
    };
    const own = (params as { readonly _meta?: object })._meta;
    const _meta = { ...(modern ? envelope : {}), ...own, ...meta };
    const body = {
      jsonrpc: '2.0',
      ...(id === undefined ? {} : { id }),
      method,
      params: { ...params, ...(Object.keys(_meta).length > 0 ? { _meta } : {}) },
    };
    try {
      return await fetch(this.access.url, {
        method: 'POST',
        redirect: 'manual',
        signal,
        headers: {
          'content-type': 'application/json',
          accept: 'application/json, text/event-stream',
          ...(method === 'initialize' ? {} : { 'mcp-protocol-version': this.era }),
          ...(modern ? { 'mcp-method': method } : {}),
          ...(this.#sessionId === null ? {} : { 'mcp-session-id': this.#sessionId }),
          ...(this.access.token === undefined
            ? {}
            : { authorization: `Bearer ${this.access.token}` }),
          ...headers,
        },
        body: JSON.stringify(body),
      });
    } catch (error) {
      if (signal.aborted) throw error;
      throw new NoServer(`nothing answers at ${new URL(this.access.url).origin}`, { cause: error });
    }
  }
}
