/**
 * One `triggers/stream` response as it arrives over HTTP: the messages in order, and how it ended.
 */
import assert from 'node:assert/strict';
import { eventually, type Json } from './values.ts';

/**
 * Reads a response to its end, whether it is one answer or a stream of events; each message is
 * available as soon as it arrives.
 */
export async function readInto(messages: Json[], response: Response): Promise<void> {
  if (response.headers.get('content-type')?.includes('event-stream') !== true)
    return void messages.push((await response.json()) as Json);
  let text = '';
  const decoder = new TextDecoder();
  for await (const chunk of response.body ?? []) {
    text += decoder.decode(chunk as Uint8Array, { stream: true });
    const lines = text.split('\n');
    text = lines.pop() ?? '';
    for (const line of lines)
      if (line.startsWith('data: ') && line.length > 6)
        messages.push(JSON.parse(line.slice(6)) as Json);
  }
}

export class StreamReader {
  readonly id: number | string;
  readonly messages: Json[] = [];
  #over = false;
  #read = 0;
  readonly #controller: AbortController;

  constructor(id: number | string, response: Response, controller: AbortController) {
    this.id = id;
    this.#controller = controller;
    void readInto(this.messages, response)
      .catch(() => undefined)
      .finally(() => {
        this.#over = true;
      });
  }

  get deliveries(): Json[] {
    return this.messages
      .filter(({ method }) => method === 'notifications/triggers/delivery')
      .map(({ params }) => params as Json);
  }
  get over(): boolean {
    return this.#over;
  }

  /** The next delivery that was not read yet. */
  async next(): Promise<Json> {
    const at = this.#read++;
    return eventually(
      `delivery ${at + 1} on the stream`,
      () =>
        this.deliveries[at] ??
        (this.#over && assert.fail(`the stream is over: ${JSON.stringify(this.messages.at(-1))}`)),
    );
  }

  /** Deliveries that arrived and were not read. */
  get unread(): number {
    return this.deliveries.length - this.#read;
  }

  /** The last message, once the response has ended. */
  async end(): Promise<Json> {
    await eventually('the end of the stream', () => this.#over);
    return this.messages.at(-1) ?? assert.fail('the stream ended without a result');
  }

  close(): void {
    this.#controller.abort();
  }
}
