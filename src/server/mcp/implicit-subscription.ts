/**
 * Implicit subscriptions: logs for clients that never call `triggers/subscribe`. Polls and streams
 * of `events/*`, feeds, and watches made by a tool name only what they follow, so the key of the log
 * is made from the selection. Later requests find the log by this key and renew it.
 */
import type { Selection, Subscription } from '../../../spec-schema/draft/schema.ts';
import type { BindableEngine, Caller } from '../engine/verbs.ts';
import { selectName } from '../../protocol/wire/canonical.ts';
import { WireError } from '../../protocol/wire/errors.ts';

/**
 * The binding that made the subscription. Each binding has its own log for a selection, so reading
 * through one acknowledges nothing for another.
 */
export type ImplicitKind = 'events' | 'feed' | 'watch';

/**
 * A subscription is renewed only when less than this share of its granted lifetime is left, because
 * each renewal costs a commit.
 */
const RENEW_BELOW = 2 / 3;

/**
 * Whether to renew a subscription now (`now` in epoch milliseconds). `ttlMs` is the granted
 * lifetime, which may be shorter than the requested one.
 */
export const needsRenewal = (
  { expiresAt, ttlMs }: Pick<Subscription, 'expiresAt' | 'ttlMs'>,
  now: number,
): boolean =>
  expiresAt !== undefined &&
  ttlMs !== undefined &&
  Date.parse(expiresAt) - now < ttlMs * RENEW_BELOW;

/** The subscription key of an implicit subscription. */
export const implicitSubscriptionKey = (kind: ImplicitKind, selection: Selection): string =>
  `${kind}:${selectName([selection])}`;

/** The result of {@link implicitSubscription}. */
export interface ImplicitSubscription {
  readonly subscription: Subscription;
  /** Whether this call created it. */
  readonly created: boolean;
}

/**
 * Returns the caller's subscription for this selection. Creates it if it does not exist, and renews
 * it if {@link needsRenewal} says so; in both cases requests a lifetime of `ttlMs`. Rejects as
 * `triggers/subscribe` does: `NotFound` (trigger), `Forbidden`, `InvalidParams`,
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

/**
 * Whether the caller may no longer follow the type of a log: a type that it cannot see is not
 * found.
 */
export const isDenied = (error: unknown): error is WireError =>
  error instanceof WireError &&
  (error.is('Forbidden') || (error.is('NotFound') && error.data.kind === 'trigger'));
