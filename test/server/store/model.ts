/**
 * A store in plain arrays and maps: the port in its simplest form. The SQLite store is compared
 * with it, and the contract runs on it as a second subject, so that the contract requires nothing
 * that only SQLite does.
 */
import { eventBytes } from '../../../src/protocol/wire/envelope.ts';
import type {
  AcceptedEvent,
  Checkpoint,
  LogEntry,
  Notice,
  Opened,
  ReadEntry,
  Store,
  StoredSubscription,
  Tombstone,
  Write,
} from '../../../src/server/store/port.ts';
import { TOMBSTONES_MAX } from '../../../src/protocol/wire/limits.ts';
import { LocalError } from '../../../src/protocol/wire/errors.ts';

const VERIFICATION_KEPT_MS = 2 * 86_400_000;

interface Data {
  generation: number;
  lastOffset: number;
  nextRow: number;
  checkpoint: Checkpoint;
  subscriptions: Map<number, StoredSubscription & { dueAt: number | null }>;
  events: Map<number, AcceptedEvent & { redacted: boolean; text: string | null }>;
  logs: Map<number, LogEntry[]>;
  tombstones: Map<string, Tombstone>;
  notices: Map<string, Notice>;
  verifications: Map<string, number>;
}

/** The state that outlives a `modelStore`. */
export const emptyData = (): { data: Data } => ({
  data: {
    generation: 0,
    lastOffset: 0,
    nextRow: 1,
    checkpoint: { offset: 0, row: 0 },
    subscriptions: new Map(),
    events: new Map(),
    logs: new Map(),
    tombstones: new Map(),
    notices: new Map(),
    verifications: new Map(),
  },
});

const refuse = (why: string): never => {
  throw new LocalError('store_failed', why);
};

export function modelStore(disk: { data: Data }): Store {
  let open = false;
  const data = (): Data =>
    open
      ? disk.data
      : (() => {
          throw new LocalError('closed', 'closed');
        })();
  const rows = () => [...data().subscriptions.values()].sort((a, b) => a.row - b.row);
  const events = () =>
    [...data().events.values()]
      .sort((a, b) => a.offset - b.offset)
      .map(({ redacted: _, text: __, ...event }) => event);
  const log = (row: number): LogEntry[] =>
    (data().logs.get(row) ?? []).toSorted((a, b) => a.sequence - b.sequence);
  const joined = (row: number): ReadEntry[] =>
    log(row).map(({ sequence, offset, gap: marked }) => {
      const event = data().events.get(offset);
      const gap = event?.redacted === true ? 'redacted' : marked;
      return {
        sequence,
        offset,
        gap,
        encoded: gap === null ? (event?.encoded ?? null) : null,
        ...(gap === null && event?.dataBytes !== undefined ? { dataBytes: event.dataBytes } : {}),
        acceptedAt: event?.acceptedAt ?? 0,
      };
    });
  const due = () =>
    rows()
      .filter((one) => one.dueAt !== null)
      .sort((a, b) => a.dueAt! - b.dueAt! || a.row - b.row);

  const notices = () =>
    [...data().notices.values()].sort(
      (a, b) => a.dueAt - b.dueAt || (a.state.subscriptionId < b.state.subscriptionId ? -1 : 1),
    );

  return {
    durability: 'durable',
    async open(): Promise<Opened> {
      const fresh = disk.data.generation === 0;
      open = true;
      const { generation, lastOffset, nextRow, checkpoint } = Object.assign(disk.data, {
        generation: disk.data.generation + 1,
      });
      return {
        continuity: fresh ? 'new' : 'continued',
        generation,
        lastOffset,
        nextRow,
        checkpoint,
      };
    },
    async commit(writes) {
      const next = structuredClone(data());
      for (const write of writes) apply(next, write);
      disk.data = next;
    },
    async close() {
      open = false;
    },
    index: () =>
      rows().map(({ row, state, createdOffset }) => ({
        row,
        principal: state.principal,
        select: state.select,
        createdOffset,
      })),
    load: async (wanted) =>
      wanted
        .flatMap((row) => data().subscriptions.get(row) ?? [])
        .map(({ dueAt: _, ...one }) => structuredClone(one)),
    rowOf: async (id) => rows().find(({ state }) => state.subscriptionId === id)?.row ?? null,
    rowOfKey: async (principal, key) =>
      rows().find(({ state }) => state.principal === principal && state.key === key)?.row ?? null,
    rowsOf: async (principal, after, limit) =>
      rows()
        .filter(({ row, state }) => state.principal === principal && row > after)
        .slice(0, limit)
        .map(({ row }) => row),
    countOf: async (principal) =>
      rows().filter(({ state }) => state.principal === principal).length,
    due: async (now, limit) =>
      due()
        .filter((one) => one.dueAt! <= now)
        .slice(0, limit)
        .map(({ row }) => row),
    nextDueAt: async () => due()[0]?.dueAt ?? null,
    backlog: async (after, limit) =>
      rows()
        .filter(
          ({ row, state }) =>
            row > after &&
            state.callback !== null &&
            (state.attempt !== null || state.acked < state.head),
        )
        .slice(0, limit)
        .map(({ row }) => row),
    async read(row, after, maxEvents, maxBytes) {
      const entries = joined(row)
        .filter(({ sequence }) => sequence > after)
        .slice(0, maxEvents);
      let bytes = 0;
      const end = entries.findIndex(
        ({ encoded }, at) => (bytes += Buffer.byteLength(encoded ?? '')) > maxBytes && at > 0,
      );
      return end === -1 ? entries : entries.slice(0, end);
    },
    async agedOut(row, before) {
      const young = joined(row).find(
        ({ offset, acceptedAt }) => data().events.has(offset) && acceptedAt >= before,
      );
      const old = log(row).filter(
        ({ sequence }) => young === undefined || sequence < young.sequence,
      );
      return { upTo: old.at(-1)?.sequence ?? 0, oldestAt: young?.acceptedAt ?? null };
    },
    async oversize(row, maxBytes) {
      let bytes = 0;
      for (const { sequence, encoded, dataBytes = 0 } of joined(row).toReversed()) {
        const size = encoded === null ? 0 : eventBytes(encoded) + dataBytes;
        if (bytes + size > maxBytes)
          return { upTo: sequence, bytes, last: log(row).at(-1)!.sequence };
        bytes += size;
      }
      return { upTo: 0, bytes, last: log(row).at(-1)?.sequence ?? 0 };
    },
    bytesOf: async (principal) =>
      rows().reduce(
        (sum, { state }) => sum + (state.principal === principal ? (state.bytes ?? 0) : 0),
        0,
      ),
    data: async (offset) => data().events.get(offset)?.text ?? null,
    async acceptedAt(row, sequence) {
      const entry = log(row).find((one) => one.sequence === sequence);
      return (entry && data().events.get(entry.offset)?.acceptedAt) ?? null;
    },
    accepted: async (offset, limit) =>
      events()
        .filter((event) => event.offset > offset)
        .slice(0, limit),
    history: async (names, since, after, limit) =>
      events()
        .filter(
          (event) =>
            names.includes(event.name) && event.acceptedAt >= since && event.offset > after,
        )
        .slice(0, limit),
    known: async (ids) =>
      ids.map((id) => events().find((event) => isSame(event, id))?.offset ?? null),
    tombstone: async (id) => data().tombstones.get(id) ?? null,
    dueNotices: async (now, limit, except) =>
      notices()
        .filter(({ dueAt, state }) => dueAt <= now && !except.includes(state.principal))
        .slice(0, limit),
    nextNoticeAt: async (now) => notices().find(({ dueAt }) => dueAt > now)?.dueAt ?? null,
    verification: async (principal, urlHash) =>
      data().verifications.get(JSON.stringify([principal, urlHash])) ?? null,
    async stats() {
      const {
        subscriptions,
        events: { size },
        logs,
      } = data();
      return {
        subscriptions: subscriptions.size,
        events: size,
        entries: [...logs.values()].flat().length,
        bytes: 0,
        quotaBytes: null,
      };
    },
  };
}

function apply(data: Data, write: Write): void {
  const entries = (row: number): LogEntry[] =>
    data.logs.get(row) ?? data.logs.set(row, []).get(row)!;
  switch (write.type) {
    case 'event': {
      const { event, data: text = null } = write;
      const taken = [...data.events.values()].some(
        (one) => one.offset === event.offset || isSame(one, event),
      );
      if (taken) refuse('this event is there');
      data.events.set(event.offset, { ...event, redacted: false, text });
      data.lastOffset = Math.max(data.lastOffset, event.offset);
      break;
    }
    case 'checkpoint':
      data.checkpoint = write.checkpoint;
      break;
    case 'create': {
      const { row, state, createdOffset, dueAt } = write;
      const taken = [...data.subscriptions.values()].some(
        (one) =>
          one.row === row ||
          one.state.subscriptionId === state.subscriptionId ||
          (one.state.principal === state.principal && one.state.key === state.key),
      );
      if (taken) refuse('this subscription is there');
      data.subscriptions.set(row, { row, state, createdOffset, dueAt });
      data.nextRow = Math.max(data.nextRow, row + 1);
      break;
    }
    case 'progress':
    case 'configure': {
      const before = data.subscriptions.get(write.row) ?? refuse('no such row');
      const { select, callback, ttlMs, paused, version, retention } = before.state;
      const kept =
        write.type === 'progress' ? { select, callback, ttlMs, paused, version, retention } : {};
      data.subscriptions.set(write.row, {
        ...before,
        state: { ...write.state, ...kept },
        dueAt: write.dueAt,
      });
      break;
    }
    case 'entry':
      if (entries(write.row).some(({ sequence }) => sequence === write.entry.sequence))
        refuse('this number is taken');
      entries(write.row).push(write.entry);
      break;
    case 'gap': {
      const { row, from, to, reason } = write;
      const old = new Map(entries(row).map((entry) => [entry.sequence, entry]));
      for (let sequence = from; sequence <= to; sequence += 1)
        old.set(sequence, { sequence, offset: old.get(sequence)?.offset ?? 0, gap: reason });
      data.logs.set(row, [...old.values()]);
      break;
    }
    case 'trim':
      data.logs.set(
        write.row,
        entries(write.row).filter(({ sequence }) => sequence > write.upTo),
      );
      break;
    case 'renumber':
      data.logs.set(
        write.row,
        entries(write.row)
          .filter(({ sequence }) => sequence > write.by || write.by === 0)
          .map((entry) => ({ ...entry, sequence: entry.sequence - write.by })),
      );
      break;
    case 'end':
      if (!data.subscriptions.delete(write.row)) refuse('no such row');
      data.logs.delete(write.row);
      data.tombstones.set(write.tombstone.subscriptionId, write.tombstone);
      if (write.notice !== undefined)
        data.notices.set(write.notice.state.subscriptionId, write.notice);
      for (const { subscriptionId } of [...data.tombstones.values()]
        .filter(({ principal }) => principal === write.tombstone.principal)
        .sort((a, b) => b.forgetAt - a.forgetAt || (a.subscriptionId < b.subscriptionId ? 1 : -1))
        .slice(TOMBSTONES_MAX)) {
        data.tombstones.delete(subscriptionId);
        data.notices.delete(subscriptionId);
      }
      break;
    case 'postpone': {
      const { subscriptionId, attempts, dueAt } = write;
      const notice = data.notices.get(subscriptionId);
      if (notice !== undefined) data.notices.set(subscriptionId, { ...notice, attempts, dueAt });
      break;
    }
    case 'noticed':
      data.notices.delete(write.subscriptionId);
      break;
    case 'redact': {
      const event = data.events.get(write.offset);
      if (event !== undefined) {
        const { dataBytes: _, ...rest } = event;
        data.events.set(write.offset, { ...rest, encoded: null, redacted: true, text: null });
      }
      break;
    }
    case 'verification':
      data.verifications.set(JSON.stringify([write.principal, write.urlHash]), write.verifiedAt);
      break;
    case 'forget': {
      const held = new Set([...data.logs.values()].flat().map(({ offset }) => offset));
      for (const { offset, acceptedAt } of [...data.events.values()]) {
        if (
          acceptedAt < write.acceptedBefore &&
          offset <= data.checkpoint.offset &&
          !held.has(offset)
        )
          data.events.delete(offset);
      }
      for (const { subscriptionId, forgetAt } of [...data.tombstones.values()])
        if (forgetAt <= write.now) data.tombstones.delete(subscriptionId);
      for (const { state, forgetAt } of [...data.notices.values()])
        if (forgetAt <= write.now) data.notices.delete(state.subscriptionId);
      for (const [name, verifiedAt] of [...data.verifications])
        if (verifiedAt <= write.now - VERIFICATION_KEPT_MS) data.verifications.delete(name);
      break;
    }
  }
}

const isSame = (a: AcceptedEvent, b: Pick<AcceptedEvent, 'scope' | 'name' | 'eventId'>): boolean =>
  a.scope === b.scope && a.name === b.name && a.eventId === b.eventId;
