/**
 * Obtains a subscription, drains it, and recovers from every error that it can recover from. One
 * round lasts from the opening of a drain to its first error (SEP: Recovery by the client).
 */
import type { Delivery, Drain, Subscription } from '../../../spec-schema/draft/schema.ts';
import { sleep, type Clock } from '../../protocol/lib/clock.ts';
import { LocalError } from '../../protocol/wire/errors.ts';
import { PULL_WAIT_MAX_MS } from '../../protocol/wire/limits.ts';
import type { Item, SubscribeOptions, SubscriptionState } from '../options.ts';
import { Backoff, isTransient, recoveryOf, SubscriptionEnded, type Recovery } from '../recovery.ts';
import type { TriggersApi } from '../sdk/triggers-api.ts';
import { drainWith, type DrainContext } from './drains.ts';
import type { PositionKeeper } from './position-keeper.ts';
import type { EntryItem } from './reader.ts';
import { misbehaved } from '../sdk/peer-error.ts';
import { Renewer, type SubscribeRequest } from './renewer.ts';

const CHECK_MS = 60_000;
/** Protocol errors of the server that are tolerated until the next new item. */
const VIOLATIONS_MAX = 3;
/** A round that lasted this long resets the backoff. */
const HEALTHY_MS = 30_000;

export interface DrainLoopOptions {
  readonly api: TriggersApi;
  readonly clock: Clock;
  readonly key: string;
  /** The drains to use, best first. */
  readonly drains: readonly Drain[];
  readonly subscribe: SubscribeOptions;
  readonly positions: PositionKeeper;
  readonly signal: AbortSignal;
  readonly onState: (state: SubscriptionState) => void;
}

export class DrainLoop {
  readonly #o: DrainLoopOptions;
  readonly #backoff: Backoff;
  readonly #renewer: Renewer;
  /** Index into the drains to use. */
  #index = 0;
  /** Why the drain before that one was left. */
  #fallbackError: unknown;
  #round: AbortController | undefined;
  /** The last round ended with missing numbers. */
  #missed = false;
  #violations = 0;
  /** Why the last renewal failed; undefined once a round has ended with it. */
  #renewalError: unknown;
  /**
   * The steps before the next round: a pause because of `pauseFor`, and subscribing again if
   * `obtain`.
   */
  #next: { readonly pauseFor?: unknown; readonly obtain?: boolean } = {};

  constructor(options: DrainLoopOptions) {
    const { api, clock, signal, subscribe } = options;
    this.#o = options;
    this.#backoff = new Backoff(subscribe.tuning?.backoff);
    this.#renewer = new Renewer({
      api,
      clock,
      backoff: subscribe.tuning?.backoff ?? {},
      signal,
      request: () => this.#request(),
      onLost: (error) => {
        this.#renewalError = error;
        this.abortRound(error);
      },
    });
  }

  /** The subscription as last seen; undefined until it was obtained. */
  get subscription(): Subscription | undefined {
    return this.#renewer.subscription;
  }
  /** The drain in use. */
  get drain(): Drain {
    return this.#o.drains[this.#index]!;
  }

  /** Ends the round under way with `error`. */
  abortRound(error: unknown): void {
    this.#round?.abort(error);
  }

  /** Ends the subscription on the server. */
  unsubscribe(): Promise<void> {
    return this.#renewer.unsubscribe();
  }

  /** Subscribes on the best drain that works. */
  async obtain(): Promise<Subscription> {
    const { drains, signal } = this.#o;
    this.#o.onState({ phase: 'subscribing' });
    for (;;) {
      signal.throwIfAborted();
      try {
        return (await this.#renewer.obtain()).subscription;
      } catch (error) {
        signal.throwIfAborted();
        if (recoveryOf(error).do === 'next_drain' && this.#index + 1 < drains.length)
          this.#fallBack(error);
        else if (isTransient(error)) await this.#pause(error);
        else throw error;
      }
    }
  }

  /** Items in order, until the signal fires. Throws an error that the loop cannot recover from. */
  async *items(): AsyncGenerator<Item, void> {
    const { signal } = this.#o;
    while (!signal.aborted) {
      yield* this.#losses();
      let error = await this.#prepare();
      yield* this.#losses();
      error ??= yield* this.#drainOnce();
      if (!signal.aborted) this.#recover(error);
    }
  }

  async #request(): Promise<SubscribeRequest> {
    const { key, api, subscribe } = this.#o;
    const { select, ttlMs, noExpiry, since, skipAfterMs, callbackLimits, callback } = subscribe;
    const params: SubscribeRequest['params'] = { key, select: [...select] };
    if (ttlMs !== undefined) params.ttlMs = ttlMs;
    if (noExpiry !== undefined) params.noExpiry = noExpiry;
    if (since !== undefined) params.since = since;
    if (this.drain !== 'callback') return { params, renewAt: null };
    const { url, secret, renewAt } = await callback!.register({
      audience: api.connection.server,
      key,
    });
    const more = {
      ...(skipAfterMs === undefined ? {} : { skipAfterMs }),
      ...(callbackLimits === undefined ? {} : { limits: callbackLimits }),
    };
    return { params: { ...params, callback: { url, secret, ...more } }, renewAt };
  }

  /* -------------------------------------------------- draining ---------------------------------------------------------- */

  /**
   * Yields until the drain ends. Returns its error; undefined = the server ended the drain without
   * an error.
   */
  async *#drainOnce(): AsyncGenerator<Item, unknown> {
    const { clock, drains, positions, onState } = this.#o;
    const round = new AbortController();
    this.#round = round;
    // The renewal may have failed while no round was open.
    if (this.#renewalError !== undefined) round.abort(this.#renewalError);
    this.#renewalError = undefined;
    const startedAt = clock.now();
    positions.acks!.resume();
    onState({
      phase: 'draining',
      drain: this.drain,
      ...(this.#index > 0 ? { fellBackFrom: drains[0]!, error: this.#fallbackError } : {}),
    });
    try {
      round.signal.throwIfAborted();
      for await (const delivery of drainWith(this.drain, this.#context(round.signal))) {
        const isOurs = yield* this.#read(delivery);
        if (isOurs && delivery.terminated)
          return new SubscriptionEnded(delivery.terminated.reason, delivery);
      }
      return undefined;
    } catch (error) {
      this.#missed = error instanceof LocalError && error.reason === 'hole';
      return round.signal.aborted ? round.signal.reason : error;
    } finally {
      round.abort();
      this.#renewalError = undefined;
      if (clock.now() - startedAt >= HEALTHY_MS) this.#backoff.reset();
    }
  }

  #context(round: AbortSignal): DrainContext {
    const { api, clock, key, positions, signal } = this.#o;
    const {
      window = {},
      tuning = {},
      callback,
      acknowledgedElsewhere = 'read',
    } = this.#o.subscribe;
    const { reader } = positions;
    return {
      api,
      clock,
      acks: positions.acks!,
      signal: AbortSignal.any([round, signal]),
      subscriptionId: reader.cursor.subscriptionId,
      position: () => reader.position,
      missed: this.#missed,
      isForeign: (delivery) => reader.isForeign(delivery),
      readsBefore: (delivery) => acknowledgedElsewhere === 'read' && reader.misses(delivery),
      window,
      silenceMs: tuning.silenceMs,
      waitMs: tuning.waitMs ?? PULL_WAIT_MAX_MS,
      checkMs: tuning.checkMs ?? CHECK_MS,
      attach: (sink) => callback!.attach({ audience: api.connection.server, key }, sink),
      noteSubscription: (subscription) => this.#renewer.note(subscription),
      acknowledgeByCall: (byCall) => positions.acknowledgeByCall(byCall),
    };
  }

  /** Yields what is new in a delivery. Returns false when the delivery belongs to another log. */
  async *#read(delivery: Delivery): AsyncGenerator<Item, boolean> {
    const { key, positions } = this.#o;
    const entries = delivery.key === key ? positions.reader.read(delivery) : null;
    // Only a callback can bring late messages of an earlier epoch.
    if (entries === null && this.drain !== 'callback')
      throw misbehaved('stale', 'it sent a delivery of another log, or of an epoch that is over');
    if (entries === null) return false;
    yield* this.#losses();
    this.#noteCounters(delivery);
    for (const entry of entries) yield* this.#yieldItem(entry);
    return true;
  }

  async *#yieldItem(entry: EntryItem): AsyncGenerator<Item, void> {
    const { reader, acks } = this.#o.positions;
    const { position } = entry;
    const isNew = reader.movePast(entry);
    if (isNew) {
      this.#backoff.reset();
      this.#violations = 0;
    }
    if (isNew) yield { ...entry, ack: () => acks!.acknowledge(position) };
    if (this.#o.subscribe.ack !== 'manual') acks!.finish(position);
  }

  #noteCounters({ epoch, head, acked, etag, expiresAt }: Delivery): void {
    const { subscription } = this.#renewer;
    if (subscription === undefined) return;
    const { expiresAt: _, ...rest } = subscription;
    const lifetime = expiresAt === undefined ? {} : { expiresAt };
    this.#renewer.note({ ...rest, epoch, head, acked, etag, ...lifetime });
  }

  /** Yields the losses that are not reported yet, and saves the position after them. */
  async *#losses(): AsyncGenerator<Item, void> {
    const { positions } = this.#o;
    const { reader } = positions;
    if (!reader.hasLosses) return;
    for (let item = reader.nextLoss(); item !== undefined; item = reader.nextLoss()) yield item;
    await positions.saveRead();
  }

  /* -------------------------------------------------- recovering -------------------------------------------------------- */

  /** Decides how to continue after a round. Throws if nothing can help. */
  #recover(error: unknown): void {
    const { drains, positions, subscribe } = this.#o;
    const recovery: Recovery =
      error === undefined ? { do: 'retry', counts: false } : recoveryOf(error);
    const pauseFor =
      error ??
      new LocalError('unreachable', 'The server has ended the stream.', { reason: 'ended' });
    // A subscription that was not obtained is still wanted.
    const { obtain = !this.#renewer.isKept } = this.#next;
    this.#next = { pauseFor };
    switch (recovery.do) {
      case 'epoch':
        return this.#unlessImpossible(() => positions.reader.leaveEpoch(recovery.epoch));
      case 'rewind':
        return this.#unlessImpossible(() => positions.reader.rewind(recovery.final, recovery.has));
      case 'lost':
        if (subscribe.resubscribe === false) throw recovery.error;
        positions.reader.lose(recovery.reason, recovery.final);
        this.#next = { pauseFor, obtain: true };
        return;
      case 'next_drain':
        if (this.#index + 1 >= drains.length) throw error;
        this.#fallBack(error);
        this.#next = { obtain: true };
        return;
      case 'retry':
        if (recovery.counts && ++this.#violations >= VIOLATIONS_MAX) throw error;
        // A failed callback may have to be registered again. The other drains only need a
        // subscription that has not ended.
        this.#next = { pauseFor, obtain: obtain || this.drain === 'callback' };
        return;
      case 'fail':
        throw recovery.error;
    }
  }

  #fallBack(error: unknown): void {
    this.#index += 1;
    this.#fallbackError = error;
  }

  /**
   * Applies a statement of the server. If it contradicts an earlier one, recovers from that
   * protocol error instead.
   */
  #unlessImpossible(apply: () => void): void {
    try {
      apply();
    } catch (error) {
      this.#recover(error);
    }
  }

  /**
   * Pauses and subscribes again, if the last round asked for it. Returns a protocol error of the
   * server instead of throwing it.
   */
  async #prepare(): Promise<unknown> {
    const { pauseFor, obtain } = this.#next;
    this.#next = {};
    if (pauseFor !== undefined) await this.#pause(pauseFor);
    try {
      if (obtain === true) await this.#o.positions.adopt(await this.obtain());
      return undefined;
    } catch (error) {
      if (!(error instanceof LocalError && error.code === 'peer_misbehaved')) throw error;
      this.#next = { obtain: true };
      return error;
    }
  }

  async #pause(error: unknown): Promise<void> {
    const { clock, signal } = this.#o;
    const delayMs = this.#backoff.next(error);
    this.#o.onState({ phase: 'waiting', error, delayMs });
    await sleep(clock, delayMs, signal);
    signal.throwIfAborted();
  }
}
