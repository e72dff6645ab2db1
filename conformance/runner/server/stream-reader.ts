/** Reads an open stream in the background and records its messages. */
import { brief } from '../observations.ts';
import type { Message } from '../wire/sse.ts';
import type { Json, OpenStream } from '../wire/session.ts';

export class StreamReader {
  readonly requestId: number;
  /** Every message, in order. */
  readonly messages: Message[] = [];
  /** How the stream ended; undefined while it is open. */
  ended:
    | { readonly result?: Json; readonly error?: Message['error']; readonly broke?: unknown }
    | undefined;
  /** Resolves when the stream has ended. */
  readonly over: Promise<void>;
  readonly #close: () => void;

  constructor(stream: OpenStream) {
    this.requestId = stream.requestId;
    this.#close = () => stream.close();
    this.over = this.#read(stream);
  }

  /**
   * `params` of the deliveries. Their `requestId` is not checked here, because the response belongs to
   * this request.
   */
  get deliveries(): Json[] {
    return this.messages
      .filter(({ method }) => method === 'notifications/triggers/delivery')
      .map(({ params }) => params ?? {});
  }

  get events(): Json[] {
    return this.deliveries.flatMap(({ events }) => events ?? []);
  }

  /** A summary of the stream in one line. */
  get summary(): string {
    const { deliveries, events, ended } = this;
    const last = deliveries.at(-1);
    return [
      `${deliveries.length} deliveries with ${events.length} events`,
      ...(last === undefined ? [] : [`the last one starts at ${last.afterSequence}`]),
      ended === undefined ? 'still open' : `ended with ${brief(ended)}`,
    ].join(', ');
  }

  close(): void {
    this.#close();
  }

  async #read({ messages, requestId }: OpenStream): Promise<void> {
    try {
      for await (const message of messages) {
        this.messages.push(message);
        if (
          message.method === undefined &&
          (message.id === requestId || message.error !== undefined)
        ) {
          this.ended =
            message.error === undefined ? { result: message.result } : { error: message.error };
          return;
        }
      }
      this.ended ??= { broke: 'the response ended without a result' };
    } catch (broke) {
      this.ended = { broke };
    }
  }
}
