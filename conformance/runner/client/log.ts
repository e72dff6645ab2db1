/**
 * The subscription and log of the scripted server: sequence numbers, gaps, acknowledgement and
 * epochs as the SEP defines them. It handles no requests.
 */
import { randomBytes } from 'node:crypto';
import type { Json } from '../wire/session.ts';

export interface Numbered {
  readonly sequence: number;
  readonly eventId: string;
  readonly name: string;
  readonly timestamp: string;
  readonly acceptedAt: string;
  readonly data: object;
}
export interface Gap {
  readonly from: number;
  readonly to: number;
  readonly reason: string;
}

const name = (bytes: number): string => randomBytes(bytes).toString('base64url');

export class ScriptedLog {
  subscriptionId = `sub_${name(24)}`;
  epoch = name(16);
  key = '';
  select: Json = [];
  /** The verified callback of the client. */
  callback: { readonly url: string; readonly secret: string } | undefined;
  ttlMs = 3_600_000;
  renewAfterMs = 2_000_000;
  events: Numbered[] = [];
  gaps: Gap[] = [];
  acked = 0;
  /** Whether the client has subscribed and the subscription has not ended. */
  alive = false;
  #made = 0;
  #configuration = 1;
  #expiresAt = Date.now() + this.ttlMs;
  readonly #createdAt = new Date().toISOString();

  get head(): number {
    return Math.max(0, this.events.at(-1)?.sequence ?? 0, this.gaps.at(-1)?.to ?? 0);
  }

  append(count = 1): void {
    for (let end = this.head + count; this.head < end;) {
      const n = ++this.#made;
      this.events.push({
        sequence: this.head + 1,
        eventId: `event-${n}`,
        name: this.select[0]?.name ?? 'conformance.plain',
        timestamp: new Date().toISOString(),
        acceptedAt: new Date().toISOString(),
        data: { topic: 'conformance', n },
      });
    }
  }

  appendGap(count: number, reason = 'too_large'): void {
    this.gaps.push({ from: this.head + 1, to: this.head + count, reason });
  }

  /** Grants a new lifetime of `ttlMs`. */
  renew(): void {
    this.#expiresAt = Date.now() + this.ttlMs;
  }

  /**
   * Starts a new epoch, as a server does whose store was restored from a backup: the unacknowledged
   * events get the sequence numbers from 1.
   */
  loseEpoch(): void {
    this.events = this.events
      .filter(({ sequence }) => sequence > this.acked)
      .map((event, at) => ({ ...event, sequence: at + 1 }));
    this.gaps = [];
    this.acked = 0;
    this.epoch = name(16);
    this.#configuration += 1;
  }

  /** Ends the subscription. The next one under the same key has another id. */
  end(): void {
    Object.assign(this, {
      alive: false,
      subscriptionId: `sub_${name(24)}`,
      epoch: name(16),
      events: [],
      gaps: [],
      acked: 0,
    });
  }

  get etag(): string {
    return `${this.epoch.slice(0, 8)}-${this.#configuration}`;
  }
  get #counters() {
    return {
      epoch: this.epoch,
      head: this.head,
      acked: this.acked,
      etag: this.etag,
      expiresAt: new Date(this.#expiresAt).toISOString(),
    };
  }

  /** The subscription object. */
  subscription(): Json {
    const { subscriptionId, key, select, ttlMs, renewAfterMs, callback } = this;
    return {
      subscriptionId,
      key,
      select,
      ttlMs,
      renewAfterMs,
      ...this.#counters,
      oldest: 1,
      retention: { maxAgeMs: 3_600_000, maxEvents: 1000 },
      createdAt: this.#createdAt,
      ...(callback === undefined
        ? {}
        : {
            callback: {
              origin: new URL(callback.url).origin,
              state: 'ok',
              verifiedAt: this.#createdAt,
              health: { attempts: 0 },
            },
          }),
    };
  }

  /** The delivery after this sequence number, with at most `max` events. A gap is never split. */
  delivery(after: number, max = 100): Json {
    const events = this.events.filter(({ sequence }) => sequence > after).slice(0, max);
    const end = events.length === max ? (events.at(-1)?.sequence ?? after) : this.head;
    const gaps = this.gaps.filter(({ from, to }) => from > after && to <= end);
    return {
      subscriptionId: this.subscriptionId,
      key: this.key,
      afterSequence: after,
      events,
      ...(gaps.length === 0 ? {} : { gaps }),
      ...this.#counters,
    };
  }

  /** The params of the request that verifies an endpoint, in place of a delivery. */
  challenge(challenge: string): Json {
    return { subscriptionId: this.subscriptionId, key: this.key, challenge };
  }

  /** A delivery without events. */
  heartbeat(after: number): Json {
    return this.delivery(after, 0);
  }
}
