/**
 * What the engine can be asked to do: the nine methods of the protocol, and what a server's own code may ask besides. A
 * binding validates shapes and calls these; every rule of the protocol is behind them.
 */
import type {
  AckParams, AckResult, GetNotModified, GetParams, GetResult, ListTriggersNotModified, ListTriggersParams, ListTriggersResult,
  PullParams, SubscribeParams, SubscribeResult, SubscriptionsParams, SubscriptionsResult, StreamParams, TriggerType,
  UnsubscribeParams, UnsubscribeResult, UpdateParams, UpdateResult,
} from '../../spec-schema/draft/schema.ts';
import type { TerminationReason } from '../core/types.ts';

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

/** A pull's answer, as an object ready to be sent as the result. */
export type PullAnswer = object;

/** The protocol's methods. Every refusal is a `WireError`. */
export interface Verbs {
  list(caller: Caller, params: ListTriggersParams): Promise<ListTriggersResult | ListTriggersNotModified>;
  subscribe(caller: Caller, params: SubscribeParams): Promise<SubscribeResult>;
  update(caller: Caller, params: UpdateParams): Promise<UpdateResult>;
  get(caller: Caller, params: GetParams): Promise<GetResult | GetNotModified>;
  subscriptions(caller: Caller, params: SubscriptionsParams): Promise<SubscriptionsResult>;
  unsubscribe(caller: Caller, params: UnsubscribeParams): Promise<UnsubscribeResult>;
  /** `signal` ends a long poll early (the answer is then empty). */
  pull(caller: Caller, params: PullParams, signal?: AbortSignal): Promise<PullAnswer>;
  /** Resolves when the server ends the stream or `signal` fires. Refusals reject before anything is sent. */
  stream(caller: Caller, params: StreamParams, sink: StreamSink, signal: AbortSignal): Promise<void>;
  ack(caller: Caller, params: AckParams): Promise<AckResult>;
}

/** An occurrence as a source hands it in. */
export interface NewEvent {
  readonly name: string;
  /** The upstream's own identifier; a redelivery with the same name and id within the retention window appends nothing. Absent = a random one. */
  readonly eventId?: string;
  /** Epoch milliseconds or an RFC 3339 instant; absent = now. */
  readonly timestamp?: number | string;
  readonly data: unknown;
}

/** The event is on disk and bound to be numbered in every matching log. */
export interface Accepted {
  readonly eventId: string;
  readonly duplicate: boolean;
}

/** What a server's own code asks of the engine. */
export interface Engine extends Verbs {
  /** Opens the store, finishes numbering what was accepted, resumes deliveries. */
  start(): Promise<void>;
  /** Stops taking work, ends streams and long polls, waits for attempts in flight (bounded), closes the store. Idempotent. */
  close(): Promise<void>;
  /**
   * Resolves once the event is durable (SEP: Durable first). Rejects with `LocalError`: `trigger_unknown`, `payload_invalid`,
   * `store_full`, `store_failed`, `closed`; nothing was then accepted.
   */
  emit(event: NewEvent): Promise<Accepted>;
  /** Resolves when everything accepted so far is numbered. */
  settled(): Promise<void>;
  /** Declares another trigger type while running, or replaces one additively; tells clients the list changed. */
  declare(type: DeclaredTrigger): void;
  /** Removes a trigger type and ends its subscriptions with `trigger_removed`. */
  remove(name: string): Promise<void>;
  /** Ends a principal's subscriptions (all, or one) with this reason. Returns how many. */
  terminate(of: { readonly principal: string; readonly subscriptionId?: string }, reason: Extract<TerminationReason, 'revoked' | 'failed' | 'schema_changed'>): Promise<number>;
  /**
   * Forgets an event's data for good: from now on its number is a `redacted` gap in every log that holds it. Resolves with false
   * when there is no such event any more. A copy that has been sent cannot be called back.
   */
  redact(event: { readonly name: string; readonly eventId: string }): Promise<boolean>;
  /** Called with nothing when the list of trigger types changed. Returns the unsubscribe. */
  onListChanged(run: () => void): () => void;
  health(): Promise<EngineHealth>;
}

export interface EngineHealth {
  /** `starting` until recovery is done; `degraded` = the store refuses writes. */
  readonly status: 'starting' | 'ok' | 'degraded' | 'closed';
  readonly generation: number;
  readonly subscriptions: number;
  readonly streams: number;
  readonly attemptsInFlight: number;
  readonly numberingLag: number;
}

/** A trigger type as declared: its wire description plus how arguments select events. */
export interface DeclaredTrigger {
  readonly type: Omit<TriggerType, 'drains' | 'retention' | 'ordering'> & Partial<Pick<TriggerType, 'drains' | 'retention' | 'ordering'>>;
  /**
   * Per argument, the values of an event it may equal: the indexed way. An argument that is an array matches if any member does.
   * Default: the top-level member of `data` with the argument's name.
   */
  readonly attributes?: Readonly<Record<string, (data: never) => unknown>>;
  /** For arguments that are no equality; runs for every subscription that passed the attributes. Throwing counts as no match and is logged. */
  readonly match?: (args: Readonly<Record<string, unknown>>, data: never) => boolean;
}
