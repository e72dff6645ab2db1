/**
 * The contract of a `Store`, as tests for any implementation:
 *
 * ```ts
 * import { test } from 'vitest';
 * import { storeContract } from 'mcp-triggers-experimental/testing';
 * storeContract({
 *   name: 'mine',
 *   test,
 *   open: async () => ({ store: myStore(path), reopen: async () => myStore(path), close: cleanUp }),
 * });
 * ```
 */
import assert from 'node:assert/strict';
import type { Store } from '../server/store/port.ts';
import { commits } from './store-contract/commits.ts';
import { NOW, type Behavior, type Context } from './store-contract/context.ts';
import { lifecycle } from './store-contract/lifecycle.ts';
import { logs } from './store-contract/logs.ts';
import { lookups } from './store-contract/lookups.ts';
import { notices } from './store-contract/notices.ts';

/** A store for one test, with its data. */
export interface StoreUnderTest {
  /** A new, empty store. The contract calls its `open` and `close`. */
  readonly store: Store;
  /**
   * Returns a new store on the same data, not open yet. The contract has closed the former store
   * before. Not called for volatile stores.
   */
  reopen(): Promise<Store>;
  /** Removes the data. */
  close(): Promise<void>;
}

/** The store under test and the test runner. */
export interface StoreContractOptions {
  /** Prefix of the test titles. */
  readonly name: string;
  /** Creates a store. Called once per test. */
  open(): Promise<StoreUnderTest>;
  /** Registers a test: `test` of vitest, or of another runner. */
  test(title: string, run: () => Promise<void>): unknown;
}

const BEHAVIORS: readonly Behavior[] = [...commits, ...lookups, ...notices, ...logs, ...lifecycle];

/**
 * Registers the tests of the contract. Tests that reopen the store pass without a check for a volatile
 * store.
 */
export function storeContract({ name, open, test }: StoreContractOptions): void {
  for (const { title, durable, run } of BEHAVIORS) {
    test(`${name}: ${title}`, async () => {
      const subject = await open();
      const { store } = subject;
      try {
        if (durable && store.durability === 'volatile') return;
        const context: Context = {
          store,
          opened: await store.open(NOW),
          async reopen() {
            await this.store.close();
            this.store = await subject.reopen();
            this.opened = await this.store.open(NOW);
            assert.equal(
              this.store.durability,
              store.durability,
              'reopen must return a store of the same durability',
            );
          },
        };
        await run(context);
        await context.store.close();
      } finally {
        await store.close();
        await subject.close();
      }
    });
  }
}
