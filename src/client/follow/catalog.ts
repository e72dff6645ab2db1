/**
 * The lists of a server, cached for a moment: several selections and several modes need the same
 * ones at the same time.
 */
import { orAbort } from '../../protocol/lib/abort.ts';
import type { Connection } from '../sdk/connection.ts';
import { misbehaved } from '../sdk/peer-error.ts';
import { TriggersApi } from '../sdk/triggers-api.ts';

/** Time for which a cached list is used. */
const FRESH_MS = 1000;
/** A list with more pages counts as endless. */
const PAGES_MAX = 1000;

/**
 * Loads a list of a server, or returns the cached one. Callers share the request, so only its own
 * timeout cancels it; `signal` ends only the wait of this caller.
 */
export function cachedList<T>(
  connection: Connection,
  list: string,
  load: () => Promise<T>,
  signal: AbortSignal,
): Promise<T> {
  const { lists: known } = connection.shared;
  const before = known.get(list);
  if (before && performance.now() - before.at < FRESH_MS)
    return orAbort(before.value as Promise<T>, signal);
  const value = load();
  // A failed request is not cached.
  value.catch(() => {
    if (known.get(list)?.value === value) known.delete(list);
  });
  known.set(list, { at: performance.now(), value });
  return orAbort(value, signal);
}

/** Empties the cache: the lists may have changed. */
export function forgetLists(connection: Connection): void {
  connection.shared.lists.clear();
}

/**
 * Calls `page` with one cursor after the other, until it returns none. Rejects with
 * `peer_misbehaved` when the list does not end.
 */
export async function allPages(
  page: (cursor: string | undefined) => Promise<string | undefined>,
): Promise<void> {
  let cursor: string | undefined;
  for (let count = 0; count < PAGES_MAX; count++) {
    cursor = await page(cursor);
    if (cursor === undefined) return;
  }
  throw misbehaved('pages', `a list has more than ${PAGES_MAX} pages`);
}

/** The names of the trigger types that this caller sees. */
export function offeredTriggerNames(
  connection: Connection,
  signal: AbortSignal,
): Promise<ReadonlySet<string>> {
  const api = new TriggersApi(connection);
  return cachedList(
    connection,
    'triggers/list',
    async () => {
      const names = new Set<string>();
      await allPages(async (cursor) => {
        const result = await api.list(cursor === undefined ? {} : { cursor });
        if (!('triggers' in result)) return undefined;
        for (const { name } of result.triggers) names.add(name);
        return result.nextCursor;
      });
      return names;
    },
    signal,
  );
}
