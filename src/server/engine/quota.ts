/** Limits per principal: streams and waiting pulls at once, and subscriptions (SEP: Limits). */
import { resourceExhausted } from '../../protocol/wire/errors.ts';
import type { Store } from '../store/port.ts';

/** Limits how many of one resource, such as streams, each principal may use at once. */
export class PrincipalQuota {
  readonly #limit: string;
  readonly #max: number;
  readonly #taken = new Map<string, number>();

  /**
   * `limit` names the resource in the error that clients receive; `max` is the limit per principal.
   */
  constructor(limit: string, max: number) {
    this.#limit = limit;
    this.#max = max;
  }

  /**
   * Takes one; the returned function gives it back, and must be called once. Throws `WireError`
   * `ResourceExhausted`.
   */
  enter(principal: string): () => void {
    const taken = this.#taken.get(principal) ?? 0;
    if (taken >= this.#max) throw resourceExhausted({ limit: this.#limit, max: this.#max });
    this.#taken.set(principal, taken + 1);
    return () => {
      const left = (this.#taken.get(principal) ?? 1) - 1;
      if (left === 0) this.#taken.delete(principal);
      else this.#taken.set(principal, left);
    };
  }
}

/**
 * Limits the live subscriptions of each principal, those being created included, and the bytes that
 * its logs have when one more is created. An existing log is bounded by its retention alone.
 */
export class SubscriptionQuota {
  readonly #store: Pick<Store, 'countOf' | 'bytesOf'>;
  readonly #max: number;
  readonly #maxBytes: number;
  readonly #creating = new Map<string, number>();

  constructor(store: Pick<Store, 'countOf' | 'bytesOf'>, max: number, maxBytes: number) {
    this.#store = store;
    this.#max = max;
    this.#maxBytes = maxBytes;
  }

  /**
   * Reserves one creation; the returned function ends the reservation. Reservations count against
   * the limit, because concurrent calls could otherwise exceed it together. Rejects with
   * `WireError` `ResourceExhausted`.
   */
  async enter(principal: string): Promise<() => void> {
    this.#add(principal, 1);
    try {
      const stored = await this.#store.countOf(principal);
      if (stored + (this.#creating.get(principal) ?? 0) > this.#max)
        throw resourceExhausted({ limit: 'subscriptions', max: this.#max });
      if (this.#maxBytes !== Infinity && (await this.#store.bytesOf(principal)) >= this.#maxBytes)
        throw resourceExhausted({ limit: 'stored_bytes', max: this.#maxBytes });
    } catch (cause) {
      this.#add(principal, -1);
      throw cause;
    }
    return () => this.#add(principal, -1);
  }

  #add(principal: string, by: number): void {
    const count = (this.#creating.get(principal) ?? 0) + by;
    if (count === 0) this.#creating.delete(principal);
    else this.#creating.set(principal, count);
  }
}
