/** What passes between a client and the scripted server: requests as they came, ways to answer them wrongly, and open streams. */
import type { ServerResponse } from 'node:http';
import { lastOf } from '../server/callback-endpoint.ts';
import { SUBSCRIPTION_META, type Json } from '../wire/session.ts';
import type { ScriptedLog } from './log.ts';

/** One request of the client. */
export interface Call {
  readonly method: string;
  readonly params: Json;
  readonly id: unknown;
  readonly at: number;
  /** `{ result }` or `{ error }`, once it was answered. */
  answer?: Json;
  answeredAt?: number;
}

/** An answer with a JSON-RPC error. */
export class Refusal extends Error {
  readonly error: Json;

  constructor(code: number, message: string, data?: object) {
    super(message);
    this.error = { code, message, ...(data === undefined ? {} : { data }) };
  }
}

/** The connection is broken off without an answer. */
export class Cut extends Error {}

export const methodNotFound = (): Refusal => new Refusal(-32601, 'Method not found');
export const notFound = (data: object = {}, message = 'Subscription not found.'): Refusal =>
  new Refusal(-32023, message, { kind: 'subscription', ...data });
export const conflict = (
  kind: 'epoch' | 'position',
  { epoch, head, acked }: ScriptedLog,
  message = 'The position cannot be.',
): Refusal => new Refusal(-32602, message, { kind, epoch, head, acked });

/** A stream that the client has opened. */
export class ServedStream {
  readonly call: Call;
  /** Where it begins. */
  readonly after: number;
  /** What the deliveries cover so far. */
  last: number;
  readonly openedAt = Date.now();
  /** When it ended, and who ended it. */
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

  /** Sends what is new, as far as the window allows. `heartbeat`: also when nothing is. */
  pump(heartbeat = false): void {
    const window = this.call.params.window?.events ?? 100;
    const inFlight = this.#log.events.filter(
      ({ sequence }) => sequence > Math.max(this.#log.acked, this.after) && sequence <= this.last,
    ).length;
    const delivery = this.#log.delivery(this.last, Math.max(0, window - inFlight));
    if (lastOf(delivery) > this.last || heartbeat) this.send(delivery);
  }

  /** A delivery, tied to this stream. */
  send(delivery: Json): void {
    this.last = Math.max(this.last, lastOf(delivery));
    this.notify('notifications/triggers/delivery', {
      ...this.#decorate(delivery),
      _meta: { [SUBSCRIPTION_META]: this.call.id },
    });
  }

  notify(method: string, params?: object): void {
    this.#write({ jsonrpc: '2.0', method, ...(params === undefined ? {} : { params }) });
  }

  /** Ends it in good order. */
  finish(): void {
    if (!this.open) return;
    this.call.answer = { result: {} };
    this.call.answeredAt = Date.now();
    this.#write({ jsonrpc: '2.0', id: this.call.id, result: { resultType: 'complete' } });
    this.closed = { at: Date.now(), by: 'server' };
    this.#response.end();
  }

  /** Breaks it off. */
  cut(): void {
    this.closed ??= { at: Date.now(), by: 'server' };
    this.#response.destroy();
  }

  /** As untidy as servers and proxies may be: a comment in front, the frame in two pieces, lines that end in CR LF. */
  #write(message: object): void {
    if (!this.open) return;
    const frame = `: a comment\r\nevent: message\r\ndata: ${JSON.stringify(message)}\r\n\r\n`;
    const half = frame.length >> 1;
    this.#response.write(frame.slice(0, half));
    this.#response.write(frame.slice(half));
  }
}
