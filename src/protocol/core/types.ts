/**
 * The glossary: what a subscription is to the core, what can happen to it, and what must be done about it.
 *
 * Instants are epoch milliseconds, durations are milliseconds; both are handed in, the core never reads a clock. Numbers
 * called sequence, head, acked, sent and floor are positions in one subscription's log (SEP: The log).
 */

/** What becomes of a callback that keeps failing: everything stops, or one event is given up (SEP: Failure and suspension). */
export type OnFailure = 'suspend' | 'skip';
/** SEP: Status. */
export type Status = 'active' | 'paused' | 'suspended';
/** Why a number will never be delivered (SEP: Gaps). */
export type GapReason = 'retention' | 'abandoned' | 'rejected' | 'too_large' | 'redacted';
/** Why a subscription ended (SEP: Ending). */
export type TerminationReason =
  'unsubscribed' | 'expired' | 'revoked' | 'trigger_removed' | 'schema_changed' | 'failed';
/** All that anybody outside is told of a failed attempt (SEP: Failure categories). */
export type FailureCategory =
  | 'connection_refused'
  | 'timeout'
  | 'tls_error'
  | 'http_4xx'
  | 'http_5xx'
  | 'challenge_failed'
  | 'no_ack';

export interface Position {
  readonly epoch: string;
  readonly sequence: number;
}
/** One trigger type that is followed; `arguments` are complete, absent ones are `{}`. */
export interface Selection {
  readonly name: string;
  readonly arguments: Readonly<Record<string, unknown>>;
}
/** How long a log keeps its events: the shortest of its trigger types (SEP: Retention). */
export interface Retention {
  readonly maxAgeMs: number;
  readonly maxEvents: number;
}

/** Where to call back. `url` and `secret` are secrets: stores seal them, nothing prints them. */
export interface Callback {
  readonly url: string;
  /** `whsec_…` as the client gave it. */
  readonly secret: string;
  /** Still signs, beside `secret`, until `previousUntil`. */
  readonly previousSecret: string | null;
  readonly previousUntil: number | null;
  readonly verifiedAt: number;
  /** What its messages look like; absent = this protocol's own. The core does not care. */
  readonly dialect?: string;
}

/** How callback delivery is doing since its last success. */
export interface Health {
  /** Failed attempts in a row. */
  readonly attempts: number;
  /** Of those, attempts in a row whose failure looked like a configuration error. */
  readonly configFailures: number;
  readonly failingSince: number | null;
  readonly lastError: FailureCategory | null;
  readonly lastDeliveryAt: number | null;
}

/** The one callback attempt in flight. `id` is never reused within a subscription, so a late answer is recognised. */
export interface Attempt {
  readonly id: number;
  readonly after: number;
  /** Last number of the delivery; equals `after` for an empty probe. */
  readonly to: number;
  /** How many of the numbers are events; the rest are in gaps. */
  readonly events: number;
  /** The lowest number that is an event: what `skip` gives up on. Null when `events` is 0. */
  readonly first: number | null;
  /** After this the lease on the attempt has run out and another may start. */
  readonly leaseUntil: number;
}

/** One subscription: configuration, log counters and delivery state. A value; never changed in place. */
export interface Subscription {
  readonly subscriptionId: string;
  readonly principal: string;
  readonly key: string;
  readonly createdAt: number;

  /* configuration: covered by the ETag */
  readonly select: readonly Selection[];
  readonly callback: Callback | null;
  /** Granted; null = no expiry. */
  readonly ttlMs: number | null;
  readonly onFailure: OnFailure;
  readonly paused: boolean;
  readonly suspended: boolean;
  /** Counts configuration changes; with the epoch it makes the ETag. */
  readonly version: number;

  readonly retention: Retention;
  readonly expiresAt: number | null;

  /* the log */
  readonly epoch: string;
  /** Highest number assigned. */
  readonly head: number;
  /** Highest number acknowledged. */
  readonly acked: number;
  /** Highest number ever sent on any drain: the ceiling of an acknowledgement. */
  readonly sent: number;
  /** Highest number trimmed away; `oldest` on the wire is `floor + 1`. */
  readonly floor: number;
  /**
   * The event at `floor + 1` was accepted at this instant or later (exactly then after a `trim` input); null when nothing is
   * retained.
   */
  readonly oldestAt: number | null;

  /* callback delivery */
  readonly attempt: Attempt | null;
  /** Id of the last attempt started. */
  readonly attempts: number;
  /** No attempt before this instant (backoff, Retry-After); null = now. */
  readonly retryAt: number | null;
  /** Most events in the next batch; shrinks on 413, null = the default. */
  readonly batchLimit: number | null;
  readonly health: Health;

  readonly terminated: { readonly reason: TerminationReason; readonly at: number } | null;
}

/** The verdict on an endpoint's answer (SEP: Answers). Made by `classifyAnswer`, consumed by `step`. */
export type Outcome =
  | { readonly kind: 'acked'; readonly ack: number; readonly reject: number | null }
  /** Transient: back off. `retryAfterMs` is the endpoint's own wish, already capped. */
  | {
      readonly kind: 'transient';
      readonly category: FailureCategory;
      readonly retryAfterMs: number | null;
    }
  /** Retrying is pointless unless somebody changes something: back off, suspend soon. */
  | { readonly kind: 'config'; readonly category: FailureCategory }
  /** 413. */
  | { readonly kind: 'too_large' }
  /** The one event of the attempt will never be taken, whenever it is sent; other dialects have such an answer. */
  | { readonly kind: 'refused' }
  /** 410. */
  | { readonly kind: 'gone' };

export type Input =
  /** Numbering assigned `count` more numbers; the first of them was accepted at `acceptedAt`. */
  | { readonly type: 'append'; readonly count: number; readonly acceptedAt: number }
  /**
   * The engine is ready to POST `acked + 1 … to`, which has `events` events, the lowest of them `first` (null when there are
   * none). Refused unless `deliverable`. `to` = `acked` is an empty probe, allowed even while paused or suspended.
   */
  | {
      readonly type: 'claim';
      readonly to: number;
      readonly events: number;
      readonly first: number | null;
      readonly leaseMs: number;
    }
  /** The attempt with this id was answered, or failed. `jitter` is uniform in [0, 1). */
  | {
      readonly type: 'answer';
      readonly attempt: number;
      readonly outcome: Outcome;
      readonly jitter: number;
    }
  /** A stream or pull is about to send numbers up to `to`. A pull also resumes a suspended callback. */
  | { readonly type: 'drain'; readonly to: number; readonly resume: boolean }
  | { readonly type: 'ack'; readonly position: Position }
  /** Everything up to `upTo` is dropped; the first event then retained, if any, was accepted at `oldestAt`. */
  | { readonly type: 'trim'; readonly upTo: number; readonly oldestAt: number | null }
  /** A renewal or an update: absent members stay. `ttlMs` is the grant. */
  | { readonly type: 'configure'; readonly change: Change }
  /** A fresh proof of the callback's consent, or the end of it. */
  | { readonly type: 'verified'; readonly ok: boolean }
  /** Something may be due: expiry, an expired lease, a retry, the end of a rotation window. */
  | { readonly type: 'tick' }
  /** A new process owns the store: leases of the old one are void. */
  | { readonly type: 'recover' }
  | { readonly type: 'terminate'; readonly reason: TerminationReason }
  /** The store may have lost acknowledged writes: a new epoch, the unacknowledged rest renumbered from 1. */
  | { readonly type: 'rotate'; readonly epoch: string };

/** What a `configure` input changes. */
export interface Change {
  readonly select?: readonly Selection[];
  readonly retention?: Retention;
  readonly callback?: Callback | null;
  readonly onFailure?: OnFailure;
  readonly paused?: boolean;
  /** Present on every renewal: the new grant, which also moves `expiresAt`. */
  readonly ttlMs?: number | null;
  /** A renewal, update or pull by the client re-activates what the server suspended. */
  readonly resume?: boolean;
}

export type Effect =
  /** POST this range. */
  | { readonly type: 'attempt'; readonly attempt: Attempt }
  /** The callback has something to send and may send it: read the log and `claim`. Always the last effect of a step. */
  | { readonly type: 'ready' }
  /** Record that these numbers will never be delivered. One that is a gap already keeps its reason. */
  | { readonly type: 'gap'; readonly from: number; readonly to: number; readonly reason: GapReason }
  /** Delete log entries up to this number. */
  | { readonly type: 'trim'; readonly upTo: number }
  /** Subtract this from the number of every remaining log entry. */
  | { readonly type: 'renumber'; readonly by: number }
  /** Streams and waiting pulls should look again. */
  | { readonly type: 'wake' }
  /** Tell the client what changed (status, configuration): an empty delivery on open streams. */
  | { readonly type: 'announce' }
  /** Say the last word on every drain, then forget the log and keep a tombstone. */
  | { readonly type: 'terminated'; readonly reason: TerminationReason };

/** Why `step` refused an input. The subscription is then unchanged and there are no effects. */
export type StepRefusal =
  | { readonly kind: 'epoch' }
  | { readonly kind: 'position' }
  | { readonly kind: 'stale_attempt' }
  | { readonly kind: 'not_deliverable' }
  | { readonly kind: 'terminated' };

export interface Step {
  readonly subscription: Subscription;
  readonly effects: readonly Effect[];
  readonly refused?: StepRefusal;
}
