/** Types and helpers that the tests of the contract share. */
import assert from 'node:assert/strict';
import type { Opened, Store, Write } from '../../server/store/port.ts';

/** The time at which every test starts. */
export const NOW = Date.UTC(2026, 0, 1);

/** The store of one test. */
export interface Context {
  /** The open store. `reopen` replaces it. */
  store: Store;
  opened: Opened;
  /** Closes the store and opens the same data in a new one, as another process does. */
  reopen(): Promise<void>;
}

type Run = (context: Context) => Promise<void>;

/** One test. */
export interface Behavior {
  readonly title: string;
  /** Whether the test needs a store that keeps its data when closed. */
  readonly durable: boolean;
  readonly run: Run;
}

/** Defines a test; `check.durable` defines one for durable stores only. */
export function check(title: string, run: Run): Behavior {
  return { title, durable: false, run };
}
check.durable = (title: string, run: Run): Behavior => ({ title, durable: true, run });

/** Asserts that the commit rejects with a `LocalError` of this code. */
export async function assertRejected(
  store: Store,
  writes: readonly Write[],
  code: string,
): Promise<void> {
  await assert.rejects(store.commit(writes), (error: unknown) => {
    assert.ok(
      error instanceof Error && error.name === 'LocalError' && 'code' in error,
      `expected a LocalError, got ${String(error)}`,
    );
    assert.equal(error.code, code);
    return true;
  });
}
