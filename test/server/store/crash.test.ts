/**
 * Tests that a process can be killed at any point: nothing confirmed is lost, and the next process
 * continues.
 */
import assert from 'node:assert/strict';
import { existsSync } from 'node:fs';
import { test } from 'vitest';
import { setTimeout as sleep } from 'node:timers/promises';
import { sqliteStore } from '../../../src/server/store/sqlite/index.ts';
import { seededRandom } from '../../../src/testing/random.ts';
import { plain } from '../../../src/testing/store-contract/samples.ts';
import { startWriter } from './child.ts';
import { KEY, place } from './place.ts';

const KILLS = 30;

test('[log-durable-accept, log-contiguous, log-epoch-rotate] 30 kills in the middle of commits lose nothing that was confirmed', async (t) => {
  const path = place(t);
  const random = seededRandom(30);
  let confirmed = 0;
  let generation = 0;
  for (let kill = 0; kill < KILLS; kill += 1) {
    const writer = startWriter(path);
    await writer.line((line) => Number(line) > confirmed);
    await sleep(random.uniform() * 25);
    await writer.kill();
    confirmed = Number(writer.lines.at(-1));

    const store = sqliteStore({ path, key: KEY, check: 'full' });
    const opened = await store.open(0);
    assert.equal(opened.continuity, 'continued');
    assert.ok(opened.generation > generation);
    generation = opened.generation;
    const { lastOffset } = opened;
    assert.ok(
      lastOffset === confirmed || lastOffset === confirmed + 1,
      `confirmed ${confirmed}, stored ${lastOffset}`,
    );
    assert.deepEqual(opened.checkpoint, { offset: lastOffset, row: 0 });
    assert.deepEqual((await store.load([1]))[0]?.state, plain('a', { head: lastOffset }));
    const entries = await store.read(1, 0, lastOffset + 1, Number.MAX_SAFE_INTEGER);
    assert.deepEqual(
      entries.map(({ sequence, offset, encoded }) => [sequence, offset, encoded]),
      Array.from({ length: lastOffset }, (_, at) => [
        at + 1,
        at + 1,
        `{"eventId":"e${at + 1}","name":"issue.opened"}`,
      ]),
    );
    await store.close();
    confirmed = lastOffset;
  }
  assert.ok(confirmed >= KILLS);
});

test('a process killed while it creates the store leaves an empty store that reports no loss', async (t) => {
  for (const delay of [0, 1, 2, 4, 8]) {
    const path = place(t);
    const writer = startWriter(path);
    while (!existsSync(path)) await sleep(0.2);
    await sleep(delay);
    await writer.kill();
    const store = sqliteStore({ path, key: KEY, check: 'full' });
    const { continuity, lastOffset } = await store.open(0);
    const started = writer.lines.length > 0 || lastOffset > 0 || (await store.load([1])).length > 0;
    assert.ok(started || continuity !== 'maybe_lost', `an empty store reports ${continuity}`);
    await store.close();
  }
});
