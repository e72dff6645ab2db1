/** The composition root: `createEngine` creates the components of an engine and connects them. */
import type { TtlPolicy } from '../../protocol/core/index.ts';
import { backgroundClock, systemClock, type Clock } from '../../protocol/lib/clock.ts';
import type { DeliveryKey } from '../../protocol/wire/delivery-jws.ts';
import {
  EVENT_BYTES_MAX,
  STORED_EVENT_BYTES,
  STREAM_HEARTBEAT_MS,
  STREAM_STALLED_MS,
  TTL_DEFAULT_MS,
  TTL_MAX_MS,
  TTL_MIN_MS,
} from '../../protocol/wire/limits.ts';
import { LocalError } from '../../protocol/wire/errors.ts';
import type { CallbackDialect } from '../callback/dialect.ts';
import { Dialects } from '../callback/dialects.ts';
import { Dispatcher } from '../callback/dispatcher.ts';
import { MessageSigner } from '../callback/message-signer.ts';
import { Notices } from '../callback/notices.ts';
import { RequestRate } from '../callback/request-rate.ts';
import { Verifier } from '../callback/verifier.ts';
import { Pulls } from '../pull/pulls.ts';
import type { Store } from '../store/port.ts';
import { LogListeners } from '../stream/log-listeners.ts';
import { Streams } from '../stream/streams.ts';
import { CallbackConsent } from './callback-consent.ts';
import { DataReader } from './data-reader.ts';
import { Catalog } from './catalog.ts';
import { TriggersEngine } from './engine.ts';
import { Lifecycle } from './lifecycle.ts';
import { Maintenance } from './maintenance.ts';
import { Permissions, type Authorize, type Reauthorize, type Visible } from './permissions.ts';
import {
  silentLog,
  silentMeter,
  systemRandom,
  type Egress,
  type Log,
  type Meter,
  type Random,
} from './ports.ts';
import { Scheduler } from './scheduler.ts';
import { Sequencer } from './sequencer.ts';
import { SubscribeHandler } from './subscribe.ts';
import { SubscriptionCache } from './subscription-cache.ts';
import { Subscriptions } from './subscriptions.ts';
import { UnitOfWork } from './unit-of-work.ts';
import { UpdateHandler } from './update.ts';
import type { DeclaredTrigger, Engine } from './verbs.ts';

/** Longest time between two checks for due heartbeats and unread streams. */
const STREAM_TICK_MS = 1000;

/** Termination notices in flight at once, as a share of the callback attempts, in addition to them. */
const NOTICE_SLOTS = 1 / 8;
/** Fewer would not leave slots to others, because one principal gets at least one. */
const NOTICE_SLOTS_MIN = 4;

/** Options of `createEngine`. Only `store`, `triggers` and `egress` are required. */
export interface EngineOptions {
  /** Where logs are stored, for example `sqliteStore({ path, key })`. */
  readonly store: Store;
  /** The trigger types to declare at creation; `declare` and `remove` change them later. */
  readonly triggers: readonly DeclaredTrigger[];
  /** Sends all outbound requests; normally `createEgress()`. */
  readonly egress: Egress;
  readonly clock?: Clock;
  readonly random?: Random;
  readonly log?: Log;
  readonly meter?: Meter;
  /**
   * Signs deliveries as this server (SEP: Server identity). Default: only the client's secret
   * signs.
   */
  readonly deliveryKey?: DeliveryKey;
  /**
   * The resource URI of the server, which is the URL of its MCP endpoint. Signatures with
   * `deliveryKey` name it; `createEngine` throws `LocalError` `config_invalid` without it.
   */
  readonly resource?: string;
  /**
   * Dialects for callbacks of other protocols, by the name that a binding passes to `subscribe`.
   * Default: none.
   */
  readonly dialects?: Readonly<Record<string, CallbackDialect>>;
  /**
   * Whether a caller may follow a selection. Default: every authenticated caller may follow
   * everything.
   */
  readonly authorize?: Authorize;
  /**
   * Which types a caller's list contains. Default: the types that `authorize` permits without
   * arguments.
   */
  readonly visible?: Visible;
  /**
   * Called twice a day for every selection; false ends the subscription as `revoked` (SEP: Ending).
   * Default: no check.
   */
  readonly reauthorize?: Reauthorize;
  /**
   * Granted lifetimes, in milliseconds. Default: 60 s to 30 days; 1 hour if the client requests
   * none; subscriptions without expiry only on a durable store.
   */
  readonly ttl?: Partial<TtlPolicy>;
  /**
   * Time after which a suspended subscription without expiry ends as `failed` if nothing reads or
   * acknowledges it, in milliseconds (SEP: Suspension). Announce the same value with
   * `maxSuspendedMs` of `attachTriggers`. Default: no bound.
   */
  readonly maxSuspendedMs?: number;
  readonly quotas?: {
    /** Live subscriptions. Default 1000. */
    readonly subscriptionsPerPrincipal?: number;
    /** Open streams. Default 100. */
    readonly streamsPerPrincipal?: number;
    /**
     * Bytes of events in the logs of one principal from which it gets no further subscription;
     * default no limit. Use it with `retention.maxBytes`, which bounds each log.
     */
    readonly storedBytesPerPrincipal?: number;
    /** Pulls that wait for an event. Default 100. */
    readonly waitingPullsPerPrincipal?: number;
    /** Callback attempts in flight at once, over all subscriptions. Default 256. */
    readonly attempts?: number;
    /** Subscriptions in memory above which idle ones are evicted. Default 20,000. */
    readonly loaded?: number;
  };
  /**
   * Most bytes of JSON of one event's data. A larger event is a `too_large` gap in every log that it
   * can be in. An event that is too large for a delivery is stored up to this limit, and logs whose
   * clients declare the option `dataRef` refer to it. Default 4 MiB, which every client can read in
   * one message; at least 240 KiB.
   */
  readonly maxEventBytes?: number;
  /** Most events in one callback delivery. Default 100. */
  readonly batchEvents?: number;
  /** Most log entries added in one commit. Default 1024; for tests. */
  readonly sequencerChunk?: number;
  /** Silence on a stream before a heartbeat, in milliseconds. Default 15,000; for tests. */
  readonly streamHeartbeatMs?: number;
  /**
   * Longest wait for the client of a stream to read a message, in milliseconds; then the server
   * ends the stream. Default 60,000; for tests.
   */
  readonly streamStalledMs?: number;
}

/**
 * Creates an engine; await its `start()` before other calls. Throws `LocalError` `config_invalid`
 * or `schema_refused` for an invalid trigger type.
 */
export function createEngine(options: EngineOptions): Engine {
  const { store, egress, quotas = {} } = options;
  const clock = backgroundClock(options.clock ?? systemClock);
  const random = options.random ?? systemRandom;
  const log = options.log ?? silentLog;
  const meter = options.meter ?? silentMeter;
  const ttl: TtlPolicy = {
    minMs: TTL_MIN_MS,
    maxMs: TTL_MAX_MS,
    defaultMs: TTL_DEFAULT_MS,
    allowNoExpiry: store.durability === 'durable',
    ...options.ttl,
  };
  const attempts = quotas.attempts ?? 256;
  const heartbeatMs = options.streamHeartbeatMs ?? STREAM_HEARTBEAT_MS;
  const stalledMs = options.streamStalledMs ?? STREAM_STALLED_MS;
  const maxEventBytes = options.maxEventBytes ?? STORED_EVENT_BYTES;
  if (!(maxEventBytes >= EVENT_BYTES_MAX))
    throw new LocalError(
      'config_invalid',
      `maxEventBytes must be at least ${EVENT_BYTES_MAX}, the size of an event that fits a delivery.`,
    );

  const catalog = new Catalog(options.triggers);
  const { authorize, visible, reauthorize } = options;
  const permissions = new Permissions({ catalog, authorize, visible, reauthorize });
  const cache = new SubscriptionCache({ store, maxLoaded: quotas.loaded ?? 20_000 });
  const listeners = new LogListeners({
    cache,
    clock,
    tickMs: Math.min(STREAM_TICK_MS, heartbeatMs / 2, stalledMs / 2),
  });
  const unitOfWork = new UnitOfWork({
    store,
    cache,
    bounds: { maxSuspendedMs: options.maxSuspendedMs ?? null },
    now: () => clock.now(),
    onEffect: ({ row }, effect) =>
      effect.type === 'wake' ? listeners.wake(row) : listeners.announce(row),
    onReady: (loaded) => dispatcher.pump(loaded),
    onTerminated: (loaded, reason, attempt) => {
      const { row, state } = loaded;
      const notice = subscriptions.end(loaded, reason, (forgetAt) =>
        notices.of(row, state, attempt, reason, forgetAt),
      );
      unitOfWork.afterCommit(() => {
        listeners.ended(row, { reason, last: state });
        if (notice !== undefined) notices.ended(row, notice);
      });
    },
    onFailed: (cause) => lifecycle.commitFailed(cause),
    onDue: (at) => scheduler.arm(at),
  });
  const sequencer: Sequencer = new Sequencer({
    store,
    cache,
    unitOfWork,
    catalog,
    clock,
    random,
    log,
    meter,
    refusal: () => lifecycle.refusal(),
    chunk: options.sequencerChunk,
    maxEventBytes,
  });
  const subscriptions = new Subscriptions({
    store,
    cache,
    unitOfWork,
    sequencer,
    permissions,
    clock,
    random,
  });

  const signer = new MessageSigner({
    clock,
    deliveryKey: options.deliveryKey,
    resource: options.resource,
  });
  const dialects = new Dialects(options.dialects ?? {}, log);
  const rate = new RequestRate(clock);
  const dispatcher = new Dispatcher({
    store,
    cache,
    unitOfWork,
    clock,
    random,
    egress,
    signer,
    dialects,
    rate,
    log,
    meter,
    concurrency: attempts,
    ...(options.batchEvents === undefined ? {} : { batchEvents: options.batchEvents }),
  });
  const notices = new Notices({
    store,
    unitOfWork,
    clock,
    random,
    egress,
    signer,
    dialects,
    rate,
    log,
    meter,
    concurrency: Math.max(NOTICE_SLOTS_MIN, Math.floor(attempts * NOTICE_SLOTS)),
    attempts: dispatcher,
  });
  const verifier = new Verifier({
    store,
    clock,
    random,
    egress,
    signer,
    dialects,
    rate,
    log,
    meter,
  });
  const consent = new CallbackConsent({ unitOfWork, verifier, egress });

  const subscribe = new SubscribeHandler({
    store,
    cache,
    unitOfWork,
    catalog,
    sequencer,
    subscriptions,
    permissions,
    consent,
    dialects,
    clock,
    random,
    log,
    meter,
    ttl,
    maxPerPrincipal: quotas.subscriptionsPerPrincipal ?? 1000,
    maxBytesPerPrincipal: quotas.storedBytesPerPrincipal ?? Infinity,
    maxEventBytes,
  });
  const update = new UpdateHandler({
    unitOfWork,
    catalog,
    sequencer,
    subscriptions,
    permissions,
    consent,
    clock,
    ttl,
  });
  const streams = new Streams({
    store,
    cache,
    unitOfWork,
    catalog,
    subscriptions,
    listeners,
    clock,
    meter,
    heartbeatMs,
    stalledMs,
    maxPerPrincipal: quotas.streamsPerPrincipal ?? 100,
  });
  const pulls = new Pulls({
    store,
    cache,
    unitOfWork,
    catalog,
    subscriptions,
    listeners,
    clock,
    meter,
    maxWaiting: quotas.waitingPullsPerPrincipal ?? 100,
  });

  const maintenance = new Maintenance({
    store,
    cache,
    unitOfWork,
    catalog,
    verifier,
    clock,
    random,
    log,
    reauthorize,
    release: (row) => scheduler.release(row),
  });
  const scheduler = new Scheduler({
    store,
    cache,
    unitOfWork,
    clock,
    log,
    tick: (loaded) => maintenance.tick(loaded),
  });
  const lifecycle: Lifecycle = new Lifecycle({
    store,
    cache,
    unitOfWork,
    catalog,
    sequencer,
    subscriptions,
    subscribe,
    dispatcher,
    notices,
    listeners,
    pulls,
    scheduler,
    maintenance,
    egress,
    clock,
    random,
    log,
  });

  meter.gauge('triggers_subscriptions_loaded', () => cache.size);
  meter.gauge('triggers_streams_open', () => listeners.size);
  meter.gauge('triggers_attempts_in_flight', () => dispatcher.inFlight);
  meter.gauge('triggers_notices_in_flight', () => notices.inFlight);
  meter.gauge('triggers_sequencer_lag', () => sequencer.lag);

  return new TriggersEngine({
    clock,
    store,
    cache,
    unitOfWork,
    catalog,
    permissions,
    sequencer,
    subscriptions,
    subscribe,
    update,
    dispatcher,
    listeners,
    streams,
    pulls,
    dataReader: new DataReader({ store, subscriptions, unitOfWork }),
    lifecycle,
  });
}
