/** Contract of opening, closing and reopening. */
import assert from 'node:assert/strict';
import { check, NOW, assertRejected, type Behavior } from './context.ts';
import { checkpoint, create, entry, event, filled, full, plain, tombstone } from './samples.ts';

export const lifecycle: readonly Behavior[] = [
  check('a new store is empty and reports the continuity "new"', async ({ store, opened }) => {
    const { generation, ...rest } = opened;
    assert.deepEqual(rest, {
      continuity: 'new',
      lastOffset: 0,
      nextRow: 1,
      checkpoint: { offset: 0, row: 0 },
    });
    assert.ok(generation >= 1);
    const { subscriptions, events, entries } = await store.stats();
    assert.deepEqual([subscriptions, events, entries], [0, 0, 0]);
  }),
  check(
    'a closed store rejects calls with "closed", and can be closed again',
    async ({ store }) => {
      await store.close();
      await assertRejected(store, [event(1)], 'closed');
      await assert.rejects(store.load([1]), { code: 'closed' });
      await store.close();
    },
  ),
  check.durable('each opening has a higher generation', async (context) => {
    const seen = [context.opened.generation];
    for (let round = 0; round < 3; round += 1) {
      await context.reopen();
      seen.push(context.opened.generation);
    }
    assert.deepEqual(
      seen,
      [...new Set(seen)].sort((a, b) => a - b),
    );
  }),
  check.durable(
    '[log-epoch-rotate] a store that was closed and lost nothing continues',
    async (context) => {
      await context.store.commit([event(1)]);
      await context.reopen();
      assert.equal(context.opened.continuity, 'continued');
    },
  ),
  check.durable(
    '[log-durable-accept, log-durable-number, log-durable-ack, ttl-survives] all data survives a restart',
    async (context) => {
      const ended = plain('c');
      await context.store.commit([
        create(1, full('a'), 50, 3),
        create(2, plain('b'), 60),
        create(3, ended),
        ...filled(1, 1, 4),
        entry(2, 1, 4),
        checkpoint(4, 1),
        { type: 'gap', row: 1, from: 2, to: 2, reason: 'rejected' },
        { type: 'end', row: 3, tombstone: tombstone(ended) },
        { type: 'verification', principal: 'alice', urlHash: 'h', verifiedAt: 8 },
      ]);
      await context.store.commit([
        { type: 'progress', row: 2, state: plain('b', { head: 1, acked: 1 }), dueAt: 61 },
      ]);
      const look = async () => {
        const { store } = context;
        const { bytes: _, quotaBytes: __, ...counts } = await store.stats();
        return [
          await store.load([1, 2, 3]),
          await store.read(1, 0, 10, 1e6),
          await store.read(2, 0, 10, 1e6),
          await store.accepted(0, 10),
          await store.due(100, 10),
          await store.tombstone('sub_c'),
          await store.verification('alice', 'h'),
          await store.known([{ scope: '', name: 'issue.opened', eventId: 'e2' }]),
          counts,
        ];
      };
      const before = await look();
      await context.reopen();
      assert.deepEqual(await look(), before);
      const { lastOffset, nextRow, checkpoint: reached } = context.opened;
      assert.deepEqual([lastOffset, nextRow, reached], [4, 4, { offset: 4, row: 1 }]);
    },
  ),
  check.durable(
    'a row number is never reused, even when its subscription has ended',
    async (context) => {
      const state = plain('a');
      await context.store.commit([create(context.opened.nextRow, state)]);
      await context.store.commit([{ type: 'end', row: 1, tombstone: tombstone(state) }]);
      await context.reopen();
      assert.equal(context.opened.nextRow, 2);
      await context.store.commit([create(7, plain('b'))]);
      await context.reopen();
      assert.equal(context.opened.nextRow, 8);
    },
  ),
  check.durable(
    'an offset is never reused, even when every event has been deleted',
    async (context) => {
      await context.store.commit([event(1), event(2), checkpoint(2)]);
      await context.store.commit([{ type: 'forget', acceptedBefore: NOW + 100, now: NOW }]);
      assert.deepEqual(await context.store.accepted(0, 10), []);
      await context.reopen();
      assert.equal(context.opened.lastOffset, 2);
    },
  ),
  check.durable(
    'a rejected commit changes neither the last offset nor the next row nor the checkpoint',
    async (context) => {
      await context.store.commit([event(1), checkpoint(1)]);
      await assertRejected(
        context.store,
        [event(2), checkpoint(2), create(5, plain('a')), event(2)],
        'store_failed',
      );
      await context.reopen();
      const { lastOffset, nextRow, checkpoint: reached, continuity } = context.opened;
      assert.deepEqual(
        [lastOffset, nextRow, reached, continuity],
        [1, 1, { offset: 1, row: 0 }, 'continued'],
      );
    },
  ),
];
