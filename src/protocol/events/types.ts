/**
 * The wire shapes of `events/*` (SEP-3415), as far as this library reads and writes them. They
 * belong to another extension and are not part of the schema published here.
 */
import type { TriggerEvent, JsonObject, MetaObject } from '../../../spec-schema/draft/schema.ts';
import type { DeliveryModeName, EventsMethod } from './names.ts';

/** One event type in `events/list`. */
export interface EventDescriptor {
  readonly name: string;
  readonly description: string;
  readonly delivery: readonly DeliveryModeName[];
  readonly inputSchema: JsonObject;
  readonly payloadSchema: JsonObject;
  readonly _meta: MetaObject;
}

/** Params of `events/list`. */
export interface ListParams {
  readonly cursor?: string | null;
}

/** Result of `events/list`. */
export interface ListResult {
  readonly events: readonly EventDescriptor[];
  readonly nextCursor?: string;
}

/** An event type and its arguments; absent arguments are `{}`. */
export interface EventSelection {
  readonly name: string;
  readonly arguments?: JsonObject;
}

/** The point from which reading starts. An absent cursor is the same as null and means now. */
export interface StartPoint {
  readonly cursor?: string | null;
  /** Skips events that were accepted longer ago, in milliseconds. Ignored without a cursor. */
  readonly maxAgeMs?: number;
}

/** Params of `events/poll`. */
export interface PollParams extends EventSelection, StartPoint {
  readonly maxEvents?: number;
}

/** Params of `events/stream`. */
export interface StreamParams extends EventSelection, StartPoint {}

/** Params of `events/subscribe`. */
export interface SubscribeParams extends EventSelection, StartPoint {
  readonly delivery: {
    readonly mode: DeliveryModeName;
    readonly url: string;
    readonly secret: string;
  };
  /** Milliseconds; null asks for no expiry. */
  readonly ttlMs?: number | null;
}

/** Params of `events/unsubscribe`. */
export interface UnsubscribeParams extends EventSelection {
  readonly delivery: { readonly url: string };
}

/** The params of each method. */
export interface ParamsOf extends Record<EventsMethod, object> {
  'events/list': ListParams;
  'events/poll': PollParams;
  'events/stream': StreamParams;
  'events/subscribe': SubscribeParams;
  'events/unsubscribe': UnsubscribeParams;
}

/** One event, the same in every delivery mode; the result of a poll omits `cursor`. */
export interface EventOccurrence extends Pick<
  TriggerEvent,
  'eventId' | 'name' | 'timestamp' | 'data'
> {
  readonly cursor?: string;
  readonly _meta: MetaObject;
}

/** Result of `events/poll`. */
export interface PollResult {
  readonly events: readonly EventOccurrence[];
  readonly cursor: string;
  readonly truncated: boolean;
  readonly hasMore: boolean;
  readonly nextPollMs: number;
}

/** The state of a webhook's deliveries before this call to `events/subscribe`. */
export interface DeliveryStatus {
  readonly active: boolean;
  readonly lastDeliveryAt: string | null;
  readonly lastError: string | null;
  readonly failedSince?: string;
}

/** Result of `events/subscribe`. */
export interface SubscribeResult {
  readonly id: string;
  readonly refreshBefore: string | null;
  readonly cursor: string;
  readonly truncated: boolean;
  readonly deliveryStatus?: DeliveryStatus;
}

/** An error in a response, a notification or a control envelope. */
export interface EventsErrorObject {
  readonly code: number;
  readonly message: string;
  readonly data?: Readonly<Record<string, unknown>>;
}
