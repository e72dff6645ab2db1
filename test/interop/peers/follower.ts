/** Our client as an application uses it, following one thing on somebody else's server: what it was given, as words, and what it was promised. */
import { generateKeyPairSync } from 'node:crypto';
import {
  connect,
  memoryLedger,
  triggersClient,
  type Connection,
  type FollowedEvent,
  type FollowGuarantee,
  type Following,
  type FollowItem,
  type FollowOptions,
  type RungChange,
} from 'mcp-triggers-experimental/client';
import { createReceiver, type Receiver } from 'mcp-triggers-experimental/receiver';
import { freePort } from '../../../scripts/demo/server-process.ts';
import { eventually } from '../../journeys/support.ts';
import { serveFetch, type Loopback } from './loopback.ts';

type Target = Parameters<typeof connect>[0];

export interface Follower extends AsyncDisposable {
  readonly connection: Connection;
  readonly following: Following;
  /** In order; changes of rung apart. */
  readonly items: Exclude<FollowItem, { readonly type: 'mode' }>[];
  /** In order. */
  readonly changes: RungChange[];
  /** Resolves when it stands on that rung. */
  stands(rung: FollowGuarantee['mode']): Promise<void>;
  /** Resolves when what it was given so far has one that fits. */
  given(what: string, fits: (item: Follower['items'][number]) => boolean): Promise<void>;
}

export interface FollowerOptions extends Omit<FollowOptions, 'tuning'> {
  readonly pollMs?: number;
}

/** Looks often, and is back soon after a server has died. */
const TUNING = { backoff: { baseMs: 20, maxMs: 200 }, pollMs: 50, pollFloorMs: 10, reprobeMs: 100 };

export async function follow(
  target: Target,
  { pollMs = TUNING.pollMs, ...options }: FollowerOptions,
): Promise<Follower> {
  const connection = await connect(target);
  const following = triggersClient(connection).follow({
    ledger: memoryLedger(),
    ...options,
    tuning: { ...TUNING, pollMs },
  });
  const items: Follower['items'] = [];
  const changes: RungChange[] = [];
  let over: { readonly error?: unknown } | undefined;
  const ended = (async () => {
    for await (const item of following) {
      if (item.type === 'mode') changes.push(item);
      else items.push(item);
    }
  })().then(
    () => (over = {}),
    (error: unknown) => (over = { error }),
  );
  const until = (what: string, met: () => boolean): Promise<unknown> =>
    eventually(what, () => {
      if (over) throw new Error(`It is over before: ${what}`, { cause: over.error });
      return met();
    });
  return {
    connection,
    following,
    items,
    changes,
    stands: async (rung) =>
      void (await until(`it stands on ${rung}`, () => following.guarantee?.mode === rung)),
    given: async (what, fits) => void (await until(what, () => items.some(fits))),
    async [Symbol.asyncDispose]() {
      await following.close().catch(() => undefined);
      await ended;
      await connection.close();
    },
  };
}

/** A server that dies and comes back at the same address. Gone when the test is, whatever became of it. */
export interface Mortal<S> extends AsyncDisposable {
  readonly url: string;
  /** The one that lives, or lived last. */
  readonly now: S;
  dies(): Promise<void>;
  returns(): Promise<void>;
}

/** `start`: with the port that it had before, if it had one. */
export async function mortal<S extends AsyncDisposable & { readonly url: string }>(
  start: (at: { readonly port?: number }) => Promise<S>,
): Promise<Mortal<S>> {
  let now = await start({});
  let lives = true;
  const { url } = now;
  const dies = async (): Promise<void> => {
    if (lives) await now[Symbol.asyncDispose]();
    lives = false;
  };
  return {
    url,
    dies,
    get now() {
      return now;
    },
    async returns() {
      now = await start({ port: Number(new URL(url).port) });
      lives = true;
    },
    [Symbol.asyncDispose]: dies,
  };
}

/** The guarantee as the table shows it. */
export const promised = ({ mode: rung, order, loss, gaps, numbers }: FollowGuarantee): string =>
  `\`${rung}\`: order ${order}, loss ${loss}, gaps ${gaps}, numbers of the ${numbers}`;

/** Changes of rung as words: `chosen listen`, `downgraded read`. */
export const told = ({ changes }: Follower): string[] =>
  changes.map(({ reason, to }) => `${reason} ${to.mode}`);

export const isEvent = (item: FollowItem): item is FollowedEvent => item.type === 'event';

/** The receiving end of our client, which can be away for a while. */
export interface Hook extends AsyncDisposable {
  readonly receiver: Receiver;
  readonly origin: string;
  stop(): Promise<void>;
  start(): Promise<void>;
}

/** On a port of its own. `publicOrigin`: what it is called by those that reach it through a proxy. */
export async function startHook(publicOrigin?: string): Promise<Hook> {
  const serve = (port: number): Promise<Loopback> =>
    serveFetch((request) => receiver.fetch(request), port);
  const port = await freePort();
  const origin = `http://127.0.0.1:${port}`;
  const called = publicOrigin ?? origin;
  const receiver = createReceiver({
    endpoint: `${called}/callback`,
    issuer: called,
    signingKey: generateKeyPairSync('ed25519').privateKey,
  });
  let loopback: Loopback | undefined = await serve(port);
  const stop = async (): Promise<void> => {
    await loopback?.[Symbol.asyncDispose]();
    loopback = undefined;
  };
  return {
    receiver,
    origin,
    stop,
    start: async () => void (loopback = await serve(port)),
    [Symbol.asyncDispose]: stop,
  };
}
