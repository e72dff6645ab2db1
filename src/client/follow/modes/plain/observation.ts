/**
 * Reads the state of a resource, a list or a tool as a hash, and turns a different hash into an
 * event. Everything is bounded, because a server decides how much it sends (SEP: When a peer lacks
 * the extension).
 */
import type { Clock } from '../../../../protocol/lib/clock.ts';
import { canonicalJson, sha256 } from '../../../../protocol/wire/canonical.ts';
import { LocalError } from '../../../../protocol/wire/errors.ts';
import type { Connection } from '../../../sdk/connection.ts';
import {
  listPage,
  readResource,
  type McpCallOptions,
  type ListPage,
} from '../../../sdk/mcp-calls.ts';
import { misbehaved } from '../../../sdk/peer-error.ts';
import type { ModeYield } from '../../types.ts';
import type { Subject } from './subject.ts';

const MIB = 1024 * 1024;
/** Largest state, as canonical JSON in UTF-8. */
const OBSERVATION_BYTES_MAX = 4 * MIB;
/** Most pages of a list. */
const LIST_PAGES_MAX = 1000;

/** The state of something at the time it was read. */
export interface Observation {
  /** Equal for equal content. */
  readonly hash: string;
  /** The `data` of the event. */
  readonly data: unknown;
  /** Milliseconds for which the state stays fresh, as the server names them. */
  readonly ttlMs?: number;
}

/** Reads a subject once. Rejects as {@link Connection.call} does. */
export async function observe(
  connection: Connection,
  { kind, uri }: Subject,
  options: McpCallOptions,
): Promise<Observation> {
  if (uri === undefined) return observeList(connection, kind, options);
  const { contents, ttlMs } = await readResource(connection, uri, options);
  return observationOf(canonicalText(contents), { uri, contents }, ttlMs);
}

/**
 * Yields every page of a list in turn. Throws `LocalError` `peer_misbehaved` for a list that does
 * not end.
 */
export async function* pagesOf(
  connection: Connection,
  kind: Subject['kind'],
  options: McpCallOptions,
): AsyncGenerator<ListPage, void> {
  let cursor: string | undefined;
  for (let pages = 1; ; pages++) {
    const page = await listPage(connection, kind, cursor, options);
    yield page;
    if (page.nextCursor === undefined) return;
    if (page.nextCursor === cursor)
      throw misbehaved('pages', 'a page of a list names itself as the next one');
    if (pages === LIST_PAGES_MAX)
      throw misbehaved('pages', `a list has more than ${LIST_PAGES_MAX} pages`);
    cursor = page.nextCursor;
  }
}

async function observeList(
  connection: Connection,
  kind: Subject['kind'],
  options: McpCallOptions,
): Promise<Observation> {
  const items: object[] = [];
  const texts: string[] = [];
  let ttlMs: number | undefined;
  let bytes = 0;
  for await (const page of pagesOf(connection, kind, options)) {
    for (const item of page.items) {
      const text = canonicalText(item);
      bytes += Buffer.byteLength(text);
      assertSize(bytes);
      items.push(item);
      texts.push(text);
    }
    ttlMs = shorter(ttlMs, page.ttlMs);
  }
  // A list is a set: its order does not count.
  return observationOf(texts.sort().join('\n'), { items }, ttlMs);
}

const shorter = (a: number | undefined, b: number | undefined): number | undefined =>
  a === undefined || b === undefined ? (a ?? b) : Math.min(a, b);

/**
 * Makes the observation of a text that represents all of the content. Throws `LocalError`
 * `not_supported` when the text is too large.
 */
export function observationOf(text: string, data: unknown, ttlMs?: number): Observation {
  assertSize(Buffer.byteLength(text));
  return { hash: sha256(text), data, ...(ttlMs === undefined ? {} : { ttlMs }) };
}

/**
 * Returns equal texts for equal content. Throws `LocalError` `peer_misbehaved` for content without
 * a canonical form.
 */
export function canonicalText(value: unknown): string {
  try {
    return canonicalJson(value);
  } catch (cause) {
    throw misbehaved('result', 'the content has no canonical form', cause);
  }
}

function assertSize(bytes: number): void {
  if (bytes <= OBSERVATION_BYTES_MAX) return;
  throw new LocalError(
    'not_supported',
    `The content is larger than ${OBSERVATION_BYTES_MAX} bytes. Follow something smaller.`,
    { reason: 'too_large' },
  );
}

/**
 * Turns observations into events: an observation that differs from the one before is an event.
 * Changes between the two stay unknown. A gap reports the time between the earlier run and this
 * one.
 */
export class ChangeDetector {
  readonly #name: string;
  readonly #clock: Clock;
  /** The hash of the last observation. */
  #last: string | undefined;
  #hasBegun = false;

  /** `mark`: the hash that an earlier run has left. */
  constructor(
    name: string,
    { mark, clock }: { readonly mark: string | undefined; readonly clock: Clock },
  ) {
    this.#name = name;
    this.#last = mark;
    this.#clock = clock;
  }

  isChanged({ hash }: Observation): boolean {
    return hash !== this.#last;
  }

  /** Yields what an observation means. Call it once per observation, in order. */
  *detect(observation: Observation): Generator<ModeYield> {
    const { hash, data } = observation;
    const before = this.#last;
    const isResumed = !this.#hasBegun && before !== undefined;
    const isChanged = this.isChanged(observation);
    this.#hasBegun = true;
    this.#last = hash;
    if (isResumed) yield { type: 'gap', reason: 'unwatched' };
    if (!isChanged) return;
    // The very first observation is not an event: later ones are compared with it.
    if (before === undefined) yield { type: 'mark', mark: hash };
    else
      yield {
        type: 'event',
        event: {
          eventId: hash,
          name: this.#name,
          timestamp: new Date(this.#clock.now()).toISOString(),
          data,
        },
        mark: hash,
      };
  }
}
