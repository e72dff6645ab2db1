/**
 * One handler for each kind of write. They run inside the transaction of a commit, in the order given; what a commit does to
 * the marks and the counts is gathered in a `Ledger`.
 */
import type { Checkpoint, Write } from '../../store/port.ts';
import {
  checksum,
  configurationValues,
  eventChecksum,
  identityValues,
  progressValues,
} from './codec.ts';
import { noSuchRow } from './errors.ts';
import type { StoreMeta } from './store-meta.ts';
import type { Queries } from './queries.ts';
import type { Cipher } from './cipher.ts';

/** Events looked at, and tombstones and verifications deleted, by one `forget`: about 10 ms of work. */
export const SWEEP = 1000;
/** A verification serves for a day (SEP: Verification); the engine judges that, the store only must not pile them up. */
const VERIFICATION_KEPT_MS = 2 * 24 * 3600 * 1000;

export interface Counts {
  subscriptions: number;
  events: number;
  entries: number;
}

/** Marks and counts while a commit goes on; thrown away when it is refused. */
export class CommitTotals {
  readonly counts: Counts;
  lastOffset: number;
  nextRow: number;
  checkpoint: Checkpoint;
  /** Where the sweep of unreferenced events goes on. */
  sweptTo: number;
  redacted = false;

  constructor({ lastOffset, nextRow, checkpoint }: StoreMeta, counts: Counts, sweptTo: number) {
    this.counts = { ...counts };
    this.lastOffset = lastOffset;
    this.nextRow = nextRow;
    this.checkpoint = checkpoint;
    this.sweptTo = sweptTo;
  }
}

export interface Tools {
  readonly queries: Queries;
  readonly cipher: Cipher | null;
  readonly ledger: CommitTotals;
}

type Handlers = {
  readonly [Type in Write['type']]: (write: Extract<Write, { type: Type }>, tools: Tools) => void;
};

const HANDLERS: Handlers = {
  event({ event }, { queries, ledger }) {
    const { offset, name, eventId, acceptedAt, encoded } = event;
    queries.event.run(
      offset,
      name,
      eventId,
      acceptedAt,
      eventChecksum(offset, acceptedAt, 0, encoded),
      encoded,
    );
    ledger.lastOffset = Math.max(ledger.lastOffset, offset);
    ledger.counts.events += 1;
  },

  checkpoint({ checkpoint }, { ledger }) {
    ledger.checkpoint = checkpoint;
  },

  create({ row, createdOffset, state, dueAt }, { queries, cipher, ledger }) {
    const values = [...identityValues(createdOffset, state), ...configurationValues(state, cipher)];
    queries.create.run(row, ...values, checksum(row, values));
    const progress = progressValues(state, dueAt);
    queries.createProgress.run(row, ...progress, checksum(row, progress));
    ledger.nextRow = Math.max(ledger.nextRow, row + 1);
    ledger.counts.subscriptions += 1;
  },

  progress({ row, state, dueAt }, { queries }) {
    const values = progressValues(state, dueAt);
    const { changes } = queries.progress.run(...values, checksum(row, values), state.epoch, row);
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
      checksum(row, [...identityValues(stored[0], state), ...values]),
      row,
    );
    HANDLERS.progress({ ...write, type: 'progress' }, tools);
  },

  entry({ row, entry }, { queries, ledger }) {
    queries.entry.run(row, entry.sequence, entry.offset, entry.gap);
    ledger.counts.entries += 1;
  },

  gap({ row, from, to, reason }, { queries, ledger }) {
    if (from > to) return;
    const before = entriesBetween(queries, row, from, to);
    queries.gap.run(from, to, row, reason);
    ledger.counts.entries += to - from + 1 - before;
  },

  trim({ row, upTo }, { queries, ledger }) {
    ledger.counts.entries -= Number(queries.trim.run(row, upTo).changes);
  },

  renumber({ row, by }, { queries, ledger }) {
    if (by === 0) return;
    // What is numbered up to `by` has no number afterwards.
    ledger.counts.entries -= Number(queries.trim.run(row, by).changes);
    queries.renumberAway.run(by, row);
    queries.renumberBack.run(row);
  },

  end({ row, tombstone }, { queries, ledger }) {
    const { subscriptionId, principal, reason, epoch, head, acked, forgetAt } = tombstone;
    queries.endProgress.run(row);
    if (queries.endSubscription.run(row).changes === 0) throw noSuchRow(row);
    ledger.counts.entries -= Number(queries.trim.run(row, Number.MAX_SAFE_INTEGER).changes);
    ledger.counts.subscriptions -= 1;
    queries.leaveTombstone.run(subscriptionId, principal, reason, epoch, head, acked, forgetAt);
  },

  redact({ offset }, { queries, ledger }) {
    const stored = queries.eventAcceptedAt.get(offset) as unknown as [number] | undefined;
    // Forgotten already: there is no data left to forget.
    if (stored === undefined) return;
    queries.eraseFully();
    queries.redact.run(eventChecksum(offset, stored[0], 1, null), offset);
    ledger.redacted = true;
  },

  verification({ principal, urlHash, verifiedAt }, { queries }) {
    queries.verified.run(principal, urlHash, verifiedAt);
  },

  /**
   * Offsets are in the order of acceptance, so the sweep walks them upwards, a window in each commit, and begins again at
   * the first event that is young enough. An event that is not numbered everywhere yet is still needed.
   */
  forget({ acceptedBefore, now }, { queries, ledger }) {
    const { sweptTo } = ledger;
    const window = queries.sweepWindow.all(sweptTo, ledger.checkpoint.offset, SWEEP) as unknown as [
      number,
      number,
    ][];
    const young = window.findIndex(([, acceptedAt]) => acceptedAt >= acceptedBefore);
    const last = (young === -1 ? window.at(-1) : window[young - 1])?.[0];
    if (last !== undefined)
      ledger.counts.events -= Number(queries.sweep.run(sweptTo, last).changes);
    ledger.sweptTo = young === -1 && window.length === SWEEP ? last! : 0;
    queries.sweepTombstones.run(now, SWEEP);
    queries.sweepVerifications.run(now - VERIFICATION_KEPT_MS, SWEEP);
  },
};

export function apply(write: Write, tools: Tools): void {
  (HANDLERS[write.type] as (write: Write, tools: Tools) => void)(write, tools);
}

const entriesBetween = (queries: Queries, row: number, from: number, to: number): number =>
  (queries.countEntries.get(row, from, to) as unknown as [number])[0];
