/**
 * `events/subscribe` and `events/unsubscribe`: a subscription with a callback in the dialect of the
 * client's profile. Principal, URL, name and arguments identify it. A repeated `events/subscribe`
 * is a refresh: it renews the subscription and sets its secret and profile.
 */
import type { Log } from '../../engine/ports.ts';
import type { BindableEngine, Caller } from '../../engine/verbs.ts';
import { canonicalJson, sha256 } from '../../../protocol/wire/canonical.ts';
import { notFound, unsupported, WireError } from '../../../protocol/wire/errors.ts';
import { LIFETIME_MAX_MS } from '../../../protocol/wire/limits.ts';
import type { Selection, Subscription } from '../../../protocol/wire/schema.ts';
import { cursorOf, parseCursor } from './occurrence.ts';
import { callbackReason, DRAINS } from './errors.ts';
import { selectionOf } from './start.ts';
import { webhookSubscriptionId } from './dialects.ts';
import { dialectOf, type Profile } from './profiles.ts';
import type {
  DeliveryStatus,
  SubscribeParams,
  SubscribeResult,
  UnsubscribeParams,
} from '../../../protocol/events/types.ts';

/** The context of a call. */
export interface WebhookContext {
  readonly engine: BindableEngine;
  /** The profile of the client. */
  readonly profile: Profile;
  readonly log: Log;
  /** Whether every webhook expires, also one that asks for no expiry. */
  readonly alwaysExpires: boolean;
}

/** The subscription key of a webhook. */
export const webhookKey = (url: string, { name, arguments: args }: Selection): string =>
  `webhook:${sha256(canonicalJson([url, name, args]))}`;

/** One event that cannot be delivered for a day does not stop the others: SEP-3415 drops it too. */
const SKIP_AFTER_MS = 86_400_000;

/**
 * Creates or refreshes a webhook. Rejects as `triggers/subscribe` does, and with `Unsupported` for
 * another delivery mode.
 */
export async function subscribe(
  caller: Caller,
  params: SubscribeParams,
  { engine, profile, log, alwaysExpires }: WebhookContext,
): Promise<SubscribeResult> {
  const {
    delivery: { mode, url, secret },
    cursor,
    ttlMs,
  } = params;
  if (mode !== 'webhook') throw unsupported(DRAINS[mode]);
  const selection = selectionOf(params);
  const key = webhookKey(url, selection);
  // The refresh resets the delivery status, so its result reports the status from before.
  const before = await engine.find(caller, key);
  const { created, subscriptionId, epoch, expiresAt, acked, head } = await engine.subscribe(
    caller,
    {
      key,
      select: [selection],
      callback: { url, secret: padded(secret), skipAfterMs: SKIP_AFTER_MS },
      ...(ttlMs === undefined
        ? {}
        : ttlMs === null
          ? alwaysExpires
            ? { ttlMs: LIFETIME_MAX_MS }
            : { noExpiry: true }
          : { ttlMs: wholeMs(ttlMs) }),
    },
    { dialect: dialectOf(profile.name) },
  );
  log.info(
    { profile: profile.name, subscriptionId },
    created ? 'events webhook subscribed' : 'events webhook refreshed',
  );
  const position = cursor === undefined || cursor === null ? null : parseCursor(cursor);
  const known =
    position?.subscriptionId === subscriptionId &&
    position.epoch === epoch &&
    position.sequence <= head;
  return {
    id: webhookSubscriptionId(caller.principal, url, selection),
    refreshBefore: expiresAt ?? null,
    cursor: cursorOf({ subscriptionId, epoch }, acked),
    truncated: cursor !== undefined && cursor !== null && !known,
    ...(created || before === null ? {} : { deliveryStatus: statusOf(before) }),
  };
}

/**
 * Ends a webhook. For an unknown webhook rejects with `NotFound` or succeeds, depending on the
 * profile.
 */
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
    if (error instanceof WireError && error.is('NotFound') && !profile.rejectsUnknown) return {};
    throw error;
  }
}

function statusOf({ paused, callback }: Subscription): DeliveryStatus {
  const { lastDeliveryAt = null, lastError, failingSince } = callback?.health ?? {};
  return {
    active: paused !== true && callback?.state !== 'suspended',
    lastDeliveryAt,
    lastError: lastError === undefined ? null : callbackReason(lastError),
    ...(failingSince === undefined ? {} : { failedSince: failingSince }),
  };
}

/** Pads the base64 of a secret: SEP-3415 does not say whether it is padded. */
const padded = (secret: string): string =>
  /^whsec_[A-Za-z0-9+/]+$/.test(secret)
    ? `${secret}${'='.repeat((4 - ((secret.length - 'whsec_'.length) % 4)) % 4)}`
    : secret;

/**
 * A suggested lifetime as a whole number of milliseconds. Every number is accepted, because the
 * engine clamps it to the server's bounds.
 */
const wholeMs = (ms: number): number =>
  Math.min(Number.MAX_SAFE_INTEGER, Math.max(1, Math.floor(ms)));
