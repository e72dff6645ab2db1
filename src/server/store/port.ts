/**
 * The interface of a store, to implement for another database, and the values that pass between
 * engine and store. `storeContract` of `./testing` checks an implementation.
 */
import type {
  Callback,
  DeliveredState,
  GapReason,
  Selection,
  Subscription,
  TerminationReason,
} from '../../protocol/core/types.ts';

/** The identity of an occurrence: two events with the same one are the same (SEP: The log). */
export interface EventIdentity {
  /** The part of an upstream within which `eventId` is unique; '' = the server's own code. */
  readonly scope: string;
  /** Name of the trigger type. */
  readonly name: string;
  readonly eventId: string;
}

/** Why every matching log has a gap instead of an event, whatever is done with the log later. */
export type EventGap = Extract<GapReason, 'invalid' | 'unwatched' | 'too_large'>;

/** An accepted event as the accept log holds it. */
export interface AcceptedEvent extends Omit<EventIdentity, 'scope'> {
  /** Place in the accept log, from 1, assigned by the engine. */
  readonly offset: number;
  /**
   * Unique together with `name` and `eventId`; null = accepted before the store had scopes. Such an
   * event counts as a repetition of every scope.
   */
  readonly scope: string | null;
  /**
   * The reason for which every matching log has a gap instead of this event; null = it is an event.
   * `data` of such a gap contains only arguments that it is known to concern.
   */
  readonly gap: EventGap | null;
  /** The principals whose logs it can enter; null = everybody's. */
  readonly audience: readonly string[] | null;
  /** Epoch milliseconds. */
  readonly acceptedAt: number;
  /**
   * The event's JSON without `sequence` and `acceptedAt`, encoded once for all subscriptions; null
   * = not kept, for example after a redaction. Without `data` if that is kept apart.
   */
  readonly encoded: string | null;
  /**
   * The bytes of its data, which are kept apart because the event is too large for a delivery;
   * absent = `encoded` has the data.
   */
  readonly dataBytes?: number;
}

/** One sequence number of one subscription's log: an accepted event, or a part of a gap. */
export interface LogEntry {
  readonly sequence: number;
  /** Offset of the event in the accept log; 0 = the entry is a gap without an event. */
  readonly offset: number;
  /** Why this number will never be delivered; null = the entry is an event. */
  readonly gap: GapReason | null;
}

/** A log entry joined with its event. */
export interface ReadEntry extends LogEntry {
  /**
   * The event's JSON without `sequence` and `acceptedAt`; null when the entry is a gap or the event
   * was deleted.
   */
  readonly encoded: string | null;
  /** As in the event; absent when the entry is a gap. */
  readonly dataBytes?: number;
  /** Epoch milliseconds; 0 when the event was deleted. */
  readonly acceptedAt: number;
}

/** The record of an ended subscription, kept for its owner for a limited time (SEP: Ending). */
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
 * The termination notice that a callback has still to get: everything its message needs, and when
 * to send it (SEP: Suspension). URL and secrets are secret; stores encrypt them.
 */
export interface Notice {
  readonly state: DeliveredState & Pick<Subscription, 'principal' | 'select'>;
  readonly callback: Pick<
    Callback,
    'url' | 'secret' | 'previousSecret' | 'previousUntil' | 'dialect' | 'limits'
  >;
  readonly reason: TerminationReason;
  /** Failed attempts in a row. */
  readonly attempts: number;
  /** When the next attempt may start, in epoch milliseconds. */
  readonly dueAt: number;
  /** Epoch milliseconds from which it may be deleted: that of the tombstone. */
  readonly forgetAt: number;
}

/** A subscription as the store has it, with its row number. */
export interface StoredSubscription {
  /** From 1, ascending in order of creation, never reused. */
  readonly row: number;
  readonly state: Subscription;
  /** Last offset of the accept log at creation: only later events enter its log. */
  readonly createdOffset: number;
}

/** The part of a subscription that the match index needs. */
export interface IndexRow {
  readonly row: number;
  readonly principal: string;
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
 * One change of the store. A commit applies its writes in order, all or none. `dueAt` = when the
 * row next has timed work, in epoch milliseconds; null = never.
 */
export type Write =
  /**
   * Appends to the accept log. The offset follows the last one, and no other event has the same
   * scope, name and id. `data` = the JSON of its data, present with `event.dataBytes` only.
   */
  | { readonly type: 'event'; readonly event: AcceptedEvent; readonly data?: string }
  | { readonly type: 'checkpoint'; readonly checkpoint: Checkpoint }
  /** Adds a subscription. `row` is at least `Opened.nextRow` and was never used. */
  | {
      readonly type: 'create';
      readonly row: number;
      readonly createdOffset: number;
      readonly state: Subscription;
      readonly dueAt: number | null;
    }
  /**
   * Saves the counters and the delivery state, but not the configuration: the most frequent write.
   */
  | {
      readonly type: 'progress';
      readonly row: number;
      readonly state: Subscription;
      readonly dueAt: number | null;
    }
  /** Saves the whole state, including the configuration. */
  | {
      readonly type: 'configure';
      readonly row: number;
      readonly state: Subscription;
      readonly dueAt: number | null;
    }
  /** Appends the next number to a log. */
  | { readonly type: 'entry'; readonly row: number; readonly entry: LogEntry }
  /**
   * Turns the entries `from … to` into gaps with this reason, also those that are gaps already;
   * adds entries that do not exist.
   */
  | {
      readonly type: 'gap';
      readonly row: number;
      readonly from: number;
      readonly to: number;
      readonly reason: GapReason;
    }
  /** Deletes the entries up to this sequence. */
  | { readonly type: 'trim'; readonly row: number; readonly upTo: number }
  /** Deletes the entries up to `by`, and subtracts `by` from the sequence of every other entry. */
  | { readonly type: 'renumber'; readonly row: number; readonly by: number }
  /**
   * Deletes the subscription and its entries, and stores the tombstone, and the notice if there is
   * one. Of more than 1,000 tombstones of the principal, deletes those with the earliest
   * `forgetAt`, and their notices.
   */
  | {
      readonly type: 'end';
      readonly row: number;
      readonly tombstone: Tombstone;
      readonly notice?: Notice;
    }
  /** Saves that the attempts of a notice failed, and when the next is due; ignores an unknown id. */
  | {
      readonly type: 'postpone';
      readonly subscriptionId: string;
      readonly attempts: number;
      readonly dueAt: number;
    }
  /** Deletes a notice; ignores an unknown id. */
  | { readonly type: 'noticed'; readonly subscriptionId: string }
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
   * Deletes events that were accepted before this instant and are in no log, tombstones and notices
   * with `forgetAt` up to `now`, and old verifications; a bounded number per write.
   */
  | { readonly type: 'forget'; readonly acceptedBefore: number; readonly now: number };

/**
 * Result of opening a store. `new` = it was empty; `continued` = it has every commit that resolved;
 * `maybe_lost` = some may be missing, for example from a restored backup: the engine then rotates
 * every epoch (SEP: Epochs).
 */
export type Continuity = 'new' | 'continued' | 'maybe_lost';

/** The state of a store after `open`. */
export interface Opened {
  readonly continuity: Continuity;
  /** Grows with every opening: the fencing token of this process. */
  readonly generation: number;
  /** Highest offset ever assigned to an event, even if deleted since; 0 = none. */
  readonly lastOffset: number;
  /** Lowest row number that was never assigned; 1 in a new store. */
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
   * it (SEP: Settings).
   */
  readonly durability: 'durable' | 'volatile';
  /**
   * Takes ownership; called before any other method. `now` in epoch milliseconds. Rejects when
   * another process owns the store, or when its content cannot be trusted.
   */
  open(now: number): Promise<Opened>;
  /**
   * Applies the writes in order, all or none. Resolves when they are applied and, in a durable
   * store, on disk. Rejects without any change: with `store_full`, with `store_failed` (also for a
   * write that does not fit the stored data), or with `store_fenced` when another process has taken
   * ownership.
   */
  commit(writes: readonly Write[]): Promise<void>;
  /** Gives up ownership. Idempotent; every other method rejects with `closed` afterwards. */
  close(): Promise<void>;

  /** All subscriptions, ascending by row, for building the match index at start. */
  index(): AsyncIterable<IndexRow> | Iterable<IndexRow>;
  /** The subscriptions with these rows; omits rows that do not exist. */
  load(rows: readonly number[]): Promise<StoredSubscription[]>;
  /** The row of the live subscription with this id; null = none, or it has ended. */
  rowOf(subscriptionId: string): Promise<number | null>;
  /** The row of the live subscription with this key of this principal; null = none. */
  rowOfKey(principal: string, key: string): Promise<number | null>;
  /**
   * The rows of one principal's live subscriptions after `afterRow`, ascending, at most `limit`.
   */
  rowsOf(principal: string, afterRow: number, limit: number): Promise<number[]>;
  /** The number of a principal's live subscriptions. */
  countOf(principal: string): Promise<number>;
  /** Rows whose `dueAt` is at or before `now`, earliest first, at most `limit`. */
  due(now: number, limit: number): Promise<number[]>;
  /** The earliest `dueAt` of all rows; null = no row has one. */
  nextDueAt(): Promise<number | null>;
  /**
   * Rows after `afterRow`, ascending, that have a callback and either an attempt in flight or
   * `acked < head`; at most `limit`. Read at start and after a failed commit.
   */
  backlog(afterRow: number, limit: number): Promise<number[]>;

  /**
   * Entries after the sequence `after`, ascending, with their events: at most `maxEvents` entries
   * and about `maxBytes` of event JSON, but at least one entry if there is one.
   */
  read(row: number, after: number, maxEvents: number, maxBytes: number): Promise<ReadEntry[]>;
  /**
   * The highest sequence of this log whose event was accepted before `acceptedBefore` (0 = none),
   * and the instant at which the next event was accepted (null = none follows).
   */
  agedOut(
    row: number,
    acceptedBefore: number,
  ): Promise<{ readonly upTo: number; readonly oldestAt: number | null }>;
  /**
   * The highest sequence that is not among the newest entries whose events have together at most
   * `maxBytes` of JSON, data that is kept apart included (0 = all entries are), the bytes of these, and the last sequence (0 = none).
   */
  oversize(
    row: number,
    maxBytes: number,
  ): Promise<{ readonly upTo: number; readonly bytes: number; readonly last: number }>;
  /** The bytes in the logs of one principal, as their states have them; unknown ones count as 0. */
  bytesOf(principal: string): Promise<number>;
  /**
   * The JSON of an event's data that is kept apart; null = `encoded` has the data, or they were
   * redacted or deleted.
   */
  data(offset: number): Promise<string | null>;
  /**
   * When the event of this entry was accepted, in epoch milliseconds; null = no such entry or
   * event.
   */
  acceptedAt(row: number, sequence: number): Promise<number | null>;
  /** Accepted events after `offset`, ascending, at most `limit`; the sequencer reads them. */
  accepted(offset: number, limit: number): Promise<AcceptedEvent[]>;
  /**
   * Accepted events of these types since an instant and after an offset, ascending by offset, at
   * most `limit`; a subscription with `since` reads them.
   */
  history(
    names: readonly string[],
    since: number,
    afterOffset: number,
    limit: number,
  ): Promise<AcceptedEvent[]>;
  /**
   * For each of these events, its offset in the accept log; null = the accept log does not have it.
   */
  known(ids: readonly EventIdentity[]): Promise<(number | null)[]>;
  /** The tombstone of an ended subscription until it is deleted; null = none. */
  tombstone(subscriptionId: string): Promise<Tombstone | null>;
  /**
   * The notices whose `dueAt` is at or before `now`, earliest first, at most `limit`; omits those
   * of the principals in `except`.
   */
  dueNotices(now: number, limit: number, except: readonly string[]): Promise<Notice[]>;
  /** The earliest `dueAt` of a notice that is after `now`; null = none. */
  nextNoticeAt(now: number): Promise<number | null>;
  /** When this principal's callback last consented, in epoch milliseconds; null = never. */
  verification(principal: string, urlHash: string): Promise<number | null>;
  /** Called by every health check, so it must be cheap. */
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
  /** Bytes that count against `quotaBytes`. */
  readonly bytes: number;
  /** Upper limit of `bytes`; null = no limit. */
  readonly quotaBytes: number | null;
}
