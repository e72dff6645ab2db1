/**
 * What a server may send over HTTP before anybody has understood it: no message takes more memory than a message may have, also
 * when it was packed small, or when its end never comes. Counts where the bytes arrive, because behind it the SDK collects them.
 */
import { LocalError } from '../../protocol/wire/errors.ts';

/** One message: a JSON body, an error page, one event of a stream. The SDK has the same bound for pipes. */
export const MESSAGE_BYTES_MAX = 10 * 1024 * 1024;

export class HttpGuard {
  /** To be handed to the transport. */
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

  /** The access token of the last request: a server may repeat it in what it says. */
  get token(): string | undefined {
    return this.#token;
  }

  /** `listener` is told which request was answered with too much. */
  onTooLarge(listener: (requestId: unknown, error: LocalError) => void): void {
    this.#tooLarge = listener;
  }
}

/** Counts what has to be kept until it can be understood. */
interface Meter {
  /** The most bytes that are kept at once while this chunk is read. */
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

/** An event of a stream ends with an empty line; a line ends with LF, CR, or both. */
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

/** The same bytes, up to the first that is too many. */
function bounded(
  body: ReadableStream<Uint8Array>,
  meter: Meter,
  onTooLarge: (error: LocalError) => void,
): ReadableStream<Uint8Array> {
  return body.pipeThrough(
    new TransformStream<Uint8Array, Uint8Array>({
      transform(chunk, controller) {
        if (meter.feed(chunk) <= MESSAGE_BYTES_MAX) return controller.enqueue(chunk);
        const error = new LocalError(
          'peer_misbehaved',
          `The server broke the protocol: a message of more than ${MESSAGE_BYTES_MAX} bytes.`,
          { reason: 'too_large' },
        );
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

/** Of a request that the SDK made. */
function idOf(init: RequestInit | undefined): unknown {
  return typeof init?.body === 'string'
    ? (Object(JSON.parse(init.body)) as { readonly id?: unknown }).id
    : undefined;
}
