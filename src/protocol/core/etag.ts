/** The ETag of a subscription (SEP: ETags). */
import type { Subscription } from './types.ts';

/**
 * Changes exactly when the configuration or the epoch does. The epoch is in it because a store that lost writes may have lost
 * configuration changes too, and would otherwise count its way back to a version that a client already knows.
 */
export function etagOf(subscription: Pick<Subscription, 'epoch' | 'version'>): string {
  return `${subscription.epoch.slice(0, 8)}-${subscription.version.toString(36)}`;
}
