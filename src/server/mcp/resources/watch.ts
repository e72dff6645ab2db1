/**
 * One log that somebody at a door wants to hear of: waits for news, keeps a lease from running out for as long as anybody
 * listens, and says when it is over.
 */
import type { Position, Subscription } from '../../../../spec-schema/draft/schema.ts';
import type { TerminationReason } from '../../../protocol/core/types.ts';
import type { BindableEngine, Caller } from '../../engine/verbs.ts';
import { WireError } from '../../../protocol/wire/errors.ts';
import { ChangeNotifier } from './change-notifier.ts';
import type { ResolvedFeedOptions } from './options.ts';

/** Where a ring goes. */
export interface ChangeListener {
  /** There is something to read. */
  notify(): void;
  /** The log is over, or closed to this listener: nothing rings any more. Reading says what came of it. */
  ended(reason: TerminationReason): void;
}

/** Who listens to which log: whoever reads a log answers every doorbell of it, on whatever connection it came. */
export class ListenerRegistry {
  readonly #watches = new Map<string, Set<Watch>>();

  add(watch: Watch): void {
    const all = this.#watches.get(watch.subscriptionId) ?? new Set();
    this.#watches.set(watch.subscriptionId, all.add(watch));
  }

  remove(watch: Watch): void {
    const all = this.#watches.get(watch.subscriptionId);
    if (all?.delete(watch) === true && all.size === 0) this.#watches.delete(watch.subscriptionId);
  }

  /** Somebody was told of every number of this log up to `head`. */
  read(subscriptionId: string, head: number): void {
    for (const watch of this.#watches.get(subscriptionId) ?? []) watch.read(head);
  }
}

export interface WatchOptions {
  readonly engine: BindableEngine;
  readonly caller: Caller;
  /** The log as it is now; extends its lease if it has one. Rejects when the caller may not have it. */
  readonly find: () => Promise<Subscription>;
  /** Whether it has a lease. */
  readonly leased: boolean;
  /** Up to where the listener was told; null, or a position of another epoch = up to what is acknowledged. */
  readonly seen: Position | null;
  readonly listeners: ListenerRegistry;
  readonly options: Pick<ResolvedFeedOptions, 'notify' | 'log'>;
}

/** After a lease could not be extended because the store did not answer. */
const RENEW_AGAIN_MS = 60_000;

const nothing = (): void => undefined;

export class Watch {
  readonly subscriptionId: string;
  readonly #o: WatchOptions;
  readonly #listener: ChangeListener;
  readonly #notifier: ChangeNotifier;
  #closed = false;
  #stop = nothing;
  #cancelRenewal = nothing;

  /** Finds the log and listens. Rejects as `find` does. */
  static async open(options: WatchOptions, listener: ChangeListener): Promise<Watch> {
    const watch = new Watch(options, await options.find(), listener);
    await watch.#listen();
    return watch;
  }

  private constructor(options: WatchOptions, log: Subscription, listener: ChangeListener) {
    this.#o = options;
    this.#listener = listener;
    this.subscriptionId = log.subscriptionId;
    const {
      seen,
      options: { notify: notifyTiming },
    } = options;
    this.#notifier = new ChangeNotifier({
      ...notifyTiming,
      clock: options.engine.clock,
      seen: seen?.epoch === log.epoch ? Math.max(seen.sequence, log.acked) : log.acked,
      head: () => this.#head(),
      notify: () => listener.notify(),
    });
    this.#renewLater(log.renewAfterMs);
  }

  async #listen(): Promise<void> {
    const { engine, caller, listeners } = this.#o;
    try {
      this.#stop = await engine.watch(caller, this.subscriptionId, {
        news: () => this.#notifier.news(),
        ended: (reason) => this.#end(reason),
      });
    } catch (error) {
      this.close();
      throw error;
    }
    if (this.#closed) return this.#stop();
    listeners.add(this);
    // Whatever is unread already is news to somebody who has just come.
    this.#notifier.news();
  }

  get closed(): boolean {
    return this.#closed;
  }

  /** Somebody was told of every number up to this one. */
  read(head: number): void {
    this.#notifier.read(head);
  }

  /** Stops listening. Nothing rings afterwards. */
  close(): void {
    this.#closed = true;
    this.#notifier.close();
    this.#cancelRenewal();
    this.#o.listeners.remove(this);
    this.#stop();
  }

  /** The engine says that it is over: worth a last look. */
  #end(reason: TerminationReason): void {
    if (this.#closed) return;
    this.close();
    this.#listener.notify();
    this.#listener.ended(reason);
  }

  /** Who may not read it any more is not told that there is something to read either. */
  #refuse(): void {
    if (this.#closed) return;
    this.close();
    this.#listener.ended('revoked');
  }

  async #head(): Promise<number | null> {
    const { engine, caller, options: feedOptions } = this.#o;
    try {
      // A pull of nothing: it asks again whether this caller may.
      return (await engine.pull(caller, { subscriptionId: this.subscriptionId, maxEvents: 0 }))
        .head;
    } catch (error) {
      // That it is over is told by itself; that the store does not answer passes.
      feedOptions.log.debug(
        { err: error, subscriptionId: this.subscriptionId },
        'a log that is watched could not be looked at',
      );
      if (error instanceof WireError && error.is('Forbidden')) this.#refuse();
      return null;
    }
  }

  #renewLater(afterMs: number | null): void {
    if (this.#o.leased && afterMs !== null && !this.#closed)
      this.#cancelRenewal = this.#o.engine.clock.after(afterMs, () => void this.#renew());
  }

  async #renew(): Promise<void> {
    try {
      this.#renewLater((await this.#o.find()).renewAfterMs);
    } catch (error) {
      this.#o.options.log.debug(
        { err: error, subscriptionId: this.subscriptionId },
        'the lease of a log that is watched was not extended',
      );
      const refused = error instanceof WireError && (error.is('Forbidden') || error.is('NotFound'));
      if (refused) this.#refuse();
      else this.#renewLater(RENEW_AGAIN_MS);
    }
  }
}
