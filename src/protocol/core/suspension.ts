/**
 * The end of a suspension that nobody attends to: a subscription without expiry would otherwise keep
 * its log for an endpoint that never comes back (SEP: Suspension).
 */
import { READ_STEP, type Bounds } from './policy.ts';
import type { Input, Step, Subscription } from './types.ts';

/** Inputs that show that somebody reads the log. */
const READING: ReadonlySet<Input['type']> = new Set(['read', 'drain', 'ack']);

/** Returns the step with the `endsAt` that follows from it. */
export function bounded(
  step: Step,
  input: Input['type'],
  now: number,
  { maxSuspendedMs }: Bounds,
): Step {
  const { subscription } = step;
  if (step.refused !== undefined || subscription.terminated !== null) return step;
  const endsAt = endOf(subscription, READING.has(input), now, maxSuspendedMs);
  return endsAt === subscription.endsAt
    ? step
    : { ...step, subscription: { ...subscription, endsAt } };
}

function endOf(
  { suspendedAt, ttlMs, endsAt }: Subscription,
  isRead: boolean,
  now: number,
  maxMs: number | null,
): number | null {
  if (maxMs === null || suspendedAt === null || ttlMs !== null) return null;
  const next = now + maxMs;
  return endsAt === null || (isRead && next - endsAt >= maxMs * READ_STEP) ? next : endsAt;
}
