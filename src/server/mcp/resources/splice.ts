/**
 * Inserts messages into an SSE stream of JSON-RPC messages. Inserts only between complete frames,
 * because a chunk of the stream can begin and end inside a frame. Each frame has one `data:` line.
 */

/** The members of a JSON-RPC message that are read or replaced here. */
export interface FrameMessage {
  readonly method?: unknown;
  readonly params?: Readonly<Record<string, unknown>>;
  readonly [member: string]: unknown;
}

/** Options of {@link Splice}. */
export interface SpliceOptions {
  /** Returns the messages that replace a message of the stream; null = send it unchanged. */
  readonly rewrite: (message: FrameMessage) => readonly FrameMessage[] | null;
  /** Called once when the stream is over, whichever side ended it. */
  readonly closed: () => void;
}

const FRAME_END = Buffer.from('\n\n');
const DATA = 'data: ';

const frameOf = (message: object): Buffer =>
  Buffer.from(`event: message\n${DATA}${JSON.stringify(message)}\n\n`);

/** Wraps an SSE stream; `body` is the stream with the inserted messages. */
export class Splice {
  readonly body: ReadableStream<Uint8Array>;
  readonly #options: SpliceOptions;
  readonly #source: ReadableStreamDefaultReader<Uint8Array>;
  #controller!: ReadableStreamDefaultController<Uint8Array>;
  #rest: Buffer = Buffer.alloc(0);
  #open = true;

  constructor(source: ReadableStream<Uint8Array>, options: SpliceOptions) {
    this.#options = options;
    this.#source = source.getReader();
    this.body = new ReadableStream<Uint8Array>(
      {
        start: (controller) => void (this.#controller = controller),
        // Nothing is buffered here, so that `withBoundedBacklog` counts every unread byte.
        pull: () => this.#pull(),
        cancel: (reason) => this.#close(reason),
      },
      { highWaterMark: 0 },
    );
  }

  /** Inserts a message. Does nothing once the stream is over. */
  send(message: object): void {
    if (this.#open) this.#controller.enqueue(frameOf(message));
  }

  /** Sends `message`, if given, and ends the stream. */
  end(message?: object): void {
    if (!this.#open) return;
    if (message !== undefined) this.send(message);
    this.#controller.close();
    void this.#close('ended by the server');
  }

  /** Reads chunks until it has passed on at least one complete frame. */
  async #pull(): Promise<void> {
    try {
      for (let passed = false; !passed && this.#open;) {
        const { done, value } = await this.#source.read();
        if (!this.#open) return;
        // An incomplete last frame is dropped.
        if (done) return this.end();
        passed = this.#pass(value);
      }
    } catch (error) {
      if (this.#open) this.#controller.error(error);
      void this.#close(error);
    }
  }

  #pass(chunk: Uint8Array): boolean {
    this.#rest = this.#rest.length === 0 ? Buffer.from(chunk) : Buffer.concat([this.#rest, chunk]);
    let passed = false;
    for (let end = this.#rest.indexOf(FRAME_END); end !== -1; end = this.#rest.indexOf(FRAME_END)) {
      const frame = this.#rest.subarray(0, end + FRAME_END.length);
      this.#rest = this.#rest.subarray(frame.length);
      this.#controller.enqueue(this.#rewritten(frame));
      passed = true;
    }
    return passed;
  }

  #rewritten(frame: Buffer): Buffer {
    const line = frame
      .toString('utf8')
      .split('\n')
      .find((one) => one.startsWith(DATA));
    if (line === undefined) return frame;
    const messages = this.#options.rewrite(JSON.parse(line.slice(DATA.length)) as FrameMessage);
    return messages === null ? frame : Buffer.concat(messages.map(frameOf));
  }

  async #close(reason: unknown): Promise<void> {
    if (!this.#open) return;
    this.#open = false;
    this.#options.closed();
    await this.#source.cancel(reason).catch(() => undefined);
  }
}
