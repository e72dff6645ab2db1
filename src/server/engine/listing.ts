/** `triggers/list`: what a caller may follow, in pages that belong together (SEP: triggers/list). */
import type {
  ListTriggersNotModified,
  ListTriggersParams,
  ListTriggersResult,
  TriggerType,
} from '../../../spec-schema/draft/schema.ts';
import { invalidParams } from '../../protocol/wire/errors.ts';
import type { Catalog } from './catalog.ts';

/** Trigger types in one page. */
const PAGE = 100;
/** How long a client may keep the list. */
const TTL_MS = 300_000;

/** `shows`: whether this caller's list has a type. `everybody`: it has every type for every caller. */
export async function listTriggers(
  catalog: Catalog,
  shows: (name: string) => boolean | Promise<boolean>,
  everybody: boolean,
  params: ListTriggersParams,
): Promise<ListTriggersResult | ListTriggersNotModified> {
  const all: TriggerType[] = [];
  for (const type of catalog.all()) if (await shows(type.name)) all.push(type);
  const etag = catalog.etagOf(all);
  const cache = {
    etag,
    ttlMs: TTL_MS,
    cacheScope: everybody ? ('public' as const) : ('private' as const),
  };
  if (params.ifNoneMatch === etag && params.cursor === undefined)
    return { notModified: true, ...cache };
  const from = params.cursor === undefined ? 0 : indexAfter(all, params.cursor);
  const triggers = all.slice(from, from + PAGE);
  const last = triggers.at(-1);
  const more = from + PAGE < all.length && last !== undefined;
  return { triggers, ...(more ? { nextCursor: cursorAt(last.name) } : {}), ...cache };
}

const cursorAt = (name: string): string => Buffer.from(`n${name}`).toString('base64url');

function indexAfter(all: readonly { readonly name: string }[], cursor: string): number {
  const text = Buffer.from(cursor, 'base64url').toString('utf8');
  if (!text.startsWith('n'))
    throw invalidParams('/cursor', 'a nextCursor that triggers/list returned');
  const at = all.findIndex(({ name }) => name > text.slice(1));
  return at === -1 ? all.length : at;
}
