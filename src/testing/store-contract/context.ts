/** What a behaviour of the contract gets to work with. */
import assert from 'node:assert/strict';
import type { Opened, Store, Write } from '../../server/store/port.ts';

/** The start of every behaviour's time. */
export const NOW = Date.UTC(2026, 0, 1);

export interface Context {
  /** Open. Changes with `reopen`. */
  store: Store;
  opened: Opened;
  /** Closes the store and opens it again, as another process would. */
  reopen(): Promise<void>;
}

type Run = (context: Context) => Promise<void>;

export interface Behaviour {
  readonly title: string;
  /** Needs a store that survives being closed. */
  readonly durable: boolean;
  readonly run: Run;
}

/** One row of the contract; `check.durable` is for what only a store that survives can show. */
export function check(title: string, run: Run): Behaviour {
  return { title, durable: false, run };
}
check.durable = (title: string, run: Run): Behaviour => ({ title, durable: true, run });

/** The commit is refused with this code of `LocalError`. */
export async function refused(store: Store, writes: readonly Write[], code: string): Promise<void> {
  await assert.rejects(store.commit(writes), (error: unknown) => {
    assert.ok(
      error instanceof Error && error.name === 'LocalError' && 'code' in error,
      `a LocalError, not ${String(error)}`,
    );
    assert.equal(error.code, code);
    return true;
  });
}
