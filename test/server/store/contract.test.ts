/**
 * Runs the published contract over both forms of the SQLite store, and over the model that the
 * SQLite store is compared with.
 */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'vitest';
import { sqliteStore } from '../../../src/server/store/sqlite/index.ts';
import { storeContract } from '../../../src/testing/store-contract.ts';
import { emptyData, modelStore } from './model.ts';
import { KEY } from './place.ts';

storeContract({
  name: 'sqlite file',
  test,
  async open() {
    const directory = mkdtempSync(join(tmpdir(), 'triggers-contract-'));
    const make = () => sqliteStore({ path: join(directory, 'store.db'), key: KEY, check: 'full' });
    return {
      store: make(),
      reopen: async () => make(),
      close: async () => rmSync(directory, { recursive: true }),
    };
  },
});

storeContract({
  name: 'sqlite memory',
  test,
  async open() {
    const make = () => sqliteStore({ path: ':memory:', key: undefined });
    return { store: make(), reopen: async () => make(), close: async () => {} };
  },
});

storeContract({
  name: 'model',
  test,
  async open() {
    const disk = emptyData();
    return { store: modelStore(disk), reopen: async () => modelStore(disk), close: async () => {} };
  },
});
