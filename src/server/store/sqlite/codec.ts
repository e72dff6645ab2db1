/**
 * Converts subscriptions to rows and back. Lists name the columns in the order in which values are
 * bound. A checksum covers these values, so that a flipped bit in a counter is an error, not a
 * wrong position.
 */
import type { SQLInputValue, SQLOutputValue } from 'node:sqlite';
import { crc32 } from 'node:zlib';
import type {
  Attempt,
  Callback,
  CallbackLimits,
  FailureCategory,
  Selection,
  Subscription,
  TerminationReason,
} from '../../../protocol/core/types.ts';
import type { Notice, StoredSubscription } from '../../store/port.ts';
import { keyMissing, storeCorrupt } from './errors.ts';
import type { Cipher } from './cipher.ts';

/** A row as `node:sqlite` returns it. */
export type Row = Record<string, SQLOutputValue>;

/** Columns of `subscriptions` that never change, after `row`. */
export const IDENTITY_COLUMNS = [
  'subscription_id',
  'owner',
  'key',
  'created_at',
  'created_offset',
] as const;

/** Columns of `subscriptions` that `configure` changes. */
export const CONFIGURATION_COLUMNS = [
  'select_json',
  'callback_sealed',
  'callback_previous_until',
  'callback_verified_at',
  'callback_skip_after_ms',
  'ttl_ms',
  'paused',
  'version',
  'retention_max_age_ms',
  'retention_max_events',
  'retention_max_bytes',
  'data_ref',
] as const;

/** Columns of `progress`, after `row`. */
export const PROGRESS_COLUMNS = [
  'due_at',
  'expires_at',
  'epoch',
  'head',
  'acked',
  'sent',
  'floor',
  'oldest_at',
  'attempt_id',
  'attempt_after',
  'attempt_to',
  'attempt_events',
  'attempt_first',
  'attempt_lease_until',
  'attempts',
  'retry_at',
  'batch_limit',
  'health_attempts',
  'health_config_failures',
  'config_failing_since',
  'transient_since',
  'failing_since',
  'last_error',
  'last_delivery_at',
  'suspended_at',
  'probe_at',
  'terminated_reason',
  'terminated_at',
  'log_bytes',
  'ends_at',
] as const;

export const identityValues = (createdOffset: number, state: Subscription): SQLInputValue[] => [
  state.subscriptionId,
  state.principal,
  state.key,
  state.createdAt,
  createdOffset,
];

export function configurationValues(state: Subscription, cipher: Cipher | null): SQLInputValue[] {
  const { callback } = state;
  return [
    JSON.stringify(state.select),
    callback === null ? null : encryptCallback(state.subscriptionId, callback, cipher),
    callback?.previousUntil ?? null,
    callback?.verifiedAt ?? null,
    callback?.skipAfterMs ?? null,
    state.ttlMs,
    Number(state.paused),
    state.version,
    state.retention.maxAgeMs,
    state.retention.maxEvents,
    state.retention.maxBytes ?? null,
    state.dataRef === true ? 1 : null,
  ];
}

export function progressValues(state: Subscription, dueAt: number | null): SQLInputValue[] {
  const { attempt, health, terminated } = state;
  return [
    dueAt,
    state.expiresAt,
    state.epoch,
    state.head,
    state.acked,
    state.sent,
    state.floor,
    state.oldestAt,
    attempt === null ? null : attempt.id,
    attempt === null ? null : attempt.after,
    attempt === null ? null : attempt.to,
    attempt === null ? null : attempt.events,
    attempt === null ? null : attempt.first,
    attempt === null ? null : attempt.leaseUntil,
    state.attempts,
    state.retryAt,
    state.batchLimit,
    health.attempts,
    health.configFailures,
    health.configFailingSince,
    health.transientSince,
    health.failingSince,
    health.lastError,
    health.lastDeliveryAt,
    state.suspendedAt,
    state.probeAt,
    terminated === null ? null : terminated.reason,
    terminated === null ? null : terminated.at,
    state.bytes,
    state.endsAt,
  ];
}

/**
 * Number of columns at the end of each list that migrations added. A row from before them has a
 * checksum without them.
 */
const ADDED = { configuration: 2, progress: 2 } as const;

/**
 * CRC-32 of the row number and the values. Omits the content of encrypted values, which have an
 * authentication tag, and at the end values of added columns that are null.
 */
export function checksum(
  row: number,
  values: readonly SQLInputValue[],
  list: keyof typeof ADDED,
): number {
  let count = values.length;
  while (count > values.length - ADDED[list] && values[count - 1] === null) count -= 1;
  let text = `${row}`;
  for (const value of values.slice(0, count))
    text += typeof value === 'object' && value !== null ? '\n*' : `\n${value}`;
  return crc32(text);
}

/** The members of an accepted event that migrations added; audience as JSON. */
export interface EventExtras {
  readonly gap: string | null;
  readonly audience: string | null;
  readonly dataBytes?: number | null;
  readonly dataChecksum?: number | null;
}

/**
 * CRC-32 of an accepted event: its offset, time, redaction, extras and text. Extras count only if
 * the event has them, because older stores have checksums without them.
 */
export const eventChecksum = (
  offset: number,
  acceptedAt: number,
  redacted: number,
  encoded: string | null,
  { gap, audience, dataBytes = null, dataChecksum = null }: EventExtras = {
    gap: null,
    audience: null,
  },
): number => {
  const more = gap === null && audience === null ? '' : ` ${gap} ${audience}`;
  const apart = dataBytes === null ? '' : ` ${dataBytes} ${dataChecksum}`;
  const place = crc32(`${offset} ${acceptedAt} ${redacted}${more}${apart}`);
  return encoded === null ? place : crc32(encoded, place);
};

/**
 * Decodes a row of `subscriptions JOIN progress` with the columns `configuration_checksum` and
 * `progress_checksum`. Throws `LocalError`: `store_corrupt` for a wrong checksum, `key_unknown` for
 * a callback without a cipher.
 */
export function decode(row: Row, cipher: Cipher | null): StoredSubscription {
  const number = row['row'] as number;
  verify(row, number, [...IDENTITY_COLUMNS, ...CONFIGURATION_COLUMNS], 'configuration');
  verify(row, number, PROGRESS_COLUMNS, 'progress');
  const subscriptionId = row['subscription_id'] as string;
  const state: Subscription = {
    subscriptionId,
    principal: row['owner'] as string,
    key: row['key'] as string,
    createdAt: row['created_at'] as number,
    ...(row['data_ref'] === 1 ? { dataRef: true } : {}),
    select: decodeSelect(row['select_json']),
    callback: row['callback_sealed'] === null ? null : decryptCallback(subscriptionId, row, cipher),
    ttlMs: row['ttl_ms'] as number | null,
    paused: row['paused'] === 1,
    version: row['version'] as number,
    retention: {
      maxAgeMs: row['retention_max_age_ms'] as number,
      maxEvents: row['retention_max_events'] as number,
      ...(row['retention_max_bytes'] === null
        ? {}
        : { maxBytes: row['retention_max_bytes'] as number }),
    },
    expiresAt: row['expires_at'] as number | null,
    epoch: row['epoch'] as string,
    head: row['head'] as number,
    acked: row['acked'] as number,
    sent: row['sent'] as number,
    floor: row['floor'] as number,
    oldestAt: row['oldest_at'] as number | null,
    bytes: row['log_bytes'] as number | null,
    attempt: decodeAttempt(row),
    attempts: row['attempts'] as number,
    retryAt: row['retry_at'] as number | null,
    batchLimit: row['batch_limit'] as number | null,
    health: {
      attempts: row['health_attempts'] as number,
      configFailures: row['health_config_failures'] as number,
      configFailingSince: row['config_failing_since'] as number | null,
      transientSince: row['transient_since'] as number | null,
      failingSince: row['failing_since'] as number | null,
      lastError: row['last_error'] as FailureCategory | null,
      lastDeliveryAt: row['last_delivery_at'] as number | null,
    },
    suspendedAt: row['suspended_at'] as number | null,
    probeAt: row['probe_at'] as number | null,
    endsAt: row['ends_at'] as number | null,
    terminated:
      row['terminated_reason'] === null
        ? null
        : {
            reason: row['terminated_reason'] as TerminationReason,
            at: row['terminated_at'] as number,
          },
  };
  return { row: number, state, createdOffset: row['created_offset'] as number };
}

export function decodeSelect(json: SQLOutputValue | undefined): readonly Selection[] {
  try {
    return JSON.parse(json as string) as Selection[];
  } catch {
    throw storeCorrupt('a selection is not JSON');
  }
}

function decodeAttempt(row: Row): Attempt | null {
  if (row['attempt_id'] === null) return null;
  return {
    id: row['attempt_id'] as number,
    after: row['attempt_after'] as number,
    to: row['attempt_to'] as number,
    events: row['attempt_events'] as number,
    first: row['attempt_first'] as number | null,
    leaseUntil: row['attempt_lease_until'] as number,
  };
}

function verify(
  row: Row,
  number: number,
  columns: readonly string[],
  list: 'configuration' | 'progress',
): void {
  const values = columns.map((column) => row[column] as SQLInputValue);
  if (checksum(number, values, list) !== row[`${list}_checksum`])
    throw storeCorrupt(`subscription row ${number} fails its checksum`);
}

// URL, secrets, dialect and limits are encrypted as one value, so that loading a subscription takes
// one decryption. A native callback has no dialect; the last two can be absent.

const place = (subscriptionId: string): string => `subscriptions/callback_sealed/${subscriptionId}`;

function encryptCallback(
  subscriptionId: string,
  { url, secret, previousSecret, dialect, limits }: Callback,
  cipher: Cipher | null,
): Uint8Array {
  if (cipher === null) throw keyMissing();
  return cipher.encrypt(
    place(subscriptionId),
    JSON.stringify([
      url,
      secret,
      previousSecret,
      ...(limits !== undefined
        ? [dialect ?? null, limits]
        : dialect === undefined
          ? []
          : [dialect]),
    ]),
  );
}

function decryptCallback(subscriptionId: string, row: Row, cipher: Cipher | null): Callback {
  if (cipher === null) throw keyMissing();
  const [url, secret, previousSecret, dialect, limits] = JSON.parse(
    cipher.decrypt(place(subscriptionId), row['callback_sealed'] as Uint8Array),
  ) as [string, string, string | null, (string | null)?, CallbackLimits?];
  const skipAfterMs = row['callback_skip_after_ms'] as number | null;
  return {
    url,
    secret,
    previousSecret,
    previousUntil: row['callback_previous_until'] as number | null,
    verifiedAt: row['callback_verified_at'] as number,
    ...(skipAfterMs === null ? {} : { skipAfterMs }),
    ...(typeof dialect === 'string' ? { dialect } : {}),
    ...(limits === undefined ? {} : { limits }),
  };
}

/**
 * Encrypts the message of a notice as one value. Its times and counters are columns, because they
 * change.
 */
export function encryptNotice(
  { state, callback, reason }: Notice,
  cipher: Cipher | null,
): Uint8Array {
  if (cipher === null) throw keyMissing();
  return cipher.encrypt(
    noticePlace(state.subscriptionId),
    JSON.stringify({ state, callback, reason }),
  );
}

/** CRC-32 of a notice without its encrypted message, which has an authentication tag. */
export const noticeChecksum = (
  subscriptionId: string,
  owner: string,
  attempts: number,
  dueAt: number,
  forgetAt: number,
): number => crc32([subscriptionId, owner, attempts, dueAt, forgetAt].join('\n'));

/** A row of `notices`, in the order of its columns. */
export type NoticeRow = [
  subscriptionId: string,
  owner: string,
  sealed: Uint8Array,
  attempts: number,
  dueAt: number,
  forgetAt: number,
  checksum: number,
];

/** Decodes a row of `notices`. Throws `LocalError` as {@link decode} does. */
export function decodeNotice(
  [subscriptionId, owner, sealed, attempts, dueAt, forgetAt, stored]: NoticeRow,
  cipher: Cipher | null,
): Notice {
  if (noticeChecksum(subscriptionId, owner, attempts, dueAt, forgetAt) !== stored)
    throw storeCorrupt(`the notice of subscription ${subscriptionId} fails its checksum`);
  if (cipher === null) throw keyMissing();
  const message = JSON.parse(cipher.decrypt(noticePlace(subscriptionId), sealed)) as Pick<
    Notice,
    'state' | 'callback' | 'reason'
  >;
  return { ...message, attempts, dueAt, forgetAt };
}

const noticePlace = (subscriptionId: string): string => `notices/message_sealed/${subscriptionId}`;
