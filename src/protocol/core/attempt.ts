/**
 * Classifies an endpoint's answer (SEP: Answers), and computes the delay after a failure. A status
 * that is not in the table counts as a transient failure, because a retry loses nothing.
 */
import { parseHttpDate } from './http-date.ts';
import { BACKOFF_BASE_MS, BACKOFF_MAX_MS, RETRY_AFTER_MAX_MS } from './policy.ts';
import type { FailureCategory, Outcome } from './types.ts';

/** The HTTP response of a callback endpoint. */
export interface Answer {
  readonly status: number;
  /** The header `Retry-After`. */
  readonly retryAfter: string | null;
  /** The parsed body; undefined when it is empty or not JSON. The content type is ignored. */
  readonly body: unknown;
  /** Time of arrival in epoch milliseconds, for a `Retry-After` that is a date. */
  readonly now: number;
}

/** The range of the delivery: `after + 1 … to`. */
export interface Sent {
  readonly after: number;
  readonly to: number;
}

const NO_ACK: Outcome = { kind: 'transient', category: 'no_ack', retryAfterMs: null };
const CONFIG: Outcome = { kind: 'config', category: 'http_4xx' };
const transient =
  (category: FailureCategory) =>
  (answer: Answer): Outcome => ({
    kind: 'transient',
    category,
    retryAfterMs: honorsRetryAfter(answer.status)
      ? parseRetryAfter(answer.retryAfter, answer.now)
      : null,
  });

type Classifier = (answer: Answer, sent: Sent) => Outcome;

/** Classifiers by range of status; the first match counts. */
const BY_STATUS: readonly (readonly [from: number, to: number, classify: Classifier])[] = [
  [200, 299, (answer, sent) => classifyAck(answer, sent)],
  // A redirect is never followed: nobody verified its target.
  [300, 399, () => CONFIG],
  [400, 401, () => CONFIG],
  [403, 404, () => CONFIG],
  [410, 410, () => ({ kind: 'gone' })],
  [413, 413, () => ({ kind: 'too_large' })],
  [415, 415, () => CONFIG],
  [422, 422, () => CONFIG],
  [400, 499, transient('http_4xx')],
];

/** Classifies an answer to a delivery of `sent`. Never throws. */
export function classifyAnswer(answer: Answer, sent: Sent): Outcome {
  const row = BY_STATUS.find(([from, to]) => answer.status >= from && answer.status <= to);
  return (row?.[2] ?? transient('http_5xx'))(answer, sent);
}

/** Returns the outcome of an attempt that got no answer. */
export function classifyFailure(category: FailureCategory): Outcome {
  return { kind: 'transient', category, retryAfterMs: null };
}

/**
 * Classifies a 2xx answer. Only a body with `ackSequence` acknowledges: a parked domain or a login
 * page must not.
 */
function classifyAck(answer: Answer, sent: Sent): Outcome {
  if (!isRecord(answer.body)) return NO_ACK;
  const { ackSequence: ack, reject } = answer.body;
  const rejected = reject === undefined ? null : isRecord(reject) ? reject['sequence'] : undefined;
  if (typeof ack !== 'number' || (rejected !== null && typeof rejected !== 'number')) return NO_ACK;
  return isAcceptableAck(ack, rejected, sent) ? { kind: 'acked', ack, reject: rejected } : NO_ACK;
}

/**
 * Whether an answer with these numbers is valid for this delivery: `after <= ack <= to`, `reject` is
 * the number after `ack`, and at least one number is acknowledged or rejected unless the delivery was
 * empty. `step` repeats the check, so that no caller can damage the log.
 */
export function isAcceptableAck(ack: number, reject: number | null, { after, to }: Sent): boolean {
  if (!Number.isSafeInteger(ack) || ack < after || ack > to) return false;
  if (reject !== null) return reject === ack + 1 && reject <= to;
  return ack > after || after === to;
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

/** Whether `Retry-After` counts: of the transient statuses, only these define it. */
function honorsRetryAfter(status: number): boolean {
  return status === 429 || status === 503;
}

/**
 * Converts `Retry-After` into milliseconds from `now`, at most an hour; null when it is absent or
 * malformed (RFC 9110, section 10.2.3).
 */
export function parseRetryAfter(value: string | null, now: number): number | null {
  if (value === null) return null;
  const text = value.trim();
  if (/^[0-9]+$/.test(text)) return Math.min(RETRY_AFTER_MAX_MS, Number(text) * 1000);
  const at = parseHttpDate(text, now);
  return at === null ? null : Math.min(RETRY_AFTER_MAX_MS, Math.max(0, at - now));
}

/**
 * Returns the delay in ms before the next attempt: full jitter below a bound that doubles with each
 * of the `failures` in a row, but never less than `retryAfterMs`. `jitter` is uniform in [0, 1).
 */
export function backoffMs(failures: number, jitter: number, retryAfterMs: number | null): number {
  const bound = Math.min(BACKOFF_MAX_MS, BACKOFF_BASE_MS * 2 ** Math.min(failures - 1, 32));
  return Math.max(retryAfterMs ?? 0, Math.round(jitter * bound));
}
