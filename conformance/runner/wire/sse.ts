/**
 * Parses a response body as JSON-RPC messages: one JSON document, or an event stream while it
 * arrives.
 */
import { createParser } from 'eventsource-parser';

/** A JSON-RPC message. */
export interface Message {
  readonly jsonrpc?: unknown;
  readonly id?: unknown;
  readonly method?: string;
  readonly params?: Record<string, unknown>;
  readonly result?: Record<string, unknown>;
  readonly error?: { readonly code: number; readonly message: string; readonly data?: unknown };
}

/** Yields the messages in order and ends with the body. Throws when a frame is not JSON. */
export async function* messagesOf(response: Response): AsyncGenerator<Message, void> {
  if (response.body === null) return;
  if (!(response.headers.get('content-type') ?? '').startsWith('text/event-stream')) {
    const text = await response.text();
    if (text.trim() !== '') yield parse(text);
    return;
  }
  const ready: Message[] = [];
  const parser = createParser({
    onEvent: ({ data }) => {
      if (data !== '') ready.push(parse(data));
    },
  });
  const decoder = new TextDecoder('utf-8', { fatal: true });
  const reader = response.body.getReader();
  try {
    for (;;) {
      const { done, value } = await reader.read();
      if (done) return;
      parser.feed(decoder.decode(value, { stream: true }));
      yield* ready.splice(0);
    }
  } finally {
    await reader.cancel().catch(() => undefined);
  }
}

function parse(text: string): Message {
  try {
    return JSON.parse(text) as Message;
  } catch {
    throw new Error(`the peer sent a frame that is not JSON: ${JSON.stringify(text.slice(0, 80))}`);
  }
}
