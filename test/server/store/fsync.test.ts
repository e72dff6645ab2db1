/**
 * Tests with strace that every commit reaches the disk before it resolves, which `durable` promises
 * and killing processes cannot show.
 */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { test } from 'vitest';
import { WRITER } from './child.ts';
import { place } from './place.ts';

const COMMITS = 20;

/** Whether strace is installed and may trace. */
const canTrace = spawnSync('strace', ['-f', '-o', '/dev/null', 'true']).status === 0;

test(
  '[log-durable-accept, log-durable-number, log-durable-ack] each commit is synced before it resolves',
  { skip: !canTrace },
  (t) => {
    const path = place(t);
    const trace = `${path}.trace`;
    const { status, stderr } = spawnSync(
      'strace',
      [
        '-f',
        '-y',
        '-e',
        'trace=fsync,fdatasync,write',
        '-o',
        trace,
        process.execPath,
        WRITER,
        path,
        '0',
        String(COMMITS),
      ],
      { encoding: 'utf8' },
    );
    assert.equal(status, 0, stderr);

    let synced = 0;
    const syncsBefore: number[] = [];
    for (const line of readFileSync(trace, 'utf8').split('\n')) {
      if (/\bf(data)?sync\(\d+<[^>]*store\.db-wal>\)\s+= 0/.test(line)) synced += 1;
      // The writer prints a number once the commit of that number has resolved.
      if (/\bwrite\(1<[^>]*>, "\d+\\n"/.test(line)) {
        syncsBefore.push(synced);
        synced = 0;
      }
    }
    assert.equal(syncsBefore.length, COMMITS);
    assert.ok(
      syncsBefore.every((count) => count >= 1),
      `syncs of the log before each confirmation: ${syncsBefore.join(' ')}`,
    );
  },
);
