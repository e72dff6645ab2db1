/**
 * The three ways in which `events/*` is spoken in the field. A profile decides codes, a few answers and how a webhook is spoken to, and
 * nothing of what happens to the log.
 */
import { EVENTS_ERROR_CODES, type EventsErrorCodes } from '../../../protocol/events/errors.ts';
import { EVENTS_EXTENSION_ID } from '../../../protocol/events/names.ts';

/** `sep` is SEP-3415, `sketch` the design sketch that deployed clients read, `suite` what the draft conformance suite expects. */
export type ProfileName = 'sep' | 'sketch' | 'suite';

/** One row: how a peer is spoken to. */
export interface Profile {
  readonly name: ProfileName;
  readonly codes: EventsErrorCodes;
  /** Whether `events/unsubscribe` of an unknown key is an error; if not, it is done already. */
  readonly unknownIsRefused: boolean;
  /** What `webhook-id` of an event is: made of what the message covers, or the event's own `eventId`. */
  readonly webhookId: 'message' | 'eventId';
  /** Whether webhooks are sent `gap` and `terminated`. */
  readonly control: boolean;
}

/** The table (`sep/mapping-events.md`, Profiles). */
export const PROFILES: Readonly<Record<ProfileName, Profile>> = {
  sep: {
    name: 'sep',
    codes: EVENTS_ERROR_CODES.sep,
    unknownIsRefused: true,
    webhookId: 'message',
    control: true,
  },
  sketch: {
    name: 'sketch',
    codes: EVENTS_ERROR_CODES.sketch,
    unknownIsRefused: false,
    webhookId: 'eventId',
    control: false,
  },
  suite: {
    name: 'suite',
    codes: EVENTS_ERROR_CODES.sketch,
    unknownIsRefused: true,
    webhookId: 'eventId',
    control: true,
  },
};

/** The dialect in which webhooks of a profile are spoken to: its name in `EngineOptions.dialects`. */
export const dialectOf = (profile: ProfileName): string => `events.${profile}`;

/** The profile of a request: who declares the extension knows SEP-3415, of anybody else it cannot be told. */
export function profileOf(clientCapabilities: unknown, undeclared: ProfileName): Profile {
  const { extensions } = Object(clientCapabilities) as { readonly extensions?: unknown };
  const declared = Object.hasOwn(Object(extensions) as object, EVENTS_EXTENSION_ID);
  return PROFILES[declared ? 'sep' : undeclared];
}
