/** How many of something each principal may have at once. */
import { resourceExhausted } from '../../protocol/wire/errors.ts';

export class PrincipalQuota {
  readonly #limit: string;
  readonly #max: number;
  readonly #taken = new Map<string, number>();

  /** `limit` is the name a refusal gives (SEP: Limits). */
  constructor(limit: string, max: number) {
    this.#limit = limit;
    this.#max = max;
  }

  /** Takes one; the returned function gives it back. Throws `WireError` `ResourceExhausted`. */
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
