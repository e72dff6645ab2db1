/**
 * Counts how often each sequence number is received. Reads copies of HTTP messages, because the
 * client library removes repetitions.
 */
import { createParser } from 'eventsource-parser';

interface Delivered {
  readonly epoch?: unknown;
  readonly events?: readonly { readonly sequence: number }[];
}
interface Message {
  readonly params?: Delivered;
  readonly result?: Delivered;
}

export class Wiretap {
  readonly #times = new Map<string, number>();
  readonly #onDelivery: (delivery: object) => void;

  /** `onDelivery` is called with every message that has events. */
  constructor(onDelivery: (delivery: object) => void = () => undefined) {
    this.#onDelivery = onDelivery;
  }

  /** The number of received events that repeat an earlier one. */
  get duplicates(): number {
    return [...this.#times.values()].reduce((sum, times) => sum + times - 1, 0);
  }
  /** By `epoch:sequence`: the number of times that it was received. */
  get times(): ReadonlyMap<string, number> {
    return this.#times;
  }

  /** A `fetch` for the client that counts what it receives. */
  readonly fetch: typeof fetch = async (input, init) => {
    const response = await fetch(input, init);
    if (response.body) void this.#count(response.clone());
    return response;
  };

  /** Counts the events of one message, for example the body of a callback. */
  message(text: string): void {
    const { params, result } = JSON.parse(text) as Message;
    const delivery = params?.events ? params : result;
    if (!delivery?.events) return;
    this.#onDelivery(delivery);
    const { epoch, events } = delivery;
    for (const { sequence } of events) {
      const name = `${String(epoch)}:${sequence}`;
      this.#times.set(name, (this.#times.get(name) ?? 0) + 1);
    }
  }

  async #count(response: Response): Promise<void> {
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
      // The server was killed. The events that were received before are counted.
    }
  }
}
