/**
 * The wire types of the Triggers extension, revision `draft`.
 *
 * This file is written by hand. `schema.json` is generated from it; the library and the tests of `examples/` validate
 * with the generated file. The text is in `sep/specification/`.
 *
 * Conventions: instants are RFC 3339 strings. Durations are whole milliseconds, and their
 * names end in `Ms`. Counts are integers. Members that are not declared here are allowed and ignored, unless stated
 * otherwise. Enumerations with {@link LaterValue} are open: a peer handles a value that it does not know as the general
 * case.
 */

/* ------------------------------------------------------------------ identifiers ------------------------------------------------------------------ */

/**
 * The extension identifier under which both peers declare the capability.
 * @category Identifiers
 */
export const EXTENSION_ID = 'io.modelcontextprotocol/triggers';

/**
 * The revision of this schema and of the specification. A peer does not use one that it does not know.
 * @category Identifiers
 */
export const REVISION = '2026-12-01';

/**
 * An instant, RFC 3339. Peers write it in UTC with exactly three decimals, for example `2026-11-21T09:30:00.000Z`, and
 * accept every form.
 * @pattern ^[0-9]{4}-[0-9]{2}-[0-9]{2}[Tt][0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]+)?([Zz]|[+-][0-9]{2}:[0-9]{2})$
 * @category Identifiers
 */
export type Instant = string;

/**
 * A duration in whole milliseconds, at most 2^53-1.
 * @asType integer
 * @minimum 0
 * @maximum 9007199254740991
 * @category Identifiers
 */
export type DurationMs = number;

/**
 * The lifetime of a subscription in whole milliseconds: 1 to ten years.
 * @asType integer
 * @minimum 1
 * @maximum 315576000000
 * @category Identifiers
 */
export type LifetimeMs = number;

/**
 * An event's number in one subscription's log: contiguous from 1 within an epoch.
 * @asType integer
 * @minimum 1
 * @maximum 9007199254740991
 * @category Identifiers
 */
export type Sequence = number;

/**
 * A {@link Sequence}, or 0 for "before the first event".
 * @asType integer
 * @minimum 0
 * @maximum 9007199254740991
 * @category Identifiers
 */
export type SequenceOrZero = number;

/**
 * Identifies one numbering of a subscription's log. It changes only when the server may have lost the log.
 * @pattern ^[A-Za-z0-9_-]{8,64}$
 * @category Identifiers
 */
export type Epoch = string;

/**
 * The unguessable identifier of a subscription, chosen by the server (at least 128 random bits).
 * @pattern ^[A-Za-z0-9_-]{22,128}$
 * @category Identifiers
 */
export type SubscriptionId = string;

/**
 * The client's own name for a subscription, unique per owner. It stays when the configuration changes.
 * @pattern ^[A-Za-z0-9_.~:-]{1,128}$
 * @category Identifiers
 */
export type SubscriptionKey = string;

/**
 * Strong validator of a subscription's configuration, or of the list of trigger types. Opaque: compare byte by byte.
 * @pattern ^[A-Za-z0-9_.~:-]{1,128}$
 * @category Identifiers
 */
export type ETag = string;

/**
 * The `name` of a trigger type. Names that start with `mcp.` are reserved for protocol-level types.
 * @pattern ^[A-Za-z0-9_][A-Za-z0-9_./-]{0,127}$
 * @category Identifiers
 */
export type TriggerName = string;

/**
 * A value that a later revision adds to an open enumeration. A peer handles it as the general case of that enumeration
 * and never rejects a message because of it.
 * @pattern ^[A-Za-z][A-Za-z0-9_]{0,63}$
 * @category Identifiers
 */
export type LaterValue = string & Record<never, never>;

/**
 * A position in a log. Always both members, because a number alone could be of another epoch.
 * @category Identifiers
 */
export interface Position {
  epoch: Epoch;
  sequence: SequenceOrZero;
}

/**
 * Any JSON object.
 * @category Identifiers
 */
export interface JsonObject {
  [member: string]: unknown;
}

/**
 * The `_meta` member of a message or an object, as in the core.
 * @category Identifiers
 */
export interface MetaObject {
  [key: string]: unknown;
}

/* ---------------------------------------------------------------- base protocol ---------------------------------------------------------------- */

/**
 * A request id that is a number.
 * @asType integer
 * @category Base protocol
 */
export type IntegerId = number;
/**
 * The `id` of a JSON-RPC request.
 * @category Base protocol
 */
export type RequestId = string | IntegerId;

/**
 * A JSON-RPC request, as in the core.
 * @category Base protocol
 */
export interface JSONRPCRequest {
  jsonrpc: '2.0';
  id: RequestId;
  method: string;
}

/**
 * A JSON-RPC notification, as in the core.
 * @category Base protocol
 */
export interface JSONRPCNotification {
  jsonrpc: '2.0';
  method: string;
}

/**
 * A JSON-RPC answer with a result, as in the core.
 * @category Base protocol
 */
export interface JSONRPCResultResponse {
  jsonrpc: '2.0';
  id: RequestId;
}

/**
 * The `_meta` of a request. From 2026-07-28 on, the core requires the first two members; earlier revisions have none.
 * @category Base protocol
 */
export interface RequestMetaObject extends MetaObject {
  'io.modelcontextprotocol/protocolVersion'?: string;
  'io.modelcontextprotocol/clientCapabilities'?: JsonObject;
  'io.modelcontextprotocol/clientInfo'?: JsonObject;
  progressToken?: RequestId;
}

/**
 * Members of the params of every request. `_meta` is required from 2026-07-28 on.
 * @category Base protocol
 */
export interface RequestParams {
  _meta?: RequestMetaObject;
}

/**
 * Members of the params of every notification.
 * @category Base protocol
 */
export interface NotificationParams {
  _meta?: MetaObject;
}

/**
 * Members of every result. `resultType` is required from 2026-07-28 on.
 * @category Base protocol
 */
export interface Result {
  resultType?: 'complete';
  _meta?: MetaObject;
}

/* ------------------------------------------------------------------- capability ------------------------------------------------------------------- */

/**
 * A way to read a log.
 * @category Settings
 */
export type Drain = 'callback' | 'stream' | 'pull';

/**
 * A level of the specification. Open: later revisions can add levels. `log`: logs that are read by pull; `stream` and
 * `callback`: two more drains; `durable`: accepted events, numbers, grants and acknowledgements survive a crash, and
 * without it a crash may lose them; then the epoch changes.
 * @category Settings
 */
export type Level = 'log' | 'stream' | 'callback' | 'durable' | LaterValue;

/**
 * An option of the specification. Open: later revisions can add options.
 * @category Settings
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
 * @category Settings
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
  /** The longest lifetime that this server grants; absent = the server announces no upper bound. */
  maxTtlMs?: LifetimeMs;
  /** The shortest lifetime that this server grants. Only a suggestion below it is raised. */
  minTtlMs?: LifetimeMs;
  /** Longest suspension of a subscription without expiry, after which it ends; absent = no bound. */
  maxSuspendedMs?: LifetimeMs;
  /**
   * The URL of the public keys for `MCP-Delivery-Signature`, with the option `serverIdentity`. `http` only on loopback,
   * in development.
   * @pattern ^(https://|http://(localhost|127\.[0-9.]+|\[::1\])[:/])
   * @maxLength 2048
   */
  jwksUri?: string;
}

/**
 * The client's settings for the extension, in its own capabilities at the place of {@link ServerCapability}. Declaring
 * them is optional.
 * @category Settings
 */
export interface ClientCapability {
  /**
   * The options that the client declares: `dataRef` asks for large data by reference. Absent = none.
   * @uniqueItems true
   */
  options?: Option[];
}

/* ------------------------------------------------------------------ trigger types ----------------------------------------------------------------- */

/**
 * How long, and how many events, a log keeps. The bound that is reached first applies; trimmed events become a gap.
 * @category Trigger types
 */
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

/**
 * Something a server can watch.
 * @category Trigger types
 */
export interface TriggerType {
  name: TriggerName;
  title?: string;
  description: string;
  /** JSON Schema 2020-12 of `Selection.arguments`; its root has `type: "object"`. */
  inputSchema: JsonObject;
  /** JSON Schema 2020-12 of `TriggerEvent.data`. */
  payloadSchema: JsonObject;
  /**
   * The drains that logs with this type can use. Absent = all that the server has.
   * @minItems 1
   * @uniqueItems true
   */
  drains?: Drain[];
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
  _meta?: MetaObject;
}

/**
 * Selects events of one trigger type. Absent `arguments` are the same as `{}`.
 * @category Trigger types
 */
export interface Selection {
  name: TriggerName;
  arguments?: JsonObject;
}

/* ------------------------------------------------------------------- subscription ----------------------------------------------------------------- */

/**
 * `ok`; `failing`: attempts fail and are repeated; `suspended`: no attempt is made. Events get numbers in every state.
 * Open: in an unknown state, the callback delivers nothing that a client can rely on.
 * @category Callback
 */
export type CallbackState = 'ok' | 'failing' | 'suspended' | LaterValue;

/**
 * Why a callback attempt failed: a word of the server, so that no text of an endpoint reaches the client. Open: an
 * unknown category is a failure like any other.
 * @category Callback
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

/**
 * The URL and the secret of a callback. Both are secrets: they never appear in an answer, log or error.
 * @category Callback
 */
export interface Callback {
  /**
   * Absolute `https` URL in WHATWG normal form, printable ASCII, no userinfo, no fragment. `http` only on loopback, in
   * development.
   * @minLength 12
   * @maxLength 2048
   * @pattern ^(https://[!-~]+|http://(localhost|127\.[0-9.]+|\[::1\])([:/][!-~]*)?)$
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
  limits?: CallbackLimits;
}

/**
 * Limits of one endpoint: most events and bytes of a request, most requests a minute, and the wait for more events.
 * @category Callback
 */
export interface CallbackLimits {
  /**
   * @asType integer
   * @minimum 1
   * @maximum 9007199254740991
   */
  maxEvents?: number;
  /**
   * Bytes of the body. One event that is larger is sent alone.
   * @asType integer
   * @minimum 1024
   * @maximum 9007199254740991
   */
  maxBytes?: number;
  /**
   * @asType integer
   * @minimum 1
   * @maximum 60000
   */
  maxPerMinute?: number;
  /**
   * @asType integer
   * @minimum 0
   * @maximum 60000
   */
  lingerMs?: DurationMs;
}

/**
 * The failures of a callback since its last success.
 * @category Callback
 */
export interface CallbackHealth {
  lastDeliveryAt?: Instant;
  lastError?: FailureCategory;
  failingSince?: Instant;
  /** When the callback was suspended; absent while it is not. */
  suspendedAt?: Instant;
  /** When the subscription ends because of the suspension; absent unless that is so. */
  endsAt?: Instant;
  /**
   * Failed attempts since the last success.
   * @asType integer
   * @minimum 0
   */
  attempts: number;
}

/**
 * The part of a callback that a server shows: never the secret, never the whole URL.
 * @category Callback
 */
export interface CallbackStatus {
  /** Scheme, host and port of the callback URL. */
  origin: string;
  state: CallbackState;
  verifiedAt: Instant;
  /** After a secret rotation: until when the old secret signs as well. */
  previousSecretUntil?: Instant;
  /** As the client set it; absent = no event is skipped. */
  skipAfterMs?: DurationMs;
  /** As the client set them. */
  limits?: CallbackLimits;
  health: CallbackHealth;
}

/**
 * One client's durable, ordered, numbered log over one or more selections.
 * @category Subscription
 */
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
  /** The granted lifetime; absent = no expiry. */
  ttlMs?: LifetimeMs;
  /** Absent = no expiry. */
  expiresAt?: Instant;
  /** Renew after this time. Random, so that clients do not renew all at once; absent = no expiry. */
  renewAfterMs?: DurationMs;
  /** The highest number assigned so far; 0 = none. */
  head: SequenceOrZero;
  /** The highest number that the client has acknowledged; 0 = none. */
  acked: SequenceOrZero;
  /** The lowest number that is still retained; `head + 1` if nothing is retained. */
  oldest: Sequence;
  retention: Retention;
  callback?: CallbackStatus;
  /** True while the client has paused the callback; absent otherwise. */
  paused?: true;
  createdAt: Instant;
  _meta?: MetaObject;
}

/* --------------------------------------------------------------------- delivery ------------------------------------------------------------------- */

/**
 * One occurrence, with its number in a log.
 * @exactlyOne data dataRef
 * @category Delivery
 */
export interface TriggerEvent {
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
  /** Validates against the trigger type's `payloadSchema`. Absent exactly when `dataRef` is present. */
  data?: unknown;
  dataRef?: DataRef;
  /** W3C trace context is in `traceparent` and `tracestate`. */
  _meta?: MetaObject;
}

/**
 * Where the data of a large event is: a resource of the same server, for the owner only, while the log retains the event.
 * @category Delivery
 */
export interface DataRef {
  /**
   * @minLength 1
   * @maxLength 2048
   */
  uri: string;
  /**
   * Bytes of the resource's text in UTF-8: the data as JSON without insignificant whitespace.
   * @asType integer
   * @minimum 0
   */
  bytes: number;
}

/**
 * Why a range of numbers will never be delivered. Open: an unknown reason is reported as a gap like any other.
 * @category Delivery
 */
export type GapReason =
  | 'retention'
  | 'skipped'
  | 'rejected'
  | 'too_large'
  | 'invalid'
  | 'unwatched'
  | 'redacted'
  | LaterValue;

/**
 * A range of numbers, both ends included, that will never be delivered.
 * @category Delivery
 */
export interface Gap {
  from: Sequence;
  to: Sequence;
  reason: GapReason;
}

/**
 * Why a subscription ended. Open: an unknown reason is handled as `failed`.
 * @category Delivery
 */
export type TerminationReason =
  | 'unsubscribed'
  | 'expired'
  | 'revoked'
  | 'trigger_removed'
  | 'schema_changed'
  | 'failed'
  | LaterValue;

/**
 * The message that carries events and gaps, the same on every drain. It covers a range that starts at
 * `afterSequence + 1`. Every number of the range is in `events` or in a gap. A delivery without events and gaps is a heartbeat.
 * @category Delivery
 */
export interface Delivery {
  subscriptionId: SubscriptionId;
  key: SubscriptionKey;
  epoch: Epoch;
  /** The number before the range. */
  afterSequence: SequenceOrZero;
  /** Ascending by `sequence`. */
  events: TriggerEvent[];
  /** Ascending, not overlapping. */
  gaps?: Gap[];
  head: SequenceOrZero;
  acked: SequenceOrZero;
  etag: ETag;
  /** Absent = no expiry. */
  expiresAt?: Instant;
  /** Present if this is the last message of the subscription. */
  terminated?: Termination;
  _meta?: MetaObject;
}

/**
 * Why a subscription ended.
 * @category Delivery
 */
export interface Termination {
  reason: TerminationReason;
}

/**
 * A delivery on a stream. It names the request that opened the stream.
 * @category Delivery
 */
export interface StreamDelivery extends Delivery {
  requestId: RequestId;
}

/**
 * The params of the request that verifies a callback, in place of a delivery.
 * @category Callback
 */
export interface Challenge {
  subscriptionId: SubscriptionId;
  key: SubscriptionKey;
  /**
   * Used for one request only.
   * @pattern ^[A-Za-z0-9_-]{22,128}$
   */
  challenge: string;
  _meta?: MetaObject;
}

/* ----------------------------------------------------------------- callback answers --------------------------------------------------------------- */

/**
 * The 2xx body that acknowledges a delivery: `afterSequence <= ackSequence <= last`.
 * @category Callback
 */
export interface CallbackAck {
  ackSequence: SequenceOrZero;
  /** The event `ackSequence + 1`, which can never be accepted. The server records a `rejected` gap and continues. */
  reject?: Rejection;
}

/**
 * One event that the receiver can never accept.
 * @category Callback
 */
export interface Rejection {
  sequence: Sequence;
  /**
   * For the operator of the server; never shown to another owner.
   * @maxLength 256
   */
  reason: string;
}

/**
 * The 2xx body that answers a challenge.
 * @category Callback
 */
export interface ChallengeAnswer {
  challenge: string;
  /**
   * Standard base64 of HMAC-SHA256(secret bytes, "challenge." + challenge).
   * @pattern ^[A-Za-z0-9+/]{43}=$
   */
  proof: string;
}

/**
 * Protected header of the detached JWS in `MCP-Delivery-Signature` (RFC 7515 appendix F, RFC 7797).
 * @category Callback
 */
export interface DeliverySignatureHeader {
  typ: 'mcp-delivery+jws';
  /** `EdDSA` and `Ed25519` (RFC 9864) name the same algorithm; a verifier accepts exactly these two. */
  alg: 'EdDSA' | 'Ed25519';
  kid: string;
  b64: false;
  /** Exactly `["b64"]`. */
  crit: ['b64'];
  /** The resource URI of the MCP server. */
  iss: string;
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

/**
 * Protected header of a signed callback URL's token.
 * @category Callback
 */
export interface CallbackUrlHeader {
  typ: 'mcp-callback+jwt';
  alg: 'EdDSA' | 'Ed25519';
  kid?: string;
}

/**
 * Claims of a signed callback URL's token. The receiver mints and checks the token; it is opaque to the server.
 * @category Callback
 */
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

/**
 * Params of `triggers/list`.
 * @category triggers/list
 */
export interface ListTriggersRequestParams extends RequestParams {
  /** @maxLength 1024 */
  cursor?: string;
  ifNoneMatch?: ETag;
}

/**
 * Params of `triggers/subscribe`.
 * @atMostOne ttlMs noExpiry
 * @category triggers/subscribe
 */
export interface SubscribeRequestParams extends RequestParams {
  key: SubscriptionKey;
  /**
   * @minItems 1
   * @maxItems 64
   */
  select: Selection[];
  callback?: Callback;
  /** The suggested lifetime. Absent = the server's default. */
  ttlMs?: LifetimeMs;
  /** Instead of `ttlMs`: no expiry. */
  noExpiry?: true;
  /**
   * Starts the log with the retained events that were accepted at or after this instant. Requires `history` in every
   * selected trigger type.
   */
  since?: Instant;
}

/**
 * Params of `triggers/update`. An absent member keeps the current value.
 * @atMostOne ttlMs noExpiry, callback removeCallback
 * @category triggers/update
 */
export interface UpdateRequestParams extends RequestParams {
  subscriptionId: SubscriptionId;
  ifMatch?: ETag;
  ttlMs?: LifetimeMs;
  /** Instead of `ttlMs`: no expiry. */
  noExpiry?: true;
  /** Replaces the callback. The same URL with a new secret rotates the secret. */
  callback?: Callback;
  /** Instead of `callback`: removes the callback. */
  removeCallback?: true;
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
}

/**
 * Params of `triggers/get`.
 * @category triggers/get
 */
export interface GetRequestParams extends RequestParams {
  subscriptionId: SubscriptionId;
  ifNoneMatch?: ETag;
}

/**
 * Params of `triggers/subscriptions`.
 * @category triggers/subscriptions
 */
export interface SubscriptionsRequestParams extends RequestParams {
  /** @maxLength 1024 */
  cursor?: string;
}

/**
 * Params of `triggers/unsubscribe`.
 * @category triggers/unsubscribe
 */
export interface UnsubscribeRequestParams extends RequestParams {
  subscriptionId: SubscriptionId;
  ifMatch?: ETag;
}

/**
 * Params of `triggers/pull`.
 * @category triggers/pull
 */
export interface PullRequestParams extends RequestParams {
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
}

/**
 * Params of `triggers/stream`.
 * @category triggers/stream
 */
export interface StreamRequestParams extends RequestParams {
  subscriptionId: SubscriptionId;
  /** Default: the subscription's `acked`. */
  after?: Position;
  window?: StreamWindow;
}

/**
 * The most events and bytes that may be sent and not yet acknowledged on one stream.
 * @category triggers/stream
 */
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

/**
 * Params of `triggers/ack`.
 * @category triggers/ack
 */
export interface AckRequestParams extends RequestParams {
  subscriptionId: SubscriptionId;
  position: Position;
}

/* ------------------------------------------------------------------ method results ---------------------------------------------------------------- */

/**
 * The callers that may share a cached copy of the list: `private` = this owner only.
 * @category triggers/list
 */
export type CacheScope = 'public' | 'private';

/**
 * Result of `triggers/list`.
 * @category triggers/list
 */
export interface ListTriggersResult extends Result {
  triggers: TriggerType[];
  nextCursor?: string;
  etag: ETag;
  ttlMs: DurationMs;
  cacheScope: CacheScope;
}

/**
 * Result of `triggers/list` if `ifNoneMatch` is the current ETag.
 * @category triggers/list
 */
export interface ListTriggersNotModified extends Result {
  notModified: true;
  etag: ETag;
  ttlMs: DurationMs;
  cacheScope: CacheScope;
}

/**
 * Result of `triggers/subscribe`.
 * @category triggers/subscribe
 */
export interface SubscribeResult extends Subscription, Result {
  /** False if the owner already had this subscription under the same key. */
  created: boolean;
  /** The instant from which the server honored `since`. */
  since?: Instant;
}

/**
 * Result of `triggers/update`.
 * @category triggers/update
 */
export interface UpdateResult extends Subscription, Result {}

/**
 * Result of `triggers/get`.
 * @category triggers/get
 */
export interface GetResult extends Subscription, Result {}

/**
 * Result of `triggers/get` if `ifNoneMatch` is the current ETag.
 * @category triggers/get
 */
export interface GetNotModified extends Result {
  notModified: true;
  etag: ETag;
  epoch: Epoch;
  head: SequenceOrZero;
  acked: SequenceOrZero;
  oldest: Sequence;
  expiresAt?: Instant;
  callback?: CallbackCondition;
}

/**
 * The part of a callback that changes by itself.
 * @category triggers/get
 */
export interface CallbackCondition {
  state: CallbackState;
  health: CallbackHealth;
}

/**
 * Result of `triggers/subscriptions`.
 * @category triggers/subscriptions
 */
export interface SubscriptionsResult extends Result {
  subscriptions: Subscription[];
  nextCursor?: string;
}

/**
 * Result of `triggers/unsubscribe`.
 * @category triggers/unsubscribe
 */
export interface UnsubscribeResult extends Result {}

/**
 * Result of `triggers/pull`.
 * @category triggers/pull
 */
export interface PullResult extends Delivery, Result {
  /** Whether more numbers follow this delivery. If so, pull again at once. */
  hasMore: boolean;
  /** If `hasMore` is false, pull again after this time. */
  nextPollMs: DurationMs;
}

/**
 * Result of `triggers/stream`, sent when the server ends the stream.
 * @category triggers/stream
 */
export interface StreamResult extends Result {}

/**
 * Result of `triggers/ack`.
 * @category triggers/ack
 */
export interface AckResult extends Result {
  epoch: Epoch;
  acked: SequenceOrZero;
  head: SequenceOrZero;
}

/* -------------------------------------------------------------- requests and notifications -------------------------------------------------------- */

/**
 * The request `triggers/list`.
 * @category triggers/list
 */
export interface ListTriggersRequest extends JSONRPCRequest {
  method: 'triggers/list';
  params?: ListTriggersRequestParams;
}
/**
 * The request `triggers/subscribe`.
 * @category triggers/subscribe
 */
export interface SubscribeRequest extends JSONRPCRequest {
  method: 'triggers/subscribe';
  params: SubscribeRequestParams;
}
/**
 * The request `triggers/update`.
 * @category triggers/update
 */
export interface UpdateRequest extends JSONRPCRequest {
  method: 'triggers/update';
  params: UpdateRequestParams;
}
/**
 * The request `triggers/get`.
 * @category triggers/get
 */
export interface GetRequest extends JSONRPCRequest {
  method: 'triggers/get';
  params: GetRequestParams;
}
/**
 * The request `triggers/subscriptions`.
 * @category triggers/subscriptions
 */
export interface SubscriptionsRequest extends JSONRPCRequest {
  method: 'triggers/subscriptions';
  params?: SubscriptionsRequestParams;
}
/**
 * The request `triggers/unsubscribe`.
 * @category triggers/unsubscribe
 */
export interface UnsubscribeRequest extends JSONRPCRequest {
  method: 'triggers/unsubscribe';
  params: UnsubscribeRequestParams;
}
/**
 * The request `triggers/pull`.
 * @category triggers/pull
 */
export interface PullRequest extends JSONRPCRequest {
  method: 'triggers/pull';
  params: PullRequestParams;
}
/**
 * The request `triggers/stream`.
 * @category triggers/stream
 */
export interface StreamRequest extends JSONRPCRequest {
  method: 'triggers/stream';
  params: StreamRequestParams;
}
/**
 * The request `triggers/ack`.
 * @category triggers/ack
 */
export interface AckRequest extends JSONRPCRequest {
  method: 'triggers/ack';
  params: AckRequestParams;
}

/**
 * The answer to `triggers/list`.
 * @category triggers/list
 */
export interface ListTriggersResultResponse extends JSONRPCResultResponse {
  result: ListTriggersResult | ListTriggersNotModified;
}
/**
 * The answer to `triggers/subscribe`.
 * @category triggers/subscribe
 */
export interface SubscribeResultResponse extends JSONRPCResultResponse {
  result: SubscribeResult;
}
/**
 * The answer to `triggers/update`.
 * @category triggers/update
 */
export interface UpdateResultResponse extends JSONRPCResultResponse {
  result: UpdateResult;
}
/**
 * The answer to `triggers/get`.
 * @category triggers/get
 */
export interface GetResultResponse extends JSONRPCResultResponse {
  result: GetResult | GetNotModified;
}
/**
 * The answer to `triggers/subscriptions`.
 * @category triggers/subscriptions
 */
export interface SubscriptionsResultResponse extends JSONRPCResultResponse {
  result: SubscriptionsResult;
}
/**
 * The answer to `triggers/unsubscribe`.
 * @category triggers/unsubscribe
 */
export interface UnsubscribeResultResponse extends JSONRPCResultResponse {
  result: UnsubscribeResult;
}
/**
 * The answer to `triggers/pull`.
 * @category triggers/pull
 */
export interface PullResultResponse extends JSONRPCResultResponse {
  result: PullResult;
}
/**
 * The answer to `triggers/stream`.
 * @category triggers/stream
 */
export interface StreamResultResponse extends JSONRPCResultResponse {
  result: StreamResult;
}
/**
 * The answer to `triggers/ack`.
 * @category triggers/ack
 */
export interface AckResultResponse extends JSONRPCResultResponse {
  result: AckResult;
}

/**
 * A delivery as the body of a callback request.
 * @category Delivery
 */
export interface DeliveryNotification extends JSONRPCNotification {
  method: 'notifications/triggers/delivery';
  params: Delivery;
}

/**
 * A delivery as a message on a stream.
 * @category Delivery
 */
export interface StreamDeliveryNotification extends JSONRPCNotification {
  method: 'notifications/triggers/delivery';
  params: StreamDelivery;
}

/**
 * The body of the callback request that verifies an endpoint.
 * @category Callback
 */
export interface ChallengeNotification extends JSONRPCNotification {
  method: 'notifications/triggers/delivery';
  params: Challenge;
}

/**
 * Sent when the list of trigger types has changed: call `triggers/list` again.
 * @category Trigger types
 */
export interface ListChangedNotification extends JSONRPCNotification {
  method: 'notifications/triggers/list_changed';
  params?: NotificationParams;
}

/* ---------------------------------------------------------------------- errors -------------------------------------------------------------------- */

/**
 * A JSON-RPC error object as this extension sends it. `data` is typed; only `InternalError` has none.
 * @category Errors
 */
export interface ErrorObject {
  /** @asType integer */
  code: number;
  message: string;
  data?: ErrorData;
}

/**
 * The `data` of an error. The error's code and `kind` determine its type.
 * @category Errors
 */
export type ErrorData =
  | InvalidParamsData
  | ConflictData
  | NotFoundData
  | ForbiddenData
  | ResourceExhaustedData
  | UnsupportedData
  | CallbackEndpointErrorData;

/**
 * `-32602`: invalid in every state. `path` is a JSON Pointer into `params`. The invalid value is never repeated.
 * @category Errors
 */
export interface InvalidParamsData {
  kind: 'invalid';
  path: string;
  expected: string;
}

/**
 * `-32602`: valid, but in conflict with the current state. Contains the current value.
 * @category Errors
 */
export type ConflictData =
  ETagConflictData | KeyConflictData | EpochConflictData | PositionConflictData;

/**
 * `ifMatch` is not the current ETag.
 * @category Errors
 */
export interface ETagConflictData {
  kind: 'etag';
  etag: ETag;
}
/**
 * The same `key` exists with another `select` or callback.
 * @category Errors
 */
export interface KeyConflictData {
  kind: 'key';
  subscriptionId: SubscriptionId;
  etag: ETag;
}
/**
 * The position is of another epoch.
 * @category Errors
 */
export interface EpochConflictData {
  kind: 'epoch';
  epoch: Epoch;
  head: SequenceOrZero;
  acked: SequenceOrZero;
}
/**
 * The position is beyond `head`, or the acknowledgement is beyond what was sent.
 * @category Errors
 */
export interface PositionConflictData {
  kind: 'position';
  epoch: Epoch;
  head: SequenceOrZero;
  acked: SequenceOrZero;
  sent?: SequenceOrZero;
}

/**
 * `-32023`: not found. A subscription of another owner gives the same answer as an unknown one.
 * @category Errors
 */
export interface NotFoundData {
  kind: 'subscription' | 'trigger';
  /** Why the subscription ended. Only for its owner, while the server remembers it. */
  reason?: TerminationReason;
  /** The last position of the log. */
  final?: FinalPosition;
}

/**
 * The last state of a log that has ended.
 * @category Errors
 */
export interface FinalPosition {
  epoch: Epoch;
  head: SequenceOrZero;
  acked: SequenceOrZero;
}

/**
 * `-32024`: the request has no verified access token, or its owner no permission for what it asks.
 * @category Errors
 */
export interface ForbiddenData {
  kind: 'authentication' | 'permission';
}
/**
 * `-32025`: a quota or a rate limit is used up.
 * @category Errors
 */
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
/**
 * `-32026`: the server or the trigger type does not offer a feature.
 * @category Errors
 */
export interface UnsupportedData {
  kind: 'feature';
  feature: string;
}
/**
 * `-32027`: the callback endpoint could not be reached or did not prove its consent.
 * @category Errors
 */
export interface CallbackEndpointErrorData {
  kind: 'callback';
  category: FailureCategory;
}
