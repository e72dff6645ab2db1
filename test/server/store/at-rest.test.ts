/** Tests what is on disk: callback URLs and secrets only encrypted, redacted data not at all. */
import assert from 'node:assert/strict';
import { existsSync, readFileSync, statSync } from 'node:fs';
import { DatabaseSync } from 'node:sqlite';
import { test } from 'vitest';
import { sqliteStore } from '../../../src/server/store/sqlite/index.ts';
import { createCipher } from '../../../src/server/store/sqlite/cipher.ts';
import {
  callback,
  checkpoint,
  create,
  entry,
  event,
  full,
  notice,
  plain,
  tombstone,
} from '../../../src/testing/store-contract/samples.ts';
import { copyStore, KEY, place, SUFFIXES } from './place.ts';

/** The strings that occur in any file of the store. */
function leaked(path: string, canaries: readonly string[]): string[] {
  const files = SUFFIXES.map((suffix) => path + suffix)
    .filter((file) => existsSync(file))
    .map((file) => readFileSync(file));
  return canaries.filter((canary) =>
    files.some((file) => file.includes(canary) || file.includes(Buffer.from(canary, 'utf16le'))),
  );
}

test('[ssrf-at-rest] no file of the store holds a callback URL or secret in plain text, while open and after', async (t) => {
  const path = place(t);
  const aside = place(t);
  const store = sqliteStore({ path, key: KEY });
  await store.open(0);
  await store.commit([
    create(1, full('canary')),
    create(2, plain('b', { principal: 'visible-principal' })),
  ]);
  await store.commit([
    {
      type: 'configure',
      row: 1,
      state: {
        ...full('canary'),
        callback: { ...callback('canary'), url: 'https://second.example/hidden' },
      },
      dueAt: null,
    },
  ]);
  await store.commit([
    {
      type: 'end',
      row: 1,
      tombstone: tombstone(full('canary')),
      notice: notice(full('canary')),
    },
  ]);
  const { url, secret, previousSecret } = callback('canary');
  const canaries = [
    url,
    secret,
    previousSecret,
    'token=hidden',
    'callback.example',
    'https://second.example/hidden',
    callback('sub_canary').secret,
  ];
  copyStore(path, aside, SUFFIXES);
  assert.deepEqual(
    leaked(aside, [...canaries, 'visible-principal']),
    ['visible-principal'],
    'the search finds what is there',
  );
  await store.close();
  assert.deepEqual(leaked(path, canaries), []);
});

test('only their owner can read the files of a store', async (t) => {
  const path = place(t);
  const store = sqliteStore({ path, key: KEY });
  await store.open(0);
  await store.commit([event(1)]);
  for (const suffix of SUFFIXES)
    assert.equal(statSync(path + suffix).mode & 0o077, 0, `store.db${suffix}`);
  await store.close();
});

test('reports a wrong key, and a missing key for a store that has one, at open', async (t) => {
  const path = place(t);
  const store = sqliteStore({ path, key: KEY });
  await store.open(0);
  await store.close();
  await assert.rejects(sqliteStore({ path, key: new Uint8Array(32).fill(8) }).open(0), {
    code: 'key_unknown',
    message: /key with which the store was created/,
  });
  await assert.rejects(sqliteStore({ path, key: undefined }).open(0), { code: 'key_unknown' });
  await assert.rejects(sqliteStore({ path, key: new Uint8Array(31) }).open(0), {
    code: 'config_invalid',
    message: /32 bytes, but has 31/,
  });
  const right = sqliteStore({ path, key: KEY });
  await right.open(0);
  await right.close();
});

test('without a key a store keeps everything but callbacks, and accepts a key later', async (t) => {
  const path = place(t);
  const keyless = sqliteStore({ path, key: undefined });
  await keyless.open(0);
  await keyless.commit([create(1, plain('a'))]);
  await assert.rejects(keyless.commit([create(2, full('b'))]), {
    code: 'key_unknown',
    message: /opened without a key/,
  });
  await keyless.close();
  const keyed = sqliteStore({ path, key: KEY });
  await keyed.open(0);
  await keyed.commit([create(2, full('b'))]);
  assert.deepEqual(
    (await keyed.load([1, 2])).map(({ state }) => state),
    [plain('a'), full('b')],
  );
  await keyed.close();
});

test('an encrypted callback that was moved to another subscription does not decrypt', async (t) => {
  const path = place(t);
  const store = sqliteStore({ path, key: KEY });
  await store.open(0);
  await store.commit([create(1, full('a')), create(2, full('b'))]);
  await store.close();
  const database = new DatabaseSync(path);
  database.exec(
    'UPDATE subscriptions SET callback_sealed = (SELECT callback_sealed FROM subscriptions WHERE row = 2) WHERE row = 1',
  );
  database.close();
  await store.open(0);
  await assert.rejects(
    store.load([1]),
    (error: Error & { code: string }) =>
      error.code === 'store_corrupt' && !/whsec|https|callback\.example/.test(error.message),
  );
  assert.equal((await store.load([2])).length, 1);
  await store.close();
});

test('the same text encrypted twice looks different, and every changed byte is noticed', () => {
  const cipher = createCipher(KEY);
  const encrypted = cipher.encrypt('table/column/1', 'plain ü');
  assert.equal(cipher.decrypt('table/column/1', encrypted), 'plain ü');
  assert.notDeepEqual(cipher.encrypt('table/column/1', 'plain ü'), encrypted);
  assert.throws(() => cipher.decrypt('table/column/2', encrypted), { code: 'store_corrupt' });
  for (let at = 0; at < encrypted.length; at += 1) {
    const changed = Uint8Array.from(encrypted);
    changed[at]! ^= 1;
    assert.throws(
      () => cipher.decrypt('table/column/1', changed),
      { code: 'store_corrupt' },
      `byte ${at}`,
    );
  }
  for (const length of [0, 1, 12, 28])
    assert.throws(() => cipher.decrypt('table/column/1', encrypted.subarray(0, length)), {
      code: 'store_corrupt',
    });
});

test('redacted data is gone from every file at once, however large it was', async (t) => {
  const path = place(t);
  const aside = place(t);
  const store = sqliteStore({ path, key: KEY });
  await store.open(0);
  const large = `"begin-canary${'x'.repeat(20_000)}end-canary"`;
  await store.commit([
    create(1, plain('a')),
    event(1, 'issue.opened', large),
    event(2, 'issue.opened', '"small-canary"'),
    event(3),
    entry(1, 1, 1),
    entry(1, 2, 2),
    checkpoint(3),
  ]);
  copyStore(path, aside, SUFFIXES);
  const canaries = ['begin-canary', 'end-canary', 'small-canary'];
  assert.deepEqual(leaked(aside, canaries), canaries);
  await store.commit([
    { type: 'redact', offset: 1 },
    { type: 'redact', offset: 2 },
  ]);
  copyStore(path, aside, SUFFIXES);
  assert.deepEqual(leaked(aside, canaries), []);
  assert.deepEqual(
    (await store.read(1, 0, 10, 1e6)).map(({ gap }) => gap),
    ['redacted', 'redacted'],
  );
  await store.close();
});
