/**
 * One request, as every binding with notifications of its own sees it. Nothing here knows MCP's transports or SDK.
 */
import type { Meta, RequestId } from '../../../spec-schema/draft/schema.ts';
import type { Clock } from '../../protocol/lib/clock.ts';
import type { Caller } from '../engine/verbs.ts';
import { SUBSCRIPTION_ID_META_KEY } from '../../protocol/wire/schema.ts';

/** One request as a transport hands it over: who asks, under which id, and how to send on the request's own stream. */
export interface RequestContext<Method extends string> {
  /** Throws `WireError` Forbidden. Asked only once the params have the right shape (SEP: Methods). */
  caller(): Caller;
  readonly requestId: RequestId;
  /** Fires when the client cancelled the request or is gone; nothing may be sent for the request afterwards. */
  readonly stop: AbortSignal;
  /**
   * When the authorization of this request runs out, in epoch milliseconds; null = not known. A stream ends then, with its
   * result.
   */
  readonly authorizedUntil: number | null;
  /** The engine's. */
  readonly clock: Clock;
  /** Sends a notification on the response of this very request. Rejects when the connection is gone. */
  notify(method: Method, params: object): Promise<void>;
}

/** Params of a notification with the tag that ties it to the request whose stream carries it (SEP: Stream). */
export function tagged<T extends object>(params: T, requestId: RequestId): T & { _meta: Meta } {
  const meta = '_meta' in params && typeof params._meta === 'object' ? params._meta : {};
  return { ...params, _meta: { ...meta, [SUBSCRIPTION_ID_META_KEY]: requestId } };
}

/** Whoever has lost access must not go on listening, so a stream ends at the latest with the authorization it was opened with. */
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
  // A timer of 0 ms can be late on a busy machine: nothing is sent before it fires.
  if (leftMs <= 0) expiry.abort();
  const cancel = clock.after(Math.max(0, leftMs), () => expiry.abort());
  try {
    await run(AbortSignal.any([stop, expiry.signal]));
  } finally {
    cancel();
  }
}
