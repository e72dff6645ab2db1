/**
 * Reads the handshake of a server on the transport: the SDK's client keeps only the capabilities
 * that it knows, and deployed servers declare `events` beside them.
 */

/** The member of a transport that is observed. */
interface ObservedTransport {
  onmessage?: ((message: never, extra?: never) => void) | undefined;
}

interface Response {
  readonly result?: {
    readonly capabilities?: unknown;
    readonly supportedVersions?: unknown;
    readonly protocolVersion?: unknown;
  };
}

/** Capabilities as the server sent them: nothing has checked them. */
export type RawCapabilities = Readonly<Record<string, unknown>>;

export class HandshakeObserver {
  #capabilities: RawCapabilities | undefined;
  #revision: string | undefined;

  /**
   * Observes a transport from now on. The SDK replaces `onmessage` while it negotiates, so every
   * handler is wrapped.
   */
  static attach(transport: object): HandshakeObserver {
    const observer = new HandshakeObserver();
    const observed = transport as ObservedTransport;
    const before = observed.onmessage;
    let inner: ObservedTransport['onmessage'];
    Object.defineProperty(observed, 'onmessage', {
      configurable: true,
      get: () => inner,
      set: (handler: ObservedTransport['onmessage']) => {
        const wrapped = (message: unknown, extra: unknown): void => {
          observer.observe(message);
          (handler as (message: unknown, extra: unknown) => void)(message, extra);
        };
        inner = handler && wrapped;
      },
    });
    observed.onmessage = before;
    return observer;
  }

  /** The capabilities that were declared last; undefined = no handshake was seen. */
  get capabilities(): RawCapabilities | undefined {
    return this.#capabilities;
  }

  /** The revision that the server chose in `initialize`; undefined = no `initialize` was seen. */
  get revision(): string | undefined {
    return this.#revision;
  }

  /** Stores the result of `server/discover` or `initialize`; ignores every other message. */
  observe(message: unknown): void {
    const result = Object((Object(message) as Response).result) as NonNullable<Response['result']>;
    const isHandshake =
      Array.isArray(result.supportedVersions) || typeof result.protocolVersion === 'string';
    if (typeof result.protocolVersion === 'string') this.#revision = result.protocolVersion;
    if (isHandshake && typeof result.capabilities === 'object' && result.capabilities !== null)
      this.#capabilities = result.capabilities as RawCapabilities;
  }
}
