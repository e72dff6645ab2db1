/**
 * Tests that a full store rejects only what makes it grow, and that a full disk loses nothing that
 * was confirmed.
 */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { test } from 'vitest';
import { fileURLToPath } from 'node:url';
import type { Store } from '../../../src/server/store/port.ts';
import { sqliteStore } from '../../../src/server/store/sqlite/index.ts';
import { NOW } from '../../../src/testing/store-contract/context.ts';
import {
  checkpoint,
  create,
  entry,
  event,
  full,
  plain,
  tombstone,
} from '../../../src/testing/store-contract/samples.ts';
import { KEY, place } from './place.ts';

const MEBIBYTE = 1024 ** 2;
const BULK = `"${'x'.repeat(20_000)}"`;
const SMALL = `"${'x'.repeat(2000)}"`;

/**
 * Accepts events, large ones and then small ones, each with an entry in the log of row 1, until the
 * store is full. Returns the last offset.
 */
async function fill(store: Store, from: number): Promise<number> {
  let offset = from;
  for (const encoded of [BULK, SMALL]) {
    for (; ; offset += 1) {
      try {
        await store.commit([
          event(offset, 'issue.opened', encoded),
          entry(1, offset, offset),
          checkpoint(offset),
        ]);
      } catch (error) {
        assert.equal((error as { code: string }).code, 'store_full');
        break;
      }
    }
  }
  return offset - 1;
}

test('[lim-drain-works, lim-refuse-upstream] a full store still acknowledges, trims, ends, redacts and deletes, and then accepts again', async (t) => {
  const path = place(t);
  const store = sqliteStore({ path, key: KEY, maxBytes: 2 * MEBIBYTE, check: 'full' });
  await store.open(NOW);
  await store.commit([create(1, full('a'), null), create(2, plain('b')), create(3, plain('c'))]);
  let last = 0;
  for (let round = 0; round < 10; round += 1) {
    const before = last;
    last = await fill(store, last + 1);
    assert.ok(last - before > 20, `round ${round} accepted ${last - before} events`);
    const wide = plain('z', {
      select: [{ name: 'issue.opened', arguments: { wide: 'x'.repeat(9000) } }],
    });
    await assert.rejects(store.commit([create(9, wide)]), {
      code: 'store_full',
      message: /raise maxBytes/,
    });
    const state = { ...full('a'), head: last, acked: last };
    await store.commit([{ type: 'progress', row: 1, state, dueAt: NOW + round }]);
    await store.commit([
      { type: 'configure', row: 1, state: { ...state, version: round }, dueAt: NOW + round },
    ]);
    await store.commit([entry(2, last, last)]);
    await store.commit([{ type: 'redact', offset: last }]);
    await store.commit([
      { type: 'trim', row: 1, upTo: last },
      { type: 'trim', row: 2, upTo: last },
    ]);
    await store.commit([{ type: 'forget', acceptedBefore: NOW + last + 1, now: NOW }]);
    const { events, bytes, quotaBytes } = await store.stats();
    assert.equal(events, 0);
    assert.equal(quotaBytes, 2 * MEBIBYTE);
    assert.ok(bytes < MEBIBYTE, `${bytes} bytes are left after trimming`);
  }
  last = await fill(store, last + 1);
  await store.commit([{ type: 'end', row: 3, tombstone: tombstone(plain('c')) }]);
  assert.ok((await store.stats()).bytes <= 2 * MEBIBYTE);
  await store.close();
  const again = sqliteStore({ path, key: KEY, maxBytes: 2 * MEBIBYTE, check: 'full' });
  const { continuity, lastOffset } = await again.open(NOW);
  assert.deepEqual([continuity, lastOffset], ['continued', last]);
  await again.close();
});

test('[lim-drain-works] a commit that mixes types leaves the largest reserve of its writes, in every order', async () => {
  const store = sqliteStore({ path: ':memory:', key: KEY, maxBytes: 2 * MEBIBYTE });
  await store.open(NOW);
  await store.commit([create(1, plain('a')), create(2, plain('b'))]);
  const last = await fill(store, 1);
  const progress = {
    type: 'progress',
    row: 1,
    state: plain('a', { head: last, acked: 1, sent: last }),
    dueAt: null,
  } as const;
  const accepting = [
    event(last + 1, 'issue.opened', BULK),
    entry(1, last + 1, last + 1),
    checkpoint(last + 1),
  ];
  // An event in the commit takes its reserve, whatever stands beside it; without one, the entry and
  // the progress still fit.
  for (const writes of [
    [progress, ...accepting],
    [...accepting, progress],
  ])
    await assert.rejects(store.commit(writes), { code: 'store_full' });
  assert.equal((await store.load([1]))[0]?.state.acked, 0, 'nothing of the commit is stored');
  await store.commit([entry(2, 1, last), progress, { type: 'trim', row: 1, upTo: 1 }]);
  assert.equal((await store.load([1]))[0]?.state.acked, 1);
  await store.close();
});

test('events accepted before the store was full can still be numbered in many logs', async () => {
  const store = sqliteStore({ path: ':memory:', key: KEY, maxBytes: 2 * MEBIBYTE });
  await store.open(NOW);
  const rows = Array.from({ length: 1000 }, (_, at) => at + 2);
  await store.commit([create(1, plain('a'))]);
  const last = await fill(store, 1);
  await store.commit(rows.map((row) => entry(row, 1, last)));
  assert.equal((await store.stats()).entries, last + rows.length);
  await store.close();
});

test('even the last reserve ends in store_full, and the store stays sound', async (t) => {
  const path = place(t);
  const store = sqliteStore({ path, key: KEY, maxBytes: MEBIBYTE });
  await store.open(NOW);
  await store.commit([create(1, plain('a'))]);
  const last = await fill(store, 1);
  const growing = plain('a', { head: last, epoch: 'e'.repeat(300_000) });
  await assert.rejects(store.commit([{ type: 'progress', row: 1, state: growing, dueAt: null }]), {
    code: 'store_full',
  });
  assert.equal((await store.load([1]))[0]?.state.head, 0);
  await store.commit([
    { type: 'progress', row: 1, state: plain('a', { head: last }), dueAt: null },
  ]);
  await store.close();
  const again = sqliteStore({ path, key: KEY, check: 'full' });
  assert.equal((await again.open(NOW)).continuity, 'continued');
  await again.close();
});

test('rejects a quota too small to work with', async () => {
  for (const maxBytes of [0, 1000, Number.NaN])
    await assert.rejects(sqliteStore({ path: ':memory:', key: KEY, maxBytes }).open(NOW), {
      code: 'config_invalid',
    });
});

const DISK_FULL = fileURLToPath(new URL('./disk-full.ts', import.meta.url));
const canUnshare = spawnSync('unshare', ['--version']).error === undefined;

test(
  '[lim-refuse-upstream] a full disk gives store_full and loses nothing that was confirmed',
  { skip: !canUnshare },
  (t) => {
    const directory = place(t).replace(/\/store\.db$/, '');
    const { status, stdout, stderr } = spawnSync(
      'unshare',
      [
        '--user',
        '--map-root-user',
        '--mount',
        'sh',
        '-c',
        'mount -t tmpfs -o size=2m tmpfs "$1" || exit 77; exec "$2" "$3" "$1/store.db"',
        'sh',
        directory,
        process.execPath,
        DISK_FULL,
      ],
      { encoding: 'utf8' },
    );
    if (status === 77) return t.skip('no file system can be mounted here');
    assert.equal(status, 0, stderr);
    assert.match(stdout, /^10 rounds\n$/);
  },
);
