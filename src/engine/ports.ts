/**
 * What the engine needs from the world: a store, a clock, chance, a way out, and a place to report. Everything that can
 * fail or differ between test and production comes in through one of these.
 */
import type { GapReason, Subscription, TerminationReason } from '../core/types.ts';

/* -------------------------------------------------------------------- store -------------------------------------------------------------------- */

/** An accepted event as the accept log holds it. `offset` is its place in the order of acceptance, from 1, chosen by the engine. */
export interface AcceptedEvent {
  readonly offset: number;
  readonly name: string;
  readonly eventId: string;
  readonly acceptedAt: number;
  /** The event's JSON without `sequence` (see `wire/envelope`), made once and reused for every subscription; null = too large to keep. */
  readonly encoded: string | null;
}

/** One number in one subscription's log. Either it points at an accepted event or it is (part of) a gap. */
export interface LogEntry {
  readonly sequence: number;
  /** 0 when the entry is a gap only. */
  readonly offset: number;
  readonly gap: GapReason | null;
}

/** A log entry joined with its event; `encoded` is null when the entry is a gap or the event is gone. */
export interface ReadEntry {
  readonly sequence: number;
  readonly offset: number;
  readonly gap: GapReason | null;
  readonly encoded: string | null;
  readonly acceptedAt: number;
}

/** What is left of a subscription that ended: for its owner, for a while. */
export interface Tombstone {
  readonly subscriptionId: string;
  readonly principal: string;
  readonly reason: TerminationReason;
  readonly epoch: string;
  readonly head: number;
  readonly acked: number;
  readonly forgetAt: number;
}

/** A subscription with the store's own row number: small, stable, ascending in order of creation. */
export interface StoredSubscription {
  readonly row: number;
  readonly state: Subscription;
  /** Offset of the accept log when it was created: only later events are numbered in it. */
  readonly createdOffset: number;
}

/** The least that the match index must know of each subscription. */
export interface IndexRow {
  readonly row: number;
  readonly select: Subscription['select'];
  readonly createdOffset: number;
}

/** Where numbering stands: every event up to `offset` is numbered everywhere; of the next, every row up to `row`. */
export interface Checkpoint {
  readonly offset: number;
  readonly row: number;
}

/** One change. A commit applies its writes in order, all or none. */
export type Write =
  | { readonly type: 'event'; readonly event: AcceptedEvent }
  | { readonly type: 'checkpoint'; readonly checkpoint: Checkpoint }
  /** A new subscription; `row` was taken from `nextRow`. */
  | { readonly type: 'create'; readonly row: number; readonly createdOffset: number; readonly state: Subscription; readonly dueAt: number | null }
  /** Counters and delivery state only: the hot path. */
  | { readonly type: 'progress'; readonly row: number; readonly state: Subscription; readonly dueAt: number | null }
  /** Everything, configuration included. */
  | { readonly type: 'configure'; readonly row: number; readonly state: Subscription; readonly dueAt: number | null }
  | { readonly type: 'entry'; readonly row: number; readonly entry: LogEntry }
  | { readonly type: 'gap'; readonly row: number; readonly from: number; readonly to: number; readonly reason: GapReason }
  | { readonly type: 'trim'; readonly row: number; readonly upTo: number }
  | { readonly type: 'renumber'; readonly row: number; readonly by: number }
  /** Delete the subscription and its entries, leave a tombstone. */
  | { readonly type: 'end'; readonly row: number; readonly tombstone: Tombstone }
  /** Forget an event's data; from now on every read of it gives a gap `redacted`. */
  | { readonly type: 'redact'; readonly offset: number }
  | { readonly type: 'verification'; readonly principal: string; readonly urlHash: string; readonly verifiedAt: number }
  /** Housekeeping: events accepted before this instant that no log needs any more. */
  | { readonly type: 'forget'; readonly acceptedBefore: number; readonly now: number };

/** How the store came back: `continued` = nothing was lost; anything else rotates every epoch. */
export type Continuity = 'new' | 'continued' | 'maybe_lost';

export interface Opened {
  readonly continuity: Continuity;
  /** Grows with every opening: the fencing token of this process. */
  readonly generation: number;
  readonly lastOffset: number;
  readonly nextRow: number;
  readonly checkpoint: Checkpoint;
}

/**
 * A durable, single-writer store. Every method may be asynchronous. `commit` resolves only when the writes are on disk (for
 * a durable store) and rejects, changing nothing, when they are not: `LocalError` `store_full`, `store_failed`, or `store_fenced`
 * when another process has taken the store over.
 */
export interface Store {
  readonly durability: 'durable' | 'volatile';
  open(now: number): Promise<Opened>;
  commit(writes: readonly Write[]): Promise<void>;
  close(): Promise<void>;

  /** All subscriptions, ascending by row, for building the match index at start. */
  index(): AsyncIterable<IndexRow> | Iterable<IndexRow>;
  /** The given rows; rows that do not exist are missing from the answer. */
  load(rows: readonly number[]): Promise<StoredSubscription[]>;
  rowOf(subscriptionId: string): Promise<number | null>;
  rowOfKey(principal: string, key: string): Promise<number | null>;
  /** A page of one principal's rows, ascending, after `afterRow`. */
  rowsOf(principal: string, afterRow: number, limit: number): Promise<number[]>;
  countOf(principal: string): Promise<number>;
  /** Rows whose `dueAt` is at or before `now`, soonest first. */
  due(now: number, limit: number): Promise<number[]>;
  nextDueAt(): Promise<number | null>;
  /** Rows with an attempt in flight or otherwise deliverable work after a restart: every row with `acked < head` and a callback. */
  backlog(afterRow: number, limit: number): Promise<number[]>;

  /** Entries after `after`, ascending, joined with their events, at most `maxEvents` and about `maxBytes` (at least one). */
  read(row: number, after: number, maxEvents: number, maxBytes: number): Promise<ReadEntry[]>;
  /** The highest sequence of this log whose event was accepted before `acceptedBefore`, and when the one after it was accepted. */
  agedOut(row: number, acceptedBefore: number): Promise<{ readonly upTo: number; readonly oldestAt: number | null }>;
  /** When the entry with this sequence was accepted; null if there is none. */
  acceptedAt(row: number, sequence: number): Promise<number | null>;
  /** Accepted events after `offset`, ascending: what numbering has still to do. */
  accepted(offset: number, limit: number): Promise<AcceptedEvent[]>;
  /** Accepted events of these types since an instant, ascending by offset: for `since`. */
  history(names: readonly string[], since: number, afterOffset: number, limit: number): Promise<AcceptedEvent[]>;
  /** Which of these upstream identities are already in the accept log: their offsets, null for new ones. */
  known(ids: readonly { readonly name: string; readonly eventId: string }[]): Promise<(number | null)[]>;
  tombstone(subscriptionId: string): Promise<Tombstone | null>;
  verification(principal: string, urlHash: string): Promise<number | null>;
  stats(): Promise<StoreStats>;
}

export interface StoreStats {
  readonly subscriptions: number;
  readonly events: number;
  readonly entries: number;
  readonly bytes: number;
  /** The page quota in bytes; null = none. */
  readonly quotaBytes: number | null;
}

/* -------------------------------------------------------------------- time and chance ----------------------------------------------------------- */

/** Epoch milliseconds and one-shot timers. The returned function cancels. */
export interface Clock {
  now(): number;
  after(delayMs: number, run: () => void): () => void;
}

export interface Random {
  /** Uniform in [0, 1). */
  uniform(): number;
  /** base64url of this many random bytes. */
  token(bytes: number): string;
}

/* -------------------------------------------------------------------- the way out --------------------------------------------------------------- */

export interface OutboundRequest {
  /** The callback URL: a secret. */
  readonly url: string;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: Uint8Array;
  /** Total deadline, connection included. */
  readonly deadlineMs: number;
}

/** What came back, or the fixed category of why nothing did. At most 8 KiB of the body is kept. */
export type OutboundResult =
  | { readonly kind: 'response'; readonly status: number; readonly contentType: string | null; readonly retryAfter: string | null; readonly body: Uint8Array }
  | { readonly kind: 'failure'; readonly category: 'connection_refused' | 'timeout' | 'tls_error'; readonly cause: Error };

/** The only way to make an outbound call (`engine/egress`). */
export interface Egress {
  /** Static rules on a callback URL; throws `WireError` InvalidParams for path `/callback/url`. Returns its normal form. */
  judge(url: string): string;
  post(request: OutboundRequest): Promise<OutboundResult>;
  close(): Promise<void>;
}

/* -------------------------------------------------------------------- reports ------------------------------------------------------------------- */

/** Structured log; a subset of pino's interface. Never given a secret. */
export interface Log {
  debug(fields: object, message: string): void;
  info(fields: object, message: string): void;
  warn(fields: object, message: string): void;
  error(fields: object, message: string): void;
}

/** Every connected place that counts. Names are those of `docs/architecture.md`, section Metrics. */
export interface Meter {
  count(name: string, by?: number, labels?: Readonly<Record<string, string>>): void;
  observe(name: string, value: number, labels?: Readonly<Record<string, string>>): void;
  gauge(name: string, read: () => number): void;
}
