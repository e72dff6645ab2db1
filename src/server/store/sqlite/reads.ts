/**
 * The read methods of the store, on prepared statements. Bulk statements return each row as an
 * array, in the order of its columns.
 */
import type { SQLInputValue, StatementSync } from 'node:sqlite';
import { crc32 } from 'node:zlib';
import type { GapReason, TerminationReason } from '../../../protocol/core/types.ts';
import type {
  AcceptedEvent,
  EventGap,
  IndexRow,
  Notice,
  ReadEntry,
  StoredSubscription,
  Tombstone,
} from '../../store/port.ts';
import { ACCEPTED_AT_BYTES } from '../../../protocol/wire/envelope.ts';
import {
  decode,
  decodeNotice,
  decodeSelect,
  eventChecksum,
  type NoticeRow,
  type Row,
} from './codec.ts';
import { storeCorrupt } from './errors.ts';
import type { Queries } from './queries.ts';
import type { Cipher } from './cipher.ts';
import type { Counts } from './writes.ts';

/** Rows per page of `index`. */
const INDEX_PAGE = 1000;

/** Runs a statement with one column; returns the value of the first row, or null without a row. */
export function one<Value>(statement: StatementSync, ...values: SQLInputValue[]): Value | null {
  const found = statement.get(...values) as unknown as [Value | null] | undefined;
  return found === undefined ? null : found[0];
}

/** Runs a statement with one column; returns the values of all rows. */
export function column(statement: StatementSync, ...values: SQLInputValue[]): number[] {
  return (statement.all(...values) as unknown as [number][]).map(([value]) => value);
}

/** Counts the rows of the tables. */
export function count(queries: Queries): Counts {
  const [subscriptions, events, entries] = queries.count.get() as unknown as [
    number,
    number,
    number,
  ];
  return { subscriptions, events, entries };
}

/**
 * Reads all subscriptions for the match index. Reads in pages, so that no statement stays open
 * while the caller awaits.
 */
export function* index(queries: Queries): Generator<IndexRow> {
  for (let after = 0; ;) {
    const page = queries.index.all(after, INDEX_PAGE) as unknown as [
      number,
      string,
      number,
      string,
    ][];
    for (const [row, principal, createdOffset, select] of page)
      yield { row, principal, createdOffset, select: decodeSelect(select) };
    if (page.length < INDEX_PAGE) return;
    after = page.at(-1)![0];
  }
}

/** Loads subscriptions, in the order of `rows`; skips missing ones. */
export function load(
  queries: Queries,
  cipher: Cipher | null,
  rows: readonly number[],
): StoredSubscription[] {
  const found: StoredSubscription[] = [];
  for (const number of rows) {
    const row: Row | undefined = queries.load.get(number);
    if (row !== undefined) found.push(decode(row, cipher));
  }
  return found;
}

type ReadRow = [
  sequence: number,
  offset: number,
  gap: GapReason | null,
  eventGap: GapReason | null,
  audience: string | null,
  acceptedAt: number | null,
  redacted: number,
  checksum: number,
  encoded: string | null,
  dataBytes: number | null,
  dataChecksum: number | null,
];

/**
 * Reads the entries of a log after `after`. Throws `LocalError` `store_corrupt` for a missing entry
 * or a wrong checksum.
 */
export function read(
  queries: Queries,
  row: number,
  after: number,
  maxEvents: number,
  maxBytes: number,
): ReadEntry[] {
  const entries: ReadEntry[] = [];
  let bytes = 0;
  for (const found of queries.read.iterate(row, after, maxEvents)) {
    const [
      sequence,
      offset,
      marked,
      eventGap,
      audience,
      acceptedAt,
      redacted,
      checksum,
      text,
      dataBytes,
      dataChecksum,
    ] = found as unknown as ReadRow;
    const before = entries.at(-1);
    if (before !== undefined && before.sequence + 1 !== sequence)
      throw storeCorrupt(`the log of row ${row} has a hole after ${before.sequence}`);
    const gap = redacted === 1 ? 'redacted' : marked;
    const encoded = gap === null ? text : null;
    bytes += encoded === null ? 0 : Buffer.byteLength(encoded);
    if (entries.length > 0 && bytes > maxBytes) break;
    if (acceptedAt !== null)
      verify(checksum, offset, acceptedAt, redacted, text, {
        gap: eventGap,
        audience,
        dataBytes,
        dataChecksum,
      });
    entries.push({
      sequence,
      offset,
      gap,
      encoded,
      ...(encoded === null || dataBytes === null ? {} : { dataBytes }),
      acceptedAt: acceptedAt ?? 0,
    });
  }
  return entries;
}

/**
 * See `Store.agedOut`. A gap without an event has no age; it counts as old if the entry before it
 * does.
 */
export function agedOut(
  queries: Queries,
  row: number,
  acceptedBefore: number,
): { upTo: number; oldestAt: number | null } {
  const young = queries.firstYoung.get(row, acceptedBefore) as unknown as
    [number, number] | undefined;
  const [end, oldestAt] = young ?? [Number.MAX_SAFE_INTEGER, null];
  return { upTo: one<number>(queries.lastBefore, row, end) ?? 0, oldestAt };
}

/** See `Store.oversize`. */
export function oversize(
  queries: Queries,
  row: number,
  maxBytes: number,
): { upTo: number; bytes: number; last: number } {
  let [bytes, last] = [0, 0];
  for (const found of queries.newest.iterate(row)) {
    const [sequence, size] = found as unknown as [number, number | null];
    last ||= sequence;
    const more = size === null ? 0 : size + ACCEPTED_AT_BYTES;
    if (bytes + more > maxBytes) return { upTo: sequence, bytes, last };
    bytes += more;
  }
  return { upTo: 0, bytes, last };
}

type EventRow = [
  offset: number,
  scope: string | null,
  name: string,
  eventId: string,
  gap: EventGap | null,
  audience: string | null,
  acceptedAt: number,
  redacted: number,
  checksum: number,
  encoded: string | null,
  dataBytes: number | null,
  dataChecksum: number | null,
];

/**
 * Reads accepted events after `offset`. Throws `LocalError` `store_corrupt` for a wrong checksum.
 */
export function accepted(queries: Queries, offset: number, limit: number): AcceptedEvent[] {
  return (queries.accepted.all(offset, limit) as unknown as EventRow[]).map(toEvent);
}

/** Reads the first `limit` offsets of each name, which the index has in order, and merges them. */
export function history(
  queries: Queries,
  names: readonly string[],
  since: number,
  afterOffset: number,
  limit: number,
): AcceptedEvent[] {
  const offsets = [...new Set(names)].flatMap((name) =>
    column(queries.history, name, afterOffset, since, limit),
  );
  return offsets
    .sort((a, b) => a - b)
    .slice(0, limit)
    .map((offset) => toEvent(queries.acceptedOne.get(offset) as unknown as EventRow));
}

function toEvent([
  offset,
  scope,
  name,
  eventId,
  gap,
  audience,
  acceptedAt,
  redacted,
  checksum,
  encoded,
  dataBytes,
  dataChecksum,
]: EventRow): AcceptedEvent {
  verify(checksum, offset, acceptedAt, redacted, encoded, {
    gap,
    audience,
    dataBytes,
    dataChecksum,
  });
  return {
    offset,
    scope,
    name,
    eventId,
    gap,
    audience: audience === null ? null : (JSON.parse(audience) as string[]),
    acceptedAt,
    encoded,
    ...(dataBytes === null ? {} : { dataBytes }),
  };
}

/** See `Store.data`. Throws `LocalError` `store_corrupt` for a wrong checksum. */
export function data(queries: Queries, offset: number): string | null {
  const [text, expected] = (queries.data.get(offset) as unknown as
    [string | null, number | null] | undefined) ?? [null, null];
  if (text !== null && crc32(text) !== expected)
    throw storeCorrupt(`the data of the accepted event at offset ${offset} fail their checksum`);
  return text;
}

function verify(
  checksum: number,
  offset: number,
  ...rest: Parameters<typeof eventChecksum> extends [number, ...infer Rest] ? Rest : never
): void {
  if (eventChecksum(offset, ...rest) !== checksum)
    throw storeCorrupt(`the accepted event at offset ${offset} fails its checksum`);
}

/** The tombstone of a subscription; null if it does not exist. */
export function tombstone(queries: Queries, subscriptionId: string): Tombstone | null {
  const row = queries.tombstone.get(subscriptionId);
  if (row === undefined) return null;
  return {
    subscriptionId,
    principal: row['owner'] as string,
    reason: row['reason'] as TerminationReason,
    epoch: row['epoch'] as string,
    head: row['head'] as number,
    acked: row['acked'] as number,
    forgetAt: row['forget_at'] as number,
  };
}

/** See `Store.dueNotices`. */
export const dueNotices = (
  queries: Queries,
  cipher: Cipher | null,
  now: number,
  limit: number,
  except: readonly string[],
): Notice[] =>
  (queries.dueNotices.all(now, JSON.stringify(except), limit) as unknown as NoticeRow[]).map(
    (row) => decodeNotice(row, cipher),
  );
