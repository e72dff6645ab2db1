/**
 * The three variants of `events/*` in use. A profile determines the error codes, the result of
 * `events/unsubscribe`, and the control envelopes of webhooks.
 */
import { EVENTS_ERROR_CODES, type EventsErrorCodes } from '../../../protocol/events/errors.ts';
import { EVENTS_EXTENSION_ID } from '../../../protocol/events/names.ts';

/**
 * `sep` = SEP-3415; `sketch` = the earlier design sketch that deployed clients implement; `suite` =
 * what the draft conformance suite expects.
 */
export type ProfileName = 'sep' | 'sketch' | 'suite';

/**
 * The `webhook-id` of an event: `eventId` = the event's own id; `message` = derived from the
 * sequence numbers that the message covers.
 */
export type EventsWebhookId = 'eventId' | 'message';

/** One profile. */
export interface Profile {
  readonly name: ProfileName;
  readonly codes: EventsErrorCodes;
  /** Whether `events/unsubscribe` rejects an unknown webhook with `NotFound`; if not, it succeeds. */
  readonly rejectsUnknown: boolean;
  /** Whether webhooks get the control envelopes `gap` and `terminated`. */
  readonly control: boolean;
}

/** The profiles (`sep/mapping-events.md`, Profiles). */
export const PROFILES: Readonly<Record<ProfileName, Profile>> = {
  sep: {
    name: 'sep',
    codes: EVENTS_ERROR_CODES.sep,
    rejectsUnknown: true,
    control: true,
  },
  sketch: {
    name: 'sketch',
    codes: EVENTS_ERROR_CODES.sketch,
    rejectsUnknown: false,
    control: false,
  },
  suite: {
    name: 'suite',
    codes: EVENTS_ERROR_CODES.sketch,
    rejectsUnknown: true,
    control: true,
  },
};

/** The name of a profile's dialect in `EngineOptions.dialects`. */
export const dialectOf = (profile: ProfileName): string => `events.${profile}`;

/** The profile of a client: `sep` if it declares the Events extension, else `undeclared`. */
export function profileOf(clientCapabilities: unknown, undeclared: ProfileName): Profile {
  const { extensions } = Object(clientCapabilities) as { readonly extensions?: unknown };
  const declared = Object.hasOwn(Object(extensions) as object, EVENTS_EXTENSION_ID);
  return PROFILES[declared ? 'sep' : undeclared];
}
