/** Contract of commits: they are atomic, in order and complete. */
import assert from 'node:assert/strict';
import type { Subscription } from '../../protocol/core/types.ts';
import { check, NOW, assertRejected, type Behavior, type Context } from './context.ts';
import {
  callback,
  checkpoint,
  counters,
  create,
  entry,
  event,
  full,
  plain,
  tombstone,
} from './samples.ts';

async function stateOf({ store }: Context, row: number): Promise<Subscription> {
  const [found] = await store.load([row]);
  assert.ok(found, `row ${row} exists`);
  return found.state;
}

export const commits: readonly Behavior[] = [
  check('a commit applies its writes in the order given', async (context) => {
    const first = plain('a');
    const second = { ...first, ...counters(10) };
    const third = { ...second, head: 99, version: 2, paused: true };
    await context.store.commit([
      create(1, first),
      { type: 'progress', row: 1, state: second, dueAt: 5 },
      { type: 'configure', row: 1, state: third, dueAt: 6 },
      event(1),
      entry(1, 1, 1),
      { type: 'trim', row: 1, upTo: 1 },
      entry(1, 1, 1),
    ]);
    assert.deepEqual(await stateOf(context, 1), third);
    assert.equal(await context.store.nextDueAt(), 6);
    assert.equal((await context.store.read(1, 0, 10, 1000)).length, 1);
  }),
  check('a rejected commit changes nothing', async ({ store }) => {
    await store.commit([create(1, plain('a')), event(1), entry(1, 1, 1), checkpoint(1)]);
    const before = await store.stats();
    await assertRejected(
      store,
      [
        event(2),
        entry(1, 2, 2),
        create(2, plain('b'), 3),
        { type: 'progress', row: 1, state: plain('a', { head: 2 }), dueAt: 4 },
        { type: 'verification', principal: 'alice', urlHash: 'h', verifiedAt: 1 },
        checkpoint(2),
        { type: 'end', row: 1, tombstone: tombstone(plain('a')) },
        event(1),
      ],
      'store_failed',
    );
    assert.deepEqual(
      (await store.load([1, 2])).map(({ row, state }) => [row, state.head]),
      [[1, 0]],
    );
    assert.deepEqual(await store.accepted(1, 10), []);
    assert.deepEqual(
      (await store.read(1, 0, 10, 1000)).map(({ sequence }) => sequence),
      [1],
    );
    assert.equal(await store.nextDueAt(), null);
    assert.equal(await store.verification('alice', 'h'), null);
    assert.equal(await store.tombstone('sub_a'), null);
    assert.deepEqual(await store.stats(), before);
    await store.commit([event(2), entry(1, 2, 2)]);
  }),
  check('an empty commit changes nothing', async ({ store }) => {
    const before = await store.stats();
    await store.commit([]);
    assert.deepEqual(await store.stats(), before);
  }),
  check('a write to an unknown subscription rejects the commit', async ({ store }) => {
    const state = plain('a');
    for (const type of ['progress', 'configure'] as const)
      await assertRejected(store, [event(1), { type, row: 4, state, dueAt: null }], 'store_failed');
    await assertRejected(
      store,
      [event(1), { type: 'end', row: 4, tombstone: tombstone(state) }],
      'store_failed',
    );
    assert.deepEqual(await store.accepted(0, 10), []);
  }),
  check('rejects a second entry for the same number of a log', async ({ store }) => {
    await store.commit([create(1, plain('a')), event(1), event(2), entry(1, 1, 1)]);
    await assertRejected(store, [entry(1, 1, 2)], 'store_failed');
    assert.deepEqual(
      (await store.read(1, 0, 10, 1000)).map(({ offset }) => offset),
      [1],
    );
  }),
  check(
    '[subs-same] rejects a second subscription with the same row, subscriptionId, or key of a principal',
    async ({ store }) => {
      await store.commit([create(1, plain('a'))]);
      await assertRejected(store, [create(1, plain('b'))], 'store_failed');
      await assertRejected(
        store,
        [create(2, plain('b', { subscriptionId: 'sub_a' }))],
        'store_failed',
      );
      await assertRejected(store, [create(2, plain('b', { key: 'key-a' }))], 'store_failed');
      await store.commit([create(2, plain('b', { key: 'key-a', principal: 'bob' }))]);
    },
  ),
  check('load returns every member of a subscription as it was created', async (context) => {
    await context.store.commit([create(1, full('a'), null, 41), create(2, plain('b'))]);
    assert.deepEqual(await context.store.load([1]), [
      { row: 1, state: full('a'), createdOffset: 41 },
    ]);
    assert.deepEqual(await stateOf(context, 2), plain('b'));
  }),
  check(
    'progress stores every counter, set or null, and keeps the configuration',
    async (context) => {
      const { store } = context;
      const state = full('a');
      await store.commit([create(1, state)]);
      for (const next of [
        { ...state, ...counters(300) },
        { ...plain('a'), ...configurationOf(state) },
      ]) {
        await store.commit([{ type: 'progress', row: 1, state: next, dueAt: null }]);
        assert.deepEqual(await stateOf(context, 1), next);
      }
    },
  ),
  check(
    'configure stores every member, and can add, change and remove a callback',
    async (context) => {
      const { store } = context;
      await store.commit([create(1, plain('a'))]);
      const states = [
        full('a'),
        {
          ...full('a'),
          callback: { ...callback('other'), previousSecret: null, previousUntil: null },
        },
        plain('a'),
        full('a'),
      ];
      for (const state of states) {
        await store.commit([{ type: 'configure', row: 1, state, dueAt: null }]);
        assert.deepEqual(await stateOf(context, 1), state);
      }
    },
  ),
  check('stores text of any characters and the largest numbers unchanged', async (context) => {
    const { store } = context;
    const text = 'ü 漢 𝄞 \u0001 \' " % \\ \n';
    const largest = Number.MAX_SAFE_INTEGER;
    const state = plain('a', {
      principal: text,
      key: text,
      head: largest,
      expiresAt: largest,
      select: [{ name: text, arguments: { [text]: text, zero: '\u0000' } }],
    });
    const encoded = JSON.stringify({ text, more: '\u0000' });
    await store.commit([
      create(1, state),
      {
        type: 'event',
        event: {
          offset: 1,
          scope: text,
          name: text,
          eventId: text,
          gap: null,
          audience: [text],
          acceptedAt: NOW,
          encoded,
        },
      },
    ]);
    assert.deepEqual(await stateOf(context, 1), state);
    assert.equal(await store.rowOfKey(text, text), 1);
    assert.equal((await store.accepted(0, 1))[0]?.encoded, encoded);
    assert.deepEqual(await store.known([{ scope: text, name: text, eventId: text }]), [1]);
  }),
  check(
    '[end-tombstone, end-key-free] end deletes the subscription and its log, leaves a tombstone and frees the key',
    async ({ store }) => {
      const state = plain('a', { head: 2, acked: 1 });
      await store.commit([
        create(1, state, NOW),
        create(2, plain('b')),
        event(1),
        event(2),
        entry(1, 1, 1),
        entry(1, 2, 2),
        entry(2, 1, 2),
      ]);
      await store.commit([{ type: 'end', row: 1, tombstone: tombstone(state) }]);
      assert.deepEqual(await store.load([1]), []);
      assert.equal(await store.rowOf('sub_a'), null);
      assert.deepEqual(await store.read(1, 0, 10, 1000), []);
      assert.equal((await store.read(2, 0, 10, 1000)).length, 1);
      assert.equal(await store.nextDueAt(), null);
      assert.deepEqual(await store.tombstone('sub_a'), tombstone(state));
      assert.equal(await store.tombstone('sub_b'), null);
      await store.commit([create(3, plain('a', { subscriptionId: 'sub_again' }))]);
      assert.equal(await store.rowOfKey('alice', 'key-a'), 3);
    },
  ),
];

const configurationOf = ({
  select,
  callback: to,
  ttlMs,
  paused,
  version,
  retention,
  dataRef,
}: Subscription) => ({
  select,
  callback: to,
  ttlMs,
  paused,
  version,
  retention,
  ...(dataRef === undefined ? {} : { dataRef }),
});
