/**
 * The three ways in which `events/*` is spoken in the field. A profile decides codes, a few answers and how a webhook is spoken to, and
 * nothing of what happens to the log.
 */
import { EVENTS_EXTENSION_ID } from '../../../protocol/events/types.ts';

/** `sep` is SEP-3415, `sketch` the design sketch that deployed clients read, `suite` what the draft conformance suite expects. */
export type ProfileName = 'sep' | 'sketch' | 'suite';

/** The codes of the errors that are not JSON-RPC's own. */
export interface Codes {
  readonly NotFound: number;
  readonly Forbidden: number;
  readonly ResourceExhausted: number;
  readonly Unsupported: number;
  readonly CallbackEndpointError: number;
}

/** One row: how a peer is spoken to. */
export interface Profile {
  readonly name: ProfileName;
  readonly codes: Codes;
  /** Whether `events/unsubscribe` of an unknown key is an error; if not, it is done already. */
  readonly unknownIsRefused: boolean;
  /** What `webhook-id` of an event is: made of what the message covers, or the event's own `eventId`. */
  readonly webhookId: 'message' | 'eventId';
  /** Whether webhooks are sent `gap` and `terminated`. */
  readonly control: boolean;
}

const SEP_CODES: Codes = {
  NotFound: -32023,
  Forbidden: -32024,
  ResourceExhausted: -32025,
  Unsupported: -32026,
  CallbackEndpointError: -32027,
};
const SKETCH_CODES: Codes = {
  NotFound: -32011,
  Forbidden: -32012,
  ResourceExhausted: -32013,
  Unsupported: -32014,
  CallbackEndpointError: -32015,
};

/** The table (`sep/mapping-events.md`, Profiles). */
export const PROFILES: Readonly<Record<ProfileName, Profile>> = {
  sep: {
    name: 'sep',
    codes: SEP_CODES,
    unknownIsRefused: true,
    webhookId: 'message',
    control: true,
  },
  sketch: {
    name: 'sketch',
    codes: SKETCH_CODES,
    unknownIsRefused: false,
    webhookId: 'eventId',
    control: false,
  },
  suite: {
    name: 'suite',
    codes: SKETCH_CODES,
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
