/**
 * A server with exactly one fault: a correct server behind a proxy that changes messages. Each row
 * of the tables defines one such change. The proxy parses and writes JSON-RPC, streams and callback
 * requests, so that a row needs only a few lines.
 */
import { createHmac } from 'node:crypto';
import { once } from 'node:events';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { createParser } from 'eventsource-parser';
import { Identity } from './identity.ts';

/** Parsed JSON of any shape. */
export type Json = any;

/** A JSON-RPC request on its way to the server, with memory that a fault keeps between messages. */
export interface ProxiedRequest {
  readonly method: string;
  /** As the client sent them; replace members to change what the server receives. */
  params: Json;
  readonly headers: Record<string, string>;
  /** The same object for every message of one broken peer. */
  readonly memory: Record<string, Json>;
  /** Sends a request to the correct server as the same client. */
  ask(method: string, params: object): Promise<Json>;
}

/**
 * A request of the server to a callback. A changed body or header is signed again with the
 * registered secret.
 */
export interface CallbackRequest {
  /** The message as JSON. */
  body: Json;
  headers: Record<string, string>;
  /** The HTTP method. */
  verb: string;
  /**
   * The protected header of the server's signature, which the proxy signs again. Null = send no
   * signature; undefined = send the one in `headers`.
   */
  identity: Json;
  /** The registered callback. */
  readonly callback: { readonly url: string; readonly secret: string };
  /** `false` = keep the signature although the request changed. */
  resign: boolean;
  /** Body bytes that are sent instead of `body`. */
  raw?: Buffer;
  readonly memory: Record<string, Json>;
  /** Sends this request, once or more. Resolves with the endpoint's answer. */
  send(changes?: {
    readonly body?: Json;
    readonly headers?: Record<string, string>;
  }): Promise<CallbackAnswer>;
}
export interface CallbackAnswer {
  status: number;
  headers: Record<string, string>;
  body: string;
}

/** The hooks by which a fault changes messages. All but `alongside` may be async. */
export interface Fault {
  /**
   * Runs before the server receives a request. A returned message, `{ result }` or `{ error }`, is
   * the answer.
   */
  readonly request?: (proxied: ProxiedRequest) => Json | void | Promise<Json | void>;
  /** Replaces the result of a request. */
  readonly result?: (result: Json, proxied: ProxiedRequest) => Json | Promise<Json>;
  /** Replaces the error of a request with `{ result }` or `{ error }`. */
  readonly error?: (error: Json, proxied: ProxiedRequest) => Json | Promise<Json>;
  /** Replaces a notification with one, several or none. */
  readonly notification?: (
    notification: Json,
    proxied: ProxiedRequest,
  ) => Json | Json[] | null | Promise<Json | Json[] | null>;
  /** Unsolicited notifications that are sent before the answer to a request. */
  readonly alongside?: (proxied: ProxiedRequest) => Json[];
  /**
   * Runs before a delivery or challenge is sent to a callback. A returned answer replaces the
   * request.
   */
  readonly callback?: (
    outgoing: CallbackRequest,
  ) => CallbackAnswer | void | Promise<CallbackAnswer | void>;
  /** Replaces the endpoint's answer before the server receives it. */
  readonly callbackAnswer?: (
    answer: CallbackAnswer,
    outgoing: CallbackRequest,
  ) => CallbackAnswer | void | Promise<CallbackAnswer | void>;
}

/** A broken server. */
export interface BrokenServer {
  /** The requirement that it breaks, without prefix. */
  readonly check: string;
  /** A short description of the fault. */
  readonly wrong: string;
  readonly fault: Fault;
}

/** Headers that apply to one connection only, so the proxy does not forward them. */
const HOP = new Set(['host', 'connection', 'content-length', 'transfer-encoding', 'keep-alive']);

/** The proxy in front of a correct server, with one fault. */
export class FaultProxy {
  readonly #target: string;
  readonly #fault: Fault;
  readonly #server: Server;
  readonly #memory: Record<string, Json> = {};
  /** Callbacks by the name under which the proxy relays them; `previous` is the old secret. */
  readonly #callbacks = new Map<
    string,
    { readonly url: string; readonly secret: string; readonly previous: string | undefined }
  >();
  readonly #identity = new Identity();
  #id = 0;

  private constructor(target: string, fault: Fault) {
    this.#target = target;
    this.#fault = fault;
    this.#server = createServer((request, response) => {
      this.#handle(request, response).catch(() => response.destroy());
    });
  }

  static async start(target: string, fault: Fault): Promise<FaultProxy> {
    const proxy = new FaultProxy(target, fault);
    proxy.#server.listen(0, '127.0.0.1');
    await once(proxy.#server, 'listening');
    return proxy;
  }

  get #origin(): string {
    return `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}`;
  }
  get url(): string {
    return `${this.#origin}${new URL(this.#target).pathname}`;
  }

  async close(): Promise<void> {
    this.#server.closeAllConnections();
    this.#server.close();
    await once(this.#server, 'close');
  }

  async #handle(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const raw = await bytesOf(request);
    const headers = headersOf(request);
    if (request.url === '/relay/keys')
      return void response
        .writeHead(200, { 'content-type': 'application/json' })
        .end(this.#identity.jwks);
    const name = /^\/relay\/(\d+)/.exec(request.url ?? '')?.[1];
    if (name !== undefined) return this.#relay(name, headers, raw, response);
    return this.#pass(request, headers, raw, response);
  }

  /* ------------------------------------------------------------ requests of the client */

  async #pass(
    request: IncomingMessage,
    headers: Record<string, string>,
    raw: Buffer,
    response: ServerResponse,
  ): Promise<void> {
    const message = jsonOf(raw);
    const proxied: ProxiedRequest = {
      method: message?.method,
      params: message?.params ?? {},
      headers,
      memory: this.#memory,
      ask: (method, params) => this.#ask(method, params, message, headers),
    };
    this.#interpose(proxied);
    const own = message?.method === undefined ? undefined : await this.#fault.request?.(proxied);
    if (own !== undefined && message.id !== undefined) {
      response
        .writeHead(200, { 'content-type': 'application/json' })
        .end(JSON.stringify({ ...own, jsonrpc: '2.0', id: message.id }));
      return;
    }
    const stop = new AbortController();
    response.on('close', () => stop.abort());
    const answer = await fetch(new URL(request.url ?? '/', this.#target), {
      method: request.method ?? 'POST',
      headers,
      redirect: 'manual',
      signal: stop.signal,
      ...(raw.length === 0
        ? {}
        : {
            body:
              message === undefined ? raw : JSON.stringify({ ...message, params: proxied.params }),
          }),
    });
    const type = answer.headers.get('content-type') ?? '';
    const extra = this.#fault.alongside?.(proxied) ?? [];
    if (extra.length > 0 && type.startsWith('application/json'))
      return this.#passWith(extra, await answer.json(), response);
    response.writeHead(
      answer.status,
      Object.fromEntries(
        [...answer.headers].filter(([header]) => !HOP.has(header) && header !== 'content-encoding'),
      ),
    );
    if (type.startsWith('text/event-stream')) return this.#passStream(answer, proxied, response);
    const text = await answer.text();
    const [changed] = await this.#change(jsonOf(Buffer.from(text)), proxied);
    response.end(changed === undefined ? text : JSON.stringify(changed));
  }

  #passWith(extra: readonly Json[], answer: Json, response: ServerResponse): void {
    response.writeHead(200, { 'content-type': 'text/event-stream' });
    for (const message of [...extra, answer])
      response.write(`data: ${JSON.stringify(message)}\n\n`);
    response.end();
  }

  async #passStream(
    answer: Response,
    proxied: ProxiedRequest,
    response: ServerResponse,
  ): Promise<void> {
    response.flushHeaders();
    const events: { readonly data: string }[] = [];
    const parser = createParser({ onEvent: (event) => void events.push(event) });
    const decoder = new TextDecoder();
    for await (const chunk of answer.body as unknown as AsyncIterable<Uint8Array>) {
      parser.feed(decoder.decode(chunk, { stream: true }));
      for (const { data } of events.splice(0)) {
        for (const message of await this.#change(jsonOf(Buffer.from(data)), proxied))
          response.write(`data: ${JSON.stringify(message)}\n\n`);
      }
    }
    response.end();
  }

  /** Applies the fault to a message of the server. Returns the messages to send instead. */
  async #change(message: Json, proxied: ProxiedRequest): Promise<Json[]> {
    if (message === undefined || typeof message !== 'object') return [];
    const { result, error, notification } = this.#fault;
    if (message.method !== undefined) {
      const changed = notification === undefined ? message : await notification(message, proxied);
      return changed === null ? [] : Array.isArray(changed) ? changed : [changed];
    }
    const { jsonrpc, id } = message;
    if (this.#interposes)
      for (const place of ['extensions', 'experimental'])
        this.#publish(message.result?.capabilities?.[place]?.['io.modelcontextprotocol/triggers']);
    if (message.error !== undefined)
      return [
        error === undefined ? message : { ...(await error(message.error, proxied)), jsonrpc, id },
      ];
    return [
      result === undefined
        ? message
        : { jsonrpc, id, result: await result(message.result, proxied) },
    ];
  }

  async #ask(
    method: string,
    params: object,
    like: Json,
    headers: Record<string, string>,
  ): Promise<Json> {
    const response = await fetch(this.#target, {
      method: 'POST',
      headers: {
        ...headers,
        ...(headers['mcp-method'] === undefined ? {} : { 'mcp-method': method }),
      },
      body: JSON.stringify({
        jsonrpc: '2.0',
        id: `proxy-${++this.#id}`,
        method,
        params: {
          ...params,
          ...(like.params?._meta === undefined ? {} : { _meta: like.params._meta }),
        },
      }),
    });
    const text = await response.text();
    return jsonOf(
      Buffer.from(text.startsWith('{') ? text : (/^data: (\{.*)$/m.exec(text)?.[1] ?? '')),
    );
  }

  /* ------------------------------------------------------------ requests to callbacks */

  /** Whether the fault changes callback requests, so that they have to pass through the proxy. */
  get #interposes(): boolean {
    return this.#fault.callback !== undefined || this.#fault.callbackAnswer !== undefined;
  }

  /** Replaces the server's key set with the proxy's. */
  #publish(settings: Json): void {
    if (settings?.jwksUri !== undefined) settings.jwksUri = `${this.#origin}/relay/keys`;
  }

  /** Registers the proxy as the callback, so that callback requests pass through it. */
  #interpose({ method, params }: ProxiedRequest): void {
    if (!this.#interposes) return;
    if (method === 'events/unsubscribe') {
      const name = [...this.#callbacks].find(([, { url }]) => url === params.delivery?.url)?.[0];
      if (name !== undefined) params.delivery.url = `${this.#origin}/relay/${name}`;
      return;
    }
    const holder =
      method === 'events/subscribe'
        ? params.delivery
        : method === 'triggers/subscribe' || method === 'triggers/update'
          ? params.callback
          : undefined;
    if (typeof holder?.url !== 'string' || typeof holder.secret !== 'string') return;
    const known = [...this.#callbacks].find(([, { url }]) => url === holder.url);
    const name = known?.[0] ?? String(this.#callbacks.size + 1);
    const previous =
      known === undefined || known[1].secret === holder.secret
        ? known?.[1].previous
        : known[1].secret;
    this.#callbacks.set(name, { url: holder.url, secret: holder.secret, previous });
    holder.url = `${this.#origin}/relay/${name}`;
  }

  async #relay(
    name: string,
    headers: Record<string, string>,
    raw: Buffer,
    response: ServerResponse,
  ): Promise<void> {
    const { url, secret, previous } = this.#callbacks.get(name)!;
    // Sign as often as the server did: twice after a secret rotation.
    const secrets =
      headers['webhook-signature']?.includes(' ') && previous !== undefined
        ? [secret, previous]
        : [secret];
    const outgoing: CallbackRequest = {
      body: jsonOf(raw),
      headers,
      verb: 'POST',
      resign: true,
      memory: this.#memory,
      callback: { url, secret },
      identity: this.#identity.headerFor(url, headers['mcp-delivery-signature']),
      send: async (changes = {}) => {
        const body =
          changes.body === undefined && outgoing.raw !== undefined
            ? outgoing.raw
            : Buffer.from(JSON.stringify(changes.body ?? outgoing.body));
        const sent = { ...outgoing.headers, ...changes.headers };
        if (outgoing.resign)
          sent['webhook-signature'] = secrets.map((one) => sign(one, sent, body)).join(' ');
        if (outgoing.identity === null) delete sent['mcp-delivery-signature'];
        else if (outgoing.identity !== undefined)
          sent['mcp-delivery-signature'] = this.#identity.sign(outgoing.identity, body);
        const answer = await fetch(url, {
          method: outgoing.verb,
          headers: sent,
          body: new Uint8Array(body),
          redirect: 'manual',
        });
        return {
          status: answer.status,
          headers: {
            'content-type': answer.headers.get('content-type') ?? '',
            ...(answer.headers.has('retry-after')
              ? { 'retry-after': answer.headers.get('retry-after')! }
              : {}),
            ...(answer.headers.has('location')
              ? { location: answer.headers.get('location')! }
              : {}),
          },
          body: await answer.text(),
        };
      },
    };
    const kept = await this.#fault.callback?.(outgoing);
    const answer = kept ?? (await outgoing.send());
    const shown = (await this.#fault.callbackAnswer?.(answer, outgoing)) ?? answer;
    response.writeHead(shown.status, shown.headers).end(shown.body);
  }
}

const sign = (secret: string, headers: Record<string, string>, body: Buffer): string => {
  const content = Buffer.concat([
    Buffer.from(`${headers['webhook-id']}.${headers['webhook-timestamp']}.`),
    body,
  ]);
  return `v1,${createHmac('sha256', Buffer.from(secret.slice('whsec_'.length), 'base64'))
    .update(content)
    .digest('base64')}`;
};

async function bytesOf(request: IncomingMessage): Promise<Buffer> {
  const chunks: Buffer[] = [];
  for await (const chunk of request) chunks.push(chunk as Buffer);
  return Buffer.concat(chunks);
}

const headersOf = ({ headers }: IncomingMessage): Record<string, string> =>
  Object.fromEntries(
    Object.entries(headers).filter(([name, value]) => !HOP.has(name) && typeof value === 'string'),
  ) as Record<string, string>;

function jsonOf(bytes: Buffer): Json {
  try {
    return JSON.parse(bytes.toString('utf8'));
  } catch {
    return undefined;
  }
}
