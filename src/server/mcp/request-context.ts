/**
 * The context of one MCP request, for bindings that send notifications on its response stream.
 * Independent of MCP's transports and SDK.
 */
import type { MetaObject, RequestId } from '../../../spec-schema/draft/schema.ts';
import type { Clock } from '../../protocol/lib/clock.ts';
import type { Caller } from '../engine/verbs.ts';
import { SUBSCRIPTION_ID_META_KEY } from '../../protocol/wire/envelope.ts';

/** One request: its caller, its id, when it stops, and how to send on its response stream. */
export interface RequestContext<Method extends string> {
  /**
   * Returns the caller. Throws `WireError` `Forbidden`. Called only after the params have been
   * validated (SEP: Methods).
   */
  caller(): Caller;
  readonly requestId: RequestId;
  /**
   * Fires when the client cancels the request or disconnects; nothing may be sent for the request
   * afterwards.
   */
  readonly stop: AbortSignal;
  /**
   * When the authorization of the request expires, in epoch milliseconds; null = unknown. At that
   * time the server ends a stream with its ordinary result.
   */
  readonly authorizedUntil: number | null;
  /** The engine's clock. */
  readonly clock: Clock;
  /**
   * Sends a notification on the response stream of this request. Rejects when the connection is
   * closed.
   */
  notify(method: Method, params: object): Promise<void>;
}

/**
 * Returns a copy of the params of a notification, or of a result, whose `_meta` has the id of the
 * request on whose stream it is sent, as `subscriptions/listen` and `events/stream` require.
 */
export function tagged<T extends object>(
  params: T,
  requestId: RequestId,
): T & { _meta: MetaObject } {
  const meta = '_meta' in params && typeof params._meta === 'object' ? params._meta : {};
  return { ...params, _meta: { ...meta, [SUBSCRIPTION_ID_META_KEY]: requestId } };
}

/** Runs a stream. The signal fires when the request stops or its authorization expires. */
export async function untilUnauthorized(
  {
    stop,
    authorizedUntil,
    clock,
  }: Pick<RequestContext<never>, 'stop' | 'authorizedUntil' | 'clock'>,
  run: (end: AbortSignal) => Promise<void>,
): Promise<void> {
  if (authorizedUntil === null) return run(stop);
  const expiry = new AbortController();
  const leftMs = authorizedUntil - clock.now();
  // A timer of 0 ms fires late on a busy machine, and nothing may be sent after the expiry.
  if (leftMs <= 0) expiry.abort();
  const cancel = clock.after(Math.max(0, leftMs), () => expiry.abort());
  try {
    await run(AbortSignal.any([stop, expiry.signal]));
  } finally {
    cancel();
  }
}
