/**
 * The engine: loads, asks the core, saves, then acts. It wires its rooms together and answers the verbs; recovery after a
 * crash is the ordinary start, there is no other path.
 */
import type {
  AckParams,
  AckResult,
  ListTriggersNotModified,
  ListTriggersParams,
  ListTriggersResult,
  PullParams,
  StreamParams,
} from '../../../spec-schema/draft/schema.ts';
import type { TtlPolicy } from '../../protocol/core/index.ts';
import type { TerminationReason } from '../../protocol/core/types.ts';
import { LocalError } from '../../protocol/wire/errors.ts';
import type { DeliveryKey } from '../../protocol/wire/delivery-jws.ts';
import {
  STREAM_BYTES_DEFAULT,
  STREAM_BYTES_MAX,
  STREAM_EVENTS_DEFAULT,
  STREAM_EVENTS_MAX,
  TTL_DEFAULT_MS,
  TTL_MAX_MS,
  TTL_MIN_MS,
} from '../../protocol/wire/limits.ts';
import { UnitOfWork, retryWhenFull, type LoadedSubscription } from './unit-of-work.ts';
import { Catalog, mayDrain } from './catalog.ts';
import type { CallbackDialect } from '../callback/dialect.ts';
import { Dialects } from '../callback/dialects.ts';
import { Dispatcher } from '../callback/dispatcher.ts';
import { Scheduler } from './scheduler.ts';
import { listTriggers } from './listing.ts';
import { Sequencer } from './sequencer.ts';
import { backgroundClock, systemClock, type Clock } from '../../protocol/lib/clock.ts';
import type { Egress, Log, Meter, Random } from './ports.ts';
import type { Opened, Store } from '../store/port.ts';
import { assertPosition } from '../pull/positions.ts';
import { Pulls } from '../pull/pulls.ts';
import { PrincipalQuota } from './quota.ts';
import { MessageSigner } from '../callback/message-signer.ts';
import { Streams } from '../stream/streams.ts';
import { Subscriptions, type Authorize, type Visible } from './subscriptions.ts';
import { silentLog, silentMeter, systemRandom } from './ports.ts';
import type {
  Accepted,
  Caller,
  DeclaredTrigger,
  Engine,
  EngineHealth,
  NewEvent,
  PullAnswer,
  StreamSink,
} from './verbs.ts';
import { Maintenance, type Reauthorize } from './maintenance.ts';
import { Verifier } from '../callback/verifier.ts';

/** Rows handled between two turns when every subscription is visited. */
const SWEEP = 256;
/** How long `close` waits for attempts in flight. */
const CLOSE_PATIENCE_MS = 12_000;
/** After a refused write: how long no event is accepted before it is tried again. */
const STORE_PAUSE_MS = 1000;

/** Everything `createEngine` can be told. Only `store`, `triggers` and `egress` have no default. */
export interface EngineOptions {
  /** Where logs live, for example `sqliteStore({ path, key })`. */
  readonly store: Store;
  readonly triggers: readonly DeclaredTrigger[];
  /** The only way out: `createEgress()`. */
  readonly egress: Egress;
  readonly clock?: Clock;
  readonly random?: Random;
  readonly log?: Log;
  readonly meter?: Meter;
  /** Signs deliveries as this server (SEP: Server identity). Absent = deliveries carry the client's HMAC only. */
  readonly deliveryKey?: DeliveryKey;
  /** How callbacks of other protocols are spoken to, by the name a binding subscribes them under. */
  readonly dialects?: Readonly<Record<string, CallbackDialect>>;
  /** Default: everybody who is authenticated may follow everything. */
  readonly authorize?: Authorize;
  /** Which types a caller's list shows, and whose existence is not told. Default: those that `authorize` permits without arguments. */
  readonly visible?: Visible;
  /** Asked twice a day for every selection of every subscription; false ends the subscription as `revoked` (SEP: Ending). Default: nobody is asked. */
  readonly reauthorize?: Reauthorize;
  /** Milliseconds. Defaults: 60 s to 30 days, 1 hour when nothing is suggested, no expiry only if the store is durable. */
  readonly ttl?: Partial<TtlPolicy>;
  readonly quotas?: {
    /** Default 1000. */
    readonly subscriptionsPerPrincipal?: number;
    /** Default 100. */
    readonly streamsPerPrincipal?: number;
    /** Default 100. */
    readonly waitingPullsPerPrincipal?: number;
    /** Callback attempts in flight at once, over all subscriptions. Default 256. */
    readonly attempts?: number;
    /** Subscriptions kept in memory. Default 20,000. */
    readonly loaded?: number;
  };
  /** Most events in one callback delivery. Default 100. */
  readonly batchEvents?: number;
  /** Most log entries written in one commit when an event has many followers. Default 1024; for tests. */
  readonly numberingChunk?: number;
  /** Milliseconds; for tests. */
  readonly streamHeartbeatMs?: number;
  readonly streamStalledMs?: number;
}

/** Makes an engine. Call `start()` before anything else. Throws `LocalError` `schema_refused` for a trigger type's schema. */
export function createEngine(options: EngineOptions): Engine {
  return new TriggersEngine(options);
}

class TriggersEngine implements Engine {
  readonly #store: Store;
  readonly clock: Clock;
  readonly #clock: Clock;
  readonly #random: Random;
  readonly #log: Log;
  readonly #egress: Egress;
  readonly #everybodySeesAll: boolean;
  readonly #catalog: Catalog;
  readonly #unitOfWork: UnitOfWork;
  readonly #sequencer: Sequencer;
  readonly #dispatcher: Dispatcher;
  readonly #streams: Streams;
  readonly #verifier: Verifier;
  readonly #subscriptions: Subscriptions;
  readonly #scheduler: Scheduler;
  readonly #listeners = new Set<() => void>();
  readonly #openStreams: PrincipalQuota;
  readonly #pulls: Pulls;
  readonly #maintenance: Maintenance;
  #status: EngineHealth['status'] = 'starting';
  #refusal: { readonly error: LocalError; readonly until: number } | null = null;
  #generation = 0;
  #closing: Promise<void> | null = null;
  #resuming: (() => void) | null = null;
  /** Calls under way. */
  #serving = 0;
  #allServed: (() => void) | null = null;

  constructor(options: EngineOptions) {
    const clock = (this.#clock = this.clock = backgroundClock(options.clock ?? systemClock));
    const random = (this.#random = options.random ?? systemRandom);
    const log = (this.#log = options.log ?? silentLog);
    const meter = options.meter ?? silentMeter;
    const { store, egress } = options;
    this.#store = store;
    this.#egress = egress;
    this.#everybodySeesAll = options.authorize === undefined && options.visible === undefined;
    this.#openStreams = new PrincipalQuota('streams', options.quotas?.streamsPerPrincipal ?? 100);
    this.#catalog = new Catalog(options.triggers);
    const signer = new MessageSigner({ clock, deliveryKey: options.deliveryKey });
    const dialects = new Dialects(options.dialects ?? {}, log);
    const unitOfWork = (this.#unitOfWork = new UnitOfWork({
      store,
      now: () => clock.now(),
      act: (loaded, effect) =>
        effect.type === 'wake'
          ? this.#streams.wake(loaded.row)
          : this.#streams.announce(loaded.row),
      ready: (loaded) => this.#dispatcher.pump(loaded),
      terminated: (loaded, reason) => this.#terminated(loaded, reason),
      failed: (cause) => this.#failed(cause),
      due: (at) => this.#scheduler.arm(at),
      maxLoaded: options.quotas?.loaded ?? 20_000,
    }));
    this.#sequencer = new Sequencer({
      store,
      unitOfWork,
      catalog: this.#catalog,
      clock,
      random,
      log,
      meter,
      refusal: () => this.#refusing(),
      ...(options.numberingChunk === undefined ? {} : { chunk: options.numberingChunk }),
    });
    this.#dispatcher = new Dispatcher({
      store,
      unitOfWork,
      clock,
      random,
      egress,
      signer,
      dialects,
      log,
      meter,
      concurrency: options.quotas?.attempts ?? 256,
      ...(options.batchEvents === undefined ? {} : { batchEvents: options.batchEvents }),
    });
    this.#streams = new Streams({
      store,
      unitOfWork,
      clock,
      meter,
      ...(options.streamHeartbeatMs === undefined
        ? {}
        : { heartbeatMs: options.streamHeartbeatMs }),
      ...(options.streamStalledMs === undefined ? {} : { stalledMs: options.streamStalledMs }),
    });
    this.#verifier = new Verifier({ store, clock, random, egress, signer, dialects, log, meter });
    this.#subscriptions = new Subscriptions({
      store,
      unitOfWork,
      catalog: this.#catalog,
      sequencer: this.#sequencer,
      verifier: this.#verifier,
      dialects,
      egress,
      clock,
      random,
      authorize: options.authorize,
      visible: options.visible,
      ttl: {
        minMs: TTL_MIN_MS,
        maxMs: TTL_MAX_MS,
        defaultMs: TTL_DEFAULT_MS,
        allowNoExpiry: store.durability === 'durable',
        ...options.ttl,
      },
      maxPerPrincipal: options.quotas?.subscriptionsPerPrincipal ?? 1000,
    });
    this.#pulls = new Pulls({
      store,
      unitOfWork,
      catalog: this.#catalog,
      streams: this.#streams,
      subscriptions: this.#subscriptions,
      clock,
      meter,
      maxWaiting: options.quotas?.waitingPullsPerPrincipal ?? 100,
    });
    this.#maintenance = new Maintenance({
      store,
      unitOfWork,
      catalog: this.#catalog,
      verifier: this.#verifier,
      clock,
      log,
      reauthorize: options.reauthorize,
      release: (row) => this.#scheduler.release(row),
    });
    this.#scheduler = new Scheduler({
      store,
      unitOfWork,
      clock,
      log,
      tick: (loaded) => this.#maintenance.tick(loaded),
    });
    meter.gauge('triggers_subscriptions_held', () => unitOfWork.size);
    meter.gauge('triggers_streams_open', () => this.#streams.open);
    meter.gauge('triggers_attempts_in_flight', () => this.#dispatcher.inFlight);
    meter.gauge('triggers_numbering_lag', () => this.#sequencer.lag);
  }

  /* ------------------------------------------------------------------------------------ life of the engine */

  async start(): Promise<void> {
    const opened = await this.#store.open(this.#clock.now());
    this.#generation = opened.generation;
    this.#subscriptions.start(opened.nextRow);
    const rows: number[] = [];
    const removed: number[] = [];
    for await (const { row, select } of this.#store.index()) {
      this.#sequencer.load(row, select);
      rows.push(row);
      if (select.some(({ name }) => this.#catalog.get(name) === undefined)) removed.push(row);
    }
    await this.#recover(opened, rows);
    await this.#end(removed);
    this.#sequencer.start(opened.lastOffset, opened.checkpoint);
    await this.#resumeCallbacks();
    const next = await this.#store.nextDueAt();
    if (next !== null) this.#scheduler.arm(next);
    this.#maintenance.start();
    this.#status = 'ok';
    this.#log.info(
      { generation: opened.generation, continuity: opened.continuity, subscriptions: rows.length },
      'engine started',
    );
  }

  /** A store that may have lost what clients saw gives every log a new epoch, before anybody is served. */
  async #recover(opened: Opened, rows: readonly number[]): Promise<void> {
    if (opened.continuity !== 'maybe_lost') return;
    this.#log.warn(
      { subscriptions: rows.length },
      'the store may have lost writes that clients have seen: every epoch changes',
    );
    await this.#visit(rows, (loaded) =>
      this.#unitOfWork.step(loaded, { type: 'rotate', epoch: this.#random.token(16) }),
    );
  }

  /** A type that this server does not offer any more ends what follows it (SEP: Trigger types). */
  async #end(rows: readonly number[]): Promise<void> {
    if (rows.length > 0)
      this.#log.warn(
        { subscriptions: rows.length },
        'subscriptions follow a trigger type that is not declared any more: they end with trigger_removed',
      );
    await this.#visit(rows, (loaded) =>
      this.#unitOfWork.step(loaded, { type: 'terminate', reason: 'trigger_removed' }),
    );
  }

  /** Steps these subscriptions, as far as they live, a bounded number in one commit. */
  async #visit(rows: readonly number[], work: (loaded: LoadedSubscription) => void): Promise<void> {
    for (let at = 0; at < rows.length; at += SWEEP) {
      const chunk = rows.slice(at, at + SWEEP);
      await this.#unitOfWork.load(chunk);
      for (const row of chunk) {
        const loaded = this.#unitOfWork.get(row);
        if (loaded !== undefined && !loaded.ended) work(loaded);
      }
      await this.#unitOfWork.commit();
    }
  }

  /** Attempts of an earlier process are void; whatever callbacks have to deliver is claimed in the ordinary way. */
  async #resumeCallbacks(): Promise<void> {
    let after = 0;
    for (;;) {
      const rows = await this.#store.backlog(after, SWEEP);
      const last = rows.at(-1);
      if (last === undefined) return;
      await this.#unitOfWork.load(rows);
      for (const row of rows) {
        const loaded = this.#unitOfWork.get(row);
        // An attempt of this process is still going to be answered: a second one beside it would break the order.
        if (loaded !== undefined && !loaded.ended && !this.#dispatcher.owns(loaded))
          this.#unitOfWork.step(loaded, { type: 'recover' });
      }
      await this.#unitOfWork.commit();
      after = last;
    }
  }

  close(): Promise<void> {
    this.#closing ??= this.#close();
    return this.#closing;
  }

  async #close(): Promise<void> {
    this.#status = 'closed';
    this.#maintenance.close();
    this.#pulls.close();
    this.#resuming?.();
    this.#streams.close();
    try {
      await Promise.all([
        this.#sequencer.close(),
        this.#within(CLOSE_PATIENCE_MS, Promise.all([this.#scheduler.close(), this.#served()])),
      ]);
      await this.#dispatcher.close(CLOSE_PATIENCE_MS);
      await this.#unitOfWork.commit();
    } catch (cause) {
      this.#log.error({ err: cause }, 'the last commit failed; what it held was told to nobody');
    } finally {
      await this.#egress.close();
      await this.#store.close();
    }
  }

  /** Resolves when `work` does, or when patience has run out. */
  #within(ms: number, work: Promise<unknown>): Promise<unknown> {
    let cancel = (): void => undefined;
    const patience = new Promise<void>((resolve) => {
      cancel = this.#clock.after(ms, resolve);
    });
    return Promise.race([work, patience]).finally(() => cancel());
  }

  /** Resolves when every call under way has been answered. */
  #served(): Promise<void> {
    if (this.#serving === 0) return Promise.resolve();
    return new Promise((resolve) => {
      this.#allServed = resolve;
    });
  }

  /** A commit failed. Memory is gone; say so, and take everything up again from the disk after a pause. */
  #failed(cause: unknown): void {
    const error =
      cause instanceof LocalError
        ? cause
        : new LocalError('store_failed', 'the store could not write; see the cause in the log', {
            cause,
          });
    this.#log.error(
      { code: error.code, err: cause },
      'a commit failed; nothing of it was done, and it is tried again',
    );
    this.#refusal = { error, until: this.#clock.now() + STORE_PAUSE_MS };
    this.#sequencer.rollback();
    if (this.#status === 'ok') this.#status = 'degraded';
    // The other process serves now. Everything this one still believes may be outdated.
    if (error.code === 'store_fenced') void this.close();
    else this.#resumeLater();
  }

  #resumeLater(): void {
    if (this.#status === 'closed' || this.#resuming !== null) return;
    this.#resuming = this.#clock.after(STORE_PAUSE_MS, () => void this.#resume());
  }

  async #resume(): Promise<void> {
    this.#resuming = null;
    if (this.#status === 'closed') return;
    try {
      this.#streams.wakeAll();
      await this.#resumeCallbacks();
      this.#sequencer.resume();
      const next = await this.#store.nextDueAt();
      if (next !== null) this.#scheduler.arm(next);
      // Another commit may have failed meanwhile; then this comes again.
      if (this.#resuming !== null || (this.#status as EngineHealth['status']) === 'closed') return;
      this.#refusal = null;
      this.#status = 'ok';
    } catch (cause) {
      this.#log.error({ err: cause }, 'the store still refuses');
      this.#resumeLater();
    }
  }

  /** Why no event can be accepted just now. A full store is not asked for every event, so that acknowledgements get through. */
  #refusing(): LocalError | null {
    if (this.#status === 'closed' || this.#status === 'starting')
      return new LocalError(
        'closed',
        'the engine is not running: await start(), and emit before close()',
      );
    if (this.#refusal !== null && this.#clock.now() < this.#refusal.until)
      return this.#refusal.error;
    return null;
  }

  #running(): void {
    if (this.#status === 'closed' || this.#status === 'starting')
      throw new LocalError('closed', 'the engine is not running: await start() before using it');
  }

  async health(): Promise<EngineHealth> {
    const stats = this.#status === 'closed' ? { subscriptions: 0 } : await this.#store.stats();
    return {
      status: this.#status,
      generation: this.#generation,
      subscriptions: stats.subscriptions,
      streams: this.#streams.open,
      attemptsInFlight: this.#dispatcher.inFlight,
      numberingLag: this.#sequencer.lag,
    };
  }

  #terminated(loaded: LoadedSubscription, reason: TerminationReason): void {
    const { state, row } = loaded;
    this.#subscriptions.end(loaded, reason);
    this.#unitOfWork.afterCommit(() => {
      this.#streams.ended(row, reason, state);
      // Who unsubscribed knows.
      if (reason === 'unsubscribed') return;
      void this.#dispatcher
        .sendTerminationNotice(state, reason)
        .catch((cause) =>
          this.#log.debug(
            { subscriptionId: state.subscriptionId, err: cause },
            'the last word did not reach the callback',
          ),
        );
    });
  }

  /* --------------------------------------------------------------------------------------------- the sources */

  emit(event: NewEvent): Promise<Accepted> {
    try {
      return this.#sequencer.emit(event);
    } catch (cause) {
      return Promise.reject(cause);
    }
  }

  settled(): Promise<void> {
    return this.#sequencer.settled();
  }

  declare(type: DeclaredTrigger): void {
    this.#catalog.declare(type);
    this.#listChanged();
  }

  async remove(
    name: string,
    reason: 'trigger_removed' | 'schema_changed' = 'trigger_removed',
  ): Promise<void> {
    if (!this.#catalog.remove(name)) return;
    this.#listChanged();
    // The store lists what is committed. What is being made looks at the catalog once more before it is.
    await this.#unitOfWork.commit();
    const rows: number[] = [];
    for await (const { row, select } of this.#store.index())
      if (select.some((selection) => selection.name === name)) rows.push(row);
    await this.#visit(rows, (loaded) => {
      const follows = loaded.state.select.some((selection) => selection.name === name);
      if (follows) this.#unitOfWork.step(loaded, { type: 'terminate', reason });
    });
  }

  async terminate(
    of: { readonly principal: string; readonly subscriptionId?: string },
    reason: Extract<TerminationReason, 'revoked' | 'failed' | 'schema_changed'>,
  ): Promise<number> {
    this.#running();
    await this.#unitOfWork.commit();
    let after = 0;
    let count = 0;
    for (;;) {
      const rows = await this.#store.rowsOf(of.principal, after, SWEEP);
      const last = rows.at(-1);
      if (last === undefined) break;
      await this.#unitOfWork.load(rows);
      for (const row of rows) {
        const loaded = this.#unitOfWork.get(row);
        if (
          loaded === undefined ||
          loaded.ended ||
          (of.subscriptionId !== undefined && loaded.state.subscriptionId !== of.subscriptionId)
        )
          continue;
        this.#unitOfWork.step(loaded, { type: 'terminate', reason });
        count += 1;
      }
      await this.#unitOfWork.commit();
      after = last;
    }
    return count;
  }

  async redact(event: { readonly name: string; readonly eventId: string }): Promise<boolean> {
    this.#running();
    const [offset] = await this.#store.known([event]);
    if (offset === null || offset === undefined) return false;
    this.#unitOfWork.write({ type: 'redact', offset });
    this.#unitOfWork.forgetTails();
    this.#sequencer.withdraw(offset);
    await this.#unitOfWork.commit();
    return true;
  }

  onListChanged(run: () => void): () => void {
    this.#listeners.add(run);
    return () => void this.#listeners.delete(run);
  }

  #listChanged(): void {
    for (const run of this.#listeners) run();
  }

  /* ------------------------------------------------------------------------------------------------ the verbs */

  list(
    caller: Caller,
    params: ListTriggersParams,
  ): Promise<ListTriggersResult | ListTriggersNotModified> {
    return this.#serve(() =>
      listTriggers(
        this.#catalog,
        (name) => this.#subscriptions.lists(caller, name),
        this.#everybodySeesAll,
        params,
      ),
    );
  }

  subscribe(...asked: Parameters<Engine['subscribe']>): ReturnType<Engine['subscribe']> {
    return this.#serve(() => this.#subscriptions.subscribe(...asked));
  }

  update(...[caller, params]: Parameters<Engine['update']>): ReturnType<Engine['update']> {
    return this.#serve(() => this.#subscriptions.update(caller, params));
  }

  get(...[caller, params]: Parameters<Engine['get']>): ReturnType<Engine['get']> {
    return this.#serveWhenFull(() => this.#subscriptions.get(caller, params));
  }

  subscriptions(
    ...[caller, params]: Parameters<Engine['subscriptions']>
  ): ReturnType<Engine['subscriptions']> {
    return this.#serve(() => this.#subscriptions.list(caller, params));
  }

  unsubscribe(
    ...[caller, params]: Parameters<Engine['unsubscribe']>
  ): ReturnType<Engine['unsubscribe']> {
    return this.#serveWhenFull(() => this.#subscriptions.unsubscribe(caller, params));
  }

  ack(caller: Caller, params: AckParams): Promise<AckResult> {
    return this.#serveWhenFull(() => this.#pulls.ack(caller, params));
  }

  async #serve<T>(work: () => Promise<T>): Promise<T> {
    this.#running();
    this.#serving += 1;
    try {
      return await work();
    } finally {
      this.#serving -= 1;
      if (this.#serving === 0) this.#allServed?.();
    }
  }

  /** For what must work on a full store, and may be done twice. */
  #serveWhenFull<T>(work: () => Promise<T>): Promise<T> {
    return this.#serve(() => retryWhenFull(work));
  }

  find(...[caller, key]: Parameters<Engine['find']>): ReturnType<Engine['find']> {
    return this.#serve(() => this.#subscriptions.find(caller, key));
  }

  seek(
    ...[caller, subscriptionId, acceptedBefore]: Parameters<Engine['seek']>
  ): ReturnType<Engine['seek']> {
    return this.#serve(() => this.#pulls.seek(caller, subscriptionId, acceptedBefore));
  }

  watch(
    ...[caller, subscriptionId, listener]: Parameters<Engine['watch']>
  ): ReturnType<Engine['watch']> {
    return this.#serve(() => this.#pulls.watch(caller, subscriptionId, listener));
  }

  pull(
    caller: Caller,
    params: PullParams,
    signal?: AbortSignal,
    eventBytes?: number,
  ): Promise<PullAnswer> {
    return this.#serveWhenFull(() => this.#pulls.pull(caller, params, signal, eventBytes));
  }

  stream(
    caller: Caller,
    params: StreamParams,
    sink: StreamSink,
    signal: AbortSignal,
  ): Promise<void> {
    return this.#serve(async () => {
      const first = await this.#subscriptions.own(caller, params.subscriptionId);
      await this.#subscriptions.authorize(caller, first.state.select);
      mayDrain(this.#catalog, first.state, 'stream');
      const loaded = await this.#subscriptions.own(caller, params.subscriptionId);
      if (params.after !== undefined) assertPosition(params.after, loaded.state);
      const leave = this.#openStreams.enter(caller.principal);
      try {
        await this.#streams.run(
          loaded.row,
          params.after?.sequence ?? loaded.state.acked,
          {
            events: Math.min(params.window?.events ?? STREAM_EVENTS_DEFAULT, STREAM_EVENTS_MAX),
            bytes: Math.min(params.window?.bytes ?? STREAM_BYTES_DEFAULT, STREAM_BYTES_MAX),
          },
          sink,
          signal,
        );
      } finally {
        leave();
      }
    });
  }
}
