/** Checks an event that a source emits, and encodes it once for all logs. */
import type { Clock } from '../../protocol/lib/clock.ts';
import { encodeEvent, instantOf } from '../../protocol/wire/envelope.ts';
import { LocalError } from '../../protocol/wire/errors.ts';
import type { EventIdentity } from '../store/port.ts';
import type { Catalog } from './catalog.ts';
import type { Random } from './ports.ts';
import type { NewEvent } from './verbs.ts';

/** Limit of `eventId` in the schema, and of a scope. */
const ID_CHARS_MAX = 256;

/** An event that can be accepted. */
export interface CheckedEvent extends EventIdentity {
  /** Its JSON without `sequence` and `acceptedAt`. */
  readonly encoded: string;
  readonly data: unknown;
}

/**
 * Checks and encodes an event. Throws `LocalError`: `trigger_unknown`, `payload_invalid` or
 * `json_refused`.
 */
export function checkEvent(
  event: NewEvent,
  {
    catalog,
    clock,
    random,
  }: { readonly catalog: Catalog; readonly clock: Clock; readonly random: Random },
): CheckedEvent {
  const { scope = '', name, data, eventId = random.token(16) } = event;
  catalog.assertPayload(name, data);
  assertId('eventId', eventId);
  if (event.scope !== undefined) assertId('scope', scope);
  const timestamp = instantOf(event.timestamp, clock.now());
  const encoded = encodeEvent({ eventId, name, timestamp, data });
  return { scope, name, eventId, encoded, data };
}

/**
 * Throws `LocalError` `payload_invalid` unless it is well-formed text of 1 to 256 characters. A lone
 * surrogate would be stored as another character, which equals that of every other one.
 */
function assertId(member: 'eventId' | 'scope', value: string): void {
  if (value.length < 1 || value.length > ID_CHARS_MAX)
    throw new LocalError(
      'payload_invalid',
      `The event's ${member} must have 1 to ${ID_CHARS_MAX} characters. Hash a longer one.`,
    );
  if (/\p{Surrogate}/u.test(value))
    throw new LocalError(
      'json_refused',
      `The event's ${member} contains half of a character. Hash it, or encode it as base64url.`,
    );
}
