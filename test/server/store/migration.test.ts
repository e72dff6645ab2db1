/** Tests migrations: applied once, in a transaction, and never to a foreign file. */
import assert from 'node:assert/strict';
import { readFileSync, writeFileSync } from 'node:fs';
import { DatabaseSync } from 'node:sqlite';
import { test } from 'vitest';
import { eventChecksum } from '../../../src/server/store/sqlite/codec.ts';
import { sqliteStore } from '../../../src/server/store/sqlite/index.ts';
import { sql as initial } from '../../../src/server/store/sqlite/migrations/0001-initial.sql.ts';
import { migrate, SCHEMA_VERSION } from '../../../src/server/store/sqlite/schema.ts';
import { create, event, plain } from '../../../src/testing/store-contract/samples.ts';
import { KEY, place } from './place.ts';

const objects = (database: DatabaseSync) =>
  database.prepare('SELECT type, name, sql FROM sqlite_schema ORDER BY name').all();

test('a second run changes nothing', () => {
  const database = new DatabaseSync(':memory:');
  migrate(database);
  const before = objects(database);
  assert.ok(before.length > 7);
  migrate(database);
  assert.deepEqual(objects(database), before);
  assert.deepEqual(
    { ...database.prepare('PRAGMA user_version').get() },
    { user_version: SCHEMA_VERSION },
  );
});

test('the owners of a store of version 1 keep what they have', () => {
  const database = new DatabaseSync(':memory:');
  const owner = '["https://issuer.example","ann"]';
  /** Inserts a row; columns that must have a value and are not given get one of their type. */
  const fill = (table: string, given: Readonly<Record<string, string | number>>): void => {
    const row: Record<string, string | number> = { ...given };
    for (const [, name, type, mustHave, preset] of database
      .prepare(`PRAGMA table_info(${table})`)
      .all()
      .map((column) => Object.values(column)))
      if (mustHave === 1 && preset === null) row[String(name)] ??= type === 'TEXT' ? 'x' : 0;
    const names = Object.keys(row);
    database
      .prepare(`INSERT INTO ${table} (${names.join()}) VALUES (${names.map(() => '?').join()})`)
      .run(...Object.values(row));
  };
  database.exec(`${initial}; PRAGMA user_version = 1; PRAGMA application_id = 0x6d637074`);
  for (const table of ['subscriptions', 'tombstones', 'verifications'])
    fill(table, { principal: owner });
  migrate(database);
  for (const table of ['subscriptions', 'tombstones', 'verifications'])
    assert.deepEqual(
      database
        .prepare(`SELECT owner FROM ${table}`)
        .all()
        .map((row) => ({ ...row })),
      [{ owner }],
      table,
    );
  assert.throws(() => fill('subscriptions', { owner, subscription_id: 'another' }), /UNIQUE/);
});

test('a migration that fails half-way leaves nothing behind and runs completely the next time', () => {
  const database = new DatabaseSync(':memory:');
  // Space for some of the tables only.
  database.exec('PRAGMA max_page_count = 6');
  assert.throws(() => migrate(database), /full/);
  if (database.isTransaction) database.exec('ROLLBACK');
  assert.deepEqual(objects(database), []);
  database.exec('PRAGMA max_page_count = 1000');
  migrate(database);
  assert.ok(objects(database).length > 7);
});

test('[log-once] a store of version 1 keeps its events, and an event of any scope repeats them', async (t) => {
  const path = place(t);
  const old = new DatabaseSync(path);
  old.exec(`${initial} PRAGMA user_version = 1; PRAGMA application_id = ${0x6d637074}`);
  const insert = old.prepare(
    'INSERT INTO accepted_events (offset, name, event_id, accepted_at, redacted, checksum, encoded) VALUES (?, ?, ?, ?, ?, ?, ?)',
  );
  const events: [name: string, eventId: string, redacted: number, encoded: string | null][] = [
    ['issue.opened', 'e1', 0, '{"eventId":"e1"}'],
    ['build.done', 'e1', 1, null],
    ['build.done', 'e3', 0, '{"eventId":"e3"}'],
  ];
  events.forEach(([name, id, redacted, encoded], at) => {
    const checksum = eventChecksum(at + 1, 1000 + at, redacted, encoded);
    insert.run(at + 1, name, id, 1000 + at, redacted, checksum, encoded);
  });
  const entry = old.prepare('INSERT INTO log_entries VALUES (?, ?, ?, ?)');
  entry.run(1, 1, 1, null);
  entry.run(1, 2, 0, 'skipped');
  old.close();
  const store = sqliteStore({ path, key: KEY });
  await store.open(0);
  assert.deepEqual(
    await store.accepted(0, 10),
    events.map(([name, eventId, , encoded], at) => ({
      offset: at + 1,
      scope: null,
      name,
      eventId,
      gap: null,
      audience: null,
      acceptedAt: 1000 + at,
      encoded,
    })),
  );
  assert.deepEqual(
    await store.history(['build.done'], 0, 0, 10),
    (await store.accepted(0, 10)).slice(1),
  );
  assert.deepEqual(
    (await store.read(1, 0, 10, 1000)).map(({ gap, encoded }) => [gap, encoded]),
    [
      [null, '{"eventId":"e1"}'],
      ['skipped', null],
    ],
  );
  const known = async (): Promise<(number | null)[]> =>
    store.known([
      { scope: '', name: 'issue.opened', eventId: 'e1' },
      { scope: 'hook-7', name: 'issue.opened', eventId: 'e1' },
      { scope: 'hook-7', name: 'issue.opened', eventId: 'e3' },
    ]);
  assert.deepEqual(await known(), [1, 1, null]);
  await store.commit([event(4, 'issue.opened', '{}', { scope: 'hook-7' })]);
  assert.deepEqual((await store.accepted(3, 1))[0]?.scope, 'hook-7');
  await store.close();
  await store.open(0);
  assert.deepEqual(await known(), [1, 1, null]);
  await store.close();
});

test('[type-payload-valid] a store of version 6 keeps the reasons of its gaps and its subscriptions, and takes the new ones', async (t) => {
  const path = place(t);
  const store = sqliteStore({ path, key: KEY });
  await store.open(0);
  const states = [
    plain('a'),
    plain('b', { retention: { maxAgeMs: 1, maxEvents: 2, maxBytes: 3 } }),
  ];
  await store.commit([
    ...states.map((state, at) => create(at + 1, state)),
    event(1, 'issue.opened', '{}', { gap: 'invalid', audience: ['ann'] }),
    event(2),
  ]);
  await store.close();
  // Takes the store back to version 6.
  const old = new DatabaseSync(path);
  old.exec(`
    DROP INDEX tombstones_by_owner;
    ALTER TABLE progress DROP COLUMN ends_at;
    ALTER TABLE subscriptions DROP COLUMN data_ref;
    ALTER TABLE accepted_events DROP COLUMN data;
    ALTER TABLE accepted_events DROP COLUMN data_checksum;
    ALTER TABLE accepted_events DROP COLUMN data_bytes;
    ALTER TABLE accepted_events RENAME COLUMN gap TO gap_7;
    ALTER TABLE accepted_events ADD COLUMN gap TEXT CHECK (gap IN ('invalid', 'unwatched'));
    UPDATE accepted_events SET gap = gap_7;
    ALTER TABLE accepted_events DROP COLUMN gap_7;
    PRAGMA user_version = 6`);
  old.close();
  await store.open(0);
  assert.deepEqual(
    (await store.accepted(0, 10)).map(({ gap, audience }) => [gap, audience]),
    [
      ['invalid', ['ann']],
      [null, null],
    ],
  );
  assert.deepEqual(
    (await store.load([1, 2])).map(({ state }) => state),
    states,
  );
  await store.commit([
    event(3, 'issue.opened', '{}', { gap: 'too_large' }),
    event(4, 'issue.opened', '{}', {}, '{}'),
  ]);
  assert.equal(await store.data(4), '{}');
  await store.close();
});

test('leaves a store of a newer version unchanged, and says what to do', async (t) => {
  const path = place(t);
  const store = sqliteStore({ path, key: KEY });
  await store.open(0);
  await store.commit([event(1)]);
  await store.close();
  const database = new DatabaseSync(path);
  database.exec(`PRAGMA user_version = ${SCHEMA_VERSION + 1}`);
  database.close();
  await assert.rejects(store.open(0), {
    code: 'store_corrupt',
    message: /newer version created this store \(schema \d+; this version supports up to \d+\)/,
  });
  const back = new DatabaseSync(path);
  back.exec(`PRAGMA user_version = ${SCHEMA_VERSION}`);
  back.close();
  assert.equal((await store.open(0)).continuity, 'continued');
  await store.close();
});

test('leaves a database of another application, and a file that is not a database, unchanged', async (t) => {
  const foreign = place(t);
  const database = new DatabaseSync(foreign);
  database.exec('CREATE TABLE theirs (x)');
  database.close();
  await assert.rejects(sqliteStore({ path: foreign, key: KEY }).open(0), {
    code: 'store_corrupt',
    message: /of another application/,
  });
  const check = new DatabaseSync(foreign);
  assert.deepEqual(
    objects(check).map((row) => row['name']),
    ['theirs'],
  );
  check.close();

  const text = place(t);
  const content = 'This is a letter, not a database. '.repeat(100);
  writeFileSync(text, content);
  await assert.rejects(sqliteStore({ path: text, key: KEY }).open(0), {
    code: 'store_corrupt',
    message: /not a SQLite database/,
  });
  assert.equal(readFileSync(text, 'utf8'), content);
});
