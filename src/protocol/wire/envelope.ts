/**
 * Encodes and decodes deliveries. An event is encoded once, without its number and the time of its
 * acceptance, and reused in the deliveries of every subscription. These two are the first members,
 * so that one concatenation adds them (SEP: Delivery).
 */
import type {
  Challenge,
  DataRef,
  Delivery,
  TriggerEvent,
} from '../../../spec-schema/draft/schema.ts';
import { LocalError } from './errors.ts';
import { isWritable, parseInstant } from './instant.ts';
import { inspectJson, parseJson, writeJson } from './json.ts';
import { CALLBACK_BODY_BYTES_MAX, EVENT_BYTES_MAX } from './limits.ts';
import { check, type WireTypes } from './validate.ts';

export const DELIVERY_METHOD = 'notifications/triggers/delivery';
export const LIST_CHANGED_METHOD = 'notifications/triggers/list_changed';
/** The `_meta` key by which a notification of the core or of `events/*` names its request. */
export const SUBSCRIPTION_ID_META_KEY = 'io.modelcontextprotocol/subscriptionId';

const PREFIX = `{"jsonrpc":"2.0","method":"${DELIVERY_METHOD}","params":`;

/** An event before it is accepted. */
export type UnnumberedEvent = Omit<TriggerEvent, 'sequence' | 'acceptedAt'>;
/** A delivery without its events. */
export type DeliveryHead = Omit<Delivery, 'events'>;

/**
 * The `timestamp` of an event, from epoch milliseconds, an RFC 3339 instant, or the present time.
 * Throws `LocalError` `payload_invalid` for anything else.
 */
export function instantOf(given: number | string | undefined, now: number): string {
  const at = typeof given === 'string' ? parseInstant(given) : (given ?? now);
  if (!isWritable(at))
    throw new LocalError(
      'payload_invalid',
      "The event's timestamp must be epoch milliseconds or an RFC 3339 instant of the years 0000 to 9999.",
    );
  return new Date(Math.floor(at)).toISOString();
}

/**
 * Returns the event's JSON without `sequence` and `acceptedAt`. Throws `LocalError` `json_refused`
 * if `data` cannot be sent as JSON.
 */
export function encodeEvent(event: UnnumberedEvent): string {
  const { eventId, name, timestamp, data, _meta } = event;
  if (data === undefined)
    throw new LocalError(
      'json_refused',
      'The event has no "data". Pass null for an event without data.',
      {
        reason: 'value',
      },
    );
  return writeJson({ eventId, name, timestamp, data, _meta });
}

/** An encoded event. */
export interface EncodedEvent {
  /** As {@link encodeEvent} returns it, without `data` if `data` is here. */
  readonly encoded: string;
  /** The JSON of its data, if the event is too large for a delivery. */
  readonly data?: string;
}

/** As {@link encodeEvent}, with the data apart if the event is too large for a delivery. */
export function encodeParts(event: UnnumberedEvent): EncodedEvent {
  const encoded = encodeEvent(event);
  if (fitsDelivery(encoded)) return { encoded };
  const { eventId, name, timestamp, data, _meta } = event;
  return {
    encoded: JSON.stringify({ eventId, name, timestamp, _meta }),
    data: JSON.stringify(data),
  };
}

/**
 * Adds the number and the time of acceptance, in epoch milliseconds, to an encoded event, and the
 * reference to its data if that is kept apart.
 */
export function eventInLog(
  encoded: string,
  sequence: number,
  acceptedAt: number,
  dataRef?: DataRef,
): string {
  const reference = dataRef === undefined ? '' : `"dataRef":${JSON.stringify(dataRef)},`;
  return `{"sequence":${sequence},"acceptedAt":"${new Date(acceptedAt).toISOString()}",${reference}${encoded.slice(1)}`;
}

/** The bytes that {@link eventInLog} adds for the time of acceptance. */
export const ACCEPTED_AT_BYTES = '"acceptedAt":"2026-11-21T09:30:00.000Z",'.length;

/** Bytes of an encoded event in a delivery, without its number (SEP: Limits). */
export const eventBytes = (encoded: string): number =>
  Buffer.byteLength(encoded) + ACCEPTED_AT_BYTES;

/** Whether an encoded event can be delivered (SEP: Gaps). */
export const fitsDelivery = (encoded: string): boolean =>
  // Most events need no count: a UTF-16 code unit has at most three bytes in UTF-8.
  encoded.length * 3 + ACCEPTED_AT_BYTES <= EVENT_BYTES_MAX ||
  eventBytes(encoded) <= EVENT_BYTES_MAX;

/** Returns the JSON of a `Delivery` from encoded, numbered events. */
export function encodeDelivery(head: DeliveryHead, events: readonly string[]): string {
  const { subscriptionId, key, epoch, afterSequence, ...rest } = head;
  const start = JSON.stringify({ subscriptionId, key, epoch, afterSequence }).slice(0, -1);
  return `${start},"events":[${events.join(',')}],${JSON.stringify(rest).slice(1)}`;
}

/** Returns the body of a callback request from the JSON of a `Delivery` or a `Challenge`. */
export function encodeDeliveryNotification(paramsJson: string): Buffer {
  return Buffer.from(`${PREFIX}${paramsJson}}`, 'utf8');
}

/** A callback request: a delivery, or the challenge that verifies the endpoint. */
export type CallbackMessage =
  | { readonly kind: 'delivery'; readonly delivery: Delivery }
  | { readonly kind: 'challenge'; readonly challenge: Challenge };

/**
 * Decodes the body of a callback request whose signature was verified. A body with the member
 * `challenge` is a challenge. Throws `LocalError` `peer_misbehaved` unless it is at most 256 KiB of
 * UTF-8, at most 64 levels deep and valid, and a delivery covers its whole range.
 */
export function decodeCallback(body: Uint8Array): CallbackMessage {
  let value: unknown;
  try {
    value = parseJson(body, { maxBytes: CALLBACK_BODY_BYTES_MAX });
  } catch (cause) {
    throw misbehaved((cause as LocalError).message.replace(/\.$/, ''), cause);
  }
  const { params } = Object(value) as { readonly params?: unknown };
  if (typeof params === 'object' && params !== null && 'challenge' in params) {
    const { params: challenge } = valid('ChallengeNotification', value);
    return { kind: 'challenge', challenge };
  }
  const { params: delivery } = valid('DeliveryNotification', value);
  coverage(delivery);
  return { kind: 'delivery', delivery };
}

function valid<Name extends 'ChallengeNotification' | 'DeliveryNotification' | 'Delivery'>(
  name: Name,
  value: unknown,
): WireTypes[Name] {
  const checked = check(name, value);
  if (!checked.ok) throw misbehaved(`expected ${checked.expected} at "${checked.path}"`);
  return checked.value;
}

/** Validates a parsed delivery of a stream or a pull. Throws `LocalError` `peer_misbehaved`. */
export function acceptDelivery(value: unknown): Delivery {
  const unfit = inspectJson(value);
  if (unfit !== null) throw misbehaved(`expected ${unfit}`);
  const delivery = valid('Delivery', value);
  coverage(delivery);
  return delivery;
}

/**
 * Checks that every number of the range is in `events` or in exactly one gap, in ascending order,
 * and that the counters are consistent. Returns the last number covered:
 * `afterSequence` for an empty delivery. Throws `LocalError` `peer_misbehaved`.
 */
export function coverage(
  delivery: Pick<Delivery, 'afterSequence' | 'events' | 'gaps' | 'head' | 'acked'>,
): { readonly last: number } {
  const { afterSequence: after, events, head, acked } = delivery;
  const gaps = delivery.gaps ?? [];
  let last = after;
  let nextEvent = 0;
  let nextGap = 0;
  while (nextEvent < events.length || nextGap < gaps.length) {
    const gap = gaps[nextGap];
    if (gap?.from === last + 1) {
      if (gap.to < gap.from) throw misbehaved('a gap ends before it starts');
      last = gap.to;
      nextGap++;
    } else if (events[nextEvent]?.sequence === last + 1) {
      last++;
      nextEvent++;
    } else {
      throw misbehaved(
        `number ${last + 1} is neither an event nor in a gap, or the order is not ascending`,
      );
    }
  }
  if (last > head) throw misbehaved('"head" is below the last number covered');
  if (acked > head) throw misbehaved('"acked" is beyond "head"');
  return { last };
}

const misbehaved = (problem: string, cause?: unknown) =>
  new LocalError(
    'peer_misbehaved',
    `The delivery is not valid: ${problem}. Report this to the operator of the server.`,
    { reason: 'delivery', cause },
  );
