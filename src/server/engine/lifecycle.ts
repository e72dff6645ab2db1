/**
 * Starts, recovers and closes the engine. Recovery after a crash is the ordinary start. Recovery
 * after a failed commit repeats, in the running process, the steps of the start that resume work.
 */
import type { Clock } from '../../protocol/lib/clock.ts';
import { LocalError } from '../../protocol/wire/errors.ts';
import type { Dispatcher } from '../callback/dispatcher.ts';
import type { Notices } from '../callback/notices.ts';
import type { Pulls } from '../pull/pulls.ts';
import type { Opened, Store } from '../store/port.ts';
import type { LogListeners } from '../stream/log-listeners.ts';
import type { Catalog } from './catalog.ts';
import type { Maintenance } from './maintenance.ts';
import { newEpoch, type Egress, type Log, type Random } from './ports.ts';
import type { Scheduler } from './scheduler.ts';
import type { Sequencer } from './sequencer.ts';
import type { SubscribeHandler } from './subscribe.ts';
import type { SubscriptionCache } from './subscription-cache.ts';
import type { Subscriptions } from './subscriptions.ts';
import type { UnitOfWork } from './unit-of-work.ts';
import type { EngineHealth } from './verbs.ts';

/** Subscriptions per commit during recovery. */
const SWEEP = 256;
/** Longest wait of `close` for calls in progress, and again for attempts in flight. */
const CLOSE_PATIENCE_MS = 12_000;
/** Pause after a failed commit, during which no event is accepted. */
const STORE_PAUSE_MS = 1000;

export interface LifecycleOptions {
  readonly store: Store;
  readonly cache: SubscriptionCache;
  readonly unitOfWork: UnitOfWork;
  readonly catalog: Catalog;
  readonly sequencer: Sequencer;
  readonly subscriptions: Subscriptions;
  readonly subscribe: SubscribeHandler;
  readonly dispatcher: Dispatcher;
  readonly notices: Notices;
  readonly listeners: LogListeners;
  readonly pulls: Pulls;
  readonly scheduler: Scheduler;
  readonly maintenance: Maintenance;
  readonly egress: Egress;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Log;
}

export class Lifecycle {
  readonly #o: LifecycleOptions;
  #status: EngineHealth['status'] = 'starting';
  /** Why, and until when (epoch milliseconds), events are not accepted after a failed commit. */
  #refusal: { readonly error: LocalError; readonly until: number } | null = null;
  #generation = 0;
  #closing: Promise<void> | null = null;
  #cancelResume: (() => void) | null = null;
  /** Calls in progress. */
  #calls = 0;
  #onIdle: (() => void) | null = null;

  constructor(options: LifecycleOptions) {
    this.#o = options;
  }

  get status(): EngineHealth['status'] {
    return this.#status;
  }
  /** See `Opened.generation`; 0 before the start. */
  get generation(): number {
    return this.#generation;
  }

  /* -------------------- start ----------------------------------------------------------------- */

  async start(): Promise<void> {
    const { store, catalog, clock, log, maintenance, notices, sequencer, subscribe } = this.#o;
    const opened = await store.open(clock.now());
    this.#generation = opened.generation;
    subscribe.start(opened.nextRow);
    const rows: number[] = [];
    const undeclared: number[] = [];
    for await (const { row, principal, select } of store.index()) {
      sequencer.load(row, principal, select);
      rows.push(row);
      if (select.some(({ name }) => catalog.get(name) === undefined)) undeclared.push(row);
    }
    await this.#rotateEpochs(opened, rows);
    await this.#endUndeclared(undeclared);
    sequencer.start(opened.lastOffset, opened.checkpoint);
    await this.#resumeCallbacks();
    await this.#armScheduler();
    notices.resume();
    maintenance.start();
    this.#status = 'ok';
    log.info(
      { generation: opened.generation, continuity: opened.continuity, subscriptions: rows.length },
      'engine started',
    );
  }

  /**
   * Gives every log a new epoch if the store may have lost commits. Runs before the engine serves
   * any call.
   */
  async #rotateEpochs({ continuity }: Opened, rows: readonly number[]): Promise<void> {
    if (continuity !== 'maybe_lost') return;
    const { unitOfWork, subscriptions, random, log } = this.#o;
    log.warn(
      { subscriptions: rows.length },
      'store may have lost writes that clients have seen; every log gets a new epoch',
    );
    await subscriptions.visit(rows, (loaded) =>
      unitOfWork.step(loaded, { type: 'rotate', epoch: newEpoch(random) }),
    );
  }

  /**
   * Ends subscriptions to a trigger type that the server no longer declares (SEP: Trigger types).
   */
  async #endUndeclared(rows: readonly number[]): Promise<void> {
    const { unitOfWork, subscriptions, log } = this.#o;
    if (rows.length > 0)
      log.warn(
        { subscriptions: rows.length },
        'trigger type of subscriptions is not declared; they end with trigger_removed',
      );
    await subscriptions.visit(rows, (loaded) =>
      unitOfWork.step(loaded, { type: 'terminate', reason: 'trigger_removed' }),
    );
  }

  /**
   * Lets every callback with undelivered events continue. Voids attempts that this process did not
   * make, so that their events are claimed again.
   */
  async #resumeCallbacks(): Promise<void> {
    const { store, unitOfWork, subscriptions, dispatcher } = this.#o;
    let after = 0;
    for (;;) {
      const rows = await store.backlog(after, SWEEP);
      const last = rows.at(-1);
      if (last === undefined) return;
      await subscriptions.visit(rows, (loaded) => {
        // The dispatcher settles the attempt that it made; a second one in parallel could change
        // the order.
        if (!dispatcher.owns(loaded)) unitOfWork.step(loaded, { type: 'recover' });
      });
      after = last;
    }
  }

  async #armScheduler(): Promise<void> {
    const next = await this.#o.store.nextDueAt();
    if (next !== null) this.#o.scheduler.arm(next);
  }

  /* -------------------- calls ----------------------------------------------------------------- */

  /** Throws `LocalError` `closed` before `start` has resolved and after `close`. */
  assertRunning(): void {
    if (this.#status === 'closed' || this.#status === 'starting')
      throw new LocalError(
        'closed',
        'The engine is not running. Await start() first; after close(), create a new engine.',
      );
  }

  /**
   * Runs a call; `close` waits for it. Rejects with `LocalError` `closed` while the engine is not
   * running.
   */
  async serve<T>(work: () => Promise<T>): Promise<T> {
    this.assertRunning();
    this.#calls += 1;
    try {
      return await work();
    } finally {
      this.#calls -= 1;
      if (this.#calls === 0) this.#onIdle?.();
    }
  }

  /**
   * Why the engine accepts no events at the moment; null = it accepts them. It accepts none for a
   * while after a failed commit, so that acknowledgements still fit into a full store.
   */
  refusal(): LocalError | null {
    if (this.#status === 'closed' || this.#status === 'starting')
      return new LocalError(
        'closed',
        'The engine is not running. Await start() before emitting; after close(), create a new engine.',
      );
    if (this.#refusal !== null && this.#o.clock.now() < this.#refusal.until)
      return this.#refusal.error;
    return null;
  }

  /* -------------------- failed commits -------------------------------------------------------- */

  /**
   * Handles a failed commit, after which the cache is empty: pauses, then resumes from the state on
   * disk.
   */
  commitFailed(cause: unknown): void {
    const { clock, log, sequencer } = this.#o;
    const error =
      cause instanceof LocalError
        ? cause
        : new LocalError('store_failed', 'The store could not write. See the log for the cause.', {
            cause,
          });
    log.error({ code: error.code, err: cause }, 'commit failed; its writes were rolled back');
    this.#refusal = { error, until: clock.now() + STORE_PAUSE_MS };
    sequencer.rollback();
    if (this.#status === 'ok') this.#status = 'degraded';
    // Another process owns the store now, and this one can write nothing more.
    if (error.code === 'store_fenced') void this.close();
    else this.#resumeLater();
  }

  #resumeLater(): void {
    if (this.#status === 'closed' || this.#cancelResume !== null) return;
    this.#cancelResume = this.#o.clock.after(STORE_PAUSE_MS, () => void this.#resume());
  }

  async #resume(): Promise<void> {
    const { listeners, log, notices, sequencer } = this.#o;
    this.#cancelResume = null;
    if (this.#status === 'closed') return;
    try {
      listeners.wakeAll();
      await this.#resumeCallbacks();
      sequencer.resume();
      notices.resume();
      await this.#armScheduler();
      // Another commit may have failed meanwhile; then the next `#resume` is already planned.
      if (this.#cancelResume !== null || (this.#status as EngineHealth['status']) === 'closed')
        return;
      this.#refusal = null;
      this.#status = 'ok';
    } catch (cause) {
      log.error({ err: cause }, 'store still rejects writes; retrying in 1 s');
      this.#resumeLater();
    }
  }

  /* -------------------- close ----------------------------------------------------------------- */

  close(): Promise<void> {
    this.#closing ??= this.#close();
    return this.#closing;
  }

  async #close(): Promise<void> {
    const { store, egress, unitOfWork, log } = this.#o;
    const { dispatcher, listeners, maintenance, notices, pulls, scheduler, sequencer } = this.#o;
    this.#status = 'closed';
    maintenance.close();
    pulls.close();
    this.#cancelResume?.();
    listeners.close();
    try {
      await Promise.all([
        sequencer.close(),
        this.#withTimeout(CLOSE_PATIENCE_MS, Promise.all([scheduler.close(), this.#idle()])),
      ]);
      await Promise.all([dispatcher.close(CLOSE_PATIENCE_MS), notices.close(CLOSE_PATIENCE_MS)]);
      await unitOfWork.commit();
    } catch (cause) {
      log.error({ err: cause }, 'final commit failed; its writes were never acknowledged');
    } finally {
      await egress.close();
      await store.close();
    }
  }

  /** Resolves with `work`, or after the timeout. */
  #withTimeout(ms: number, work: Promise<unknown>): Promise<unknown> {
    let cancel = (): void => undefined;
    const timeout = new Promise<void>((resolve) => {
      cancel = this.#o.clock.after(ms, resolve);
    });
    return Promise.race([work, timeout]).finally(() => cancel());
  }

  /** Resolves when no call is in progress. */
  #idle(): Promise<void> {
    if (this.#calls === 0) return Promise.resolve();
    return new Promise((resolve) => {
      this.#onIdle = resolve;
    });
  }
}
