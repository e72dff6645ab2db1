/**
 * One open stream: where it stands, what its client owes it, and what woke it up. It sends what its credit allows, then waits
 * for an acknowledgement, a new number or the next heartbeat (SEP: Stream).
 */
import type { Subscription, TerminationReason } from '../../protocol/core/types.ts';
import { LocalError } from '../../protocol/wire/errors.ts';
import type { UnitOfWork, LoadedSubscription } from '../engine/unit-of-work.ts';
import type { Clock } from '../../protocol/lib/clock.ts';
import type { Meter } from '../engine/ports.ts';
import type { Store } from '../store/port.ts';
import {
  deliveryOf,
  emptyRange,
  rangeOf,
  readStore,
  readTail,
  type LogRange,
  type ReadLimits,
} from '../engine/reader.ts';
import type { StreamSink } from '../engine/verbs.ts';

/** How long a stream rests after the store failed under it. */
const RETRY_MS = 1000;

export interface Window {
  readonly events: number;
  readonly bytes: number;
}

/** How a subscription ended. */
export interface Ended {
  readonly reason: TerminationReason;
  readonly last: Subscription;
}

export interface StreamOptions {
  readonly store: Store;
  readonly unitOfWork: UnitOfWork;
  readonly clock: Clock;
  readonly meter: Meter;
  readonly sink: StreamSink;
  readonly window: Window;
  /** Silence after which an empty delivery is sent. */
  readonly heartbeatMs: number;
  /** How long a client may neither read nor acknowledge. */
  readonly stalledMs: number;
  /** How many wait for news of this subscription. */
  listeners(): number;
}

type Move =
  | { readonly kind: 'send'; readonly json: string; readonly range: LogRange; readonly last?: true }
  | { readonly kind: 'again' | 'wait' | 'end' };

/** What is sent on one stream and not acknowledged yet. */
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
  /** Whether the first event of a range would burst the window. With nothing in flight, one event always may, however large. */
  bursts(range: LogRange): boolean {
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

  /** Returns whether anything came back. */
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
  /** Send something, if only an empty delivery. The first message goes out at once. */
  #speak = true;
  #stopped = false;
  #over: Ended | null = null;
  #sentAt: number;
  #progressAt: number;
  /** Only the client can help: its window is full, or it does not read. */
  #blocked = false;
  /** Something happened since the last look at the log. */
  #rung = false;
  #ring: (() => void) | null = null;
  /** Gives up a message that the client does not take. */
  #cut: (() => void) | null = null;

  /** `after` is where the client stands. */
  constructor(options: StreamOptions, loaded: LoadedSubscription, after: number) {
    this.#o = options;
    this.#row = loaded.row;
    this.#epoch = loaded.state.epoch;
    this.#credit = new Credit(options.window);
    this.#cursor = after;
    this.#sentAt = this.#progressAt = options.clock.now();
  }

  wake(): void {
    this.#rung = true;
    this.#ring?.();
  }

  announce(): void {
    this.#speak = true;
    this.wake();
  }

  ended(reason: TerminationReason, last: Subscription): void {
    this.#over = { reason, last };
    this.wake();
  }

  close(): void {
    this.#stopped = true;
    this.#cut?.();
    this.wake();
  }

  /** The clock ticked; the next tick comes `everyMs` later. */
  look(now: number, everyMs: number): void {
    const { heartbeatMs, stalledMs } = this.#o;
    // Who has stopped reading, or forgets to say what it has read, is cut. Its log waits.
    if (this.#blocked && now - this.#progressAt >= stalledMs) this.close();
    // At the next tick it would be too late.
    else if (now + everyMs - this.#sentAt > heartbeatMs) this.announce();
  }

  /** Runs until the stream ends. Rejects when the sink does. */
  async run(): Promise<void> {
    while (!this.#stopped) {
      this.#rung = false;
      const move = await this.#move();
      if (this.#stopped || move.kind === 'end') return;
      if (move.kind === 'send') {
        await this.#send(move.json, move.range);
        if (move.last === true) return;
      } else if (move.kind === 'wait' && !this.#rung) {
        await this.#sleep();
      }
    }
  }

  #sleep(forMs?: number): Promise<void> {
    return new Promise((resolve) => {
      const cancel =
        forMs === undefined ? undefined : this.#o.clock.after(forMs, () => this.#ring?.());
      this.#ring = () => {
        this.#ring = null;
        cancel?.();
        resolve();
      };
    });
  }

  async #move(): Promise<Move> {
    try {
      return await this.#look();
    } catch (cause) {
      // A commit or a read that failed says nothing about the client, and nothing was sent: try again.
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

  /** What is to be done now. What it sends is on disk, the fact that it is sent included. */
  async #look(): Promise<Move> {
    const { unitOfWork, clock } = this.#o;
    if (this.#over !== null) {
      const { last, reason } = this.#over;
      const nothing = emptyRange(this.#cursor);
      return {
        kind: 'send',
        json: deliveryOf(last, nothing, { terminated: { reason } }),
        range: nothing,
        last: true,
      };
    }
    const loaded = await unitOfWork.getOrLoad(this.#row);
    if (loaded === undefined) return { kind: this.#over === null ? 'end' : 'again' };
    // Its end is being written; how it ended is told when it is.
    if (loaded.ended) return { kind: this.#over === null ? 'wait' : 'again' };
    // Numbers of the old epoch mean nothing now; the client comes back, is told, and starts anew.
    if (loaded.state.epoch !== this.#epoch) return { kind: 'end' };
    loaded.listeners = this.#o.listeners();
    if (this.#credit.settle(loaded.state.acked)) this.#progressAt = clock.now();
    const { revision } = loaded;
    const read = this.#credit.full ? emptyRange(this.#cursor) : await this.#read(loaded);
    if (read === null || !unitOfWork.isUnchanged(loaded, revision)) return { kind: 'again' };
    const bursts = this.#credit.bursts(read);
    this.#blocked = this.#credit.full || bursts;
    const range = bursts ? emptyRange(this.#cursor) : read;
    if (range.last === this.#cursor && !this.#speak) return { kind: 'wait' };
    if (range.last > this.#cursor) {
      // On disk first that these were sent, so that an acknowledgement is never above it, also after a crash.
      const { refused } = unitOfWork.step(loaded, { type: 'drain', to: range.last, resume: false });
      if (refused !== undefined) {
        // The grant ran out and nobody has said so yet.
        unitOfWork.step(loaded, { type: 'tick' });
        await unitOfWork.commit();
        return { kind: 'again' };
      }
    }
    const { state } = loaded;
    await unitOfWork.commit();
    if (range.events.length > 0 && !unitOfWork.isUnchanged(loaded, revision))
      return { kind: 'again' };
    return { kind: 'send', json: deliveryOf(state, range), range };
  }

  /** The next range after the cursor; null when the subscription left memory meanwhile. */
  async #read(loaded: LoadedSubscription): Promise<LogRange | null> {
    const { unitOfWork, store } = this.#o;
    const { room } = this.#credit;
    const cursor = this.#cursor;
    if (cursor >= loaded.state.head) return emptyRange(cursor);
    const fromTail = readTail(loaded, cursor, room);
    if (fromTail !== null) return fromTail;
    await unitOfWork.commit();
    if (!unitOfWork.isCurrent(loaded)) return null;
    const entries = await readStore(store, loaded, cursor, room);
    return unitOfWork.isCurrent(loaded) ? rangeOf(loaded.state, cursor, entries, room) : null;
  }

  async #send(json: string, range: LogRange): Promise<void> {
    const { clock, meter, sink } = this.#o;
    this.#cursor = range.last;
    this.#credit.spend(range);
    this.#speak = false;
    this.#sentAt = clock.now();
    if (range.events.length > 0) this.#progressAt = clock.now();
    // A client that does not read is as stalled as one that does not acknowledge.
    if (!this.#blocked) this.#progressAt = clock.now();
    this.#blocked = true;
    await new Promise<void>((resolve, reject) => {
      this.#cut = resolve;
      sink.send({ json, params: JSON.parse(json) as object }).then(resolve, reject);
    });
    this.#cut = null;
    meter.count('triggers_events_delivered_total', range.events.length, { drain: 'stream' });
  }
}
