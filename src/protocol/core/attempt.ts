/**
 * What an endpoint's answer means (SEP: Answers), and how long to wait after a failure. The table of status codes is the whole
 * policy; everything not named in it is transient, because retrying loses nothing and giving up does.
 */
import { parseHttpDate } from './http-date.ts';
import { BACKOFF_BASE_MS, BACKOFF_MAX_MS, RETRY_AFTER_MAX_MS } from './policy.ts';
import type { FailureCategory, Outcome } from './types.ts';

/** What an endpoint answered to a message. */
export interface Answer {
  readonly status: number;
  readonly retryAfter: string | null;
  /** The parsed body; undefined when there is none or it is no JSON. What the content type says does not matter. */
  readonly body: unknown;
  /** When it arrived, for a `Retry-After` that is a date. */
  readonly now: number;
}

/** The range that was sent: `after + 1 … to`. */
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
    retryAfterMs: honoursRetryAfter(answer.status)
      ? parseRetryAfter(answer.retryAfter, answer.now)
      : null,
  });

type Reading = (answer: Answer, sent: Sent) => Outcome;

/** First row that fits decides. */
const READINGS: readonly (readonly [from: number, to: number, reading: Reading])[] = [
  [200, 299, (answer, sent) => readStatement(answer, sent)],
  // Never followed: a redirect would be an address nobody verified.
  [300, 399, () => CONFIG],
  [400, 401, () => CONFIG],
  [403, 404, () => CONFIG],
  [410, 410, () => ({ kind: 'gone' })],
  [413, 413, () => ({ kind: 'too_large' })],
  [415, 415, () => CONFIG],
  [422, 422, () => CONFIG],
  [400, 499, transient('http_4xx')],
];

/** What this answer to a delivery of `sent` means. Never throws: whatever an endpoint says, there is a reading. */
export function classifyAnswer(answer: Answer, sent: Sent): Outcome {
  const row = READINGS.find(([from, to]) => answer.status >= from && answer.status <= to);
  return (row?.[2] ?? transient('http_5xx'))(answer, sent);
}

/** No answer came: why, as a fixed category. */
export function classifyFailure(category: FailureCategory): Outcome {
  return { kind: 'transient', category, retryAfterMs: null };
}

/** A 2xx acknowledges only in words; a parked domain or a login page is no acknowledgement. */
function readStatement(answer: Answer, sent: Sent): Outcome {
  if (!isRecord(answer.body)) return NO_ACK;
  const { ack, reject } = answer.body;
  const named = reject === undefined ? null : isRecord(reject) ? reject['sequence'] : undefined;
  if (typeof ack !== 'number' || (named !== null && typeof named !== 'number')) return NO_ACK;
  return acceptableStatement(ack, named, sent) ? { kind: 'acked', ack, reject: named } : NO_ACK;
}

/**
 * Whether `{ ack, reject }` may answer this delivery: `after <= ack <= to`, `reject` is the number after `ack`, and something
 * is settled by it unless the delivery was empty. Checked again by `step`, where it guards the log itself.
 */
export function acceptableStatement(
  ack: number,
  reject: number | null,
  { after, to }: Sent,
): boolean {
  if (!Number.isSafeInteger(ack) || ack < after || ack > to) return false;
  if (reject !== null) return reject === ack + 1 && reject <= to;
  return ack > after || after === to;
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

/** Elsewhere the header has no meaning we know. */
function honoursRetryAfter(status: number): boolean {
  return status === 429 || status === 503;
}

/** `Retry-After` in ms from `now`, capped at an hour; null when absent or not understood (RFC 9110, section 10.2.3). */
export function parseRetryAfter(value: string | null, now: number): number | null {
  if (value === null) return null;
  const text = value.trim();
  if (/^[0-9]+$/.test(text)) return Math.min(RETRY_AFTER_MAX_MS, Number(text) * 1000);
  const at = parseHttpDate(text, now);
  return at === null ? null : Math.min(RETRY_AFTER_MAX_MS, Math.max(0, at - now));
}

/**
 * Delay before the next attempt after `failures` in a row: full jitter under a doubling bound, but never sooner than the
 * endpoint asked for. `jitter` is uniform in [0, 1).
 */
export function backoffMs(failures: number, jitter: number, retryAfterMs: number | null): number {
  const bound = Math.min(BACKOFF_MAX_MS, BACKOFF_BASE_MS * 2 ** Math.min(failures - 1, 32));
  return Math.max(retryAfterMs ?? 0, Math.round(jitter * bound));
}
