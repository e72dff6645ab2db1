/**
 * One open stream: its position, its window, and the loop that sends. It sends what the window
 * allows, then waits for an acknowledgement, a new entry or the next heartbeat (SEP: Stream).
 */
import type { Delivery } from '../../../spec-schema/draft/schema.ts';
import type { Clock } from '../../protocol/lib/clock.ts';
import { LocalError } from '../../protocol/wire/errors.ts';
import type { Meter } from '../engine/ports.ts';
import {
  deliveryOf,
  emptyRange,
  rangeOf,
  readStore,
  readTail,
  type LogRange,
  type ReadLimits,
} from '../engine/reader.ts';
import type { LoadedSubscription, SubscriptionCache } from '../engine/subscription-cache.ts';
import type { UnitOfWork } from '../engine/unit-of-work.ts';
import type { StreamSink } from '../engine/verbs.ts';
import type { Store } from '../store/port.ts';
import type { Ended, LogListeners } from './log-listeners.ts';

/** Pause of a stream after the store failed. */
const RETRY_MS = 1000;

/** Limits of what is sent and not acknowledged. */
interface Window {
  readonly events: number;
  readonly bytes: number;
}

export interface StreamOptions {
  readonly store: Store;
  readonly cache: SubscriptionCache;
  readonly unitOfWork: UnitOfWork;
  readonly listeners: LogListeners;
  readonly clock: Clock;
  readonly meter: Meter;
  readonly sink: StreamSink;
  readonly window: Window;
  /** Silence after which an empty delivery is sent. */
  readonly heartbeatMs: number;
  /** Longest time without a read or an acknowledgement. */
  readonly stalledMs: number;
}

/** The next action of the loop. */
type Action =
  | { readonly kind: 'send'; readonly json: string; readonly range: LogRange; readonly last?: true }
  | { readonly kind: 'again' | 'wait' | 'end' };

/** Events that are sent on one stream and not acknowledged yet. */
class Credit {
  readonly #window: Window;
  readonly #sent: { readonly sequence: number; readonly bytes: number }[] = [];
  #bytes = 0;

  constructor(window: Window) {
    this.#window = window;
  }

  get idle(): boolean {
    return this.#sent.length === 0;
  }
  get full(): boolean {
    return this.#sent.length >= this.#window.events || this.#bytes >= this.#window.bytes;
  }
  get room(): ReadLimits {
    return {
      events: this.#window.events - this.#sent.length,
      bytes: this.#window.bytes - this.#bytes,
    };
  }
  /**
   * Whether the first event of a range exceeds the window. With nothing in flight, one event is
   * allowed, however large.
   */
  isExceededBy(range: LogRange): boolean {
    const first = range.events[0];
    return (
      first !== undefined &&
      !this.idle &&
      this.#bytes + Buffer.byteLength(first) > this.#window.bytes
    );
  }

  spend(range: LogRange): void {
    range.sequences.forEach((sequence, at) => {
      const bytes = Buffer.byteLength(range.events[at]!);
      this.#sent.push({ sequence, bytes });
      this.#bytes += bytes;
    });
  }

  /** Returns whether the acknowledgement freed any of the window. */
  settle(acked: number): boolean {
    let count = 0;
    while (count < this.#sent.length && this.#sent[count]!.sequence <= acked) {
      this.#bytes -= this.#sent[count]!.bytes;
      count += 1;
    }
    this.#sent.splice(0, count);
    return count > 0;
  }
}

export class Stream {
  readonly #o: StreamOptions;
  readonly #row: number;
  readonly #epoch: string;
  readonly #credit: Credit;
  #cursor: number;
  /** True = send a delivery even if it is empty, as at the start. */
  #mustSend = true;
  #stopped = false;
  #end: Ended | null = null;
  #sentAt: number;
  #progressAt: number;
  /** The stream waits for the client: its window is full, or it does not read. */
  #blocked = false;
  /** Something happened since the last action was chosen. */
  #woken = false;
  #endSleep: (() => void) | null = null;
  /** Abandons a message that the client does not read. */
  #abandonSend: (() => void) | null = null;

  /** `after`: the client's position. */
  constructor(options: StreamOptions, loaded: LoadedSubscription, after: number) {
    this.#o = options;
    this.#row = loaded.row;
    this.#epoch = loaded.state.epoch;
    this.#credit = new Credit(options.window);
    this.#cursor = after;
    this.#sentAt = this.#progressAt = options.clock.now();
  }

  wake(): void {
    this.#woken = true;
    this.#endSleep?.();
  }

  announce(): void {
    this.#mustSend = true;
    this.wake();
  }

  ended(end: Ended): void {
    this.#end = end;
    this.wake();
  }

  close(): void {
    this.#stopped = true;
    this.#abandonSend?.();
    this.wake();
  }

  /** Closes a stalled stream and sends heartbeats. */
  tick(now: number, everyMs: number): void {
    const { heartbeatMs, stalledMs } = this.#o;
    // Closing loses nothing: the log waits for the client's next stream.
    if (this.#blocked && now - this.#progressAt >= stalledMs) this.close();
    // The next tick would be too late.
    else if (now + everyMs - this.#sentAt > heartbeatMs) this.announce();
  }

  /** Runs until the stream ends. Rejects when the sink does. */
  async run(): Promise<void> {
    while (!this.#stopped) {
      this.#woken = false;
      const action = await this.#nextAction();
      if (this.#stopped || action.kind === 'end') return;
      if (action.kind === 'send') {
        await this.#send(action.json, action.range);
        if (action.last === true) return;
      } else if (action.kind === 'wait' && !this.#woken) {
        await this.#sleep();
      }
    }
  }

  #sleep(forMs?: number): Promise<void> {
    return new Promise((resolve) => {
      const cancel =
        forMs === undefined ? undefined : this.#o.clock.after(forMs, () => this.#endSleep?.());
      this.#endSleep = () => {
        this.#endSleep = null;
        cancel?.();
        resolve();
      };
    });
  }

  async #nextAction(): Promise<Action> {
    try {
      return await this.#decide();
    } catch (cause) {
      // The store failed, not the client, and nothing was sent: try again.
      if (
        this.#stopped ||
        !(cause instanceof LocalError) ||
        (cause.code !== 'store_full' && cause.code !== 'store_failed')
      )
        throw cause;
      await this.#sleep(RETRY_MS);
      return { kind: 'again' };
    }
  }

  /**
   * Chooses the next action. Everything in a delivery, and the fact that it is sent, is on disk
   * before it is returned.
   */
  async #decide(): Promise<Action> {
    const { cache, unitOfWork, listeners, clock } = this.#o;
    if (this.#end !== null) {
      const { last, reason } = this.#end;
      const nothing = emptyRange(this.#cursor);
      return {
        kind: 'send',
        json: deliveryOf(last, nothing, { terminated: { reason } }),
        range: nothing,
        last: true,
      };
    }
    const loaded = await cache.getOrLoad(this.#row);
    if (loaded === undefined) return { kind: this.#end === null ? 'end' : 'again' };
    // `ended` is called once its end is on disk.
    if (loaded.ended) return { kind: this.#end === null ? 'wait' : 'again' };
    // Positions of the old epoch are void. The client reconnects and learns the new epoch.
    if (loaded.state.epoch !== this.#epoch) return { kind: 'end' };
    // A reload starts without the count.
    loaded.setListeners(listeners.sizeOf(this.#row));
    if (this.#credit.settle(loaded.state.acked)) this.#progressAt = clock.now();
    const { revision } = loaded;
    const read = this.#credit.full ? emptyRange(this.#cursor) : await this.#read(loaded);
    if (read === null || !cache.isUnchanged(loaded, revision)) return { kind: 'again' };
    const isExceeded = this.#credit.isExceededBy(read);
    this.#blocked = this.#credit.full || isExceeded;
    const range = isExceeded ? emptyRange(this.#cursor) : read;
    if (range.last === this.#cursor && !this.#mustSend) return { kind: 'wait' };
    if (range.last > this.#cursor) {
      // `sent` is on disk first, so that no acknowledgement is above it, even after a crash.
      const { refused } = unitOfWork.step(loaded, { type: 'drain', to: range.last, resume: false });
      if (refused !== undefined) {
        // The subscription has expired, and its end is not recorded yet.
        unitOfWork.step(loaded, { type: 'tick' });
        await unitOfWork.commit();
        return { kind: 'again' };
      }
    }
    const { state } = loaded;
    await unitOfWork.commit();
    if (range.events.length > 0 && !cache.isUnchanged(loaded, revision)) return { kind: 'again' };
    return { kind: 'send', json: deliveryOf(state, range), range };
  }

  /**
   * The next range after the cursor; null = the subscription was reloaded meanwhile, so read again.
   */
  async #read(loaded: LoadedSubscription): Promise<LogRange | null> {
    const { cache, unitOfWork, store } = this.#o;
    const { room } = this.#credit;
    const cursor = this.#cursor;
    if (cursor >= loaded.state.head) return emptyRange(cursor);
    const fromTail = readTail(loaded, cursor, room);
    if (fromTail !== null) return fromTail;
    await unitOfWork.commit();
    if (!cache.isCurrent(loaded)) return null;
    const entries = await readStore(store, loaded, cursor, room);
    return cache.isCurrent(loaded) ? rangeOf(loaded.state, cursor, entries, room) : null;
  }

  async #send(json: string, range: LogRange): Promise<void> {
    const { clock, meter, sink } = this.#o;
    this.#cursor = range.last;
    this.#credit.spend(range);
    this.#mustSend = false;
    this.#sentAt = clock.now();
    if (range.events.length > 0) this.#progressAt = clock.now();
    // Until the client has read the message, it counts as stalled, as one that does not
    // acknowledge.
    if (!this.#blocked) this.#progressAt = clock.now();
    this.#blocked = true;
    await new Promise<void>((resolve, reject) => {
      this.#abandonSend = resolve;
      sink.send(JSON.parse(json) as Delivery).then(resolve, reject);
    });
    this.#abandonSend = null;
    meter.count('triggers_events_delivered_total', range.events.length, { drain: 'stream' });
  }
}
