/**
 * One open stream: its position, its window, and its loop. The loop sends what the window allows,
 * then waits for an acknowledgement, a new entry or the next heartbeat (SEP: Stream).
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

/** Pause of a stream after an error of the store. */
const RETRY_MS = 1000;

/** The most events and bytes in flight. */
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
  /** Silence after which a heartbeat is sent, in milliseconds. */
  readonly heartbeatMs: number;
  /** Longest wait for the client to read a message, in milliseconds; then the stream ends. */
  readonly stalledMs: number;
}

/** The next action of the loop. */
type Action =
  | { readonly kind: 'send'; readonly json: string; readonly range: LogRange; readonly last?: true }
  | { readonly kind: 'again' | 'wait' | 'end' };

/** The events in flight on one stream, compared with its window. */
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
   * Whether the first event of a range exceeds the window. With nothing in flight, one event of any
   * size is allowed.
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

  /** Removes the acknowledged events. */
  settle(acked: number): void {
    let count = 0;
    while (count < this.#sent.length && this.#sent[count]!.sequence <= acked) {
      this.#bytes -= this.#sent[count]!.bytes;
      count += 1;
    }
    this.#sent.splice(0, count);
  }
}

export class Stream {
  readonly #o: StreamOptions;
  readonly #row: number;
  readonly #epoch: string;
  readonly #credit: Credit;
  /** The last number sent. */
  #cursor: number;
  /**
   * True = send the next delivery even if it is empty. True at the start, so that a client sees
   * that the stream is open.
   */
  #mustSend = true;
  #stopped = false;
  #end: Ended | null = null;
  /** When the last delivery was sent, in epoch milliseconds. */
  #sentAt: number;
  /**
   * When the client last gave a sign of life, in epoch milliseconds; null = it has read everything
   * that was sent. A full window does not end a stream: its client may work on one event for
   * long.
   */
  #unreadSince: number | null = null;
  /** `wake` was called since the loop began to choose the next action. */
  #woken = false;
  #endSleep: (() => void) | null = null;
  /** Ends the wait for a client that does not read the last message. */
  #abandonSend: (() => void) | null = null;

  /** `after`: the client's position. */
  constructor(options: StreamOptions, loaded: LoadedSubscription, after: number) {
    this.#o = options;
    this.#row = loaded.row;
    this.#epoch = loaded.state.epoch;
    this.#credit = new Credit(options.window);
    this.#cursor = after;
    this.#sentAt = options.clock.now();
  }

  wake(): void {
    this.#woken = true;
    this.#endSleep?.();
  }

  announce(): void {
    this.#mustSend = true;
    this.wake();
  }

  /** The client has acknowledged something, which it may have done before. */
  acknowledged(): void {
    if (this.#unreadSince !== null) this.#unreadSince = this.#o.clock.now();
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

  /** Closes an unread stream; requests a heartbeat if one is due. */
  tick(now: number, everyMs: number): void {
    const { heartbeatMs, stalledMs } = this.#o;
    // Closing loses nothing: the log waits for the client's next stream.
    if (this.#unreadSince !== null && now - this.#unreadSince >= stalledMs) this.close();
    // A heartbeat at the next tick would be too late.
    else if (now + everyMs - this.#sentAt > heartbeatMs) this.announce();
  }

  /** Sends until the stream ends. Rejects when the sink does. */
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
      // The store failed and nothing was sent, so the stream can continue after a pause.
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
   * Chooses the next action. Everything in a delivery, and `sent`, is on disk before this returns
   * it.
   */
  async #decide(): Promise<Action> {
    const { cache, unitOfWork, listeners } = this.#o;
    if (this.#end !== null) {
      const { last, reason } = this.#end;
      const nothing = emptyRange(this.#cursor);
      return {
        kind: 'send',
        json: deliveryOf(last, nothing, { reason }),
        range: nothing,
        last: true,
      };
    }
    const loaded = await cache.getOrLoad(this.#row);
    if (loaded === undefined) return { kind: this.#end === null ? 'end' : 'again' };
    // The end is not on disk yet; `ended` is called when it is.
    if (loaded.ended) return { kind: this.#end === null ? 'wait' : 'again' };
    // Positions of the old epoch are void. The client reconnects and learns the new epoch.
    if (loaded.state.epoch !== this.#epoch) return { kind: 'end' };
    // A subscription that was loaded again has no count of its listeners yet.
    loaded.setListeners(listeners.sizeOf(this.#row));
    this.#credit.settle(loaded.state.acked);
    const { revision } = loaded;
    const read = this.#credit.full ? emptyRange(this.#cursor) : await this.#read(loaded);
    if (read === null || !cache.isUnchanged(loaded, revision)) return { kind: 'again' };
    const range = this.#credit.isExceededBy(read) ? emptyRange(this.#cursor) : read;
    if (range.last === this.#cursor && !this.#mustSend) return { kind: 'wait' };
    // `sent` must be on disk before the delivery, because it is the upper bound of
    // acknowledgements, even after a crash.
    const { refused } = unitOfWork.step(
      loaded,
      range.last > this.#cursor
        ? { type: 'drain', after: range.after, to: range.last }
        : { type: 'read' },
    );
    if (refused !== undefined) {
      // The subscription has expired, and its end is not recorded yet.
      unitOfWork.step(loaded, { type: 'tick' });
      await unitOfWork.commit();
      return { kind: 'again' };
    }
    const { state } = loaded;
    await unitOfWork.commit();
    if (range.events.length > 0 && !cache.isUnchanged(loaded, revision)) return { kind: 'again' };
    return { kind: 'send', json: deliveryOf(state, range), range };
  }

  /**
   * The next range after the cursor; null = the subscription was reloaded meanwhile: read again.
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
    this.#sentAt = this.#unreadSince = clock.now();
    await new Promise<void>((resolve, reject) => {
      this.#abandonSend = resolve;
      sink.send(JSON.parse(json) as Delivery).then(resolve, reject);
    });
    this.#abandonSend = null;
    this.#unreadSince = null;
    meter.count('triggers_events_delivered_total', range.events.length, { drain: 'stream' });
  }
}
