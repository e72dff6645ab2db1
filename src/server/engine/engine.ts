/** The facade of the engine: passes each call to the component that implements it. */
import type { Clock } from '../../protocol/lib/clock.ts';
import type { Dispatcher } from '../callback/dispatcher.ts';
import type { Pulls } from '../pull/pulls.ts';
import type { Store } from '../store/port.ts';
import type { LogListeners } from '../stream/log-listeners.ts';
import type { Streams } from '../stream/streams.ts';
import type { Catalog } from './catalog.ts';
import type { DataReader } from './data-reader.ts';
import type { Lifecycle } from './lifecycle.ts';
import type { Permissions } from './permissions.ts';
import type { Sequencer } from './sequencer.ts';
import type { SubscribeHandler } from './subscribe.ts';
import type { SubscriptionCache } from './subscription-cache.ts';
import type { Subscriptions } from './subscriptions.ts';
import { retryWhenFull, type UnitOfWork } from './unit-of-work.ts';
import type { UpdateHandler } from './update.ts';
import type { Accepted, DeclaredTrigger, Engine, EngineHealth, NewEvent, NewGap } from './verbs.ts';

export interface EngineParts {
  readonly clock: Clock;
  readonly store: Store;
  readonly cache: SubscriptionCache;
  readonly unitOfWork: UnitOfWork;
  readonly catalog: Catalog;
  readonly permissions: Permissions;
  readonly sequencer: Sequencer;
  readonly subscriptions: Subscriptions;
  readonly subscribe: SubscribeHandler;
  readonly update: UpdateHandler;
  readonly dispatcher: Dispatcher;
  readonly listeners: LogListeners;
  readonly streams: Streams;
  readonly pulls: Pulls;
  readonly dataReader: DataReader;
  readonly lifecycle: Lifecycle;
}

export class TriggersEngine implements Engine {
  readonly clock: Clock;
  readonly #o: EngineParts;
  readonly #listChanged = new Set<() => void>();

  constructor(parts: EngineParts) {
    this.#o = parts;
    this.clock = parts.clock;
  }

  start(): Promise<void> {
    return this.#o.lifecycle.start();
  }

  close(): Promise<void> {
    return this.#o.lifecycle.close();
  }

  async health(): Promise<EngineHealth> {
    const { store, lifecycle, listeners, dispatcher, sequencer } = this.#o;
    const { status, generation } = lifecycle;
    const { subscriptions } = status === 'closed' ? { subscriptions: 0 } : await store.stats();
    return {
      status: lifecycle.status,
      generation,
      subscriptions,
      streams: listeners.size,
      attemptsInFlight: dispatcher.inFlight,
      sequencerLag: sequencer.lag,
    };
  }

  /* -------------------- for the server's own code --------------------------------------------- */

  async emit(event: NewEvent | NewGap): Promise<Accepted> {
    return this.#o.sequencer.emit(event);
  }

  settled(): Promise<void> {
    return this.#o.sequencer.settled();
  }

  declare(type: DeclaredTrigger): void {
    this.#o.catalog.declare(type);
    this.#notifyListChanged();
  }

  async remove(
    name: string,
    reason: 'trigger_removed' | 'schema_changed' = 'trigger_removed',
  ): Promise<void> {
    if (!this.#o.catalog.remove(name)) return;
    this.#notifyListChanged();
    await this.#o.subscriptions.terminateFollowers(name, reason);
  }

  async terminate(...[of, reason]: Parameters<Engine['terminate']>): Promise<number> {
    this.#o.lifecycle.assertRunning();
    return this.#o.subscriptions.terminate(of, reason);
  }

  async redact({ scope = '', name, eventId }: Parameters<Engine['redact']>[0]): Promise<boolean> {
    const { lifecycle, store, cache, unitOfWork, sequencer } = this.#o;
    lifecycle.assertRunning();
    const [offset] = await store.known([{ scope, name, eventId }]);
    if (offset === null || offset === undefined) return false;
    unitOfWork.write({ type: 'redact', offset });
    cache.invalidateAll();
    sequencer.redact(offset);
    await unitOfWork.commit();
    return true;
  }

  onListChanged(run: () => void): () => void {
    this.#listChanged.add(run);
    return () => void this.#listChanged.delete(run);
  }

  #notifyListChanged(): void {
    for (const run of this.#listChanged) run();
  }

  /* -------------------- the protocol's methods ------------------------------------------------ */

  list(...[caller, params]: Parameters<Engine['list']>): ReturnType<Engine['list']> {
    const { catalog, permissions } = this.#o;
    return this.#serve(() =>
      catalog.list(params, (name) => permissions.isVisible(caller, name), permissions.sameForAll),
    );
  }

  subscribe(...call: Parameters<Engine['subscribe']>): ReturnType<Engine['subscribe']> {
    return this.#serve(() => this.#o.subscribe.subscribe(...call));
  }

  update(...call: Parameters<Engine['update']>): ReturnType<Engine['update']> {
    return this.#serve(() => this.#o.update.update(...call));
  }

  get(...call: Parameters<Engine['get']>): ReturnType<Engine['get']> {
    return this.#serveWhenFull(() => this.#o.subscriptions.get(...call));
  }

  subscriptions(...call: Parameters<Engine['subscriptions']>): ReturnType<Engine['subscriptions']> {
    return this.#serve(() => this.#o.subscriptions.list(...call));
  }

  unsubscribe(...call: Parameters<Engine['unsubscribe']>): ReturnType<Engine['unsubscribe']> {
    return this.#serveWhenFull(() => this.#o.subscriptions.unsubscribe(...call));
  }

  pull(...call: Parameters<Engine['pull']>): ReturnType<Engine['pull']> {
    return this.#serveWhenFull(() => this.#o.pulls.pull(...call));
  }

  stream(...call: Parameters<Engine['stream']>): ReturnType<Engine['stream']> {
    return this.#serve(() => this.#o.streams.stream(...call));
  }

  ack(...call: Parameters<Engine['ack']>): ReturnType<Engine['ack']> {
    return this.#serveWhenFull(() => this.#o.pulls.ack(...call));
  }

  data(...call: Parameters<Engine['data']>): ReturnType<Engine['data']> {
    return this.#serveWhenFull(() => this.#o.dataReader.read(...call));
  }

  /* -------------------- for bindings of other protocols --------------------------------------- */

  find(...call: Parameters<Engine['find']>): ReturnType<Engine['find']> {
    return this.#serve(() => this.#o.subscriptions.find(...call));
  }

  seek(...call: Parameters<Engine['seek']>): ReturnType<Engine['seek']> {
    return this.#serve(() => this.#o.pulls.seek(...call));
  }

  skip(...call: Parameters<Engine['skip']>): ReturnType<Engine['skip']> {
    return this.#serve(() => this.#o.pulls.skip(...call));
  }

  watch(...call: Parameters<Engine['watch']>): ReturnType<Engine['watch']> {
    return this.#serve(() => this.#o.pulls.watch(...call));
  }

  /** Serves one call. Rejects with `LocalError` `closed` while the engine is not running. */
  #serve<T>(call: () => Promise<T>): Promise<T> {
    return this.#o.lifecycle.serve(call);
  }

  /**
   * Serves a call that must succeed on a full store. It is repeated if its commit fails for lack of
   * space.
   */
  #serveWhenFull<T>(call: () => Promise<T>): Promise<T> {
    return this.#serve(() => retryWhenFull(call));
  }
}
