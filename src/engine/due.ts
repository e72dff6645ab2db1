/**
 * Everything that has to happen at some time (expiry, retries, lost leases, retention) waits in the store's `due` column. One
 * timer is set for the earliest; nothing ticks for each subscription.
 */
import type { Book, Held } from './book.ts';
import type { Clock, Log, Store } from './ports.ts';

const BATCH = 256;
/** A row that stays due must not spin. */
const PAUSE_MS = 20;

export interface DueOptions {
  readonly store: Store;
  readonly book: Book;
  readonly clock: Clock;
  readonly log: Log;
  /** Does what is due for one subscription. */
  tick(held: Held): Promise<void>;
}

export class Due {
  readonly #o: DueOptions;
  #at = Number.POSITIVE_INFINITY;
  #cancel: (() => void) | null = null;
  #running = false;
  #closed = false;

  constructor(options: DueOptions) {
    this.#o = options;
  }

  /** Something is due at this instant: make sure the timer is not later. */
  arm(at: number): void {
    if (this.#closed || this.#running || at >= this.#at) return;
    this.#cancel?.();
    this.#at = at;
    this.#cancel = this.#o.clock.after(Math.max(0, at - this.#o.clock.now()), () => void this.#run());
  }

  close(): void {
    this.#closed = true;
    this.#cancel?.();
  }

  async #run(): Promise<void> {
    const { store, book, clock, log } = this.#o;
    this.#at = Number.POSITIVE_INFINITY;
    this.#cancel = null;
    this.#running = true;
    let next: number | null = null;
    try {
      const rows = await store.due(clock.now(), BATCH);
      await book.hold(rows);
      for (const row of rows) {
        const held = book.peek(row);
        if (held !== undefined && !held.ended) await this.#o.tick(held);
      }
      await book.commit();
      next = await store.nextDueAt();
    } catch (cause) {
      log.error({ cause }, 'what was due could not be done; it is tried again');
      next = clock.now() + 1000;
    } finally {
      this.#running = false;
    }
    if (next !== null) this.arm(Math.max(next, clock.now() + PAUSE_MS));
  }
}
