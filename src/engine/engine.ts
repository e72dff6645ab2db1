/**
 * The engine: loads, asks the core, saves, then acts. It wires its rooms together and answers the verbs; recovery after a
 * crash is the ordinary start, there is no other path.
 */
import type { AckParams, AckResult, ListTriggersNotModified, ListTriggersParams, ListTriggersResult, PullParams, StreamParams } from '../../spec-schema/draft/schema.ts';
import type { TtlPolicy } from '../core/index.ts';
import { reverifyAt, trimDueAt } from '../core/index.ts';
import type { Position, Refusal, Subscription, TerminationReason } from '../core/types.ts';
import { conflict, invalidParams, LocalError, notFound, unsupported, WireError } from '../wire/errors.ts';
import type { DeliveryKey } from '../wire/delivery-jws.ts';
import { PULL_BYTES_MAX, PULL_EVENTS_DEFAULT, PULL_EVENTS_MAX, PULL_NEXT_MS, PULL_WAIT_MAX_MS, STREAM_BYTES_DEFAULT, STREAM_BYTES_MAX, STREAM_EVENTS_DEFAULT, STREAM_EVENTS_MAX, TTL_DEFAULT_MS, TTL_MAX_MS, TTL_MIN_MS } from '../wire/limits.ts';
import { Book, retryWhenFull, type Held } from './book.ts';
import { Catalog } from './catalog.ts';
import { Dispatcher } from './dispatcher.ts';
import { Due } from './due.ts';
import { Numbering } from './numbering.ts';
import type { Clock, Egress, Log, Meter, Opened, Random, Store } from './ports.ts';
import { deliveryOf, emptyRange, rangeOf, readStore, readTail, type DeliveryExtras, type Range, type ReadLimits } from './reader.ts';
import { Sealer } from './sealer.ts';
import { Streams } from './streams.ts';
import { Subscriptions, type Authorize } from './subscriptions.ts';
import { silentLog, silentMeter, systemClock, systemRandom } from './system.ts';
import type { Accepted, Caller, DeclaredTrigger, Engine, EngineHealth, NewEvent, PullAnswer, StreamSink } from './verbs.ts';
import { urlHash, Verifier } from './verifier.ts';

/** Trigger types in one page of `triggers/list`. */
const LIST_PAGE = 100;
/** How long a client may keep the list of trigger types. */
const LIST_TTL_MS = 300_000;
/** Rows handled between two turns when every subscription is visited. */
const SWEEP = 256;
/** How long `close` waits for attempts in flight. */
const CLOSE_PATIENCE_MS = 12_000;
/** After a refused write: how long no event is accepted before it is tried again. */
const STORE_PAUSE_MS = 1000;
/** How long a row that is being verified again stays out of the way of others, at most; and the pause before it is tried again. */
const VERIFY_PATIENCE_MS = 600_000;
const VERIFY_PAUSE_MS = 10_000;
/** How often a pull reads again before it waits. */
const READ_TRIES = 10;
/** Housekeeping of the accept log. */
const FORGET_EVERY_MS = 60_000;

/** Everything `createEngine` can be told. Only `store`, `triggers` and `egress` have no default. */
export interface EngineOptions {
  /** Where logs live, for example `sqliteStore({ path })`. */
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
  /** Default: everybody who is authenticated may follow everything. */
  readonly authorize?: Authorize;
  /** Milliseconds. Defaults: 60 s to 30 days, 1 hour when nothing is suggested, no expiry only if the store is durable. */
  readonly ttl?: Partial<TtlPolicy>;
  readonly quotas?: {
    /** Default 1000. */
    readonly subscriptionsPerPrincipal?: number;
    /** Default 100. */
    readonly streamsPerPrincipal?: number;
    /** Callback attempts in flight at once, over all subscriptions. Default 256. */
    readonly attempts?: number;
    /** Subscriptions kept in memory. Default 20,000. */
    readonly held?: number;
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
  readonly #clock: Clock;
  readonly #random: Random;
  readonly #log: Log;
  readonly #meter: Meter;
  readonly #egress: Egress;
  readonly #authorize: Authorize | undefined;
  readonly #maxStreams: number;
  readonly #catalog: Catalog;
  readonly #book: Book;
  readonly #numbering: Numbering;
  readonly #dispatcher: Dispatcher;
  readonly #streams: Streams;
  readonly #verifier: Verifier;
  readonly #subscriptions: Subscriptions;
  readonly #due: Due;
  readonly #listeners = new Set<() => void>();
  readonly #streamsOf = new Map<string, number>();
  #status: EngineHealth['status'] = 'starting';
  #refusal: { readonly error: LocalError; readonly until: number } | null = null;
  #generation = 0;
  #closing: Promise<void> | null = null;
  #forgetting: (() => void) | null = null;
  #resuming: (() => void) | null = null;
  /** Calls under way. */
  #serving = 0;
  #allServed: (() => void) | null = null;
  /** Rows whose callback is asked for its consent again just now. */
  readonly #asking = new Set<number>();

  constructor(options: EngineOptions) {
    const clock = (this.#clock = options.clock ?? systemClock);
    const random = (this.#random = options.random ?? systemRandom);
    const log = (this.#log = options.log ?? silentLog);
    const meter = (this.#meter = options.meter ?? silentMeter);
    const { store, egress } = options;
    this.#store = store;
    this.#egress = egress;
    this.#authorize = options.authorize;
    this.#maxStreams = options.quotas?.streamsPerPrincipal ?? 100;
    this.#catalog = new Catalog(options.triggers);
    const sealer = new Sealer({ clock, random, deliveryKey: options.deliveryKey });
    const book = (this.#book = new Book({
      store,
      now: () => clock.now(),
      act: (held, effect) => (effect.type === 'wake' ? this.#streams.wake(held.row) : this.#streams.announce(held.row)),
      ready: (held) => this.#dispatcher.pump(held),
      terminated: (held, reason) => this.#terminated(held, reason),
      failed: (cause) => this.#failed(cause),
      due: (at) => this.#due.arm(at),
      maxHeld: options.quotas?.held ?? 20_000,
    }));
    this.#numbering = new Numbering({ store, book, catalog: this.#catalog, clock, random, log, meter, refusal: () => this.#refusing(), ...(options.numberingChunk === undefined ? {} : { chunk: options.numberingChunk }) });
    this.#dispatcher = new Dispatcher({
      store, book, clock, random, egress, sealer, log, meter,
      concurrency: options.quotas?.attempts ?? 256,
      ...(options.batchEvents === undefined ? {} : { batchEvents: options.batchEvents }),
    });
    this.#streams = new Streams({
      store, book, clock, meter,
      ...(options.streamHeartbeatMs === undefined ? {} : { heartbeatMs: options.streamHeartbeatMs }),
      ...(options.streamStalledMs === undefined ? {} : { stalledMs: options.streamStalledMs }),
    });
    this.#verifier = new Verifier({ store, clock, random, egress, sealer, log, meter });
    this.#subscriptions = new Subscriptions({
      store, book, catalog: this.#catalog, numbering: this.#numbering, verifier: this.#verifier, egress, clock, random,
      authorize: options.authorize,
      ttl: { minMs: TTL_MIN_MS, maxMs: TTL_MAX_MS, defaultMs: TTL_DEFAULT_MS, allowNoExpiry: store.durability === 'durable', ...options.ttl },
      maxPerPrincipal: options.quotas?.subscriptionsPerPrincipal ?? 1000,
    });
    this.#due = new Due({ store, book, clock, log, tick: (held) => this.#tick(held) });
    meter.gauge('triggers_subscriptions_held', () => book.size);
    meter.gauge('triggers_streams_open', () => this.#streams.open);
    meter.gauge('triggers_attempts_in_flight', () => this.#dispatcher.inFlight);
    meter.gauge('triggers_numbering_lag', () => this.#numbering.lag);
  }

  /* ------------------------------------------------------------------------------------ life of the engine */

  async start(): Promise<void> {
    const opened = await this.#store.open(this.#clock.now());
    this.#generation = opened.generation;
    this.#subscriptions.start(opened.nextRow);
    const rows: number[] = [];
    for await (const { row, select } of this.#store.index()) {
      this.#numbering.load(row, select);
      rows.push(row);
    }
    await this.#recover(opened, rows);
    this.#numbering.start(opened.lastOffset, opened.checkpoint);
    await this.#resumeCallbacks();
    const next = await this.#store.nextDueAt();
    if (next !== null) this.#due.arm(next);
    this.#forgetLater();
    this.#status = 'ok';
    this.#log.info({ generation: opened.generation, continuity: opened.continuity, subscriptions: rows.length }, 'engine started');
  }

  /** A store that may have lost what clients saw gives every log a new epoch, before anybody is served. */
  async #recover(opened: Opened, rows: readonly number[]): Promise<void> {
    if (opened.continuity !== 'maybe_lost') return;
    this.#log.warn({ subscriptions: rows.length }, 'the store may have lost writes that clients have seen: every epoch changes');
    for (let at = 0; at < rows.length; at += SWEEP) {
      const chunk = rows.slice(at, at + SWEEP);
      await this.#book.hold(chunk);
      for (const row of chunk) {
        const held = this.#book.peek(row);
        if (held !== undefined) this.#book.step(held, { type: 'rotate', epoch: this.#random.token(16) });
      }
      await this.#book.commit();
    }
  }

  /** Attempts of an earlier process are void; whatever callbacks have to deliver is claimed in the ordinary way. */
  async #resumeCallbacks(): Promise<void> {
    let after = 0;
    for (;;) {
      const rows = await this.#store.backlog(after, SWEEP);
      const last = rows.at(-1);
      if (last === undefined) return;
      await this.#book.hold(rows);
      for (const row of rows) {
        const held = this.#book.peek(row);
        // An attempt of this process is still going to be answered: a second one beside it would break the order.
        if (held !== undefined && !held.ended && !this.#dispatcher.owns(held)) this.#book.step(held, { type: 'recover' });
      }
      await this.#book.commit();
      after = last;
    }
  }

  close(): Promise<void> {
    this.#closing ??= this.#close();
    return this.#closing;
  }

  async #close(): Promise<void> {
    this.#status = 'closed';
    this.#forgetting?.();
    this.#resuming?.();
    this.#streams.close();
    try {
      await Promise.all([this.#numbering.close(), this.#within(CLOSE_PATIENCE_MS, Promise.all([this.#due.close(), this.#served()]))]);
      await this.#dispatcher.close(CLOSE_PATIENCE_MS);
      await this.#book.commit();
    } catch (cause) {
      this.#log.error({ cause }, 'the last commit failed; what it held was told to nobody');
    } finally {
      await this.#egress.close();
      await this.#store.close();
    }
  }

  /** Resolves when `work` does, or when patience has run out. */
  #within(ms: number, work: Promise<unknown>): Promise<unknown> {
    let cancel = (): void => undefined;
    const patience = new Promise<void>((resolve) => { cancel = this.#clock.after(ms, resolve); });
    return Promise.race([work, patience]).finally(() => cancel());
  }

  /** Resolves when every call under way has been answered. */
  #served(): Promise<void> {
    if (this.#serving === 0) return Promise.resolve();
    return new Promise((resolve) => { this.#allServed = resolve; });
  }

  /** A commit failed. Memory is gone; say so, and take everything up again from the disk after a pause. */
  #failed(cause: unknown): void {
    const error = cause instanceof LocalError ? cause : new LocalError('store_failed', 'the store could not write; see the cause in the log', { cause });
    this.#log.error({ code: error.code, cause }, 'a commit failed; nothing of it was done, and it is tried again');
    this.#refusal = { error, until: this.#clock.now() + STORE_PAUSE_MS };
    this.#numbering.rollback();
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
      this.#numbering.resume();
      const next = await this.#store.nextDueAt();
      if (next !== null) this.#due.arm(next);
      // Another commit may have failed meanwhile; then this comes again.
      if (this.#resuming !== null || (this.#status as EngineHealth['status']) === 'closed') return;
      this.#refusal = null;
      this.#status = 'ok';
    } catch (cause) {
      this.#log.error({ cause }, 'the store still refuses');
      this.#resumeLater();
    }
  }

  /** Why no event can be accepted just now. A full store is not asked for every event, so that acknowledgements get through. */
  #refusing(): LocalError | null {
    if (this.#status === 'closed' || this.#status === 'starting') return new LocalError('closed', 'the engine is not running: await start(), and emit before close()');
    if (this.#refusal !== null && this.#clock.now() < this.#refusal.until) return this.#refusal.error;
    return null;
  }

  #running(): void {
    if (this.#status === 'closed' || this.#status === 'starting') throw new LocalError('closed', 'the engine is not running: await start() before using it');
  }

  async health(): Promise<EngineHealth> {
    const stats = this.#status === 'closed' ? { subscriptions: 0 } : await this.#store.stats();
    return {
      status: this.#status,
      generation: this.#generation,
      subscriptions: stats.subscriptions,
      streams: this.#streams.open,
      attemptsInFlight: this.#dispatcher.inFlight,
      numberingLag: this.#numbering.lag,
    };
  }

  /* -------------------------------------------------------------------------------------------- what is due */

  /** Resolves with an instant when the row stays due until then. */
  async #tick(held: Held): Promise<number | null> {
    const now = this.#clock.now();
    this.#book.step(held, { type: 'tick' });
    if (held.ended) return null;
    const { row } = held;
    const trimAt = trimDueAt(held.state);
    if (trimAt !== null && trimAt <= now) {
      const aged = await this.#store.agedOut(row, now - held.state.retention.maxAgeMs);
      if (!this.#book.holds(held) || held.ended) return null;
      this.#book.step(held, { type: 'trim', upTo: aged.upTo, oldestAt: aged.oldestAt });
    }
    const verifyAt = reverifyAt(held.state);
    if (verifyAt === null || verifyAt > now) return null;
    // An endpoint takes its time to answer, and others are due meanwhile.
    if (!this.#asking.has(row)) void this.#verifyAgain(row).finally(() => this.#due.release(row));
    return now + VERIFY_PATIENCE_MS;
  }

  /** Consent that has grown old is asked for again; without it, delivery is suspended. */
  async #verifyAgain(row: number): Promise<void> {
    this.#asking.add(row);
    try {
      // A challenge shows counters: they must be on disk.
      await this.#book.commit();
      const held = await this.#book.one(row);
      if (held === undefined || held.ended || held.state.callback === null) return;
      const { callback, principal, subscriptionId } = held.state;
      const verifiedAt = await this.#verifier.challenge(held.state, callback).catch((cause: unknown) => {
        // That we ask others at the same host too often is no failure of this one.
        if (!(cause instanceof WireError) || !cause.is('CallbackEndpointError')) throw cause;
        this.#log.info({ subscriptionId, reason: cause.data.reason }, 'a callback did not prove its consent again');
        return null;
      });
      const again = await this.#book.one(row);
      if (again === undefined || again.ended || again.state.callback?.url !== callback.url) return;
      this.#book.step(again, { type: 'verified', ok: verifiedAt !== null });
      if (verifiedAt !== null) this.#book.write({ type: 'verification', principal, urlHash: urlHash(callback.url), verifiedAt });
      await this.#book.commit();
    } catch (cause) {
      if (this.#status !== 'closed') this.#log.info({ row, cause }, 'a callback could not be asked for its consent; it is tried again');
      await new Promise<void>((resolve) => { this.#clock.after(VERIFY_PAUSE_MS, resolve); });
    } finally {
      this.#asking.delete(row);
    }
  }

  #terminated(held: Held, reason: TerminationReason): void {
    const { state, row } = held;
    this.#subscriptions.end(held, reason);
    this.#book.afterCommit(() => {
      this.#streams.ended(row, reason, state);
      // Who unsubscribed knows.
      if (reason === 'unsubscribed') return;
      void this.#dispatcher.farewell(state, reason).catch((cause) => this.#log.debug({ subscriptionId: state.subscriptionId, cause }, 'the last word did not reach the callback'));
    });
  }

  #forgetLater(): void {
    this.#forgetting = this.#clock.after(FORGET_EVERY_MS, () => {
      void (async () => {
        const now = this.#clock.now();
        // An eighth more than anything is kept: trims by age have slack, and must come first.
        this.#book.write({ type: 'forget', acceptedBefore: now - Math.ceil(this.#catalog.longestRetentionMs() * 1.125), now });
        await this.#book.commit();
      })().catch((cause) => this.#log.error({ cause }, 'housekeeping failed; it is tried again'));
      if (this.#status !== 'closed') this.#forgetLater();
    });
  }

  /* --------------------------------------------------------------------------------------------- the sources */

  emit(event: NewEvent): Promise<Accepted> {
    try {
      return this.#numbering.emit(event);
    } catch (cause) {
      return Promise.reject(cause);
    }
  }

  settled(): Promise<void> { return this.#numbering.settled(); }

  declare(type: DeclaredTrigger): void {
    this.#catalog.declare(type);
    this.#listChanged();
  }

  async remove(name: string): Promise<void> {
    if (!this.#catalog.remove(name)) return;
    this.#listChanged();
    // The store lists what is committed. What is being made looks at the catalogue once more before it is.
    await this.#book.commit();
    const rows: number[] = [];
    for await (const { row, select } of this.#store.index()) if (select.some((selection) => selection.name === name)) rows.push(row);
    for (let at = 0; at < rows.length; at += SWEEP) {
      const chunk = rows.slice(at, at + SWEEP);
      await this.#book.hold(chunk);
      for (const row of chunk) {
        const held = this.#book.peek(row);
        const follows = held !== undefined && !held.ended && held.state.select.some((selection) => selection.name === name);
        if (follows) this.#book.step(held, { type: 'terminate', reason: 'trigger_removed' });
      }
      await this.#book.commit();
    }
  }

  async terminate(of: { readonly principal: string; readonly subscriptionId?: string }, reason: Extract<TerminationReason, 'revoked' | 'failed' | 'schema_changed'>): Promise<number> {
    this.#running();
    await this.#book.commit();
    let after = 0;
    let count = 0;
    for (;;) {
      const rows = await this.#store.rowsOf(of.principal, after, SWEEP);
      const last = rows.at(-1);
      if (last === undefined) break;
      await this.#book.hold(rows);
      for (const row of rows) {
        const held = this.#book.peek(row);
        if (held === undefined || held.ended || (of.subscriptionId !== undefined && held.state.subscriptionId !== of.subscriptionId)) continue;
        this.#book.step(held, { type: 'terminate', reason });
        count += 1;
      }
      await this.#book.commit();
      after = last;
    }
    return count;
  }

  async redact(event: { readonly name: string; readonly eventId: string }): Promise<boolean> {
    this.#running();
    const [offset] = await this.#store.known([event]);
    if (offset === null || offset === undefined) return false;
    this.#book.write({ type: 'redact', offset });
    this.#book.forgetTails();
    this.#numbering.withdraw(offset);
    await this.#book.commit();
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

  async list(caller: Caller, params: ListTriggersParams): Promise<ListTriggersResult | ListTriggersNotModified> {
    this.#running();
    const all = [];
    for (const type of this.#catalog.all()) {
      // What a caller may never follow is not worth telling. Arguments narrow further, at subscribe.
      if (this.#authorize === undefined || (await this.#authorize(caller, { name: type.name, arguments: {} }))) all.push(type);
    }
    const etag = this.#catalog.etagOf(all);
    const cache = { etag, ttlMs: LIST_TTL_MS, cacheScope: this.#authorize === undefined ? ('public' as const) : ('private' as const) };
    if (params.ifNoneMatch === etag && params.cursor === undefined) return { notModified: true, ...cache };
    const from = params.cursor === undefined ? 0 : indexAfter(all, params.cursor);
    const triggers = all.slice(from, from + LIST_PAGE);
    const last = triggers.at(-1);
    const more = from + LIST_PAGE < all.length && last !== undefined;
    return { triggers, ...(more ? { nextCursor: listCursor(last.name) } : {}), ...cache };
  }

  subscribe(...[caller, params]: Parameters<Engine['subscribe']>): ReturnType<Engine['subscribe']> {
    return this.#serve(() => this.#subscriptions.subscribe(caller, params));
  }

  update(...[caller, params]: Parameters<Engine['update']>): ReturnType<Engine['update']> {
    return this.#serve(() => this.#subscriptions.update(caller, params));
  }

  get(...[caller, params]: Parameters<Engine['get']>): ReturnType<Engine['get']> {
    return this.#serveWhenFull(() => this.#subscriptions.get(caller, params));
  }

  subscriptions(...[caller, params]: Parameters<Engine['subscriptions']>): ReturnType<Engine['subscriptions']> {
    return this.#serve(() => this.#subscriptions.list(caller, params));
  }

  unsubscribe(...[caller, params]: Parameters<Engine['unsubscribe']>): ReturnType<Engine['unsubscribe']> {
    return this.#serveWhenFull(() => this.#subscriptions.unsubscribe(caller, params));
  }

  ack(caller: Caller, params: AckParams): Promise<AckResult> {
    return this.#serveWhenFull(async () => {
      const held = await this.#acknowledged(caller, params.subscriptionId, () => params.position);
      const { epoch, acked, head } = held.state;
      await this.#book.commit();
      return { epoch, acked, head };
    });
  }

  /** The caller's subscription, with the position acknowledged that `judge` finds acceptable, if any. */
  async #acknowledged(caller: Caller, subscriptionId: string, judge: (state: Subscription) => Position | undefined): Promise<Held> {
    for (;;) {
      const held = await this.#subscriptions.own(caller, subscriptionId);
      const position = judge(held.state);
      const { refused } = position === undefined ? {} : this.#book.step(held, { type: 'ack', position });
      if (refused === undefined) return held;
      // It has just ended. How is told when that is on disk.
      if (refused.kind === 'terminated') await this.#book.commit();
      else throw refusal(refused, held.state);
    }
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

  pull(caller: Caller, params: PullParams, signal?: AbortSignal): Promise<PullAnswer> {
    return this.#serveWhenFull(async () => {
      const { subscriptionId } = params;
      const first = await this.#subscriptions.own(caller, subscriptionId);
      await this.#subscriptions.authorize(caller, first.state.select);
      this.#mayDrain(first.state, 'pull');
      const asked = await this.#acknowledged(caller, subscriptionId, (state) => {
        // Both positions are judged before the acknowledgement changes anything.
        if (params.after !== undefined) judge(params.after, state);
        return params.ack;
      });
      const { epoch, acked, sent, suspended } = asked.state;
      const after = params.after?.sequence ?? acked;
      const events = Math.min(params.maxEvents ?? PULL_EVENTS_DEFAULT, PULL_EVENTS_MAX);
      if (suspended && events > 0) this.#book.step(asked, { type: 'drain', to: sent, resume: true });
      if (events === 0) return this.#answer(asked, emptyRange(after));
      await this.#book.commit();
      const until = this.#clock.now() + Math.min(params.waitMs ?? 0, PULL_WAIT_MAX_MS);
      for (let tries = 0; ; tries += 1) {
        const held = await this.#subscriptions.own(caller, subscriptionId);
        if (held.state.epoch !== epoch) throw refusal({ kind: 'epoch' }, held.state);
        const range = await this.#read(held, after, { events, bytes: PULL_BYTES_MAX });
        // What was read from memory that was thrown away since may never have been on disk.
        if (range === null || !this.#book.holds(held)) continue;
        const wait = range.last === after && this.#clock.now() < until && signal?.aborted !== true && this.#status !== 'closed';
        if (!wait) {
          const { refused } = range.last > after ? this.#book.step(held, { type: 'drain', to: range.last, resume: false }) : {};
          if (refused === undefined) return this.#answer(held, range);
          continue;
        }
        // Numbers that are just being committed are announced when they are; those committed while this read were announced already.
        if (held.state.head > after && tries < READ_TRIES) continue;
        const ended = await this.#streams.wait(held, until, signal);
        if (ended !== null) return pulled(ended.last, emptyRange(after), { terminated: { reason: ended.reason } });
      }
    });
  }

  /** Null when the subscription left memory meanwhile. */
  async #read(held: Held, after: number, limits: ReadLimits): Promise<Range | null> {
    const tail = readTail(held, after, limits);
    if (tail !== null) return tail;
    await this.#book.commit();
    if (!this.#book.holds(held)) return null;
    const entries = await readStore(this.#store, held, after, limits);
    return this.#book.holds(held) ? rangeOf(held.state, after, entries, limits) : null;
  }

  /** The pull's answer; what it shows, and that it was sent, is on disk before it leaves. */
  async #answer({ state }: Held, range: Range): Promise<PullAnswer> {
    await this.#book.commit();
    this.#meter.count('triggers_events_delivered_total', range.events.length, { drain: 'pull' });
    return pulled(state, range);
  }

  stream(caller: Caller, params: StreamParams, sink: StreamSink, signal: AbortSignal): Promise<void> {
    return this.#serve(async () => {
      const first = await this.#subscriptions.own(caller, params.subscriptionId);
      await this.#subscriptions.authorize(caller, first.state.select);
      this.#mayDrain(first.state, 'stream');
      const held = await this.#subscriptions.own(caller, params.subscriptionId);
      if (params.after !== undefined) judge(params.after, held.state);
      const open = this.#streamsOf.get(caller.principal) ?? 0;
      if (open >= this.#maxStreams) throw new WireError('ResourceExhausted', { limit: 'streams', max: this.#maxStreams });
      this.#streamsOf.set(caller.principal, open + 1);
      try {
        await this.#streams.run(held.row, params.after?.sequence ?? held.state.acked, {
          events: Math.min(params.window?.events ?? STREAM_EVENTS_DEFAULT, STREAM_EVENTS_MAX),
          bytes: Math.min(params.window?.bytes ?? STREAM_BYTES_DEFAULT, STREAM_BYTES_MAX),
        }, sink, signal);
      } finally {
        const left = (this.#streamsOf.get(caller.principal) ?? 1) - 1;
        if (left === 0) this.#streamsOf.delete(caller.principal);
        else this.#streamsOf.set(caller.principal, left);
      }
    });
  }

  #mayDrain(state: Subscription, drain: 'stream' | 'pull'): void {
    for (const { name } of state.select) {
      if (this.#catalog.get(name)?.type.drains.includes(drain) === false) throw unsupported(drain);
    }
  }
}

function pulled(state: Subscription, range: Range, extras: DeliveryExtras = {}): PullAnswer {
  const hasMore = range.last < state.head;
  const delivery = JSON.parse(deliveryOf(state, range, extras)) as object;
  return { ...delivery, hasMore, nextPollMs: hasMore ? 0 : PULL_NEXT_MS };
}

/** A position must be of this epoch and not beyond the end of the log. */
function judge(position: Position, state: Subscription): void {
  if (position.epoch !== state.epoch) throw refusal({ kind: 'epoch' }, state);
  if (position.sequence > state.head) throw refusal({ kind: 'position' }, state);
}

/** How a refusal of the core reads on the wire. */
function refusal(refused: Refusal, state: Subscription): WireError {
  const { epoch, head, acked, sent } = state;
  switch (refused.kind) {
    case 'epoch': return conflict({ kind: 'epoch', epoch, head, acked });
    case 'position': return conflict({ kind: 'position', epoch, head, acked, sent });
    default: return notFound({ kind: 'subscription' });
  }
}

const listCursor = (name: string): string => Buffer.from(`n${name}`).toString('base64url');

function indexAfter(all: readonly { readonly name: string }[], cursor: string): number {
  const text = Buffer.from(cursor, 'base64url').toString('utf8');
  if (!text.startsWith('n')) throw invalidParams('/cursor', 'a nextCursor that triggers/list returned');
  const at = all.findIndex(({ name }) => name > text.slice(1));
  return at === -1 ? all.length : at;
}

