/** The core: what is true and what must be done, decided without a clock, chance or an await. */
export type * from './types.ts';
export {
  acceptableStatement,
  backoffMs,
  classifyAnswer,
  classifyFailure,
  parseRetryAfter,
  type Answer,
  type Sent,
} from './attempt.ts';
export { canonicalText, jsonEqual } from './canonical.ts';
export { etagOf } from './etag.ts';
export { grantTtl, renewAfter, type TtlPolicy } from './grant.ts';
export { InvariantError, type InvariantCode } from './invariant.ts';
export {
  assemble,
  type Batch,
  type BatchLimits,
  type Gap,
  type LogItem,
  type Readable,
} from './log.ts';
export { MatchIndex } from './selection.ts';
export { deliverable, dueAt, expired, oldest, statusOf, trimDueAt } from './state.ts';
export { create, step, type Seed } from './subscription.ts';
export { needsVerification, reverifyAt, type ConsentPolicy } from './verification.ts';
