/**
 * The trigger types that a caller sees in `triggers/list`, cached for a short time: listing calls
 * the `visible` hook for every type, and a followed feed is read often.
 */
import type { TriggerType } from '../../../../spec-schema/draft/schema.ts';
import type { BindableEngine, Caller } from '../../engine/verbs.ts';

/** Old entries are harmless: they serve only to parse URIs, and every read checks the permission. */
const CACHED_MS = 30_000;
const CALLERS_MAX = 1000;

interface CachedTypes {
  readonly types: Promise<ReadonlyMap<string, TriggerType>>;
  readonly until: number;
}

/** The trigger types of one engine, by caller. */
export class VisibleTypes {
  readonly #engine: BindableEngine;
  readonly #cache = new Map<string, CachedTypes>();

  constructor(engine: BindableEngine) {
    this.#engine = engine;
    engine.onListChanged(() => this.#cache.clear());
  }

  /** The types by name, at most {@link CACHED_MS} old. Rejects as `triggers/list` does. */
  of(caller: Caller): Promise<ReadonlyMap<string, TriggerType>> {
    const { principal } = caller;
    const found = this.#cache.get(principal);
    const now = this.#engine.clock.now();
    if (found !== undefined && found.until > now) return found.types;
    const types = this.list(caller);
    this.#cache.delete(principal);
    this.#cache.set(principal, { types, until: now + CACHED_MS });
    const [oldest] = this.#cache.keys();
    if (this.#cache.size > CALLERS_MAX && oldest !== undefined) this.#cache.delete(oldest);
    // A failure must not stay in the cache.
    types.catch(() => this.#forget(principal, types));
    return types;
  }

  /** The current types by name, in the order of the list. Rejects as `triggers/list` does. */
  async list(caller: Caller): Promise<ReadonlyMap<string, TriggerType>> {
    const types = new Map<string, TriggerType>();
    let cursor: string | undefined;
    do {
      const page = await this.#engine.list(caller, cursor === undefined ? {} : { cursor });
      // `notModified` is only returned for an `ifNoneMatch`.
      if ('notModified' in page) break;
      for (const type of page.triggers) types.set(type.name, type);
      cursor = page.nextCursor;
    } while (cursor !== undefined);
    return types;
  }

  #forget(principal: string, types: CachedTypes['types']): void {
    if (this.#cache.get(principal)?.types === types) this.#cache.delete(principal);
  }
}
