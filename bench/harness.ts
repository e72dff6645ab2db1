/**
 * Helpers of the benchmarks: the process of the receiver, an engine with a real store in a
 * temporary folder, medians, and a table.
 */
import { fork, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { randomBytes } from 'node:crypto';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import {
  createEgress,
  createEngine,
  defineTrigger,
  type Engine,
  type EngineOptions,
} from 'mcp-triggers-experimental/server';
import { sqliteStore } from 'mcp-triggers-experimental/stores/sqlite';

export interface Receiver {
  readonly port: number;
  readonly secret: string;
  readonly latencies: number[];
  counted(): Promise<{ readonly posts: number; readonly events: number }>;
  stop(): Promise<void>;
}

/** Starts `receiver.ts` in its own process. */
export async function startReceiver(): Promise<Receiver> {
  const bytes = randomBytes(32).toString('base64');
  const child: ChildProcess = fork(join(import.meta.dirname, 'receiver.ts'), [bytes], {
    execArgv: [],
  });
  const latencies: number[] = [];
  const [first] = (await once(child, 'message')) as [{ port: number }];
  child.on('message', (message: { latencyMs?: number }) => {
    if (message.latencyMs !== undefined) latencies.push(message.latencyMs);
  });
  return {
    port: first.port,
    secret: `whsec_${bytes}`,
    latencies,
    async counted() {
      child.send('count');
      for (;;) {
        const [message] = (await once(child, 'message')) as [{ posts?: number; events?: number }];
        if (message.posts !== undefined)
          return { posts: message.posts, events: message.events ?? 0 };
      }
    },
    async stop() {
      child.send('stop');
      await once(child, 'exit');
    },
  };
}

/** A trigger type whose argument `log` selects the log of one subscription. */
export const logs = defineTrigger({
  name: 'bench.log',
  description: 'One log of a benchmark.',
  input: { type: 'object', properties: { log: { type: 'integer' } } },
  payload: { type: 'object' },
});

export interface Bench {
  readonly engine: Engine;
  close(): Promise<void>;
}

/**
 * Starts an engine with production settings: a durable store (`synchronous=FULL`) and the real
 * egress.
 */
export async function startEngine(options: Partial<EngineOptions> = {}): Promise<Bench> {
  const folder = mkdtempSync(join(tmpdir(), 'mcp-triggers-bench-'));
  const engine = createEngine({
    store: sqliteStore({ path: join(folder, 'bench.db'), key: randomBytes(32) }),
    egress: createEgress({ unsafeAllowHttpLoopback: true }),
    triggers: [logs],
    quotas: { subscriptionsPerPrincipal: 1_000_000 },
    ...options,
  });
  await engine.start();
  return {
    engine,
    async close() {
      await engine.close();
      rmSync(folder, { recursive: true, force: true });
    },
  };
}

export const CALLER = { principal: 'bench' };

/** Returns text that is about this many bytes as JSON. */
export const filler = (bytes: number): string => 'x'.repeat(bytes);

export function percentile(values: readonly number[], fraction: number): number {
  const sorted = [...values].sort((a, b) => a - b);
  return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * fraction))] ?? Number.NaN;
}

export const median = (values: readonly number[]): number => percentile(values, 0.5);

export const sleep = (ms: number): Promise<void> =>
  new Promise((resolve) => setTimeout(resolve, ms));

/**
 * Runs the measurements in turn, so that changes in the speed of the machine affect all of them.
 */
export async function interleaved(
  rounds: number,
  runs: Readonly<Record<string, () => Promise<number>>>,
): Promise<Record<string, number[]>> {
  const results: Record<string, number[]> = Object.fromEntries(
    Object.keys(runs).map((name) => [name, []]),
  );
  for (let round = 0; round < rounds; round += 1) {
    for (const [name, run] of Object.entries(runs)) results[name]!.push(await run());
  }
  return results;
}

export interface Row {
  readonly measure: string;
  readonly ours: string;
  readonly limit: string;
  readonly ratio: string;
  readonly aim: string;
}

export const perSecond = (value: number): string =>
  `${Math.round(value).toLocaleString('en-US')}/s`;
export const spread = (values: readonly number[], format: (value: number) => string): string =>
  `${format(median(values))} [${format(Math.min(...values))} to ${format(Math.max(...values))}]`;

export function print(rows: readonly Row[]): void {
  const head: Row = {
    measure: 'measure',
    ours: 'ours',
    limit: 'raw limit, same run',
    ratio: 'ratio',
    aim: 'aim',
  };
  const columns = ['measure', 'ours', 'limit', 'ratio', 'aim'] as const;
  const width = Object.fromEntries(
    columns.map((column) => [
      column,
      Math.max(...[head, ...rows].map((row) => row[column].length)),
    ]),
  );
  for (const row of [head, ...rows])
    console.log(
      columns
        .map((column) => row[column].padEnd(width[column]!))
        .join('  ')
        .trimEnd(),
    );
}
