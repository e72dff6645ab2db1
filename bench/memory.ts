/** Measures the memory of idle subscriptions, and the cost of events beside many of them. */
import {
  CALLER,
  filler,
  logs,
  median,
  perSecond,
  sleep,
  startEngine,
  type Row,
} from './harness.ts';

async function collect(): Promise<number> {
  for (let at = 0; at < 3; at += 1) {
    globalThis.gc?.();
    await sleep(50);
  }
  const { heapUsed, external } = process.memoryUsage();
  return heapUsed + external;
}

export async function memoryBench(): Promise<Row[]> {
  const bench = await startEngine({
    quotas: { subscriptionsPerPrincipal: 1_000_000, loaded: 1_000 },
  });
  const rates: { readonly count: number; readonly rate: number }[] = [];
  let made = 0;
  let bytes = Number.NaN;
  const grow = async (count: number): Promise<void> => {
    while (made < count) {
      await Promise.all(
        Array.from({ length: Math.min(500, count - made) }, (_, at) =>
          bench.engine.subscribe(CALLER, {
            key: `idle-${made + at}`,
            select: [{ name: logs.type.name, arguments: { log: made + at } }],
            noExpiry: true,
          }),
        ),
      );
      made += Math.min(500, count - made);
    }
  };
  for (const count of [100, 10_000, 100_000]) {
    const before = await collect();
    const had = made;
    await grow(count);
    const after = await collect();
    if (count === 100_000) bytes = (after - before) / (made - had);
    // The same hundred logs get events each time. Only the number of the other subscriptions
    // changes.
    const samples: number[] = [];
    for (let round = 0; round < 3; round += 1) {
      const startedAt = performance.now();
      for (let at = 0; at < 3_000; at += 100)
        await Promise.all(
          Array.from({ length: 100 }, (_, log) =>
            bench.engine.emit({ name: logs.type.name, data: { log, data: filler(700) } }),
          ),
        );
      await bench.engine.settled();
      samples.push((3_000 / (performance.now() - startedAt)) * 1000);
    }
    rates.push({ count, rate: median(samples) });
  }
  await bench.close();
  const few = rates[0]!;
  const many = rates.at(-1)!;
  return [
    {
      measure: 'memory of an idle subscription, 100,000 of them',
      ours: `${Math.round(bytes)} B`,
      limit: '-',
      ratio: '-',
      aim: 'at most 1024 B',
    },
    {
      measure: 'events accepted and numbered beside 100,000 subscriptions',
      ours: perSecond(many.rate),
      limit: `${perSecond(few.rate)} beside 100`,
      ratio: (many.rate / few.rate).toFixed(2),
      aim: '0.75',
    },
  ];
}
