/**
 * Implicit subscriptions: logs for clients that never call `triggers/subscribe`. A poll of
 * `events/*`, a feed read as a resource and a watch made by a tool name only what they follow; the
 * selection is the key of the log, and every call renews it.
 */
import type { Selection, Subscription } from '../../../spec-schema/draft/schema.ts';
import type { BindableEngine, Caller } from '../engine/verbs.ts';
import { subscriptionKey } from '../../protocol/wire/canonical.ts';

/**
 * The binding that made the subscription. Each has its own log, so reading through one acknowledges
 * nothing for another.
 */
export type ImplicitKind = 'events' | 'feed' | 'watch';

/**
 * A subscription is renewed when less than this share of its granted lifetime is left: each renewal
 * costs a commit.
 */
const RENEW_BELOW = 2 / 3;

/**
 * Whether to renew a subscription now. Compares with the lifetime that the server granted, which
 * may be shorter than the one asked for.
 */
export const needsRenewal = (
  { expiresAt, ttlMs }: Pick<Subscription, 'expiresAt' | 'ttlMs'>,
  now: number,
): boolean =>
  expiresAt !== null && ttlMs !== null && Date.parse(expiresAt) - now < ttlMs * RENEW_BELOW;

/** The subscription key of an implicit subscription. */
export const implicitSubscriptionKey = (kind: ImplicitKind, selection: Selection): string =>
  `${kind}:${subscriptionKey([selection], null)}`;

/** The result of {@link implicitSubscription}. */
export interface ImplicitSubscription {
  readonly subscription: Subscription;
  /** Whether this call made it. */
  readonly created: boolean;
}

/**
 * Returns the caller's subscription for this selection. Creates it if it does not exist and renews
 * it if {@link needsRenewal} says so, both with a lifetime of `ttlMs` within the server's bounds.
 * Rejects as `triggers/subscribe` does: `NotFound` (trigger), `Forbidden`, `InvalidParams`,
 * `ResourceExhausted`.
 */
export async function implicitSubscription(
  engine: BindableEngine,
  caller: Caller,
  kind: ImplicitKind,
  selection: Selection,
  ttlMs: number,
  now: number,
): Promise<ImplicitSubscription> {
  const key = implicitSubscriptionKey(kind, selection);
  const found = await engine.find(caller, key);
  if (found !== null && !needsRenewal(found, now)) return { subscription: found, created: false };
  const { created, ...subscription } = await engine.subscribe(caller, {
    key,
    select: [selection],
    ttlMs,
  });
  return { subscription, created };
}
