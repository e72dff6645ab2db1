/**
 * Interprets the answers of endpoints: the outcome of a delivery, and the result of a challenge.
 */
import { classifyAnswer, classifyFailure } from '../../protocol/core/index.ts';
import type { FailureCategory, Outcome, Subscription } from '../../protocol/core/types.ts';
import { CALLBACK_ANSWER_BYTES_MAX } from '../../protocol/wire/limits.ts';
import type { Secret } from '../../protocol/wire/secret.ts';
import type { OutboundResult } from '../engine/ports.ts';
import type { LogRange } from '../engine/reader.ts';
import type { CallbackDialect } from './dialect.ts';

/** The outcome of an attempt to deliver `range`. */
export function outcomeOf(
  dialect: CallbackDialect,
  result: OutboundResult,
  range: LogRange,
  state: Subscription,
  now: number,
): Outcome {
  if (result.kind === 'failure') return classifyFailure(result.category);
  const { status, retryAfter } = result;
  const body = isSuccess(status) ? parseBody(result.body) : undefined;
  return dialect.classify({ status, retryAfter, body, now }, range, state);
}

/** Why the endpoint did not consent to a challenge; null = it did. */
export function challengeFailure(
  dialect: CallbackDialect,
  result: OutboundResult,
  challenge: string,
  secret: Secret,
  now: number,
): FailureCategory | null {
  if (result.kind === 'failure') return result.category;
  const { status, retryAfter } = result;
  if (isSuccess(status))
    return dialect.consents(parseBody(result.body), challenge, secret) ? null : 'challenge_failed';
  const outcome = classifyAnswer({ status, retryAfter, body: undefined, now }, { after: 0, to: 0 });
  if (outcome.kind === 'gone') return 'gone';
  return 'category' in outcome ? outcome.category : 'http_4xx';
}

const isSuccess = (status: number): boolean => status >= 200 && status <= 299;

/** The parsed JSON; undefined if the body is empty, too large or not JSON. */
function parseBody(body: Uint8Array): unknown {
  if (body.byteLength === 0 || body.byteLength > CALLBACK_ANSWER_BYTES_MAX) return undefined;
  try {
    return JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(body));
  } catch {
    return undefined;
  }
}
