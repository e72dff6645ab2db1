/**
 * One POST: the handler that the HTTP client calls. Settles once, by the answer, a failure or the
 * deadline. An irregular answer also closes the connection, so that no rest of it reaches the next
 * request.
 */
import type { IncomingHttpHeaders } from 'node:http';
import { CALLBACK_ANSWER_BYTES_MAX } from '../../../protocol/wire/limits.ts';
import type { OutboundResult } from '../../engine/ports.ts';
import { DestinationRefused, refusalOf } from './failure.ts';

/** The used part of the HTTP client's controller. */
interface Controller {
  abort(reason: Error): void;
}

type Answer = Extract<OutboundResult, { readonly kind: 'response' }>;

/** Most interim answers (1xx). */
const INTERIM_MAX = 8;
const STATUS_MAX = 599;
/** The internal reason for closing the connection of a settled exchange. */
const SETTLED = new Error('settled');

/** Calls `answered` or `failed` once. */
export class OutboundExchange {
  readonly #answered: (answer: Answer) => void;
  readonly #failed: (refusal: DestinationRefused) => void;
  readonly #deadline: NodeJS.Timeout;
  readonly #expiresAt: number;
  #controller: Controller | null = null;
  #settled = false;
  #interim = 0;
  #status = 0;
  #contentType: string | null = null;
  #retryAfter: string | null = null;
  #body: Uint8Array = new Uint8Array(0);

  constructor(
    deadlineMs: number,
    answered: (answer: Answer) => void,
    failed: (refusal: DestinationRefused) => void,
  ) {
    this.#answered = answered;
    this.#failed = failed;
    this.#expiresAt = performance.now() + deadlineMs;
    this.#deadline = setTimeout(expire, deadlineMs, this);
  }

  /** The deadline starts with the call and also ends an exchange that waits for a connection. */
  expire(): void {
    this.#fail(new DestinationRefused('timeout', 'deadline'));
  }

  /**
   * The client calls this before it writes the request. Compares the clock, because a timer can be
   * late on a busy machine.
   */
  onRequestStart(controller: Controller): void {
    this.#controller = controller;
    if (this.#settled) controller.abort(SETTLED);
    else if (performance.now() >= this.#expiresAt) this.expire();
  }

  onResponseStart(_controller: Controller, status: number, headers: IncomingHttpHeaders): void {
    if (status < 200) {
      this.#interim += 1;
      if (this.#interim > INTERIM_MAX)
        this.#fail(new DestinationRefused('connection_refused', 'interim_flood'));
      return;
    }
    this.#status = status;
    this.#contentType = single(headers['content-type']);
    this.#retryAfter = single(headers['retry-after']);
    if (status > STATUS_MAX) this.#answer(true);
  }

  onResponseData(_controller: Controller, chunk: Uint8Array): void {
    const room = CALLBACK_ANSWER_BYTES_MAX - this.#body.length;
    const kept = chunk.length > room ? chunk.subarray(0, room) : chunk;
    // Nearly every answer is one small chunk, which needs no copy.
    this.#body = this.#body.length === 0 ? kept : Buffer.concat([this.#body, kept]);
    if (chunk.length > room) this.#answer(true);
  }

  onResponseEnd(): void {
    this.#answer(false);
  }

  onResponseError(_controller: Controller, error: Error): void {
    this.#fail(refusalOf(error, 'exchange'));
  }

  #answer(irregular: boolean): void {
    if (!this.#settle(irregular)) return;
    this.#answered({
      kind: 'response',
      status: this.#status,
      contentType: this.#contentType,
      retryAfter: this.#retryAfter,
      body: this.#body,
    });
  }

  #fail(refusal: DestinationRefused): void {
    if (this.#settle(true)) this.#failed(refusal);
  }

  #settle(drop: boolean): boolean {
    if (this.#settled) return false;
    this.#settled = true;
    clearTimeout(this.#deadline);
    if (drop) this.#controller?.abort(SETTLED);
    return true;
  }
}

function expire(exchange: OutboundExchange): void {
  exchange.expire();
}

/** Null for a repeated header, which is ambiguous. */
const single = (value: string | string[] | undefined): string | null =>
  typeof value === 'string' ? value : null;
