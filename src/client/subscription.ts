/**
 * One subscription as the application sees it: an iterator of events in order, and of everything that was lost. Behind it the
 * grant renews, a drain fills, the rule of the core decides, the ledger remembers, and every error has one answer.
 */
import type { Delivery, Drain, Event, Position, Subscription } from '../../spec-schema/draft/schema.ts';
import { advance, begin, move, receive, type Cursor, type Entry } from '../core/apply.ts';
import { sleep, systemClock, type Clock } from '../local/clock.ts';
import type { EpochItem, LostItem } from '../local/items.ts';
import { memoryLedger, type Ledger } from '../local/ledger.ts';
import { RecentEvents } from '../local/recent.ts';
import { subscriptionKey } from '../wire/canonical.ts';
import { LocalError, WireError } from '../wire/errors.ts';
import { PULL_WAIT_MAX_MS, STREAM_EVENTS_DEFAULT } from '../wire/limits.ts';
import { Acknowledger } from './acknowledger.ts';
import { Backoff, isTransient } from './backoff.ts';
import type { Calls } from './calls.ts';
import { drains, rungs, type DrainContext } from './drains.ts';
import { Grant, type Wanted } from './grant.ts';
import type { Guarantee, Item, Sink, SubscribeOptions, SubscriptionState } from './options.ts';
import { decide, Ended, type Decision } from './recovery.ts';

const CHECK_MS = 60_000;
const ACK_DELAY_MS = 50;
/** A peer that breaks the protocol this often without anything good in between is given up. */
const STRIKES_MAX = 3;
/** A round that lived this long was no failed attempt. */
const HEALTHY_MS = 30_000;

export class TriggersSubscription implements AsyncIterable<Item> {
  /** The subscription's `key`. */
  readonly key: string;
  readonly #calls: Calls;
  readonly #o: SubscribeOptions;
  readonly #clock: Clock;
  readonly #ledger: Ledger;
  readonly #stop = new AbortController();
  readonly #backoff: Backoff;
  readonly #recent = new RecentEvents();
  readonly #grant: Grant;
  readonly #rungs: readonly Drain[];
  #rung = 0;
  #state: SubscriptionState = { phase: 'idle' };
  #ready: Promise<Subscription> | undefined;
  #iterating = false;
  #cursor!: Cursor;
  #acks: Acknowledger | undefined;
  #round: AbortController | undefined;
  #byCall = true;
  #missed = false;
  #strikes = 0;
  /** Losses found between rounds, not told yet. */
  #news: (EpochItem | LostItem)[] = [];

  /** @internal Made by `TriggersClient.subscribe`. */
  constructor(calls: Calls, options: SubscribeOptions) {
    const { capability } = calls.connection;
    if (!capability) throw new LocalError('not_supported', 'The server does not declare the triggers extension.', { reason: 'capability' });
    this.#rungs = rungs(options.drain ?? 'auto', options.callback !== undefined, capability);
    if (this.#rungs.length === 0) throw new LocalError('not_supported', 'The server offers none of the drains that may be used.', { reason: 'drain' });
    this.#calls = calls;
    this.#o = options;
    this.key = options.key ?? subscriptionKey(options.select, null);
    this.#clock = options.tuning?.clock ?? systemClock;
    this.#ledger = options.ledger ?? memoryLedger();
    this.#backoff = new Backoff(options.tuning?.backoff);
    options.signal?.addEventListener('abort', () => this.#stop.abort(options.signal?.reason), { once: true });
    if (options.signal?.aborted) this.#stop.abort(options.signal.reason);
    this.#grant = new Grant({
      calls, clock: this.#clock, backoff: options.tuning?.backoff ?? {}, signal: this.#stop.signal,
      wanted: () => this.#wanted(),
      lost: (error) => this.#round?.abort(error),
    });
  }

  /** As last seen; undefined until {@link ready}. */
  get subscription(): Subscription | undefined { return this.#grant.subscription; }
  get state(): SubscriptionState { return this.#state; }
  /** Everything up to here has been finished by the application; undefined until {@link ready}. */
  get position(): Position | undefined { return this.#acks?.done; }

  /** What can be relied on at the moment. */
  get guarantee(): Guarantee {
    return { order: 'total', loss: 'none silent', gaps: 'exact', drain: this.#drain, durability: this.#calls.connection.capability!.durability };
  }

  /**
   * Subscribes, waiting as long as the server cannot be reached. Rejects with what only the caller can repair: a `WireError`
   * InvalidParams, Forbidden, Conflict or NotFound (of a trigger type), a `LocalError` unauthorized. Iterating calls it.
   */
  ready(): Promise<Subscription> {
    this.#ready ??= this.#establish();
    return this.#ready;
  }

  /**
   * Items in order. A subscription is iterated once; leaving the loop closes it here and leaves it on the server. Ends without
   * an error after {@link close}; throws `LocalError` `terminated` when the subscription ended for good, `peer_misbehaved` when
   * the server does not keep the protocol, or what {@link ready} rejects with.
   */
  async *[Symbol.asyncIterator](): AsyncGenerator<Item, void, undefined> {
    if (this.#iterating) throw new LocalError('config_invalid', 'A subscription is iterated once. Subscribe again with the same key and ledger.');
    this.#iterating = true;
    let failure: unknown;
    try {
      await this.ready();
      while (!this.#stop.signal.aborted) {
        yield* this.#tellNews();
        const error = yield* this.#drainOnce();
        if (!this.#stop.signal.aborted) await this.#recover(error);
      }
    } catch (error) {
      if (this.#stop.signal.aborted) return;
      failure = error;
      throw error;
    } finally {
      await this.#leave(failure);
    }
  }

  /**
   * Stops here; what the application has finished is saved and acknowledged first, and rejects if that fails. With `unsubscribe`
   * the subscription ends on the server too.
   */
  async close({ unsubscribe = false }: { readonly unsubscribe?: boolean } = {}): Promise<void> {
    try {
      if (!this.#stop.signal.aborted) await this.#acks?.flush();
      if (unsubscribe) {
        await this.#grant.end();
        await this.#ledger.remove('position', this.#server, this.key);
      }
    } finally {
      this.#shut();
    }
  }

  get #server(): string { return this.#calls.connection.server; }
  get #drain(): Drain { return this.#rungs[this.#rung]!; }

  /* ------------------------------------------------------------- subscribing ------------------------------------------------------------- */

  async #establish(): Promise<Subscription> {
    const record = await this.#ledger.load('position', this.#server, this.key);
    const subscription = await this.#obtain();
    const { subscriptionId, epoch, acked } = subscription;
    this.#cursor = begin({ subscriptionId, epoch, sequence: acked });
    if (record) {
      const { subscriptionId: id, epoch: lastEpoch, sequence, past } = record;
      this.#cursor = { subscriptionId: id, epoch: lastEpoch, sequence, past };
      if (id !== subscriptionId) await this.#replaced(subscription);
      else if (lastEpoch !== epoch) this.#moveEpoch(epoch);
    }
    this.#acks = this.#acknowledger(acked);
    return subscription;
  }

  /** Subscribes on the best rung that works. */
  async #obtain(): Promise<Subscription> {
    this.#tell({ phase: 'subscribing' });
    for (;;) {
      try {
        return (await this.#grant.obtain()).subscription;
      } catch (error) {
        this.#stop.signal.throwIfAborted();
        const { do: what } = decide(error);
        if (what === 'descend' && this.#rung + 1 < this.#rungs.length) this.#rung += 1;
        else if (isTransient(error)) await this.#pause(error);
        else throw error;
      }
    }
  }

  async #wanted(): Promise<Wanted> {
    const { select, ttlMs, since, onFailure, callback } = this.#o;
    const params: Wanted['params'] = { key: this.key, select: [...select] };
    if (ttlMs !== undefined) params.ttlMs = ttlMs;
    if (since !== undefined) params.since = since;
    if (onFailure !== undefined) params.onFailure = onFailure;
    if (this.#drain !== 'callback') return { params, renewAt: null };
    const { url, secret, renewAt } = await callback!.register({ audience: this.#server, key: this.key });
    return { params: { ...params, callback: { url, secret } }, renewAt };
  }

  /** Another log has taken the place of the one in the ledger; the server may still know where that one ended. */
  async #replaced(subscription: Subscription): Promise<void> {
    const tombstone = await this.#calls.get({ subscriptionId: this.#cursor.subscriptionId }, { signal: this.#stop.signal }).catch((error: unknown) => error);
    const data = tombstone instanceof WireError && tombstone.is('NotFound') ? tombstone.data : undefined;
    this.#lose(data?.reason ?? 'replaced', data?.final);
    this.#join(subscription);
  }

  #lose(reason: LostItem['reason'], final: LostItem['final']): void {
    const { epoch, sequence } = this.#cursor;
    this.#news.push({ type: 'lost', reason, last: { epoch, sequence }, ...(final ? { final } : {}) });
  }

  #moveEpoch(epoch: string): void {
    const previous = positionOf(this.#cursor);
    this.#cursor = move(this.#cursor, { subscriptionId: this.#cursor.subscriptionId, epoch, sequence: 0 });
    this.#news.push({ type: 'epoch', previous, current: positionOf(this.#cursor) });
    this.#acks?.restart(this.#cursor);
  }

  /** Starts on a log that was not read before. */
  #join({ subscriptionId, epoch, acked }: Subscription): void {
    this.#cursor = move(this.#cursor, { subscriptionId, epoch, sequence: acked });
    this.#acks?.restart(this.#cursor);
  }

  #acknowledger(acked: number): Acknowledger {
    const { tuning, window } = this.#o;
    return new Acknowledger(this.#cursor, acked, {
      clock: this.#clock,
      delayMs: tuning?.ackDelayMs ?? ACK_DELAY_MS,
      batch: Math.ceil((window?.events ?? STREAM_EVENTS_DEFAULT) / 4),
      save: ({ epoch, sequence }) => this.#save({ ...this.#cursor, epoch, sequence }),
      send: async (position) => {
        if (this.#byCall) await this.#calls.ack({ subscriptionId: this.#cursor.subscriptionId, position }, { signal: this.#stop.signal });
      },
      failed: (error) => {
        if (isTransient(error)) return new Backoff(tuning?.backoff).next(error);
        this.#round?.abort(error);
        return null;
      },
    });
  }

  #save({ subscriptionId, epoch, sequence, past }: Cursor): Promise<void> {
    return this.#ledger.save({ kind: 'position', server: this.#server, key: this.key, subscriptionId, epoch, sequence, past });
  }

  /* --------------------------------------------------------------- draining -------------------------------------------------------------- */

  /** Yields until the drain ends; returns why: undefined when the server ended it in good order. */
  async *#drainOnce(): AsyncGenerator<Item, unknown> {
    const round = new AbortController();
    this.#round = round;
    const startedAt = this.#clock.now();
    this.#tell({ phase: 'draining', drain: this.#drain, ...(this.#rung > 0 ? { fellBackFrom: this.#rungs[0]! } : {}) });
    try {
      for await (const delivery of drains[this.#drain](this.#context(round.signal))) {
        this.#missed = false;
        yield* this.#take(delivery);
        if (delivery.terminated) return new Ended(delivery.terminated.reason, delivery);
      }
      return undefined;
    } catch (error) {
      return round.signal.aborted ? round.signal.reason : error;
    } finally {
      round.abort();
      if (this.#clock.now() - startedAt >= HEALTHY_MS) this.#backoff.reset();
    }
  }

  #context(round: AbortSignal): DrainContext {
    const { window = {}, tuning = {}, callback } = this.#o;
    return {
      calls: this.#calls, clock: this.#clock, acks: this.#acks!, signal: AbortSignal.any([round, this.#stop.signal]),
      subscriptionId: this.#cursor.subscriptionId,
      position: () => positionOf(this.#cursor),
      missed: this.#missed,
      window,
      silenceMs: tuning.silenceMs,
      waitMs: tuning.waitMs ?? PULL_WAIT_MAX_MS,
      checkMs: tuning.checkMs ?? CHECK_MS,
      attach: (sink: Sink) => callback!.attach({ audience: this.#server, key: this.key }, sink),
      note: (subscription) => this.#grant.note(subscription),
      acknowledgeByCall: (byCall) => { this.#byCall = byCall; },
    };
  }

  /** Applies the one rule and hands on what is new. */
  async *#take(delivery: Delivery): AsyncGenerator<Item, void> {
    let verdict = receive<Event>(this.#cursor, delivery);
    if (verdict.kind === 'moved' && !verdict.replaced) {
      this.#moveEpoch(delivery.epoch);
      yield* this.#tellNews();
      verdict = receive<Event>(this.#cursor, delivery);
    }
    switch (verdict.kind) {
      case 'apply':
        this.#noteCounters(delivery);
        for (const entry of verdict.entries) yield* this.#hand(entry);
        return;
      case 'hole':
        this.#missed = true;
        throw misbehaved('hole', `numbers ${verdict.expected} to ${verdict.after} are missing`);
      case 'unsound':
        throw misbehaved('delivery', `number ${verdict.at} is missing, doubled or out of order in a delivery`);
      default:
        // Late messages of an earlier life are to be expected at a callback only.
        if (this.#drain !== 'callback') throw misbehaved('stale', 'it sent a delivery of a log that has ended');
    }
  }

  async *#hand(entry: Entry<Event>): AsyncGenerator<Item, void> {
    const acks = this.#acks!;
    const { position } = entry;
    this.#cursor = advance(this.#cursor, position.sequence);
    this.#backoff.reset();
    this.#strikes = 0;
    const known = entry.type === 'event' && this.#cursor.past.length > 0 && this.#recent.has(entry.event);
    if (!known) {
      const ack = async (): Promise<void> => {
        acks.finish(position);
        await acks.confirmed(position);
      };
      yield { ...entry, ack };
      if (entry.type === 'event') this.#recent.add(entry.event);
    }
    if (this.#o.ack !== 'manual') acks.finish(position);
  }

  #noteCounters({ epoch, head, acked, etag, status, expiresAt }: Delivery): void {
    const { subscription } = this.#grant;
    if (subscription) this.#grant.note({ ...subscription, epoch, head, acked, etag, status, expiresAt });
  }

  /** Tells of losses, and remembers having told. */
  async *#tellNews(): AsyncGenerator<Item, void> {
    for (let item = this.#news.shift(); item !== undefined; item = this.#news.shift()) {
      yield item;
      if (this.#news.length === 0) await this.#save(this.#cursor);
    }
  }

  /* -------------------------------------------------------------- recovering ------------------------------------------------------------- */

  async #recover(error: unknown): Promise<void> {
    const decision: Decision = error === undefined ? { do: 'retry', strike: false } : decide(error);
    switch (decision.do) {
      case 'epoch':
        return this.#moveEpoch(decision.epoch);
      case 'rewind': {
        const { final } = decision;
        if (final.epoch !== this.#cursor.epoch) return this.#moveEpoch(final.epoch);
        this.#lose('rewound', final);
        this.#cursor = { ...this.#cursor, sequence: final.acked };
        return this.#acks!.restart(this.#cursor);
      }
      case 'lost':
        if (this.#o.resubscribe === false) throw decision.error;
        this.#lose(decision.reason, decision.final);
        return this.#join(await this.#obtain());
      case 'descend':
        if (this.#rung + 1 >= this.#rungs.length) throw error;
        this.#rung += 1;
        return void (await this.#obtain());
      case 'retry':
        if (decision.strike && ++this.#strikes >= STRIKES_MAX) throw error;
        await this.#pause(error);
        // A callback that failed may have to be registered anew; for the other drains a subscription is enough.
        if (this.#drain === 'callback') await this.#obtain();
        return;
      case 'fail':
        throw decision.error;
    }
  }

  async #pause(error: unknown): Promise<void> {
    const delayMs = this.#backoff.next(error);
    this.#tell({ phase: 'waiting', error, delayMs });
    await sleep(this.#clock, delayMs, this.#stop.signal);
    this.#stop.signal.throwIfAborted();
  }

  #tell(state: SubscriptionState): void {
    this.#state = state;
    this.#o.onState?.(state);
  }

  /** The loop is over: the last finished item is acknowledged if that is still possible; the ledger has it in any case. */
  async #leave(failure: unknown): Promise<void> {
    let error = failure;
    if (!this.#stop.signal.aborted && failure === undefined) {
      await this.#acks?.flush().catch((unsaid: unknown) => { error = unsaid; });
    }
    this.#shut(error);
  }

  #shut(error?: unknown): void {
    this.#acks?.close(error ?? new LocalError('closed', 'The subscription has been closed here.'));
    this.#stop.abort(new LocalError('closed', 'The subscription has been closed here.'));
    if (this.#state.phase !== 'ended') this.#tell({ phase: 'ended', ...(error === undefined ? {} : { error }) });
  }
}

const positionOf = ({ epoch, sequence }: Position): Position => ({ epoch, sequence });
const misbehaved = (reason: string, problem: string) => new LocalError('peer_misbehaved', `The server broke the protocol: ${problem}.`, { reason });
