/** Contract of lookups: subscriptions by identity, principal and due time; verifications. */
import assert from 'node:assert/strict';
import type { IndexRow } from '../../server/store/port.ts';
import { check, NOW, type Behavior } from './context.ts';
import { callback, create, plain, tombstone } from './samples.ts';

const DAY_MS = 86_400_000;

export const lookups: readonly Behavior[] = [
  check('load returns the rows that exist, in the requested order', async ({ store }) => {
    await store.commit([create(1, plain('a')), create(2, plain('b')), create(3, plain('c'))]);
    assert.deepEqual(
      (await store.load([3, 9, 1])).map(({ row }) => row),
      [3, 1],
    );
    assert.deepEqual(await store.load([]), []);
  }),
  check(
    'index lists the selections of every subscription, in ascending order of rows',
    async ({ store }) => {
      const select = [{ name: 'build.done', arguments: { branch: 'main' } }];
      const total = 2345;
      await store.commit(
        Array.from({ length: total }, (_, at) =>
          create(at + 1, plain(`${at}`, at === 7 ? { select } : {}), null, at),
        ),
      );
      const rows: IndexRow[] = [];
      for await (const row of store.index()) rows.push(row);
      assert.deepEqual(
        rows.map(({ row }) => row),
        Array.from({ length: total }, (_, at) => at + 1),
      );
      assert.deepEqual(rows[7], { row: 8, principal: 'alice', select, createdOffset: 7 });
    },
  ),
  check('index can be iterated during commits', async ({ store }) => {
    await store.commit([1, 2, 3].map((row) => create(row, plain(`${row}`))));
    const rows: number[] = [];
    for await (const { row } of store.index()) {
      rows.push(row);
      await store.commit([
        { type: 'progress', row, state: plain(`${row}`, { head: row }), dueAt: null },
      ]);
    }
    assert.deepEqual(rows, [1, 2, 3]);
  }),
  check(
    '[subs-key-scope] rowOfKey, rowsOf, countOf and bytesOf consider one principal only',
    async ({ store }) => {
      await store.commit([
        create(1, plain('a', { key: 'same' })),
        create(2, plain('b', { key: 'same', principal: 'bob' })),
        create(3, plain('c', { bytes: 40 })),
        create(4, plain('d', { bytes: null })),
        create(5, plain('e', { principal: 'bob', bytes: 7 })),
      ]);
      assert.deepEqual(
        [await store.bytesOf('alice'), await store.bytesOf('bob'), await store.bytesOf('carol')],
        [40, 7, 0],
      );
      assert.equal(await store.rowOfKey('alice', 'same'), 1);
      assert.equal(await store.rowOfKey('bob', 'same'), 2);
      assert.equal(await store.rowOfKey('carol', 'same'), null);
      assert.deepEqual(await store.rowsOf('alice', 0, 2), [1, 3]);
      assert.deepEqual(await store.rowsOf('alice', 3, 2), [4]);
      assert.deepEqual(await store.rowsOf('carol', 0, 2), []);
      assert.deepEqual(
        [await store.countOf('alice'), await store.countOf('bob'), await store.countOf('carol')],
        [3, 2, 0],
      );
    },
  ),
  check('rowOf finds only subscriptions that have not ended', async ({ store }) => {
    await store.commit([create(1, plain('a')), create(2, plain('b'))]);
    await store.commit([{ type: 'end', row: 1, tombstone: tombstone(plain('a')) }]);
    assert.deepEqual(
      [await store.rowOf('sub_a'), await store.rowOf('sub_b'), await store.rowOf('sub_c')],
      [null, 2, null],
    );
  }),
  check('due returns the rows that are due by an instant, earliest first', async ({ store }) => {
    await store.commit([
      create(1, plain('a'), 30),
      create(2, plain('b'), 10),
      create(3, plain('c')),
      create(4, plain('d'), 20),
      create(5, plain('e'), 31),
    ]);
    assert.deepEqual(await store.due(30, 10), [2, 4, 1]);
    assert.deepEqual(await store.due(30, 2), [2, 4]);
    assert.deepEqual(await store.due(9, 10), []);
    assert.equal(await store.nextDueAt(), 10);
    await store.commit([
      { type: 'progress', row: 2, state: plain('b'), dueAt: 40 },
      { type: 'configure', row: 4, state: plain('d'), dueAt: null },
    ]);
    assert.deepEqual(await store.due(100, 10), [1, 5, 2]);
  }),
  check('nextDueAt is null when nothing will be due', async ({ store }) => {
    assert.equal(await store.nextDueAt(), null);
    await store.commit([create(1, plain('a'))]);
    assert.equal(await store.nextDueAt(), null);
    assert.deepEqual(await store.due(Number.MAX_SAFE_INTEGER, 10), []);
  }),
  check(
    'backlog returns every row whose callback has an attempt in flight or an unacknowledged number',
    async ({ store }) => {
      const to = callback('x');
      const attempt = { id: 1, after: 4, to: 4, events: 0, first: null, leaseUntil: NOW };
      await store.commit([
        create(1, plain('a', { callback: to, head: 5, acked: 4 })),
        create(2, plain('b', { callback: to, head: 5, acked: 5 })),
        create(3, plain('c', { head: 5 })),
        create(4, plain('d', { callback: to, head: 4, acked: 4, attempt })),
        create(5, plain('e', { callback: to, head: 1 })),
      ]);
      assert.deepEqual(await store.backlog(0, 10), [1, 4, 5]);
      assert.deepEqual(await store.backlog(0, 2), [1, 4]);
      assert.deepEqual(await store.backlog(4, 2), [5]);
    },
  ),
  check(
    'a verification counts for one principal and one URL; the latest one wins',
    async ({ store }) => {
      await store.commit([
        { type: 'verification', principal: 'alice', urlHash: 'h', verifiedAt: 1 },
      ]);
      await store.commit([
        { type: 'verification', principal: 'alice', urlHash: 'h', verifiedAt: 2 },
      ]);
      assert.equal(await store.verification('alice', 'h'), 2);
      assert.equal(await store.verification('bob', 'h'), null);
      assert.equal(await store.verification('alice', 'other'), null);
    },
  ),
  check('forget deletes expired tombstones', async ({ store }) => {
    await store.commit([create(1, plain('a')), create(2, plain('b'))]);
    await store.commit([
      { type: 'end', row: 1, tombstone: tombstone(plain('a'), NOW + 10) },
      { type: 'end', row: 2, tombstone: tombstone(plain('b'), NOW + 11) },
    ]);
    await store.commit([{ type: 'forget', acceptedBefore: 0, now: NOW + 10 }]);
    assert.equal(await store.tombstone('sub_a'), null);
    assert.equal((await store.tombstone('sub_b'))?.forgetAt, NOW + 11);
  }),
  check('forget deletes old verifications, but none of the last day', async ({ store }) => {
    const verified = (urlHash: string, verifiedAt: number) =>
      ({ type: 'verification', principal: 'alice', urlHash, verifiedAt }) as const;
    await store.commit([verified('old', NOW - 30 * DAY_MS), verified('recent', NOW - DAY_MS)]);
    await store.commit([{ type: 'forget', acceptedBefore: 0, now: NOW }]);
    assert.equal(await store.verification('alice', 'old'), null);
    assert.equal(await store.verification('alice', 'recent'), NOW - DAY_MS);
  }),
];
