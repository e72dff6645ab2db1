/**
 * Which trigger types a caller may see, as `triggers/list` tells it. The engine asks its `visible` hook for every type of a list, and a
 * feed that is being followed is read often, so what a caller was told is remembered for a short while.
 */
import type { TriggerType } from '../../../../spec-schema/draft/schema.ts';
import type { BindableEngine, Caller } from '../../engine/verbs.ts';

/** What a caller may follow is decided when it reads; this only says how its URIs are written. */
const REMEMBERED_MS = 30_000;
const CALLERS_MAX = 1000;

interface Remembered {
  readonly types: Promise<ReadonlyMap<string, TriggerType>>;
  readonly until: number;
}

/** The types of one engine, by caller. */
export class VisibleTypes {
  readonly #engine: BindableEngine;
  readonly #remembered = new Map<string, Remembered>();

  constructor(engine: BindableEngine) {
    this.#engine = engine;
    engine.onListChanged(() => this.#remembered.clear());
  }

  /** What this caller's URIs may name. Rejects as `triggers/list` does. */
  of(caller: Caller): Promise<ReadonlyMap<string, TriggerType>> {
    const { principal } = caller;
    const found = this.#remembered.get(principal);
    const now = this.#engine.clock.now();
    if (found !== undefined && found.until > now) return found.types;
    const types = this.list(caller);
    this.#remembered.delete(principal);
    this.#remembered.set(principal, { types, until: now + REMEMBERED_MS });
    const [oldest] = this.#remembered.keys();
    if (this.#remembered.size > CALLERS_MAX && oldest !== undefined)
      this.#remembered.delete(oldest);
    // A failure is told to whoever waits for it and not remembered.
    types.catch(() => this.#forget(principal, types));
    return types;
  }

  /** By name, in the order of the list, as it is now. Rejects as `triggers/list` does. */
  async list(caller: Caller): Promise<ReadonlyMap<string, TriggerType>> {
    const types = new Map<string, TriggerType>();
    let cursor: string | undefined;
    do {
      const page = await this.#engine.list(caller, cursor === undefined ? {} : { cursor });
      // Only an `ifNoneMatch` is answered without the list.
      if ('notModified' in page) break;
      for (const type of page.triggers) types.set(type.name, type);
      cursor = page.nextCursor;
    } while (cursor !== undefined);
    return types;
  }

  #forget(principal: string, types: Remembered['types']): void {
    if (this.#remembered.get(principal)?.types === types) this.#remembered.delete(principal);
  }
}
