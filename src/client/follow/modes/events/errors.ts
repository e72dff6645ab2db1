/**
 * Errors of `events/*` in the terms of this library. Two sets of codes are in use, that of SEP-3415 and that of the design sketch before
 * it; they mean the same. Data is a help and never a condition: deployed servers leave it out.
 */
import {
  EVENTS_ERROR_CODES,
  TERMINATION_ERRORS,
  type EventsErrorName,
} from '../../../../protocol/events/errors.ts';
import {
  LocalError,
  registryRow,
  WireError,
  type WireErrorData,
  type WireErrorName,
} from '../../../../protocol/wire/errors.ts';
import { RemoteError } from '../../../../protocol/wire/remote-error.ts';
import { check, type WireTypes } from '../../../../protocol/wire/validate.ts';

type EventsError = EventsErrorName | 'InvalidParams';

/** What is assumed where the data says nothing that is understood. */
const ASSUMED: { readonly [N in EventsError]: WireErrorData[N] } = {
  InvalidParams: { kind: 'invalid', path: '', expected: 'other params' },
  NotFound: { kind: 'trigger' },
  Forbidden: { kind: 'trigger' },
  ResourceExhausted: { limit: 'unknown' },
  Unsupported: { feature: 'unknown' },
  CallbackEndpointError: { reason: 'challenge_failed' },
};

/** Names by code, of both sets. */
const NAMES: ReadonlyMap<number, EventsError> = new Map<number, EventsError>([
  [registryRow('InvalidParams').code, 'InvalidParams'],
  ...Object.values(EVENTS_ERROR_CODES).flatMap((codes) =>
    Object.entries(codes).map(([name, code]) => [code, name as EventsErrorName] as const),
  ),
]);

/** How a server says that a type is not there. */
const KINDS: Readonly<Record<string, string>> = { event: 'trigger' };

/** What a call has thrown. What is none of these is handed back. */
export function eventsError(error: unknown): unknown {
  return error instanceof RemoteError
    ? (fromCode(error.code, error.message, error.data) ?? error)
    : error;
}

/** Undefined = the code means nothing here. */
function fromCode(code: number, message: string, data: unknown): WireError | undefined {
  const name = NAMES.get(code);
  if (name === undefined) return undefined;
  const said = Object(data) as Record<string, unknown>;
  const kind = name === 'InvalidParams' ? 'invalid' : (KINDS[String(said['kind'])] ?? said['kind']);
  const checked = check(typeOf(name), {
    ...ASSUMED[name],
    ...said,
    ...(kind === undefined ? {} : { kind }),
  });
  return new WireError(
    name,
    (checked.ok ? checked.value : ASSUMED[name]) as WireErrorData[EventsError],
    { message },
  );
}

const typeOf = (name: EventsError): keyof WireTypes => {
  const { data } = registryRow(name);
  return data!.slice(data!.lastIndexOf('/') + 1) as keyof WireTypes;
};

/** Why a subscription ended, by what the server says of it. */
const ENDINGS: Partial<Record<WireErrorName, string>> = Object.fromEntries(
  Object.entries(TERMINATION_ERRORS).map(([reason, name]) => [name, reason]),
);

/** A termination signal: in every mode it carries an error object. */
export function terminated(raw: unknown): LocalError {
  const { code, message } = Object(raw) as { code?: unknown; message?: unknown };
  const text = typeof message === 'string' ? message : 'The peer gave no message.';
  const cause = Number.isInteger(code)
    ? (fromCode(code as number, text, (raw as { data?: unknown }).data) ??
      new RemoteError(code as number, text, undefined))
    : undefined;
  return ended(cause);
}

/** An error that ends a subscription which had worked until then; null = it does not. */
export function endedBy(error: unknown): LocalError | null {
  if (!(error instanceof WireError)) return null;
  const wire: WireError = error;
  return ENDINGS[wire.name] === undefined ? null : ended(wire);
}

function ended(cause: WireError | RemoteError | undefined): LocalError {
  const reason = ENDINGS[cause?.name as WireErrorName] ?? 'unknown';
  // Nobody has decided against it: it is made again, from the last cursor.
  if (reason === 'unknown')
    return new LocalError(
      'unreachable',
      'The server has ended the subscription without a reason that is known here.',
      { reason: 'terminated', cause },
    );
  return new LocalError('terminated', `The subscription has ended: ${reason}.`, { reason, cause });
}

export const misbehaved = (reason: string, problem: string): LocalError =>
  new LocalError('peer_misbehaved', `The server broke the protocol: ${problem}.`, { reason });
