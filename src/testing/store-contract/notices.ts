/** Contract of termination notices: they end with the subscription, and stay until they are sent. */
import assert from 'node:assert/strict';
import type { Subscription } from '../../protocol/core/types.ts';
import { TOMBSTONES_MAX } from '../../protocol/wire/limits.ts';
import type { Notice, Write } from '../../server/store/port.ts';
import { assertRejected, check, NOW, type Behavior, type Context } from './context.ts';
import { create, full, notice, plain, tombstone } from './samples.ts';

const ended = (row: number, state: Subscription, changes: Partial<Notice> = {}): Write => ({
  type: 'end',
  row,
  tombstone: tombstone(state),
  notice: notice(state, changes),
});

const due = async ({ store }: Context, now: number, limit = 10, except: string[] = []) =>
  (await store.dueNotices(now, limit, except)).map(({ state }) => state.subscriptionId);

export const notices: readonly Behavior[] = [
  check('[end-callback] end stores the notice with every member', async ({ store }) => {
    const state = full('a');
    await store.commit([create(1, state)]);
    assert.deepEqual(await store.dueNotices(NOW, 10, []), []);
    await store.commit([ended(1, state)]);
    assert.deepEqual(await store.dueNotices(NOW, 10, []), [notice(state)]);
  }),
  check('a notice without optional members is stored as it is', async ({ store }) => {
    const bare = notice(plain('a'), {
      callback: {
        url: 'https://a.example/',
        secret: 's',
        previousSecret: null,
        previousUntil: null,
      },
    });
    await store.commit([create(1, plain('a'))]);
    await store.commit([ended(1, plain('a'), bare)]);
    assert.deepEqual(await store.dueNotices(NOW, 10, []), [bare]);
  }),
  check('a rejected end stores no notice', async ({ store }) => {
    await store.commit([create(1, plain('a'))]);
    await assertRejected(
      store,
      [ended(1, plain('a')), { type: 'end', row: 9, tombstone: tombstone(plain('b')) }],
      'store_failed',
    );
    assert.deepEqual(await store.dueNotices(NOW, 10, []), []);
  }),
  check(
    'dueNotices returns what is due, earliest first, and omits the excepted principals',
    async (context) => {
      const { store } = context;
      const states = [
        plain('a'),
        plain('b', { principal: 'bob' }),
        plain('c'),
        plain('d', { principal: 'carol' }),
      ];
      await store.commit(states.map((state, at) => create(at + 1, state)));
      const dueAt = [30, 10, 20, 31].map((ms) => NOW + ms);
      await store.commit(states.map((state, at) => ended(at + 1, state, { dueAt: dueAt[at]! })));
      assert.deepEqual(await due(context, NOW + 30), ['sub_b', 'sub_c', 'sub_a']);
      assert.deepEqual(await due(context, NOW + 30, 2), ['sub_b', 'sub_c']);
      assert.deepEqual(await due(context, NOW + 31, 10, ['alice', 'bob']), ['sub_d']);
      assert.deepEqual(await due(context, NOW + 9), []);
      assert.equal(await store.nextNoticeAt(0), NOW + 10);
      assert.equal(await store.nextNoticeAt(NOW + 20), NOW + 30);
      assert.equal(await store.nextNoticeAt(NOW + 31), null);
    },
  ),
  check('postpone changes the attempts and the time of one notice', async (context) => {
    const { store } = context;
    await store.commit([create(1, plain('a')), create(2, plain('b'))]);
    await store.commit([ended(1, plain('a')), ended(2, plain('b'))]);
    await store.commit([
      { type: 'postpone', subscriptionId: 'sub_a', attempts: 3, dueAt: NOW + 7 },
      { type: 'postpone', subscriptionId: 'sub_none', attempts: 1, dueAt: NOW },
    ]);
    assert.deepEqual(await due(context, NOW), ['sub_b']);
    assert.deepEqual(await store.dueNotices(NOW + 7, 10, []), [
      notice(plain('b')),
      notice(plain('a'), { attempts: 3, dueAt: NOW + 7 }),
    ]);
  }),
  check('noticed deletes one notice, and keeps the tombstone', async (context) => {
    const { store } = context;
    await store.commit([create(1, plain('a')), create(2, plain('b'))]);
    await store.commit([ended(1, plain('a')), ended(2, plain('b'))]);
    await store.commit([
      { type: 'noticed', subscriptionId: 'sub_a' },
      { type: 'noticed', subscriptionId: 'sub_none' },
    ]);
    assert.deepEqual(await due(context, NOW), ['sub_b']);
    assert.deepEqual(await store.tombstone('sub_a'), tombstone(plain('a')));
  }),
  check(
    '[end-tombstone, lim-quota] the oldest of more than 1,000 tombstones of a principal goes, with its notice',
    async (context) => {
      const { store } = context;
      const states = Array.from({ length: TOMBSTONES_MAX + 1 }, (_, at) => plain(`${at}`));
      const other = plain('other', { principal: 'bob' });
      await store.commit([other, ...states].map((state, at) => create(at + 1, state)));
      const end = (state: Subscription, row: number, forgetAt: number): Write => ({
        type: 'end',
        row,
        tombstone: tombstone(state, forgetAt),
        notice: notice(state, { forgetAt }),
      });
      await store.commit([end(other, 1, NOW)]);
      // The fifth of them is the oldest.
      const forgetAt = (at: number): number => (at === 4 ? NOW + 1 : NOW + 10 + at);
      const ends = states.map((state, at) => end(state, at + 2, forgetAt(at)));
      await store.commit(ends.slice(0, -1));
      assert.notEqual(await store.tombstone('sub_4'), null);
      await store.commit(ends.slice(-1));
      assert.equal(await store.tombstone('sub_4'), null);
      for (const id of ['sub_0', 'sub_3', 'sub_5', `sub_${TOMBSTONES_MAX}`, 'sub_other'])
        assert.notEqual(await store.tombstone(id), null, id);
      assert.equal((await due(context, NOW, 2000)).length, TOMBSTONES_MAX + 1);
      assert.ok(!(await due(context, NOW, 2000)).includes('sub_4'));
    },
  ),
  check('forget deletes expired notices', async (context) => {
    const { store } = context;
    await store.commit([create(1, plain('a')), create(2, plain('b'))]);
    await store.commit([
      ended(1, plain('a'), { forgetAt: NOW + 10 }),
      ended(2, plain('b'), { forgetAt: NOW + 11 }),
    ]);
    await store.commit([{ type: 'forget', acceptedBefore: 0, now: NOW + 10 }]);
    assert.deepEqual(await due(context, NOW), ['sub_b']);
  }),
  check.durable('[end-callback] a notice survives a restart', async (context) => {
    const state = full('a');
    await context.store.commit([create(1, state)]);
    await context.store.commit([ended(1, state)]);
    await context.store.commit([
      { type: 'postpone', subscriptionId: 'sub_a', attempts: 2, dueAt: NOW + 5 },
    ]);
    await context.reopen();
    assert.deepEqual(await context.store.dueNotices(NOW + 5, 10, []), [
      notice(state, { attempts: 2, dueAt: NOW + 5 }),
    ]);
  }),
];
