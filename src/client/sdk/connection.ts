/**
 * A connection to an MCP server through the SDK, for both protocol eras, over HTTP and with a child
 * process. Hides what the SDK does differently per era and transport; `dial.ts` connects.
 */
import { StreamableHTTPClientTransport, type Client } from '@modelcontextprotocol/client';
import type { ServerCapability } from '../../../spec-schema/draft/schema.ts';
import { orAbort } from '../../protocol/lib/abort.ts';
import { systemClock, TIMER_MAX_MS, type Clock } from '../../protocol/lib/clock.ts';
import { capabilityOf, FIRST_EXTENSIONS_REVISION } from '../../protocol/wire/capability.ts';
import { LIST_CHANGED_METHOD } from '../../protocol/wire/envelope.ts';
import { LocalError } from '../../protocol/wire/errors.ts';
import { dial } from './dial.ts';
import type { PendingRequest, PendingRequests } from './pending-requests.ts';
import type { RawCapabilities } from './handshake-observer.ts';
import { peerError, unreachable } from './peer-error.ts';
import type { ServerStream, ServerStreamState } from './server-stream.ts';
import type { ConnectOptions, Target } from './targets.ts';
import {
  stateOf,
  wrapTransport,
  type InterruptionListener,
  type NotificationListener,
} from './transport-state.ts';

export type { ConnectOptions, HttpTarget, StdioTarget, Target } from './targets.ts';
export type { InterruptionListener, NotificationListener } from './transport-state.ts';

/** Signal and timeout of a call. */
export interface CallOptions {
  /** Aborts the call, which then rejects with the signal's reason. */
  readonly signal?: AbortSignal | undefined;
  /** Milliseconds. Default: the timeout of the connection, 60,000. */
  readonly timeoutMs?: number;
}

/** Options of a stream. */
export interface StreamOptions {
  /** Ends the stream. */
  readonly signal?: AbortSignal | undefined;
  /**
   * Methods of the notifications to pass on. Others are ignored and do not show that the stream is
   * alive.
   */
  readonly notifications: readonly string[];
  /** Called for every such notification of this request, in order. */
  readonly onNotification: (method: string, params: unknown) => void;
  /**
   * A stream without a message for this many milliseconds counts as broken. Default 30,000: two
   * missed heartbeats.
   */
  readonly silenceMs?: number;
}

const SILENCE_MS = 30_000;
const CALL_TIMEOUT_MS = 60_000;
/** Longest wait for the end of a session. */
const CLOSE_TIMEOUT_MS = 5000;
/**
 * Longest wait for the stream of the session. The SDK opens it after the handshake. If it breaks,
 * the SDK tries twice within 3 s to open it again.
 */
const PUSH_TIMEOUT_MS = 5000;
/** Accepts every result: the caller validates it against the schema of the extension. */
const anyResult = {
  '~standard': { version: 1, vendor: 'mcp-triggers', validate: (value: unknown) => ({ value }) },
} as const;

/**
 * Connects to a server. Throws `LocalError` `unreachable`, `timeout`, `unauthorized`,
 * `not_supported` or `peer_misbehaved`; `config_invalid` for an SDK client that is not connected.
 * The next call reopens a broken connection, unless the target is an SDK client.
 */
export async function connect(target: Target, options: ConnectOptions = {}): Promise<Connection> {
  const connection = new Connection(target, options);
  await connection.opened();
  return connection;
}

interface Live {
  readonly client: Client;
  readonly pendingRequests: PendingRequests;
  /** Removes the listeners of this connection from a transport that other connections may share. */
  readonly leave: () => void;
}

/** The state that all followers on one connection share. */
interface Shared {
  /** By list: the pending or last result, and the time of the request. */
  readonly lists: Map<string, { readonly at: number; readonly value: Promise<unknown> }>;
  /** By method: the last session in which it was a bad request, until the method works again. */
  readonly doubtedSessions: Map<string, object>;
  /** By URI: the number of its followers. A session subscribes to a resource once. */
  readonly resourceFollowers: Map<string, number>;
  eventsListener?: { followers: number; readonly stop: () => void } | undefined;
}

/**
 * A connection to one server, whatever its protocol era and transport. Made by {@link connect}.
 * Calls any method; {@link triggersClient} has the nine of this extension.
 */
export class Connection {
  /** The server's name in ledgers and callback tokens. */
  readonly server: string;
  /** @internal */
  readonly shared: Shared = {
    lists: new Map(),
    doubtedSessions: new Map(),
    resourceFollowers: new Map(),
  };
  readonly #target: Target;
  readonly #options: ConnectOptions;
  readonly #clock: Clock;
  readonly #listeners = new Set<NotificationListener>();
  readonly #interrupted = new Set<InterruptionListener>();
  #live: Promise<Live> | undefined;
  #refreshing: Promise<void> | undefined;
  #capability: ServerCapability | null = null;
  #serverCapabilities: RawCapabilities = {};
  #serverInfo: { readonly name: string; readonly version: string } | undefined;
  #protocolVersion: string | undefined;
  #serverStream: ServerStream | undefined;
  #closed = false;

  /** @internal Made by `connect`. */
  constructor(target: Target, options: ConnectOptions) {
    this.#target = target;
    this.#options = options;
    this.#clock = options.clock ?? systemClock;
    this.server = options.server ?? nameOf(target);
  }

  /** The capability that the server declares; null = it does not have the extension. */
  get capability(): ServerCapability | null {
    return this.#capability;
  }
  /** The timeout of a call without its own. */
  get timeoutMs(): number {
    return this.#options.timeoutMs ?? CALL_TIMEOUT_MS;
  }
  get #closeTimeoutMs(): number {
    return Math.min(CLOSE_TIMEOUT_MS, this.timeoutMs);
  }
  /** The negotiated MCP revision. */
  get protocolVersion(): string | undefined {
    return this.#protocolVersion;
  }
  /** Whether requests are independent (2026-07-28 and later) instead of part of a session. */
  get isModern(): boolean {
    return (
      this.#protocolVersion !== undefined && this.#protocolVersion >= FIRST_EXTENSIONS_REVISION
    );
  }
  /** Everything that the server declares, unchecked. {@link capability} is read from it. */
  get serverCapabilities(): RawCapabilities {
    return this.#serverCapabilities;
  }
  /** Name and version of the server; undefined when it sends none. */
  get serverInfo(): { readonly name: string; readonly version: string } | undefined {
    return this.#serverInfo;
  }

  /**
   * Calls `listener` at every `notifications/triggers/list_changed`. Returns the function that
   * removes it.
   */
  onListChanged(listener: () => void): () => void {
    return this.onNotification((method) => {
      if (method === LIST_CHANGED_METHOD) listener();
    });
  }

  /**
   * Calls `listener` at every notification, also after a reconnect. Returns the function that
   * removes it.
   */
  onNotification(listener: NotificationListener): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  /**
   * Calls `listener` when messages that the server sends outside of requests may have been lost:
   * the transport was closed, another session has replaced the session, or, before 2026-07-28, the
   * stream for these messages broke. An SDK client as target does not show that its stream broke.
   * Returns the function that removes the listener.
   */
  onInterrupted(listener: InterruptionListener): () => void {
    this.#interrupted.add(listener);
    return () => this.#interrupted.delete(listener);
  }

  /**
   * Resolves when messages that the server sends outside of requests can arrive. Rejects as
   * {@link call} does, and with `not_supported`, reason `no_stream`, when the server has no stream
   * for them.
   */
  async pushReady({ signal, timeoutMs = PUSH_TIMEOUT_MS }: CallOptions = {}): Promise<void> {
    await orAbort(this.opened(), signal);
    const stream = this.#serverStream;
    if (!stream || this.isModern) return;
    signal?.throwIfAborted();
    const { phase } = await stream.settled(this.#clock, timeoutMs, signal);
    if (phase === 'open') return;
    if (phase === 'absent')
      throw new LocalError(
        'not_supported',
        'The server has no stream for notifications. Read at intervals instead.',
        {
          reason: 'no_stream',
        },
      );
    await this.renew();
    throw unreachable('the stream of the session was not opened again');
  }

  /**
   * The state of the stream for messages outside of requests; undefined where no such stream is
   * needed, or where it is not visible.
   */
  get pushState(): ServerStreamState | undefined {
    return this.isModern ? undefined : this.#serverStream?.state;
  }

  /**
   * @internal Leaves a session that the server does not know any more. The next call opens another.
   */
  async renew(): Promise<void> {
    const live = await this.#live?.catch(() => undefined);
    if (live && !isClient(this.#target)) await live.client.close().catch(() => undefined);
  }

  #interrupt(error: LocalError): void {
    for (const listener of [...this.#interrupted]) listener(error);
  }

  /**
   * Makes one request. Rejects with `WireError`, `RemoteError`, `LocalError`, or the signal's
   * reason.
   */
  async call(method: string, params: object, options: CallOptions = {}): Promise<unknown> {
    return this.#request(
      method,
      params,
      options.timeoutMs ?? this.timeoutMs,
      options.signal,
      (end) => ({
        method,
        onStreamEnd: () => end(unreachable('it closed the response without a result')),
      }),
    );
  }

  /**
   * Makes a request that stays open. Resolves with its result when the server ends it; times out
   * only when it is silent.
   */
  async stream(
    method: string,
    params: object,
    { signal, notifications, onNotification, silenceMs = SILENCE_MS }: StreamOptions,
  ): Promise<unknown> {
    let cancel = (): void => undefined;
    try {
      return await this.#request(method, params, TIMER_MAX_MS, signal, (end) => {
        const watch = (): void => {
          cancel();
          cancel = this.#clock.after(silenceMs, () =>
            end(
              new LocalError(
                'timeout',
                `The stream has been silent for ${silenceMs} ms. Open another one.`,
                {
                  reason: 'silence',
                },
              ),
            ),
          );
        };
        watch();
        return {
          method,
          onNotification: (notification, content) => {
            if (!notifications.includes(notification)) return;
            watch();
            onNotification(notification, content);
          },
          onStreamEnd: () => end(unreachable('the stream broke')),
        };
      });
    } finally {
      cancel();
    }
  }

  async #request(
    method: string,
    params: object,
    timeout: number,
    signal: AbortSignal | undefined,
    makePending: (end: (reason: Error) => void) => PendingRequest,
  ): Promise<unknown> {
    signal?.throwIfAborted();
    const { client, pendingRequests } = await this.opened();
    signal?.throwIfAborted();
    const stop = new AbortController();
    let ended: Error | undefined;
    const end = (reason: Error): void => {
      ended ??= reason;
      stop.abort(reason);
    };
    const pending: PendingRequest = { ...makePending(end), onBroken: end };
    const abort = (): void => stop.abort(signal?.reason);
    signal?.addEventListener('abort', abort, { once: true });
    pendingRequests.expect(pending);
    try {
      return await client.request({ method, params: { ...params } }, anyResult, {
        signal: stop.signal,
        timeout,
      });
    } catch (error) {
      // The SDK reports an abort as a timeout, so the reason of the abort is thrown instead.
      signal?.throwIfAborted();
      throw ended ?? (await this.#translate(error, client));
    } finally {
      signal?.removeEventListener('abort', abort);
      pendingRequests.forget(pending);
    }
  }

  async #translate(error: unknown, client: Client): Promise<unknown> {
    const translated = peerError(error, tokenOf(client));
    const sessionGone =
      translated instanceof LocalError &&
      (translated.reason === 'session_ended' ||
        (translated.reason === 'http_404' && this.#protocolVersion !== '2026-07-28'));
    if (!sessionGone || isClient(this.#target)) return translated;
    // Closed, so that the next call opens another session.
    await client.close().catch(() => undefined);
    return unreachable('it has ended the session', error);
  }

  /** @internal The open SDK client; connects again when the last one has closed. */
  async opened(): Promise<Live> {
    if (this.#closed)
      throw new LocalError('closed', 'This client has closed the connection. Connect again.');
    const live = await (this.#live ??= this.#openFirst());
    if (live.client.transport !== undefined) return live;
    live.leave();
    if (isClient(this.#target))
      throw new LocalError(
        'closed',
        'The SDK client of this connection has been closed. Connect it again and make a new connection.',
      );
    this.#live = undefined;
    return this.opened();
  }

  async #openFirst(): Promise<Live> {
    try {
      const live = await this.#open();
      this.#noteServer(live.client);
      return live;
    } catch (error) {
      this.#live = undefined;
      throw error;
    }
  }

  /**
   * Reads the capabilities of the server again, which may have changed with a restart. A session
   * declares them once, at its start. So over HTTP another session is opened, and replaces the
   * first if it declares something else. A child process is asked only if its protocol revision has
   * a method for that. Rejects as {@link call} does.
   */
  refresh({ signal, timeoutMs = this.timeoutMs }: CallOptions = {}): Promise<void> {
    this.#refreshing ??= this.#refresh(timeoutMs).finally(() => {
      this.#refreshing = undefined;
    });
    return orAbort(this.#refreshing, signal);
  }

  async #refresh(timeout: number): Promise<void> {
    const live = await this.opened();
    if (!this.isModern) return this.#repeatHandshake(live);
    try {
      await live.client.discover({ timeout });
      this.#noteServer(live.client);
    } catch (error) {
      const problem = peerError(error, tokenOf(live.client));
      const isUnknown =
        problem instanceof LocalError &&
        (problem.code === 'unreachable' ||
          problem.code === 'timeout' ||
          problem.code === 'unauthorized');
      if (isUnknown || isClient(this.#target)) throw problem;
      // The server answers but rejects the method: a new handshake negotiates the revision again.
      await live.client.close().catch(() => undefined);
      await this.opened();
    }
  }

  async #repeatHandshake(live: Live): Promise<void> {
    if (isClient(this.#target) || 'command' in this.#target) return;
    const other = await this.#open();
    if (this.#closed || isSameHandshake(other.client, live.client))
      return end(other, this.#closeTimeoutMs);
    this.#live = Promise.resolve(other);
    this.#noteServer(other.client);
    this.#interrupt(unreachable('its session was replaced'));
    await end(live, this.#closeTimeoutMs);
  }

  async #open(): Promise<Live> {
    try {
      const client = isClient(this.#target)
        ? this.#target
        : await dial(this.#target, this.#options);
      const { transport } = client;
      if (!transport)
        throw new LocalError(
          'config_invalid',
          'The SDK client is not connected. Connect it first.',
        );
      const wrapped = stateOf(transport)?.wrapped ?? wrapTransport(transport);
      const notify: NotificationListener = (method, params) => {
        for (const listener of this.#listeners) listener(method, params);
      };
      const interrupt: InterruptionListener = (error) => this.#interrupt(error);
      wrapped.listeners.add(notify);
      wrapped.interrupted.add(interrupt);
      const leave = (): void => {
        wrapped.listeners.delete(notify);
        wrapped.interrupted.delete(interrupt);
      };
      return { client, pendingRequests: wrapped.pendingRequests, leave };
    } catch (error) {
      throw peerError(error);
    }
  }

  /** Stores what the server declares. Throws `LocalError` `peer_misbehaved`. */
  #noteServer(client: Client): void {
    const info = client.getServerVersion();
    const capabilities = capabilitiesOf(client);
    this.#protocolVersion = client.getNegotiatedProtocolVersion();
    this.#serverStream = stateOf(client.transport)?.serverStream;
    this.#serverInfo = info && { name: info.name, version: info.version };
    this.#serverCapabilities = capabilities;
    this.#capability = capabilityOf(capabilities, this.#protocolVersion);
  }

  /** Ends the session and the connection, or the child process. An SDK client stays open. */
  async close(): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    const live = await this.#live?.catch(() => undefined);
    if (!live) return;
    live.leave();
    this.#interrupt(
      new LocalError('closed', 'This client has closed the connection. Connect again.'),
    );
    if (!isClient(this.#target)) await end(live, this.#closeTimeoutMs);
  }
}

/**
 * Ends the session and closes the client. Closing alone would leave the session on the server,
 * which may refuse to end it.
 */
async function end({ client, leave }: Live, withinMs: number): Promise<void> {
  leave();
  const { transport } = client;
  if (transport instanceof StreamableHTTPClientTransport) {
    const cancel = systemClock.after(withinMs, () => void client.close().catch(() => undefined));
    await transport.terminateSession().catch(() => undefined);
    cancel();
  }
  await client.close();
}

function capabilitiesOf(client: Client): RawCapabilities {
  const observed = stateOf(client.transport)?.handshake.capabilities;
  return observed ?? client.getServerCapabilities() ?? {};
}

const isSameHandshake = (a: Client, b: Client): boolean =>
  a.getNegotiatedProtocolVersion() === b.getNegotiatedProtocolVersion() &&
  JSON.stringify(capabilitiesOf(a)) === JSON.stringify(capabilitiesOf(b));

const tokenOf = ({ transport }: Client): string | undefined => stateOf(transport)?.guard?.token;

const isClient = (target: Target): target is Client => 'getServerCapabilities' in target;

function nameOf(target: Target): string {
  if (isClient(target)) return `client:${target.getServerVersion()?.name ?? 'unnamed'}`;
  if ('url' in target) return new URL(target.url).href;
  return `stdio:${[target.command, ...(target.args ?? [])].join(' ')}`;
}
