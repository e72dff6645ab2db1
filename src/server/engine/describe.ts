/** What a subscription looks like from outside: everything its owner may know, and no secret (SEP: The subscription object). */
import type {
  CallbackStatus,
  Subscription as WireSubscription,
} from '../../../spec-schema/draft/schema.ts';
import { etagOf, statusOf } from '../../protocol/core/index.ts';
import type { Subscription } from '../../protocol/core/types.ts';
import { instant } from './reader.ts';

/** `renewAfterMs` is the jittered hint made when the grant was; `now` decides what has passed. */
export function describe(
  state: Subscription,
  renewAfterMs: number | null,
  now: number,
): WireSubscription {
  return {
    subscriptionId: state.subscriptionId,
    etag: etagOf(state),
    epoch: state.epoch,
    key: state.key,
    select: state.select.map((selection) => ({
      name: selection.name,
      arguments: { ...selection.arguments },
    })),
    status: statusOf(state),
    ttlMs: state.ttlMs,
    expiresAt: instant(state.expiresAt),
    renewAfterMs,
    head: state.head,
    acked: state.acked,
    oldest: state.floor + 1,
    retention: { ...state.retention },
    onFailure: state.onFailure,
    ...(state.callback === null ? {} : { callback: callbackStatus(state, now) }),
    createdAt: instant(state.createdAt),
  };
}

function callbackStatus(state: Subscription, now: number): CallbackStatus {
  const { callback, health } = state;
  if (callback === null) throw new TypeError('no callback to describe');
  return {
    origin: new URL(callback.url).origin,
    verifiedAt: instant(callback.verifiedAt),
    ...(callback.previousUntil === null || callback.previousUntil <= now
      ? {}
      : { previousSecretUntil: instant(callback.previousUntil) }),
    health: {
      attempts: health.attempts,
      ...(health.lastDeliveryAt === null ? {} : { lastDeliveryAt: instant(health.lastDeliveryAt) }),
      ...(health.lastError === null ? {} : { lastError: health.lastError }),
      ...(health.failingSince === null ? {} : { failingSince: instant(health.failingSince) }),
    },
  };
}
