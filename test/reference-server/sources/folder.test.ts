/**
 * Tests the folder source on a real folder: a subscriber gets each version of each file once,
 * across restarts.
 */
import assert from 'node:assert/strict';
import { chmod, mkdir, rename, rm, symlink, utimes, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, test, type TestContext } from 'vitest';
import { silentLog, type NewEvent, type NewGap } from 'mcp-triggers-experimental/server';
import { manualClock } from 'mcp-triggers-experimental/testing';
import type { Source } from '../../../reference-server/sources/source.ts';
import { folderSource } from '../../../reference-server/sources/folder.ts';
import {
  collector,
  engineFor,
  into,
  logLines,
  pause,
  pullAll,
  subscribe,
  temporaryFolder,
  until,
} from './support.ts';

const SETTLE_MS = 60;
/** Long enough for an unwanted event to arrive. */
const QUIET_MS = 10 * SETTLE_MS;

interface Change {
  readonly path: string;
  readonly kind: string;
  readonly size: number;
  readonly modifiedAt: string;
}
const changes = (events: readonly NewEvent[]): string[] =>
  events.map(({ data }) => `${(data as Change).kind} ${(data as Change).path}`);

function watching(
  t: TestContext,
  folder: string,
  options: Partial<Parameters<typeof folderSource>[0]> = {},
): Source {
  const source = folderSource({ folder, log: silentLog, settleMs: SETTLE_MS, ...options });
  t.onTestFinished(() => source.stop());
  return source;
}

describe('changes', () => {
  test('created, modified and deleted are reported in order, with path, size and time', async (t) => {
    const folder = await temporaryFolder(t);
    const to = collector();
    await watching(t, folder).start(to.emit);
    await mkdir(join(folder, 'a/b'), { recursive: true });
    await writeFile(join(folder, 'a/b/c.txt'), 'one');
    await until(() => to.events.length === 1);
    await writeFile(join(folder, 'a/b/c.txt'), 'three');
    await until(() => to.events.length === 2);
    await rm(join(folder, 'a'), { recursive: true });
    await until(() => to.events.length === 3);
    assert.deepEqual(changes(to.events), [
      'created a/b/c.txt',
      'modified a/b/c.txt',
      'deleted a/b/c.txt',
    ]);
    assert.deepEqual(
      to.events.map(({ data }) => (data as Change).size),
      [3, 5, 5],
    );
    assert.ok(
      to.events.every(({ data }) => !Number.isNaN(Date.parse((data as Change).modifiedAt))),
    );
    assert.equal(new Set(to.events.map(({ eventId }) => eventId)).size, 3);
    assert.ok(!JSON.stringify(to.events).includes(folder), 'no absolute path');
  });

  test('the data directory of the server is not watched, and a folder in it is rejected', async (t) => {
    const folder = await temporaryFolder(t);
    const dataDir = join(folder, 'data');
    await mkdir(join(dataDir, 'inner'), { recursive: true });
    await writeFile(join(dataDir, 'token'), 'before the start');
    const to = collector();
    await watching(t, folder, { dataDir }).start(to.emit);
    await writeFile(join(dataDir, 'triggers.db'), 'after the start');
    await writeFile(join(folder, 'data.txt'), 'beside it');
    await until(() => to.events.length > 0);
    await pause(QUIET_MS);
    assert.deepEqual(changes(to.events), ['created data.txt']);
    for (const inside of [dataDir, join(dataDir, 'inner')])
      await assert.rejects(async () => watching(t, inside, { dataDir }).start(to.emit), {
        code: 'config_invalid',
      });
  });

  test('a burst of writes is one change, reported when it is over', async (t) => {
    const folder = await temporaryFolder(t);
    const to = collector();
    await watching(t, folder, { settleMs: 200 }).start(to.emit);
    for (let i = 1; i <= 8; i++) {
      await writeFile(join(folder, 'log'), 'x'.repeat(i * 100));
      await pause(20);
    }
    await until(() => to.events.length > 0);
    await pause(QUIET_MS);
    assert.deepEqual(
      to.events.map(({ data }) => (data as Change).size),
      [800],
    );
  });

  test('a move is a deletion and a creation, and moving the file back creates it again', async (t) => {
    const folder = await temporaryFolder(t);
    const to = collector();
    await writeFile(join(folder, 'x'), 'content');
    await watching(t, folder).start(to.emit);
    await rename(join(folder, 'x'), join(folder, 'y'));
    await until(() => to.events.length === 3);
    await rename(join(folder, 'y'), join(folder, 'x'));
    await until(() => to.events.length === 5);
    assert.deepEqual(changes(to.events).toSorted(), [
      'created x',
      'created x',
      'created y',
      'deleted x',
      'deleted y',
    ]);
  });

  test('links, hidden files and files outside are not reported', async (t) => {
    const outside = await temporaryFolder(t);
    const folder = await temporaryFolder(t);
    await writeFile(join(outside, 'secret'), 'secret');
    await symlink(outside, join(folder, 'before'));
    const to = collector();
    await watching(t, folder).start(to.emit);
    await symlink(outside, join(folder, 'out'));
    await symlink(join(outside, 'secret'), join(folder, 'link'));
    await mkdir(join(folder, '.git'));
    await writeFile(join(folder, '.git/HEAD'), 'ref');
    await writeFile(join(folder, '.hidden'), 'x');
    await writeFile(join(outside, 'secret'), 'changed');
    await writeFile(join(folder, 'told'), 'x');
    await until(() => to.events.length > 0);
    await pause(QUIET_MS);
    assert.deepEqual(changes(to.events), ['created told']);
  });

  test('a watched folder that is itself a link, or is inside a hidden one, is watched', async (t) => {
    const base = await temporaryFolder(t);
    await mkdir(join(base, '.real'));
    await symlink(join(base, '.real'), join(base, 'link'));
    const to = collector();
    await watching(t, join(base, 'link')).start(to.emit);
    await writeFile(join(base, '.real/f'), 'x');
    await until(() => to.events.length === 1);
    assert.deepEqual(changes(to.events), ['created f']);
  });
});

describe('restarts', () => {
  test('[log-once] [log-event-id] a restart repeats no version and reports those that came while it was down', async (t) => {
    const folder = await temporaryFolder(t);
    const data = await temporaryFolder(t);
    const before = watching(t, folder);
    const first = await engineFor(t, before, data);
    const subscriptionId = await subscribe(first, 'file.changed');
    const accepted: string[] = [];
    const counting = (engine: typeof first) => async (event: NewEvent | NewGap) => {
      const answer = await engine.emit(event);
      if ('data' in event)
        accepted.push(`${answer.duplicate ? 'again' : 'new'} ${(event.data as Change).path}`);
      return answer;
    };
    await before.start(counting(first));
    await writeFile(join(folder, 'kept'), '1');
    await until(() => accepted.length === 1);
    await writeFile(join(folder, 'changed'), '1');
    await until(() => accepted.length === 2);
    await writeFile(join(folder, 'kept'), '22');
    await until(() => accepted.length === 3);
    await before.stop();
    await first.close();

    await writeFile(join(folder, 'changed'), '333');
    await writeFile(join(folder, 'added'), '4444');
    const after = watching(t, folder);
    const second = await engineFor(t, after, data);
    await after.start(counting(second));
    assert.deepEqual(accepted.slice(3).toSorted(), ['again kept', 'new added', 'new changed']);
    const seen = await pullAll(second, subscriptionId);
    assert.deepEqual(
      seen.map(({ data: { path, size } }) => `${path as string} ${size as number}`).toSorted(),
      ['added 4', 'changed 1', 'changed 3', 'kept 1', 'kept 2'],
    );
  });

  test('files unchanged for longer than the catch-up period are not reported at start, but later changes are', async (t) => {
    const folder = await temporaryFolder(t);
    await writeFile(join(folder, 'old'), 'x');
    await writeFile(join(folder, 'gone'), 'x');
    const to = collector();
    const later = manualClock(Date.now() + 3_600_000);
    await watching(t, folder, { catchUpMs: 60_000, clock: later }).start(to.emit);
    assert.deepEqual(to.events, []);
    await writeFile(join(folder, 'old'), 'xyz');
    await until(() => to.events.length === 1);
    await rm(join(folder, 'gone'));
    await until(() => to.events.length === 2);
    assert.deepEqual(changes(to.events), ['modified old', 'deleted gone']);
  });

  test('at start, a file written long after it was created counts as modified', async (t) => {
    const folder = await temporaryFolder(t);
    await writeFile(join(folder, 'young'), 'x');
    await writeFile(join(folder, 'grown'), 'x');
    const soon = new Date(Date.now() + 3_600_000);
    await utimes(join(folder, 'grown'), soon, soon);
    const to = collector();
    await watching(t, folder).start(to.emit);
    assert.deepEqual(changes(to.events).toSorted(), ['created young', 'modified grown']);
  });

  test('a path that is not a folder is rejected at start', async (t) => {
    const folder = await temporaryFolder(t);
    await writeFile(join(folder, 'file'), 'x');
    await assert.rejects(async () => watching(t, join(folder, 'file')).start(collector().emit), {
      code: 'config_invalid',
    });
    await assert.rejects(async () => watching(t, join(folder, 'nothing')).start(collector().emit), {
      code: 'config_invalid',
    });
  });
});

describe('filters', () => {
  test('select by kind, by path and by parent folder, one or several', async (t) => {
    const folder = await temporaryFolder(t);
    const source = watching(t, folder);
    const engine = await engineFor(t, source, await temporaryFolder(t));
    const ids = await Promise.all(
      [
        {},
        { kind: 'created' },
        { kind: ['modified', 'deleted'] },
        { folder: 'in' },
        { folder: ['in/deep', 'out'] },
        { path: 'in/deep/a' },
        { folder: 'i' },
      ].map((args) => subscribe(engine, 'file.changed', args)),
    );
    for (const args of [{ folder: 'in/' }, { folder: '/in' }, { kind: 'renamed' }, { glob: '*' }])
      await assert.rejects(subscribe(engine, 'file.changed', args), { code: -32602 });
    let accepted = 0;
    await source.start(async (event) => {
      const answer = await into(engine)(event);
      accepted += 1;
      return answer;
    });
    await mkdir(join(folder, 'in/deep'), { recursive: true });
    await mkdir(join(folder, 'out'));
    for (const [path, text] of [
      ['in/deep/a', '1'],
      ['in/b', '1'],
      ['out/c', '1'],
      ['d', '1'],
      ['in/deep/a', '22'],
    ] as const) {
      const before = accepted;
      await writeFile(join(folder, path), text);
      await until(() => accepted > before);
    }
    const seen = await Promise.all(
      ids.map(async (id) => (await pullAll(engine, id)).map(({ data }) => data['path'] as string)),
    );
    assert.deepEqual(seen, [
      ['in/deep/a', 'in/b', 'out/c', 'd', 'in/deep/a'],
      ['in/deep/a', 'in/b', 'out/c', 'd'],
      ['in/deep/a'],
      ['in/deep/a', 'in/b', 'in/deep/a'],
      ['in/deep/a', 'out/c', 'in/deep/a'],
      ['in/deep/a', 'in/deep/a'],
      [],
    ]);
  });
});

describe('rejections', () => {
  test('while the store rejects writes, changes wait and are merged; afterwards none is missing', async (t) => {
    const folder = await temporaryFolder(t);
    await writeFile(join(folder, 'there'), 'x');
    const to = collector();
    const clock = manualClock(Date.now());
    const { log, lines } = logLines();
    to.refuse = 'store_full';
    await watching(t, folder, { clock, log }).start(to.emit);
    assert.equal(to.tries, 0, 'the gap for the time before the start comes first');
    await writeFile(join(folder, 'a'), '1');
    await writeFile(join(folder, 'b'), '1');
    await pause(QUIET_MS);
    await writeFile(join(folder, 'a'), '22');
    await pause(QUIET_MS);
    assert.equal(to.tries, 0, 'nothing is retried early');
    to.refuse = null;
    await until(async () => {
      await clock.run(5_000);
      return to.events.length >= 3;
    });
    await pause(QUIET_MS);
    assert.deepEqual(changes(to.events).toSorted(), ['created a', 'created b', 'created there']);
    assert.equal(to.gaps.length, 1);
    to.refuse = 'store_full';
    await writeFile(join(folder, 'c'), '1');
    await until(() => to.tries === 4);
    to.refuse = null;
    await until(async () => {
      await clock.run(5_000);
      return to.events.length === 4;
    });
    assert.deepEqual(
      lines.map((line) => JSON.parse(line)),
      ['gap', 'file change'].map((what) => ({
        source: 'folder',
        again: true,
        message: `${what} not accepted; trying again in 5 s`,
      })),
    );
  });

  test('[log-unwatched] each start, and a file that cannot be checked, makes a gap', async (t) => {
    const folder = await temporaryFolder(t);
    await mkdir(join(folder, 'in'));
    const to = collector();
    const { log } = logLines();
    const source = watching(t, folder, { log });
    await source.start(to.emit);
    assert.deepEqual(
      to.gaps.map(({ name, arguments: args }) => [name, args]),
      [['file.changed', undefined]],
    );
    to.refuseOnce = 'payload_invalid';
    await writeFile(join(folder, 'in', 'bad'), 'x');
    await until(() => to.gaps.length === 2);
    assert.deepEqual(to.gaps[1]?.arguments, { path: 'in/bad', folder: ['in'] });
    await source.stop();
    await source.start(to.emit);
    assert.equal(to.gaps.length, 3);
  });

  test('a change that can never be accepted does not delay the others', async (t) => {
    const folder = await temporaryFolder(t);
    const to = collector();
    await watching(t, folder).start(to.emit);
    to.refuse = 'payload_invalid';
    await writeFile(join(folder, 'bad'), 'x');
    await until(() => to.tries === 1);
    to.refuse = null;
    await writeFile(join(folder, 'good'), 'x');
    await until(() => to.events.length === 1);
    assert.deepEqual(changes(to.events), ['created good']);
  });

  test('after stop nothing is reported, and a later start reports what changed in between', async (t) => {
    const folder = await temporaryFolder(t);
    const to = collector();
    const source = watching(t, folder);
    await source.start(to.emit);
    await source.stop();
    await writeFile(join(folder, 'meanwhile'), 'x');
    await pause(QUIET_MS);
    assert.deepEqual(to.events, []);
    await source.start(to.emit);
    assert.deepEqual(changes(to.events), ['created meanwhile']);
    await chmod(join(folder, 'meanwhile'), 0o600);
  });
});
