/** Checks an event that a source emits, and encodes it once for all logs. */
import type { Clock } from '../../protocol/lib/clock.ts';
import {
  encodeEvent,
  encodeParts,
  fitsDelivery,
  instantOf,
  type EncodedEvent,
  type UnnumberedEvent,
} from '../../protocol/wire/envelope.ts';
import { LocalError } from '../../protocol/wire/errors.ts';
import { readTraceContext } from '../../protocol/wire/trace-context.ts';
import type { UserValidator } from '../../protocol/wire/user-schema.ts';
import type { EventGap, EventIdentity } from '../store/port.ts';
import type { Catalog } from './catalog.ts';
import type { Matchable } from './matcher.ts';
import type { Log, Meter, Random } from './ports.ts';
import type { NewEvent, NewGap } from './verbs.ts';

/** Limit of `eventId` in the schema, and of a scope. */
const ID_CHARS_MAX = 256;

/** Most owners in an audience, and most characters of each. */
const AUDIENCE_MAX = 1000;
const OWNER_CHARS_MAX = 1024;

/** An event that can be accepted. */
export interface CheckedEvent extends EventIdentity, Matchable {
  readonly text: EncodedEvent;
}

export interface EventCheckParts {
  readonly catalog: Catalog;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Log;
  readonly meter: Meter;
  /** Most bytes of an event's data that are stored. */
  readonly maxEventBytes: number;
}

/**
 * Checks and encodes an event. Data that do not match the schema of the type make it a gap of
 * reason `invalid`, and data that are too large to be stored a gap of reason `too_large`. Throws `LocalError`: `trigger_unknown`, `payload_invalid` or `json_refused`.
 * Reports both to the log and the meter, because no client learns of the second (SEP: Trigger
 * types).
 */
export function checkEvent(event: NewEvent | NewGap, parts: EventCheckParts): CheckedEvent {
  const { log, meter } = parts;
  try {
    return check(event, parts);
  } catch (cause) {
    if (cause instanceof LocalError) {
      const { name: trigger, scope, eventId } = event;
      log.warn(
        { ...idsOf({ trigger, scope, eventId }), code: cause.code, err: cause },
        'event rejected; it enters no log',
      );
      meter.count('triggers_events_rejected_total', 1, { code: cause.code });
    }
    throw cause;
  }
}

function check(event: NewEvent | NewGap, parts: EventCheckParts): CheckedEvent {
  const { catalog, clock, random, log, meter, maxEventBytes } = parts;
  const { scope = '', name, eventId = random.token(16) } = event;
  const { checkPayload, checkSome } = catalog.ofEvent(name);
  assertId('eventId', eventId);
  if (event.scope !== undefined) assertId('scope', scope);
  const audience = audienceOf(event, catalog.needsAudience(name));
  const timestamp = instantOf('timestamp' in event ? event.timestamp : undefined, clock.now());
  const identity = { scope, name, eventId, audience };
  const gapOf = (gap: EventGap, data: Readonly<Record<string, unknown>>): CheckedEvent => ({
    ...identity,
    gap,
    data,
    text: { encoded: encodeEvent({ eventId, name, timestamp, data }) },
  });
  /** A gap in place of an event with this data. */
  const gapAbout = (gap: EventGap, data: unknown): CheckedEvent => {
    try {
      const about = gapOf(gap, catalog.knownArguments(name, data));
      if (fitsDelivery(about.text.encoded)) return about;
    } catch {
      // An argument that JSON cannot express shows nothing.
    }
    return gapOf(gap, {});
  };
  if ('gap' in event) {
    const known = event.arguments ?? {};
    assertKnown(known, checkSome);
    return gapOf(event.gap, known);
  }
  const { data } = event;
  const checked = checkPayload(data);
  const problem = checked.ok
    ? null
    : `${checked.path === '' ? 'the data' : checked.path} must be ${checked.expected}`;
  let refused: unknown = null;
  if (problem === null) {
    const meta = traceOf(event, log);
    try {
      const text = encodeParts({ eventId, name, timestamp, data, ...meta });
      if (text.data !== undefined && Buffer.byteLength(text.data) > maxEventBytes)
        return gapAbout('too_large', data);
      return { ...identity, gap: null, data, text };
    } catch (cause) {
      refused = cause;
    }
  }
  log.warn(
    {
      ...idsOf({ trigger: name, scope, eventId }),
      ...(refused === null ? { problem } : { err: refused }),
    },
    'event does not match its payloadSchema; logs that can select it get a gap',
  );
  meter.count('triggers_events_invalid_total');
  return gapAbout('invalid', data);
}

/** The trace context of an event as its `_meta`; nothing without a valid one. */
function traceOf(
  { name: trigger, scope, eventId, _meta }: NewEvent,
  log: Log,
): Pick<UnnumberedEvent, '_meta'> {
  if (_meta === undefined) return {};
  const { context, invalid } = readTraceContext(_meta);
  if (invalid.length > 0)
    log.warn(
      { ...idsOf({ trigger, scope, eventId }), members: invalid },
      'trace context of an event is not valid; the event is accepted without it',
    );
  return context.traceparent === undefined ? {} : { _meta: { ...context } };
}

/** Identifiers for the log; they come from the upstream and can have any length. */
const idsOf = (ids: Readonly<Record<string, string | undefined>>): Record<string, string> =>
  Object.fromEntries(
    Object.entries(ids).flatMap(([name, value]) =>
      typeof value === 'string' ? [[name, value.slice(0, ID_CHARS_MAX)]] : [],
    ),
  );

/** Throws `LocalError` `payload_invalid` unless each value, or member of a list, is an argument. */
function assertKnown(known: Readonly<Record<string, unknown>>, isArgument: UserValidator): void {
  for (const [argument, value] of Object.entries(known))
    for (const one of Array.isArray(value) ? value : [value]) {
      const checked = isArgument({ [argument]: one });
      if (!checked.ok)
        throw new LocalError(
          'payload_invalid',
          `The gap's arguments do not match inputSchema: ${checked.path} must be ${checked.expected}.`,
        );
    }
}

function audienceOf(
  { audience }: Pick<NewEvent, 'audience'>,
  isRequired: boolean,
): readonly string[] | null {
  if (audience === undefined && isRequired)
    throw new LocalError(
      'payload_invalid',
      "An event of this type has an audience. Name the principals that it concerns, or pass 'everybody'.",
    );
  if (audience === undefined || audience === 'everybody') return null;
  if (
    audience.length > AUDIENCE_MAX ||
    audience.some((one) => one.length < 1 || one.length > OWNER_CHARS_MAX)
  )
    throw new LocalError(
      'payload_invalid',
      `An audience has at most ${AUDIENCE_MAX} principals of 1 to ${OWNER_CHARS_MAX} characters. Emit several events, or pass 'everybody'.`,
    );
  return [...new Set(audience)];
}

/**
 * Throws `LocalError` `payload_invalid` unless it is well-formed text of 1 to 256 characters. A
 * lone surrogate would be stored as another character, which equals that of every other one.
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
