/** Shared by the client's tests: a connected client and a way to read items that cannot hang. */
import type { TestContext } from 'vitest';
import { connect, type ConnectOptions, type Target } from '../../src/client/sdk/connection.ts';
import { triggersClient, type TriggersClient } from '../../src/client/client.ts';
import type { Item, SubscribeOptions, Tuning } from '../../src/client/options.ts';
import type { TriggersSubscription } from '../../src/client/subscription/subscription.ts';

export const SELECT = [{ name: 'timer' }];
/** Fast, so that a test of a failure takes milliseconds. */
const FAST: Tuning = {
  backoff: { baseMs: 5, maxMs: 40 },
  waitMs: 200,
  silenceMs: 2000,
  checkMs: 100,
  ackDelayMs: 5,
};

/** Connects a client that is closed when the test is over, even if the test failed. */
export async function connected(
  test: TestContext,
  target: Target,
  options?: ConnectOptions,
): Promise<TriggersClient> {
  const client = triggersClient(await connect(target, options));
  test.onTestFinished(() => client.close());
  return client;
}

/** The subscription and its iterator. */
export function subscribeFast(
  test: TestContext,
  client: TriggersClient,
  options: Partial<SubscribeOptions> = {},
): { subscription: TriggersSubscription; items: AsyncIterator<Item> } {
  const subscription = client.subscribe({
    key: 'k',
    select: SELECT,
    ...options,
    tuning: { ...FAST, ...options.tuning },
  });
  test.onTestFinished(() => subscription.close().catch(() => undefined));
  return { subscription, items: subscription[Symbol.asyncIterator]() };
}

/**
 * The first `count` items; the subscription stays open, and the last item is not acknowledged yet.
 */
export async function take(iterator: AsyncIterator<Item>, count: number): Promise<Item[]> {
  const items: Item[] = [];
  while (items.length < count) {
    const next = await within(iterator.next());
    if (next.done) break;
    items.push(next.value);
  }
  return items;
}

/** Far more than any test takes; it turns a hang into a failure. */
const PATIENCE_MS = 60_000;

export async function within<T>(promise: Promise<T>, ms = PATIENCE_MS): Promise<T> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new Error('nothing happened in time')), ms);
  });
  try {
    return await Promise.race([promise, late]);
  } finally {
    clearTimeout(timer);
  }
}

export async function until(condition: () => boolean): Promise<void> {
  await within(
    (async () => {
      while (!condition())
        await new Promise((resolve) => {
          setTimeout(resolve, 5);
        });
    })(),
  );
}

/** Describes items as text, for comparing. */
export const words = (items: readonly Item[]): string[] =>
  items.map((item) => {
    switch (item.type) {
      case 'event':
        return `${item.position.sequence}`;
      case 'gap':
        return `${item.gap.from}-${item.gap.to} ${item.gap.reason}`;
      case 'elsewhere':
        return `${item.from}-${item.to} elsewhere`;
      case 'epoch':
        return `epoch ${item.previous.sequence}→${item.current.sequence}`;
      case 'lost':
        return `lost ${item.reason} at ${item.last.sequence}${item.final ? ` of ${item.final.head}` : ''}`;
    }
  });
