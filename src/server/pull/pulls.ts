/**
 * `triggers/pull` and `triggers/ack`, and `seek`, `skip` and `watch` for bindings of other
 * protocols (SEP: triggers/pull, Acknowledgement).
 */
import type {
  AckRequestParams,
  AckResult,
  Delivery,
  PullRequestParams,
  PullResult,
} from '../../../spec-schema/draft/schema.ts';
import type { Position, Subscription } from '../../protocol/core/types.ts';
import type { Clock } from '../../protocol/lib/clock.ts';
import {
  PULL_BYTES_MAX,
  PULL_EVENTS_DEFAULT,
  PULL_EVENTS_MAX,
  PULL_NEXT_MS,
  PULL_WAIT_MAX_MS,
} from '../../protocol/wire/limits.ts';
import { assertDrain, type Catalog } from '../engine/catalog.ts';
import type { Meter } from '../engine/ports.ts';
import { PrincipalQuota } from '../engine/quota.ts';
import {
  assertPosition,
  deliveryOf,
  emptyRange,
  ENVELOPE_BYTES,
  rangeOf,
  readStore,
  readTail,
  rejectionError,
  type LogRange,
  type ReadLimits,
} from '../engine/reader.ts';
import type { LoadedSubscription, SubscriptionCache } from '../engine/subscription-cache.ts';
import type { Subscriptions } from '../engine/subscriptions.ts';
import type { UnitOfWork } from '../engine/unit-of-work.ts';
import type { Caller, LogListener } from '../engine/verbs.ts';
import type { Store } from '../store/port.ts';
import type { Ended, LogListeners } from '../stream/log-listeners.ts';

/** Most reads of a log that ends before its head, before a pull waits nevertheless. */
const READ_TRIES = 10;

export interface PullsOptions {
  readonly store: Store;
  readonly cache: SubscriptionCache;
  readonly unitOfWork: UnitOfWork;
  readonly catalog: Catalog;
  readonly listeners: LogListeners;
  readonly subscriptions: Subscriptions;
  readonly clock: Clock;
  readonly meter: Meter;
  /** Pulls of one principal that may wait at once. */
  readonly maxWaiting: number;
}

export class Pulls {
  readonly #o: PullsOptions;
  readonly #waiting: PrincipalQuota;
  #closed = false;

  constructor(options: PullsOptions) {
    this.#o = options;
    this.#waiting = new PrincipalQuota('waiting_pulls', options.maxWaiting);
  }

  /** From now on, pulls return without waiting. */
  close(): void {
    this.#closed = true;
  }

  async ack(caller: Caller, params: AckRequestParams): Promise<AckResult> {
    const loaded = await this.#acknowledge(caller, params.subscriptionId, () => params.position);
    const { epoch, acked, head } = loaded.state;
    await this.#o.unitOfWork.commit();
    return { epoch, acked, head };
  }

  /**
   * Acknowledges the position that `choose` returns; undefined = none. If `choose` throws, nothing
   * is acknowledged.
   */
  async #acknowledge(
    caller: Caller,
    subscriptionId: string,
    choose: (state: Subscription) => Position | undefined,
  ): Promise<LoadedSubscription> {
    const { unitOfWork, subscriptions, listeners } = this.#o;
    for (;;) {
      const loaded = await subscriptions.own(caller, subscriptionId);
      const position = choose(loaded.state);
      if (position === undefined) {
        // A pull that acknowledges nothing reads nevertheless.
        unitOfWork.step(loaded, { type: 'read' });
        return loaded;
      }
      const { refused } = unitOfWork.step(loaded, { type: 'ack', position });
      if (refused === undefined) {
        listeners.acknowledged(loaded.row);
        return loaded;
      }
      if (refused.kind !== 'terminated') throw rejectionError(refused, loaded.state);
      // The subscription has just ended. Once that is on disk, `own` rejects with the reason.
      await unitOfWork.commit();
    }
  }

  /** See `Logs.seek`. */
  async seek(caller: Caller, subscriptionId: string, acceptedBefore: number): Promise<Position> {
    const { cache, unitOfWork, store, subscriptions } = this.#o;
    for (;;) {
      const loaded = await subscriptions.own(caller, subscriptionId);
      const { revision, row } = loaded;
      const { epoch, floor } = loaded.state;
      await unitOfWork.commit();
      const { upTo } = await store.agedOut(row, acceptedBefore);
      if (cache.isUnchanged(loaded, revision)) return { epoch, sequence: Math.max(upTo, floor) };
    }
  }

  /** See `Logs.skip`. */
  async skip(caller: Caller, subscriptionId: string, position: Position): Promise<void> {
    const { unitOfWork, subscriptions } = this.#o;
    const loaded = await subscriptions.own(caller, subscriptionId);
    if (position.epoch !== loaded.state.epoch) return;
    const { sent } = loaded.state;
    unitOfWork.step(loaded, { type: 'drain', after: sent, to: position.sequence });
    await unitOfWork.commit();
  }

  /** See `Logs.watch`. */
  async watch(caller: Caller, subscriptionId: string, listener: LogListener): Promise<() => void> {
    const { subscriptions, listeners } = this.#o;
    await subscriptions.permitted(caller, subscriptionId);
    return listeners.watch(await subscriptions.own(caller, subscriptionId), listener);
  }

  async pull(
    caller: Caller,
    params: PullRequestParams,
    signal?: AbortSignal,
    eventBytes = Infinity,
  ): Promise<PullResult> {
    const { cache, unitOfWork, catalog, clock, subscriptions } = this.#o;
    const { subscriptionId } = params;
    const first = await subscriptions.permitted(caller, subscriptionId);
    assertDrain(catalog, first.state.select, 'pull');
    const acknowledged = await this.#acknowledge(caller, subscriptionId, (state) => {
      // An invalid `after` rejects the call before `ack` changes anything.
      if (params.after !== undefined) assertPosition(params.after, state);
      return params.ack;
    });
    const { epoch, acked } = acknowledged.state;
    const after = params.after?.sequence ?? acked;
    const events = Math.min(params.maxEvents ?? PULL_EVENTS_DEFAULT, PULL_EVENTS_MAX);
    const { state: current } = acknowledged;
    await unitOfWork.commit();
    if (events === 0) return this.#result(current, emptyRange(after));
    const until = clock.now() + Math.min(params.waitMs ?? 0, PULL_WAIT_MAX_MS);
    for (let tries = 0; ; tries += 1) {
      const loaded = await subscriptions.own(caller, subscriptionId);
      if (loaded.state.epoch !== epoch) throw rejectionError({ kind: 'epoch' }, loaded.state);
      const { revision } = loaded;
      const range = await this.#read(loaded, after, {
        events,
        bytes: Math.min(eventBytes, PULL_BYTES_MAX - ENVELOPE_BYTES),
      });
      // After a rollback, or with a new gap in the log, what was read is void.
      if (range === null || !cache.isUnchanged(loaded, revision)) continue;
      const mayWait = clock.now() < until && signal?.aborted !== true && !this.#closed;
      if (range.last > after || !mayWait) {
        const result = await this.#finish(loaded, revision, range);
        if (result !== null) return result;
        continue;
      }
      // Read again: entries committed during the read have woken the listeners already, and waiting
      // would miss them. Entries in a commit that is in flight wake the listeners after it.
      if (loaded.state.head > after && tries < READ_TRIES) continue;
      const end = await this.#wait(caller, loaded, until, signal);
      if (end !== null) return resultOf(end.last, emptyRange(after), { reason: end.reason });
    }
  }

  /**
   * Records that a range is sent, and returns the result; null = the range became void during the
   * commit.
   */
  async #finish(
    loaded: LoadedSubscription,
    revision: number,
    range: LogRange,
  ): Promise<PullResult | null> {
    const { cache, unitOfWork } = this.#o;
    const { refused } =
      range.last > range.after
        ? unitOfWork.step(loaded, {
            type: 'drain',
            after: range.after,
            to: range.last,
          })
        : {};
    const { state } = loaded;
    // Everything in the result, and `sent`, is on disk before the client sees it.
    await unitOfWork.commit();
    const isValid =
      refused === undefined && (range.events.length === 0 || cache.isUnchanged(loaded, revision));
    return isValid ? this.#result(state, range) : null;
  }

  async #wait(
    caller: Caller,
    loaded: LoadedSubscription,
    until: number,
    signal?: AbortSignal,
  ): Promise<Ended | null> {
    const leave = this.#waiting.enter(caller.principal);
    try {
      return await this.#o.listeners.wait(loaded, until, signal);
    } finally {
      leave();
    }
  }

  /** The next range after `after`; null = the subscription was reloaded meanwhile: read again. */
  async #read(
    loaded: LoadedSubscription,
    after: number,
    limits: ReadLimits,
  ): Promise<LogRange | null> {
    const { cache, unitOfWork, store } = this.#o;
    const tail = readTail(loaded, after, limits);
    if (tail !== null) return tail;
    await unitOfWork.commit();
    if (!cache.isCurrent(loaded)) return null;
    const entries = await readStore(store, loaded, after, limits);
    return cache.isCurrent(loaded) ? rangeOf(loaded.state, after, entries, limits) : null;
  }

  #result(state: Subscription, range: LogRange): PullResult {
    this.#o.meter.count('triggers_events_delivered_total', range.events.length, { drain: 'pull' });
    return resultOf(state, range);
  }
}

function resultOf(
  state: Subscription,
  range: LogRange,
  terminated?: Delivery['terminated'],
): PullResult {
  const hasMore = range.last < state.head;
  const delivery = JSON.parse(deliveryOf(state, range, terminated)) as Delivery;
  return { ...delivery, hasMore, nextPollMs: hasMore ? 0 : PULL_NEXT_MS };
}
