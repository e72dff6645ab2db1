/**
 * Ties what arrives on a transport to the request it belongs to. The SDK hands notifications to one handler without the
 * request's id, and it does not notice that the response stream of a request has died; both are visible on the transport,
 * whose `send` and `onmessage` this wraps once the SDK client has connected.
 */
import type { RequestId } from '../../../spec-schema/draft/schema.ts';
import { SUBSCRIPTION_ID_META_KEY } from '../../protocol/wire/schema.ts';

/** The members of an SDK transport that are wrapped. */
export interface Wire {
  send(message: object, options?: SendOptions): Promise<void>;
  onmessage?: ((message: never, extra?: never) => void) | undefined;
}
interface SendOptions {
  readonly onRequestStreamEnd?: () => void;
}

/** One request of ours from before it is sent until it is settled. */
export interface PendingRequest {
  readonly method: string;
  /** A notification that the server tied to this request. */
  onNotification?(method: string, params: unknown): void;
  /** The response stream ended; if no answer came before, none will. */
  onStreamEnd(): void;
  /** There was more in the response than can be read. */
  onBroken?(error: Error): void;
}

interface Message {
  readonly id?: RequestId;
  readonly method?: string;
  readonly params?: Record<string, unknown>;
}

export class PendingRequests {
  /** Not sent yet, per method in the order of the calls, which is the order in which the SDK sends. */
  readonly #expected: PendingRequest[] = [];
  readonly #open = new Map<RequestId, PendingRequest>();
  readonly #heardNotification: (method: string, params: unknown) => void;

  /** `notified` is told of every notification, whatever it is tied to. */
  constructor(wire: Wire, notified: (method: string, params: unknown) => void) {
    this.#heardNotification = notified;
    const send = wire.send.bind(wire);
    const receive = wire.onmessage as ((message: unknown, extra: unknown) => void) | undefined;
    wire.send = (message, options) => {
      const exchange = this.#sent(message);
      if (!exchange) return send(message, options);
      const onRequestStreamEnd = (): void => {
        options?.onRequestStreamEnd?.();
        exchange.onStreamEnd();
      };
      return send(message, { ...options, onRequestStreamEnd });
    };
    wire.onmessage = (message: unknown, extra: unknown) => {
      this.#heard(message as Message);
      receive?.(message, extra);
    };
  }

  /** Call right before the request is made. */
  expect(exchange: PendingRequest): void {
    this.#expected.push(exchange);
  }

  /** Call when the request is settled: nothing that comes later reaches it. */
  forget(exchange: PendingRequest): void {
    const waiting = this.#expected.indexOf(exchange);
    if (waiting >= 0) this.#expected.splice(waiting, 1);
    for (const [id, open] of this.#open) if (open === exchange) this.#open.delete(id);
  }

  /** Nothing more can be understood of the response to this request. */
  fail(id: unknown, error: Error): void {
    this.#open.get(id as RequestId)?.onBroken?.(error);
  }

  #sent({ id, method }: Message): PendingRequest | undefined {
    if (id === undefined || method === undefined) return undefined;
    const at = this.#expected.findIndex((exchange) => exchange.method === method);
    if (at < 0) return undefined;
    const [exchange] = this.#expected.splice(at, 1);
    this.#open.set(id, exchange!);
    return exchange;
  }

  #heard({ id, method, params }: Message): void {
    if (id !== undefined || typeof method !== 'string') return;
    this.#heardNotification(method, params);
    const meta = Object(params?.['_meta']) as Record<string, unknown>;
    this.#open.get(meta[SUBSCRIPTION_ID_META_KEY] as RequestId)?.onNotification?.(method, params);
  }
}
