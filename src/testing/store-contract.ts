/**
 * The contract of a `Store`, as tests for any implementation:
 *
 * ```ts
 * import { test } from 'vitest';
 * import { storeContract } from 'mcp-triggers-experimental/testing';
 * storeContract({
 *   name: 'mine',
 *   test,
 *   open: async () => ({ store: myStore(where), reopen: async () => myStore(where), close: cleanUp }),
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

/** A store for one test, with its data. */
export interface StoreUnderTest {
  /** A new, empty store. The contract calls its `open` and `close`. */
  readonly store: Store;
  /**
   * Returns another store on the same data, not open. The former one is closed by then. Not called
   * for volatile stores.
   */
  reopen(): Promise<Store>;
  /** Removes the data. */
  close(): Promise<void>;
}

/** The store and the test runner. */
export interface StoreContractOptions {
  /** Prefix of the test titles. */
  readonly name: string;
  /** Creates a store; called once per test. */
  open(): Promise<StoreUnderTest>;
  /** Registers a test: `test` of vitest, or of another runner. */
  test(title: string, run: () => Promise<void>): unknown;
}

const BEHAVIORS: readonly Behavior[] = [...commits, ...lookups, ...logs, ...lifecycle];

/**
 * Registers the contract with `test`. Tests that reopen the store do nothing for a volatile one.
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
              'the same store has the same durability',
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
