/**
 * Classifies an endpoint's answer (SEP: Answers), and computes the delay after a failure. The table
 * of status codes is the whole policy; every other status is transient, because a retry loses
 * nothing.
 */
import { parseHttpDate } from './http-date.ts';
import { BACKOFF_BASE_MS, BACKOFF_MAX_MS, RETRY_AFTER_MAX_MS } from './policy.ts';
import type { FailureCategory, Outcome } from './types.ts';

/** An endpoint's response. */
export interface Answer {
  readonly status: number;
  readonly retryAfter: string | null;
  /** The parsed body; undefined when it is empty or not JSON. The content type is ignored. */
  readonly body: unknown;
  /** Time of arrival, for a `Retry-After` that is a date. */
  readonly now: number;
}

/** The range sent: `after + 1 … to`. */
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

/** By range of status; the first match counts. */
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

/** Classifies an attempt without an answer. */
export function classifyFailure(category: FailureCategory): Outcome {
  return { kind: 'transient', category, retryAfterMs: null };
}

/** A 2xx acknowledges only explicitly: a parked domain or a login page must not acknowledge. */
function classifyAck(answer: Answer, sent: Sent): Outcome {
  if (!isRecord(answer.body)) return NO_ACK;
  const { ack, reject } = answer.body;
  const named = reject === undefined ? null : isRecord(reject) ? reject['sequence'] : undefined;
  if (typeof ack !== 'number' || (named !== null && typeof named !== 'number')) return NO_ACK;
  return isAcceptableAck(ack, named, sent) ? { kind: 'acked', ack, reject: named } : NO_ACK;
}

/**
 * Whether `{ ack, reject }` may answer this delivery: `after <= ack <= to`, `reject` is the number
 * after `ack`, and at least one number is settled unless the delivery was empty. `step` checks it
 * again to protect the log.
 */
export function isAcceptableAck(ack: number, reject: number | null, { after, to }: Sent): boolean {
  if (!Number.isSafeInteger(ack) || ack < after || ack > to) return false;
  if (reject !== null) return reject === ack + 1 && reject <= to;
  return ack > after || after === to;
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

/** Only with these statuses does the header have a defined meaning. */
function honorsRetryAfter(status: number): boolean {
  return status === 429 || status === 503;
}

/**
 * `Retry-After` in ms from `now`, at most an hour; null when absent or malformed (RFC 9110, section
 * 10.2.3).
 */
export function parseRetryAfter(value: string | null, now: number): number | null {
  if (value === null) return null;
  const text = value.trim();
  if (/^[0-9]+$/.test(text)) return Math.min(RETRY_AFTER_MAX_MS, Number(text) * 1000);
  const at = parseHttpDate(text, now);
  return at === null ? null : Math.min(RETRY_AFTER_MAX_MS, Math.max(0, at - now));
}

/**
 * Delay in ms before the next attempt after `failures` consecutive failures: full jitter below a
 * doubling bound, but never shorter than `retryAfterMs`. `jitter` is uniform in [0, 1).
 */
export function backoffMs(failures: number, jitter: number, retryAfterMs: number | null): number {
  const bound = Math.min(BACKOFF_MAX_MS, BACKOFF_BASE_MS * 2 ** Math.min(failures - 1, 32));
  return Math.max(retryAfterMs ?? 0, Math.round(jitter * bound));
}
