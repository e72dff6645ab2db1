/**
 * What a server lists, asked once by everybody who wants to know it at the same moment: several selections and several rungs look
 * at the same lists.
 */
import { orAbort } from '../../protocol/lib/abort.ts';
import { LocalError } from '../../protocol/wire/errors.ts';
import { TriggersApi } from '../sdk/triggers-api.ts';
import type { Connection } from '../sdk/connection.ts';

/** An answer this young is still true. */
const FRESH_MS = 1000;
/** A server whose list does not end is given up. */
const PAGES_MAX = 1000;

/** One list of a server. The work is shared, so it is given up by its own timeout only. */
export function listed<T>(
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
  // What failed is asked again at once.
  value.catch(() => {
    if (known.get(list)?.value === value) known.delete(list);
  });
  known.set(list, { at: performance.now(), value });
  return orAbort(value, signal);
}

/** The lists may be others now. */
export function forgetLists(connection: Connection): void {
  connection.shared.lists.clear();
}

/** Pages until there is no other. `page` returns the cursor of the next. Rejects with `peer_misbehaved` when there is no end. */
export async function allPages(
  page: (cursor: string | undefined) => Promise<string | undefined>,
): Promise<void> {
  let cursor: string | undefined;
  for (let count = 0; count < PAGES_MAX; count++) {
    cursor = await page(cursor);
    if (cursor === undefined) return;
  }
  throw new LocalError(
    'peer_misbehaved',
    `The server broke the protocol: a list of more than ${PAGES_MAX} pages.`,
    { reason: 'pages' },
  );
}

/** The names of the trigger types that this caller sees. */
export function namesOffered(
  connection: Connection,
  signal: AbortSignal,
): Promise<ReadonlySet<string>> {
  const api = new TriggersApi(connection);
  return listed(
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
