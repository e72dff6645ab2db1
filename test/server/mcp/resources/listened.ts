/** A response stream as it arrives, message by message, without any SDK. */
import { eventually } from '../../../journeys/support.ts';

export interface Message {
  readonly id?: number | string;
  readonly method?: string;
  readonly params?: Record<string, any>;
  readonly result?: Record<string, any>;
  readonly error?: { readonly code: number; readonly data?: Record<string, unknown> };
}

export class Listened {
  readonly messages: Message[] = [];
  /** Null while it is open. */
  over: 'ended' | 'broken' | null = null;
  readonly #cut: AbortController;

  constructor(response: Response, cut: AbortController) {
    this.#cut = cut;
    void this.#read(response).then(
      () => (this.over = 'ended'),
      () => (this.over = 'broken'),
    );
  }

  /** Opens a stream; `ask` gets the signal that cancels it. */
  static async open(ask: (signal: AbortSignal) => Promise<Response>): Promise<Listened> {
    const cut = new AbortController();
    return new Listened(await ask(cut.signal), cut);
  }

  async #read(response: Response): Promise<void> {
    if (response.headers.get('content-type')?.includes('event-stream') !== true) {
      this.messages.push((await response.json()) as Message);
      return;
    }
    let rest = '';
    for await (const text of response.body!.pipeThrough(new TextDecoderStream())) {
      const frames = (rest + text).split('\n\n');
      rest = frames.pop()!;
      for (const frame of frames) {
        const data = frame.split('\n').find((line) => line.startsWith('data: '));
        if (data !== undefined) this.messages.push(JSON.parse(data.slice(6)) as Message);
      }
    }
  }

  /** The acknowledged filter. */
  async acknowledged(): Promise<Record<string, unknown>> {
    const first = await eventually('the acknowledgement', () => this.messages[0]);
    if (first.method !== 'notifications/subscriptions/acknowledged')
      throw new Error(`Not an acknowledgement: ${JSON.stringify(first)}`);
    return first.params?.['notifications'] as Record<string, unknown>;
  }

  /** URIs of the notifications received. */
  get notifications(): string[] {
    return this.of('notifications/resources/updated').map(
      ({ params }) => params?.['uri'] as string,
    );
  }

  of(method: string): Message[] {
    return this.messages.filter((message) => message.method === method);
  }

  cut(): void {
    this.#cut.abort();
  }
}
