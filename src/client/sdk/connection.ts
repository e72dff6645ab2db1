/**
 * A connection to an MCP server through the SDK, for both protocol eras, over HTTP and on a pipe. What the SDK
 * does differently per era or transport is levelled out here; how a server is reached stands in `dial.ts`.
 */
import {
  StreamableHTTPClientTransport,
  type Client,
  type Transport,
} from '@modelcontextprotocol/client';
import type { ServerCapability } from '../../../spec-schema/draft/schema.ts';
import { orAbort } from '../../protocol/lib/abort.ts';
import { systemClock, TIMER_MAX_MS, type Clock } from '../../protocol/lib/clock.ts';
import { capabilityOf, FIRST_EXTENSIONS_REVISION } from '../../protocol/wire/capability.ts';
import { LIST_CHANGED_METHOD } from '../../protocol/wire/envelope.ts';
import { LocalError } from '../../protocol/wire/errors.ts';
import { dial } from './dial.ts';
import { PendingRequests, type PendingRequest } from './exchanges.ts';
import type { RawCapabilities } from './handshake-observer.ts';
import { peerError, unreachable } from './peer-error.ts';
import type { ServerStream, ServerStreamState } from './server-stream.ts';
import type { ConnectOptions, Target } from './targets.ts';
import {
  listenTo,
  stateOf,
  type InterruptionListener,
  type NotificationListener,
  type WrappedTransport,
} from './transport-state.ts';

export type { ConnectOptions, HttpTarget, StdioTarget, Target } from './targets.ts';
export type { InterruptionListener, NotificationListener } from './transport-state.ts';

/** How long a call may last. */
export interface CallOptions {
  /** Gives the call up; it then rejects with the signal's reason. */
  readonly signal?: AbortSignal | undefined;
  /** Milliseconds. Default: the connection's own, 60,000. */
  readonly timeoutMs?: number;
}

/** Where a stream's notifications go. */
export interface StreamOptions {
  /** Ends the stream. */
  readonly signal?: AbortSignal | undefined;
  /** The methods that count: others are not handed on, and do not show that the stream is alive. */
  readonly notifications: readonly string[];
  /** Called for every such notification that is tied to this request, in order. */
  readonly onNotification: (method: string, params: unknown) => void;
  /** A stream without a message for this many milliseconds is dead. Default 30,000: two missed heartbeats. */
  readonly silenceMs?: number;
}

const SILENCE_MS = 30_000;
const CALL_TIMEOUT_MS = 60_000;
/** A server that does not answer the end of its session keeps nobody here for longer. */
const CLOSE_TIMEOUT_MS = 5000;
/** The SDK asks for the stream right after the handshake, and twice within three seconds when it has broken off. */
const PUSH_TIMEOUT_MS = 5000;
/** Results are validated by the caller against the extension's own schema. */
const anyResult = {
  '~standard': { version: 1, vendor: 'mcp-triggers', validate: (value: unknown) => ({ value }) },
} as const;

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
  readonly exchanges: PendingRequests;
  /** Undoes what this connection has added to a transport that others may use too. */
  readonly leave: () => void;
}

/** What those who follow something on one connection share. */
interface Shared {
  /** By list: an answer, and when it was asked for. */
  readonly lists: Map<string, { readonly at: number; readonly value: Promise<unknown> }>;
  /** By method: the last session in which it was a bad request, as long as it has not worked in another one. */
  readonly doubts: Map<string, object>;
  /** By URI: how many follow it. A session subscribes to a resource once. */
  readonly followers: Map<string, number>;
}

/**
 * One server, whatever protocol era and transport it is reached by. Made by {@link connect}. For methods that the SDK client does
 * not know; {@link triggersClient} has the nine of this extension.
 */
export class Connection {
  /** The server's name in ledgers and callback tokens. */
  readonly server: string;
  /** @internal */
  readonly shared: Shared = { lists: new Map(), doubts: new Map(), followers: new Map() };
  readonly #target: Target;
  readonly #options: ConnectOptions;
  readonly #clock: Clock;
  readonly #listeners = new Set<NotificationListener>();
  readonly #interrupted = new Set<InterruptionListener>();
  #live: Promise<Live> | undefined;
  #looking: Promise<void> | undefined;
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

  /** What the server offers; null when it does not have the extension. */
  get capability(): ServerCapability | null {
    return this.#capability;
  }
  /** How long a call may take that says nothing else. */
  get timeoutMs(): number {
    return this.#options.timeoutMs ?? CALL_TIMEOUT_MS;
  }
  get #closingMs(): number {
    return Math.min(CLOSE_TIMEOUT_MS, this.timeoutMs);
  }
  /** The MCP revision that was agreed on. */
  get protocolVersion(): string | undefined {
    return this.#protocolVersion;
  }
  /** Whether requests stand alone (2026-07-28 and later) instead of in a session. */
  get isModern(): boolean {
    return (
      this.#protocolVersion !== undefined && this.#protocolVersion >= FIRST_EXTENSIONS_REVISION
    );
  }
  /** Everything the server declares, as it came: nothing has checked it. What {@link capability} is read from. */
  get serverCapabilities(): RawCapabilities {
    return this.#serverCapabilities;
  }
  /** How the server introduces itself; undefined when it does not. */
  get serverInfo(): { readonly name: string; readonly version: string } | undefined {
    return this.#serverInfo;
  }

  /** Runs `listener` at every `notifications/triggers/list_changed`; returns the end of that. */
  onListChanged(listener: () => void): () => void {
    return this.onNotification((method) => {
      if (method === LIST_CHANGED_METHOD) listener();
    });
  }

  /** Runs `listener` at every notification, also after the connection was opened again; returns the end of that. */
  onNotification(listener: NotificationListener): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  /**
   * Runs `listener` when the transport has closed, and when the stream breaks off on which a server sends outside of requests before
   * 2026-07-28; returns the end of that. On an SDK client that was handed over only the first is seen.
   */
  onInterrupted(listener: InterruptionListener): () => void {
    this.#interrupted.add(listener);
    return () => this.#interrupted.delete(listener);
  }

  /**
   * Resolves when what the server sends outside of requests can arrive. Rejects as {@link call} does; with `not_supported`, reason
   * `no_stream`, when the server does not have the stream for it.
   */
  async pushable({ signal, timeoutMs = PUSH_TIMEOUT_MS }: CallOptions = {}): Promise<void> {
    await orAbort(this.opened(), signal);
    const stream = this.#serverStream;
    if (!stream || this.isModern) return;
    signal?.throwIfAborted();
    const { phase } = await stream.settled(this.#clock, timeoutMs, signal);
    if (phase === 'open') return;
    if (phase === 'absent')
      throw new LocalError('not_supported', 'The server has no stream to send notifications on.', {
        reason: 'no_stream',
      });
    await this.renew();
    throw unreachable('the stream of the session did not come back');
  }

  /** What is known of that stream now; undefined where none is needed, or where it cannot be seen. */
  get pushState(): ServerStreamState | undefined {
    return this.isModern ? undefined : this.#serverStream?.state;
  }

  /** @internal Leaves a session that the server has forgotten: the next call opens another. */
  async renew(): Promise<void> {
    const live = await this.#live?.catch(() => undefined);
    if (live && !isClient(this.#target)) await live.client.close().catch(() => undefined);
  }

  #interrupt(error: LocalError): void {
    for (const listener of [...this.#interrupted]) listener(error);
  }

  /** One request. Rejects with `WireError`, `RemoteError`, `LocalError`, or the signal's reason. */
  async call(method: string, params: object, options: CallOptions = {}): Promise<unknown> {
    return this.#request(
      method,
      params,
      options.timeoutMs ?? this.timeoutMs,
      options.signal,
      (end) => ({
        method,
        onStreamEnd: () => end(unreachable('it closed the response without an answer')),
      }),
    );
  }

  /** A request that stays open. Resolves with its result when the server ends it; without SDK timeout, but with a watchdog. */
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
              new LocalError('timeout', `The stream has been silent for ${silenceMs} ms.`, {
                reason: 'silence',
              }),
            ),
          );
        };
        watch();
        return {
          method,
          onNotification: (heard, content) => {
            if (!notifications.includes(heard)) return;
            watch();
            onNotification(heard, content);
          },
          onStreamEnd: () => end(unreachable('the stream broke off')),
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
    makeExchange: (end: (reason: Error) => void) => PendingRequest,
  ): Promise<unknown> {
    signal?.throwIfAborted();
    const { client, exchanges } = await this.opened();
    signal?.throwIfAborted();
    const stop = new AbortController();
    let ended: Error | undefined;
    const end = (reason: Error): void => {
      ended ??= reason;
      stop.abort(reason);
    };
    const exchange: PendingRequest = { ...makeExchange(end), onBroken: end };
    const abort = (): void => stop.abort(signal?.reason);
    signal?.addEventListener('abort', abort, { once: true });
    exchanges.expect(exchange);
    try {
      return await client.request({ method, params: { ...params } }, anyResult, {
        signal: stop.signal,
        timeout,
      });
    } catch (error) {
      // The SDK reports an abort as a timeout, so the reason is kept here.
      signal?.throwIfAborted();
      throw ended ?? (await this.#translate(error, client));
    } finally {
      signal?.removeEventListener('abort', abort);
      exchanges.forget(exchange);
    }
  }

  async #translate(error: unknown, client: Client): Promise<unknown> {
    const translated = peerError(error, tokenOf(client));
    const sessionGone =
      translated instanceof LocalError &&
      (translated.reason === 'session_ended' ||
        (translated.reason === 'http_404' && this.#protocolVersion !== '2026-07-28'));
    if (!sessionGone || isClient(this.#target)) return translated;
    // A session that the server has ended does not come back: closed, it makes the next call open another.
    await client.close().catch(() => undefined);
    return unreachable('it has ended the session', error);
  }

  /** @internal The open SDK client, opened again when the last one has gone. */
  async opened(): Promise<Live> {
    if (this.#closed) throw new LocalError('closed', 'This connection has been closed.');
    const live = await (this.#live ??= this.#openFirst());
    if (live.client.transport !== undefined) return live;
    live.leave();
    if (isClient(this.#target))
      throw new LocalError(
        'closed',
        'The SDK client that this connection was given has been closed.',
      );
    this.#live = undefined;
    return this.opened();
  }

  async #openFirst(): Promise<Live> {
    try {
      const live = await this.#open();
      this.#note(live.client);
      return live;
    } catch (error) {
      this.#live = undefined;
      throw error;
    }
  }

  /**
   * Asks the server again what it offers: after a restart it may be more or less. A session says it once, at its start; so over
   * HTTP another session is opened, and takes the place of the first if it says something else. A process is what it was when it
   * started, and is asked only where the revision has a method for it. Rejects as {@link call} does.
   */
  look({ signal, timeoutMs = this.timeoutMs }: CallOptions = {}): Promise<void> {
    this.#looking ??= this.#look(timeoutMs).finally(() => {
      this.#looking = undefined;
    });
    return orAbort(this.#looking, signal);
  }

  async #look(timeout: number): Promise<void> {
    const live = await this.opened();
    if (!this.isModern) return this.#greetAgain(live);
    try {
      await live.client.discover({ timeout });
      this.#note(live.client);
    } catch (error) {
      const problem = peerError(error, tokenOf(live.client));
      const saysNothing =
        problem instanceof LocalError &&
        (problem.code === 'unreachable' ||
          problem.code === 'timeout' ||
          problem.code === 'unauthorized');
      if (saysNothing || isClient(this.#target)) throw problem;
      // It answers, but does not know the question any more: greeted anew it says which revision it speaks now.
      await live.client.close().catch(() => undefined);
      await this.opened();
    }
  }

  async #greetAgain(live: Live): Promise<void> {
    if (isClient(this.#target) || 'command' in this.#target) return;
    const other = await this.#open();
    if (this.#closed || sameGreeting(other.client, live.client)) return end(other, this.#closingMs);
    this.#live = Promise.resolve(other);
    this.#note(other.client);
    this.#interrupt(unreachable('its session was replaced'));
    await end(live, this.#closingMs);
  }

  async #open(): Promise<Live> {
    try {
      const client = isClient(this.#target)
        ? this.#target
        : await dial(this.#target, this.#options);
      const { transport } = client;
      if (!transport)
        throw new LocalError('config_invalid', 'Connect the SDK client before handing it over.');
      const wire = stateOf(transport)?.wrapped ?? wrap(transport);
      const tell: NotificationListener = (method, params) => {
        for (const listener of this.#listeners) listener(method, params);
      };
      const interrupt: InterruptionListener = (error) => this.#interrupt(error);
      wire.listeners.add(tell);
      wire.interrupted.add(interrupt);
      const leave = (): void => {
        wire.listeners.delete(tell);
        wire.interrupted.delete(interrupt);
      };
      return { client, exchanges: wire.exchanges, leave };
    } catch (error) {
      throw peerError(error);
    }
  }

  /** What the server says of itself, as far as it is known now. Throws `LocalError` `peer_misbehaved`. */
  #note(client: Client): void {
    const info = client.getServerVersion();
    const capabilities = capabilitiesOf(client);
    this.#protocolVersion = client.getNegotiatedProtocolVersion();
    this.#serverStream = stateOf(client.transport)?.serverStream;
    this.#serverInfo = info && { name: info.name, version: info.version };
    this.#serverCapabilities = capabilities;
    this.#capability = capabilityOf(capabilities, this.#protocolVersion);
  }

  /** Ends the session and the connection, or the child process. An SDK client that was handed over stays open. */
  async close(): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    const live = await this.#live?.catch(() => undefined);
    if (!live) return;
    live.leave();
    this.#interrupt(new LocalError('closed', 'This connection has been closed.'));
    if (!isClient(this.#target)) await end(live, this.#closingMs);
  }
}

/** Closing alone leaves the session behind on the server; that it may refuse to end it is its own affair. */
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

/** Wraps a transport that is connected. */
function wrap(transport: Transport): WrappedTransport {
  // What the server said before to an SDK client that was handed over is heard with the next `look`.
  const state = listenTo(transport);
  const listeners = new Set<NotificationListener>();
  const interrupted = new Set<InterruptionListener>();
  const interrupt = (error: LocalError): void => {
    for (const listener of [...interrupted]) listener(error);
  };
  const onclose = transport.onclose;
  transport.onclose = () => {
    interrupt(unreachable('the connection was closed'));
    onclose?.();
  };
  state.serverStream?.onLost(() => interrupt(unreachable('the stream of the session broke off')));
  const exchanges = new PendingRequests(transport, (method, params) => {
    for (const listener of listeners) listener(method, params);
  });
  state.guard?.onTooLarge((id, error) => exchanges.fail(id, error));
  return (state.wrapped = { listeners, interrupted, exchanges });
}

function capabilitiesOf(client: Client): RawCapabilities {
  const heard = stateOf(client.transport)?.handshake.capabilities;
  return heard ?? client.getServerCapabilities() ?? {};
}

const sameGreeting = (a: Client, b: Client): boolean =>
  a.getNegotiatedProtocolVersion() === b.getNegotiatedProtocolVersion() &&
  JSON.stringify(capabilitiesOf(a)) === JSON.stringify(capabilitiesOf(b));

const tokenOf = ({ transport }: Client): string | undefined => stateOf(transport)?.guard?.token;

const isClient = (target: Target): target is Client => 'getServerCapabilities' in target;

function nameOf(target: Target): string {
  if (isClient(target)) return `client:${target.getServerVersion()?.name ?? 'unnamed'}`;
  if ('url' in target) return new URL(target.url).href;
  return `stdio:${[target.command, ...(target.args ?? [])].join(' ')}`;
}
