/**
 * `events/subscribe` and `events/unsubscribe`: a subscription with a callback, found by URL, name and arguments and spoken to in the
 * dialect of the peer's profile. A repeated call is a refresh and settles both anew.
 */
import type { Log } from '../../engine/ports.ts';
import type { BindableEngine, Caller } from '../../engine/verbs.ts';
import { notFound, unsupported, WireError } from '../../../protocol/wire/errors.ts';
import type { Subscription } from '../../../protocol/wire/schema.ts';
import { cursorAt, placeOf } from './cursor.ts';
import { callbackReason, DRAINS } from './errors.ts';
import { selectionOf } from './feed.ts';
import { webhookKey, webhookSubscriptionId } from './identity.ts';
import { dialectOf, type Profile } from './profiles.ts';
import type {
  DeliveryStatus,
  SubscribeParams,
  SubscribeResult,
  UnsubscribeParams,
} from '../../../protocol/events/types.ts';

/** Makes or refreshes the webhook. Rejects as `triggers/subscribe` does. */
export async function subscribe(
  engine: BindableEngine,
  caller: Caller,
  params: SubscribeParams,
  profile: Profile,
  log: Log,
): Promise<SubscribeResult> {
  const {
    delivery: { mode, url, secret },
    cursor,
    ttlMs,
  } = params;
  if (mode !== 'webhook') throw unsupported(DRAINS[mode]);
  const selection = selectionOf(params);
  const key = webhookKey(url, selection);
  // What a refresh reports is how things stood before it set them right.
  const before = await engine.find(caller, key);
  const { created, subscriptionId, epoch, expiresAt, acked, head } = await engine.subscribe(
    caller,
    {
      key,
      select: [selection],
      callback: { url, secret: padded(secret) },
      onFailure: 'skip',
      ...(ttlMs === undefined ? {} : { ttlMs: ttlMs === null ? null : wholeMs(ttlMs) }),
    },
    { dialect: dialectOf(profile.name) },
  );
  log.info(
    { profile: profile.name, subscriptionId },
    created ? 'a webhook of events/* was subscribed' : 'a webhook of events/* was refreshed',
  );
  const place = cursor === undefined || cursor === null ? null : placeOf(cursor);
  const known =
    place?.subscriptionId === subscriptionId && place.epoch === epoch && place.sequence <= head;
  return {
    id: webhookSubscriptionId(caller.principal, url, selection),
    refreshBefore: expiresAt,
    cursor: cursorAt({ subscriptionId, epoch }, acked),
    truncated: cursor !== undefined && cursor !== null && !known,
    ...(created || before === null ? {} : { deliveryStatus: statusOf(before) }),
  };
}

/** Ends the webhook. An unknown one is refused with `NotFound`, or is done already, as the profile says. */
export async function unsubscribe(
  engine: BindableEngine,
  caller: Caller,
  params: UnsubscribeParams,
  profile: Profile,
): Promise<object> {
  const found = await engine.find(caller, webhookKey(params.delivery.url, selectionOf(params)));
  try {
    if (found === null) throw notFound({ kind: 'subscription' });
    return await engine.unsubscribe(caller, { subscriptionId: found.subscriptionId });
  } catch (error) {
    if (error instanceof WireError && error.is('NotFound') && !profile.unknownIsRefused) return {};
    throw error;
  }
}

function statusOf({ status, callback }: Subscription): DeliveryStatus {
  const { lastDeliveryAt = null, lastError, failingSince } = callback?.health ?? {};
  return {
    active: status === 'active',
    lastDeliveryAt,
    lastError: lastError === undefined ? null : callbackReason(lastError),
    ...(failingSince === undefined ? {} : { failedSince: failingSince }),
  };
}

/** SEP-3415 does not say whether the base64 of a secret has its padding; the key is the same. */
const padded = (secret: string): string =>
  /^whsec_[A-Za-z0-9+/]+$/.test(secret)
    ? `${secret}${'='.repeat((4 - ((secret.length - 'whsec_'.length) % 4)) % 4)}`
    : secret;

/** No suggested lifetime is refused: the server's bounds do with it what they do. */
const wholeMs = (ms: number): number =>
  Math.min(Number.MAX_SAFE_INTEGER, Math.max(0, Math.floor(ms)));
