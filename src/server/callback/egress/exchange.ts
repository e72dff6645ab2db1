/**
 * One POST, as a handler for the HTTP client. Settles once: with the answer, a failure or the
 * deadline. After an irregular answer the connection is closed, so that the rest of the answer is
 * not taken for that of the next request.
 */
import type { IncomingHttpHeaders } from 'node:http';
import { CALLBACK_ANSWER_BYTES_MAX } from '../../../protocol/wire/limits.ts';
import type { OutboundResult } from '../../engine/ports.ts';
import { AttemptFailure, attemptFailureOf } from './failure.ts';

/** The HTTP client's controller, as far as this file uses it. */
interface Controller {
  abort(reason: Error): void;
}

type Answer = Extract<OutboundResult, { readonly kind: 'response' }>;

/** Most interim answers (1xx) to one request. */
const INTERIM_MAX = 8;
const STATUS_MAX = 599;
/**
 * The reason that the HTTP client requires when a settled exchange closes its connection; never
 * shown.
 */
const SETTLED = new Error('settled');

/** The handler of one exchange. Calls either `answered` or `failed`, once. */
export class OutboundExchange {
  readonly #answered: (answer: Answer) => void;
  readonly #failed: (refusal: AttemptFailure) => void;
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
    failed: (refusal: AttemptFailure) => void,
  ) {
    this.#answered = answered;
    this.#failed = failed;
    this.#expiresAt = performance.now() + deadlineMs;
    this.#deadline = setTimeout(expire, deadlineMs, this);
  }

  /** Fails the exchange at its deadline, even while it waits for a connection. */
  expire(): void {
    this.#fail(new AttemptFailure('timeout', 'deadline'));
  }

  /**
   * Called by the HTTP client before it writes the request. Checks the clock too, because the timer
   * can be late on a busy machine.
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
        this.#fail(new AttemptFailure('connection_refused', 'interim_flood'));
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
    this.#fail(attemptFailureOf(error, 'exchange'));
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

  #fail(refusal: AttemptFailure): void {
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

/** The value of a header; null if it is absent, or repeated and therefore ambiguous. */
const single = (value: string | string[] | undefined): string | null =>
  typeof value === 'string' ? value : null;
