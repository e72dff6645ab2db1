/**
 * A bound on the unread bytes of an event stream. The SDK's response stream buffers without limit.
 * The window of a stream does not bound the buffer: a client that does not read can still
 * acknowledge on another connection, and the server then sends more (SEP: Stream).
 */

/** Larger than the largest window of a stream, so a client that reads never reaches it. */
const BACKLOG_BYTES_MAX = 8 * 2 ** 20;

/**
 * Wraps the response of the SDK's handler and bounds its unread bytes, for a program that serves the
 * handler over HTTP. Calls `drop` once when more than `maxBytes` of an event stream are unread
 * (default 8 MiB); `drop` must close the connection, which cancels the response and its request
 * (SEP: Stream).
 */
export function withBoundedBacklog(
  response: Response,
  drop: () => void,
  maxBytes = BACKLOG_BYTES_MAX,
): Response {
  if (
    response.body === null ||
    response.headers.get('content-type')?.startsWith('text/event-stream') !== true
  )
    return response;
  const source = response.body.getReader();
  const bounded = new ReadableStream<Uint8Array>(
    {
      start(controller) {
        // The source does not report how much it buffers, so everything is read at once into this
        // stream, which counts the unread bytes.
        void (async () => {
          for (;;) {
            const { done, value } = await source.read();
            if (done) return controller.close();
            controller.enqueue(value);
            if ((controller.desiredSize ?? 0) < -maxBytes) return drop();
          }
        })().catch((error: unknown) => controller.error(error));
      },
      cancel: (reason) => source.cancel(reason),
    },
    new ByteLengthQueuingStrategy({ highWaterMark: 0 }),
  );
  return new Response(bounded, {
    status: response.status,
    statusText: response.statusText,
    headers: response.headers,
  });
}
