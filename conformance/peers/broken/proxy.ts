/**
 * A server that is wrong in exactly one way: a right one, behind a proxy that changes what crosses the wire. A row of the tables says what it changes; the
 * proxy parses and writes JSON-RPC, streams and callbacks, so that a row is a line or two.
 */
import { createHmac } from 'node:crypto';
import { once } from 'node:events';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { createParser } from 'eventsource-parser';
import { Identity } from './identity.ts';

/* What crosses is whatever somebody sent. */
export type Json = any;

/** A JSON-RPC request on its way to the server, with what a row may want to remember between messages. */
export interface Passing {
  readonly method: string;
  /** As the client sent them; replace members to change what the server sees. */
  params: Json;
  readonly headers: Record<string, string>;
  /** The same object for every message of one broken peer. */
  readonly memory: Record<string, Json>;
  /** Asks the right server something, as the same client. */
  ask(method: string, params: object): Promise<Json>;
}

/** A request of the server on its way to a callback. Changed bodies and headers are signed anew with the secret that was registered. */
export interface Calling {
  /** The message as JSON. */
  body: Json;
  headers: Record<string, string>;
  /** The HTTP method. */
  verb: string;
  /** The protected header of the server's signature, which is made anew; null = it has none. Undefined = `headers` say it. */
  identity: Json;
  /** What was registered. */
  readonly callback: { readonly url: string; readonly secret: string };
  /** `false` = leave the signature as it is, whatever was changed. */
  resign: boolean;
  /** The body's bytes as they are to be sent; set = `body` is not used. */
  raw?: Buffer;
  readonly memory: Record<string, Json>;
  /** Sends this request (again). Resolves with what the endpoint answered. */
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

/** What a broken server does differently. Every function may be async. */
export interface Spoil {
  /** Before the server sees a request. Returning a message answers it here: `{ result }` or `{ error }`. */
  readonly request?: (passing: Passing) => Json | void | Promise<Json | void>;
  /** The result of a request; what it returns is sent instead. */
  readonly result?: (result: Json, passing: Passing) => Json | Promise<Json>;
  /** The error of a request; `{ result }` or `{ error }` is sent instead. */
  readonly error?: (error: Json, passing: Passing) => Json | Promise<Json>;
  /** A notification on a response; what it returns is sent instead: one, several or none. */
  readonly notification?: (
    notification: Json,
    passing: Passing,
  ) => Json | Json[] | null | Promise<Json | Json[] | null>;
  /** Notifications that are sent before the answer to a request, though nobody asked for them. */
  readonly alongside?: (passing: Passing) => Json[];
  /** A delivery or challenge to a callback, before it is sent. Returning an answer keeps it from being sent. */
  readonly callback?: (calling: Calling) => CallbackAnswer | void | Promise<CallbackAnswer | void>;
  /** What the endpoint answered, before the server sees it. */
  readonly answered?: (
    answer: CallbackAnswer,
    calling: Calling,
  ) => CallbackAnswer | void | Promise<CallbackAnswer | void>;
}

/** One broken server. */
export interface BrokenServer {
  /** The requirement it breaks, without prefix. */
  readonly check: string;
  /** What it does wrong, in a few words. */
  readonly wrong: string;
  readonly spoil: Spoil;
}

/** Headers that belong to one connection. */
const HOP = new Set(['host', 'connection', 'content-length', 'transfer-encoding', 'keep-alive']);

export class SpoilingProxy {
  readonly #target: string;
  readonly #spoil: Spoil;
  readonly #server: Server;
  readonly #memory: Record<string, Json> = {};
  /** Callbacks by the name they have here. */
  readonly #callbacks = new Map<
    string,
    { readonly url: string; readonly secret: string; readonly previous: string | undefined }
  >();
  readonly #identity = new Identity();
  #id = 0;

  private constructor(target: string, spoil: Spoil) {
    this.#target = target;
    this.#spoil = spoil;
    this.#server = createServer((request, response) => {
      this.#handle(request, response).catch(() => response.destroy());
    });
  }

  static async start(target: string, spoil: Spoil): Promise<SpoilingProxy> {
    const proxy = new SpoilingProxy(target, spoil);
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
    const passing: Passing = {
      method: message?.method,
      params: message?.params ?? {},
      headers,
      memory: this.#memory,
      ask: (method, params) => this.#ask(method, params, message, headers),
    };
    this.#interpose(passing);
    const own = message?.method === undefined ? undefined : await this.#spoil.request?.(passing);
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
              message === undefined ? raw : JSON.stringify({ ...message, params: passing.params }),
          }),
    });
    const type = answer.headers.get('content-type') ?? '';
    const extra = this.#spoil.alongside?.(passing) ?? [];
    if (extra.length > 0 && type.startsWith('application/json'))
      return this.#passWith(extra, await answer.json(), response);
    response.writeHead(
      answer.status,
      Object.fromEntries(
        [...answer.headers].filter(([header]) => !HOP.has(header) && header !== 'content-encoding'),
      ),
    );
    if (type.startsWith('text/event-stream')) return this.#passStream(answer, passing, response);
    const text = await answer.text();
    const [changed] = await this.#change(jsonOf(Buffer.from(text)), passing);
    response.end(changed === undefined ? text : JSON.stringify(changed));
  }

  #passWith(extra: readonly Json[], answer: Json, response: ServerResponse): void {
    response.writeHead(200, { 'content-type': 'text/event-stream' });
    for (const message of [...extra, answer])
      response.write(`data: ${JSON.stringify(message)}\n\n`);
    response.end();
  }

  async #passStream(answer: Response, passing: Passing, response: ServerResponse): Promise<void> {
    response.flushHeaders();
    const events: { readonly data: string }[] = [];
    const parser = createParser({ onEvent: (event) => void events.push(event) });
    const decoder = new TextDecoder();
    for await (const chunk of answer.body as unknown as AsyncIterable<Uint8Array>) {
      parser.feed(decoder.decode(chunk, { stream: true }));
      for (const { data } of events.splice(0)) {
        for (const message of await this.#change(jsonOf(Buffer.from(data)), passing))
          response.write(`data: ${JSON.stringify(message)}\n\n`);
      }
    }
    response.end();
  }

  async #change(message: Json, passing: Passing): Promise<Json[]> {
    if (message === undefined || typeof message !== 'object') return [];
    const { result, error, notification } = this.#spoil;
    if (message.method !== undefined) {
      const changed = notification === undefined ? message : await notification(message, passing);
      return changed === null ? [] : Array.isArray(changed) ? changed : [changed];
    }
    const { jsonrpc, id } = message;
    if (this.#interposes)
      for (const place of ['extensions', 'experimental'])
        this.#publish(message.result?.capabilities?.[place]?.['io.modelcontextprotocol/triggers']);
    if (message.error !== undefined)
      return [
        error === undefined ? message : { ...(await error(message.error, passing)), jsonrpc, id },
      ];
    return [
      result === undefined
        ? message
        : { jsonrpc, id, result: await result(message.result, passing) },
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

  get #interposes(): boolean {
    return this.#spoil.callback !== undefined || this.#spoil.answered !== undefined;
  }

  /** Puts its own keys in the place of the server's. */
  #publish(settings: Json): void {
    if (settings?.jwksUri !== undefined) settings.jwksUri = `${this.#origin}/relay/keys`;
  }

  /** Puts itself between server and callback, so that what is called passes here. */
  #interpose({ method, params }: Passing): void {
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
    // As many as the server made: after a rotation there are two.
    const secrets =
      headers['webhook-signature']?.includes(' ') && previous !== undefined
        ? [secret, previous]
        : [secret];
    const calling: Calling = {
      body: jsonOf(raw),
      headers,
      verb: 'POST',
      resign: true,
      memory: this.#memory,
      callback: { url, secret },
      identity: this.#identity.headerFor(url, headers['mcp-delivery-signature']),
      send: async (changes = {}) => {
        const body =
          changes.body === undefined && calling.raw !== undefined
            ? calling.raw
            : Buffer.from(JSON.stringify(changes.body ?? calling.body));
        const sent = { ...calling.headers, ...changes.headers };
        if (calling.resign)
          sent['webhook-signature'] = secrets.map((one) => sign(one, sent, body)).join(' ');
        if (calling.identity === null) delete sent['mcp-delivery-signature'];
        else if (calling.identity !== undefined)
          sent['mcp-delivery-signature'] = this.#identity.sign(calling.identity, body);
        const answer = await fetch(url, {
          method: calling.verb,
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
    const kept = await this.#spoil.callback?.(calling);
    const answer = kept ?? (await calling.send());
    const shown = (await this.#spoil.answered?.(answer, calling)) ?? answer;
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
