/**
 * Background work: the timed work of one subscription (retention, renewed consent), periodic
 * permission checks, and the removal of old events from the accept log.
 */
import { isOversized, reverifyAt, trimDueAt } from '../../protocol/core/index.ts';
import type { Selection } from '../../protocol/core/types.ts';
import type { Clock } from '../../protocol/lib/clock.ts';
import { WireError } from '../../protocol/wire/errors.ts';
import { consentName, type Verifier } from '../callback/verifier.ts';
import type { Store } from '../store/port.ts';
import type { Catalog } from './catalog.ts';
import type { Reauthorize } from './permissions.ts';
import type { Log, Random } from './ports.ts';
import { isSameCallback } from './callback-consent.ts';
import type { LoadedSubscription, SubscriptionCache } from './subscription-cache.ts';
import type { UnitOfWork } from './unit-of-work.ts';

/** Longest time for which the scheduler skips a row while its callback is challenged. */
const VERIFY_PATIENCE_MS = 600_000;
/** Pause after a challenge that was not completed. */
const VERIFY_PAUSE_MS = 10_000;
/** Time between two removals of old events. */
const FORGET_EVERY_MS = 60_000;
/**
 * Time between two permission checks: half of what the SEP allows, so that a late check is still in
 * time.
 */
const RECHECK_EVERY_MS = 12 * 3600_000;
/** Time from the start to the first permission check. */
const RECHECK_FIRST_MS = 60_000;
/** Subscriptions checked per commit. */
const SWEEP = 256;
/**
 * Events are kept this many times the longest retention. Logs are trimmed by age up to a sixteenth
 * late, and must be trimmed before their events are removed.
 */
const RETENTION_SLACK = 1.125;

export interface MaintenanceOptions {
  readonly store: Store;
  readonly cache: SubscriptionCache;
  readonly unitOfWork: UnitOfWork;
  readonly catalog: Catalog;
  readonly reauthorize: Reauthorize | undefined;
  readonly verifier: Verifier;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Log;
  /** Ends the postponement of a row in the scheduler. */
  release(row: number): void;
}

export class Maintenance {
  readonly #o: MaintenanceOptions;
  /** Rows whose callback is being challenged. */
  readonly #verifying = new Set<number>();
  readonly #timers = new Set<() => void>();
  #closed = false;

  constructor(options: MaintenanceOptions) {
    this.#o = options;
  }

  start(): void {
    this.#every(FORGET_EVERY_MS, FORGET_EVERY_MS, 'removal of old events', () => this.#forget());
    const { reauthorize } = this.#o;
    // The first check comes early: a server that restarts often would otherwise never reach one.
    if (reauthorize !== undefined)
      this.#every(RECHECK_FIRST_MS, RECHECK_EVERY_MS, 'permission check', () =>
        this.#recheck(reauthorize),
      );
  }

  close(): void {
    this.#closed = true;
    for (const cancel of this.#timers) cancel();
  }

  #every(firstMs: number, pauseMs: number, name: string, run: () => Promise<void>): void {
    const cancel = this.#o.clock.after(firstMs, () => {
      this.#timers.delete(cancel);
      void run()
        .catch((cause: unknown) => {
          if (!this.#closed)
            this.#o.log.error({ err: cause }, `${name} failed; retrying in the next round`);
        })
        .finally(() => {
          if (!this.#closed) this.#every(pauseMs, pauseMs, name, run);
        });
    });
    this.#timers.add(cancel);
  }

  /**
   * Removes old events. One write removes a bounded number, so this repeats while the number of
   * events falls.
   */
  async #forget(): Promise<void> {
    const { unitOfWork, catalog, clock, store } = this.#o;
    for (let before = Number.POSITIVE_INFINITY; !this.#closed;) {
      const now = clock.now();
      unitOfWork.write({
        type: 'forget',
        acceptedBefore: now - Math.ceil(catalog.longestRetentionMs() * RETENTION_SLACK),
        now,
      });
      await unitOfWork.commit();
      const { events } = await store.stats();
      if (events >= before) return;
      before = events;
      await new Promise((resolve) => setImmediate(resolve));
    }
  }

  /** Ends subscriptions whose principal lost the permission for a selection (SEP: Ending). */
  async #recheck(reauthorize: Reauthorize): Promise<void> {
    const { cache, unitOfWork, log, store } = this.#o;
    const rows: number[] = [];
    for await (const { row } of store.index()) rows.push(row);
    for (let at = 0; at < rows.length && !this.#closed; at += SWEEP) {
      for (const row of rows.slice(at, at + SWEEP)) {
        const asked = await cache.getOrLoad(row);
        if (asked === undefined || asked.ended) continue;
        const { principal, select, subscriptionId } = asked.state;
        if (await isPermitted(reauthorize, principal, select)) continue;
        const loaded = await cache.getOrLoad(row);
        if (loaded === undefined || loaded.ended || loaded.state.select !== select) continue;
        log.info({ subscriptionId }, 'permission lost; the subscription ends as revoked');
        unitOfWork.step(loaded, { type: 'terminate', reason: 'revoked' });
      }
      await unitOfWork.commit();
    }
  }

  /** Does the timed work of one subscription: see `SchedulerOptions.tick`. */
  async tick(loaded: LoadedSubscription): Promise<number | null> {
    const { store, cache, unitOfWork, clock } = this.#o;
    const now = clock.now();
    unitOfWork.step(loaded, { type: 'tick' });
    if (loaded.ended) return null;
    const { row } = loaded;
    const trimAt = trimDueAt(loaded.state);
    if (trimAt !== null && trimAt <= now) {
      const { maxAgeMs, maxBytes } = loaded.state.retention;
      // Entries in memory that are not on disk yet would be missing in the counts.
      if (isOversized(loaded.state)) await unitOfWork.commit();
      const aged = await store.agedOut(row, now - maxAgeMs);
      const kept = maxBytes === undefined ? null : await store.oversize(row, maxBytes);
      const upTo = Math.max(aged.upTo, kept?.upTo ?? 0);
      const oldestAt = upTo === aged.upTo ? aged.oldestAt : await store.acceptedAt(row, upTo + 1);
      if (!cache.isCurrent(loaded) || loaded.ended) return null;
      // Events that were appended meanwhile are not in the count.
      const bytes = kept === null || loaded.state.head > kept.last ? {} : { bytes: kept.bytes };
      unitOfWork.step(loaded, { type: 'trim', upTo, oldestAt, ...bytes });
    }
    const verifyAt = reverifyAt(loaded.state);
    if (verifyAt === null || verifyAt > now) return null;
    // Not awaited: the endpoint may answer late, and other rows are due.
    if (!this.#verifying.has(row)) void this.#verify(row).finally(() => this.#o.release(row));
    return now + VERIFY_PATIENCE_MS;
  }

  /**
   * Challenges a callback whose consent has expired, and suspends it if the challenge fails; or
   * probes a suspended one, and resumes it if the challenge succeeds.
   */
  async #verify(row: number): Promise<void> {
    const { cache, unitOfWork, verifier, clock, log, random } = this.#o;
    this.#verifying.add(row);
    try {
      // A challenge shows the subscription's counters, which must be on disk first.
      await unitOfWork.commit();
      const asked = await cache.getOrLoad(row);
      if (asked === undefined || asked.ended || asked.state.callback === null) return;
      const { callback, principal, subscriptionId, suspendedAt } = asked.state;
      const isProbe = suspendedAt !== null;
      const verifiedAt = await verifier
        .challenge(asked.state, callback, { isProbe })
        .catch((cause: unknown) => {
          // Other errors, such as the limit of challenges per host, do not show that consent ended.
          const known = cause instanceof WireError;
          if (known && isProbe && cause.is('ResourceExhausted')) return null;
          if (!known || !cause.is('CallbackEndpointError')) throw cause;
          log.info(
            { subscriptionId, reason: cause.data.category },
            isProbe
              ? 'probe of a suspended callback failed; delivery stays suspended'
              : 'callback verification failed; delivery is suspended',
          );
          return null;
        });
      const loaded = await cache.getOrLoad(row);
      if (loaded === undefined || loaded.ended || !isSameCallback(loaded.state.callback, callback))
        return;
      unitOfWork.step(loaded, {
        type: 'verified',
        ok: verifiedAt !== null,
        jitter: random.uniform(),
      });
      if (verifiedAt !== null)
        unitOfWork.write({
          type: 'verification',
          principal,
          urlHash: consentName(callback),
          verifiedAt,
        });
      await unitOfWork.commit();
    } catch (cause) {
      if (!this.#closed)
        log.info({ row, err: cause }, 'callback challenge not completed; retrying in 10 s');
      await new Promise<void>((resolve) => {
        clock.after(VERIFY_PAUSE_MS, resolve);
      });
    } finally {
      this.#verifying.delete(row);
    }
  }
}

async function isPermitted(
  reauthorize: Reauthorize,
  principal: string,
  select: readonly Selection[],
): Promise<boolean> {
  for (const selection of select) if (!(await reauthorize(principal, selection))) return false;
  return true;
}
