/**
 * A connection to an MCP server through the SDK, for both protocol eras, over HTTP and on a pipe. The only file of the client
 * that imports the SDK: what the SDK does differently per era or transport is levelled out here.
 */
import { Client, StreamableHTTPClientTransport, type AuthProvider, type OAuthClientProvider, type Transport } from '@modelcontextprotocol/client';
import { StdioClientTransport } from '@modelcontextprotocol/client/stdio';
import type { ServerCapability } from '../../spec-schema/draft/schema.ts';
import { systemClock, TIMER_MAX_MS, type Clock } from '../local/clock.ts';
import { capabilityOf } from '../wire/capability.ts';
import { LocalError } from '../wire/errors.ts';
import { EXTENSION_ID } from '../wire/schema.ts';
import { Exchanges, type Exchange, type Wire } from './exchanges.ts';
import { peerError, unreachable } from './peer-error.ts';

/** An MCP endpoint over Streamable HTTP. */
export interface HttpTarget {
  readonly url: string | URL;
  /** Bearer token, or where to get the current one. */
  readonly token?: string | (() => string | Promise<string>);
  /** Instead of `token`: an OAuth provider of the SDK. */
  readonly authProvider?: AuthProvider | OAuthClientProvider;
  /** Further headers and options of every request. */
  readonly requestInit?: RequestInit;
  /** Default: the global one. */
  readonly fetch?: typeof fetch;
}

/** An MCP server that is started as a child process. */
export interface StdioTarget {
  readonly command: string;
  readonly args?: readonly string[];
  /** Absent = what the SDK considers safe to inherit. */
  readonly env?: Readonly<Record<string, string>>;
  readonly cwd?: string;
  /** Where its standard error goes. Default `inherit`. */
  readonly stderr?: 'inherit' | 'ignore';
}

/** Where to connect to; a connected SDK client is used as it is and stays its owner's to close. */
export type Target = HttpTarget | StdioTarget | Client;

/** How to connect. */
export interface ConnectOptions {
  /** Default `auto`: 2026-07-28 if the server has it, else the handshake of 2025-11-25. */
  readonly protocol?: 'auto' | '2026-07-28' | '2025-11-25';
  /** How the client introduces itself. */
  readonly clientInfo?: { readonly name: string; readonly version: string };
  /**
   * Name of the server in ledgers and callback tokens: its resource URI. Default: the URL; on a pipe `stdio:` and the command
   * line. Say it when you hand over an SDK client and use a ledger or callbacks: by itself such a client knows only the name its
   * server gives itself.
   */
  readonly server?: string;
  readonly clock?: Clock;
}

/** How long a call may last. */
export interface CallOptions {
  /** Gives the call up; it then rejects with the signal's reason. */
  readonly signal?: AbortSignal | undefined;
  /** Milliseconds. Default 60,000. */
  readonly timeoutMs?: number;
}

/** Where a stream's deliveries go. */
export interface StreamOptions {
  /** Ends the stream. */
  readonly signal?: AbortSignal | undefined;
  /** Called for every delivery of this stream, in order. */
  readonly onDelivery: (params: unknown) => void;
  /** A stream without a message for this many milliseconds is dead. Default 30,000: two missed heartbeats. */
  readonly silenceMs?: number;
}

const SILENCE_MS = 30_000;
const CALL_TIMEOUT_MS = 60_000;
/** Results are validated by the caller against the extension's own schema. */
const anyResult = { '~standard': { version: 1, vendor: 'mcp-triggers', validate: (value: unknown) => ({ value }) } } as const;

/**
 * Connects. Throws `LocalError` `unreachable`, `unauthorized` or `not_supported`. A connection that breaks is opened again by
 * the next call, unless it is somebody else's SDK client.
 */
export async function connect(target: Target, options: ConnectOptions = {}): Promise<Connection> {
  const connection = new Connection(target, options);
  await connection.opened();
  return connection;
}

interface Live {
  readonly client: Client;
  readonly exchanges: Exchanges;
}

/** Wrapped once per transport, however many connections share an SDK client. */
const wrapped = new WeakMap<Transport, { readonly exchanges: Exchanges; readonly listeners: Set<() => void> }>();

/**
 * One server, whatever protocol era and transport it is reached by. Made by {@link connect}. For methods that the SDK client does
 * not know; {@link triggersClient} has the nine of this extension.
 */
export class Connection {
  /** The server's name in ledgers and callback tokens. */
  readonly server: string;
  readonly #target: Target;
  readonly #options: ConnectOptions;
  readonly #clock: Clock;
  readonly #listChanged = new Set<() => void>();
  #live: Promise<Live> | undefined;
  #capability: ServerCapability | null = null;
  #protocolVersion: string | undefined;
  #closed = false;

  /** @internal Made by `connect`. */
  constructor(target: Target, options: ConnectOptions) {
    this.#target = target;
    this.#options = options;
    this.#clock = options.clock ?? systemClock;
    this.server = options.server ?? nameOf(target);
  }

  /** What the server offers; null when it does not have the extension. */
  get capability(): ServerCapability | null { return this.#capability; }
  /** The MCP revision that was agreed on. */
  get protocolVersion(): string | undefined { return this.#protocolVersion; }

  /** Runs `listener` at every `notifications/triggers/list_changed`; returns the end of that. */
  onListChanged(listener: () => void): () => void {
    this.#listChanged.add(listener);
    return () => this.#listChanged.delete(listener);
  }

  /** One request. Rejects with `WireError`, `RemoteError`, `LocalError`, or the signal's reason. */
  async call(method: string, params: object, options: CallOptions = {}): Promise<unknown> {
    return this.#request(method, params, options.timeoutMs ?? CALL_TIMEOUT_MS, options.signal, (end) => ({
      method,
      onStreamEnd: () => end(unreachable('it closed the response without an answer')),
    }));
  }

  /** A request that stays open. Resolves with its result when the server ends it; without SDK timeout, but with a watchdog. */
  async stream(method: string, params: object, { signal, onDelivery, silenceMs = SILENCE_MS }: StreamOptions): Promise<unknown> {
    let cancel = (): void => undefined;
    try {
      return await this.#request(method, params, TIMER_MAX_MS, signal, (end) => {
        const watch = (): void => {
          cancel();
          cancel = this.#clock.after(silenceMs, () => end(new LocalError('timeout', `The stream has been silent for ${silenceMs} ms.`, { reason: 'silence' })));
        };
        watch();
        return {
          method,
          onDelivery: (delivery) => { watch(); onDelivery(delivery); },
          onStreamEnd: () => end(unreachable('the stream broke off')),
        };
      });
    } finally {
      cancel();
    }
  }

  async #request(
    method: string, params: object, timeout: number, signal: AbortSignal | undefined, makeExchange: (end: (reason: Error) => void) => Exchange,
  ): Promise<unknown> {
    signal?.throwIfAborted();
    const { client, exchanges } = await this.opened();
    signal?.throwIfAborted();
    const stop = new AbortController();
    let ended: Error | undefined;
    const exchange = makeExchange((reason) => { ended ??= reason; stop.abort(reason); });
    const abort = (): void => stop.abort(signal?.reason);
    signal?.addEventListener('abort', abort, { once: true });
    exchanges.expect(exchange);
    try {
      return await client.request({ method, params: { ...params } }, anyResult, { signal: stop.signal, timeout });
    } catch (error) {
      // The SDK reports an abort as a timeout, so the reason is kept here.
      signal?.throwIfAborted();
      throw ended ?? await this.#translate(error, client);
    } finally {
      signal?.removeEventListener('abort', abort);
      exchanges.forget(exchange);
    }
  }

  async #translate(error: unknown, client: Client): Promise<unknown> {
    const translated = peerError(error);
    const sessionGone = translated instanceof LocalError
      && (translated.reason === 'session_ended' || (translated.reason === 'http_404' && this.#protocolVersion !== '2026-07-28'));
    if (!sessionGone || isClient(this.#target)) return translated;
    // A session that the server has ended does not come back: closed, it makes the next call open another.
    await client.close().catch(() => undefined);
    return unreachable('it has ended the session', error);
  }

  /** @internal The open SDK client, opened again when the last one has gone. */
  async opened(): Promise<Live> {
    if (this.#closed) throw new LocalError('closed', 'This connection has been closed.');
    const live = await (this.#live ??= this.#open());
    if (live.client.transport !== undefined) return live;
    if (isClient(this.#target)) throw new LocalError('closed', 'The SDK client that this connection was given has been closed.');
    this.#live = undefined;
    return this.opened();
  }

  async #open(): Promise<Live> {
    try {
      const client = isClient(this.#target) ? this.#target : await dial(this.#target, this.#options);
      const { transport } = client;
      if (!transport) throw new LocalError('config_invalid', 'Connect the SDK client before handing it over.');
      this.#protocolVersion = client.getNegotiatedProtocolVersion();
      this.#capability = capabilityOf(client.getServerCapabilities(), this.#protocolVersion);
      const wire = wrapped.get(transport) ?? wrap(transport);
      wire.listeners.add(() => { for (const listener of this.#listChanged) listener(); });
      return { client, exchanges: wire.exchanges };
    } catch (error) {
      this.#live = undefined;
      throw peerError(error);
    }
  }

  /** Ends the session and the connection, or the child process. An SDK client that was handed over stays open. */
  async close(): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    const live = await this.#live?.catch(() => undefined);
    if (!live || isClient(this.#target)) return;
    const { transport } = live.client;
    // Closing alone leaves the session behind on the server; that it may refuse to end it is its own affair.
    if (transport instanceof StreamableHTTPClientTransport) await transport.terminateSession().catch(() => undefined);
    await live.client.close();
  }
}

function wrap(transport: Transport) {
  const listeners = new Set<() => void>();
  const wire = { listeners, exchanges: new Exchanges(transport as unknown as Wire, () => { for (const listener of listeners) listener(); }) };
  wrapped.set(transport, wire);
  return wire;
}

const isClient = (target: Target): target is Client => 'getServerCapabilities' in target;

function nameOf(target: Target): string {
  if (isClient(target)) return `client:${target.getServerVersion()?.name ?? 'unnamed'}`;
  if ('url' in target) return new URL(target.url).href;
  return `stdio:${[target.command, ...(target.args ?? [])].join(' ')}`;
}

/** A subclass, because for the class itself the SDK starts a second process just to probe for the era. */
class InPlaceStdioTransport extends StdioClientTransport {}

async function dial(target: HttpTarget | StdioTarget, options: ConnectOptions): Promise<Client> {
  const { protocol = 'auto' } = options;
  try {
    return await attempt(target, options, MODES[protocol]);
  } catch (error) {
    // A server older than discovery may exit at the probe: its successor is greeted in the old way.
    const diedOfProbe = 'command' in target && protocol === 'auto' && (error as { code?: unknown }).code === 'ERA_NEGOTIATION_FAILED';
    if (!diedOfProbe) throw error;
    return attempt(target, options, MODES['2025-11-25']);
  }
}

const MODES = { auto: 'auto', '2026-07-28': { pin: '2026-07-28' }, '2025-11-25': 'legacy' } as const;

async function attempt(target: HttpTarget | StdioTarget, { clientInfo }: ConnectOptions, mode: (typeof MODES)[keyof typeof MODES]): Promise<Client> {
  const client = new Client(clientInfo ?? { name: 'mcp-triggers-experimental', version: '0' }, {
    capabilities: { extensions: { [EXTENSION_ID]: {} } },
    versionNegotiation: { mode },
  });
  await client.connect('url' in target ? httpTransport(target) : stdioTransport(target));
  return client;
}

function httpTransport({ url, token, authProvider, requestInit, fetch }: HttpTarget): Transport {
  const bearer = token === undefined ? undefined : { token: async () => (typeof token === 'function' ? token() : token) };
  const auth = authProvider ?? bearer;
  return new StreamableHTTPClientTransport(new URL(url), {
    ...(auth ? { authProvider: auth } : {}),
    ...(requestInit ? { requestInit } : {}),
    ...(fetch ? { fetch } : {}),
  });
}

function stdioTransport({ command, args = [], env, cwd, stderr = 'inherit' }: StdioTarget): Transport {
  return new InPlaceStdioTransport({ command, args: [...args], stderr, ...(env ? { env: { ...env } } : {}), ...(cwd === undefined ? {} : { cwd }) });
}
