/** Error codes of `events/*`, and the errors with which a subscription ends. */
import type { TerminationReason } from '../../../spec-schema/draft/schema.ts';

/** The errors with codes that `events/*` defines; the others use the codes of JSON-RPC. */
export type EventsErrorName =
  'NotFound' | 'Forbidden' | 'ResourceExhausted' | 'Unsupported' | 'CallbackEndpointError';

export type EventsErrorCodes = Readonly<Record<EventsErrorName, number>>;

/** The two sets of codes in use: of SEP-3415 (`sep`), and of the earlier design sketch (`sketch`). */
export const EVENTS_ERROR_CODES: Readonly<Record<'sep' | 'sketch', EventsErrorCodes>> = {
  sep: {
    NotFound: -32023,
    Forbidden: -32024,
    ResourceExhausted: -32025,
    Unsupported: -32026,
    CallbackEndpointError: -32027,
  },
  sketch: {
    NotFound: -32011,
    Forbidden: -32012,
    ResourceExhausted: -32013,
    Unsupported: -32014,
    CallbackEndpointError: -32015,
  },
};

/** The error that reports why the server ended a subscription, by reason. */
export const TERMINATION_ERRORS = {
  trigger_removed: 'NotFound',
  schema_changed: 'Unsupported',
  revoked: 'Forbidden',
} as const satisfies Partial<Record<TerminationReason, EventsErrorName>>;
