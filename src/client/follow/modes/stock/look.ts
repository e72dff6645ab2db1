/** Looking at a resource, or walking all pages of a list, within bounds. */
import { LocalError } from '../../../../protocol/wire/errors.ts';
import type { Connection } from '../../../sdk/connection.ts';
import {
  listPage,
  readResource,
  type AskOptions,
  type PageAnswer,
} from '../../../sdk/mcp-calls.ts';
import {
  canonical,
  LIST_PAGES_MAX,
  observationOf,
  refuseTooLarge,
  type Observation,
} from './observation.ts';
import type { Subject } from './subject.ts';

/** One look, by as many calls as it takes. Rejects as {@link Connection.call} does. */
export async function look(
  connection: Connection,
  { kind, uri }: Subject,
  options: AskOptions,
): Promise<Observation> {
  if (uri === undefined) return lookAtList(connection, kind, options);
  const { contents, ttlMs } = await readResource(connection, uri, options);
  return observationOf(canonical(contents), { uri, contents }, ttlMs);
}

/** Every page of a list in turn. Throws `LocalError` `peer_misbehaved` for a list that does not end. */
export async function* pagesOf(
  connection: Connection,
  kind: Subject['kind'],
  options: AskOptions,
): AsyncGenerator<PageAnswer, void> {
  let cursor: string | undefined;
  for (let pages = 1; ; pages++) {
    const page = await listPage(connection, kind, cursor, options);
    yield page;
    if (page.nextCursor === undefined) return;
    if (page.nextCursor === cursor) throw endless('it names the same page again');
    if (pages === LIST_PAGES_MAX) throw endless(`it has more than ${LIST_PAGES_MAX} pages`);
    cursor = page.nextCursor;
  }
}

const endless = (problem: string): LocalError =>
  new LocalError('peer_misbehaved', `The server's list does not end: ${problem}.`, {
    reason: 'pages',
  });

async function lookAtList(
  connection: Connection,
  kind: Subject['kind'],
  options: AskOptions,
): Promise<Observation> {
  const items: object[] = [];
  const texts: string[] = [];
  let ttlMs: number | undefined;
  let bytes = 0;
  for await (const page of pagesOf(connection, kind, options)) {
    for (const item of page.items) {
      const text = canonical(item);
      bytes += Buffer.byteLength(text);
      refuseTooLarge(bytes);
      items.push(item);
      texts.push(text);
    }
    ttlMs = shorter(ttlMs, page.ttlMs);
  }
  // A list is a set: in another order it is the same.
  return observationOf(texts.sort().join('\n'), { items }, ttlMs);
}

const shorter = (a: number | undefined, b: number | undefined): number | undefined =>
  a === undefined || b === undefined ? (a ?? b) : Math.min(a, b);
