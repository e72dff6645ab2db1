/** Tests the entries of a log that the engine keeps in memory. */
import assert from 'node:assert/strict';
import { test } from 'vitest';
import { LoadedSubscription } from '../../../src/server/engine/subscription-cache.ts';
import { subscription } from '../../protocol/core/fixtures.ts';

test('an entry that became a gap takes no memory: its room is free for the next entries', () => {
  const state = subscription({ head: 0, acked: 0 });
  const loaded = new LoadedSubscription({ row: 1, createdOffset: 0, state }, 0, 0);
  loaded.setListeners(1);
  const large = 'x'.repeat(1.5 * 1024 * 1024);
  for (let sequence = 1; sequence <= 8; sequence += 1) {
    loaded.append({ sequence, gap: null, encoded: large, acceptedAt: 0, offset: sequence });
    loaded.advance({ ...loaded.state, head: sequence });
    loaded.replaceByGap(sequence, sequence, 'redacted');
  }
  assert.deepEqual(
    loaded.tailAfter(0, 10)?.map(({ sequence, gap, encoded }) => [sequence, gap, encoded]),
    Array.from({ length: 8 }, (_, at) => [at + 1, 'redacted', null]),
  );
});
