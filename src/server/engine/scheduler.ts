/**
 * Runs the timed work of subscriptions: expiry, retries, expired leases, retention, renewed
 * consent. The store has the next instant of each row (`dueAt`); one timer waits for the earliest,
 * so that idle subscriptions cost nothing.
 */
import type { Clock } from '../../protocol/lib/clock.ts';
import type { Store } from '../store/port.ts';
import type { Log } from './ports.ts';
import type { LoadedSubscription, SubscriptionCache } from './subscription-cache.ts';
import type { UnitOfWork } from './unit-of-work.ts';

/** Most rows handled per round. */
const BATCH = 256;
/**
 * Shortest time between two rounds. Without it, a row that stays due would keep the scheduler busy.
 */
const PAUSE_MS = 20;
/** Postponement of a row whose work failed. */
const FAILED_MS = 60_000;
/** Time between two rounds while rows are postponed, and after a failed round. */
const LOOK_MS = 1000;

export interface SchedulerOptions {
  readonly store: Store;
  readonly cache: SubscriptionCache;
  readonly unitOfWork: UnitOfWork;
  readonly clock: Clock;
  readonly log: Log;
  /**
   * Does the timed work of one subscription. Resolves with the instant until which the row,
   * although due, is skipped; null = not skipped.
   */
  tick(loaded: LoadedSubscription): Promise<number | null>;
}

export class Scheduler {
  readonly #o: SchedulerOptions;
  /** Rows that are due but skipped, with the instant until which they are. */
  readonly #postponed = new Map<number, number>();
  /** When the next round starts. */
  #at = Number.POSITIVE_INFINITY;
  #cancel: (() => void) | null = null;
  #running: Promise<void> | null = null;
  #closed = false;

  constructor(options: SchedulerOptions) {
    this.#o = options;
  }

  /** Makes sure that the next round starts no later than `at`. */
  arm(at: number): void {
    if (this.#closed || at >= this.#at) return;
    this.#cancel?.();
    this.#at = at;
    this.#cancel =
      this.#running === null
        ? this.#o.clock.after(Math.max(0, at - this.#o.clock.now()), () => this.#start())
        : null;
  }

  /** Ends the postponement of a row. */
  release(row: number): void {
    if (this.#postponed.delete(row)) this.arm(this.#o.clock.now() + PAUSE_MS);
  }

  /** Starts no further round; resolves when the current one has ended. */
  async close(): Promise<void> {
    this.#closed = true;
    this.#cancel?.();
    await this.#running;
  }

  #start(): void {
    // Calls of `arm` during the round take effect at its end.
    this.#at = Number.POSITIVE_INFINITY;
    this.#cancel = null;
    this.#running = this.#run().then((next) => {
      this.#running = null;
      const at = Math.min(this.#at, next ?? Number.POSITIVE_INFINITY);
      this.#at = Number.POSITIVE_INFINITY;
      if (at !== Number.POSITIVE_INFINITY) this.arm(Math.max(at, this.#o.clock.now() + PAUSE_MS));
    });
  }

  /** Runs one round. Resolves with the instant of the next one; null = no row will be due. */
  async #run(): Promise<number | null> {
    const { store, unitOfWork, clock, log } = this.#o;
    const now = clock.now();
    for (const [row, until] of this.#postponed) if (until <= now) this.#postponed.delete(row);
    try {
      const due = await store.due(now, BATCH + this.#postponed.size);
      const rows = due.filter((row) => !this.#postponed.has(row)).slice(0, BATCH);
      for (const row of rows) {
        if (this.#closed) return null;
        await this.#tick(row);
      }
      await unitOfWork.commit();
      const next = await store.nextDueAt();
      // The earliest instant may be that of a postponed row, so the next round comes after a pause
      // even if no other row is due.
      return next === null || this.#postponed.size === 0
        ? next
        : Math.max(next, clock.now() + LOOK_MS);
    } catch (cause) {
      log.error({ err: cause }, 'scheduler round failed; retrying in 1 s');
      return clock.now() + LOOK_MS;
    }
  }

  async #tick(row: number): Promise<void> {
    const { cache, clock, log, tick } = this.#o;
    try {
      const loaded = await cache.getOrLoad(row);
      if (loaded === undefined || loaded.ended) return;
      const until = await tick(loaded);
      if (until !== null) this.#postponed.set(row, until);
    } catch (cause) {
      this.#postponed.set(row, clock.now() + FAILED_MS);
      log.error({ row, err: cause }, 'timed work of a subscription failed; retrying in 60 s');
    }
  }
}
