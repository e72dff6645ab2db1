/**
 * Measures the overhead of the store over SQLite. Each figure is measured beside its limit: the
 * same rows, written by a loop over prepared statements with the same settings. The two alternate
 * commit by commit, so that other load on the machine affects both. The figure is the median of the
 * rounds.
 */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import type { Store, Write } from '../src/server/store/port.ts';
import { sqliteStore } from '../src/server/store/sqlite/index.ts';
import {
  callback,
  checkpoint,
  create,
  entry,
  plain,
} from '../src/testing/store-contract/samples.ts';

export interface Result {
  readonly name: string;
  readonly value: number;
  readonly unit: string;
  /** The same work without the store, in the same unit. */
  readonly limit?: number;
}

const ROUNDS = 5;
const ENCODED = JSON.stringify({
  eventId: 'x'.repeat(22),
  name: 'issue.opened',
  timestamp: '2026-01-01T00:00:00.000Z',
  data: { text: 'x'.repeat(900) },
});
const SUBSCRIPTIONS = 256;

/**
 * One kind of work: a number of commits, each of a number of rows, by the store and by a bare loop.
 */
interface Work {
  readonly name: string;
  readonly unit: string;
  readonly commits: number;
  readonly rows: number;
  /** Runs before the measurement. */
  readonly before?: (store: Store, bare: DatabaseSync) => Promise<void>;
  writes(commit: number): readonly Write[];
  bare(database: DatabaseSync): (commit: number) => void;
}

const EVENTS_TABLE =
  'CREATE TABLE events (offset INTEGER PRIMARY KEY, name TEXT, event_id TEXT, accepted_at INTEGER, encoded TEXT, UNIQUE (name, event_id))';
const ENTRIES_TABLE =
  'CREATE TABLE entries (row INTEGER, sequence INTEGER, offset INTEGER, PRIMARY KEY (row, sequence)) WITHOUT ROWID';
const PROGRESS_TABLE =
  'CREATE TABLE progress (row INTEGER PRIMARY KEY, head INTEGER, acked INTEGER, sent INTEGER, due_at INTEGER)';

const eventAt = (offset: number): Write => ({
  type: 'event',
  event: {
    offset,
    scope: '',
    name: 'issue.opened',
    eventId: `delivery-${offset}`,
    gap: null,
    audience: null,
    acceptedAt: offset,
    encoded: ENCODED,
  },
});

const accept = (rows: number, commits: number): Work => ({
  name: `accept events, ${rows} a commit`,
  unit: 'events/s',
  commits,
  rows,
  writes: (commit) => Array.from({ length: rows }, (_, at) => eventAt(commit * rows + at + 1)),
  bare(database) {
    database.exec(EVENTS_TABLE);
    const insert = database.prepare('INSERT INTO events VALUES (?, ?, ?, ?, ?)');
    return (commit) => {
      for (let at = 1; at <= rows; at += 1)
        insert.run(
          commit * rows + at,
          'issue.opened',
          `delivery-${commit * rows + at}`,
          1,
          ENCODED,
        );
    };
  },
});

const fanOut: Work = {
  name: 'number one event in 1,000 logs, one commit',
  unit: 'entries/s',
  commits: 100,
  rows: 1000,
  writes: (commit) => [
    eventAt(commit + 1),
    ...Array.from({ length: 1000 }, (_, at) => entry(at + 1, commit + 1, commit + 1)),
    checkpoint(commit + 1),
  ],
  bare(database) {
    database.exec(`${EVENTS_TABLE}; ${ENTRIES_TABLE}`);
    const event = database.prepare('INSERT INTO events VALUES (?, ?, ?, ?, ?)');
    const insert = database.prepare('INSERT INTO entries VALUES (?, ?, ?)');
    return (commit) => {
      event.run(commit, 'issue.opened', `delivery-${commit}`, 1, ENCODED);
      for (let row = 1; row <= 1000; row += 1) insert.run(row, commit, commit);
    };
  },
};

const subscription = (row: number, head = 0) =>
  plain(`${row}`, { callback: callback('bench'), head, acked: head, sent: head, expiresAt: 1e12 });

const progress: Work = {
  name: 'progress, 64 per commit',
  unit: 'updates/s',
  commits: 200,
  rows: 64,
  async before(store, bare) {
    bare.exec(PROGRESS_TABLE);
    const insert = bare.prepare('INSERT INTO progress VALUES (?, 0, 0, 0, 0)');
    bare.exec('BEGIN');
    for (let row = 1; row <= SUBSCRIPTIONS; row += 1) insert.run(row);
    bare.exec('COMMIT');
    await store.commit(
      Array.from({ length: SUBSCRIPTIONS }, (_, at) => create(at + 1, subscription(at + 1), 1e12)),
    );
  },
  writes: (commit) =>
    Array.from({ length: 64 }, (_, at) => {
      const row = ((commit * 64 + at) % SUBSCRIPTIONS) + 1;
      return { type: 'progress', row, state: subscription(row, commit), dueAt: 1e12 + commit };
    }),
  bare(database) {
    const update = database.prepare(
      'UPDATE progress SET head = ?, acked = ?, sent = ?, due_at = ? WHERE row = ?',
    );
    return (commit) => {
      for (let at = 0; at < 64; at += 1)
        update.run(commit, commit, commit, commit, ((commit * 64 + at) % SUBSCRIPTIONS) + 1);
    };
  },
};

const delivery: Work = {
  name: 'event, entry and progress of 64 deliveries in one commit',
  unit: 'deliveries/s',
  commits: 100,
  rows: 64,
  before: progress.before!,
  writes: (commit) =>
    Array.from({ length: 64 }, (_, at) => {
      const offset = commit * 64 + at + 1;
      const row = (offset % SUBSCRIPTIONS) + 1;
      return [
        eventAt(offset),
        entry(row, offset, offset),
        { type: 'progress', row, state: subscription(row, commit), dueAt: 1e12 + commit } as const,
      ];
    }).flat(),
  bare(database) {
    database.exec(`${EVENTS_TABLE}; ${ENTRIES_TABLE}`);
    const event = database.prepare('INSERT INTO events VALUES (?, ?, ?, ?, ?)');
    const insert = database.prepare('INSERT INTO entries VALUES (?, ?, ?)');
    const update = progress.bare(database);
    return (commit) => {
      for (let offset = commit * 64 + 1; offset <= commit * 64 + 64; offset += 1) {
        event.run(offset, 'issue.opened', `delivery-${offset}`, 1, ENCODED);
        insert.run((offset % SUBSCRIPTIONS) + 1, offset, offset);
      }
      update(commit);
    };
  },
};

/**
 * Runs all kinds of work, alternately with the store and the bare loop. Resolves with the medians.
 */
export async function storeBench(rounds = ROUNDS): Promise<Result[]> {
  const results: Result[] = [];
  for (const work of [accept(1, 1000), accept(100, 50), fanOut, progress, delivery]) {
    const values: number[] = [];
    const limits: number[] = [];
    for (let round = 0; round < rounds; round += 1) {
      const { value, limit } = await oneRound(work);
      values.push(value);
      limits.push(limit);
    }
    results.push({
      name: work.name,
      value: median(values),
      unit: work.unit,
      limit: median(limits),
    });
  }
  return [...results, ...(await reading(rounds))];
}

async function oneRound({
  commits,
  rows,
  before,
  writes,
  bare,
}: Work): Promise<{ value: number; limit: number }> {
  return inDirectory(async (directory) => {
    const store = sqliteStore({ path: join(directory, 'store.db'), key: new Uint8Array(32) });
    const database = new DatabaseSync(join(directory, 'bare.db'));
    database.exec('PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL');
    await store.open(0);
    await before?.(store, database);
    const loop = bare(database);
    const prepared = Array.from({ length: commits }, (_, commit) => writes(commit));
    let ours = 0;
    let theirs = 0;
    for (const [commit, made] of prepared.entries()) {
      const start = performance.now();
      database.exec('BEGIN IMMEDIATE');
      loop(commit);
      database.exec('COMMIT');
      const middle = performance.now();
      await store.commit(made);
      theirs += middle - start;
      ours += performance.now() - middle;
    }
    const value = perSecond(commits * rows, ours);
    const limit = perSecond(commits * rows, theirs);
    database.close();
    await store.close();
    return { value, limit };
  });
}

/**
 * Measures reads: batches of a log with their events, and whole subscriptions with an encrypted
 * callback.
 */
async function reading(rounds: number): Promise<Result[]> {
  return inDirectory(async (directory) => {
    const total = 10_000;
    const store = sqliteStore({ path: join(directory, 'store.db'), key: new Uint8Array(32) });
    await store.open(0);
    await store.commit([create(1, subscription(1))]);
    await store.commit(
      Array.from({ length: total }, (_, at) => [eventAt(at + 1), entry(1, at + 1, at + 1)]).flat(),
    );
    const bare = new DatabaseSync(join(directory, 'store.db'), { readOnly: true });
    const select = bare.prepare(
      'SELECT * FROM log_entries e JOIN accepted_events a ON a.offset = e.offset WHERE e.row = 1 AND e.sequence > ? ORDER BY e.sequence LIMIT 100',
    );
    const reads: number[] = [];
    const limits: number[] = [];
    const loads: number[] = [];
    for (let round = 0; round < rounds; round += 1) {
      reads.push(
        await rate(total, async () => {
          for (let after = 0; after < total; after += 100) await store.read(1, after, 100, 1e9);
        }),
      );
      limits.push(
        await rate(total, () => {
          for (let after = 0; after < total; after += 100) select.all(after);
        }),
      );
      loads.push(
        await rate(5000, async () => {
          for (let load = 0; load < 5000; load += 1) await store.load([1]);
        }),
      );
    }
    bare.close();
    await store.close();
    return [
      {
        name: 'read a log, 100 events of 1 KiB at a time',
        value: median(reads),
        unit: 'events/s',
        limit: median(limits),
      },
      {
        name: 'load a subscription with an encrypted callback',
        value: median(loads),
        unit: 'loads/s',
      },
    ];
  });
}

async function rate(count: number, run: () => void | Promise<void>): Promise<number> {
  const start = performance.now();
  await run();
  return perSecond(count, performance.now() - start);
}

const perSecond = (count: number, ms: number): number => Math.round((count * 1000) / ms);

async function inDirectory<Result>(run: (directory: string) => Promise<Result>): Promise<Result> {
  const directory = mkdtempSync(join(tmpdir(), 'triggers-bench-'));
  try {
    return await run(directory);
  } finally {
    rmSync(directory, { recursive: true, force: true });
  }
}

const median = (values: readonly number[]): number =>
  values.toSorted((a, b) => a - b)[values.length >> 1]!;
