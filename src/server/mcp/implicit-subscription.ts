/**
 * Logs for clients that know no subscriptions. A poll of `events/*`, a feed that is read as a resource and a watch by a tool say what they
 * follow and nothing else: their log is found by that, and it is kept for as long as they come.
 */
import type { Selection, Subscription } from '../../../spec-schema/draft/schema.ts';
import type { BindableEngine, Caller } from '../engine/verbs.ts';
import { subscriptionKey } from '../../protocol/wire/canonical.ts';

/** Each has logs of its own, so that what one has read is not taken as read by another. */
export type Surface = 'events' | 'feed' | 'watch';

/** What is left of the lease when it is worth a commit to extend it. */
const RENEW_BELOW = 2 / 3;

/** Whether so much is left of a lease that extending it is not worth a commit. Measured by the grant, which the server may have cut. */
export const isFresh = (
  { expiresAt, ttlMs }: Pick<Subscription, 'expiresAt' | 'ttlMs'>,
  now: number,
): boolean =>
  expiresAt === null || ttlMs === null || Date.parse(expiresAt) - now >= ttlMs * RENEW_BELOW;

/** The key of a leased log: what it follows, and for whom. */
export const implicitSubscriptionKey = (surface: Surface, selection: Selection): string =>
  `${surface}:${subscriptionKey([selection], null)}`;

/** A log, and whether it has just begun. */
export interface ImplicitSubscription {
  readonly subscription: Subscription;
  readonly created: boolean;
}

/**
 * The caller's log for this selection, made if there is none, with a lease of `leaseMs` (within the server's bounds). Rejects as
 * `triggers/subscribe` does: `NotFound` (trigger), `Forbidden`, `InvalidParams`, `ResourceExhausted`.
 */
export async function implicitSubscription(
  engine: BindableEngine,
  caller: Caller,
  surface: Surface,
  selection: Selection,
  leaseMs: number,
  now: number,
): Promise<ImplicitSubscription> {
  const key = implicitSubscriptionKey(surface, selection);
  const found = await engine.find(caller, key);
  if (found !== null && isFresh(found, now)) return { subscription: found, created: false };
  const { created, ...subscription } = await engine.subscribe(caller, {
    key,
    select: [selection],
    ttlMs: leaseMs,
  });
  return { subscription, created };
}
