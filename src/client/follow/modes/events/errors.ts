/**
 * Errors of `events/*` in the terms of this library. Two sets of codes are in use, that of SEP-3415 and that of the design sketch before
 * it; they mean the same. Data is a help and never a condition: deployed servers leave it out.
 */
import {
  LocalError,
  registryRow,
  WireError,
  type WireErrorData,
  type WireErrorName,
} from '../../../../protocol/wire/errors.ts';
import { RemoteError } from '../../../../protocol/wire/remote-error.ts';
import { check, type WireTypes } from '../../../../protocol/wire/validate.ts';

type EventsError = Exclude<WireErrorName, 'Conflict' | 'InternalError'>;

/** Both sets, and what is assumed where the data says nothing that is understood. */
const ERRORS: readonly {
  readonly name: EventsError;
  readonly codes: readonly number[];
  readonly assumed: WireErrorData[EventsError];
}[] = [
  {
    name: 'InvalidParams',
    codes: [-32602],
    assumed: { kind: 'invalid', path: '', expected: 'other params' },
  },
  { name: 'NotFound', codes: [-32023, -32011], assumed: { kind: 'trigger' } },
  { name: 'Forbidden', codes: [-32024, -32012], assumed: { kind: 'trigger' } },
  { name: 'ResourceExhausted', codes: [-32025, -32013], assumed: { limit: 'unknown' } },
  { name: 'Unsupported', codes: [-32026, -32014], assumed: { feature: 'unknown' } },
  {
    name: 'CallbackEndpointError',
    codes: [-32027, -32015],
    assumed: { reason: 'challenge_failed' },
  },
];

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
  const row = ERRORS.find(({ codes }) => codes.includes(code));
  if (!row) return undefined;
  const said = Object(data) as Record<string, unknown>;
  const kind =
    row.name === 'InvalidParams' ? 'invalid' : (KINDS[String(said['kind'])] ?? said['kind']);
  const checked = check(typeOf(row.name), {
    ...row.assumed,
    ...said,
    ...(kind === undefined ? {} : { kind }),
  });
  return new WireError(
    row.name,
    (checked.ok ? checked.value : row.assumed) as WireErrorData[EventsError],
    { message },
  );
}

const typeOf = (name: EventsError): keyof WireTypes => {
  const { data } = registryRow(name);
  return data!.slice(data!.lastIndexOf('/') + 1) as keyof WireTypes;
};

/** Why a subscription ended, by what the server says of it. */
const ENDINGS: Partial<Record<WireErrorName, string>> = {
  NotFound: 'trigger_removed',
  Forbidden: 'revoked',
  Unsupported: 'schema_changed',
};

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
