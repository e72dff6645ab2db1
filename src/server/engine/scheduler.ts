/**
 * Everything that has to happen at some time (expiry, retries, lost leases, retention) waits in the store's `due` column. One
 * timer is set for the earliest; nothing ticks for each subscription.
 */
import type { UnitOfWork, LoadedSubscription } from './unit-of-work.ts';
import type { Clock } from '../../protocol/lib/clock.ts';
import type { Log } from './ports.ts';
import type { Store } from '../store/port.ts';

const BATCH = 256;
/** A row that stays due must not spin. */
const PAUSE_MS = 20;
/** How long a row is left alone whose work failed, and how often the others are looked at while rows are left alone. */
const FAILED_MS = 60_000;
const LOOK_MS = 1000;

export interface SchedulerOptions {
  readonly store: Store;
  readonly unitOfWork: UnitOfWork;
  readonly clock: Clock;
  readonly log: Log;
  /** Does what is due for one subscription. Resolves with an instant when the row stays due until then, for reasons of its own. */
  tick(loaded: LoadedSubscription): Promise<number | null>;
}

export class Scheduler {
  readonly #o: SchedulerOptions;
  /** Rows that stay due and are left alone until this instant, so that they do not hold up the others. */
  readonly #aside = new Map<number, number>();
  #at = Number.POSITIVE_INFINITY;
  #cancel: (() => void) | null = null;
  #running: Promise<void> | null = null;
  #closed = false;

  constructor(options: SchedulerOptions) {
    this.#o = options;
  }

  /** Something is due at this instant: make sure the timer is not later. */
  arm(at: number): void {
    if (this.#closed || at >= this.#at) return;
    this.#cancel?.();
    this.#at = at;
    this.#cancel =
      this.#running === null
        ? this.#o.clock.after(Math.max(0, at - this.#o.clock.now()), () => this.#start())
        : null;
  }

  /** The work that kept a row due has ended. */
  release(row: number): void {
    if (this.#aside.delete(row)) this.arm(this.#o.clock.now() + PAUSE_MS);
  }

  /** Starts nothing more; resolves when what is under way has ended. */
  async close(): Promise<void> {
    this.#closed = true;
    this.#cancel?.();
    await this.#running;
  }

  #start(): void {
    // What is armed from here on waits for the end of the round.
    this.#at = Number.POSITIVE_INFINITY;
    this.#cancel = null;
    this.#running = this.#run().then((next) => {
      this.#running = null;
      const at = Math.min(this.#at, next ?? Number.POSITIVE_INFINITY);
      this.#at = Number.POSITIVE_INFINITY;
      if (at !== Number.POSITIVE_INFINITY) this.arm(Math.max(at, this.#o.clock.now() + PAUSE_MS));
    });
  }

  /** One round; resolves with the instant of the next. */
  async #run(): Promise<number | null> {
    const { store, unitOfWork, clock, log } = this.#o;
    const now = clock.now();
    for (const [row, until] of this.#aside) if (until <= now) this.#aside.delete(row);
    try {
      const due = await store.due(now, BATCH + this.#aside.size);
      const rows = due.filter((row) => !this.#aside.has(row)).slice(0, BATCH);
      for (const row of rows) {
        if (this.#closed) return null;
        await this.#tick(row);
      }
      await unitOfWork.commit();
      const next = await store.nextDueAt();
      // Those left aside hide what is due next among the others.
      return next === null || this.#aside.size === 0 ? next : Math.max(next, clock.now() + LOOK_MS);
    } catch (cause) {
      log.error({ err: cause }, 'what was due could not be done; it is tried again');
      return clock.now() + LOOK_MS;
    }
  }

  async #tick(row: number): Promise<void> {
    const { unitOfWork, clock, log, tick } = this.#o;
    try {
      const loaded = await unitOfWork.getOrLoad(row);
      if (loaded === undefined || loaded.ended) return;
      const until = await tick(loaded);
      if (until !== null) this.#aside.set(row, until);
    } catch (cause) {
      this.#aside.set(row, clock.now() + FAILED_MS);
      log.error(
        { row, err: cause },
        'what was due for one subscription could not be done; the others go on',
      );
    }
  }
}
