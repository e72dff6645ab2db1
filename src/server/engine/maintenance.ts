/**
 * What has to be done without anybody asking: the due of one subscription (retention, consent that has grown old), permission
 * that may have gone, and the accept log's old events.
 */
import { reverifyAt, trimDueAt } from '../../protocol/core/index.ts';
import type { Selection } from '../../protocol/core/types.ts';
import { WireError } from '../../protocol/wire/errors.ts';
import type { UnitOfWork, LoadedSubscription } from './unit-of-work.ts';
import type { Catalog } from './catalog.ts';
import type { Clock } from '../../protocol/lib/clock.ts';
import type { Log } from './ports.ts';
import type { Store } from '../store/port.ts';
import { consentName, type Verifier } from '../callback/verifier.ts';

/** How long a row that is being verified again stays out of the way of others, at most; and the pause before it is tried again. */
const VERIFY_PATIENCE_MS = 600_000;
const VERIFY_PAUSE_MS = 10_000;
/** Housekeeping of the accept log. */
const FORGET_EVERY_MS = 60_000;
/** Permission is looked at twice as often as the SEP asks, so that a late round is still in time. */
const RECHECK_EVERY_MS = 12 * 3600_000;
const RECHECK_FIRST_MS = 60_000;
/** Rows handled between two turns when every subscription is visited. */
const SWEEP = 256;

/** Whether a principal may still follow a selection, asked when nobody is calling: there are no claims to look at. */
export type Reauthorize = (
  principal: string,
  selection: { readonly name: string; readonly arguments: Readonly<Record<string, unknown>> },
) => boolean | Promise<boolean>;

export interface MaintenanceOptions {
  readonly store: Store;
  readonly unitOfWork: UnitOfWork;
  readonly catalog: Catalog;
  readonly reauthorize: Reauthorize | undefined;
  readonly verifier: Verifier;
  readonly clock: Clock;
  readonly log: Log;
  /** A row that was kept out of the way may be looked at again. */
  release(row: number): void;
}

export class Maintenance {
  readonly #o: MaintenanceOptions;
  /** Rows whose callback is asked for its consent again just now. */
  readonly #asking = new Set<number>();
  readonly #rounds = new Set<() => void>();
  #closed = false;

  constructor(options: MaintenanceOptions) {
    this.#o = options;
  }

  start(): void {
    this.#every(FORGET_EVERY_MS, FORGET_EVERY_MS, 'forgetting old events', () => this.#forget());
    const { reauthorize } = this.#o;
    // The first round comes soon: a server that is restarted often would never come to it.
    if (reauthorize !== undefined)
      this.#every(RECHECK_FIRST_MS, RECHECK_EVERY_MS, 'checking permissions again', () =>
        this.#recheck(reauthorize),
      );
  }

  close(): void {
    this.#closed = true;
    for (const cancel of this.#rounds) cancel();
  }

  #every(firstMs: number, pauseMs: number, what: string, round: () => Promise<void>): void {
    const cancel = this.#o.clock.after(firstMs, () => {
      this.#rounds.delete(cancel);
      void round()
        .catch((cause: unknown) => {
          if (!this.#closed) this.#o.log.error({ err: cause }, `${what} failed; it is tried again`);
        })
        .finally(() => {
          if (!this.#closed) this.#every(pauseMs, pauseMs, what, round);
        });
    });
    this.#rounds.add(cancel);
  }

  /** One write forgets a bounded number of events, so it goes on while there are more. */
  async #forget(): Promise<void> {
    const { unitOfWork, catalog, clock, store } = this.#o;
    for (let before = Number.POSITIVE_INFINITY; !this.#closed;) {
      const now = clock.now();
      // An eighth more than anything is kept: trims by age have slack, and must come first.
      unitOfWork.write({
        type: 'forget',
        acceptedBefore: now - Math.ceil(catalog.longestRetentionMs() * 1.125),
        now,
      });
      await unitOfWork.commit();
      const { events } = await store.stats();
      if (events >= before) return;
      before = events;
      await new Promise((resolve) => setImmediate(resolve));
    }
  }

  /** Whoever lost the permission for what a subscription selects loses the subscription (SEP: Ending). */
  async #recheck(reauthorize: Reauthorize): Promise<void> {
    const { unitOfWork, log, store } = this.#o;
    const rows: number[] = [];
    for await (const { row } of store.index()) rows.push(row);
    for (let at = 0; at < rows.length && !this.#closed; at += SWEEP) {
      for (const row of rows.slice(at, at + SWEEP)) {
        const loaded = await unitOfWork.getOrLoad(row);
        if (loaded === undefined || loaded.ended) continue;
        const { principal, select, subscriptionId } = loaded.state;
        if (await permitted(reauthorize, principal, select)) continue;
        const again = await unitOfWork.getOrLoad(row);
        if (again === undefined || again.ended || again.state.select !== select) continue;
        log.info({ subscriptionId }, 'the permission is gone: the subscription is revoked');
        unitOfWork.step(again, { type: 'terminate', reason: 'revoked' });
      }
      await unitOfWork.commit();
    }
  }

  /** Resolves with an instant when the row stays due until then. */
  async tick(loaded: LoadedSubscription): Promise<number | null> {
    const now = this.#o.clock.now();
    this.#o.unitOfWork.step(loaded, { type: 'tick' });
    if (loaded.ended) return null;
    const { row } = loaded;
    const trimAt = trimDueAt(loaded.state);
    if (trimAt !== null && trimAt <= now) {
      const aged = await this.#o.store.agedOut(row, now - loaded.state.retention.maxAgeMs);
      if (!this.#o.unitOfWork.isCurrent(loaded) || loaded.ended) return null;
      this.#o.unitOfWork.step(loaded, { type: 'trim', upTo: aged.upTo, oldestAt: aged.oldestAt });
    }
    const verifyAt = reverifyAt(loaded.state);
    if (verifyAt === null || verifyAt > now) return null;
    // An endpoint takes its time to answer, and others are due meanwhile.
    if (!this.#asking.has(row)) void this.#verifyAgain(row).finally(() => this.#o.release(row));
    return now + VERIFY_PATIENCE_MS;
  }

  /** Consent that has grown old is asked for again; without it, delivery is suspended. */
  async #verifyAgain(row: number): Promise<void> {
    this.#asking.add(row);
    try {
      // A challenge shows counters: they must be on disk.
      await this.#o.unitOfWork.commit();
      const loaded = await this.#o.unitOfWork.getOrLoad(row);
      if (loaded === undefined || loaded.ended || loaded.state.callback === null) return;
      const { callback, principal, subscriptionId } = loaded.state;
      const verifiedAt = await this.#o.verifier
        .challenge(loaded.state, callback)
        .catch((cause: unknown) => {
          // That we ask others at the same host too often is no failure of this one.
          if (!(cause instanceof WireError) || !cause.is('CallbackEndpointError')) throw cause;
          this.#o.log.info(
            { subscriptionId, reason: cause.data.reason },
            'a callback did not prove its consent again',
          );
          return null;
        });
      const again = await this.#o.unitOfWork.getOrLoad(row);
      if (again === undefined || again.ended || again.state.callback?.url !== callback.url) return;
      this.#o.unitOfWork.step(again, { type: 'verified', ok: verifiedAt !== null });
      if (verifiedAt !== null)
        this.#o.unitOfWork.write({
          type: 'verification',
          principal,
          urlHash: consentName(callback),
          verifiedAt,
        });
      await this.#o.unitOfWork.commit();
    } catch (cause) {
      if (!this.#closed)
        this.#o.log.info(
          { row, err: cause },
          'a callback could not be asked for its consent; it is tried again',
        );
      await new Promise<void>((resolve) => {
        this.#o.clock.after(VERIFY_PAUSE_MS, resolve);
      });
    } finally {
      this.#asking.delete(row);
    }
  }
}

async function permitted(
  reauthorize: Reauthorize,
  principal: string,
  select: readonly Selection[],
): Promise<boolean> {
  for (const selection of select) if (!(await reauthorize(principal, selection))) return false;
  return true;
}
