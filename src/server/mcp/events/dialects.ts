/**
 * The callback dialects of `events/*`. Each request has one event or one control envelope. The
 * endpoint answers with the HTTP status alone, and consents by echoing a challenge. Order, timing
 * and retries are the engine's.
 */
import { timingSafeEqual } from 'node:crypto';
import type { CallbackDialect, CallbackMessage, CallbackContext } from '../../callback/dialect.ts';
import { nativeDialect } from '../../callback/native-dialect.ts';
import type { LogRange } from '../../engine/reader.ts';
import type { Selection } from '../../../protocol/core/types.ts';
import { canonicalJson, sha256, webhookId } from '../../../protocol/wire/canonical.ts';
import { X_MCP_SUBSCRIPTION_ID, type WebhookControlType } from '../../../protocol/events/names.ts';
import { FAILING_MAX_MS, isConfigLimit } from '../../../protocol/core/policy.ts';
import type { TriggerEvent } from '../../../protocol/wire/schema.ts';
import { endingError } from './errors.ts';
import { cursorOf, occurrence } from './occurrence.ts';
import { dialectOf, PROFILES, type EventsWebhookId, type Profile } from './profiles.ts';

/**
 * The `id` of a webhook subscription. The same principal, URL, name and arguments always give the
 * same id. It is not a secret and may be logged.
 */
export function webhookSubscriptionId(
  principal: string,
  url: string,
  { name, arguments: args }: Selection,
): string {
  return `evt_${sha256(canonicalJson([principal, url, name, args]))}`;
}

/**
 * Whether an `eventId` can be the `webhook-id`. It must be printable ASCII, because it is sent in a
 * header. No part after a dot may look like a timestamp, because a lenient receiver could then
 * split the signed text `id.timestamp.body` at the wrong dot.
 */
const servesAsWebhookId = (eventId: string): boolean =>
  /^[!-~]{1,256}$/.test(eventId) && !/\.[+-]?(?:\d{9}|\d+e|0x)/i.test(eventId);

/** Options of {@link eventsDialects}. */
export interface EventsDialectOptions {
  /**
   * The `webhook-id` of an event in the profile `sep`. `message`: an id for each message, as in the
   * later texts of SEP-3415. `eventId`: for receivers of earlier texts, which reject every other
   * id; the other profiles always use it. Default `eventId`.
   */
  readonly webhookId?: EventsWebhookId;
}

/**
 * The callback dialects of `events/*`, one for each profile, for `EngineOptions.dialects`. Pass
 * them at every start of a server that has webhooks made with `events/subscribe`: the engine does
 * not deliver to a callback whose dialect is missing (SEP: When a peer lacks the extension).
 */
export function eventsDialects({
  webhookId: ofSep = 'eventId',
}: EventsDialectOptions = {}): Readonly<Record<string, CallbackDialect>> {
  return Object.fromEntries(
    Object.values(PROFILES).map((profile) => [
      dialectOf(profile.name),
      dialect(profile, profile.name === 'sep' ? ofSep : 'eventId'),
    ]),
  );
}

function dialect(profile: Profile, eventWebhookId: EventsWebhookId): CallbackDialect {
  return {
    single: true,
    serverSignature: 'v1a',
    delivery(context, range) {
      const [event] = range.events;
      if (event !== undefined) return eventMessage(context, range, event, eventWebhookId);
      return profile.control
        ? message(context, `msg_gap_${idOf(context, range).slice('msg_'.length)}`, {
            type: 'gap',
            cursor: cursorOf(context.state, range.last),
          })
        : null;
    },
    challenge: (context, challenge) => control(context, 'verification', { challenge }),
    terminationNotice(context, reason) {
      const error = profile.control ? endingError(reason, profile) : null;
      return error === null ? null : control(context, 'terminated', { error });
    },
    classify(answer, range, state) {
      const { status, now } = answer;
      const done = { kind: 'acked', ack: range.last, reject: null } as const;
      if (status >= 200 && status <= 299) return done;
      const isGap = range.events.length === 0;
      if (status === 410 || status === 413)
        return isGap ? done : { kind: status === 410 ? 'refused' : 'too_large' };
      const outcome = nativeDialect.classify(answer, range, state);
      if (!isGap) return outcome;
      // The engine can abandon an event but not a gap, and a gap must not block later events
      // forever.
      const { configFailures, configFailingSince, failingSince } = state.health;
      const hopeless =
        (outcome.kind === 'config' && isConfigLimit(configFailures + 1, configFailingSince, now)) ||
        (failingSince !== null && now - failingSince >= FAILING_MAX_MS);
      return hopeless ? done : outcome;
    },
    consents(body, challenge) {
      const { challenge: echoed } = Object(body) as { readonly challenge?: unknown };
      return typeof echoed === 'string' && sameText(echoed, challenge);
    },
  };
}

/**
 * The message of one event. Its cursor is the acknowledged position and not the event's own: a
 * client that continues from the cursor misses nothing, even if this message is lost.
 */
function eventMessage(
  context: CallbackContext,
  range: LogRange,
  json: string,
  eventWebhookId: EventsWebhookId,
): CallbackMessage {
  const event = JSON.parse(json) as TriggerEvent;
  const id =
    eventWebhookId === 'eventId' && servesAsWebhookId(event.eventId)
      ? event.eventId
      : idOf(context, range);
  const { state } = context;
  return message(context, id, occurrence(event, state, cursorOf(state, state.acked)));
}

const idOf = (
  { state: { subscriptionId, epoch } }: CallbackContext,
  { after, last, gaps }: LogRange,
): string => webhookId({ subscriptionId, epoch, after, last, gaps });

/** A control envelope that is not part of the log, with a random id. */
const control = (
  context: CallbackContext,
  type: Exclude<WebhookControlType, 'gap'>,
  members: object,
): CallbackMessage =>
  message(context, `msg_${type}_${context.random.token(24)}`, { type, ...members });

function message({ state, callback }: CallbackContext, id: string, body: object): CallbackMessage {
  const [selection] = state.select;
  if (selection === undefined) throw new TypeError('The subscription has no selection.');
  return {
    id,
    body: Buffer.from(JSON.stringify(body), 'utf8'),
    headers: {
      [X_MCP_SUBSCRIPTION_ID]: webhookSubscriptionId(state.principal, callback.url, selection),
    },
  };
}

function sameText(a: string, b: string): boolean {
  const [one, other] = [Buffer.from(a, 'utf8'), Buffer.from(b, 'utf8')];
  return one.length === other.length && timingSafeEqual(one, other);
}
