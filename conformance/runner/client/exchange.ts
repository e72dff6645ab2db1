/**
 * Messages between a client and the scripted server: recorded requests, error responses and open
 * streams.
 */
import type { ServerResponse } from 'node:http';
import { lastOf } from '../server/callback-endpoint.ts';
import type { Json } from '../wire/session.ts';
import type { ScriptedLog } from './log.ts';

/** A request that the client sent, and the response. */
export interface Call {
  readonly method: string;
  readonly params: Json;
  readonly id: unknown;
  /** Time of arrival, in epoch milliseconds. */
  readonly at: number;
  /** `{ result }` or `{ error }`; undefined until the server has responded. */
  answer?: Json;
  answeredAt?: number;
}

/** Thrown to answer with a JSON-RPC error. */
export class ErrorResponse extends Error {
  readonly error: Json;

  constructor(code: number, message: string, data?: object) {
    super(message);
    this.error = { code, message, ...(data === undefined ? {} : { data }) };
  }
}

/** Thrown to drop the connection without a response. */
export class DropConnection extends Error {}

export const methodNotFound = (): ErrorResponse => new ErrorResponse(-32601, 'Method not found');
export const notFound = (data: object = {}, message = 'Subscription not found.'): ErrorResponse =>
  new ErrorResponse(-32023, message, { kind: 'subscription', ...data });
export const conflict = (
  kind: 'epoch' | 'position',
  { epoch, head, acked }: ScriptedLog,
  message = 'The position is not acceptable.',
): ErrorResponse => new ErrorResponse(-32602, message, { kind, epoch, head, acked });

/** A stream that the client opened. */
export class ServedStream {
  readonly call: Call;
  /** The sequence number after which it starts. */
  readonly after: number;
  /** The last sequence number that its deliveries cover. */
  last: number;
  readonly openedAt = Date.now();
  /** When it ended, and which side ended it. */
  closed: { readonly at: number; readonly by: 'client' | 'server' } | undefined;
  readonly #log: ScriptedLog;
  readonly #response: ServerResponse;
  readonly #decorate: (delivery: Json) => Json;

  constructor(
    call: Call,
    after: number,
    {
      log,
      response,
      decorate,
    }: {
      readonly log: ScriptedLog;
      readonly response: ServerResponse;
      readonly decorate: (delivery: Json) => Json;
    },
  ) {
    this.call = call;
    this.after = after;
    this.last = after;
    this.#log = log;
    this.#response = response;
    this.#decorate = decorate;
    response.on('close', () => {
      this.closed ??= { at: Date.now(), by: 'client' };
    });
  }

  get open(): boolean {
    return this.closed === undefined;
  }

  /**
   * Sends new events as far as the window allows. `heartbeat`: sends a delivery even without new
   * events.
   */
  flush(heartbeat = false): void {
    const window = this.call.params.window?.events ?? 100;
    const inFlight = this.#log.events.filter(
      ({ sequence }) => sequence > Math.max(this.#log.acked, this.after) && sequence <= this.last,
    ).length;
    const delivery = this.#log.delivery(this.last, Math.max(0, window - inFlight));
    if (lastOf(delivery) > this.last || heartbeat) this.send(delivery);
  }

  /** Sends a delivery that names the request that opened this stream. */
  send(delivery: Json): void {
    this.last = Math.max(this.last, lastOf(delivery));
    this.notify('notifications/triggers/delivery', {
      ...this.#decorate(delivery),
      requestId: this.call.id,
    });
  }

  notify(method: string, params?: object): void {
    this.#write({ jsonrpc: '2.0', method, ...(params === undefined ? {} : { params }) });
  }

  /** Ends the stream with its final result. */
  finish(): void {
    if (!this.open) return;
    this.call.answer = { result: {} };
    this.call.answeredAt = Date.now();
    this.#write({ jsonrpc: '2.0', id: this.call.id, result: { resultType: 'complete' } });
    this.closed = { at: Date.now(), by: 'server' };
    this.#response.end();
  }

  /** Drops the connection. */
  abort(): void {
    this.closed ??= { at: Date.now(), by: 'server' };
    this.#response.destroy();
  }

  /**
   * Writes a message in an inconvenient but valid form, as servers and proxies may: with a leading
   * comment, in two chunks, with CR LF as line ends.
   */
  #write(message: object): void {
    if (!this.open) return;
    const frame = `: a comment\r\nevent: message\r\ndata: ${JSON.stringify(message)}\r\n\r\n`;
    const half = frame.length >> 1;
    this.#response.write(frame.slice(0, half));
    this.#response.write(frame.slice(half));
  }
}
