/**
 * One log that somebody at a door wants to hear of: waits for news, keeps a lease from running out for as long as anybody
 * listens, and says when it is over.
 */
import type { Position, PullResult, Subscription } from '../../../../spec-schema/draft/schema.ts';
import type { TerminationReason } from '../../../protocol/core/types.ts';
import { systemClock } from '../../engine/system.ts';
import type { BindableEngine, Caller } from '../../engine/verbs.ts';
import { WireError } from '../../../protocol/wire/errors.ts';
import { Doorbell } from './change-notifier.ts';
import type { Keeping } from './options.ts';

/** Where a ring goes. */
export interface Door {
  /** There is something to read. */
  ring(): void;
  /** The log is over, or closed to this listener: nothing rings any more. Reading says what came of it. */
  ended(reason: TerminationReason): void;
}

/** Who listens to which log: whoever reads a log answers every doorbell of it, on whatever connection it came. */
export class Doors {
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
  readonly doors: Doors;
  readonly keeping: Pick<Keeping, 'ringing' | 'log'>;
}

/** After a lease could not be extended because the store did not answer. */
const RENEW_AGAIN_MS = 60_000;

const nothing = (): void => undefined;

export class Watch {
  readonly subscriptionId: string;
  readonly #o: WatchOptions;
  readonly #door: Door;
  readonly #bell: Doorbell;
  #closed = false;
  #stop = nothing;
  #cancelRenewal = nothing;

  /** Finds the log and listens. Rejects as `find` does. */
  static async open(options: WatchOptions, door: Door): Promise<Watch> {
    const watch = new Watch(options, await options.find(), door);
    await watch.#listen();
    return watch;
  }

  private constructor(options: WatchOptions, log: Subscription, door: Door) {
    this.#o = options;
    this.#door = door;
    this.subscriptionId = log.subscriptionId;
    const { seen, keeping: { ringing } } = options;
    this.#bell = new Doorbell({
      ...ringing,
      seen: seen?.epoch === log.epoch ? Math.max(seen.sequence, log.acked) : log.acked,
      head: () => this.#head(),
      ring: () => door.ring(),
    });
    this.#renewLater(log.renewAfterMs);
  }

  async #listen(): Promise<void> {
    const { engine, caller, doors } = this.#o;
    try {
      this.#stop = await engine.watch(caller, this.subscriptionId, { news: () => this.#bell.news(), ended: (reason) => this.#end(reason) });
    } catch (error) {
      this.close();
      throw error;
    }
    if (this.#closed) return this.#stop();
    doors.add(this);
    // Whatever is unread already is news to somebody who has just come.
    this.#bell.news();
  }

  get closed(): boolean {
    return this.#closed;
  }

  /** Somebody was told of every number up to this one. */
  read(head: number): void {
    this.#bell.read(head);
  }

  /** Stops listening. Nothing rings afterwards. */
  close(): void {
    this.#closed = true;
    this.#bell.close();
    this.#cancelRenewal();
    this.#o.doors.remove(this);
    this.#stop();
  }

  /** The engine says that it is over: worth a last look. */
  #end(reason: TerminationReason): void {
    if (this.#closed) return;
    this.close();
    this.#door.ring();
    this.#door.ended(reason);
  }

  /** Who may not read it any more is not told that there is something to read either. */
  #refuse(): void {
    if (this.#closed) return;
    this.close();
    this.#door.ended('revoked');
  }

  async #head(): Promise<number | null> {
    const { engine, caller, keeping } = this.#o;
    try {
      // A pull of nothing: it asks again whether this caller may.
      return ((await engine.pull(caller, { subscriptionId: this.subscriptionId, maxEvents: 0 })) as Pick<PullResult, 'head'>).head;
    } catch (error) {
      // That it is over is told by itself; that the store does not answer passes.
      keeping.log.debug({ err: error, subscriptionId: this.subscriptionId }, 'a log that is watched could not be looked at');
      if (error instanceof WireError && error.is('Forbidden')) this.#refuse();
      return null;
    }
  }

  #renewLater(afterMs: number | null): void {
    if (this.#o.leased && afterMs !== null && !this.#closed) this.#cancelRenewal = systemClock.after(afterMs, () => void this.#renew());
  }

  async #renew(): Promise<void> {
    try {
      this.#renewLater((await this.#o.find()).renewAfterMs);
    } catch (error) {
      this.#o.keeping.log.debug({ err: error, subscriptionId: this.subscriptionId }, 'the lease of a log that is watched was not extended');
      const refused = error instanceof WireError && (error.is('Forbidden') || error.is('NotFound'));
      if (refused) this.#refuse();
      else this.#renewLater(RENEW_AGAIN_MS);
    }
  }
}
