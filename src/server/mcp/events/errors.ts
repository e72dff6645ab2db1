/**
 * Converts errors of `triggers/*` into errors of `events/*`, with the codes of the client's
 * profile. Implements the table of `sep/mapping-events.md`, section Errors.
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

/** A poll or stream named a log that the server has ended. */
export class LogEnded extends Error {
  override readonly name = 'LogEnded';
  readonly reason: string;

  constructor(reason: string) {
    super(`The log has ended: ${reason}. Start without a cursor to get a new one.`);
    this.reason = reason;
  }
}

/** The drain that serves each delivery mode. */
export const DRAINS = {
  webhook: 'callback',
  push: 'stream',
  poll: 'pull',
} as const satisfies Record<DeliveryModeName, string>;

const MODES: ReadonlyMap<string, string> = new Map(
  Object.entries(DRAINS).map(([mode, drain]) => [drain, mode]),
);

/** The body of an error. A code given by name is looked up in the profile. */
interface ErrorBody {
  readonly code: EventsErrorName | number;
  readonly message: string;
  readonly data?: Readonly<Record<string, unknown>>;
}

type Table = {
  readonly [N in WireErrorName]: (data: WireErrorData[N], message: string) => ErrorBody;
};

const INTERNAL: ErrorBody = {
  code: registryRow('InternalError').code,
  message: internalError(null).message,
};

const ERROR_BODIES: Table = {
  InvalidParams: ({ path, expected }) => {
    const mapped = eventsPath(path);
    return {
      code: registryRow('InvalidParams').code,
      message: `Invalid params at "${mapped}": expected ${expected}.`,
      data: { path: mapped, expected },
    };
  },
  // A conflict is not the client's mistake: it sends no ETag or key, and `truncated` reports a cursor
  // that the server cannot read from.
  Conflict: () => INTERNAL,
  NotFound: ({ kind }) =>
    kind === 'trigger'
      ? {
          code: 'NotFound',
          message: 'Event type not found. Call events/list to see the event types.',
          data: { kind: 'event' },
        }
      : {
          code: 'NotFound',
          message:
            'Subscription not found. Pass the URL, name and arguments that were passed to events/subscribe.',
          data: { kind: 'subscription' },
        },
  Forbidden: ({ kind }) =>
    kind === 'authentication'
      ? {
          code: 'Forbidden',
          message:
            "This principal is not permitted to use events here. Ask the server's operator for access.",
          data: { kind: 'principal' },
        }
      : {
          code: 'Forbidden',
          message:
            "This principal is not permitted to receive this event with these arguments. Ask the server's operator for access.",
          data: { kind: 'event' },
        },
  ResourceExhausted: ({ kind: _kind, ...data }, message) => ({
    code: 'ResourceExhausted',
    message,
    data,
  }),
  Unsupported: ({ feature }, message) => {
    const mode = MODES.get(feature);
    return mode === undefined
      ? { code: 'Unsupported', message, data: { feature } }
      : {
          code: 'Unsupported',
          message: `The delivery mode "${mode}" is not supported here. Call events/list to see the modes of the event type; events/subscribe supports only "webhook".`,
          data: { feature: 'deliveryMode', value: mode },
        };
  },
  // Any 2xx acknowledges an event, so only a challenge can fail with `no_ack`.
  CallbackEndpointError: ({ category }, message) => ({
    code: 'CallbackEndpointError',
    message,
    data: { reason: callbackReason(category) },
  }),
  InternalError: () => INTERNAL,
};

/**
 * The error for each reason of termination; null = the client gets no error, because it ended the
 * subscription itself or let it expire.
 */
const TERMINATIONS: Readonly<Record<TerminationReason, ErrorBody | null>> = {
  trigger_removed: {
    code: TERMINATION_ERRORS.trigger_removed,
    message: 'The event type was removed. Call events/list to see the event types.',
    data: { kind: 'event' },
  },
  schema_changed: {
    code: TERMINATION_ERRORS.schema_changed,
    message: 'The event type changed incompatibly. Call events/list and subscribe again.',
    data: { feature: 'payloadSchema', reason: 'schema_changed' },
  },
  revoked: {
    code: TERMINATION_ERRORS.revoked,
    message: "The permission for this event was revoked. Ask the server's operator for access.",
    data: { reason: 'revoked' },
  },
  failed: INTERNAL,
  expired: null,
  unsubscribed: null,
};

/** The error object for a client of this profile. */
export function eventsError(error: WireError, profile: Profile): EventsErrorObject {
  const toBody = ERROR_BODIES[error.name] as (data: unknown, message: string) => ErrorBody;
  return errorObject(toBody(error.data, error.message), profile);
}

/** The error object for the end of a subscription; null = the client gets no error. */
export function endingError(reason: string, profile: Profile): EventsErrorObject | null {
  const body = isKnown(reason) ? TERMINATIONS[reason] : TERMINATIONS.failed;
  return body === null ? null : errorObject(body, profile);
}

/** The reasons are an open enumeration, whose general case is `failed`. */
const isKnown = (reason: string): reason is TerminationReason =>
  Object.hasOwn(TERMINATIONS, reason);

/** Converts a failure category into one of the six that SEP-3415 defines. */
export const callbackReason = (category: string): string =>
  category === 'no_ack' ? 'challenge_failed' : category;

function errorObject({ code, message, data }: ErrorBody, profile: Profile): EventsErrorObject {
  return {
    code: typeof code === 'number' ? code : profile.codes[code],
    message,
    ...(data === undefined ? {} : { data }),
  };
}

/**
 * Patterns of paths in the params of the engine's verbs, and what replaces the matched part to give
 * the path in the params of `events/*`. The first match counts.
 */
const PATHS: readonly (readonly [pattern: RegExp, instead: string])[] = [
  [/^\/select\/0\//, '/'],
  [/^\/select(\/0)?$/, ''],
  [/^\/callback(?=\/|$)/, '/delivery'],
];

function eventsPath(path: string): string {
  const row = PATHS.find(([pattern]) => pattern.test(path));
  return row === undefined ? path : path.replace(row[0], row[1]);
}
