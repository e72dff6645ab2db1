/**
 * Limits and defaults of the protocol (SEP: Limits). A value marked fixed is part of the protocol;
 * the others are defaults of options. `core/policy.ts` has the limits of the step function.
 */

const KIB = 1024;
const MIB = 1024 * KIB;
const SECOND_MS = 1000;
const MINUTE_MS = 60 * SECOND_MS;
const HOUR_MS = 60 * MINUTE_MS;
const DAY_MS = 24 * HOUR_MS;

/* lifetime */
export const TTL_MIN_MS = MINUTE_MS;
export const TTL_DEFAULT_MS = HOUR_MS;
export const TTL_MAX_MS = 30 * DAY_MS;
/** Longest lifetime that a client can ask for: ten years (SEP: Limits). */
export const LIFETIME_MAX_MS = 315_576_000_000;
/** Lifetime of a tombstone, the record of an ended subscription. */
export const TOMBSTONE_MS = DAY_MS;
/** Most tombstones of one principal. */
export const TOMBSTONES_MAX = 1000;

/* retention, per trigger type */
export const RETENTION_AGE_MS = 7 * DAY_MS;
export const RETENTION_EVENTS = 10_000;

/* callback delivery */
/** Fixed: the largest body of a callback POST. */
export const CALLBACK_BODY_BYTES_MAX = 256 * KIB;
/**
 * Fixed: the largest event in a delivery. A larger one becomes a `too_large` gap, or is delivered
 * by reference. Leaves 16 KiB for the rest of a delivery.
 */
export const EVENT_BYTES_MAX = 240 * KIB;
/**
 * The largest data that a server stores. Its JSON text is a string in the result of
 * `resources/read`, where each of its bytes takes at most two; MCP clients read messages of 10 MiB.
 */
export const STORED_EVENT_BYTES = 4 * MIB;
/** Fixed: how much of an endpoint's answer is read. */
export const CALLBACK_ANSWER_BYTES_MAX = 8 * KIB;
export const CALLBACK_DEADLINE_MS = 10 * SECOND_MS;
export const SECRET_ROTATION_GRACE_MS = 5 * MINUTE_MS;

/* signatures: fixed */
export const SIGNATURE_TOLERANCE_MS = 300 * SECOND_MS;
export const SIGNATURES_MAX = 10;
export const SIGNATURE_HEADER_BYTES_MAX = 4 * KIB;
export const SECRET_BYTES_MIN = 24;
export const SECRET_BYTES_MAX = 64;
export const SECRET_BYTES_DEFAULT = 32;
export const CALLBACK_URL_CHARS_MAX = 2048;
/** The largest key set of a server that a receiver reads, and the time that it gives the fetch. */
export const JWKS_BYTES_MAX = 64 * KIB;
export const JWKS_DEADLINE_MS = 10 * SECOND_MS;

/* pull */
export const PULL_EVENTS_DEFAULT = 100;
export const PULL_EVENTS_MAX = 1000;
export const PULL_BYTES_MAX = MIB;
export const PULL_WAIT_MAX_MS = 25 * SECOND_MS;
export const PULL_NEXT_MS = 5 * SECOND_MS;

/* stream */
export const STREAM_EVENTS_DEFAULT = 100;
export const STREAM_EVENTS_MAX = 1000;
export const STREAM_BYTES_DEFAULT = MIB;
export const STREAM_BYTES_MAX = 4 * MIB;
export const STREAM_HEARTBEAT_MS = 15 * SECOND_MS;
/** The server ends a stream whose window stays full this long without an acknowledgement. */
export const STREAM_STALLED_MS = MINUTE_MS;

/* shape of JSON from a peer: fixed */
export const JSON_DEPTH_MAX = 64;
export const USER_SCHEMA_BYTES_MAX = 64 * KIB;
export const SELECT_MAX = 64;
