/**
 * Limits the size of a message over HTTP, after decompression, and also for a message that never
 * ends. Counts bytes as they arrive, because the SDK collects a message before it parses it.
 */
import type { LocalError } from '../../protocol/wire/errors.ts';
import { misbehaved } from './peer-error.ts';

/**
 * Limit for a JSON body, an error page, or one event of a stream. The SDK has the same limit for
 * pipes.
 */
const MESSAGE_BYTES_MAX = 10 * 1024 * 1024;

export class HttpGuard {
  /** Pass it to the transport. */
  readonly fetch: typeof fetch;
  #token: string | undefined;
  #tooLarge: ((requestId: unknown, error: LocalError) => void) | undefined;

  /** `inner` makes the requests. */
  constructor(inner: typeof fetch) {
    this.fetch = async (input, init) => {
      this.#token = tokenOf(init) ?? this.#token;
      const response = await inner(input, init);
      if (!response.body) return response;
      const isStream =
        response.headers
          .get('content-type')
          ?.trim()
          .toLowerCase()
          .startsWith('text/event-stream') === true;
      const body = bounded(response.body, isStream ? new EventMeter() : new BodyMeter(), (error) =>
        this.#tooLarge?.(idOf(init), error),
      );
      const { status, statusText, headers, url } = response;
      return Object.defineProperty(new Response(body, { status, statusText, headers }), 'url', {
        value: url,
      });
    };
  }

  /** The access token of the last request, which a server may repeat in an error. */
  get token(): string | undefined {
    return this.#token;
  }

  /** `listener` gets the id of the request whose response is too large. */
  onTooLarge(listener: (requestId: unknown, error: LocalError) => void): void {
    this.#tooLarge = listener;
  }
}

/** Counts the bytes that have to be kept until a message is complete. */
interface Meter {
  /** Returns the most bytes that have to be kept at once while `chunk` is read. */
  feed(chunk: Uint8Array): number;
}

class BodyMeter implements Meter {
  #bytes = 0;

  feed(chunk: Uint8Array): number {
    return (this.#bytes += chunk.byteLength);
  }
}

const LF = 10;
const CR = 13;

/**
 * Starts again after every event of a stream. An event ends with an empty line; a line ends with
 * LF, CR, or CR LF.
 */
class EventMeter implements Meter {
  #bytes = 0;
  #lineIsEmpty = true;
  #afterCr = false;

  feed(chunk: Uint8Array): number {
    let most = 0;
    for (const byte of chunk) {
      this.#bytes += 1;
      const isSecondHalf = byte === LF && this.#afterCr;
      this.#afterCr = byte === CR;
      if (isSecondHalf) continue;
      if (byte !== LF && byte !== CR) {
        this.#lineIsEmpty = false;
        continue;
      }
      if (this.#lineIsEmpty) {
        most = Math.max(most, this.#bytes);
        this.#bytes = 0;
      }
      this.#lineIsEmpty = true;
    }
    return Math.max(most, this.#bytes);
  }
}

/** Passes bytes on up to the limit; the stream fails beyond it. */
function bounded(
  body: ReadableStream<Uint8Array>,
  meter: Meter,
  onTooLarge: (error: LocalError) => void,
): ReadableStream<Uint8Array> {
  return body.pipeThrough(
    new TransformStream<Uint8Array, Uint8Array>({
      transform(chunk, controller) {
        if (meter.feed(chunk) <= MESSAGE_BYTES_MAX) return controller.enqueue(chunk);
        const error = misbehaved('too_large', `a message has more than ${MESSAGE_BYTES_MAX} bytes`);
        onTooLarge(error);
        controller.error(error);
      },
    }),
  );
}

function tokenOf(init: RequestInit | undefined): string | undefined {
  const [, token] =
    /^\S+\s+(\S+)/.exec(new Headers(init?.headers).get('authorization') ?? '') ?? [];
  return token;
}

/** The id of a request that the SDK made. */
function idOf(init: RequestInit | undefined): unknown {
  return typeof init?.body === 'string'
    ? (Object(JSON.parse(init.body)) as { readonly id?: unknown }).id
    : undefined;
}
