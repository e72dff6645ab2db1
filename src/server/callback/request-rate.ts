/**
 * The rate of requests to callbacks: which of them were made in the last minute, for every
 * subscription and URL. Deliveries, challenges and termination notices count (SEP: Limits of a
 * callback).
 */
import type { Clock } from '../../protocol/lib/clock.ts';

const MINUTE_MS = 60_000;
/** Expired instants at the start of a list that are kept until it is copied. */
const EXPIRED_MAX = 1024;

/** The requests to one callback. */
interface Requests {
  /** Requests without an answer. */
  pending: number;
  /** When each answered request ended, ascending. Those before `first` have expired. */
  ended: number[];
  first: number;
}

/** A callback, as far as its rate is concerned. */
export interface RatedCallback {
  readonly subscriptionId: string;
  readonly url: string;
  /** Most requests in any minute; undefined = no limit. */
  readonly maxPerMinute: number | undefined;
  /**
   * Since when this process knows of every request to the callback, in epoch milliseconds. Before
   * the start of the process it knows of none.
   */
  readonly since: number;
}

/**
 * Counts requests. A request counts from its start until a minute after its end: however long each
 * took on its way, an endpoint then receives no more than the limit in any minute. The memory is
 * bounded by the requests that the process can make in a minute.
 */
export class RequestRate {
  readonly #clock: Clock;
  readonly #startedAt: number;
  /** By callback, the one with the newest request last. */
  readonly #callbacks = new Map<string, Requests>();

  constructor(clock: Clock) {
    this.#clock = clock;
    this.#startedAt = clock.now();
  }

  /** Callbacks with a request in the last minute, or some time after it. */
  get size(): number {
    return this.#callbacks.size;
  }

  /**
   * The instant, in epoch milliseconds, before which no request may start; null = it may start now.
   * Ask again at that instant. For a minute after its start, a process assumes that the process
   * before it has used up the limit of callbacks that are older.
   */
  heldUntil(callback: RatedCallback): number | null {
    const { maxPerMinute: most, since } = callback;
    if (most === undefined) return null;
    const now = this.#clock.now();
    const known = Math.max(since, this.#startedAt);
    const free = since < this.#startedAt ? known + MINUTE_MS : now;
    const at = Math.max(free, this.#freeAt(this.#callbacks.get(keyOf(callback)), most, now));
    // A clock that was set back must not delay a callback for longer than the window.
    return at <= now ? null : Math.min(at, now + MINUTE_MS);
  }

  #freeAt(requests: Requests | undefined, most: number, now: number): number {
    if (requests === undefined) return now;
    expire(requests, now);
    const { pending, ended, first } = requests;
    if (pending + ended.length - first < most) return now;
    // A pending request counts until a minute after it ends, which is not before now.
    return pending >= most ? now + MINUTE_MS : ended[ended.length - (most - pending)]! + MINUTE_MS;
  }

  /** Counts a request that starts now; call the returned function once when it has ended. */
  start(callback: Pick<RatedCallback, 'subscriptionId' | 'url'>): () => void {
    const key = keyOf(callback);
    const requests = this.#callbacks.get(key) ?? { pending: 0, ended: [], first: 0 };
    requests.pending += 1;
    this.#touch(key, requests);
    return () => {
      requests.pending -= 1;
      expire(requests, this.#clock.now());
      requests.ended.push(this.#clock.now());
      this.#touch(key, requests);
    };
  }

  /** Moves a callback to the end, and drops callbacks without a request in the last minute. */
  #touch(key: string, requests: Requests): void {
    this.#callbacks.delete(key);
    this.#callbacks.set(key, requests);
    const expired = this.#clock.now() - MINUTE_MS;
    for (const [other, { pending, ended }] of this.#callbacks) {
      if (pending > 0 || ended.at(-1)! > expired) return;
      this.#callbacks.delete(other);
    }
  }
}

const keyOf = ({ subscriptionId, url }: Pick<RatedCallback, 'subscriptionId' | 'url'>): string =>
  `${subscriptionId} ${url}`;

function expire(requests: Requests, now: number): void {
  while (
    requests.first < requests.ended.length &&
    requests.ended[requests.first]! <= now - MINUTE_MS
  )
    requests.first += 1;
  if (requests.first <= EXPIRED_MAX && requests.first < requests.ended.length) return;
  requests.ended.splice(0, requests.first);
  requests.first = 0;
}
