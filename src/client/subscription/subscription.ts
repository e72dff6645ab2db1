/**
 * One subscription as the application sees it: an iterator of events in order, and of everything that was lost. Behind it the
 * grant renews, a drain fills, the reader decides, the ledger remembers, and every error has one answer.
 */
import type {
  Delivery,
  Drain,
  Event,
  Position,
  Subscription,
} from '../../../spec-schema/draft/schema.ts';
import type { Cursor, AppliedEntry } from '../../protocol/core/apply.ts';
import { sleep, systemClock, type Clock } from '../../protocol/lib/clock.ts';
import { memoryLedger, type Ledger } from '../../protocol/ledger/ledger.ts';
import { subscriptionKey } from '../../protocol/wire/canonical.ts';
import { LocalError, WireError } from '../../protocol/wire/errors.ts';
import { PULL_WAIT_MAX_MS, STREAM_EVENTS_DEFAULT } from '../../protocol/wire/limits.ts';
import { Acknowledger } from './acknowledger.ts';
import { Backoff, isTransient } from '../backoff.ts';
import type { TriggersApi } from '../sdk/triggers-api.ts';
import { drains, drainsToTry, type DrainContext } from './drains.ts';
import { Renewer, type SubscribeRequest } from './renewer.ts';
import type { Sink } from '../../protocol/lib/sinks.ts';
import type { Guarantee, Item, SubscribeOptions, SubscriptionState } from '../options.ts';
import { misbehaved, LogReader } from './reader.ts';
import { recoveryOf, SubscriptionEnded, type Recovery } from './recovery.ts';

const CHECK_MS = 60_000;
const ACK_DELAY_MS = 50;
/** A peer that breaks the protocol this often without anything good in between is given up. */
const STRIKES_MAX = 3;
/** A round that lived this long was no failed attempt. */
const HEALTHY_MS = 30_000;

/**
 * A subscription that is open here: `for await (const item of subscription)`. Made by {@link TriggersClient.subscribe}; it stays
 * on the server when the loop ends, and the same `key` and ledger continue it.
 */
export class TriggersSubscription implements AsyncIterable<Item> {
  /** The subscription's `key`. */
  readonly key: string;
  readonly #api: TriggersApi;
  readonly #o: SubscribeOptions;
  readonly #clock: Clock;
  readonly #ledger: Ledger;
  readonly #stop = new AbortController();
  readonly #backoff: Backoff;
  readonly #renewer: Renewer;
  readonly #modes: readonly Drain[];
  #mode = 0;
  #state: SubscriptionState = { phase: 'idle' };
  #ready: Promise<Subscription> | undefined;
  #iterating = false;
  #reader!: LogReader;
  #acks: Acknowledger | undefined;
  #round: AbortController | undefined;
  #byCall = true;
  #missed = false;
  #strikes = 0;
  /** Why the last renewal failed, until a round has ended with it. */
  #notRenewed: unknown;
  /** As last declared: a server that takes its declaration back has made its promises all the same. */
  #durability: Guarantee['durability'];
  /** The position that the ledger has. */
  #saved = '';
  /** What there is to do before the next round. */
  #todo: { readonly pauseFor?: unknown; readonly obtain?: boolean } = {};

  /** @internal Made by `TriggersClient.subscribe`. */
  constructor(api: TriggersApi, options: SubscribeOptions) {
    const { capability } = api.connection;
    if (!capability)
      throw new LocalError('not_supported', 'The server does not declare the triggers extension.', {
        reason: 'capability',
      });
    this.#modes = drainsToTry(options.drain ?? 'auto', options.callback !== undefined, capability);
    if (this.#modes.length === 0)
      throw new LocalError(
        'not_supported',
        'The server offers none of the drains that may be used.',
        { reason: 'drain' },
      );
    this.#api = api;
    this.#durability = capability.durability;
    this.#o = options;
    this.key = options.key ?? subscriptionKey(options.select, null);
    this.#clock = options.tuning?.clock ?? systemClock;
    this.#ledger = options.ledger ?? memoryLedger();
    this.#backoff = new Backoff(options.tuning?.backoff);
    options.signal?.addEventListener('abort', () => this.#shut(), {
      once: true,
      signal: this.#stop.signal,
    });
    if (options.signal?.aborted) this.#shut();
    this.#renewer = new Renewer({
      api,
      clock: this.#clock,
      backoff: options.tuning?.backoff ?? {},
      signal: this.#stop.signal,
      wanted: () => this.#wanted(),
      lost: (error) => {
        this.#notRenewed = error;
        this.#round?.abort(error);
      },
    });
  }

  /** As last seen; undefined until {@link ready}. */
  get subscription(): Subscription | undefined {
    return this.#renewer.subscription;
  }
  /** What it is doing; `onState` tells of every change. */
  get state(): SubscriptionState {
    return this.#state;
  }
  /** Everything up to here has been finished by the application; undefined until {@link ready}. */
  get position(): Position | undefined {
    return this.#acks?.done;
  }

  /** What can be relied on at the moment. */
  get guarantee(): Guarantee {
    this.#durability = this.#api.connection.capability?.durability ?? this.#durability;
    return {
      order: 'total',
      loss: 'none silent',
      gaps: 'exact',
      drain: this.#drain,
      durability: this.#durability,
    };
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
    if (this.#iterating)
      throw new LocalError(
        'config_invalid',
        'A subscription is iterated once. Subscribe again with the same key and ledger.',
      );
    this.#iterating = true;
    let failure: unknown;
    try {
      await this.ready();
      while (!this.#stop.signal.aborted) {
        yield* this.#tellNews();
        let error = await this.#prepare();
        yield* this.#tellNews();
        error ??= yield* this.#drainOnce();
        if (!this.#stop.signal.aborted) this.#recover(error);
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
    } finally {
      // First here, so that the iterator does not take its own end for somebody else's decision.
      this.#shut();
      if (unsubscribe) {
        await this.#renewer.end();
        await this.#ledger.remove('position', this.#server, this.key);
      }
    }
  }

  get #server(): string {
    return this.#api.connection.server;
  }
  get #drain(): Drain {
    return this.#modes[this.#mode]!;
  }

  /* -------------------------------------------------- subscribing ------------------------------------------------------- */

  async #establish(): Promise<Subscription> {
    const record = await this.#ledger.load('position', this.#server, this.key);
    const subscription = await this.#obtain();
    this.#reader = new LogReader(record, subscription, (cursor) => this.#acks?.restart(cursor));
    await this.#join(subscription);
    this.#acks = this.#acknowledger(subscription.acked);
    return subscription;
  }

  /** Subscribes on the best rung that works. */
  async #obtain(): Promise<Subscription> {
    this.#tell({ phase: 'subscribing' });
    for (;;) {
      this.#stop.signal.throwIfAborted();
      try {
        return (await this.#renewer.obtain()).subscription;
      } catch (error) {
        this.#stop.signal.throwIfAborted();
        if (recoveryOf(error).do === 'descend' && this.#mode + 1 < this.#modes.length)
          this.#mode += 1;
        else if (isTransient(error)) await this.#pause(error);
        else throw error;
      }
    }
  }

  async #wanted(): Promise<SubscribeRequest> {
    const { select, ttlMs, since, onFailure, callback } = this.#o;
    const params: SubscribeRequest['params'] = { key: this.key, select: [...select] };
    if (ttlMs !== undefined) params.ttlMs = ttlMs;
    if (since !== undefined) params.since = since;
    if (onFailure !== undefined) params.onFailure = onFailure;
    if (this.#drain !== 'callback') return { params, renewAt: null };
    const { url, secret, renewAt } = await callback!.register({
      audience: this.#server,
      key: this.key,
    });
    return { params: { ...params, callback: { url, secret } }, renewAt };
  }

  /** Goes on with this subscription; of one that was replaced the server may still know where it ended. */
  async #join(subscription: Subscription): Promise<void> {
    if (this.#reader.isReplacedBy(subscription)) {
      const { subscriptionId } = this.#reader.cursor;
      const answer = await this.#api
        .get({ subscriptionId }, { signal: this.#stop.signal })
        .catch((error: unknown) => error);
      const ended = answer instanceof WireError && answer.is('NotFound') ? answer.data : undefined;
      this.#reader.lose(ended?.reason ?? 'replaced', ended?.final);
    }
    this.#reader.adopt(subscription);
  }

  #acknowledger(acked: number): Acknowledger {
    const { tuning, window } = this.#o;
    const backoff = new Backoff(tuning?.backoff);
    return new Acknowledger(this.#reader.position, acked, {
      clock: this.#clock,
      delayMs: tuning?.ackDelayMs ?? ACK_DELAY_MS,
      batch: Math.ceil((window?.events ?? STREAM_EVENTS_DEFAULT) / 4),
      save: ({ epoch, sequence }) => this.#save({ ...this.#reader.cursor, epoch, sequence }),
      send: async (position) => {
        if (this.#byCall) await this.#acknowledge(position);
        backoff.reset();
      },
      failed: (error) => {
        if (isTransient(error)) return backoff.next(error);
        this.#round?.abort(error);
        return null;
      },
    });
  }

  async #acknowledge(position: Position): Promise<void> {
    const { epoch, acked } = await this.#api.ack(
      { subscriptionId: this.#reader.cursor.subscriptionId, position },
      { signal: this.#stop.signal },
    );
    if (epoch !== position.epoch || acked < position.sequence)
      throw misbehaved('ack', 'it does not keep what was acknowledged');
  }

  async #save({ subscriptionId, epoch, sequence, past }: Cursor): Promise<void> {
    const name = `${subscriptionId} ${epoch} ${sequence}`;
    if (name === this.#saved) return;
    await this.#ledger.save({
      kind: 'position',
      server: this.#server,
      key: this.key,
      subscriptionId,
      epoch,
      sequence,
      past,
    });
    this.#saved = name;
  }

  /* -------------------------------------------------- draining ---------------------------------------------------------- */

  /** Yields until the drain ends; returns why: undefined when the server ended it in good order. */
  async *#drainOnce(): AsyncGenerator<Item, unknown> {
    const round = new AbortController();
    this.#round = round;
    // A renewal can fail while no round is open.
    if (this.#notRenewed !== undefined) round.abort(this.#notRenewed);
    this.#notRenewed = undefined;
    const startedAt = this.#clock.now();
    this.#acks!.resume();
    this.#tell({
      phase: 'draining',
      drain: this.#drain,
      ...(this.#mode > 0 ? { fellBackFrom: this.#modes[0]! } : {}),
    });
    try {
      round.signal.throwIfAborted();
      for await (const delivery of drains[this.#drain](this.#context(round.signal))) {
        const isOurs = yield* this.#take(delivery);
        if (isOurs && delivery.terminated)
          return new SubscriptionEnded(delivery.terminated.reason, delivery);
      }
      return undefined;
    } catch (error) {
      this.#missed = error instanceof LocalError && error.reason === 'hole';
      return round.signal.aborted ? round.signal.reason : error;
    } finally {
      round.abort();
      this.#notRenewed = undefined;
      if (this.#clock.now() - startedAt >= HEALTHY_MS) this.#backoff.reset();
    }
  }

  #context(round: AbortSignal): DrainContext {
    const { window = {}, tuning = {}, callback } = this.#o;
    return {
      api: this.#api,
      clock: this.#clock,
      acks: this.#acks!,
      signal: AbortSignal.any([round, this.#stop.signal]),
      subscriptionId: this.#reader.cursor.subscriptionId,
      position: () => this.#reader.position,
      missed: this.#missed,
      isForeign: (delivery) => this.#reader.isForeign(delivery),
      window,
      silenceMs: tuning.silenceMs,
      waitMs: tuning.waitMs ?? PULL_WAIT_MAX_MS,
      checkMs: tuning.checkMs ?? CHECK_MS,
      attach: (sink: Sink) => callback!.attach({ audience: this.#server, key: this.key }, sink),
      note: (subscription) => this.#renewer.note(subscription),
      acknowledgeByCall: (byCall) => {
        this.#byCall = byCall;
      },
    };
  }

  /** Hands on what is new in a delivery. False = it is none of this log. */
  async *#take(delivery: Delivery): AsyncGenerator<Item, boolean> {
    const entries = delivery.key === this.key ? this.#reader.read(delivery) : null;
    // Late messages of an earlier life are to be expected at a callback only.
    if (entries === null && this.#drain !== 'callback')
      throw misbehaved('stale', 'it sent a delivery of another log, or of one that has ended');
    if (entries === null) return false;
    yield* this.#tellNews();
    this.#noteCounters(delivery);
    for (const entry of entries) yield* this.#hand(entry);
    return true;
  }

  async *#hand(entry: AppliedEntry<Event>): AsyncGenerator<Item, void> {
    const acks = this.#acks!;
    const { position } = entry;
    const isNew = this.#reader.hand(entry);
    if (isNew) {
      this.#backoff.reset();
      this.#strikes = 0;
    }
    const ack = async (): Promise<void> => {
      acks.finish(position);
      await acks.confirmed(position);
    };
    if (isNew) yield { ...entry, ack };
    if (this.#o.ack !== 'manual') acks.finish(position);
  }

  #noteCounters({ epoch, head, acked, etag, status, expiresAt }: Delivery): void {
    const { subscription } = this.#renewer;
    if (subscription)
      this.#renewer.note({ ...subscription, epoch, head, acked, etag, status, expiresAt });
  }

  /** Tells of losses, and remembers having told. */
  async *#tellNews(): AsyncGenerator<Item, void> {
    if (!this.#reader.hasNews) return;
    for (let item = this.#reader.news(); item !== undefined; item = this.#reader.news()) yield item;
    await this.#save(this.#reader.cursor);
  }

  /* -------------------------------------------------- recovering -------------------------------------------------------- */

  /** Decides what the end of a round means; throws when it is the end of all. */
  #recover(error: unknown): void {
    const decision: Recovery =
      error === undefined ? { do: 'retry', strike: false } : recoveryOf(error);
    const pauseFor =
      error ??
      new LocalError('unreachable', 'The server has ended the stream.', { reason: 'ended' });
    // What could not be obtained is still wanted.
    const { obtain = !this.#renewer.isKept } = this.#todo;
    this.#todo = { pauseFor };
    switch (decision.do) {
      case 'epoch':
        return this.#unlessImpossible(() => this.#reader.leaveEpoch(decision.epoch));
      case 'rewind':
        return this.#unlessImpossible(() => this.#reader.rewind(decision.final, decision.has));
      case 'lost':
        if (this.#o.resubscribe === false) throw decision.error;
        this.#reader.lose(decision.reason, decision.final);
        this.#todo = { pauseFor, obtain: true };
        return;
      case 'descend':
        if (this.#mode + 1 >= this.#modes.length) throw error;
        this.#mode += 1;
        this.#todo = { obtain: true };
        return;
      case 'retry':
        if (decision.strike && ++this.#strikes >= STRIKES_MAX) throw error;
        // A callback that failed may have to be registered anew; for the other drains a subscription that is kept alive is enough.
        this.#todo = { pauseFor, obtain: obtain || this.#drain === 'callback' };
        return;
      case 'fail':
        throw decision.error;
    }
  }

  /** A server that says what cannot be has made a mistake like any other. */
  #unlessImpossible(go: () => void): void {
    try {
      go();
    } catch (error) {
      this.#recover(error);
    }
  }

  /** Does what there is to do before a round; returns what the server got wrong about it. */
  async #prepare(): Promise<unknown> {
    const { pauseFor, obtain } = this.#todo;
    this.#todo = {};
    if (pauseFor !== undefined) await this.#pause(pauseFor);
    try {
      if (obtain === true) await this.#join(await this.#obtain());
      return undefined;
    } catch (error) {
      if (!(error instanceof LocalError && error.code === 'peer_misbehaved')) throw error;
      this.#todo = { obtain: true };
      return error;
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
      await this.#acks?.flush().catch((unsaid: unknown) => {
        error = unsaid;
      });
    }
    this.#shut(error);
  }

  #shut(error?: unknown): void {
    this.#acks?.close(error ?? new LocalError('closed', 'The subscription has been closed here.'));
    this.#stop.abort(new LocalError('closed', 'The subscription has been closed here.'));
    if (this.#state.phase !== 'ended')
      this.#tell({ phase: 'ended', ...(error === undefined ? {} : { error }) });
  }
}
