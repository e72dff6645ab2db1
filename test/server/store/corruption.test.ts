/**
 * Tests damaged files: the store refuses to open them, reports a possible loss, or is unaffected.
 * It never crashes, and never serves other data under an old number.
 */
import assert from 'node:assert/strict';
import { readFileSync, truncateSync, writeFileSync } from 'node:fs';
import { DatabaseSync } from 'node:sqlite';
import { test, type TestContext } from 'vitest';
import type { Opened, Store } from '../../../src/server/store/port.ts';
import { sqliteStore } from '../../../src/server/store/sqlite/index.ts';
import { seededRandom } from '../../../src/testing/random.ts';
import {
  checkpoint,
  create,
  entry,
  event,
  full,
  plain,
} from '../../../src/testing/store-contract/samples.ts';
import { copyStore, KEY, place } from './place.ts';

const EVENTS = 300;
const FILES = ['', '-wal', '.instance'];

/**
 * Copies of the files of one store: while it is open, its log not yet checkpointed, and after it
 * was closed.
 */
async function stores(t: TestContext): Promise<{ running: string; closed: string }> {
  const closed = place(t);
  const running = place(t);
  const store = sqliteStore({ path: closed, key: KEY });
  await store.open(0);
  await store.commit([
    create(1, full('a')),
    create(2, plain('b', { head: EVENTS })),
    create(3, full('c')),
  ]);
  for (let offset = 1; offset <= EVENTS; offset += 1) {
    await store.commit([
      // One event has its data apart.
      offset === 9 ? event(9, undefined, undefined, {}, '{"pad":"large"}') : event(offset),
      entry(2, offset, offset),
      checkpoint(offset),
      {
        type: 'progress',
        row: 2,
        state: plain('b', { head: EVENTS, acked: offset }),
        dueAt: offset,
      },
    ]);
  }
  copyStore(closed, running, FILES);
  await store.close();
  return { running, closed };
}

/** Everything that the store acts on. */
async function everything(store: Store, { lastOffset, nextRow, checkpoint: stands }: Opened) {
  const rows = [];
  for await (const row of store.index()) rows.push(row);
  return {
    lastOffset,
    nextRow,
    stands,
    rows,
    states: await store.load([1, 2, 3]),
    log: await store.read(2, 0, 1000, 1e9),
    accepted: await store.accepted(0, 1000),
    data: await store.data(9),
    due: await store.due(1e15, 10),
    backlog: await store.backlog(0, 10),
  };
}

type Outcome = 'refused' | 'maybe_lost' | 'identical';

async function outcomeOf(path: string, healthy: unknown): Promise<Outcome> {
  const store = sqliteStore({ path, key: KEY, check: 'full' });
  try {
    const opened = await store.open(0);
    const found = await everything(store, opened);
    if (opened.continuity !== 'continued') return 'maybe_lost';
    assert.deepEqual(found, healthy);
    return 'identical';
  } catch (error) {
    if ((error as Error).name !== 'LocalError') throw error;
    assert.match((error as { code: string }).code, /^(store_corrupt|store_failed|key_unknown)$/);
    return 'refused';
  } finally {
    await store.close();
  }
}

async function healthy(path: string, t: TestContext): Promise<unknown> {
  const copy = place(t);
  copyStore(path, copy, FILES);
  const store = sqliteStore({ path: copy, key: KEY });
  const found = await everything(store, await store.open(0));
  await store.close();
  return found;
}

for (const { name, of, suffix, flips } of [
  { name: 'the database', of: 'closed', suffix: '', flips: 120 },
  { name: 'the write-ahead log', of: 'running', suffix: '-wal', flips: 60 },
  { name: 'the witness', of: 'closed', suffix: '.instance', flips: 20 },
] as const) {
  test(`[log-stable] a flipped bit anywhere in ${name} is rejected, noticed or without effect`, async (t) => {
    const path = (await stores(t))[of];
    const truth = await healthy(path, t);
    const damaged = place(t);
    const random = seededRandom(flips);
    const bytes = readFileSync(path + suffix);
    const outcomes: Record<Outcome, number> = { refused: 0, maybe_lost: 0, identical: 0 };
    for (let flip = 0; flip < flips; flip += 1) {
      copyStore(path, damaged, ['-shm', ...FILES]);
      const changed = Buffer.from(bytes);
      const at = Math.floor(random.uniform() * bytes.length);
      changed[at]! ^= 1 << Math.floor(random.uniform() * 8);
      writeFileSync(damaged + suffix, changed);
      outcomes[await outcomeOf(damaged, truth)] += 1;
    }
    void t.annotate(JSON.stringify(outcomes));
    assert.ok(outcomes.refused + outcomes.maybe_lost > 0, 'some damage is noticed');
  });
}

test('truncated files are rejected or noticed', async (t) => {
  const { running, closed } = await stores(t);
  const damaged = place(t);
  for (const [path, suffix] of [
    [closed, ''],
    [running, '-wal'],
  ] as const) {
    const truth = await healthy(path, t);
    const { length } = readFileSync(path + suffix);
    for (const share of [0, 0.001, 0.2, 0.5, 0.9, 0.999]) {
      copyStore(path, damaged, ['-shm', ...FILES]);
      truncateSync(damaged + suffix, Math.floor(length * share));
      assert.notEqual(await outcomeOf(damaged, truth), 'identical', `${suffix} at ${share}`);
    }
  }
});

test('[log-stable] a row that was altered in a sound file is rejected when it is read', async (t) => {
  const { closed } = await stores(t);
  const alterations: [sql: string, read: (store: Store) => Promise<unknown>][] = [
    [
      "UPDATE accepted_events SET encoded = replace(encoded, 'e7', 'e8') WHERE offset = 7",
      (store) => store.read(2, 0, 100, 1e9),
    ],
    [
      'UPDATE accepted_events SET redacted = 1 WHERE offset = 7',
      (store) => store.read(2, 0, 100, 1e9),
    ],
    [
      'UPDATE accepted_events SET accepted_at = accepted_at + 1 WHERE offset = 7',
      (store) => store.accepted(6, 1),
    ],
    [
      'DELETE FROM log_entries WHERE row = 2 AND sequence = 7',
      (store) => store.read(2, 0, 100, 1e9),
    ],
    [
      "UPDATE accepted_events SET data = replace(data, 'large', 'small') WHERE offset = 9",
      (store) => store.data(9),
    ],
    [
      'UPDATE accepted_events SET data_bytes = 14 WHERE offset = 9',
      (store) => store.read(2, 0, 100, 1e9),
    ],
    [
      'UPDATE accepted_events SET data_checksum = NULL, data = NULL WHERE offset = 9',
      (store) => store.accepted(8, 1),
    ],
    ['UPDATE subscriptions SET data_ref = 1 WHERE row = 2', (store) => store.load([2])],
    ['UPDATE subscriptions SET data_ref = NULL WHERE row = 1', (store) => store.load([1])],
    ['UPDATE progress SET acked = acked + 1 WHERE row = 2', (store) => store.load([2])],
    ['UPDATE progress SET due_at = 1 WHERE row = 2', (store) => store.load([2])],
    ["UPDATE subscriptions SET owner = 'mallory' WHERE row = 2", (store) => store.load([2])],
    [
      "UPDATE subscriptions SET select_json = '[' WHERE row = 2",
      async (store) => {
        for await (const _ of store.index());
      },
    ],
    ['UPDATE meta SET next_row = 2', async () => {}],
    ['UPDATE meta SET checkpoint_offset = 2', async () => {}],
  ];
  for (const [sql, read] of alterations) {
    const path = place(t);
    copyStore(closed, path, FILES);
    const database = new DatabaseSync(path);
    database.exec(sql);
    database.close();
    const store = sqliteStore({ path, key: KEY, check: 'full' });
    await assert.rejects(
      store.open(0).then(() => read(store)),
      { name: 'LocalError', code: 'store_corrupt' },
      sql,
    );
    await store.close();
  }
});
