/**
 * Bounds on what a client leaves unread of an event stream: bytes, and time. The SDK's response
 * stream buffers without limit. The window of a stream does not bound the buffer: a client that
 * does not read can still acknowledge on another connection, and the server then sends more (SEP:
 * Stream).
 */

import { backgroundClock, systemClock, type Clock } from '../../protocol/lib/clock.ts';

/** Larger than the largest window of a stream, so a client that reads never reaches it. */
const BACKLOG_BYTES_MAX = 8 * 2 ** 20;

/** Time after which a connection that takes no bytes is closed. */
const STALLED_MS = 60_000;

/** The bounds of {@link withBoundedBacklog}. */
export interface BacklogOptions {
  /** Unread bytes at which the connection is closed. Default 8 MiB. */
  readonly maxBytes?: number;
  /**
   * Milliseconds after which the connection is closed when bytes wait and it takes none of them.
   * Default 60,000.
   */
  readonly stalledMs?: number;
  readonly clock?: Clock;
}

/**
 * Wraps the response of the SDK's handler and bounds what is unread of it, for a program that
 * serves the handler over HTTP. Calls `drop` once when too many bytes of an event stream are
 * unread, or when the connection has taken no bytes for too long; `drop` must close the connection,
 * which cancels the response and its request (SEP: Stream).
 */
export function withBoundedBacklog(
  response: Response,
  drop: () => void,
  {
    maxBytes = BACKLOG_BYTES_MAX,
    stalledMs = STALLED_MS,
    clock = systemClock,
  }: BacklogOptions = {},
): Response {
  if (
    response.body === null ||
    response.headers.get('content-type')?.startsWith('text/event-stream') !== true
  )
    return response;
  const source = response.body.getReader();
  const { after } = backgroundClock(clock);
  let received = 0;
  let cancelCheck: (() => void) | undefined;
  let isOver = false;
  const finish = (): void => {
    isOver = true;
    cancelCheck?.();
  };
  const close = (): void => {
    if (isOver) return;
    finish();
    drop();
  };
  const bounded = new ReadableStream<Uint8Array>(
    {
      start(controller) {
        // The source does not report how much it buffers, so everything is read at once into this
        // stream, which counts the unread bytes.
        const unread = (): number => -(controller.desiredSize ?? 0);
        const watch = (): void => {
          const taken = received - unread();
          cancelCheck = after(stalledMs, () => {
            cancelCheck = undefined;
            if (unread() === 0) return;
            if (received - unread() === taken) close();
            else watch();
          });
        };
        void (async () => {
          for (;;) {
            const { done, value } = await source.read();
            if (done) {
              finish();
              return controller.close();
            }
            received += value.byteLength;
            controller.enqueue(value);
            if (unread() > maxBytes) return close();
            if (unread() > 0 && !isOver && !cancelCheck) watch();
          }
        })().catch((error: unknown) => {
          finish();
          controller.error(error);
        });
      },
      cancel: (reason) => {
        finish();
        return source.cancel(reason);
      },
    },
    new ByteLengthQueuingStrategy({ highWaterMark: 0 }),
  );
  return new Response(bounded, {
    status: response.status,
    statusText: response.statusText,
    headers: response.headers,
  });
}
