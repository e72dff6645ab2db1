/**
 * Runs on a disk of 2 MiB: fills it under a store without a quota, ten times, and checks that
 * nothing confirmed is lost.
 */
import assert from 'node:assert/strict';
import { rmSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { sqliteStore } from '../../../src/server/store/sqlite/index.ts';
import { event } from '../../../src/testing/store-contract/samples.ts';
import { KEY } from './place.ts';

const path = process.argv[2]!;
const ballast = join(dirname(path), 'ballast');
let confirmed = 0;
const rounds = 10;
for (let round = 0; round < rounds; round += 1) {
  const store = sqliteStore({ path, key: KEY, maxBytes: null, check: 'full' });
  const { continuity, lastOffset } = await store.open(0);
  assert.equal(continuity, round === 0 ? 'new' : 'continued');
  assert.equal(lastOffset, confirmed);
  try {
    writeFileSync(ballast, Buffer.alloc(4 * 1024 ** 2));
  } catch (error) {
    assert.equal((error as NodeJS.ErrnoException).code, 'ENOSPC');
  }
  for (;;) {
    try {
      await store.commit([event(confirmed + 1, 'issue.opened', `"${'x'.repeat(3000)}"`)]);
      confirmed += 1;
    } catch (error) {
      assert.equal((error as { code: string }).code, 'store_full');
      break;
    }
  }
  rmSync(ballast);
  await store.commit([event(confirmed + 1)]);
  confirmed += 1;
  assert.equal((await store.accepted(0, confirmed + 1)).length, confirmed);
  await store.close();
}
console.log(`${rounds} rounds`);
