/**
 * Measures callback deliveries: throughput, batches, the server's signature, and the latency from
 * emit to receipt.
 */
import { generateDeliveryKey, type EngineOptions } from 'mcp-triggers-experimental/server';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { Agent, type Dispatcher } from 'undici';
import {
  CALLER,
  filler,
  interleaved,
  logs,
  median,
  percentile,
  perSecond,
  sleep,
  spread,
  startEngine,
  startReceiver,
  type Bench,
  type Receiver,
  type Row,
} from './harness.ts';

const BODY_BYTES = 700;

async function subscribeLogs(bench: Bench, receiver: Receiver, count: number): Promise<void> {
  for (let log = 0; log < count; log += 1) {
    await bench.engine.subscribe(CALLER, {
      key: `log-${log}`,
      select: [{ name: logs.type.name, arguments: { log } }],
      callback: { url: `http://127.0.0.1:${receiver.port}/hook/${log}`, secret: receiver.secret },
      noExpiry: true,
    });
  }
}

/**
 * Emits `total` events, distributed over `count` logs, as fast as they are accepted. Waits until
 * the receiver has all of them. Resolves with events per second.
 */
async function deliver(
  bench: Bench,
  receiver: Receiver,
  count: number,
  total: number,
): Promise<number> {
  const data = filler(BODY_BYTES);
  await receiver.counted();
  const startedAt = performance.now();
  // A few thousand events in flight keep every log busy. More would measure the emitter.
  const pending = new Set<Promise<unknown>>();
  for (let at = 0; at < total; at += 1) {
    const one: Promise<unknown> = bench.engine
      .emit({
        name: logs.type.name,
        eventId: `${startedAt}-${at}`,
        data: { log: at % count, data },
      })
      .finally(() => pending.delete(one));
    pending.add(one);
    if (pending.size >= 2048) await Promise.race(pending);
  }
  await Promise.all(pending);
  let seen = 0;
  while (seen < total) {
    await sleep(5);
    seen += (await receiver.counted()).events;
  }
  return (total / (performance.now() - startedAt)) * 1000;
}

/**
 * Measures the limit: the same HTTP client posts bodies of the same size to the same receiver, 64
 * at once, without this library.
 */
async function rawPosts(agent: Agent, receiver: Receiver, total: number): Promise<number> {
  const body = Buffer.from(
    JSON.stringify({
      jsonrpc: '2.0',
      method: 'notifications/triggers/delivery',
      params: {
        subscriptionId: 'sub_0123456789abcdef0123456789abcdef',
        key: 'log-1',
        epoch: '0123456789abcdef012345',
        afterSequence: 0,
        head: 1,
        acked: 0,
        etag: 'abcdefgh-1',
        events: [
          {
            sequence: 1,
            eventId: '1234',
            name: 'bench.log',
            timestamp: '2026-11-21T09:30:00.000Z',
            data: { log: 1, data: filler(BODY_BYTES) },
          },
        ],
      },
    }),
  );
  const options: Dispatcher.DispatchOptions = {
    origin: `http://127.0.0.1:${receiver.port}`,
    path: '/hook/1',
    method: 'POST',
    body,
    headers: {
      'content-type': 'application/json',
      'webhook-id': 'msg_0123456789abcdef0123456789abcdef',
      'webhook-timestamp': '1795254761',
      'webhook-signature': 'v1,FF8080klKhrmt4UJLsQkWTxpnKgq07pyLS06MQBKuww=',
      'mcp-subscription-id': 'sub_0123456789abcdef0123456789abcdef',
    },
  };
  const startedAt = performance.now();
  await new Promise<void>((resolve, reject) => {
    let sent = 0;
    let done = 0;
    const next = (): void => {
      if (sent >= total) return;
      sent += 1;
      agent.dispatch(options, {
        onRequestStart: () => undefined,
        onResponseStart: () => undefined,
        onResponseData: () => undefined,
        onResponseEnd: () => {
          done += 1;
          if (done === total) resolve();
          else next();
        },
        onResponseError: (_controller: unknown, error: Error) => reject(error),
      });
    };
    for (let at = 0; at < 64; at += 1) next();
  });
  return (total / (performance.now() - startedAt)) * 1000;
}

/**
 * Measures the limit of batches: rows per second into SQLite, 100 per commit, `synchronous=FULL`.
 */
function rawRows(total: number): number {
  const folder = mkdtempSync(join(tmpdir(), 'mcp-triggers-bench-'));
  const database = new DatabaseSync(join(folder, 'raw.db'));
  database.exec(
    'PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL; CREATE TABLE t (id INTEGER PRIMARY KEY, body TEXT)',
  );
  const insert = database.prepare('INSERT INTO t VALUES (?, ?)');
  const body = filler(BODY_BYTES + 120);
  const startedAt = performance.now();
  for (let at = 0; at < total; at += 100) {
    database.exec('BEGIN');
    for (let row = 0; row < 100; row += 1) insert.run(at + row, body);
    database.exec('COMMIT');
  }
  const rate = (total / (performance.now() - startedAt)) * 1000;
  database.close();
  rmSync(folder, { recursive: true, force: true });
  return rate;
}

async function withLogs<T>(
  receiver: Receiver,
  count: number,
  options: Partial<EngineOptions>,
  work: (bench: Bench) => Promise<T>,
): Promise<T> {
  const bench = await startEngine(options);
  try {
    await subscribeLogs(bench, receiver, count);
    return await work(bench);
  } finally {
    await bench.close();
  }
}

export async function callbackBench(rounds: number): Promise<Row[]> {
  const receiver = await startReceiver();
  const agent = new Agent({ connections: 64, pipelining: 1 });
  try {
    const single = await startEngine({ batchEvents: 1 });
    const signed = await startEngine({
      batchEvents: 1,
      deliveryKey: generateDeliveryKey(),
      resource: 'https://bench.example/mcp',
    });
    const batched = await startEngine();
    await subscribeLogs(single, receiver, 256);
    await subscribeLogs(signed, receiver, 256);
    await subscribeLogs(batched, receiver, 16);
    const total = 20_000;
    await rawPosts(agent, receiver, 5_000);
    await deliver(single, receiver, 256, 5_000);
    await deliver(signed, receiver, 256, 5_000);
    const rates = await interleaved(rounds, {
      raw: () => rawPosts(agent, receiver, total),
      single: () => deliver(single, receiver, 256, total),
      signed: () => deliver(signed, receiver, 256, total),
      rows: async () => rawRows(50_000),
      batched: () => deliver(batched, receiver, 16, 50_000),
    });
    for (const bench of [single, signed, batched]) await bench.close();
    const rows: Row[] = [
      {
        measure: 'callback, 256 subscriptions, one event per POST, durable, HMAC',
        ours: spread(rates['single']!, perSecond),
        limit: `${perSecond(median(rates['raw']!))} undici dispatch`,
        ratio: (median(rates['single']!) / median(rates['raw']!)).toFixed(2),
        aim: '0.55',
      },
      {
        measure: "the same with the server's own signature (JWS)",
        ours: spread(rates['signed']!, perSecond),
        limit: `${perSecond(median(rates['single']!))} without it`,
        ratio: (median(rates['signed']!) / median(rates['single']!)).toFixed(2),
        aim: '0.70',
      },
      {
        measure: 'callback, 16 subscriptions, up to 100 events per POST',
        ours: spread(rates['batched']!, perSecond),
        limit: `${perSecond(median(rates['rows']!))} SQLite rows, 100 a commit`,
        ratio: (median(rates['batched']!) / median(rates['rows']!)).toFixed(2),
        aim: '0.80',
      },
    ];
    for (const rate of [1000, 5000]) rows.push(...(await latency(receiver, agent, rate)));
    return rows;
  } finally {
    await agent.close();
    await receiver.stop();
  }
}

/**
 * Measures the latency from emit to receipt at a steady rate, beside a durable commit plus a bare
 * POST at the same rate.
 */
async function latency(receiver: Receiver, agent: Agent, rate: number): Promise<Row[]> {
  const seconds = 4;
  const ours = await withLogs(receiver, 64, {}, async (bench) =>
    paced(receiver, rate, seconds, (at) => {
      void bench.engine.emit({
        name: logs.type.name,
        eventId: `${at}`,
        data: {
          log: at % 64,
          madeAt: performance.timeOrigin + performance.now(),
          data: filler(BODY_BYTES),
        },
      });
    }),
  );
  const folder = mkdtempSync(join(tmpdir(), 'mcp-triggers-bench-'));
  const database = new DatabaseSync(join(folder, 'raw.db'));
  database.exec(
    'PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL; CREATE TABLE t (id INTEGER PRIMARY KEY, body TEXT)',
  );
  const insert = database.prepare('INSERT INTO t VALUES (?, ?)');
  const raw = await paced(receiver, rate, seconds, (at) => {
    const body = JSON.stringify({
      after: 0,
      madeAt: performance.timeOrigin + performance.now(),
      events: [{ sequence: 1 }],
      data: filler(BODY_BYTES),
    });
    insert.run(at, body);
    void agent
      .request({
        origin: `http://127.0.0.1:${receiver.port}`,
        path: '/hook/1',
        method: 'POST',
        body,
        headers: { 'content-type': 'application/json' },
      })
      .then((response) => response.body.dump());
  });
  database.close();
  rmSync(folder, { recursive: true, force: true });
  const show = (values: readonly number[]): string =>
    `p50 ${percentile(values, 0.5).toFixed(2)} ms, p99 ${percentile(values, 0.99).toFixed(2)} ms`;
  const ratio = (fraction: number): string =>
    (percentile(ours, fraction) / percentile(raw, fraction)).toFixed(1);
  return [
    {
      measure: `emit to receive at ${rate.toLocaleString('en-US')}/s, 64 subscriptions`,
      ours: show(ours),
      limit: `${show(raw)} commit + bare POST`,
      ratio: `p50 ${ratio(0.5)}, p99 ${ratio(0.99)}`,
      aim: rate === 1000 ? 'p50 1.5, p99 8' : 'p99 12',
    },
  ];
}

async function paced(
  receiver: Receiver,
  rate: number,
  seconds: number,
  send: (at: number) => void,
): Promise<number[]> {
  receiver.latencies.length = 0;
  const startedAt = performance.now();
  let sent = 0;
  while (performance.now() - startedAt < seconds * 1000) {
    const due = Math.floor(((performance.now() - startedAt) / 1000) * rate);
    for (; sent < due; sent += 1) send(sent);
    await sleep(1);
  }
  await sleep(500);
  return receiver.latencies.splice(0);
}
