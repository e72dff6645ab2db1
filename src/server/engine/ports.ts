/**
 * What the engine needs from the world: a store, a clock, chance, a way out, and a place to report. Everything that can
 * fail or differ between test and production comes in through one of these.
 */
import type {
  GapReason,
  Selection,
  Subscription,
  TerminationReason,
} from '../../protocol/core/types.ts';

/* -------------------- store ----------------------------------------------------------------------------------------------- */

/** An accepted event as the accept log holds it. */
export interface AcceptedEvent {
  /** Its place in the order of acceptance, from 1, chosen by the engine. */
  readonly offset: number;
  /** Of its trigger type. */
  readonly name: string;
  /** With `name`, its identity: the pair is unique in the accept log. */
  readonly eventId: string;
  /** Epoch milliseconds. */
  readonly acceptedAt: number;
  /** The event's JSON without `sequence`, made once and reused for every subscription; null = too large to keep. */
  readonly encoded: string | null;
}

/** One number in one subscription's log. Either it points at an accepted event or it is (part of) a gap. */
export interface LogEntry {
  readonly sequence: number;
  /** Of the event in the accept log; 0 when the entry is a gap only. */
  readonly offset: number;
  /** Why the number will never be delivered; null = it names an event. */
  readonly gap: GapReason | null;
}

/** A log entry joined with its event; `encoded` is null when the entry is a gap or the event is gone. */
export interface ReadEntry {
  readonly sequence: number;
  readonly offset: number;
  readonly gap: GapReason | null;
  readonly encoded: string | null;
  /** Epoch milliseconds; 0 when the event is gone. */
  readonly acceptedAt: number;
}

/** What is left of a subscription that ended: for its owner, for a while (SEP: Ending). */
export interface Tombstone {
  readonly subscriptionId: string;
  readonly principal: string;
  readonly reason: TerminationReason;
  readonly epoch: string;
  readonly head: number;
  readonly acked: number;
  /** From this instant on (epoch milliseconds) it may be deleted. */
  readonly forgetAt: number;
}

/** A subscription with the store's own row number: small, stable, ascending in order of creation. */
export interface StoredSubscription {
  /** From 1, never given twice. */
  readonly row: number;
  readonly state: Subscription;
  /** Offset of the accept log when it was created: only later events are numbered in it. */
  readonly createdOffset: number;
}

/** The least that the match index must know of each subscription. */
export interface IndexRow {
  readonly row: number;
  readonly select: readonly Selection[];
  readonly createdOffset: number;
}

/** Where numbering stands: every event up to `offset` is numbered everywhere; of the next, every row up to `row`. */
export interface Checkpoint {
  readonly offset: number;
  readonly row: number;
}

/**
 * One change. A commit applies its writes in order, all or none. `dueAt` = when the row wants to be seen again (epoch ms), or
 * never.
 */
export type Write =
  /** Into the accept log. Its offset follows the last one; its name and id are not there yet. */
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
  /** Counters and delivery state only: the hot path. */
  | {
      readonly type: 'progress';
      readonly row: number;
      readonly state: Subscription;
      readonly dueAt: number | null;
    }
  /** Everything, configuration included. */
  | {
      readonly type: 'configure';
      readonly row: number;
      readonly state: Subscription;
      readonly dueAt: number | null;
    }
  /** The next number of a log. */
  | { readonly type: 'entry'; readonly row: number; readonly entry: LogEntry }
  /** These entries will never be delivered; one that is a gap already keeps its reason. */
  | {
      readonly type: 'gap';
      readonly row: number;
      readonly from: number;
      readonly to: number;
      readonly reason: GapReason;
    }
  /** Delete entries up to this number. */
  | { readonly type: 'trim'; readonly row: number; readonly upTo: number }
  /** Subtract this from the number of every entry of the log. */
  | { readonly type: 'renumber'; readonly row: number; readonly by: number }
  /** Delete the subscription and its entries, leave a tombstone. */
  | { readonly type: 'end'; readonly row: number; readonly tombstone: Tombstone }
  /** Forget an event's data; from now on every read of it gives a gap `redacted`. */
  | { readonly type: 'redact'; readonly offset: number }
  /** A callback consented; `urlHash` stands for its URL, which is a secret. */
  | {
      readonly type: 'verification';
      readonly principal: string;
      readonly urlHash: string;
      readonly verifiedAt: number;
    }
  /** Housekeeping: events accepted before this instant that no log needs any more. */
  | { readonly type: 'forget'; readonly acceptedBefore: number; readonly now: number };

/**
 * How the store came back. `new` = it was empty, `continued` = every commit that resolved is there; `maybe_lost` = that is not
 * certain, for example after a restored backup: the engine then rotates every epoch (SEP: Epochs).
 */
export type Continuity = 'new' | 'continued' | 'maybe_lost';

/** What the engine must know of a store before it does anything. */
export interface Opened {
  readonly continuity: Continuity;
  /** Grows with every opening: the fencing token of this process. */
  readonly generation: number;
  /** Highest offset ever given to an event, forgotten ones included; 0 = none. */
  readonly lastOffset: number;
  /** Lowest row number never given; 1 in a new store. */
  readonly nextRow: number;
  readonly checkpoint: Checkpoint;
}

/**
 * A single-writer store: the port to implement for another database; `storeContract` of `./testing` says whether it is kept.
 * What a store throws is a `LocalError`: `store_full`, `store_corrupt`, `store_locked`, `store_failed`, `store_fenced`,
 * `key_unknown`, or `closed` for a store that is not open.
 */
export interface Store {
  /** `durable` = what `commit` confirmed survives the death of process and machine. Announced to clients (SEP: Capability). */
  readonly durability: 'durable' | 'volatile';
  /**
   * Takes the store over, before anything else is called. `now` in epoch milliseconds. Rejects when it cannot be owned or
   * trusted.
   */
  open(now: number): Promise<Opened>;
  /**
   * Applies the writes in order, all or none. Resolves when they are on disk (in a durable store). Rejects, with nothing
   * changed, with `store_full`, with `store_failed` (a write that does not fit what is there included), or with `store_fenced`
   * when another process has taken the store over.
   */
  commit(writes: readonly Write[]): Promise<void>;
  /** Gives the store back. Idempotent; every other method rejects with `closed` from then on. */
  close(): Promise<void>;

  /** All subscriptions, ascending by row, for building the match index at start. */
  index(): AsyncIterable<IndexRow> | Iterable<IndexRow>;
  /** The given rows; rows that do not exist are missing from the answer. */
  load(rows: readonly number[]): Promise<StoredSubscription[]>;
  /** The live subscription with this id; null = none, an ended one included. */
  rowOf(subscriptionId: string): Promise<number | null>;
  /** The live subscription with this key of this principal; null = none. */
  rowOfKey(principal: string, key: string): Promise<number | null>;
  /** A page of one principal's rows, ascending, after `afterRow`. */
  rowsOf(principal: string, afterRow: number, limit: number): Promise<number[]>;
  /** How many live subscriptions a principal has. */
  countOf(principal: string): Promise<number>;
  /** Rows whose `dueAt` is at or before `now`, soonest first. */
  due(now: number, limit: number): Promise<number[]>;
  /** The earliest `dueAt` of all; null = nothing will be due. */
  nextDueAt(): Promise<number | null>;
  /**
   * Rows after `afterRow`, ascending, that have a callback and either an attempt in flight or `acked < head`: the work of a
   * restart.
   */
  backlog(afterRow: number, limit: number): Promise<number[]>;

  /** Entries after `after`, ascending, joined with their events, at most `maxEvents` and about `maxBytes` (at least one). */
  read(row: number, after: number, maxEvents: number, maxBytes: number): Promise<ReadEntry[]>;
  /**
   * The highest sequence of this log whose event was accepted before `acceptedBefore`, and when the one after it was accepted.
   */
  agedOut(
    row: number,
    acceptedBefore: number,
  ): Promise<{ readonly upTo: number; readonly oldestAt: number | null }>;
  /** When the entry with this sequence was accepted; null if there is none. */
  acceptedAt(row: number, sequence: number): Promise<number | null>;
  /** Accepted events after `offset`, ascending: what numbering has still to do. */
  accepted(offset: number, limit: number): Promise<AcceptedEvent[]>;
  /** Accepted events of these types since an instant, ascending by offset: for `since`. */
  history(
    names: readonly string[],
    since: number,
    afterOffset: number,
    limit: number,
  ): Promise<AcceptedEvent[]>;
  /** Which of these upstream identities are already in the accept log: their offsets, null for new ones. */
  known(
    ids: readonly { readonly name: string; readonly eventId: string }[],
  ): Promise<(number | null)[]>;
  /** Of an ended subscription, until it is forgotten; null = there is none. */
  tombstone(subscriptionId: string): Promise<Tombstone | null>;
  /** When this principal's callback last consented, in epoch milliseconds; null = never. */
  verification(principal: string, urlHash: string): Promise<number | null>;
  /** Cheap enough to be asked at every health check. */
  stats(): Promise<StoreStats>;
}

/** How much a store holds. */
export interface StoreStats {
  /** Live ones. */
  readonly subscriptions: number;
  /** In the accept log. */
  readonly events: number;
  /** Of all logs together. */
  readonly entries: number;
  /** What it takes up, as far as it counts towards `quotaBytes`. */
  readonly bytes: number;
  /** Most bytes it may take up; null = no limit. */
  readonly quotaBytes: number | null;
}

/* -------------------- time and chance ------------------------------------------------------------------------------------- */

/** Time, handed in: what the engine knows of it comes from here. */
export interface Clock {
  /** Epoch milliseconds. May jump, as the clock of a machine does. */
  now(): number;
  /** Runs `run` once, `delayMs` milliseconds from now, unless the returned function is called before. */
  after(delayMs: number, run: () => void): () => void;
}

/** Chance, handed in. In production it must be cryptographically strong: ids, epochs and challenges are made of it. */
export interface Random {
  /** Uniform in [0, 1). */
  uniform(): number;
  /** base64url of this many random bytes. */
  token(bytes: number): string;
}

/* -------------------- the way out ----------------------------------------------------------------------------------------- */

/** One POST to a callback. */
export interface OutboundRequest {
  /** The callback URL: a secret. */
  readonly url: string;
  /** Printable ASCII. The ones that belong to the HTTP client (`host`, `content-length`, `cookie`, …) are refused. */
  readonly headers: Readonly<Record<string, string>>;
  readonly body: Uint8Array;
  /** Total deadline in milliseconds, connection included. */
  readonly deadlineMs: number;
}

/**
 * What came back, or the fixed category of why nothing did (SEP: Failure categories). At most 8 KiB of the body is kept. `cause`
 * has one fixed sentence and no URL: a refused address cannot be told from one that does not answer.
 */
export type OutboundResult =
  | {
      readonly kind: 'response';
      readonly status: number;
      readonly contentType: string | null;
      readonly retryAfter: string | null;
      readonly body: Uint8Array;
    }
  | {
      readonly kind: 'failure';
      readonly category: 'connection_refused' | 'timeout' | 'tls_error';
      readonly cause: Error;
    };

/** The only way to make an outbound call; `createEgress` makes one. */
export interface Egress {
  /**
   * Applies the static rules to a callback URL (SEP: Destination rules). Throws `WireError` `InvalidParams` for path
   * `/callback/url`. Returns its normal form.
   */
  judge(url: string): string;
  /** Sends one request. Resolves also when it fails; rejects only for a header that must not be sent (`TypeError`). */
  post(request: OutboundRequest): Promise<OutboundResult>;
  /** Waits for what is under way, then closes every connection. */
  close(): Promise<void>;
}

/* -------------------- reports --------------------------------------------------------------------------------------------- */

/** Structured log; a subset of pino's interface. Never given a secret, a token or a callback URL. */
export interface Log {
  /** Of use while looking for a fault. */
  debug(fields: object, message: string): void;
  /** The ordinary course of things. */
  info(fields: object, message: string): void;
  /** Somebody should look when there is time, for example at a callback that points at a private address. */
  warn(fields: object, message: string): void;
  /** Something the server promises is not happening at the moment, for example a commit that failed. */
  error(fields: object, message: string): void;
}

/** Every connected place that counts. Names are those of `docs/architecture.md`, section Metrics. */
export interface Meter {
  /** Adds `by` (default 1) to a counter. */
  count(name: string, by?: number, labels?: Readonly<Record<string, string>>): void;
  /** One observation for a histogram; durations in seconds. */
  observe(name: string, value: number, labels?: Readonly<Record<string, string>>): void;
  /** A value to be read whenever somebody looks. */
  gauge(name: string, read: () => number): void;
}
