/**
 * The identities of the events taken last. After an epoch change the renumbered rest of a log can contain events that were
 * taken already; numbers cannot tell, `name` and `eventId` can (SEP: Applying a delivery). Kept in memory only: a restart
 * between the two widens "each event once" to "at least once", never the other way.
 */
import type { Event } from '../../../spec-schema/draft/schema.ts';

type Identity = Pick<Event, 'name' | 'eventId'>;
const REMEMBERED_MAX = 10_000;

export class RecentEvents {
  #taken = new Set<string>();
  /** Taken in an earlier life: each of them may come once more. */
  #before = new Set<string>();

  add(event: Identity): void {
    this.#taken.add(nameOf(event));
    if (this.#taken.size > REMEMBERED_MAX) this.#taken.delete(this.#taken.values().next().value!);
  }

  /** From now on the same events may come under other numbers. */
  renumbered(): void {
    this.#before = new Set([...this.#before, ...this.#taken].slice(-REMEMBERED_MAX));
    this.#taken = new Set();
  }

  /**
   * Whether this event was taken before the last renumbering. True once per event: a later one is the upstream's own repetition.
   */
  isRepeated(event: Identity): boolean {
    return this.#before.delete(nameOf(event));
  }
}

/** A newline is in no trigger name. */
const nameOf = ({ name, eventId }: Identity): string => `${name}\n${eventId}`;
