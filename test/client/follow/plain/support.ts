/**
 * Shared by the tests of the fallback modes: one mode on one connection, read into a list that
 * cannot hang.
 */
import assert from 'node:assert/strict';
import type { TestContext } from 'vitest';
import type { Selection } from '../../../../spec-schema/draft/schema.ts';
import {
  connect,
  type ConnectOptions,
  type Connection,
  type Target,
} from '../../../../src/client/sdk/connection.ts';
import type {
  Otherwise,
  Mode,
  ModeContext,
  ModeYield,
} from '../../../../src/client/follow/types.ts';
import { systemClock } from '../../../../src/protocol/lib/clock.ts';
import { NOTICE } from '../../../interop/peers/servers/board.ts';
import { pause } from '../../peer.ts';
import { until, within } from '../../support.ts';

export const NOTICE_UPDATED: Selection = {
  name: 'mcp.resource.updated',
  arguments: { uri: NOTICE },
};
export const TOOLS_CHANGED: Selection = { name: 'mcp.tools.list_changed' };

/** Reads often, and treats silence as no change. */
export const QUICK: ModeContext['tuning'] = { pollMs: 20, pollFloorMs: 5, silenceMs: 20_000 };

export async function reached(
  test: TestContext,
  target: Target,
  options?: ConnectOptions,
): Promise<Connection> {
  const connection = await connect(target, options);
  test.onTestFinished(() => connection.close());
  return connection;
}

/** How a mode ended: by itself, or with an error. */
interface Outcome {
  readonly error?: Error & { code?: string | number; reason?: string };
}

/** A running mode. */
export interface Run {
  readonly yields: ModeYield[];
  readonly outcome: Promise<Outcome>;
  /** Its items as text. */
  words(): string[];
  /** Waits until the mode has yielded `count` items; fails when it ends earlier. */
  has(count: number): Promise<string[]>;
  /** Waits for the first item; false when the mode ends without one. */
  begins(): Promise<boolean>;
  stop(): void;
}

export interface RunOptions {
  readonly otherwise?: Otherwise;
  readonly mark?: string | undefined;
  readonly tuning?: Partial<ModeContext['tuning']>;
}

/** Starts a mode that the server must offer; it stops when the test is over. */
export async function started(
  test: TestContext,
  mode: Mode,
  connection: Connection,
  selection: Selection,
  options: RunOptions = {},
): Promise<Run> {
  const stop = new AbortController();
  test.onTestFinished(() => stop.abort());
  const offer = await mode.offer(
    connection,
    { selection, otherwise: options.otherwise, callback: undefined },
    stop.signal,
  );
  assert.ok(offer, `${mode.name} is not offered`);
  const yields: ModeYield[] = [];
  let ended: Outcome | undefined;
  const context = {
    connection,
    clock: systemClock,
    signal: stop.signal,
    mark: options.mark,
    tuning: { ...QUICK, ...options.tuning },
  };
  const outcome = (async (): Promise<Outcome> => {
    try {
      for await (const one of offer.run(context)) yields.push(one);
      return {};
    } catch (error) {
      return { error: error as Error };
    }
  })().then((how) => (ended = how));
  const words = (): string[] => yields.map(wordsOf);
  return {
    yields,
    outcome: within(outcome, 60_000),
    words,
    stop: () => stop.abort(new Error('stopped')),
    async has(count) {
      await until(() => yields.length >= count || ended !== undefined);
      assert.ok(
        yields.length >= count,
        `ended after ${JSON.stringify(words())} with ${ended?.error?.stack}`,
      );
      return words();
    },
    async begins() {
      await until(() => yields.length > 0 || ended !== undefined);
      return yields.length > 0;
    },
  };
}

function wordsOf(one: ModeYield): string {
  switch (one.type) {
    case 'gap':
      return `gap ${one.reason}`;
    case 'event':
      return `event ${shown(one.event.data as Shown)}`;
    default:
      return one.type;
  }
}

interface Shown {
  readonly contents?: readonly { text: string }[];
  readonly items?: readonly { name: string }[];
  readonly result?: { readonly content: readonly { text: string }[] };
}

const shown = ({ contents, items, result }: Shown): string =>
  contents?.map(({ text }) => text).join() ??
  items?.map(({ name }) => name).join() ??
  result!.content.map(({ text }) => text).join();

const ATTEMPTS_MAX = 200;

/** Restarts the mode after every temporary error, as the follower does, until it yields an item. */
export async function resumed(
  t: TestContext,
  mode: Mode,
  connection: Connection,
  selection: Selection,
  options: RunOptions,
): Promise<Run> {
  for (let attempts = 0; attempts < ATTEMPTS_MAX; attempts++) {
    const run = await started(t, mode, connection, selection, options);
    if (await run.begins()) return run;
    const { error } = await run.outcome;
    assert.ok(
      ['unreachable', 'timeout'].includes(String(error?.code)),
      `not a temporary error: ${error?.stack}`,
    );
    await pause(50);
  }
  throw new Error('the mode never recovered');
}

/** The last mark of the items. */
export const markOf = ({ yields }: Run): string | undefined =>
  yields
    .map((one) => ('mark' in one ? one.mark : undefined))
    .findLast((mark) => mark !== undefined);
