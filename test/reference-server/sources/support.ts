/** A source on a real engine over a real store, and the log of a subscriber. */
import { randomUUID } from 'node:crypto';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { TestContext } from 'vitest';
import {
  createEgress,
  createEngine,
  LocalError,
  silentLog,
  type Engine,
  type Log,
  type NewEvent,
  type NewGap,
} from 'mcp-triggers-experimental/server';
import { sqliteStore } from 'mcp-triggers-experimental/stores/sqlite';
import type { Emit, Source } from '../../../reference-server/sources/source.ts';

const CALLER = { principal: 'local' };

export interface Seen {
  readonly eventId: string;
  readonly name: string;
  readonly timestamp: string;
  readonly data: Record<string, unknown>;
}

export async function temporaryFolder(t: TestContext): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), 'source-'));
  t.onTestFinished(() => rm(folder, { recursive: true, force: true }));
  return folder;
}

/**
 * Starts an engine with the source's trigger types over the store in `folder`; the source itself is
 * not started.
 */
export async function engineFor(
  t: TestContext,
  source: Source,
  folder: string,
  options: { readonly maxBytes?: number } = {},
): Promise<Engine> {
  const store = sqliteStore({
    path: join(folder, 'triggers.db'),
    key: new Uint8Array(32),
    ...options,
  });
  const engine = createEngine({ store, triggers: source.triggers, egress: createEgress() });
  await engine.start();
  t.onTestFinished(() => engine.close());
  return engine;
}

export const into =
  (engine: Engine): Emit =>
  (event) =>
    engine.emit(event);

export async function subscribe(
  engine: Engine,
  name: string,
  args: Record<string, unknown> = {},
): Promise<string> {
  const { subscriptionId } = await engine.subscribe(CALLER, {
    key: randomUUID(),
    select: [{ name, arguments: args }],
    noExpiry: true,
  });
  return subscriptionId;
}

/** Everything in a subscription's log, read by pulls. */
export async function pullAll(engine: Engine, subscriptionId: string): Promise<Seen[]> {
  await engine.settled();
  const seen: Seen[] = [];
  let position: { readonly epoch: string; readonly sequence: number } | undefined;
  for (;;) {
    const page = (await engine.pull(CALLER, {
      subscriptionId,
      maxEvents: 1000,
      ...(position ? { after: position } : {}),
    })) as Page;
    seen.push(...page.events);
    const last = page.events.at(-1);
    if (!last) return seen;
    position = { epoch: page.epoch, sequence: last.sequence };
  }
}

interface Page {
  readonly epoch: string;
  readonly events: readonly (Seen & { readonly sequence: number })[];
}

/**
 * Accepts events without an engine; rejects with a `LocalError` of this code while `refuse` is set.
 */
export function collector(): {
  readonly emit: Emit;
  readonly events: NewEvent[];
  readonly gaps: NewGap[];
  refuse: string | null;
  /** As `refuse`, for the next event only. */
  refuseOnce: string | null;
  tries: number;
} {
  const ids = new Set<string>();
  const one = {
    events: [] as NewEvent[],
    gaps: [] as NewGap[],
    refuse: null as string | null,
    refuseOnce: null as string | null,
    tries: 0,
    emit: (async (event) => {
      if (!('gap' in event)) one.tries += 1;
      const code = one.refuse ?? one.refuseOnce;
      one.refuseOnce = null;
      if (code !== null) throw new LocalError(code as 'store_full', 'rejected by the test');
      const eventId = event.eventId ?? '';
      const duplicate = eventId !== '' && ids.has(eventId);
      ids.add(eventId);
      const gap = 'gap' in event ? event.gap : null;
      if (!duplicate) {
        if ('gap' in event) one.gaps.push(event);
        else one.events.push(event);
      }
      return { eventId, duplicate, gap };
    }) satisfies Emit,
  };
  return one;
}

export function logLines(): { readonly log: Log; readonly lines: string[] } {
  const lines: string[] = [];
  const line = (fields: object, message: string): void =>
    void lines.push(JSON.stringify({ ...fields, err: undefined, message }));
  return { lines, log: { ...silentLog, info: line, warn: line, error: line } };
}

/** Far more than any test takes, so that a broken test ends. */
const PATIENCE_MS = 90_000;

/** Waits for effects outside the test's control, such as file system events. */
export async function until(holds: () => boolean | Promise<boolean>): Promise<void> {
  const end = Date.now() + PATIENCE_MS;
  while (!(await holds())) {
    if (Date.now() > end) throw new Error(`condition not met: ${holds.toString()}`);
    await pause(20);
  }
}

export const pause = (ms: number): Promise<void> =>
  new Promise((resolve) => setTimeout(resolve, ms));
