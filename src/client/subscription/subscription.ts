/**
 * One subscription as the application sees it: an iterator that yields events in order, and every
 * loss.
 */
import type { Position, Subscription } from '../../../spec-schema/draft/schema.ts';
import { systemClock } from '../../protocol/lib/clock.ts';
import { memoryLedger } from '../../protocol/ledger/ledger.ts';
import { durabilityOf } from '../../protocol/wire/capability.ts';
import { LocalError } from '../../protocol/wire/errors.ts';
import type { Guarantee, Item, SubscribeOptions, SubscriptionState } from '../options.ts';
import type { TriggersApi } from '../sdk/triggers-api.ts';
import { DrainLoop } from './drain-loop.ts';
import { drainsToTry } from './drains.ts';
import { PositionKeeper } from './position-keeper.ts';

/**
 * A subscription that is open in this process: `for await (const item of subscription)`. Made by
 * {@link TriggersClient.subscribe}. It stays on the server when the loop ends. A subscription with
 * the same `key` and ledger continues it.
 */
export class TriggersSubscription implements AsyncIterable<Item> {
  /** The subscription's `key`. */
  readonly key: string;
  readonly #api: TriggersApi;
  readonly #o: SubscribeOptions;
  readonly #stop = new AbortController();
  readonly #positions: PositionKeeper;
  readonly #loop: DrainLoop;
  #state: SubscriptionState = { phase: 'idle' };
  #ready: Promise<Subscription> | undefined;
  #isIterating = false;
  /**
   * The durability that the server declared last. A server that withdraws the declaration has still
   * promised it for the log.
   */
  #durability: Guarantee['durability'];

  /** @internal Made by `TriggersClient.subscribe`. */
  constructor(api: TriggersApi, options: SubscribeOptions) {
    const { capability } = api.connection;
    if (!capability)
      throw new LocalError(
        'not_supported',
        'The server does not declare the triggers extension. Use `follow` instead.',
        { reason: 'capability' },
      );
    const drains = drainsToTry(options.drain ?? 'auto', options.callback !== undefined, capability);
    const clock = options.tuning?.clock ?? systemClock;
    const { signal } = this.#stop;
    this.key = options.key;
    this.#api = api;
    this.#o = options;
    this.#durability = durabilityOf(capability);
    this.#positions = new PositionKeeper({
      api,
      clock,
      ledger: options.ledger ?? memoryLedger(),
      key: this.key,
      tuning: options.tuning,
      window: options.window,
      signal,
      onFailure: (error) => this.#loop.abortRound(error),
    });
    this.#loop = new DrainLoop({
      api,
      clock,
      key: this.key,
      drains,
      subscribe: options,
      positions: this.#positions,
      signal,
      onState: (state) => this.#setState(state),
    });
    options.signal?.addEventListener('abort', () => this.#shut(), { once: true, signal });
    if (options.signal?.aborted) this.#shut();
  }

  /** The subscription as last seen; undefined until {@link ready} resolves. */
  get subscription(): Subscription | undefined {
    return this.#loop.subscription;
  }
  /** The state at the moment; `onState` reports every change. */
  get state(): SubscriptionState {
    return this.#state;
  }
  /**
   * The position up to which the application has finished items; undefined until {@link ready}
   * resolves.
   */
  get position(): Position | undefined {
    return this.#positions.acks?.done;
  }

  /** The guarantee at the moment. */
  get guarantee(): Guarantee {
    const { capability } = this.#api.connection;
    if (capability) this.#durability = durabilityOf(capability);
    return {
      order: 'total',
      loss: 'none silent',
      gaps: 'exact',
      drain: this.#loop.drain,
      durability: this.#durability,
    };
  }

  /**
   * Subscribes, and retries while the server cannot be reached. Iterating calls it. Rejects with an
   * error that only the caller can repair: a `WireError` InvalidParams, Forbidden, Conflict or
   * NotFound (of a trigger type), or a `LocalError` unauthorized.
   */
  ready(): Promise<Subscription> {
    this.#ready ??= this.#establish();
    return this.#ready;
  }

  /**
   * Items in order. A subscription can be iterated only once. Leaving the loop closes it in this
   * process; it stays on the server. Ends without an error after {@link close}. Throws `LocalError`
   * `terminated` when the subscription ended for good, `peer_misbehaved` when the server breaks the
   * protocol, or an error with which {@link ready} rejects.
   */
  async *[Symbol.asyncIterator](): AsyncGenerator<Item, void, undefined> {
    if (this.#isIterating)
      throw new LocalError(
        'config_invalid',
        'A subscription can be iterated only once. Subscribe again with the same key and ledger.',
      );
    this.#isIterating = true;
    let failure: unknown;
    try {
      await this.ready();
      yield* this.#loop.items();
    } catch (error) {
      if (this.#stop.signal.aborted) return;
      failure = error;
      throw error;
    } finally {
      await this.#leave(failure);
    }
  }

  /**
   * Closes the subscription in this process, after the finished items are saved and acknowledged.
   * Rejects if that fails. With `unsubscribe` the subscription ends on the server too.
   */
  async close({ unsubscribe = false }: { readonly unsubscribe?: boolean } = {}): Promise<void> {
    try {
      if (!this.#stop.signal.aborted) await this.#positions.acks?.flush();
    } finally {
      // Stops the iterator first: it would report the end on the server as an error.
      this.#shut();
      if (unsubscribe) {
        await this.#loop.unsubscribe();
        await this.#positions.forget();
      }
    }
  }

  async #establish(): Promise<Subscription> {
    await this.#positions.load();
    const subscription = await this.#loop.obtain();
    await this.#positions.open(subscription);
    return subscription;
  }

  #setState(state: SubscriptionState): void {
    this.#state = state;
    this.#o.onState?.(state);
  }

  /**
   * The iteration is over. Saves and acknowledges the last finished items, unless it has failed or
   * was stopped: the next run may then repeat items.
   */
  async #leave(failure: unknown): Promise<void> {
    let error = failure;
    if (!this.#stop.signal.aborted && failure === undefined) {
      await this.#positions.acks?.flush().catch((unsent: unknown) => {
        error = unsent;
      });
    }
    this.#shut(error);
  }

  #shut(error?: unknown): void {
    const closed = new LocalError(
      'closed',
      'This client has closed the subscription. Subscribe again with the same key and ledger.',
    );
    this.#positions.acks?.close(error ?? closed);
    this.#stop.abort(closed);
    if (this.#state.phase !== 'ended')
      this.#setState({ phase: 'ended', ...(error === undefined ? {} : { error }) });
  }
}
