/**
 * When to ring. A doorbell says that there is something to read and nothing else, so one is enough until somebody comes; and since
 * nothing confirms that it was heard, it is repeated, more and more rarely, for as long as nobody does.
 */
import type { Clock } from '../../../protocol/lib/clock.ts';

/** How often a doorbell may ring, in milliseconds. */
export interface NotifyTiming {
  /** After a ring that nobody answered by reading, more news is saved up this long. */
  readonly quietMs: number;
  /** A ring that nobody answered by reading is repeated after this long, then after twice that, and so on up to an hour. */
  readonly remindMs: number;
}

export const NOTIFY_TIMING: NotifyTiming = { quietMs: 1000, remindMs: 2000 };
const REMIND_MAX_MS = 3_600_000;

const nothing = (): void => undefined;

export interface ChangeNotifierOptions extends Partial<NotifyTiming> {
  readonly clock: Clock;
  /** The highest number of the log; null = it cannot be told now, and news will come again. Does not reject. */
  readonly head: () => Promise<number | null>;
  readonly notify: () => void;
  /** The highest number that needs no ring. */
  readonly seen: number;
}

/** One log's doorbell at one door. */
export class ChangeNotifier {
  readonly #o: ChangeNotifierOptions & NotifyTiming;
  #seen: number;
  /** There may be something that was not looked at. */
  #pending = false;
  #looking = false;
  /** It has just rung. */
  #quiet = false;
  #remindMs: number;
  #cancelQuiet = nothing;
  #cancelReminder = nothing;
  #closed = false;

  constructor(options: ChangeNotifierOptions) {
    this.#o = { ...NOTIFY_TIMING, ...options };
    this.#seen = options.seen;
    this.#remindMs = this.#o.remindMs;
  }

  /** There may be something new. */
  news(): void {
    this.#pending = true;
    void this.#look();
  }

  /** Somebody read, and was told of every number up to this one. */
  read(head: number): void {
    this.#seen = Math.max(this.#seen, head);
    this.#answered();
    void this.#look();
  }

  close(): void {
    this.#closed = true;
    this.#answered();
  }

  #answered(): void {
    this.#quiet = false;
    this.#remindMs = this.#o.remindMs;
    this.#cancelQuiet();
    this.#cancelReminder();
  }

  async #look(): Promise<void> {
    if (this.#looking) return;
    this.#looking = true;
    while (this.#pending && !this.#quiet && !this.#closed) {
      this.#pending = false;
      const head = await this.#o.head();
      if (head !== null && head > this.#seen && !this.#closed) this.#ring(head);
    }
    this.#looking = false;
  }

  #ring(head: number): void {
    this.#seen = head;
    this.#quiet = true;
    this.#cancelQuiet = this.#o.clock.after(this.#o.quietMs, () => {
      this.#quiet = false;
      void this.#look();
    });
    this.#remindLater();
    this.#o.notify();
  }

  #remindLater(): void {
    this.#cancelReminder();
    this.#cancelReminder = this.#o.clock.after(this.#remindMs, () => {
      this.#remindMs = Math.min(this.#remindMs * 2, REMIND_MAX_MS);
      this.#remindLater();
      this.#o.notify();
    });
  }
}
