/**
 * The interface of an engine: the nine methods of the protocol, for bindings, and the methods for
 * the server's own code. A binding checks `params` against the schema; the engine enforces every
 * other rule of the protocol.
 */
import type {
  AckRequestParams,
  AckResult,
  Delivery,
  GetNotModified,
  GetRequestParams,
  GetResult,
  ListTriggersNotModified,
  ListTriggersRequestParams,
  ListTriggersResult,
  Position,
  PullRequestParams,
  PullResult,
  Subscription as WireSubscription,
  SubscribeRequestParams,
  SubscribeResult,
  SubscriptionsRequestParams,
  SubscriptionsResult,
  StreamRequestParams,
  TriggerType,
  UnsubscribeRequestParams,
  UnsubscribeResult,
  UpdateRequestParams,
  UpdateResult,
} from '../../../spec-schema/draft/schema.ts';
import type { TerminationReason } from '../../protocol/core/types.ts';
import type { Clock } from '../../protocol/lib/clock.ts';
import type { TraceContext } from '../../protocol/wire/trace-context.ts';
import type { EventGap } from '../store/port.ts';

/** The sender of an MCP request. */
export interface Caller {
  /**
   * The owner of what this caller creates: `local` on stdio, `JSON.stringify([iss, sub, client])`
   * over HTTP, without the client for tokens that name none.
   */
  readonly principal: string;
  /** Claims from authentication, for `authorize`. Never stored. */
  readonly claims?: Readonly<Record<string, unknown>>;
}

/** Receives the deliveries of a stream. */
export interface StreamSink {
  /**
   * Sends one `notifications/triggers/delivery`. Must reject when the connection is closed. The
   * engine waits for the result before it sends the next one.
   */
  send(delivery: Delivery): Promise<void>;
}

/** Options of a binding for another protocol, in addition to the params of `triggers/subscribe`. */
export interface SubscribeAs {
  /**
   * Dialect of the callback: a name in `EngineOptions.dialects`. A repeated call that names a
   * dialect replaces the callback; for the same URL, the previous secret also signs for five
   * minutes. The same callback is resumed if it is suspended. Without a dialect, a repeated call
   * with another callback rejects with `Conflict`.
   */
  readonly dialect: string;
}

/** The options that the client declares in its own settings (SEP: Settings). */
export interface ClientOptions {
  /** The option `dataRef`: large events are in its logs, with a reference to their data. */
  readonly dataRef?: boolean;
}

/** Receives notifications about one log. Called right after a commit; must not block or throw. */
export interface LogListener {
  /** The log may have new entries, or the subscription's configuration or status changed. */
  news(): void;
  /** The subscription ended. This is the last call. */
  ended(reason: TerminationReason): void;
}

/** Access to logs for bindings whose clients know neither subscription ids nor positions. */
export interface Logs {
  /** The caller's live subscription with this key; null = none. */
  find(caller: Caller, key: string): Promise<WireSubscription | null>;
  /**
   * The position of the last event accepted before an instant (epoch milliseconds). A read after
   * this position returns the events accepted since the instant. Rejects with `NotFound`.
   */
  seek(caller: Caller, subscriptionId: string, acceptedBefore: number): Promise<Position>;
  /**
   * Counts everything up to a position as sent, because the client has chosen to read from there:
   * only what was sent without a break can be acknowledged. Does nothing for a position that the
   * log does not have. Rejects with `NotFound`.
   */
  skip(caller: Caller, subscriptionId: string, position: Position): Promise<void>;
  /**
   * Notifies `listener` of changes to the caller's log until the returned function is called.
   * Rejects with `NotFound`, or with `Forbidden` when the caller may no longer follow it.
   */
  watch(caller: Caller, subscriptionId: string, listener: LogListener): Promise<() => void>;
}

/** The part of an engine that the bindings to `events/*`, resources and tools use. */
export type BindableEngine = Verbs & Logs & Pick<Engine, 'onListChanged' | 'settled' | 'clock'>;

/**
 * The protocol's methods (SEP: Methods). `params` must match the schema. A `WireError` is meant for
 * the client; every other error, such as a `LocalError` of the store, must be sent as
 * `InternalError`. A call for another principal's subscription rejects with `NotFound`, like one
 * for an unknown subscription.
 */
export interface Verbs {
  /**
   * One page of at most 100 trigger types, ascending by name; not modified = `ifNoneMatch` is the
   * current ETag (SEP: triggers/list). Rejects with `InvalidParams` (cursor).
   */
  list(
    caller: Caller,
    params: ListTriggersRequestParams,
  ): Promise<ListTriggersResult | ListTriggersNotModified>;
  /**
   * Creates a subscription, or renews the one with the same key (SEP: triggers/subscribe).
   * Challenges a new callback during the call if it must prove its consent. `client` concerns a new
   * subscription only. Rejects with
   * `InvalidParams`, `NotFound` (trigger), `Forbidden`, `Conflict` (key), `Unsupported`,
   * `ResourceExhausted` or `CallbackEndpointError`, and then stores nothing.
   */
  subscribe(
    caller: Caller,
    params: SubscribeRequestParams,
    as?: SubscribeAs,
    client?: ClientOptions,
  ): Promise<SubscribeResult>;
  /**
   * The JSON of the data to which the `uri` of a `dataRef` leads; null = they do not exist, or not
   * for this caller. Rejects with `Forbidden` when the caller may no longer follow the log (SEP: Data by
   * reference).
   */
  data(caller: Caller, uri: string): Promise<string | null>;
  /**
   * Changes the given members in one step, and resumes a suspended callback if the caller asks for
   * it and the endpoint consents (SEP: triggers/update). Rejects like `subscribe`, or with
   * `Conflict` (etag) when `ifMatch` is stale, and then changes nothing.
   */
  update(caller: Caller, params: UpdateRequestParams): Promise<UpdateResult>;
  /** One subscription; not modified = `ifNoneMatch` is the current ETag (SEP: triggers/get). */
  get(caller: Caller, params: GetRequestParams): Promise<GetResult | GetNotModified>;
  /** One page of the caller's subscriptions, oldest first (SEP: triggers/subscriptions). */
  subscriptions(caller: Caller, params: SubscriptionsRequestParams): Promise<SubscriptionsResult>;
  /**
   * Ends a subscription and deletes its log. Rejects with `Conflict` (etag) for a stale `ifMatch`
   * (SEP: triggers/unsubscribe).
   */
  unsubscribe(caller: Caller, params: UnsubscribeRequestParams): Promise<UnsubscribeResult>;
  /**
   * Acknowledges `ack`, then reads after `after`: one delivery of at most 1 MiB (SEP:
   * triggers/pull). If nothing follows `after`, waits up to `waitMs`; `signal` ends the wait with
   * an empty result. `eventBytes` lowers the limit for the bytes of events; it does not apply to
   * the first event. Rejects with `Forbidden`, `Conflict` (epoch, position), `Unsupported` (drain)
   * or `ResourceExhausted` (waiting pulls).
   */
  pull(
    caller: Caller,
    params: PullRequestParams,
    signal?: AbortSignal,
    eventBytes?: number,
  ): Promise<PullResult>;
  /**
   * Sends the deliveries after `after` to `sink`, within the window (SEP: triggers/stream).
   * Resolves when the server ends the stream or `signal` fires. Rejects before the first delivery
   * with `Forbidden`, `Conflict` (epoch, position), `Unsupported` (drain) or `ResourceExhausted`
   * (streams), and later when `sink` does.
   */
  stream(
    caller: Caller,
    params: StreamRequestParams,
    sink: StreamSink,
    signal: AbortSignal,
  ): Promise<void>;
  /**
   * Acknowledges every number up to `position`; an earlier position is not an error. Rejects with
   * `Conflict` (epoch, position) (SEP: triggers/ack).
   */
  ack(caller: Caller, params: AckRequestParams): Promise<AckResult>;
}

/**
 * An event as its source emits it. The same event has these forms on its way out:
 *
 * | type | stage |
 * |---|---|
 * | `NewEvent` | emitted by a source |
 * | `AcceptedEvent` | in the accept log: durable, in order of acceptance, encoded once |
 * | `LogEntry` | in one subscription's log: has a sequence number, or is a gap |
 * | `ReadEntry` | a `LogEntry` as read, joined with the JSON of its event |
 * | `LogRange` | contiguous entries that one delivery covers, in wire form |
 * | `CallbackMessage` | a delivery in the callback's dialect, not signed |
 * | `SignedMessage` | the headers and body of one attempt |
 *
 * Streams and pulls send the `Delivery` of a `LogRange` directly.
 */
export interface NewEvent {
  readonly name: string;
  /**
   * The part of the upstream within which `eventId` is unique, such as a webhook, an installation
   * or a tenant; 1 to 256 characters, never sent to anybody. Equal ids of two scopes are two
   * events. Default: the server's own code.
   */
  readonly scope?: string;
  /**
   * Identifier of the upstream, 1 to 256 characters. A second event with the same scope, name and
   * id is not appended while the first is kept. Default: a random identifier.
   */
  readonly eventId?: string;
  /** Epoch milliseconds or an RFC 3339 instant. Default: now. */
  readonly timestamp?: number | string;
  /**
   * The principals that the event concerns, as in `Caller.principal`, at most 1,000: it enters only
   * their logs. Default: everybody. Required for `mcp.task.updated`, for the `list_changed` types,
   * and for types that declare it.
   */
  readonly audience?: readonly string[] | 'everybody';
  /**
   * If it does not match the trigger type's `payloadSchema`, every log that selects the type gets a
   * gap of reason `invalid`, except logs with an argument that shows that it does not match.
   */
  readonly data: unknown;
  /**
   * W3C trace context of the upstream, which every drain delivers unchanged in the event's `_meta`
   * (SEP: Trace context). A value that is not valid is logged and dropped.
   */
  readonly _meta?: TraceContext;
}

/**
 * A statement of a source that it could not watch for a time, for example because it was down, and
 * that events may be missing. Emitted like an event (SEP: The log).
 */
export interface NewGap extends Pick<NewEvent, 'scope' | 'name' | 'eventId' | 'audience'> {
  readonly gap: 'unwatched';
  /**
   * The values that the missing events would have, one or a list for each argument. Logs with other
   * values of an argument get no gap. Default: any.
   */
  readonly arguments?: Readonly<Record<string, unknown>>;
}

/** The result of `emit`: the event is accepted and will enter every matching log. */
export interface Accepted {
  /** The event's identifier, given or generated. */
  readonly eventId: string;
  /** True = an event with the same scope, name and id was accepted before; nothing was appended. */
  readonly duplicate: boolean;
  /** The reason for which the logs have a gap instead of the event; null = they have the event. */
  readonly gap: EventGap | null;
}

/** The engine as the server's own code uses it. */
export interface Engine extends Verbs, Logs {
  /** The clock of the engine; bindings use it too. */
  readonly clock: Clock;
  /**
   * Opens the store, recovers, and resumes deliveries. Must resolve before other calls. Rejects
   * with the store's `LocalError` (`store_locked`, `store_corrupt`, `store_failed`, `key_unknown`,
   * `config_invalid`).
   */
  start(): Promise<void>;
  /**
   * Rejects new calls and ends streams and waiting pulls. Waits at most 12 s for calls in progress,
   * then at most 12 s for attempts in flight, and closes the store. Idempotent.
   */
  close(): Promise<void>;
  /**
   * Resolves once the event or gap is durable (SEP: The log). Rejects with `LocalError`:
   * `trigger_unknown`, `payload_invalid`, `json_refused`, `store_full`, `store_failed`,
   * `store_fenced`, `closed`; the event is then not accepted. The first three are also logged and
   * counted, because the event is lost.
   */
  emit(event: NewEvent | NewGap): Promise<Accepted>;
  /**
   * Resolves when every event accepted so far is in all matching logs. Rejects with `LocalError`
   * `closed` after `close`.
   */
  settled(): Promise<void>;
  /**
   * Adds a trigger type, or replaces one with a compatible version, and notifies clients. Throws
   * `LocalError` `config_invalid` or `schema_refused`.
   */
  declare(type: DeclaredTrigger): void;
  /**
   * Removes a trigger type and ends its subscriptions (SEP: Ending). For an incompatible change,
   * remove the type with reason `schema_changed`, then declare it again.
   */
  remove(name: string, reason?: 'trigger_removed' | 'schema_changed'): Promise<void>;
  /**
   * Ends all subscriptions of a principal, or one of them. Resolves with the number of
   * subscriptions ended (SEP: Ending).
   */
  terminate(
    of: { readonly principal: string; readonly subscriptionId?: string },
    reason: Extract<TerminationReason, 'revoked' | 'failed' | 'schema_changed'>,
  ): Promise<number>;
  /**
   * Deletes an event's data: its sequence number becomes a `redacted` gap in every log. Name the
   * scope that the event was emitted with. Resolves with false when the event no longer exists.
   * Does not affect deliveries that have been sent.
   */
  redact(event: Pick<NewEvent, 'scope' | 'name'> & { readonly eventId: string }): Promise<boolean>;
  /**
   * Calls `run` whenever the list of trigger types changes, until the returned function is called.
   */
  onListChanged(run: () => void): () => void;
  /**
   * For a readiness probe. Rejects with the store's `LocalError` when it cannot be read, for
   * example `closed` before `start` has opened it.
   */
  health(): Promise<EngineHealth>;
}

/** The state and the load of an engine. */
export interface EngineHealth {
  /** `starting` until recovery is done; `degraded` = the store rejects writes. */
  readonly status: 'starting' | 'ok' | 'degraded' | 'closed';
  /** Grows with every opening of the store, so that it identifies one run of the server. */
  readonly generation: number;
  /** Subscriptions in the store; 0 after `close`. */
  readonly subscriptions: number;
  /** Open streams, waiting pulls and listeners of bindings. */
  readonly streams: number;
  /** Callback attempts that wait for a response. */
  readonly attemptsInFlight: number;
  /** Accepted events that are not yet in every matching log. */
  readonly sequencerLag: number;
}

/** The present state that a level-triggered type describes, as an event. */
export interface InitialState {
  /** Must match `payloadSchema`. */
  readonly data: unknown;
  /** Default: a random identifier. */
  readonly eventId?: string;
  /** When the state began, as in {@link NewEvent}. Default: now. */
  readonly timestamp?: number | string;
}

/** A trigger type: its wire description, and how arguments select events. */
export interface DeclaredTrigger {
  /**
   * Defaults: all drains, 7 days and 10,000 events, ordering `arrival`. `drains` must contain
   * `pull`.
   */
  readonly type: Omit<TriggerType, 'drains' | 'retention' | 'ordering' | 'initial'> &
    Partial<Pick<TriggerType, 'drains' | 'retention' | 'ordering'>>;
  /**
   * For each argument, the event value or values that it is compared with. These comparisons are
   * indexed. An argument that is an array matches if one of its members does. Default: the
   * top-level member of `data` with the argument's name.
   */
  readonly attributes?: Readonly<Record<string, (data: never) => unknown>>;
  /**
   * A further condition that an event must meet. Called for every subscription whose arguments
   * match by `attributes`. An exception is logged and counts as no match.
   */
  readonly match?: (args: Readonly<Record<string, unknown>>, data: never) => boolean;
  /**
   * Makes the type level-triggered: reads the present state for the arguments of a subscription,
   * which becomes the first event of its log; null = no state exists. Events that are emitted while
   * it runs follow, so emit a change after this function can see it. Must resolve within 10
   * seconds; if it throws, the subscription is not created. The type must have no `history`.
   */
  readonly initial?: (
    args: Readonly<Record<string, unknown>>,
  ) => InitialState | null | Promise<InitialState | null>;
  /** Whether every event must name its `audience`. Default: only if the protocol says so. */
  readonly audience?: 'required' | 'optional';
}
