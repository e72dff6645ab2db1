/**
 * The wire types of the Triggers extension, revision `draft`.
 *
 * This file is written by hand. `schema.json` is generated from it; the library and the tests of `examples/` validate
 * with the generated file. The prose and the requirements are in `sep/0000-triggers.md`.
 *
 * Conventions: instants are RFC 3339 strings in UTC with milliseconds. Durations are whole milliseconds, and their
 * names end in `Ms`. Counts are integers. Members that are not declared here are allowed and ignored, unless stated
 * otherwise. Enumerations with {@link LaterValue} are open: a peer handles a value that it does not know as the general
 * case.
 */

/* ------------------------------------------------------------------ identifiers ------------------------------------------------------------------ */

/** The extension identifier under which both peers declare the capability. */
export const EXTENSION_ID = 'io.modelcontextprotocol/triggers';

/** The revision of this schema and of the specification. A peer does not use one that it does not know. */
export const REVISION = '2026-12-01';

/** The `_meta` key by which a notification names its `triggers/stream` request, as for `subscriptions/listen`. */
export const SUBSCRIPTION_ID_META_KEY = 'io.modelcontextprotocol/subscriptionId';

/**
 * An instant: RFC 3339 in UTC with exactly three decimals, for example `2026-11-21T09:30:00.000Z`.
 * @pattern ^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}\.[0-9]{3}Z$
 */
export type Instant = string;

/**
 * A duration in whole milliseconds, at most 2^53-1.
 * @asType integer
 * @minimum 0
 * @maximum 9007199254740991
 */
export type DurationMs = number;

/**
 * An event's number in one subscription's log: contiguous from 1 within an epoch.
 * @asType integer
 * @minimum 1
 * @maximum 9007199254740991
 */
export type Sequence = number;

/**
 * A {@link Sequence}, or 0 for "before the first event".
 * @asType integer
 * @minimum 0
 * @maximum 9007199254740991
 */
export type SequenceOrZero = number;

/**
 * Identifies one numbering of a subscription's log. It changes only when the server may have lost the log.
 * @pattern ^[A-Za-z0-9_-]{8,64}$
 */
export type Epoch = string;

/**
 * The unguessable identifier of a subscription, chosen by the server (at least 128 random bits).
 * @pattern ^[A-Za-z0-9_-]{22,128}$
 */
export type SubscriptionId = string;

/**
 * The client's own name for a subscription, unique per principal. It stays when the configuration changes.
 * @pattern ^[A-Za-z0-9_.~:-]{1,128}$
 */
export type SubscriptionKey = string;

/**
 * Strong validator of a subscription's configuration, or of the list of trigger types. Opaque: compare byte by byte.
 * @pattern ^[A-Za-z0-9_.~:-]{1,128}$
 */
export type ETag = string;

/**
 * The `name` of a trigger type. Names that start with `mcp.` are reserved for protocol-level types.
 * @pattern ^[A-Za-z0-9_][A-Za-z0-9_./-]{0,127}$
 */
export type TriggerName = string;

/**
 * A value that a later revision adds to an open enumeration. A peer handles it as the general case of that enumeration
 * and never rejects a message because of it.
 * @pattern ^[A-Za-z][A-Za-z0-9_]{0,63}$
 */
export type LaterValue = string & Record<never, never>;

/** A position in a log. Always both members, because a number alone could be of another epoch. */
export interface Position {
  epoch: Epoch;
  sequence: SequenceOrZero;
}

/** Any JSON object. */
export interface JsonObject {
  [member: string]: unknown;
}

/** The `_meta` member that every MCP message may carry. */
export interface Meta {
  [key: string]: unknown;
}

/* ------------------------------------------------------------------- capability ------------------------------------------------------------------- */

/** A way to read a log. */
export type Drain = 'callback' | 'stream' | 'pull';

/**
 * A level of the specification. Open: later revisions can add levels. `log`: logs that are read by pull; `stream` and
 * `callback`: two more drains; `durable`: accepted events, numbers, grants and acknowledgements survive a crash, and
 * without it a crash may lose them; then the epoch changes.
 */
export type Level = 'log' | 'stream' | 'callback' | 'durable' | LaterValue;

/**
 * An option of the specification. Open: later revisions can add options.
 */
export type Option =
  | 'conditionalReads'
  | 'history'
  | 'multiSelect'
  | 'dataRef'
  | 'listChanged'
  | 'pause'
  | 'skip'
  | 'reject'
  | 'limits'
  | 'serverIdentity'
  | 'trace'
  | LaterValue;

/**
 * The server's settings for the extension: under `capabilities.extensions[EXTENSION_ID]` from 2026-07-28 on, and under
 * `capabilities.experimental[EXTENSION_ID]` on the handshake revisions (2025-11-25 and earlier).
 */
export interface ServerCapability {
  /**
   * The revision of the specification, a date.
   * @pattern ^[0-9]{4}-[0-9]{2}-[0-9]{2}$
   */
  revision: string;
  /**
   * The levels that the server serves on this connection; `log` is one of them.
   * @minItems 1
   * @uniqueItems true
   */
  levels: Level[];
  /**
   * The options that the server serves on this connection. Absent = none.
   * @uniqueItems true
   */
  options?: Option[];
  /** The longest `ttlMs` that this server grants; absent = the server announces no upper bound. */
  maxTtlMs?: DurationMs;
  /** The shortest `ttlMs` that this server grants. Only a suggestion below it is raised. */
  minTtlMs?: DurationMs;
  /**
   * The URL of the public keys for `MCP-Delivery-Signature`. Required if the server offers `callback` and signs.
   * @pattern ^https?://
   * @maxLength 2048
   */
  jwksUri?: string;
}

/** The client's settings for the extension. Declaring it is optional; it has no members yet. */
export interface ClientCapability {
  [member: string]: unknown;
}

/* ------------------------------------------------------------------ trigger types ----------------------------------------------------------------- */

/** How long, and how many events, a log keeps. The bound that is reached first applies; trimmed events become a gap. */
export interface Retention {
  maxAgeMs: DurationMs;
  /**
   * @asType integer
   * @minimum 1
   */
  maxEvents: number;
  /**
   * Most bytes of the events' JSON; absent = no limit. At least the limit of one event.
   * @asType integer
   * @minimum 245760
   */
  maxBytes?: number;
}

/** Something a server can watch. */
export interface TriggerType {
  name: TriggerName;
  title?: string;
  description: string;
  /** JSON Schema 2020-12 of `Selection.arguments`; its root has `type: "object"`. */
  inputSchema: JsonObject;
  /** JSON Schema 2020-12 of `Event.data`. */
  payloadSchema: JsonObject;
  /**
   * @minItems 1
   * @uniqueItems true
   */
  drains: Drain[];
  retention: Retention;
  /** Present if the server honors `since`, at most this far back. */
  history?: { maxAgeMs: DurationMs };
  /**
   * The order of events in the log. `source`: as the upstream orders them. `arrival`: as they reached the server. Open:
   * an unknown order is handled as `arrival`.
   */
  ordering: 'source' | 'arrival' | LaterValue;
  /** True: the type describes a state, and the first event of every log is the present state. Absent means false. */
  initial?: boolean;
  _meta?: Meta;
}

/** Selects events of one trigger type. Absent `arguments` are the same as `{}`. */
export interface Selection {
  name: TriggerName;
  arguments?: JsonObject;
}

/* ------------------------------------------------------------------- subscription ----------------------------------------------------------------- */

/**
 * `paused` by the client, or `suspended` by the server after failures. Events get numbers in every status. Open: in an
 * unknown status, the callback delivers nothing that a client can rely on.
 */
export type SubscriptionStatus = 'active' | 'paused' | 'suspended' | LaterValue;

/**
 * Why a callback attempt failed: a word of the server, so that no text of an endpoint reaches the client. Open: an
 * unknown category is a failure like any other.
 */
export type FailureCategory =
  | 'connection_refused'
  | 'timeout'
  | 'tls_error'
  | 'http_4xx'
  | 'http_5xx'
  | 'gone'
  | 'challenge_failed'
  | 'no_ack'
  | LaterValue;

/** The URL and the secret of a callback. Both are secrets: they never appear in an answer, log or error. */
export interface Callback {
  /**
   * Absolute `https` URL in WHATWG normal form, printable ASCII, no userinfo, no fragment.
   * @minLength 12
   * @maxLength 2048
   * @pattern ^https?://[!-~]+$
   */
  url: string;
  /**
   * `whsec_` followed by standard base64 of 24 to 64 random bytes.
   * @pattern ^whsec_[A-Za-z0-9+/]{32,86}={0,2}$
   */
  secret: string;
  /**
   * After how long an event that the endpoint keeps failing to take is skipped; absent = never.
   * @asType integer
   * @minimum 1
   * @maximum 86400000
   */
  skipAfterMs?: DurationMs;
}

/** The failures of a callback since its last success. */
export interface CallbackHealth {
  lastDeliveryAt?: Instant;
  lastError?: FailureCategory;
  failingSince?: Instant;
  /** When the callback was suspended; absent while it is not. */
  suspendedAt?: Instant;
  /**
   * Failed attempts since the last success.
   * @asType integer
   * @minimum 0
   */
  attempts: number;
}

/** The part of a callback that a server shows: never the secret, never the whole URL. */
export interface CallbackStatus {
  /** Scheme, host and port of the callback URL. */
  origin: string;
  verifiedAt: Instant;
  /** After a secret rotation: until when the old secret signs as well. */
  previousSecretUntil?: Instant;
  /** As the client set it; absent = no event is skipped. */
  skipAfterMs?: DurationMs;
  health: CallbackHealth;
}

/** One client's durable, ordered, numbered log over one or more selections. */
export interface Subscription {
  subscriptionId: SubscriptionId;
  etag: ETag;
  epoch: Epoch;
  key: SubscriptionKey;
  /**
   * @minItems 1
   * @maxItems 64
   */
  select: Selection[];
  status: SubscriptionStatus;
  /** The granted lifetime; null = no expiry. */
  ttlMs: DurationMs | null;
  expiresAt: Instant | null;
  /** Renew after this time. Random, so that clients do not renew all at once; null = no expiry. */
  renewAfterMs: DurationMs | null;
  /** The highest number assigned so far; 0 = none. */
  head: SequenceOrZero;
  /** The highest number that the client has acknowledged; 0 = none. */
  acked: SequenceOrZero;
  /** The lowest number that is still retained; `head + 1` if nothing is retained. */
  oldest: Sequence;
  retention: Retention;
  callback?: CallbackStatus;
  createdAt: Instant;
  _meta?: Meta;
}

/* --------------------------------------------------------------------- delivery ------------------------------------------------------------------- */

/** One occurrence, with its number in a log. */
export interface Event {
  sequence: Sequence;
  /**
   * The upstream's own identifier, if it has one. Unique per trigger name within the retention window.
   * @minLength 1
   * @maxLength 256
   */
  eventId: string;
  name: TriggerName;
  /** When it happened according to the upstream, or else when it was emitted. Only `sequence` defines the order. */
  timestamp: Instant;
  /** When the server accepted it, the same on every drain. `since` compares this instant. */
  acceptedAt: Instant;
  /** Validates against the trigger type's `payloadSchema`. */
  data: unknown;
  _meta?: Meta;
}

/** Why a range of numbers will never be delivered. Open: an unknown reason is reported as a gap like any other. */
export type GapReason =
  | 'retention'
  | 'skipped'
  | 'rejected'
  | 'too_large'
  | 'invalid'
  | 'unwatched'
  | 'redacted'
  | LaterValue;

/** A range of numbers, both ends included, that will never be delivered. */
export interface Gap {
  from: Sequence;
  to: Sequence;
  reason: GapReason;
}

/** Why a subscription ended. Open: an unknown reason is handled as `failed`. */
export type TerminationReason =
  | 'unsubscribed'
  | 'expired'
  | 'revoked'
  | 'trigger_removed'
  | 'schema_changed'
  | 'failed'
  | LaterValue;

/**
 * The message that carries events and gaps, the same on every drain. It covers a range that starts at `after + 1`.
 * Every number of the range is in `events` or in a gap. A delivery without events and gaps is a heartbeat.
 */
export interface Delivery {
  subscriptionId: SubscriptionId;
  key: SubscriptionKey;
  epoch: Epoch;
  /** The number before the range. */
  after: SequenceOrZero;
  /** Ascending by `sequence`. */
  events: Event[];
  /** Ascending, not overlapping. */
  gaps?: Gap[];
  head: SequenceOrZero;
  acked: SequenceOrZero;
  etag: ETag;
  status: SubscriptionStatus;
  expiresAt: Instant | null;
  /**
   * Single use; present only in an empty delivery that verifies a callback.
   * @pattern ^[A-Za-z0-9_-]{22,128}$
   */
  challenge?: string;
  /** Present if this is the last message of the subscription. */
  terminated?: Termination;
  _meta?: Meta;
}

/** Why a subscription ended. */
export interface Termination {
  reason: TerminationReason;
  error?: ErrorObject;
}

/* ----------------------------------------------------------------- callback answers --------------------------------------------------------------- */

/** The 2xx body that acknowledges a delivery: `after <= ack <= last number of this delivery`. */
export interface CallbackAck {
  ack: SequenceOrZero;
  /** The event `ack + 1`, which can never be accepted. The server records a `rejected` gap and continues. */
  reject?: Rejection;
}

/** One event that the receiver can never accept. */
export interface Rejection {
  sequence: Sequence;
  /**
   * For the operator of the server; never shown to another principal.
   * @maxLength 256
   */
  reason: string;
}

/** The 2xx body that answers a challenge. */
export interface ChallengeAnswer {
  challenge: string;
  /**
   * Standard base64 of HMAC-SHA256(secret bytes, "challenge." + challenge).
   * @pattern ^[A-Za-z0-9+/]{43}=$
   */
  proof: string;
}

/** Protected header of the detached JWS in `MCP-Delivery-Signature` (RFC 7515 appendix F, RFC 7797). */
export interface DeliverySignatureHeader {
  typ: 'mcp-delivery+jws';
  /** `EdDSA` and `Ed25519` (RFC 9864) name the same algorithm; a verifier accepts exactly these two. */
  alg: 'EdDSA' | 'Ed25519';
  kid: string;
  b64: false;
  /** Exactly `["b64"]`. */
  crit: ['b64'];
  /**
   * Seconds since 1970-01-01T00:00:00Z.
   * @asType integer
   * @minimum 0
   */
  iat: number;
  htm: 'POST';
  /** Origin of the callback URL. */
  origin: string;
  /**
   * base64url of SHA-256 over the whole callback URL.
   * @pattern ^[A-Za-z0-9_-]{43}$
   */
  uh: string;
  /** The `subscriptionId`. */
  sub: SubscriptionId;
}

/** Protected header of a signed callback URL's token. */
export interface CallbackUrlHeader {
  typ: 'mcp-callback+jwt';
  alg: 'EdDSA' | 'Ed25519';
  kid?: string;
}

/** Claims of a signed callback URL's token. The receiver mints and checks the token; it is opaque to the server. */
export interface CallbackUrlClaims {
  /** The receiver. */
  iss: string;
  /** The MCP server's resource URI. */
  aud: string;
  /** The subscription's `key`. */
  sub: SubscriptionKey;
  /**
   * The URL path for which this token is valid.
   * @pattern ^/
   */
  htp: string;
  /**
   * Seconds since 1970-01-01T00:00:00Z.
   * @asType integer
   * @minimum 0
   */
  exp: number;
  /**
   * @asType integer
   * @minimum 0
   */
  iat?: number;
  /**
   * @minLength 16
   * @maxLength 128
   */
  jti: string;
}

/* ------------------------------------------------------------------ method params ----------------------------------------------------------------- */

/** Params of `triggers/list`. */
export interface ListTriggersParams {
  /** @maxLength 1024 */
  cursor?: string;
  ifNoneMatch?: ETag;
  _meta?: Meta;
}

/** Params of `triggers/subscribe`. */
export interface SubscribeParams {
  key: SubscriptionKey;
  /**
   * @minItems 1
   * @maxItems 64
   */
  select: Selection[];
  callback?: Callback;
  /** The suggested lifetime. Omitted = the server's default; null = no expiry. */
  ttlMs?: DurationMs | null;
  /**
   * Starts the log with the retained events that were accepted at or after this instant. Requires `history` in every
   * selected trigger type.
   */
  since?: Instant;
  _meta?: Meta;
}

/** Params of `triggers/update`. An absent member keeps the current value. */
export interface UpdateParams {
  subscriptionId: SubscriptionId;
  ifMatch?: ETag;
  ttlMs?: DurationMs | null;
  /** An object replaces the callback; null removes it. The same URL with a new secret rotates the secret. */
  callback?: Callback | null;
  /** True: the previous secret stops signing at once, instead of at the end of the rotation. */
  revokePrevious?: boolean;
  /**
   * @minItems 1
   * @maxItems 64
   */
  select?: Selection[];
  paused?: boolean;
  /** Resumes a suspended callback. */
  resume?: true;
  _meta?: Meta;
}

/** Params of `triggers/get`. */
export interface GetParams {
  subscriptionId: SubscriptionId;
  ifNoneMatch?: ETag;
  _meta?: Meta;
}

/** Params of `triggers/subscriptions`. */
export interface SubscriptionsParams {
  /** @maxLength 1024 */
  cursor?: string;
  _meta?: Meta;
}

/** Params of `triggers/unsubscribe`. */
export interface UnsubscribeParams {
  subscriptionId: SubscriptionId;
  ifMatch?: ETag;
  _meta?: Meta;
}

/** Params of `triggers/pull`. */
export interface PullParams {
  subscriptionId: SubscriptionId;
  /** Default: the subscription's `acked`. */
  after?: Position;
  /** Acknowledges this position before reading. */
  ack?: Position;
  /**
   * 0 = only acknowledge. The server may reduce it to its own bound.
   * @asType integer
   * @minimum 0
   * @maximum 9007199254740991
   */
  maxEvents?: number;
  /**
   * Long poll: how long to wait for something to deliver. The server may reduce it to its own bound.
   */
  waitMs?: DurationMs;
  _meta?: Meta;
}

/** Params of `triggers/stream`. */
export interface StreamParams {
  subscriptionId: SubscriptionId;
  /** Default: the subscription's `acked`. */
  after?: Position;
  window?: StreamWindow;
  _meta?: Meta;
}

/** The most events and bytes that may be sent and not yet acknowledged on one stream. */
export interface StreamWindow {
  /**
   * Default 100. The server may reduce it to its own bound.
   * @asType integer
   * @minimum 1
   * @maximum 9007199254740991
   */
  events?: number;
  /**
   * Default 1048576. An event that is larger than the window is sent alone.
   * @asType integer
   * @minimum 1024
   * @maximum 9007199254740991
   */
  bytes?: number;
}

/** Params of `triggers/ack`. */
export interface AckParams {
  subscriptionId: SubscriptionId;
  position: Position;
  _meta?: Meta;
}

/* ------------------------------------------------------------------ method results ---------------------------------------------------------------- */

/** Members of every result in the base protocol from 2026-07-28 on. */
export interface ResultBase {
  resultType?: 'complete';
  _meta?: Meta;
}

/** The callers that may share a cached copy of the list: `private` = this principal only. */
export type CacheScope = 'public' | 'private';

/** Result of `triggers/list`. */
export interface ListTriggersResult extends ResultBase {
  triggers: TriggerType[];
  nextCursor?: string;
  etag: ETag;
  ttlMs: DurationMs;
  cacheScope: CacheScope;
}

/** Result of `triggers/list` if `ifNoneMatch` is the current ETag. */
export interface ListTriggersNotModified extends ResultBase {
  notModified: true;
  etag: ETag;
  ttlMs: DurationMs;
  cacheScope: CacheScope;
}

/** Result of `triggers/subscribe`. */
export interface SubscribeResult extends Subscription {
  resultType?: 'complete';
  /** False if the principal already had this subscription under the same key. */
  created: boolean;
  /** The instant from which the server honored `since`. */
  since?: Instant;
}

/** Result of `triggers/update`. */
export interface UpdateResult extends Subscription {
  resultType?: 'complete';
}

/** Result of `triggers/get`. */
export interface GetResult extends Subscription {
  resultType?: 'complete';
}

/** Result of `triggers/get` if `ifNoneMatch` is the current ETag. */
export interface GetNotModified extends ResultBase {
  notModified: true;
  etag: ETag;
  epoch: Epoch;
  head: SequenceOrZero;
  acked: SequenceOrZero;
  expiresAt: Instant | null;
}

/** Result of `triggers/subscriptions`. */
export interface SubscriptionsResult extends ResultBase {
  subscriptions: Subscription[];
  nextCursor?: string;
}

/** Result of `triggers/unsubscribe`. */
export interface UnsubscribeResult extends ResultBase {}

/** Result of `triggers/pull`. */
export interface PullResult extends Delivery {
  resultType?: 'complete';
  /** Whether more numbers follow this delivery. If so, pull again at once. */
  hasMore: boolean;
  /** If `hasMore` is false, pull again after this time. */
  nextPollMs: DurationMs;
}

/** Result of `triggers/stream`, sent when the server ends the stream. */
export interface StreamResult extends ResultBase {}

/** Result of `triggers/ack`. */
export interface AckResult extends ResultBase {
  epoch: Epoch;
  acked: SequenceOrZero;
  head: SequenceOrZero;
}

/* -------------------------------------------------------------- requests and notifications -------------------------------------------------------- */

/**
 * A request id that is a number.
 * @asType integer
 */
export type IntegerId = number;
/** The `id` of a JSON-RPC request. */
export type RequestId = string | IntegerId;

/** The request `triggers/list`. */
export interface ListTriggersRequest {
  jsonrpc: '2.0';
  id: RequestId;
  method: 'triggers/list';
  params?: ListTriggersParams;
}
/** The request `triggers/subscribe`. */
export interface SubscribeRequest {
  jsonrpc: '2.0';
  id: RequestId;
  method: 'triggers/subscribe';
  params: SubscribeParams;
}
/** The request `triggers/update`. */
export interface UpdateRequest {
  jsonrpc: '2.0';
  id: RequestId;
  method: 'triggers/update';
  params: UpdateParams;
}
/** The request `triggers/get`. */
export interface GetRequest {
  jsonrpc: '2.0';
  id: RequestId;
  method: 'triggers/get';
  params: GetParams;
}
/** The request `triggers/subscriptions`. */
export interface SubscriptionsRequest {
  jsonrpc: '2.0';
  id: RequestId;
  method: 'triggers/subscriptions';
  params?: SubscriptionsParams;
}
/** The request `triggers/unsubscribe`. */
export interface UnsubscribeRequest {
  jsonrpc: '2.0';
  id: RequestId;
  method: 'triggers/unsubscribe';
  params: UnsubscribeParams;
}
/** The request `triggers/pull`. */
export interface PullRequest {
  jsonrpc: '2.0';
  id: RequestId;
  method: 'triggers/pull';
  params: PullParams;
}
/** The request `triggers/stream`. */
export interface StreamRequest {
  jsonrpc: '2.0';
  id: RequestId;
  method: 'triggers/stream';
  params: StreamParams;
}
/** The request `triggers/ack`. */
export interface AckRequest {
  jsonrpc: '2.0';
  id: RequestId;
  method: 'triggers/ack';
  params: AckParams;
}

/** A delivery as a message: the body of a callback, or a notification on a stream, which differs only in its `_meta`. */
export interface DeliveryNotification {
  jsonrpc: '2.0';
  method: 'notifications/triggers/delivery';
  params: Delivery;
}

/** Sent when the list of trigger types has changed: call `triggers/list` again. */
export interface ListChangedNotification {
  jsonrpc: '2.0';
  method: 'notifications/triggers/list_changed';
  params?: { _meta?: Meta };
}

/* ---------------------------------------------------------------------- errors -------------------------------------------------------------------- */

/** A JSON-RPC error object as this extension sends it. `data` is typed; only `InternalError` has none. */
export interface ErrorObject {
  /** @asType integer */
  code: number;
  message: string;
  data?: ErrorData;
}

/** The `data` of an error. The error's code and `kind` determine its type. */
export type ErrorData =
  | InvalidParamsData
  | ConflictData
  | NotFoundData
  | ForbiddenData
  | ResourceExhaustedData
  | UnsupportedData
  | CallbackEndpointErrorData;

/** `-32602`: invalid in every state. `path` is a JSON Pointer into `params`. The invalid value is never repeated. */
export interface InvalidParamsData {
  kind: 'invalid';
  path: string;
  expected: string;
}

/** `-32602`: valid, but in conflict with the current state. Contains the current value. */
export type ConflictData =
  ETagConflictData | KeyConflictData | EpochConflictData | PositionConflictData;

/** `ifMatch` is not the current ETag. */
export interface ETagConflictData {
  kind: 'etag';
  etag: ETag;
}
/** The same `key` exists with another `select` or callback. */
export interface KeyConflictData {
  kind: 'key';
  subscriptionId: SubscriptionId;
  etag: ETag;
}
/** The position is of another epoch. */
export interface EpochConflictData {
  kind: 'epoch';
  epoch: Epoch;
  head: SequenceOrZero;
  acked: SequenceOrZero;
}
/** The position is beyond `head`, or the acknowledgement is beyond what was sent. */
export interface PositionConflictData {
  kind: 'position';
  epoch: Epoch;
  head: SequenceOrZero;
  acked: SequenceOrZero;
  sent?: SequenceOrZero;
}

/** `-32023`: not found. A subscription of another principal gives the same answer as an unknown one. */
export interface NotFoundData {
  kind: 'subscription' | 'trigger';
  /** Why the subscription ended. Only for its owner, while the server remembers it. */
  reason?: TerminationReason;
  /** The last position of the log. */
  final?: FinalPosition;
}

/** The last state of a log that has ended. */
export interface FinalPosition {
  epoch: Epoch;
  head: SequenceOrZero;
  acked: SequenceOrZero;
}

/** `-32024`: the principal has no permission to use triggers, or this trigger type. */
export interface ForbiddenData {
  kind: 'principal' | 'trigger';
  name?: TriggerName;
}
/** `-32025`: a quota or a rate limit is used up. */
export interface ResourceExhaustedData {
  kind: 'limit';
  /** The name of the limit. */
  limit: string;
  /**
   * @asType integer
   * @minimum 0
   */
  max?: number;
  retryAfterMs?: DurationMs;
}
/** `-32026`: the server or the trigger type does not offer a feature. */
export interface UnsupportedData {
  kind: 'feature';
  feature: string;
}
/** `-32027`: the callback endpoint could not be reached or did not prove its consent. */
export interface CallbackEndpointErrorData {
  kind: 'callback';
  category: FailureCategory;
}
