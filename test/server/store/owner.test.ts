/**
 * Tests that one process owns a store: a second is rejected, a dead process releases it, and a
 * former owner writes nothing more.
 */
import assert from 'node:assert/strict';
import { rmSync } from 'node:fs';
import { test } from 'vitest';
import { sqliteStore } from '../../../src/server/store/sqlite/index.ts';
import { create, event, plain } from '../../../src/testing/store-contract/samples.ts';
import { startWriter } from './child.ts';
import { KEY, place } from './place.ts';

const open = async (path: string) => {
  const store = sqliteStore({ path, key: KEY });
  return { store, opened: await store.open(0) };
};

test('a second opener in this process gets store_locked, and the first continues', async (t) => {
  const path = place(t);
  const { store } = await open(path);
  await assert.rejects(open(path), { code: 'store_locked', message: /a store has one writer/ });
  await store.commit([event(1)]);
  await store.close();
  await (await open(path)).store.close();
});

test('a second process gets store_locked; SIGKILL releases the lock', async (t) => {
  const path = place(t);
  const writer = startWriter(path, '50');
  await writer.line((line) => line === '1');
  await assert.rejects(open(path), { code: 'store_locked' });
  const rival = startWriter(path);
  await assert.rejects(
    rival.line(() => true),
    /store_locked/,
  );
  await writer.line((line) => line === '3');
  await writer.kill();
  const { store, opened } = await open(path);
  assert.equal(opened.continuity, 'continued');
  await store.close();
});

test('a former owner, whose lock file was deleted, is fenced off and leaves no trace', async (t) => {
  const path = place(t);
  const first = await open(path);
  await first.store.commit([create(1, plain('a')), event(1)]);
  rmSync(`${path}.lock`);
  const second = await open(path);
  assert.ok(second.opened.generation > first.opened.generation);
  await second.store.commit([event(2)]);
  await assert.rejects(first.store.commit([event(3)]), {
    code: 'store_fenced',
    message: /one process per store/,
  });
  await assert.rejects(first.store.commit([event(2)]), { code: 'store_fenced' });
  await first.store.close();
  await second.store.commit([event(3)]);
  await second.store.close();
  const third = await open(path);
  assert.equal(third.opened.continuity, 'continued');
  assert.deepEqual(
    (await third.store.accepted(0, 10)).map(({ offset }) => offset),
    [1, 2, 3],
  );
  await third.store.close();
});

test('a missing directory, and a store opened twice, are clear errors', async (t) => {
  await assert.rejects(open(`${place(t)}/nowhere/store.db`), {
    code: 'store_failed',
    message: /does not exist/,
  });
  const { store } = await open(place(t));
  await assert.rejects(store.open(0), { code: 'store_failed', message: /already open/ });
  await store.close();
});
