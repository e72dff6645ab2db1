/**
 * The core: decides what is true and what must be done, without a clock, randomness or an await.
 */
export type * from './types.ts';
export {
  backoffMs,
  classifyAnswer,
  classifyFailure,
  isAcceptableAck,
  parseRetryAfter,
  type Answer,
  type Sent,
} from './attempt.ts';
export { canonicalText, jsonEqual } from './canonical.ts';
export { InvariantError, type InvariantCode } from './invariant.ts';
export {
  assemble,
  type Batch,
  type BatchLimits,
  type Gap,
  type LogItem,
  type Readable,
} from './log.ts';
export { grantTtl, renewAfter, type ConsentPolicy, type TtlPolicy } from './policy.ts';
export { MatchIndex } from './selection.ts';
export {
  deliverable,
  dueAt,
  etagOf,
  expired,
  needsVerification,
  oldest,
  reverifyAt,
  statusOf,
  trimDueAt,
} from './state.ts';
export { create, step, type Seed } from './subscription.ts';
