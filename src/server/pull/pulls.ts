/** The pull drain and the acknowledgement: both are one question and one answer about a log (SEP: Pull, Acknowledgement). */
import type { AckParams, AckResult, PullParams } from '../../../spec-schema/draft/schema.ts';
import type { Position, Subscription } from '../../protocol/core/types.ts';
import {
  PULL_BYTES_MAX,
  PULL_EVENTS_DEFAULT,
  PULL_EVENTS_MAX,
  PULL_NEXT_MS,
  PULL_WAIT_MAX_MS,
} from '../../protocol/wire/limits.ts';
import type { UnitOfWork, LoadedSubscription } from '../engine/unit-of-work.ts';
import { mayDrain, type Catalog } from '../engine/catalog.ts';
import { assertPosition, rejectionError } from './positions.ts';
import type { Clock } from '../../protocol/lib/clock.ts';
import type { Meter } from '../engine/ports.ts';
import type { Store } from '../store/port.ts';
import { PrincipalQuota } from '../engine/quota.ts';
import {
  deliveryOf,
  emptyRange,
  ENVELOPE_BYTES,
  rangeOf,
  readStore,
  readTail,
  type DeliveryExtras,
  type LogRange,
  type ReadLimits,
} from '../engine/reader.ts';
import type { Ended } from '../stream/stream.ts';
import type { Streams } from '../stream/streams.ts';
import type { Subscriptions } from '../engine/subscriptions.ts';
import type { Caller, LogListener, PullAnswer } from '../engine/verbs.ts';

/** How often a pull reads again before it waits. */
const READ_TRIES = 10;

export interface PullsOptions {
  readonly store: Store;
  readonly unitOfWork: UnitOfWork;
  readonly catalog: Catalog;
  readonly streams: Streams;
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

  /** From now on no pull waits. */
  close(): void {
    this.#closed = true;
  }

  async ack(caller: Caller, params: AckParams): Promise<AckResult> {
    const loaded = await this.#acknowledged(caller, params.subscriptionId, () => params.position);
    const { epoch, acked, head } = loaded.state;
    await this.#o.unitOfWork.commit();
    return { epoch, acked, head };
  }

  /** The caller's subscription, with the position acknowledged that `judge` finds acceptable, if any. */
  async #acknowledged(
    caller: Caller,
    subscriptionId: string,
    judge: (state: Subscription) => Position | undefined,
  ): Promise<LoadedSubscription> {
    for (;;) {
      const loaded = await this.#o.subscriptions.own(caller, subscriptionId);
      const position = judge(loaded.state);
      const { refused } =
        position === undefined ? {} : this.#o.unitOfWork.step(loaded, { type: 'ack', position });
      if (refused === undefined) return loaded;
      // It has just ended. How is told when that is on disk.
      if (refused.kind === 'terminated') await this.#o.unitOfWork.commit();
      else throw rejectionError(refused, loaded.state);
    }
  }

  async seek(caller: Caller, subscriptionId: string, acceptedBefore: number): Promise<Position> {
    const { unitOfWork, store, subscriptions } = this.#o;
    for (;;) {
      const loaded = await subscriptions.own(caller, subscriptionId);
      const {
        revision,
        state: { epoch, floor },
      } = loaded;
      await unitOfWork.commit();
      const { upTo } = await store.agedOut(loaded.row, acceptedBefore);
      if (unitOfWork.isUnchanged(loaded, revision))
        return { epoch, sequence: Math.max(upTo, floor) };
    }
  }

  async watch(caller: Caller, subscriptionId: string, listener: LogListener): Promise<() => void> {
    const { subscriptions, streams } = this.#o;
    const first = await subscriptions.own(caller, subscriptionId);
    await subscriptions.authorize(caller, first.state.select);
    return streams.watch(await subscriptions.own(caller, subscriptionId), listener);
  }

  async pull(
    caller: Caller,
    params: PullParams,
    signal?: AbortSignal,
    eventBytes = Infinity,
  ): Promise<PullAnswer> {
    const { unitOfWork, catalog, clock, subscriptions } = this.#o;
    const { subscriptionId } = params;
    const first = await subscriptions.own(caller, subscriptionId);
    await subscriptions.authorize(caller, first.state.select);
    mayDrain(catalog, first.state, 'pull');
    const asked = await this.#acknowledged(caller, subscriptionId, (state) => {
      // Both positions are judged before the acknowledgement changes anything.
      if (params.after !== undefined) assertPosition(params.after, state);
      return params.ack;
    });
    const { epoch, acked, sent, suspended } = asked.state;
    const after = params.after?.sequence ?? acked;
    const events = Math.min(params.maxEvents ?? PULL_EVENTS_DEFAULT, PULL_EVENTS_MAX);
    if (suspended && events > 0) unitOfWork.step(asked, { type: 'drain', to: sent, resume: true });
    const shown = asked.state;
    await unitOfWork.commit();
    if (events === 0) return this.#answer(shown, emptyRange(after));
    const until = clock.now() + Math.min(params.waitMs ?? 0, PULL_WAIT_MAX_MS);
    for (let tries = 0; ; tries += 1) {
      const loaded = await subscriptions.own(caller, subscriptionId);
      if (loaded.state.epoch !== epoch) throw rejectionError({ kind: 'epoch' }, loaded.state);
      const { revision } = loaded;
      const range = await this.#read(loaded, after, {
        events,
        bytes: Math.min(eventBytes, PULL_BYTES_MAX - ENVELOPE_BYTES),
      });
      // What was read from memory that was thrown away since may never have been on disk, or an event may have become a gap.
      if (range === null || !unitOfWork.isUnchanged(loaded, revision)) continue;
      const wait =
        range.last === after && clock.now() < until && signal?.aborted !== true && !this.#closed;
      if (!wait) {
        const { refused } =
          range.last > after
            ? unitOfWork.step(loaded, { type: 'drain', to: range.last, resume: false })
            : {};
        const { state } = loaded;
        // What it shows, and that it was sent, is on disk before it leaves.
        await unitOfWork.commit();
        if (
          refused === undefined &&
          (range.events.length === 0 || unitOfWork.isUnchanged(loaded, revision))
        )
          return this.#answer(state, range);
        continue;
      }
      // Numbers that are just being committed are announced when they are; those committed while this read were announced already.
      if (loaded.state.head > after && tries < READ_TRIES) continue;
      const ended = await this.#wait(caller, loaded, until, signal);
      if (ended !== null)
        return pulled(ended.last, emptyRange(after), { terminated: { reason: ended.reason } });
    }
  }

  async #wait(
    caller: Caller,
    loaded: LoadedSubscription,
    until: number,
    signal?: AbortSignal,
  ): Promise<Ended | null> {
    const leave = this.#waiting.enter(caller.principal);
    try {
      return await this.#o.streams.wait(loaded, until, signal);
    } finally {
      leave();
    }
  }

  /** Null when the subscription left memory meanwhile. */
  async #read(
    loaded: LoadedSubscription,
    after: number,
    limits: ReadLimits,
  ): Promise<LogRange | null> {
    const tail = readTail(loaded, after, limits);
    if (tail !== null) return tail;
    await this.#o.unitOfWork.commit();
    if (!this.#o.unitOfWork.isCurrent(loaded)) return null;
    const entries = await readStore(this.#o.store, loaded, after, limits);
    return this.#o.unitOfWork.isCurrent(loaded)
      ? rangeOf(loaded.state, after, entries, limits)
      : null;
  }

  #answer(state: Subscription, range: LogRange): PullAnswer {
    this.#o.meter.count('triggers_events_delivered_total', range.events.length, { drain: 'pull' });
    return pulled(state, range);
  }
}

function pulled(state: Subscription, range: LogRange, extras: DeliveryExtras = {}): PullAnswer {
  const hasMore = range.last < state.head;
  const delivery = JSON.parse(deliveryOf(state, range, extras)) as object;
  return { ...delivery, hasMore, nextPollMs: hasMore ? 0 : PULL_NEXT_MS };
}
