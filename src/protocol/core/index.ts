/**
 * The core: pure functions that compute the next state of a subscription and the effects to perform,
 * without a clock, a random source or an await.
 */
export type * from './types.ts';
export {
  backoffMs,
  classifyAnswer,
  classifyFailure,
  parseRetryAfter,
  type Answer,
} from './attempt.ts';
export { canonicalText, jsonEqual } from './canonical.ts';
export { assemble, type Batch, type LogItem } from './log.ts';
export {
  grantTtl,
  renewAfter,
  type Bounds,
  type SuggestedLifetime,
  type TtlPolicy,
} from './policy.ts';
export { MatchIndex } from './selection.ts';
export {
  deliverable,
  dueAt,
  etagOf,
  expired,
  needsVerification,
  oldest,
  reverifyAt,
  callbackStateOf,
  isOversized,
  trimDueAt,
} from './state.ts';
export { create, step } from './subscription.ts';
