/**
 * Observes the stream on which a server sends messages outside of requests, over HTTP before
 * 2026-07-28. The SDK opens it with a GET and reopens it when it breaks, but reports neither.
 * Messages sent in between are lost. The `fetch` of this class sees both.
 */
import type { Clock } from '../../protocol/lib/clock.ts';

/**
 * The state of the stream. `absent`: it was never open. `lost`: it was open before. `status`: the
 * HTTP status with which the server has refused it since.
 */
export type ServerStreamState =
  { readonly phase: 'absent' | 'lost'; readonly status?: number } | { readonly phase: 'open' };

export class ServerStream {
  /** Pass it to the transport. */
  readonly fetch: typeof fetch;
  readonly #changes = new Set<() => void>();
  readonly #lost = new Set<() => void>();
  #state: ServerStreamState = { phase: 'absent' };

  /** `inner` makes the requests. */
  constructor(inner: typeof fetch) {
    this.fetch = async (input, init) => {
      if (!asksForStream(init)) return inner(input, init);
      const response = await inner(input, init);
      if (response.ok && response.body)
        return this.#opened(response, response.body, init?.signal ?? undefined);
      if (this.#state.phase !== 'open')
        this.#enter({ phase: this.#state.phase, status: response.status });
      return response;
    };
  }

  get state(): ServerStreamState {
    return this.#state;
  }

  /** Calls `listener` each time the stream breaks; not when the transport is closed. */
  onLost(listener: () => void): void {
    this.#lost.add(listener);
  }

  /** Waits until the stream is open or refused, at most `withinMs`, or until `signal` fires. */
  async settled(clock: Clock, withinMs: number, signal?: AbortSignal): Promise<ServerStreamState> {
    const isSettled = (): boolean =>
      this.#state.phase === 'open' || this.#state.status !== undefined;
    if (isSettled() || signal?.aborted === true) return this.#state;
    await new Promise<void>((resolve) => {
      const cancel = clock.after(withinMs, done);
      const check = (): void => {
        if (isSettled()) done();
      };
      const changes = this.#changes;
      function done(): void {
        cancel();
        changes.delete(check);
        signal?.removeEventListener('abort', done);
        resolve();
      }
      changes.add(check);
      signal?.addEventListener('abort', done, { once: true });
    });
    return this.#state;
  }

  #enter(state: ServerStreamState): void {
    this.#state = state;
    for (const change of [...this.#changes]) change();
  }

  /** Makes the response for the transport, with an observed body. */
  #opened(
    response: Response,
    body: ReadableStream<Uint8Array>,
    signal: AbortSignal | undefined,
  ): Response {
    const ended = (): void => {
      if (signal?.aborted === true) return;
      this.#enter({ phase: 'lost' });
      for (const listener of this.#lost) listener();
    };
    this.#enter({ phase: 'open' });
    const { status, statusText, headers } = response;
    return new Response(watched(body, ended), { status, statusText, headers });
  }
}

const asksForStream = (init: RequestInit | undefined): boolean =>
  init?.method === 'GET' &&
  (new Headers(init.headers).get('accept') ?? '').includes('text/event-stream');

/** Passes the bytes on. Calls `ended` when they end, for whatever reason. */
function watched(body: ReadableStream<Uint8Array>, ended: () => void): ReadableStream<Uint8Array> {
  const reader = body.getReader();
  return new ReadableStream<Uint8Array>({
    async pull(controller) {
      try {
        const { done, value } = await reader.read();
        if (!done) return controller.enqueue(value);
        controller.close();
      } catch (error) {
        controller.error(error);
      }
      ended();
    },
    async cancel(reason) {
      ended();
      await reader.cancel(reason);
    },
  });
}
