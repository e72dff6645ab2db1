/**
 * Runs one row: this library's client, unmodified, against a peer that misbehaves in one way, and
 * checks the outcome. Every row checks the same invariants: nothing out of order, nothing twice,
 * nothing acknowledged that was not sent and read, typed errors only, no token in an error, and an
 * end.
 */
import assert from 'node:assert/strict';
import { test } from 'vitest';
import { inspect } from 'node:util';
import type { Drain } from '../../../spec-schema/draft/schema.ts';
import { triggersClient } from '../../../src/client/client.ts';
import { connect, type Connection } from '../../../src/client/sdk/connection.ts';
import type {
  Item,
  SubscribeOptions,
  SubscriptionState,
  Tuning,
} from '../../../src/client/options.ts';
import { LocalError, WireError } from '../../../src/protocol/wire/errors.ts';
import { RemoteError } from '../../../src/protocol/wire/remote-error.ts';
import { words } from '../../client/support.ts';
import { EVENTS, HostilePeer, type Misbehavior } from './peer.ts';

export type Era = '2026-07-28' | '2025-11-25';
export const BOTH_ERAS: readonly Era[] = ['2026-07-28', '2025-11-25'];

/** One misbehavior and the client's expected reaction. */
export interface Row extends Misbehavior {
  readonly name: string;
  /** Requirement ids that the row verifies. */
  readonly proves?: string;
  /** Default: stream and pull. */
  readonly drains?: readonly Drain[];
  /** Default: the modern one. */
  readonly eras?: readonly Era[];
  /**
   * The outcome while the peer keeps misbehaving. `all`: everything is read anyway. `waits …`: this
   * error is reported repeatedly while the client retries. Otherwise the error that ends the
   * subscription. By era where that makes a difference.
   */
  readonly always: string | Readonly<Record<Era, string>>;
  /**
   * The items read in that case, as text; absent: every event for `all`, otherwise nothing; `some`:
   * depends on the timing of messages.
   */
  readonly read?: readonly string[] | 'some';
  /**
   * The items read when the peer keeps the protocol after misbehaving once; absent: every event;
   * false: the client cannot recover.
   */
  readonly healed?: readonly string[] | false;
  readonly options?: Partial<SubscribeOptions>;
  readonly tuning?: Tuning;
  /** Time limit of a call. */
  readonly timeoutMs?: number;
  /** Further checks. */
  readonly also?: (transcript: Transcript) => void;
}

/** Everything that the checks need. */
export interface Transcript {
  readonly items: readonly Item[];
  /** The error that ended it. */
  readonly error: unknown;
  /** The errors that the client waited on, in order. */
  readonly waits: readonly { readonly error: unknown; readonly delayMs: number }[];
  readonly peer: HostilePeer;
  readonly elapsedMs: number;
}

export const TOKEN = 'canary-token-5f1e9a';
export const ALL: readonly string[] = Array.from({ length: EVENTS }, (_, n) => `${n + 1}`);
/** Short limits, so that a failure takes milliseconds. */
const FAST: Tuning = {
  backoff: { baseMs: 5, maxMs: 40 },
  waitMs: 100,
  silenceMs: 60_000,
  checkMs: 100,
  ackDelayMs: 5,
};
/** Repetitions of an error before it counts as the outcome. */
const WAITS_ENOUGH = 3;
/**
 * A recovered peer gets more time than one that always misbehaves, since a busy machine needs it.
 */
const HEALING_FACTOR = 6;
/** After everything has been read, nothing more may come for this long. */
const LINGER_MS = 60;
/** Time for an expected end to come after everything has been read. */
const OVERDUE_MS = 20_000;
/** A hang ends here. */
const PATIENCE_MS = 90_000;

/** Describes an error on one line. */
function describeError(error: unknown): string {
  if (error instanceof LocalError)
    return error.reason === undefined ? error.code : `${error.code} ${error.reason}`;
  if (error instanceof WireError)
    return [error.name, (error.data as { kind?: string } | undefined)?.kind]
      .filter(Boolean)
      .join(' ');
  if (error instanceof RemoteError) return `RemoteError ${error.code}`;
  return error === undefined ? 'no error' : `untyped: ${inspect(error)}`;
}

/** Violations of the invariants of every row. Empty = none. */
export function violations({
  items,
  error,
  waits,
  peer: { said },
}: Pick<Transcript, 'items' | 'error' | 'waits'> & {
  readonly peer: Pick<HostilePeer, 'said'>;
}): string[] {
  const found: string[] = [];
  let last: { epoch: string; sequence: number } | undefined;
  const read = new Map<string, number>();
  for (const item of items) {
    if (item.type === 'epoch' || item.type === 'lost') {
      last = undefined;
      continue;
    }
    const { epoch, sequence } = item.position;
    const first =
      item.type === 'event' ? item.event.sequence : item.type === 'gap' ? item.gap.from : item.from;
    if (last && (epoch !== last.epoch || first !== last.sequence + 1))
      found.push(`${first} of ${epoch} after ${last.sequence} of ${last.epoch}`);
    last = { epoch, sequence };
    read.set(epoch, Math.max(read.get(epoch) ?? 0, sequence));
  }
  const ids = items.flatMap((item) => (item.type === 'event' ? [item.event.eventId] : []));
  if (new Set(ids).size < ids.length) found.push(`an event twice: ${ids.join(' ')}`);
  for (const { epoch, sequence, sent } of said) {
    if (sequence > sent)
      found.push(`acknowledged ${sequence} of ${epoch}, of which ${sent} was sent`);
    if (sequence > (read.get(epoch) ?? 0))
      found.push(
        `acknowledged ${sequence} of ${epoch}, of which the application had ${read.get(epoch) ?? 0}`,
      );
  }
  for (const one of [error, ...waits.map((wait) => wait.error)]) {
    if (describeError(one).startsWith('untyped')) found.push(describeError(one));
    if (inspect(one, { depth: 12, showHidden: true, maxStringLength: null }).includes(TOKEN))
      found.push(`the token is in an error: ${describeError(one)}`);
  }
  return found;
}

/** Runs the client until the outcome is clear. */
export async function runRow(
  given: Row,
  drain: Drain,
  era: Era,
  times = given.times,
): Promise<Transcript> {
  const row = times === undefined ? given : lenient({ ...given, times });
  await using peer = await HostilePeer.start(row);
  const transcript = {
    items: [] as Item[],
    error: undefined as unknown,
    waits: [] as { error: unknown; delayMs: number }[],
    peer,
  };
  const enough = new AbortController();
  const startedAt = performance.now();
  try {
    await within(
      follow(row, drain, era, transcript, times === undefined ? alwaysOf(row, era) : 'all', enough),
    );
  } catch (thrown) {
    enough.abort();
    transcript.error = thrown;
  }
  return { ...transcript, elapsedMs: performance.now() - startedAt };
}

function lenient(row: Row): Row {
  const { timeoutMs, tuning = {} } = row;
  return {
    ...row,
    ...(timeoutMs === undefined ? {} : { timeoutMs: timeoutMs * HEALING_FACTOR }),
    tuning: {
      ...tuning,
      ...(tuning.silenceMs === undefined ? {} : { silenceMs: tuning.silenceMs * HEALING_FACTOR }),
    },
  };
}

async function follow(
  row: Row,
  drain: Drain,
  era: Era,
  {
    items,
    waits,
    peer,
  }: Pick<Transcript, 'peer'> & {
    readonly items: Item[];
    readonly waits: { error: unknown; delayMs: number }[];
  },
  expected: string,
  enough: AbortController,
): Promise<void> {
  const client = triggersClient(await connectTo(row, era, peer.url));
  const onState = (state: SubscriptionState): void => {
    if (state.phase !== 'waiting') return;
    waits.push(state);
    const wanted = expected.startsWith('waits ') ? expected.slice(6) : undefined;
    if (waits.filter((wait) => describeError(wait.error) === wanted).length >= WAITS_ENOUGH)
      enough.abort();
  };
  try {
    const subscription = client.subscribe({
      select: [{ name: 'timer' }],
      key: 'k',
      drain,
      ...row.options,
      signal: enough.signal,
      onState,
      tuning: { ...FAST, ...row.tuning },
    });
    try {
      for await (const item of subscription) {
        items.push(item);
        if ('position' in item && item.position.sequence >= EVENTS)
          setTimeout(() => enough.abort(), expected === 'all' ? LINGER_MS : OVERDUE_MS).unref();
      }
    } finally {
      await subscription.close().catch(() => undefined);
    }
  } finally {
    await client.close();
  }
}

/**
 * Connects, and repeats a handshake that times out: the short timeout of a row is not meant for the
 * handshake, unless a timeout is the expected end.
 */
async function connectTo(row: Row, protocol: Era, url: string): Promise<Connection> {
  for (;;) {
    try {
      return await connect(
        { url, token: TOKEN },
        { protocol, timeoutMs: row.timeoutMs ?? PATIENCE_MS },
      );
    } catch (error) {
      if (row.always === 'timeout' || describeError(error) !== 'timeout') throw error;
    }
  }
}

const alwaysOf = ({ always }: Row, era: Era): string =>
  typeof always === 'string' ? always : always[era];

/** Turns a hang into a named failure. */
export async function within<T>(promise: Promise<T>, ms = PATIENCE_MS): Promise<T> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new Error('the client hangs')), ms);
  });
  try {
    return await Promise.race([promise, late]);
  } finally {
    clearTimeout(timer);
  }
}

/**
 * Fails unless the transcript is what the row expects. `once`: the peer kept the protocol after it
 * had misbehaved.
 */
export function checkRow(
  row: Row,
  transcript: Transcript,
  once: boolean,
  era: Era = '2026-07-28',
): void {
  const { items, error, waits } = transcript;
  assert.deepEqual(violations(transcript), []);
  const expected = once ? 'all' : alwaysOf(row, era);
  const end = expected.startsWith('waits ')
    ? `waits ${waits.map((wait) => describeError(wait.error)).find((one) => `waits ${one}` === expected) ?? describeError(error)}`
    : error === undefined
      ? 'all'
      : describeError(error);
  const expectedRead = once ? row.healed || ALL : (row.read ?? (expected === 'all' ? ALL : []));
  const read = expectedRead === 'some' ? words(items) : expectedRead;
  const waited = waits.map((wait) => describeError(wait.error)).join(', ');
  assert.deepEqual(
    { end, read: words(items) },
    { end: expected, read: [...read] },
    `waited for: ${waited || 'nothing'}`,
  );
  row.also?.(transcript);
}

/** Registers the tests of a table: each row as it is, and each row whose peer recovers. */
export function testRows(rows: readonly Row[]): void {
  for (const row of rows) {
    for (const era of row.eras ?? ['2026-07-28']) {
      for (const drain of row.drains ?? ['stream', 'pull']) {
        const where = `${row.proves ? `[${row.proves}] ` : ''}${row.name}; ${drain}${row.eras ? `, ${era}` : ''}`;
        const always = alwaysOf(row, era);
        test(`${where} → ${always}`, async () =>
          checkRow(row, await runRow(row, drain, era), false, era));
        if (always !== 'all' && row.healed !== false) {
          test(`${where}, once → everything`, async () =>
            checkRow(row, await runRow(row, drain, era, row.times ?? 1), true, era));
        }
      }
    }
  }
}
