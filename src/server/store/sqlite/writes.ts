/**
 * Applies the writes of a commit: one handler per type. Handlers run within the transaction, in
 * order, and collect the changes of the `meta` row and of the counts in `CommitTotals`.
 */
import { crc32 } from 'node:zlib';
import type { Checkpoint, Write } from '../../store/port.ts';
import { TOMBSTONES_MAX } from '../../../protocol/wire/limits.ts';
import {
  checksum,
  configurationValues,
  encryptNotice,
  eventChecksum,
  identityValues,
  noticeChecksum,
  progressValues,
} from './codec.ts';
import { noSuchRow } from './errors.ts';
import type { StoreMeta } from './store-meta.ts';
import type { Queries } from './queries.ts';
import type { Cipher } from './cipher.ts';

/** Most events examined, and tombstones, notices and verifications deleted, by one `forget`: about 10 ms. */
const SWEEP = 1000;
/**
 * Time for which a verification is kept. The engine uses it for one day only (SEP: Verification);
 * the store deletes older ones to limit their number.
 */
const VERIFICATION_KEPT_MS = 2 * 24 * 3600 * 1000;

/** The numbers of rows in the tables. */
export interface Counts {
  subscriptions: number;
  events: number;
  entries: number;
}

/** The values of the `meta` row and the counts during a commit; discarded if the commit fails. */
export class CommitTotals {
  readonly counts: Counts;
  lastOffset: number;
  nextRow: number;
  checkpoint: Checkpoint;
  /** The offset after which the next `forget` continues; 0 = at the oldest event. */
  sweptTo: number;
  /** Whether the commit redacts an event. */
  redacted = false;

  constructor({ lastOffset, nextRow, checkpoint }: StoreMeta, counts: Counts, sweptTo: number) {
    this.counts = { ...counts };
    this.lastOffset = lastOffset;
    this.nextRow = nextRow;
    this.checkpoint = checkpoint;
    this.sweptTo = sweptTo;
  }
}

/** The second argument of every handler. */
export interface Tools {
  readonly queries: Queries;
  readonly cipher: Cipher | null;
  readonly totals: CommitTotals;
}

type Handlers = {
  readonly [Type in Write['type']]: (write: Extract<Write, { type: Type }>, tools: Tools) => void;
};

const HANDLERS: Handlers = {
  event({ event, data = null }, { queries, totals }) {
    const { offset, scope, name, eventId, gap, acceptedAt, encoded } = event;
    const audience = event.audience === null ? null : JSON.stringify(event.audience);
    const dataBytes = event.dataBytes ?? null;
    const dataChecksum = data === null ? null : crc32(data);
    queries.event.run(
      offset,
      scope,
      name,
      eventId,
      gap,
      audience,
      acceptedAt,
      eventChecksum(offset, acceptedAt, 0, encoded, { gap, audience, dataBytes, dataChecksum }),
      encoded,
      dataBytes,
      dataChecksum,
      data,
    );
    totals.lastOffset = Math.max(totals.lastOffset, offset);
    totals.counts.events += 1;
  },

  checkpoint({ checkpoint }, { totals }) {
    totals.checkpoint = checkpoint;
  },

  create({ row, createdOffset, state, dueAt }, { queries, cipher, totals }) {
    const values = [...identityValues(createdOffset, state), ...configurationValues(state, cipher)];
    queries.create.run(row, ...values, checksum(row, values, 'configuration'));
    const progress = progressValues(state, dueAt);
    queries.createProgress.run(row, ...progress, checksum(row, progress, 'progress'));
    totals.nextRow = Math.max(totals.nextRow, row + 1);
    totals.counts.subscriptions += 1;
  },

  progress({ row, state, dueAt }, { queries }) {
    const values = progressValues(state, dueAt);
    const { changes } = queries.progress.run(
      ...values,
      checksum(row, values, 'progress'),
      state.epoch,
      row,
    );
    if (changes === 0) throw noSuchRow(row);
  },

  configure(write, tools) {
    const { row, state } = write;
    const { queries, cipher } = tools;
    const stored = queries.identity.get(row) as unknown as [number] | undefined;
    if (stored === undefined) throw noSuchRow(row);
    const values = configurationValues(state, cipher);
    queries.configure.run(
      ...values,
      checksum(row, [...identityValues(stored[0], state), ...values], 'configuration'),
      row,
    );
    HANDLERS.progress({ ...write, type: 'progress' }, tools);
  },

  entry({ row, entry }, { queries, totals }) {
    queries.entry.run(row, entry.sequence, entry.offset, entry.gap);
    totals.counts.entries += 1;
  },

  gap({ row, from, to, reason }, { queries, totals }) {
    if (from > to) return;
    const before = entriesBetween(queries, row, from, to);
    queries.gap.run(from, to, row, reason);
    totals.counts.entries += to - from + 1 - before;
  },

  trim({ row, upTo }, { queries, totals }) {
    totals.counts.entries -= Number(queries.trim.run(row, upTo).changes);
  },

  renumber({ row, by }, { queries, totals }) {
    if (by === 0) return;
    // Entries up to `by` would get numbers below 1.
    totals.counts.entries -= Number(queries.trim.run(row, by).changes);
    queries.renumberAway.run(by, row);
    queries.renumberBack.run(row);
  },

  end({ row, tombstone, notice }, { queries, cipher, totals }) {
    const { subscriptionId, principal, reason, epoch, head, acked, forgetAt } = tombstone;
    queries.deleteProgress.run(row);
    if (queries.deleteSubscription.run(row).changes === 0) throw noSuchRow(row);
    totals.counts.entries -= Number(queries.trim.run(row, Number.MAX_SAFE_INTEGER).changes);
    totals.counts.subscriptions -= 1;
    queries.insertTombstone.run(subscriptionId, principal, reason, epoch, head, acked, forgetAt);
    if (notice !== undefined) {
      const { attempts, dueAt } = notice;
      queries.insertNotice.run(
        subscriptionId,
        principal,
        encryptNotice(notice, cipher),
        attempts,
        dueAt,
        notice.forgetAt,
        noticeChecksum(subscriptionId, principal, attempts, dueAt, notice.forgetAt),
      );
    }
    for (const [surplus] of queries.surplusTombstones.all(principal, TOMBSTONES_MAX) as unknown as [
      string,
    ][]) {
      queries.deleteTombstone.run(surplus);
      queries.deleteNotice.run(surplus);
    }
  },

  postpone({ subscriptionId, attempts, dueAt }, { queries }) {
    const stored = queries.noticePlace.get(subscriptionId) as unknown as
      [string, number] | undefined;
    if (stored === undefined) return;
    const [owner, forgetAt] = stored;
    queries.postpone.run(
      attempts,
      dueAt,
      noticeChecksum(subscriptionId, owner, attempts, dueAt, forgetAt),
      subscriptionId,
    );
  },

  noticed({ subscriptionId }, { queries }) {
    queries.deleteNotice.run(subscriptionId);
  },

  redact({ offset }, { queries, totals }) {
    const stored = queries.eventPlace.get(offset) as unknown as
      [number, string | null, string | null] | undefined;
    // The event was deleted already.
    if (stored === undefined) return;
    queries.eraseFully();
    const [acceptedAt, gap, audience] = stored;
    queries.redact.run(eventChecksum(offset, acceptedAt, 1, null, { gap, audience }), offset);
    totals.redacted = true;
  },

  verification({ principal, urlHash, verifiedAt }, { queries }) {
    queries.verified.run(principal, urlHash, verifiedAt);
  },

  /**
   * Deletes old events that are in no log, from the next window of offsets. Offsets ascend in order
   * of acceptance, so the next call starts over at the oldest event once a window contains an event
   * that is too young. Keeps events after the checkpoint, which the sequencer still needs.
   */
  forget({ acceptedBefore, now }, { queries, totals }) {
    const { sweptTo } = totals;
    const window = queries.sweepWindow.all(sweptTo, totals.checkpoint.offset, SWEEP) as unknown as [
      number,
      number,
    ][];
    const young = window.findIndex(([, acceptedAt]) => acceptedAt >= acceptedBefore);
    const last = (young === -1 ? window.at(-1) : window[young - 1])?.[0];
    if (last !== undefined)
      totals.counts.events -= Number(queries.sweep.run(sweptTo, last).changes);
    totals.sweptTo = young === -1 && window.length === SWEEP ? last! : 0;
    queries.sweepTombstones.run(now, SWEEP);
    queries.sweepNotices.run(now, SWEEP);
    queries.sweepVerifications.run(now - VERIFICATION_KEPT_MS, SWEEP);
  },
};

/** Applies one write. Throws a `LocalError` or an error of SQLite. */
export function apply(write: Write, tools: Tools): void {
  (HANDLERS[write.type] as (write: Write, tools: Tools) => void)(write, tools);
}

const entriesBetween = (queries: Queries, row: number, from: number, to: number): number =>
  (queries.countEntries.get(row, from, to) as unknown as [number])[0];
