/**
 * Tests that a store which may have lost writes reports it, and keeps reporting it until every
 * epoch has changed.
 */
import assert from 'node:assert/strict';
import { readFileSync, rmSync, writeFileSync } from 'node:fs';
import { test } from 'vitest';
import type { Opened, Store } from '../../../src/server/store/port.ts';
import { sqliteStore } from '../../../src/server/store/sqlite/index.ts';
import { create, event, plain, tombstone } from '../../../src/testing/store-contract/samples.ts';
import { copyStore, KEY, place, SUFFIXES } from './place.ts';

async function during(
  path: string,
  run: (store: Store, opened: Opened) => Promise<void> = async () => {},
): Promise<Opened> {
  const store = sqliteStore({ path, key: KEY });
  const opened = await store.open(0);
  await run(store, opened);
  await store.close();
  return opened;
}

const add = (from: number, to: number) => async (store: Store) => {
  for (let offset = from; offset <= to; offset += 1) await store.commit([event(offset)]);
};
const continuity = async (path: string): Promise<string> => (await during(path)).continuity;

test('[log-epoch-rotate] notices a restored backup, whatever was written after it', async (t) => {
  const path = place(t);
  const aside = `${path}.backup`;
  await during(path, add(1, 3));
  copyStore(path, aside, ['', '-wal']);
  await during(path, add(4, 4));
  copyStore(aside, path, ['', '-wal']);
  const { continuity: result, lastOffset } = await during(path);
  assert.deepEqual([result, lastOffset], ['maybe_lost', 3]);
});

test('[log-epoch-rotate] notices a backup taken from the files of a running store', async (t) => {
  const path = place(t);
  const elsewhere = place(t);
  await during(path, async (store) => {
    await add(1, 3)(store);
    copyStore(path, elsewhere, ['', '-wal']);
    await add(4, 6)(store);
    copyStore(path, elsewhere, ['.instance']);
  });
  assert.equal(await continuity(elsewhere), 'maybe_lost');
});

test('[log-epoch-rotate] notices a missing write-ahead log', async (t) => {
  const path = place(t);
  const elsewhere = place(t);
  await during(path, async (store) => {
    await add(1, 3)(store);
    copyStore(path, elsewhere, ['', '.instance']);
  });
  assert.notEqual(
    await continuity(elsewhere).catch((error: unknown) => (error as { code: string }).code),
    'continued',
  );
});

test('[log-epoch-rotate] a complete store that moved together with its witness continues', async (t) => {
  const path = place(t);
  const elsewhere = place(t);
  await during(path, add(1, 3));
  copyStore(path, elsewhere, SUFFIXES);
  assert.equal(await continuity(elsewhere), 'continued');
});

test('a witness that is missing, torn, forged or of another store proves nothing', async (t) => {
  const path = place(t);
  const other = place(t);
  const witness = `${path}.instance`;
  await during(other, add(1, 9));
  const damages: (() => void)[] = [
    () => rmSync(witness),
    () => writeFileSync(witness, readFileSync(witness).subarray(0, 40)),
    () => writeFileSync(witness, ''),
    () => writeFileSync(witness, readFileSync(witness, 'latin1').replace(/ 0/, ' 1')),
    () => copyStore(other, path, ['.instance']),
  ];
  await during(path, add(1, 1));
  for (const damage of damages) {
    damage();
    assert.equal(await continuity(path), 'maybe_lost', String(damage));
    assert.equal(await continuity(path), 'continued', 'no subscription needs a new epoch');
  }
});

test('does not take a store whose database was deleted for a new one', async (t) => {
  const path = place(t);
  await during(path, add(1, 1));
  for (const suffix of ['', '-wal', '-shm']) rmSync(path + suffix, { force: true });
  assert.equal(await continuity(path), 'maybe_lost');
});

test('distinguishes generations after a restore: the replaced file does not come back unnoticed', async (t) => {
  const path = place(t);
  const backup = `${path}.backup`;
  const original = `${path}.original`;
  await during(path, add(1, 3));
  copyStore(path, backup, ['', '-wal']);
  await during(path, add(4, 9));
  copyStore(path, original, ['', '-wal']);
  copyStore(backup, path, ['', '-wal']);
  assert.equal(await continuity(path), 'maybe_lost');
  copyStore(original, path, ['', '-wal']);
  assert.equal(await continuity(path), 'maybe_lost');
});

test('[log-epoch-rotate] a process that dies before every epoch has changed leaves the rest to the next one', async (t) => {
  const path = place(t);
  const states = [plain('a'), plain('b'), plain('c')];
  await during(path, async (store) => {
    await store.commit(states.map((state, at) => create(at + 1, state)));
  });
  rmSync(`${path}.instance`);
  const rotated = states.map((state) => ({ ...state, epoch: 'epoch-two' }));
  const staying = (head: number) =>
    ({ type: 'progress', row: 2, state: { ...states[1]!, head }, dueAt: null }) as const;
  const first = await during(path, async (store) => {
    await store.commit([
      { type: 'configure', row: 1, state: rotated[0]!, dueAt: null },
      staying(1),
    ]);
  });
  const second = await during(path, async (store) => {
    await store.commit([{ type: 'end', row: 3, tombstone: tombstone(states[2]!) }, staying(2)]);
  });
  const third = await during(path, async (store) => {
    await store.commit([{ type: 'progress', row: 2, state: rotated[1]!, dueAt: null }]);
  });
  const fourth = await during(path);
  assert.deepEqual(
    [first, second, third, fourth].map((opened) => opened.continuity),
    ['maybe_lost', 'maybe_lost', 'maybe_lost', 'continued'],
  );
  const generations = [first, second, third, fourth].map((opened) => opened.generation);
  assert.deepEqual(
    generations,
    [...new Set(generations)].sort((a, b) => a - b),
  );
});

test('a generation number is not used twice, even after a restore', async (t) => {
  const path = place(t);
  const aside = `${path}.backup`;
  await during(path, add(1, 1));
  copyStore(path, aside, ['', '-wal']);
  const { generation } = await during(path);
  copyStore(aside, path, ['', '-wal']);
  assert.ok((await during(path)).generation > generation);
});
