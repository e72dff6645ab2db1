/**
 * The contract of a `Store`, as tests that anybody can run over a store of their own:
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
import { NOW, type Behaviour, type Context } from './store-contract/context.ts';
import { lives } from './store-contract/lives.ts';
import { logs } from './store-contract/logs.ts';
import { lookups } from './store-contract/lookups.ts';

/** One store for one behaviour, with its data. */
export interface StoreUnderTest {
  /** A new, empty store. The contract calls its `open` and `close`. */
  readonly store: Store;
  /** Another object on the same data, not open yet; the one before is closed by then. Not called for volatile stores. */
  reopen(): Promise<Store>;
  /** Removes the data. */
  close(): Promise<void>;
}

/** Which store, and which test runner. */
export interface StoreContractOptions {
  /** Stands before the title of every test. */
  readonly name: string;
  /** Called once for each behaviour: they share nothing. */
  open(): Promise<StoreUnderTest>;
  /** Registers a test: `test` of vitest, or of another runner. */
  test(title: string, run: () => Promise<void>): unknown;
}

const BEHAVIOURS: readonly Behaviour[] = [...commits, ...lookups, ...logs, ...lives];

/** Registers the whole contract with `test`. A volatile store is spared what needs a second opening. */
export function storeContract({ name, open, test }: StoreContractOptions): void {
  for (const { title, durable, run } of BEHAVIOURS) {
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
