/**
 * The callback dialects of `events/*`: each request has one event or one control envelope, the
 * status is the only response, and echoing a challenge is the consent. Order, timing and retries
 * are the engine's.
 */
import { timingSafeEqual } from 'node:crypto';
import type { CallbackDialect, CallbackMessage, CallbackContext } from '../../callback/dialect.ts';
import { nativeDialect } from '../../callback/native-dialect.ts';
import type { LogRange } from '../../engine/reader.ts';
import type { Selection } from '../../../protocol/core/types.ts';
import { canonicalJson, sha256, webhookId } from '../../../protocol/wire/canonical.ts';
import { X_MCP_SUBSCRIPTION_ID, type WebhookControlType } from '../../../protocol/events/names.ts';
import { CONFIG_FAILURES_MAX, FAILING_MAX_MS } from '../../../protocol/core/policy.ts';
import type { Event } from '../../../protocol/wire/schema.ts';
import { endingError } from './errors.ts';
import { cursorOf, occurrence } from './occurrence.ts';
import { dialectOf, PROFILES, type Profile } from './profiles.ts';

/**
 * The `id` of a webhook subscription: always the same for the same principal, URL, name and
 * arguments. It is not a secret and may be logged.
 */
export function webhookSubscriptionId(
  principal: string,
  url: string,
  { name, arguments: args }: Selection,
): string {
  return `evt_${sha256(canonicalJson([principal, url, name, args]))}`;
}

/**
 * Whether an `eventId` can be the `webhook-id`. It must be printable for a header, and no part
 * after a dot may look like a timestamp: a lenient receiver could misread the signed text
 * `id.timestamp.body`.
 */
const servesAsWebhookId = (eventId: string): boolean =>
  /^[!-~]{1,256}$/.test(eventId) && !/\.[+-]?(?:\d{9}|\d+e|0x)/i.test(eventId);

/**
 * The callback dialects of `events/*`, one for each profile, for `EngineOptions.dialects`. Pass
 * them at every start of a server that has webhooks made with `events/subscribe`: a callback whose
 * dialect is missing is not delivered to (SEP: When a peer lacks the extension).
 */
export function eventsDialects(): Readonly<Record<string, CallbackDialect>> {
  return Object.fromEntries(
    Object.values(PROFILES).map((profile) => [dialectOf(profile.name), dialect(profile)]),
  );
}

function dialect(profile: Profile): CallbackDialect {
  return {
    single: true,
    serverSignature: 'v1a',
    delivery(of, range) {
      const [event] = range.events;
      if (event !== undefined) return eventMessage(of, range, event, profile);
      return profile.control
        ? message(of, `msg_gap_${idOf(of, range).slice('msg_'.length)}`, {
            type: 'gap',
            cursor: cursorOf(of.state, range.last),
          })
        : null;
    },
    challenge: (of, challenge) => control(of, 'verification', { challenge }),
    terminationNotice(of, reason) {
      const error = profile.control ? endingError(reason, profile) : null;
      return error === null ? null : control(of, 'terminated', { error });
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
      // A gap cannot be abandoned as an event can, and must not block later events forever.
      const { configFailures, failingSince } = state.health;
      const hopeless =
        (outcome.kind === 'config' && configFailures + 1 >= CONFIG_FAILURES_MAX) ||
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
 * The cursor is a safe watermark: everything up to it was acknowledged or abandoned, whatever
 * happens to this message.
 */
function eventMessage(
  of: CallbackContext,
  range: LogRange,
  json: string,
  profile: Profile,
): CallbackMessage {
  const event = JSON.parse(json) as Event;
  const id =
    profile.webhookId === 'eventId' && servesAsWebhookId(event.eventId)
      ? event.eventId
      : idOf(of, range);
  return message(of, id, occurrence(event, of.state, cursorOf(of.state, of.state.acked)));
}

const idOf = (
  { state: { subscriptionId, epoch } }: CallbackContext,
  { after, last, gaps }: LogRange,
): string => webhookId({ subscriptionId, epoch, after, last, gaps });

/** A control envelope that covers no events, with a random id. */
const control = (
  of: CallbackContext,
  type: Exclude<WebhookControlType, 'gap'>,
  members: object,
): CallbackMessage => message(of, `msg_${type}_${of.random.token(24)}`, { type, ...members });

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
