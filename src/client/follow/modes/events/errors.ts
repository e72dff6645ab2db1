/**
 * Translates errors of `events/*` into the errors of this library. Two sets of codes are in use:
 * those of SEP-3415, and those of the design sketch before it. `data` is optional, because deployed
 * servers omit it.
 */
import { EVENTS_ERROR_CODES, type EventsErrorName } from '../../../../protocol/events/errors.ts';
import {
  LocalError,
  registryRow,
  WireError,
  type WireErrorData,
} from '../../../../protocol/wire/errors.ts';
import { RemoteError } from '../../../../protocol/wire/remote-error.ts';
import { check, type WireTypes } from '../../../../protocol/wire/validate.ts';
import { terminationReasonOf } from '../../../recovery.ts';

type EventsError = EventsErrorName | 'InvalidParams';

/** The data of an error whose own data is absent or not valid. */
const DEFAULT_DATA: { readonly [N in EventsError]: WireErrorData[N] } = {
  InvalidParams: { kind: 'invalid', path: '', expected: 'other params' },
  NotFound: { kind: 'trigger' },
  Forbidden: { kind: 'permission' },
  ResourceExhausted: { kind: 'limit', limit: 'unknown' },
  Unsupported: { kind: 'feature', feature: 'unknown' },
  CallbackEndpointError: { kind: 'callback', category: 'challenge_failed' },
};

/** Names by code, of both sets. */
const NAMES: ReadonlyMap<number, EventsError> = new Map<number, EventsError>([
  [registryRow('InvalidParams').code, 'InvalidParams'],
  ...Object.values(EVENTS_ERROR_CODES).flatMap((codes) =>
    Object.entries(codes).map(([name, code]) => [code, name as EventsErrorName] as const),
  ),
]);

/** The `kind` of `data`, if `events/*` has another word for it than this extension. */
const KINDS: Readonly<Partial<Record<EventsError, Readonly<Record<string, string>>>>> = {
  NotFound: { event: 'trigger' },
  Forbidden: { event: 'permission', principal: 'authentication' },
};

/** Translates an error of a call. Returns an error that is not from `events/*` unchanged. */
export function eventsError(error: unknown): unknown {
  return error instanceof RemoteError
    ? (fromCode(error.code, error.message, error.data) ?? error)
    : error;
}

/** Makes the typed error for a code; undefined = not a code of `events/*`. */
function fromCode(code: number, message: string, data: unknown): WireError | undefined {
  const name = NAMES.get(code);
  if (name === undefined) return undefined;
  const { reason, ...given } = Object(data) as Record<string, unknown>;
  const { kinds } = registryRow(name);
  const kind =
    kinds.length === 1 ? kinds[0] : (KINDS[name]?.[String(given['kind'])] ?? given['kind']);
  const checked = check(typeOf(name), {
    ...DEFAULT_DATA[name],
    ...given,
    ...(kind === undefined ? {} : { kind }),
    ...(reason === undefined
      ? {}
      : { [name === 'CallbackEndpointError' ? 'category' : 'reason']: reason }),
  });
  return new WireError(
    name,
    (checked.ok ? checked.value : DEFAULT_DATA[name]) as WireErrorData[EventsError],
    { message },
  );
}

const typeOf = (name: EventsError): keyof WireTypes => {
  const { data } = registryRow(name);
  return data!.slice(data!.lastIndexOf('/') + 1) as keyof WireTypes;
};

/** Translates the error object of a termination notice, which every delivery mode can send. */
export function terminated(raw: unknown): LocalError {
  const { code, message } = Object(raw) as { code?: unknown; message?: unknown };
  const text = typeof message === 'string' ? message : 'The server gave no message.';
  const cause = Number.isInteger(code)
    ? (fromCode(code as number, text, (raw as { data?: unknown }).data) ??
      new RemoteError(code as number, text, undefined))
    : undefined;
  return ended(cause);
}

/**
 * Translates an error that ends a subscription which has worked so far; null = it does not end one.
 */
export function endedBy(error: unknown): LocalError | null {
  return terminationReasonOf(error) === undefined ? null : ended(error as WireError);
}

function ended(cause: WireError | RemoteError | undefined): LocalError {
  const reason = terminationReasonOf(cause);
  // An error without a termination reason is not a decision against the subscription: subscribing
  // again continues from the last cursor.
  if (reason === undefined)
    return new LocalError(
      'unreachable',
      'The server has ended the subscription without a reason. Subscribe again from the last cursor.',
      {
        reason: 'terminated',
        cause,
      },
    );
  return new LocalError(
    'terminated',
    `The subscription has ended: ${reason}. Subscribe again if the reason permits.`,
    { reason, cause },
  );
}
