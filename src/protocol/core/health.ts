/** How a callback's record of failures starts, and how a client's return wipes it. */
import type { Health, Subscription } from './types.ts';

export const HEALTHY: Health = {
  attempts: 0,
  configFailures: 0,
  failingSince: null,
  lastError: null,
  lastDeliveryAt: null,
};

/** Counters start again, but what went wrong last stays visible until the next success. */
export function resetCounters(health: Health): Health {
  return { ...HEALTHY, lastError: health.lastError, lastDeliveryAt: health.lastDeliveryAt };
}

/** SEP: Failure and suspension. Only something the client does comes here: a renewal, an update or a pull. */
export function resumed(subscription: Subscription): Subscription {
  return {
    ...subscription,
    suspended: false,
    version: subscription.version + 1,
    health: resetCounters(subscription.health),
  };
}
