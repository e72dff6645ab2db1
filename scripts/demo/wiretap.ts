/**
 * Counts how often each number came over the wire, below the client library, which removes duplicates before anybody could count
 * them. Reads copies of HTTP messages and changes nothing.
 */
import { createParser } from 'eventsource-parser';

interface Heard {
  readonly epoch?: unknown;
  readonly events?: readonly { readonly sequence: number }[];
}
interface Message {
  readonly params?: Heard;
  readonly result?: Heard;
}

export class Wiretap {
  readonly #times = new Map<string, number>();
  readonly #onDelivery: (delivery: object) => void;

  /** `onDelivery` sees every message that carries events. */
  constructor(onDelivery: (delivery: object) => void = () => undefined) {
    this.#onDelivery = onDelivery;
  }

  /** Numbers that came more than once, each counted as often as it was superfluous. */
  get duplicates(): number {
    return [...this.#times.values()].reduce((sum, times) => sum + times - 1, 0);
  }
  /** How often each `epoch:sequence` came. */
  get times(): ReadonlyMap<string, number> {
    return this.#times;
  }

  /** A `fetch` for the client. */
  readonly fetch: typeof fetch = async (input, init) => {
    const response = await fetch(input, init);
    if (response.body) void this.#listen(response.clone());
    return response;
  };

  /** For a callback: the body as it came. */
  message(text: string): void {
    const { params, result } = JSON.parse(text) as Message;
    const heard = params?.events ? params : result;
    if (!heard?.events) return;
    this.#onDelivery(heard);
    const { epoch, events } = heard;
    for (const { sequence } of events) {
      const name = `${String(epoch)}:${sequence}`;
      this.#times.set(name, (this.#times.get(name) ?? 0) + 1);
    }
  }

  async #listen(response: Response): Promise<void> {
    try {
      const type = response.headers.get('content-type') ?? '';
      if (type.startsWith('application/json')) return this.message(await response.text());
      if (!type.startsWith('text/event-stream')) return;
      const parser = createParser({
        onEvent: ({ data }) => {
          if (data !== '') this.message(data);
        },
      });
      for await (const chunk of response.body!.pipeThrough(new TextDecoderStream()))
        parser.feed(chunk);
    } catch {
      // The connection was cut, which is what the demo is about; what came before is counted.
    }
  }
}
