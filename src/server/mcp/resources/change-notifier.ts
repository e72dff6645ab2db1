/**
 * Decides when to send change notifications. A notification says only that there is something to
 * read, so changes in quick succession share one. It may get lost, so it is repeated at growing
 * intervals until the client reads.
 */
import type { Clock } from '../../../protocol/lib/clock.ts';

/** Intervals between change notifications, in milliseconds. */
export interface NotifyTiming {
  /**
   * The shortest interval between notifications of changes while the client does not read. Default
   * 1000.
   */
  readonly quietMs: number;
  /**
   * Delay before a notification is repeated if the client does not read. Doubles each time, up to
   * one hour. Default 2000.
   */
  readonly remindMs: number;
}

const NOTIFY_TIMING: NotifyTiming = { quietMs: 1000, remindMs: 2000 };
const REMIND_MAX_MS = 3_600_000;

const nothing = (): void => undefined;

export interface ChangeNotifierOptions extends Partial<NotifyTiming> {
  readonly clock: Clock;
  /**
   * Returns the head of the log; null = it cannot be read at the moment, and the notifier waits for
   * the next change. Must not reject.
   */
  readonly head: () => Promise<number | null>;
  readonly notify: () => void;
  /** The highest sequence number that the client knows already. */
  readonly seen: number;
}

/** Notifies one listener of changes of one log. */
export class ChangeNotifier {
  readonly #options: ChangeNotifierOptions & NotifyTiming;
  #seen: number;
  /** Whether the log may have changed since the last check. */
  #pending = false;
  #checking = false;
  /** Whether a notification was sent less than `quietMs` ago and the client has not read since. */
  #quiet = false;
  #remindMs: number;
  #cancelQuiet = nothing;
  #cancelReminder = nothing;
  #closed = false;

  constructor(options: ChangeNotifierOptions) {
    this.#options = { ...NOTIFY_TIMING, ...options };
    this.#seen = options.seen;
    this.#remindMs = this.#options.remindMs;
  }

  /** Call when the log may have changed. */
  changed(): void {
    this.#pending = true;
    void this.#check();
  }

  /** Call when a client has read the log and so knows every sequence number up to `head`. */
  read(head: number): void {
    this.#seen = Math.max(this.#seen, head);
    this.#reset();
    void this.#check();
  }

  close(): void {
    this.#closed = true;
    this.#reset();
  }

  #reset(): void {
    this.#quiet = false;
    this.#remindMs = this.#options.remindMs;
    this.#cancelQuiet();
    this.#cancelReminder();
  }

  async #check(): Promise<void> {
    if (this.#checking) return;
    this.#checking = true;
    while (this.#pending && !this.#quiet && !this.#closed) {
      this.#pending = false;
      const head = await this.#options.head();
      if (head !== null && head > this.#seen && !this.#closed) this.#notify(head);
    }
    this.#checking = false;
  }

  #notify(head: number): void {
    this.#seen = head;
    this.#quiet = true;
    this.#cancelQuiet = this.#options.clock.after(this.#options.quietMs, () => {
      this.#quiet = false;
      void this.#check();
    });
    this.#remindLater();
    this.#options.notify();
  }

  #remindLater(): void {
    this.#cancelReminder();
    this.#cancelReminder = this.#options.clock.after(this.#remindMs, () => {
      this.#remindMs = Math.min(this.#remindMs * 2, REMIND_MAX_MS);
      this.#remindLater();
      this.#options.notify();
    });
  }
}
