/**
 * Which events were handed over last, by their identifiers. On `events/*` an event may come again; and whatever rung is begun, it may
 * begin with what an earlier one had (SEP: When a peer lacks the extension).
 */

interface Identity {
  readonly name: string;
  readonly eventId: string;
}

const REMEMBERED_MAX = 10_000;

export class Deduplicator {
  /** With the turn in which it was seen. */
  readonly #in: Map<string, number>;
  #turn = 1;

  /** Goes on with what others have seen. */
  constructor(...others: readonly Deduplicator[]) {
    this.#in = new Map(
      others
        .flatMap((other) => [...other.#in.keys()])
        .slice(-REMEMBERED_MAX)
        .map((name) => [name, 0]),
    );
  }

  /** A rung begins. */
  turn(): void {
    this.#turn += 1;
  }

  add(event: Identity): void {
    this.#in.set(nameOf(event), this.#turn);
    if (this.#in.size > REMEMBERED_MAX) this.#in.delete(this.#in.keys().next().value!);
  }

  has(event: Identity): boolean {
    return this.#in.has(nameOf(event));
  }

  /** Before the last {@link turn}: since then the same identifier is the upstream's own repetition. */
  hadBefore(event: Identity): boolean {
    return (this.#in.get(nameOf(event)) ?? Infinity) < this.#turn;
  }
}

/** A newline is in no name. */
const nameOf = ({ name, eventId }: Identity): string => `${name}\n${eventId}`;
