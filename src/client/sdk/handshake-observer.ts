/**
 * What a server says of itself, as it came over the wire. The SDK's client keeps only the capabilities that it knows, and
 * deployed servers declare `events` beside them; so the answers that carry capabilities are read on the transport.
 */

/** Of a transport, what is watched. */
interface Heard {
  onmessage?: ((message: never, extra?: never) => void) | undefined;
}

interface Answer {
  readonly result?: {
    readonly capabilities?: unknown;
    readonly supportedVersions?: unknown;
    readonly protocolVersion?: unknown;
  };
}

/** Unchecked words of a peer: read members with care. */
export type RawCapabilities = Readonly<Record<string, unknown>>;

export class HandshakeObserver {
  #capabilities: RawCapabilities | undefined;
  #revision: string | undefined;

  /** Listens on a transport from now on. The SDK replaces `onmessage` while it negotiates, so every one is wrapped. */
  static on(transport: object): HandshakeObserver {
    const handshake = new HandshakeObserver();
    const heard = transport as Heard;
    const before = heard.onmessage;
    let inner: Heard['onmessage'];
    Object.defineProperty(heard, 'onmessage', {
      configurable: true,
      get: () => inner,
      set: (handler: Heard['onmessage']) => {
        const wrapped = (message: unknown, extra: unknown): void => {
          handshake.hear(message);
          (handler as (message: unknown, extra: unknown) => void)(message, extra);
        };
        inner = handler && wrapped;
      },
    });
    heard.onmessage = before;
    return handshake;
  }

  /** As the server said it last; undefined = not heard yet. */
  get capabilities(): RawCapabilities | undefined {
    return this.#capabilities;
  }

  /** The revision that the server chose in a handshake; undefined = there was none. */
  get revision(): string | undefined {
    return this.#revision;
  }

  /** Notes the answer to `server/discover` or `initialize`; everything else goes by. */
  hear(message: unknown): void {
    const result = Object((Object(message) as Answer).result) as NonNullable<Answer['result']>;
    const isGreeting =
      Array.isArray(result.supportedVersions) || typeof result.protocolVersion === 'string';
    if (typeof result.protocolVersion === 'string') this.#revision = result.protocolVersion;
    if (isGreeting && typeof result.capabilities === 'object' && result.capabilities !== null)
      this.#capabilities = result.capabilities as RawCapabilities;
  }
}
