/** Shared by the follower's tests: a fast follower, and its items as text. */
import { generateKeyPairSync } from 'node:crypto';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import type { TestContext } from 'vitest';
import { getRequestListener } from '@hono/node-server';
import {
  connect,
  type ConnectOptions,
  type HttpTarget,
} from '../../../src/client/sdk/connection.ts';
import { triggersClient } from '../../../src/client/client.ts';
import type { Following } from '../../../src/client/follow/following.ts';
import type {
  FollowGuarantee,
  FollowItem,
  FollowOptions,
  FollowTuning,
} from '../../../src/client/follow/types.ts';
import {
  createReceiver,
  type Receiver,
  type ReceiverOptions,
} from '../../../src/receiver/receiver.ts';
import { within } from '../support.ts';

export const SELECT = [{ name: 'timer' }];
const FAST: FollowTuning = {
  backoff: { baseMs: 5, maxMs: 30 },
  pollMs: 20,
  pollFloorMs: 5,
  silenceMs: 2000,
  reprobeMs: 40,
};

export interface Follower {
  readonly following: Following;
  /** The next item. */
  next(): Promise<FollowItem>;
  /** The next items as text, changes of mode included. */
  words(count: number): Promise<string[]>;
  /** The next items that are not changes of mode, as text. */
  items(count: number): Promise<string[]>;
  /** The next change of mode. */
  change(): Promise<string>;
  /** The end of the iteration: `ended`, its error, or an unexpected item. Skips changes of mode. */
  ended(): Promise<unknown>;
}

/** Connects to the server; closes when the test is over. */
export async function followed(
  test: TestContext,
  target: string | HttpTarget,
  options: Partial<FollowOptions> = {},
  connecting: ConnectOptions = {},
): Promise<Follower> {
  const connection = await connect(
    typeof target === 'string' ? { url: target } : target,
    connecting,
  );
  const following = triggersClient(connection).follow({
    select: SELECT,
    ...options,
    tuning: { ...FAST, ...options.tuning },
  });
  test.onTestFinished(async () => {
    await following.close().catch(() => undefined);
    await connection.close();
  });
  const iterator = following[Symbol.asyncIterator]();
  const next = async (): Promise<FollowItem> => {
    const { done, value } = await within(iterator.next());
    if (done) throw new Error('the iteration ended');
    return value;
  };
  const collect = async (
    count: number,
    isWanted: (item: FollowItem) => boolean,
  ): Promise<string[]> => {
    const found: string[] = [];
    while (found.length < count) {
      const item = await next();
      if (isWanted(item)) found.push(wordOf(item));
    }
    return found;
  };
  return {
    following,
    next,
    words: (count) => collect(count, () => true),
    items: (count) => collect(count, ({ type }) => type !== 'mode'),
    change: async () => (await collect(1, () => true))[0]!,
    ended: async () => {
      try {
        for (;;) {
          const { done, value } = await within(iterator.next());
          if (done) return 'ended';
          if (value.type !== 'mode') return wordOf(value);
        }
      } catch (error) {
        return error;
      }
    },
  };
}

const guaranteeWords = ({ mode, drain, loss, gaps, numbers }: FollowGuarantee): string =>
  `${mode}${drain ? ` by ${drain}` : ''}: ${loss}, ${gaps}, ${numbers}`;

function wordOf(item: FollowItem): string {
  switch (item.type) {
    case 'event':
      return `${item.event.eventId}${item.number.by === 'server' ? ` #${item.number.sequence}` : ''}`;
    case 'gap':
      return `gap ${item.reason}${item.numbers ? ` ${item.numbers.from}-${item.numbers.to}` : ''}`;
    case 'mode':
      return `${item.reason} ${guaranteeWords(item.to)}`;
    case 'epoch':
      return `epoch after ${item.previous.sequence}`;
    case 'lost':
      return `lost ${item.reason} after ${item.last.sequence}`;
  }
}

/** A callback endpoint on loopback. */
export async function startReceiver(
  test: TestContext,
  options: Partial<ReceiverOptions> = {},
): Promise<Receiver & { readonly refused: string[] }> {
  const refused: string[] = [];
  let receiver: Receiver | undefined;
  const listener = getRequestListener((request) => receiver!.fetch(request), {
    overrideGlobalObjects: false,
  });
  const server = createServer((request, response) => void listener(request, response));
  await new Promise<void>((resolve) => {
    server.listen(0, '127.0.0.1', () => resolve());
  });
  test.onTestFinished(
    () =>
      new Promise<void>((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  );
  const origin = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  receiver = createReceiver({
    endpoint: `${origin}/callback`,
    issuer: origin,
    signingKey: generateKeyPairSync('ed25519').privateKey,
    answerWithinMs: 1000,
    onRejectedRequest: (code) => refused.push(code),
    ...options,
  });
  return Object.assign(receiver, { refused });
}
