/**
 * Detects repeated events after an epoch change, when numbers cannot: the renumbered rest of a log
 * may contain events that were applied before (SEP: Applying a delivery). Kept in memory only: a
 * restart can repeat an event but cannot lose one.
 */
import type { TriggerEvent } from '../../../spec-schema/draft/schema.ts';

type Identity = Pick<TriggerEvent, 'name' | 'eventId'>;
const REMEMBERED_MAX = 10_000;

/** The identities (`name` and `eventId`) of the last 10,000 applied events. */
export class RecentEvents {
  #applied = new Set<string>();
  /** Events that were applied in former epochs. Each may arrive once more. */
  #before = new Set<string>();

  add(event: Identity): void {
    this.#applied.add(nameOf(event));
    if (this.#applied.size > REMEMBERED_MAX)
      this.#applied.delete(this.#applied.values().next().value!);
  }

  /** Call on an epoch change: the same events may arrive again with other numbers. */
  renumbered(): void {
    this.#before = new Set([...this.#before, ...this.#applied].slice(-REMEMBERED_MAX));
    this.#applied = new Set();
  }

  /**
   * Whether this event was applied before the last epoch change. True only once per event: if it
   * arrives yet again, the upstream has repeated it.
   */
  isRepeated(event: Identity): boolean {
    return this.#before.delete(nameOf(event));
  }
}

/** Unambiguous: a trigger name contains no newline. */
const nameOf = ({ name, eventId }: Identity): string => `${name}\n${eventId}`;
