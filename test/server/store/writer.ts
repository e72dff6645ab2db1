/**
 * A process that owns a store and commits until it is killed, or the given number of times: `writer.ts
 * <database> [pause ms] [commits]`. Each commit is one event, its entry and the new head; each
 * number is printed once its commit has resolved.
 */
import { writeSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { sqliteStore } from '../../../src/server/store/sqlite/index.ts';
import {
  checkpoint,
  create,
  entry,
  event,
  plain,
} from '../../../src/testing/store-contract/samples.ts';
import { KEY } from './place.ts';

const [, , path, pause = '0', commits = 'Infinity'] = process.argv;
const store = sqliteStore({ path: path!, key: KEY });
const { lastOffset, nextRow, generation, continuity } = await store.open(0);
if (nextRow === 1) await store.commit([create(1, plain('a'))]);
writeSync(1, `open ${generation} ${continuity}\n`);
const last = lastOffset + Number(commits);
for (let offset = lastOffset + 1; offset <= last; offset += 1) {
  await store.commit([
    event(offset),
    entry(1, offset, offset),
    { type: 'progress', row: 1, state: plain('a', { head: offset }), dueAt: null },
    checkpoint(offset),
  ]);
  writeSync(1, `${offset}\n`);
  if (Number(pause) > 0) await sleep(Number(pause));
}
await store.close();
