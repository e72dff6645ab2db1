/**
 * Which events were handed over last, by their identifiers. On `events/*` an event may come again; and when the rung changes, the new
 * one may begin with what the old one had (SEP: When a peer lacks the extension).
 */
import type { RungName } from './types.ts';

interface Identity { readonly name: string; readonly eventId: string }

const REMEMBERED_MAX = 10_000;

export class Seen {
  readonly #by: Map<string, RungName>;

  /** Goes on with what others have seen. */
  constructor(...others: readonly Seen[]) {
    this.#by = new Map(others.flatMap((other) => [...other.#by]).slice(-REMEMBERED_MAX));
  }

  add(event: Identity, rung: RungName): void {
    this.#by.set(nameOf(event), rung);
    if (this.#by.size > REMEMBERED_MAX) this.#by.delete(this.#by.keys().next().value!);
  }

  has(event: Identity): boolean { return this.#by.has(nameOf(event)); }

  /** By another rung than this one. */
  hasElsewhere(event: Identity, rung: RungName): boolean {
    const by = this.#by.get(nameOf(event));
    return by !== undefined && by !== rung;
  }
}

/** A newline is in no name. */
const nameOf = ({ name, eventId }: Identity): string => `${name}\n${eventId}`;
