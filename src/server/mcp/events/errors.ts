/**
 * Errors on their way out of `events/*`: the same conditions as in `triggers/*`, in the codes and words of the peer's profile. This is the
 * table of `sep/mapping-events.md`, section Errors.
 */
import type { TerminationReason } from '../../../protocol/core/types.ts';
import {
  internalError,
  registryRow,
  type WireError,
  type WireErrorData,
  type WireErrorName,
} from '../../../protocol/wire/errors.ts';
import { TERMINATION_ERRORS, type EventsErrorName } from '../../../protocol/events/errors.ts';
import type { DeliveryModeName } from '../../../protocol/events/names.ts';
import type { EventsErrorObject } from '../../../protocol/events/types.ts';
import type { Profile } from './profiles.ts';

/** A poll asked for a log that had ended, and this is how. */
export class LogEnded extends Error {
  override readonly name = 'LogEnded';
  readonly reason: TerminationReason;

  constructor(reason: TerminationReason) {
    super(`the log ended: ${reason}`);
    this.reason = reason;
  }
}

/** Drains by the modes that they serve. */
export const DRAINS = {
  webhook: 'callback',
  push: 'stream',
  poll: 'pull',
} as const satisfies Record<DeliveryModeName, string>;

const MODES: ReadonlyMap<string, string> = new Map(
  Object.entries(DRAINS).map(([mode, drain]) => [drain, mode]),
);

/** What an error says; the code is looked up. */
interface Saying {
  readonly code: EventsErrorName | number;
  readonly message: string;
  readonly data?: Readonly<Record<string, unknown>>;
}

type Table = { readonly [N in WireErrorName]: (data: WireErrorData[N], message: string) => Saying };

const INTERNAL: Saying = {
  code: registryRow('InternalError').code,
  message: internalError(null).message,
};

const SAYINGS: Table = {
  InvalidParams: ({ path, expected }) => {
    const mapped = eventsPath(path);
    return {
      code: registryRow('InvalidParams').code,
      message: `Invalid params at "${mapped}": expected ${expected}.`,
      data: { path: mapped, expected },
    };
  },
  // A client of events/* names no position, no ETag and no key that could be in conflict.
  Conflict: () => INTERNAL,
  NotFound: ({ kind }) =>
    kind === 'trigger'
      ? {
          code: 'NotFound',
          message: 'Event type not found. Call events/list for the types there are.',
          data: { kind: 'event' },
        }
      : {
          code: 'NotFound',
          message:
            'Subscription not found: no webhook of this principal has this URL, name and arguments.',
          data: { kind: 'subscription' },
        },
  Forbidden: ({ kind, name }) =>
    kind === 'principal'
      ? { code: 'Forbidden', message: 'This principal may not use events here.', data: { kind } }
      : {
          code: 'Forbidden',
          message: 'This principal may not have this event with these arguments.',
          data: { kind: 'event', ...(name === undefined ? {} : { name }) },
        },
  ResourceExhausted: (data, message) => ({ code: 'ResourceExhausted', message, data: { ...data } }),
  Unsupported: ({ feature }, message) => {
    const mode = MODES.get(feature);
    return mode === undefined
      ? { code: 'Unsupported', message, data: { feature } }
      : {
          code: 'Unsupported',
          message: `Not supported here: the delivery mode "${mode}".`,
          data: { feature: 'deliveryMode', value: mode },
        };
  },
  // Any 2xx acknowledges here, so nothing but a challenge can go unanswered in this way.
  CallbackEndpointError: ({ reason }, message) => ({
    code: 'CallbackEndpointError',
    message,
    data: { reason: callbackReason(reason) },
  }),
  InternalError: () => INTERNAL,
};

/** How a subscription that the server ended is spoken of; null = its client let it go and is told nothing. */
const ENDINGS: Readonly<Record<TerminationReason, Saying | null>> = {
  trigger_removed: {
    code: TERMINATION_ERRORS.trigger_removed,
    message: 'The event type was removed.',
    data: { kind: 'event' },
  },
  schema_changed: {
    code: TERMINATION_ERRORS.schema_changed,
    message:
      'The event type changed in a way that is no addition. Call events/list and subscribe anew.',
    data: { feature: 'payloadSchema', reason: 'schema_changed' },
  },
  revoked: {
    code: TERMINATION_ERRORS.revoked,
    message: 'The permission for this event was revoked.',
    data: { reason: 'revoked' },
  },
  failed: INTERNAL,
  expired: null,
  unsubscribed: null,
};

/** The error object for this peer. */
export function eventsError(error: WireError, profile: Profile): EventsErrorObject {
  const say = SAYINGS[error.name] as (data: unknown, message: string) => Saying;
  return said(say(error.data, error.message), profile);
}

/** What a client is told of the end of its subscription; null = nothing. */
export function endingError(reason: TerminationReason, profile: Profile): EventsErrorObject | null {
  const saying = ENDINGS[reason];
  return saying === null ? null : said(saying, profile);
}

/** One of the six categories of SEP-3415. */
export const callbackReason = (category: string): string =>
  category === 'no_ack' ? 'challenge_failed' : category;

function said({ code, message, data }: Saying, profile: Profile): EventsErrorObject {
  return {
    code: typeof code === 'number' ? code : profile.codes[code],
    message,
    ...(data === undefined ? {} : { data }),
  };
}

/** Where the params of the engine's verbs come from in the params of `events/*`. First that fits. */
const PATHS: readonly (readonly [pattern: RegExp, instead: string])[] = [
  [/^\/select\/0\//, '/'],
  [/^\/select(\/0)?$/, ''],
  [/^\/callback(?=\/|$)/, '/delivery'],
];

function eventsPath(path: string): string {
  const row = PATHS.find(([pattern]) => pattern.test(path));
  return row === undefined ? path : path.replace(row[0], row[1]);
}
