/**
 * A bound on what a client leaves unread. The SDK hands out a response stream that takes whatever is sent on it; a client that
 * holds its connection open and does not read would make it grow without end, window or not, as long as something it
 * acknowledges on another connection makes room (SEP: Stream).
 */

/** Above the largest window of a stream, so that nobody who reads comes near it. */
const BACKLOG_BYTES_MAX = 8 * 2 ** 20;

/**
 * The same response, for whoever serves the SDK's handler over HTTP. When more than `maxBytes` of an event stream wait for a client that does not read, `drop` is called, once: it
 * breaks the connection off, which cancels the response and with it the request behind it. Default 8 MiB (SEP: Stream).
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
        // Read at once and count what is not taken: left in the source, nobody would know how much it is.
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
