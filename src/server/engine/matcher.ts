/**
 * Finds the subscriptions whose logs an event enters: by the match index, by its audience, and by
 * the predicate of its type. A gap enters the logs that its known arguments do not exclude.
 */
import { MatchIndex } from '../../protocol/core/index.ts';
import type { Selection, Subscription } from '../../protocol/core/types.ts';
import type { EventGap } from '../store/port.ts';
import type { Catalog } from './catalog.ts';
import type { Log } from './ports.ts';

/** The parts of an event that decide about its logs. */
export interface Matchable {
  readonly name: string;
  readonly gap: EventGap | null;
  /** The principals whose logs it can enter; null = everybody's. */
  readonly audience: readonly string[] | null;
  /** Of a gap: the arguments that it is known to concern, with their values. */
  readonly data: unknown;
}

/** The part of a subscription that decides about its events. */
export type Selecting = Pick<Subscription, 'principal' | 'select'>;

export class Matcher {
  readonly #catalog: Catalog;
  readonly #log: Log;
  readonly #index = new MatchIndex();

  constructor(catalog: Catalog, log: Log) {
    this.#catalog = catalog;
    this.#log = log;
  }

  /** Sets the selections of a row; null = none. */
  set(row: number, principal: string, select: readonly Selection[] | null): void {
    if (select === null) this.#index.remove(row, principal);
    else this.#index.add(row, select, principal);
  }

  /** Rows whose arguments match the event, ascending; the type's predicate is not applied yet. */
  rows(event: Matchable): number[] {
    return this.#rowsIn(this.#index, event);
  }

  /** Whether one subscription matches the event; the type's predicate is not applied yet. */
  matches({ principal, select }: Selecting, event: Matchable): boolean {
    const index = new MatchIndex();
    index.add(1, select, principal);
    return this.#rowsIn(index, event).length > 0;
  }

  /** Applies the trigger type's own predicate, if it has one. A gap has no data to apply it to. */
  accepts(state: Pick<Selecting, 'select'>, { name, gap, data }: Matchable): boolean {
    const predicate = this.#catalog.predicate(name);
    if (predicate === undefined || gap !== null) return true;
    return state.select.some((selection) => {
      if (selection.name !== name) return false;
      try {
        return predicate(selection.arguments, data);
      } catch (cause) {
        this.#log.warn(
          { trigger: name, err: cause },
          'match predicate failed; the event does not match the subscription',
        );
        return false;
      }
    });
  }

  #rowsIn(index: MatchIndex, { name, gap, audience, data }: Matchable): number[] {
    const owners = audience ?? undefined;
    if (gap !== null) {
      const known = (data ?? {}) as Readonly<Record<string, unknown>>;
      const value = (argument: string): unknown =>
        Object.hasOwn(known, argument) ? known[argument] : undefined;
      return index.match(name, value, { absent: 'anything', owners });
    }
    const values = new Map<string, unknown>();
    const value = (argument: string): unknown => {
      if (!values.has(argument)) values.set(argument, this.#attribute(name, argument, data));
      return values.get(argument);
    };
    return index.match(name, value, { owners });
  }

  #attribute(name: string, argument: string, data: unknown): unknown {
    try {
      return this.#catalog.attribute(name, argument, data);
    } catch (cause) {
      this.#log.warn(
        { trigger: name, argument, err: cause },
        'attribute function failed; the event matches no subscription with this argument',
      );
      return undefined;
    }
  }
}
