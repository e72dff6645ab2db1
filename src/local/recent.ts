/**
 * The identities of the events taken last. After an epoch change the renumbered rest of a log can contain events that were
 * taken already; numbers cannot tell, `name` and `eventId` can (SEP: Applying a delivery). Kept in memory only: a restart
 * between the two widens "each event once" to "at least once", never the other way.
 */
import type { Event } from '../../spec-schema/draft/schema.ts';

const REMEMBERED_MAX = 10_000;

export class RecentEvents {
  readonly #names = new Set<string>();

  add(event: Pick<Event, 'name' | 'eventId'>): void {
    const name = nameOf(event);
    this.#names.delete(name);
    this.#names.add(name);
    if (this.#names.size > REMEMBERED_MAX) this.#names.delete(this.#names.values().next().value!);
  }

  has(event: Pick<Event, 'name' | 'eventId'>): boolean {
    return this.#names.has(nameOf(event));
  }
}

/** A newline is in no trigger name. */
const nameOf = ({ name, eventId }: Pick<Event, 'name' | 'eventId'>): string => `${name}\n${eventId}`;
