/**
 * The types of the core: a subscription, its inputs and its effects.
 *
 * Instants are epoch milliseconds, durations are milliseconds. The core never reads a clock: its
 * callers pass the time. `sequence`, `head`, `acked`, `sent` and `floor` are numbers in one
 * subscription's log (SEP: The log).
 */

/** State of a callback (SEP: The callback of a subscription). */
export type CallbackState = 'ok' | 'failing' | 'suspended';
/** Why a number is never delivered (SEP: Gaps). */
export type GapReason =
  'retention' | 'skipped' | 'rejected' | 'too_large' | 'invalid' | 'unwatched' | 'redacted';
/** Why a subscription ended (SEP: Ending). */
export type TerminationReason =
  'unsubscribed' | 'expired' | 'revoked' | 'trigger_removed' | 'schema_changed' | 'failed';
/** The cause of a failed attempt, the only part of it that clients see (SEP: Failure categories). */
export type FailureCategory =
  | 'connection_refused'
  | 'timeout'
  | 'tls_error'
  | 'http_4xx'
  | 'http_5xx'
  | 'gone'
  | 'challenge_failed'
  | 'no_ack';

/** A place in a log. */
export interface Position {
  readonly epoch: string;
  readonly sequence: number;
}
/** One selected trigger type; absent `arguments` are `{}` here. */
export interface Selection {
  readonly name: string;
  readonly arguments: Readonly<Record<string, unknown>>;
}
/**
 * How long, how many events and how many bytes of them a log keeps: the minimum over its trigger
 * types (SEP: Retention).
 */
export interface Retention {
  readonly maxAgeMs: number;
  readonly maxEvents: number;
  /** Absent = no limit. */
  readonly maxBytes?: number;
}

/** Limits of the requests to one callback (SEP: Limits of a callback). */
export interface CallbackLimits {
  /** Most events in one request. */
  readonly maxEvents?: number;
  /** Most bytes of the body of one request, unless one event alone is larger. */
  readonly maxBytes?: number;
  /** Most requests in any minute. */
  readonly maxPerMinute?: number;
  /** Time from the oldest event to be sent, within which the server waits for more events. */
  readonly lingerMs?: number;
}

/** A callback. The URL and both secrets are secret: stores encrypt them, nothing prints them. */
export interface Callback {
  readonly url: string;
  /** `whsec_…`, as the client sent it. */
  readonly secret: string;
  /** Signs together with `secret` until `previousUntil`. */
  readonly previousSecret: string | null;
  readonly previousUntil: number | null;
  readonly verifiedAt: number;
  /**
   * After how long an event that the endpoint keeps failing to take is skipped; absent = never
   * (SEP: Suspension).
   */
  readonly skipAfterMs?: number;
  /** Limits of the requests to the endpoint; absent = no limits (SEP: Limits of a callback). */
  readonly limits?: CallbackLimits;
  /** The dialect of its messages; absent = `triggers/*`. The core only compares it. */
  readonly dialect?: string;
}

/** The failures of callback delivery since the last success. */
export interface Health {
  /** Consecutive failed attempts. */
  readonly attempts: number;
  /** Consecutive failures that look like a configuration error. */
  readonly configFailures: number;
  /** When the first of them happened; null = no such failure. */
  readonly configFailingSince: number | null;
  /** The first of the transient failures since the last configuration failure. */
  readonly transientSince: number | null;
  readonly failingSince: number | null;
  readonly lastError: FailureCategory | null;
  readonly lastDeliveryAt: number | null;
}

/**
 * The callback attempt in flight. `id` is unique within a subscription, so that a late answer is
 * recognized.
 */
export interface Attempt {
  readonly id: number;
  readonly after: number;
  /** The last number of the delivery; equals `after` for an empty probe. */
  readonly to: number;
  /** The number of events in the range; the other numbers are in gaps. */
  readonly events: number;
  /** The lowest number that is an event, which can be skipped. Null when `events` is 0. */
  readonly first: number | null;
  /** The end of the lease, after which another attempt may start. */
  readonly leaseUntil: number;
}

/** One subscription: configuration, log counters and delivery state. Immutable. */
export interface Subscription {
  readonly subscriptionId: string;
  readonly principal: string;
  readonly key: string;
  readonly createdAt: number;
  /**
   * True: an event that is too large for a delivery is in this log with a reference to its data;
   * absent: it is a gap (SEP: Data by reference).
   */
  readonly dataRef?: true;

  /* configuration: covered by the ETag */
  readonly select: readonly Selection[];
  readonly callback: Callback | null;
  /** The granted lifetime; null = no expiry. */
  readonly ttlMs: number | null;
  readonly paused: boolean;
  /** Increments with each configuration change; version and epoch form the ETag. */
  readonly version: number;

  readonly retention: Retention;
  readonly expiresAt: number | null;

  /* the log */
  readonly epoch: string;
  /** Highest assigned number. */
  readonly head: number;
  /** Highest acknowledged number. */
  readonly acked: number;
  /**
   * Every number up to this one was in a delivery, on any drain: the upper bound of an
   * acknowledgement.
   */
  readonly sent: number;
  /** Highest trimmed number; `oldest` on the wire is `floor + 1`. */
  readonly floor: number;
  /**
   * Lower bound of the time at which the event at `floor + 1` was accepted (exact after a `trim`
   * input); null when nothing is retained.
   */
  readonly oldestAt: number | null;
  /**
   * Upper bound of the bytes of the retained events' JSON (exact after a `trim` input that has
   * them); null = unknown.
   */
  readonly bytes: number | null;

  /* callback delivery */
  readonly attempt: Attempt | null;
  /** The id of the last attempt. */
  readonly attempts: number;
  /**
   * Earliest instant of the next attempt (backoff, `Retry-After`, a partial acknowledgement); null =
   * at once.
   */
  readonly retryAt: number | null;
  /** Most events in the next delivery; halves on 413, doubles on success. Null = the default. */
  readonly batchLimit: number | null;
  readonly health: Health;
  /** When the callback was suspended; null = it is not. */
  readonly suspendedAt: number | null;
  /** When to challenge a suspended callback next; null = it is not suspended. */
  readonly probeAt: number | null;
  /**
   * When a suspended subscription without expiry ends as `failed` if nothing reads or acknowledges
   * it until then; null = it is not one, or the server has no such bound.
   */
  readonly endsAt: number | null;

  readonly terminated: { readonly reason: TerminationReason; readonly at: number } | null;
}

/** The members of a subscription that a delivery shows. */
export type DeliveredState = Pick<
  Subscription,
  'subscriptionId' | 'key' | 'epoch' | 'head' | 'acked' | 'version' | 'expiresAt'
>;

/**
 * The classification of an endpoint's answer (SEP: Answers): the result of `classifyAnswer` and an
 * input of `step`.
 */
export type Outcome =
  | { readonly kind: 'acked'; readonly ack: number; readonly reject: number | null }
  /** Back off. `retryAfterMs` is the endpoint's `Retry-After`, at most an hour. */
  | {
      readonly kind: 'transient';
      readonly category: FailureCategory;
      readonly retryAfterMs: number | null;
    }
  /**
   * Looks like a configuration error, which a retry does not fix: back off, and suspend after
   * a few failures over a few minutes.
   */
  | { readonly kind: 'config'; readonly category: FailureCategory }
  /** 413. */
  | { readonly kind: 'too_large' }
  /**
   * The endpoint will never accept the event of the attempt. Only dialects other than `triggers/*`
   * have such an answer.
   */
  | { readonly kind: 'refused' }
  /** 410. */
  | { readonly kind: 'gone' };

/** An input of `step`. */
export type Input =
  /**
   * Assign numbers to `count` events of together `bytes` bytes, the first of which was accepted at
   * `acceptedAt`.
   */
  | {
      readonly type: 'append';
      readonly count: number;
      readonly acceptedAt: number;
      readonly bytes?: number;
    }
  /**
   * The dispatcher is ready to POST `acked + 1 … to` with `events` events, the lowest of them
   * `first` (null without events). Rejected unless `deliverable`. `to` = `acked` is an empty probe,
   * which is allowed even while the subscription is paused or suspended.
   */
  | {
      readonly type: 'claim';
      readonly to: number;
      readonly events: number;
      readonly first: number | null;
      readonly leaseMs: number;
    }
  /** The attempt with this id has an outcome. `jitter` is uniform in [0, 1). */
  | {
      readonly type: 'answer';
      readonly attempt: number;
      readonly outcome: Outcome;
      readonly jitter: number;
    }
  /** A pull or stream reads the log, whether or not it has anything to send. */
  | { readonly type: 'read' }
  /** A stream or pull is about to send the numbers `after + 1 … to`. */
  | { readonly type: 'drain'; readonly after: number; readonly to: number }
  | { readonly type: 'ack'; readonly position: Position }
  /**
   * Retention drops everything up to `upTo`; the first retained event was accepted at `oldestAt`
   * (null = unknown, or nothing is retained), and the retained events have `bytes` bytes (absent =
   * not counted).
   */
  | {
      readonly type: 'trim';
      readonly upTo: number;
      readonly oldestAt: number | null;
      readonly bytes?: number;
    }
  /** A renewal or an update; absent members stay unchanged. */
  | { readonly type: 'configure'; readonly change: Change }
  /**
   * The callback proved its consent (`ok`), which resumes it, or failed to. `jitter` is uniform in
   * [0, 1).
   */
  | { readonly type: 'verified'; readonly ok: boolean; readonly jitter: number }
  /** Time has passed: expiry, the end of a lease, a retry or the end of a rotation window may be due. */
  | { readonly type: 'tick' }
  /** A new process owns the store: attempts of the former one get no answer here. */
  | { readonly type: 'recover' }
  | { readonly type: 'terminate'; readonly reason: TerminationReason }
  /**
   * The store may have lost commits: begin a new epoch and renumber the unacknowledged entries from
   * 1.
   */
  | { readonly type: 'rotate'; readonly epoch: string };

/** The changes of a `configure` input. */
export interface Change {
  readonly select?: readonly Selection[];
  readonly retention?: Retention;
  readonly callback?: Callback | null;
  readonly paused?: boolean;
  /** The new grant, present on every renewal; also sets `expiresAt`. */
  readonly ttlMs?: number | null;
  /** Whether to end a suspension: true only if the client asks for it. */
  readonly resume?: boolean;
}

/** An action that the engine performs after a step. */
export type Effect =
  /** POST this range. */
  | { readonly type: 'attempt'; readonly attempt: Attempt }
  /** The callback is deliverable: read the log and `claim`. Always the last effect of a step. */
  | { readonly type: 'ready' }
  /** Record these numbers as a gap. */
  | { readonly type: 'gap'; readonly from: number; readonly to: number; readonly reason: GapReason }
  /** Delete log entries up to this number. */
  | { readonly type: 'trim'; readonly upTo: number }
  /** Subtract `by` from the number of every remaining log entry. */
  | { readonly type: 'renumber'; readonly by: number }
  /** Streams and waiting pulls must read again. */
  | { readonly type: 'wake' }
  /** Report a changed status or configuration by an empty delivery on open streams. */
  | { readonly type: 'announce' }
  /** Send the termination notice on every drain, then delete the log and keep a tombstone. */
  | { readonly type: 'terminated'; readonly reason: TerminationReason };

/** Why `step` rejected an input. The subscription is unchanged and the effects are empty. */
export type StepRefusal =
  | { readonly kind: 'epoch' }
  | { readonly kind: 'position' }
  | { readonly kind: 'stale_attempt' }
  | { readonly kind: 'not_deliverable' }
  | { readonly kind: 'terminated' };

/** The result of `step`. */
export interface Step {
  readonly subscription: Subscription;
  readonly effects: readonly Effect[];
  readonly refused?: StepRefusal;
}
