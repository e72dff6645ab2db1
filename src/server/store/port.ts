/**
 * The port to implement for another database: what the engine asks of a store, and the values that
 * pass between them. `storeContract` of `./testing` checks an implementation.
 */
import type {
  GapReason,
  Selection,
  Subscription,
  TerminationReason,
} from '../../protocol/core/types.ts';

/** An accepted event as the accept log holds it. */
export interface AcceptedEvent {
  /** Position in the order of acceptance, from 1, assigned by the engine. */
  readonly offset: number;
  /** Name of its trigger type. */
  readonly name: string;
  /** Unique together with `name`. */
  readonly eventId: string;
  /** Epoch milliseconds. */
  readonly acceptedAt: number;
  /**
   * The event's JSON without `sequence`, encoded once for all subscriptions; null = redacted or too
   * large to keep.
   */
  readonly encoded: string | null;
}

/**
 * One sequence number of one subscription's log. It points at an accepted event, or it is (part of)
 * a gap.
 */
export interface LogEntry {
  readonly sequence: number;
  /** Offset of the event in the accept log; 0 when the entry is only a gap. */
  readonly offset: number;
  /** Why this number will never be delivered; null = the entry is an event. */
  readonly gap: GapReason | null;
}

/** A log entry joined with its event. */
export interface ReadEntry extends LogEntry {
  /** The event's JSON without `sequence`; null when the entry is a gap or the event was deleted. */
  readonly encoded: string | null;
  /** Epoch milliseconds; 0 when the event was deleted. */
  readonly acceptedAt: number;
}

/** Record of an ended subscription, for its owner and for a limited time (SEP: Ending). */
export interface Tombstone {
  readonly subscriptionId: string;
  readonly principal: string;
  readonly reason: TerminationReason;
  readonly epoch: string;
  readonly head: number;
  readonly acked: number;
  /** Epoch milliseconds from which it may be deleted. */
  readonly forgetAt: number;
}

/**
 * A subscription with the store's own row number: small, stable, ascending in order of creation.
 */
export interface StoredSubscription {
  /** From 1, never reused. */
  readonly row: number;
  readonly state: Subscription;
  /** Last offset of the accept log at creation: only later events enter its log. */
  readonly createdOffset: number;
}

/** The part of a subscription that the match index needs. */
export interface IndexRow {
  readonly row: number;
  readonly select: readonly Selection[];
  readonly createdOffset: number;
}

/**
 * Progress of the sequencer: every event up to `offset` has its sequence number in every matching
 * log; the next event has it in every row up to `row`.
 */
export interface Checkpoint {
  readonly offset: number;
  readonly row: number;
}

/**
 * One change. A commit applies its writes in order, all or none. `dueAt` = when the scheduler must
 * look at the row again (epoch milliseconds); null = never.
 */
export type Write =
  /** Appends to the accept log. The offset follows the last one; the pair of name and id is new. */
  | { readonly type: 'event'; readonly event: AcceptedEvent }
  | { readonly type: 'checkpoint'; readonly checkpoint: Checkpoint }
  /** A new subscription; `row` was taken from `nextRow`. */
  | {
      readonly type: 'create';
      readonly row: number;
      readonly createdOffset: number;
      readonly state: Subscription;
      readonly dueAt: number | null;
    }
  /** Only counters and delivery state: the hot path. */
  | {
      readonly type: 'progress';
      readonly row: number;
      readonly state: Subscription;
      readonly dueAt: number | null;
    }
  /** The whole state, including the configuration. */
  | {
      readonly type: 'configure';
      readonly row: number;
      readonly state: Subscription;
      readonly dueAt: number | null;
    }
  /** Appends the next number to a log. */
  | { readonly type: 'entry'; readonly row: number; readonly entry: LogEntry }
  /** Turns these entries into gaps; an entry that already is a gap keeps its reason. */
  | {
      readonly type: 'gap';
      readonly row: number;
      readonly from: number;
      readonly to: number;
      readonly reason: GapReason;
    }
  /** Deletes the entries up to this number. */
  | { readonly type: 'trim'; readonly row: number; readonly upTo: number }
  /** Subtracts `by` from the number of every entry of the log. */
  | { readonly type: 'renumber'; readonly row: number; readonly by: number }
  /** Deletes the subscription and its entries; leaves a tombstone. */
  | { readonly type: 'end'; readonly row: number; readonly tombstone: Tombstone }
  /** Deletes an event's data; from then on every read of it returns a gap `redacted`. */
  | { readonly type: 'redact'; readonly offset: number }
  /** Records the consent of a callback; `urlHash` replaces its URL, which is a secret. */
  | {
      readonly type: 'verification';
      readonly principal: string;
      readonly urlHash: string;
      readonly verifiedAt: number;
    }
  /**
   * Deletes events accepted before this instant that no log needs any more; a bounded number per
   * write.
   */
  | { readonly type: 'forget'; readonly acceptedBefore: number; readonly now: number };

/**
 * Result of opening a store. `new` = it was empty; `continued` = it has every commit that
 * resolved; `maybe_lost` = some may be missing, for example after a restored backup: the engine
 * then rotates every epoch (SEP: Epochs).
 */
export type Continuity = 'new' | 'continued' | 'maybe_lost';

/** State of a store at its opening. */
export interface Opened {
  readonly continuity: Continuity;
  /** Grows with every opening: the fencing token of this process. */
  readonly generation: number;
  /** Highest offset ever assigned to an event, deleted events included; 0 = none. */
  readonly lastOffset: number;
  /** Lowest row number never assigned; 1 in a new store. */
  readonly nextRow: number;
  readonly checkpoint: Checkpoint;
}

/**
 * A store with one writer. Every method rejects with a `LocalError`: `store_full`, `store_corrupt`,
 * `store_locked`, `store_failed`, `store_fenced`, `key_unknown`, or `closed` for a store that is
 * not open.
 */
export interface Store {
  /**
   * `durable` = a confirmed commit survives a crash of the process and of the machine. Clients see
   * it (SEP: Capability).
   */
  readonly durability: 'durable' | 'volatile';
  /**
   * Takes ownership, before any other call. `now` in epoch milliseconds. Rejects when the store
   * cannot be owned or trusted.
   */
  open(now: number): Promise<Opened>;
  /**
   * Applies the writes in order, all or none. Resolves when they are on disk (in a durable store).
   * Rejects without any change: with `store_full`, with `store_failed` (also for a write that does
   * not fit the stored data), or with `store_fenced` when another process has taken ownership.
   */
  commit(writes: readonly Write[]): Promise<void>;
  /** Gives up ownership. Idempotent; every other method rejects with `closed` afterwards. */
  close(): Promise<void>;

  /** All subscriptions, ascending by row, for building the match index at start. */
  index(): AsyncIterable<IndexRow> | Iterable<IndexRow>;
  /** The given rows; leaves out rows that do not exist. */
  load(rows: readonly number[]): Promise<StoredSubscription[]>;
  /** The live subscription with this id; null = none, or it has ended. */
  rowOf(subscriptionId: string): Promise<number | null>;
  /** The live subscription with this key of this principal; null = none. */
  rowOfKey(principal: string, key: string): Promise<number | null>;
  /** A page of one principal's rows, ascending, after `afterRow`. */
  rowsOf(principal: string, afterRow: number, limit: number): Promise<number[]>;
  /** The number of a principal's live subscriptions. */
  countOf(principal: string): Promise<number>;
  /** Rows whose `dueAt` is at or before `now`, soonest first. */
  due(now: number, limit: number): Promise<number[]>;
  /** The earliest `dueAt` of all rows; null = no row has one. */
  nextDueAt(): Promise<number | null>;
  /**
   * Rows after `afterRow`, ascending, that have a callback and either an attempt in flight or
   * `acked < head`. Read at a restart.
   */
  backlog(afterRow: number, limit: number): Promise<number[]>;

  /**
   * Entries after `after`, ascending, joined with their events; at most `maxEvents` and about
   * `maxBytes`, but at least one.
   */
  read(row: number, after: number, maxEvents: number, maxBytes: number): Promise<ReadEntry[]>;
  /**
   * The highest sequence of this log whose event was accepted before `acceptedBefore`, and the
   * instant at which the next event was accepted.
   */
  agedOut(
    row: number,
    acceptedBefore: number,
  ): Promise<{ readonly upTo: number; readonly oldestAt: number | null }>;
  /** When the entry with this sequence was accepted; null if it does not exist. */
  acceptedAt(row: number, sequence: number): Promise<number | null>;
  /** Accepted events after `offset`, ascending: what the sequencer still has to do. */
  accepted(offset: number, limit: number): Promise<AcceptedEvent[]>;
  /** Accepted events of these types since an instant, ascending by offset: for `since`. */
  history(
    names: readonly string[],
    since: number,
    afterOffset: number,
    limit: number,
  ): Promise<AcceptedEvent[]>;
  /** The offsets of these events in the accept log; null for each event that it does not hold. */
  known(
    ids: readonly { readonly name: string; readonly eventId: string }[],
  ): Promise<(number | null)[]>;
  /** The tombstone of an ended subscription until it is deleted; null = none. */
  tombstone(subscriptionId: string): Promise<Tombstone | null>;
  /** When this principal's callback last consented, in epoch milliseconds; null = never. */
  verification(principal: string, urlHash: string): Promise<number | null>;
  /** Cheap enough for every health check. */
  stats(): Promise<StoreStats>;
}

/** Size of a store. */
export interface StoreStats {
  /** Live subscriptions. */
  readonly subscriptions: number;
  /** Events in the accept log. */
  readonly events: number;
  /** Entries of all logs together. */
  readonly entries: number;
  /** Bytes that count towards `quotaBytes`. */
  readonly bytes: number;
  /** Upper limit of `bytes`; null = no limit. */
  readonly quotaBytes: number | null;
}
