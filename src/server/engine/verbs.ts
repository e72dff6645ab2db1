/**
 * What the engine can be asked to do: the nine methods of the protocol, and what a server's own code may ask besides. A
 * binding validates shapes and calls these; every rule of the protocol is behind them.
 */
import type {
  AckParams,
  AckResult,
  GetNotModified,
  GetParams,
  GetResult,
  ListTriggersNotModified,
  ListTriggersParams,
  ListTriggersResult,
  Position,
  PullParams,
  Subscription as WireSubscription,
  SubscribeParams,
  SubscribeResult,
  SubscriptionsParams,
  SubscriptionsResult,
  StreamParams,
  TriggerType,
  UnsubscribeParams,
  UnsubscribeResult,
  UpdateParams,
  UpdateResult,
} from '../../../spec-schema/draft/schema.ts';
import type { TerminationReason } from '../../protocol/core/types.ts';
import type { Clock } from '../../protocol/lib/clock.ts';

/** Who is asking: the authenticated subject of the MCP request. `local` on stdio, `JSON.stringify([iss, sub])` over HTTP. */
export interface Caller {
  readonly principal: string;
  /** Whatever the authenticator knows, for the `authorize` hook. Never stored. */
  readonly claims?: Readonly<Record<string, unknown>>;
}

/** Where a stream's deliveries go. */
export interface StreamSink {
  /**
   * Sends one `notifications/triggers/delivery`. `params` is the delivery as parsed JSON, ready for `_meta` to be added by the
   * binding; `json` is the same as text. Rejects when the connection is gone. Awaited before the next one is sent.
   */
  send(delivery: { readonly params: object; readonly json: string }): Promise<void>;
}

/** What a binding of another protocol asks for beside the params of `triggers/subscribe`. */
export interface SubscribeAs {
  /**
   * The dialect its callbacks speak: a name in `EngineOptions.dialects`. With it, the same call again with another secret or another dialect
   * replaces them: the secret it had goes on signing for a while. Without it that is a `Conflict`.
   */
  readonly dialect: string;
}

/** Told of what happens to one log. Called in the turn of the commit: do not wait in it. */
export interface LogListener {
  /** There may be something new to read, or the configuration changed. */
  news(): void;
  /** The subscription is over. Nothing is called afterwards. */
  ended(reason: TerminationReason): void;
}

/** What bindings ask whose clients know neither handles nor positions of this protocol. */
export interface Logs {
  /** The caller's live subscription with this key; null = there is none. */
  find(caller: Caller, key: string): Promise<WireSubscription | null>;
  /**
   * The last position of a log whose event was accepted before this instant (epoch milliseconds): reading on from it gives what was
   * accepted since. Rejects with `NotFound` as every method does.
   */
  seek(caller: Caller, subscriptionId: string, acceptedBefore: number): Promise<Position>;
  /**
   * Tells `listener` of news in the caller's own log until the returned function is called. Rejects with `NotFound` and, when the caller
   * may not follow it any more, `Forbidden`.
   */
  watch(caller: Caller, subscriptionId: string, listener: LogListener): Promise<() => void>;
}

/** What of an engine the bindings to `events/*`, resources and tools need. */
export type BindableEngine = Verbs & Logs & Pick<Engine, 'onListChanged' | 'settled' | 'clock'>;

/** A pull's answer, as an object ready to be sent as the result. */
export type PullAnswer = object;

/**
 * The protocol's methods (SEP: Methods). `params` have passed the schema already. What the client may hear rejects as a
 * `WireError`; anything else, a `LocalError` of the store among them, is the server's own trouble and goes out as
 * `InternalError`. A method that names a subscription which is not the caller's rejects with `NotFound`, as if there were none.
 */
export interface Verbs {
  /** One page of at most 100 trigger types, by name; not modified = `ifNoneMatch` still holds (SEP: triggers/list). */
  list(
    caller: Caller,
    params: ListTriggersParams,
  ): Promise<ListTriggersResult | ListTriggersNotModified>;
  /**
   * Creates a subscription, or finds the one with the same key, and grants its lifetime (SEP: triggers/subscribe). A callback
   * proves its consent inside the call. Rejects with `InvalidParams`, `NotFound` (trigger), `Forbidden`, `Conflict` (key),
   * `Unsupported`, `ResourceExhausted` or `CallbackEndpointError`; nothing is stored then.
   */
  subscribe(caller: Caller, params: SubscribeParams, as?: SubscribeAs): Promise<SubscribeResult>;
  /**
   * Changes the members that are given, in one step, and resumes what was suspended (SEP: triggers/update). Rejects as
   * `subscribe` does, or with `Conflict` (etag) when `ifMatch` is stale; nothing changes then.
   */
  update(caller: Caller, params: UpdateParams): Promise<UpdateResult>;
  /** One subscription as it is now; not modified = `ifNoneMatch` is still its ETag (SEP: triggers/get). */
  get(caller: Caller, params: GetParams): Promise<GetResult | GetNotModified>;
  /** One page of the caller's subscriptions, oldest first (SEP: triggers/subscriptions). */
  subscriptions(caller: Caller, params: SubscriptionsParams): Promise<SubscriptionsResult>;
  /** Ends a subscription and deletes its log. `Conflict` (etag) when `ifMatch` is stale (SEP: triggers/unsubscribe). */
  unsubscribe(caller: Caller, params: UnsubscribeParams): Promise<UnsubscribeResult>;
  /**
   * Acknowledges up to `after`, then reads on from it: one delivery of at most 1 MiB (SEP: triggers/pull). Waits up to `waitMs`
   * when there is nothing; `signal` ends the wait early, with an empty answer. `Conflict` (epoch, position), `Unsupported`
   * (drain). `eventBytes`: room for events where that is less than a delivery has; one event is always read, however large.
   */
  pull(
    caller: Caller,
    params: PullParams,
    signal?: AbortSignal,
    eventBytes?: number,
  ): Promise<PullAnswer>;
  /**
   * Sends deliveries to `sink` from `after` on, as far as the window allows (SEP: triggers/stream). Resolves when the server ends
   * the stream or `signal` fires. Refusals reject before anything is sent: `Conflict` (epoch, position), `Unsupported` (drain),
   * `ResourceExhausted` (streams).
   */
  stream(
    caller: Caller,
    params: StreamParams,
    sink: StreamSink,
    signal: AbortSignal,
  ): Promise<void>;
  /**
   * Acknowledges every number up to `position`; what is acknowledged already is no error. `Conflict` (epoch,
   * position) (SEP: triggers/ack).
   */
  ack(caller: Caller, params: AckParams): Promise<AckResult>;
}

/** An occurrence as a source hands it in. */
export interface NewEvent {
  readonly name: string;
  /**
   * The upstream's own identifier, 1 to 256 characters: a redelivery of the same name and id appends nothing for as long as the
   * event is kept. Absent = a random one.
   */
  readonly eventId?: string;
  /** Epoch milliseconds or an RFC 3339 instant; absent = now. */
  readonly timestamp?: number | string;
  /** Must fit the trigger type's `payloadSchema`. */
  readonly data: unknown;
}

/** The event is on disk and bound to be numbered in every matching log. */
export interface Accepted {
  /** The event's identifier, also when it was made up here. */
  readonly eventId: string;
  /** True = it had been accepted before; nothing was appended. */
  readonly duplicate: boolean;
}

/** What a server's own code asks of the engine. */
export interface Engine extends Verbs, Logs {
  /** The clock that the engine was created with; bindings use the same. */
  readonly clock: Clock;
  /**
   * Opens the store, finishes numbering what was accepted, resumes deliveries. Rejects with the store's `LocalError`
   * (`store_locked`, `store_corrupt`, `store_failed`, `key_unknown`, `config_invalid`).
   */
  start(): Promise<void>;
  /** Stops taking work, ends streams and long polls, waits for attempts in flight (bounded), closes the store. Idempotent. */
  close(): Promise<void>;
  /**
   * Resolves once the event is durable (SEP: The log). Rejects with `LocalError`: `trigger_unknown`, `payload_invalid`,
   * `json_refused`, `store_full`, `store_failed`, `store_fenced`, `closed`; nothing was then accepted.
   */
  emit(event: NewEvent): Promise<Accepted>;
  /** Resolves when everything accepted so far is numbered. */
  settled(): Promise<void>;
  /**
   * Declares another trigger type while running, or replaces one additively; tells clients the list changed. Throws `LocalError`
   * `schema_refused`.
   */
  declare(type: DeclaredTrigger): void;
  /** Removes a trigger type and ends its subscriptions with this reason; declare it anew after a change that is no addition (SEP: Ending). */
  remove(name: string, reason?: 'trigger_removed' | 'schema_changed'): Promise<void>;
  /** Ends a principal's subscriptions (all, or one) with this reason. Resolves with how many (SEP: Ending). */
  terminate(
    of: { readonly principal: string; readonly subscriptionId?: string },
    reason: Extract<TerminationReason, 'revoked' | 'failed' | 'schema_changed'>,
  ): Promise<number>;
  /**
   * Forgets an event's data for good: from now on its number is a `redacted` gap in every log that holds it. Resolves with false
   * when there is no such event any more. A copy that has been sent cannot be called back.
   */
  redact(event: { readonly name: string; readonly eventId: string }): Promise<boolean>;
  /** Called with nothing when the list of trigger types changed. Returns the unsubscribe. */
  onListChanged(run: () => void): () => void;
  /** For a readiness probe. Rejects with the store's `LocalError` when it cannot be read. */
  health(): Promise<EngineHealth>;
}

/** How the engine is doing at the moment. */
export interface EngineHealth {
  /** `starting` until recovery is done; `degraded` = the store refuses writes. */
  readonly status: 'starting' | 'ok' | 'degraded' | 'closed';
  /** How often the store has been opened: tells two lives of a server apart. */
  readonly generation: number;
  /** In the store; 0 once closed. */
  readonly subscriptions: number;
  /** Open now. */
  readonly streams: number;
  /** Callback attempts waiting for an answer. */
  readonly attemptsInFlight: number;
  /** Events accepted and not yet numbered in every matching log. */
  readonly numberingLag: number;
}

/** A trigger type as declared: its wire description plus how arguments select events. */
export interface DeclaredTrigger {
  /** Defaults: every drain, 7 days and 10,000 events, ordering `arrival`. */
  readonly type: Omit<TriggerType, 'drains' | 'retention' | 'ordering'> &
    Partial<Pick<TriggerType, 'drains' | 'retention' | 'ordering'>>;
  /**
   * Per argument, the values of an event it may equal: the indexed way. An argument that is an array matches if any member does.
   * Default: the top-level member of `data` with the argument's name.
   */
  readonly attributes?: Readonly<Record<string, (data: never) => unknown>>;
  /**
   * For arguments that are no equality; runs for every subscription that passed the attributes. Throwing = no match, and is
   * logged.
   */
  readonly match?: (args: Readonly<Record<string, unknown>>, data: never) => boolean;
}
