/**
 * This library's client as an application uses it, following one thing on a foreign server: its
 * items, as text, and its guarantee.
 */
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
  type ModeChange,
} from 'mcp-triggers-experimental/client';
import { createReceiver, type Receiver } from 'mcp-triggers-experimental/receiver';
import { freePort } from '../../../scripts/demo/server-process.ts';
import { eventually } from '../../journeys/support.ts';
import { serveFetch, type Loopback } from './loopback.ts';

type Target = Parameters<typeof connect>[0];

export interface Follower extends AsyncDisposable {
  readonly connection: Connection;
  readonly following: Following;
  /** In order, without changes of mode. */
  readonly items: Exclude<FollowItem, { readonly type: 'mode' }>[];
  /** In order. */
  readonly changes: ModeChange[];
  /** Resolves when the client is in that mode. */
  stands(mode: FollowGuarantee['mode']): Promise<void>;
  /** Resolves when one of the items so far matches. */
  given(what: string, fits: (item: Follower['items'][number]) => boolean): Promise<void>;
}

export interface FollowerOptions extends Omit<FollowOptions, 'tuning'> {
  readonly pollMs?: number;
}

/** Reads often, and reconnects soon after a server has died. */
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
  const changes: ModeChange[] = [];
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
      if (over) throw new Error(`The iteration ended before: ${what}`, { cause: over.error });
      return met();
    });
  return {
    connection,
    following,
    items,
    changes,
    stands: async (mode) =>
      void (await until(`the client is in mode ${mode}`, () => following.guarantee?.mode === mode)),
    given: async (what, fits) => void (await until(what, () => items.some(fits))),
    async [Symbol.asyncDispose]() {
      await following.close().catch(() => undefined);
      await ended;
      await connection.close();
    },
  };
}

/**
 * A server that dies and comes back at the same address. Stopped when the test ends, even if it
 * fails.
 */
export interface Mortal<S> extends AsyncDisposable {
  readonly url: string;
  /** The running server, or the last one. */
  readonly now: S;
  dies(): Promise<void>;
  returns(): Promise<void>;
}

/** `start`: called with the port of the former server, if there was one. */
export async function mortal<S extends AsyncDisposable & { readonly url: string }>(
  start: (at: { readonly port?: number }) => Promise<S>,
): Promise<Mortal<S>> {
  let now = await start({});
  let isRunning = true;
  const { url } = now;
  const dies = async (): Promise<void> => {
    if (isRunning) await now[Symbol.asyncDispose]();
    isRunning = false;
  };
  return {
    url,
    dies,
    get now() {
      return now;
    },
    async returns() {
      now = await start({ port: Number(new URL(url).port) });
      isRunning = true;
    },
    [Symbol.asyncDispose]: dies,
  };
}

/** The guarantee as the table shows it. */
export const promised = ({ mode, order, loss, gaps, numbers }: FollowGuarantee): string =>
  `\`${mode}\`: order ${order}, loss ${loss}, gaps ${gaps}, numbers of the ${numbers}`;

/** Changes of mode as text: `chosen listen`, `downgraded read`. */
export const told = ({ changes }: Follower): string[] =>
  changes.map(({ reason, to }) => `${reason} ${to.mode}`);

export const isEvent = (item: FollowItem): item is FollowedEvent => item.type === 'event';

/** The receiving end of this library's client, which can be unreachable for a while. */
export interface Hook extends AsyncDisposable {
  readonly receiver: Receiver;
  readonly origin: string;
  stop(): Promise<void>;
  start(): Promise<void>;
}

/** On a port of its own. `publicOrigin`: the origin under which a proxy makes it reachable. */
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
