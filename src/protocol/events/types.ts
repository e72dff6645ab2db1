/**
 * The wire shapes of `events/*` (SEP-3415), as far as this server reads and writes them. They belong to another extension, so they are
 * not part of the published schema here.
 */
import type { Event, JsonObject, Meta } from '../../../spec-schema/draft/schema.ts';

/** The identifier of the Events extension, under which it is declared in capabilities. */
export const EVENTS_EXTENSION_ID = 'io.modelcontextprotocol/events';

/** How events of a type can be delivered. */
export type DeliveryMode = 'poll' | 'push' | 'webhook';

/** One event type in `events/list`. */
export interface EventDescriptor {
  readonly name: string;
  readonly description: string;
  readonly delivery: readonly DeliveryMode[];
  readonly inputSchema: JsonObject;
  readonly payloadSchema: JsonObject;
  readonly _meta: Meta;
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

/** What is followed; absent arguments are the same as `{}`. */
export interface EventSelection {
  readonly name: string;
  readonly arguments?: JsonObject;
}

/** Where to begin; an absent cursor is the same as null: from now. */
export interface Beginning {
  readonly cursor?: string | null;
  /** Milliseconds; ignored without a cursor. */
  readonly maxAgeMs?: number;
}

/** Params of `events/poll`. */
export interface PollParams extends EventSelection, Beginning {
  readonly maxEvents?: number;
}

/** Params of `events/stream`. */
export interface StreamParams extends EventSelection, Beginning {}

/** Params of `events/subscribe`. */
export interface SubscribeParams extends EventSelection, Beginning {
  readonly delivery: { readonly mode: DeliveryMode; readonly url: string; readonly secret: string };
  /** Milliseconds; null = no expiry is wanted. */
  readonly ttlMs?: number | null;
}

/** Params of `events/unsubscribe`. */
export interface UnsubscribeParams extends EventSelection {
  readonly delivery: { readonly url: string };
}

/** One event as it is handed over, in every mode; `cursor` is absent in the result of a poll. */
export interface EventOccurrence extends Pick<Event, 'eventId' | 'name' | 'timestamp' | 'data'> {
  readonly cursor?: string;
  readonly _meta: Meta;
}

/** Result of `events/poll`. */
export interface PollResult {
  readonly events: readonly EventOccurrence[];
  readonly cursor: string;
  readonly truncated: boolean;
  readonly hasMore: boolean;
  readonly nextPollMs: number;
}

/** How a webhook had been doing when its client came back. */
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

/** An error as it stands in an answer, a notification or a control envelope. */
export interface EventsErrorObject {
  readonly code: number;
  readonly message: string;
  readonly data?: Readonly<Record<string, unknown>>;
}

/** The notifications of this extension that a server sends. */
export type EventsNotification =
  | 'notifications/events/active'
  | 'notifications/events/event'
  | 'notifications/events/heartbeat'
  | 'notifications/events/terminated'
  | 'notifications/events/list_changed';
