/**
 * Assigns the messages that arrive on a transport to their pending requests. The SDK passes
 * notifications to one handler without the id of the request, and does not report that the response
 * stream of a request has ended. Both show on the transport, whose `send` and `onmessage` are
 * wrapped once the SDK client has connected.
 */
import type { RequestId } from '../../../spec-schema/draft/schema.ts';
import { DELIVERY_METHOD, SUBSCRIPTION_ID_META_KEY } from '../../protocol/wire/envelope.ts';

/** The members of an SDK transport that are wrapped. */
export interface WrappedMembers {
  send(message: object, options?: SendOptions): Promise<void>;
  onmessage?: ((message: never, extra?: never) => void) | undefined;
}
interface SendOptions {
  readonly onRequestStreamEnd?: () => void;
}

/** A request of this client, from before it is sent until it is settled. */
export interface PendingRequest {
  readonly method: string;
  /** A notification that belongs to this request. */
  onNotification?(method: string, params: unknown): void;
  /** The response stream ended; no result can come any more. */
  onStreamEnd(): void;
  /** The response is too large to be read. */
  onBroken?(error: Error): void;
}

interface Message {
  readonly id?: RequestId;
  readonly method?: string;
  readonly params?: Record<string, unknown>;
}

export class PendingRequests {
  /**
   * Requests that are not sent yet, in the order of the calls. For each method that is also the
   * order in which the SDK sends.
   */
  readonly #expected: PendingRequest[] = [];
  readonly #open = new Map<RequestId, PendingRequest>();
  readonly #onNotification: (method: string, params: unknown) => void;

  /** Calls `onNotification` for every notification, whatever request it belongs to. */
  constructor(wire: WrappedMembers, onNotification: (method: string, params: unknown) => void) {
    this.#onNotification = onNotification;
    const send = wire.send.bind(wire);
    const receive = wire.onmessage as ((message: unknown, extra: unknown) => void) | undefined;
    wire.send = (message, options) => {
      const pending = this.#noteSent(message);
      if (!pending) return send(message, options);
      const onRequestStreamEnd = (): void => {
        options?.onRequestStreamEnd?.();
        pending.onStreamEnd();
      };
      return send(message, { ...options, onRequestStreamEnd });
    };
    wire.onmessage = (message: unknown, extra: unknown) => {
      this.#noteReceived(message as Message);
      receive?.(message, extra);
    };
  }

  /** Call it right before the request is made. */
  expect(pending: PendingRequest): void {
    this.#expected.push(pending);
  }

  /** Call it when the request is settled: nothing that comes later reaches it. */
  forget(pending: PendingRequest): void {
    const index = this.#expected.indexOf(pending);
    if (index >= 0) this.#expected.splice(index, 1);
    for (const [id, open] of this.#open) if (open === pending) this.#open.delete(id);
  }

  /** The response to this request cannot be read. */
  fail(id: unknown, error: Error): void {
    this.#open.get(id as RequestId)?.onBroken?.(error);
  }

  #noteSent({ id, method }: Message): PendingRequest | undefined {
    if (id === undefined || method === undefined) return undefined;
    const at = this.#expected.findIndex((pending) => pending.method === method);
    if (at < 0) return undefined;
    const [pending] = this.#expected.splice(at, 1);
    this.#open.set(id, pending!);
    return pending;
  }

  #noteReceived({ id: own, method, params }: Message): void {
    if (own !== undefined || typeof method !== 'string') return;
    this.#onNotification(method, params);
    const meta = Object(params?.['_meta']) as Record<string, unknown>;
    // Deliveries have a member of their own; the other streams use the tag of the core.
    const id = method === DELIVERY_METHOD ? params?.['requestId'] : meta[SUBSCRIPTION_ID_META_KEY];
    this.#open.get(id as RequestId)?.onNotification?.(method, params);
  }
}
