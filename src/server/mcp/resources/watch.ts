/**
 * A watch on one log: notifies a listener of changes, renews an implicit subscription while the
 * watch is open, and reports the end of the log.
 */
import type { Position, Subscription } from '../../../../spec-schema/draft/schema.ts';
import type { TerminationReason } from '../../../protocol/core/types.ts';
import type { BindableEngine, Caller } from '../../engine/verbs.ts';
import { WireError } from '../../../protocol/wire/errors.ts';
import { isDenied } from '../implicit-subscription.ts';
import { ChangeNotifier } from './change-notifier.ts';
import type { ResolvedFeedOptions } from './options.ts';

/** Receives the notifications of a watch. */
export interface ChangeListener {
  /** Called when the log may have something to read. */
  notify(): void;
  /**
   * Called when the log has ended, or its caller has lost the permission. No notification follows.
   * The next read reports what happened.
   */
  ended(reason: TerminationReason): void;
}

/**
 * The open watches by log. A read of a log on any connection counts for all watches of that log:
 * none of them repeats its notification.
 */
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

  /** Call when a client has read this log and so knows every sequence number up to `head`. */
  read(subscriptionId: string, head: number): void {
    for (const watch of this.#watches.get(subscriptionId) ?? []) watch.read(head);
  }
}

export interface WatchOptions {
  readonly engine: BindableEngine;
  readonly caller: Caller;
  /**
   * Returns the current state of the log, and renews an implicit subscription. Rejects when the
   * caller may not read the log.
   */
  readonly find: () => Promise<Subscription>;
  /** Whether the log is an implicit subscription, which the watch has to renew. */
  readonly implicit: boolean;
  /**
   * The position that the listener has read up to; null, or a position of another epoch = the
   * acknowledged position.
   */
  readonly seen: Position | null;
  readonly listeners: ListenerRegistry;
  readonly feedOptions: Pick<ResolvedFeedOptions, 'notify' | 'log'>;
}

/** Delay before a failed renewal is repeated. */
const RENEWAL_RETRY_MS = 60_000;

const nothing = (): void => undefined;

/** A watch on one log, until it is closed or the log ends. */
export class Watch {
  readonly subscriptionId: string;
  readonly #options: WatchOptions;
  readonly #listener: ChangeListener;
  readonly #notifier: ChangeNotifier;
  #closed = false;
  #stop = nothing;
  #cancelRenewal = nothing;

  /** Finds the log and opens a watch on it. Rejects as `find` does. */
  static async open(options: WatchOptions, listener: ChangeListener): Promise<Watch> {
    const watch = new Watch(options, await options.find(), listener);
    await watch.#listen();
    return watch;
  }

  private constructor(options: WatchOptions, log: Subscription, listener: ChangeListener) {
    this.#options = options;
    this.#listener = listener;
    this.subscriptionId = log.subscriptionId;
    const {
      seen,
      feedOptions: { notify: notifyTiming },
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
    const { engine, caller, listeners } = this.#options;
    try {
      this.#stop = await engine.watch(caller, this.subscriptionId, {
        news: () => this.#notifier.changed(),
        ended: (reason) => this.#end(reason),
      });
    } catch (error) {
      this.close();
      throw error;
    }
    if (this.#closed) return this.#stop();
    listeners.add(this);
    // The log may contain unread events already.
    this.#notifier.changed();
  }

  get closed(): boolean {
    return this.#closed;
  }

  /** Call when a client knows every sequence number up to `head`. */
  read(head: number): void {
    this.#notifier.read(head);
  }

  /** Closes the watch. No notification follows. */
  close(): void {
    this.#closed = true;
    this.#notifier.close();
    this.#cancelRenewal();
    this.#options.listeners.remove(this);
    this.#stop();
  }

  /** The log ended: notifies once more, so that the client reads and learns of the end. */
  #end(reason: TerminationReason): void {
    if (this.#closed) return;
    this.close();
    this.#listener.notify();
    this.#listener.ended(reason);
  }

  /** The caller lost the permission: ends the watch without a notification. */
  #revoke(): void {
    if (this.#closed) return;
    this.close();
    this.#listener.ended('revoked');
  }

  async #head(): Promise<number | null> {
    const { engine, caller, feedOptions } = this.#options;
    try {
      // A pull of 0 events also checks the permission.
      return (await engine.pull(caller, { subscriptionId: this.subscriptionId, maxEvents: 0 }))
        .head;
    } catch (error) {
      // `ended` reports the end of the log, and after a failure of the store the next change tries
      // again.
      feedOptions.log.debug(
        { err: error, subscriptionId: this.subscriptionId },
        'reading the head of a watched log failed; no notification sent',
      );
      if (isDenied(error)) this.#revoke();
      return null;
    }
  }

  #renewLater(afterMs: number | undefined): void {
    if (this.#options.implicit && afterMs !== undefined && !this.#closed)
      this.#cancelRenewal = this.#options.engine.clock.after(afterMs, () => void this.#renew());
  }

  async #renew(): Promise<void> {
    try {
      this.#renewLater((await this.#options.find()).renewAfterMs);
    } catch (error) {
      const lost = error instanceof WireError && (error.is('Forbidden') || error.is('NotFound'));
      this.#options.feedOptions.log.debug(
        { err: error, subscriptionId: this.subscriptionId },
        lost
          ? 'renewal of a watched log failed; the watch ends'
          : 'renewal of a watched log failed; trying again in 60 s',
      );
      if (lost) this.#revoke();
      else this.#renewLater(RENEWAL_RETRY_MS);
    }
  }
}
