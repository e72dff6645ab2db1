/**
 * Helpers for scenarios about callbacks: they create a log with waiting events, and wait for the
 * result of an attempt.
 */
import { NotApplicable } from '../../runner/observations.ts';
import type { CallbackEndpoint, Hit } from '../../runner/server/callback-endpoint.ts';
import type { ServerTest } from '../../runner/server/scenario.ts';
import type { Json, RpcError } from '../../runner/wire/session.ts';

export const sequences = (deliveries: readonly Json[]): number[] =>
  deliveries.flatMap(({ events }) => (events ?? []).map(({ sequence }: Json) => sequence));
export const upTo = (from: number, to: number): number[] =>
  Array.from({ length: to - from + 1 }, (_, at) => from + at);
export const MINUTE_MS = 60_000;

/**
 * Creates a subscription whose log is filled before it gets its callback, so that `count` numbers
 * wait for the first request. The server decides how many of them that request contains. By
 * default, `fill` emits one event for each number. Returns the subscription with its callback.
 */
export async function loaded(
  t: ServerTest,
  endpoint: CallbackEndpoint,
  count: number,
  {
    fill = (topic) => t.emit(topic, count),
    callback = endpoint.callback,
  }: {
    readonly fill?: (topic: string) => Promise<unknown>;
    readonly callback?: Json;
  } = {},
): Promise<Json> {
  const subscription = await t.subscribe();
  const { subscriptionId } = subscription;
  await fill(t.topicOf(subscription));
  await t.until(
    `${count} numbers to be assigned`,
    async () => (await t.mcp.request('triggers/get', { subscriptionId })).head >= count,
  );
  return t.mcp.request('triggers/update', { subscriptionId, callback });
}

/**
 * The state of the callback: `ok`, `failing` or `suspended`; undefined for a subscription without
 * callback.
 */
export const stateOf = ({ callback }: Json): string | undefined => callback?.state;

/** Resolves with the subscription when its callback has failed this often in a row. */
export const failures = (
  t: ServerTest,
  { subscriptionId }: Json,
  count: number,
  patienceMs?: number,
): Promise<Json> =>
  t.until(
    `failure ${count} of the callback to be recorded`,
    async () => {
      const now = await t.mcp.request('triggers/get', { subscriptionId });
      return now.callback?.health.attempts >= count && now;
    },
    patienceMs,
  );

/** Resolves with the n-th delivery at the callback, counted from 1. */
export const delivery = (t: ServerTest, endpoint: CallbackEndpoint, n: number): Promise<Hit> =>
  t.until(`delivery ${n} at the callback`, () => endpoint.deliveries[n - 1]);
/** Resolves with the event of this sequence number when it arrives at the callback. */
export const arrived = (
  t: ServerTest,
  endpoint: CallbackEndpoint,
  sequence: number,
): Promise<Json> =>
  t.until(`event ${sequence} at the callback`, () =>
    endpoint.events.find((event) => event.sequence === sequence),
  );
/** Resolves when `acked` of the subscription is this sequence number. */
export const acked = (
  t: ServerTest,
  { subscriptionId }: Json,
  sequence: number,
): Promise<boolean> =>
  t.until(
    `sequence number ${sequence} to be acknowledged`,
    async () => (await t.mcp.request('triggers/get', { subscriptionId })).acked === sequence,
  );

/**
 * Requires a delivery of several events. Throws `NotApplicable` when the server sends one at a
 * time.
 */
export function ofSeveral(hit: Hit): Hit {
  if (hit.delivery.events.length < 2)
    throw new NotApplicable('The server sends one event at a time.');
  return hit;
}

/** The time of the server's clock when the kit's clock shows `at`, in epoch milliseconds. */
export const serverTime = (t: ServerTest, at = Date.now()): number => at + t.control.aheadMs;

/** A selection of the plain type that no event matches. */
export const quiet = (t: ServerTest): Json => [
  { name: t.control.type('plain'), arguments: { topic: t.unique('topic') } },
];

/**
 * The error of a call with a callback. When the server rejects the call only because it limits
 * failed verifications, advances the clock and repeats the call; without the verb `advance` the
 * check is `not shown`.
 */
export async function rejection(t: ServerTest, method: string, params: Json): Promise<RpcError> {
  for (let tries = 0; ; tries += 1) {
    const refused = await t.mcp.errorOf(method, params);
    const { code, data } = refused;
    if (code !== -32025 || typeof data?.retryAfterMs !== 'number' || tries === 3) return refused;
    await t.control.do('advance', { ms: data.retryAfterMs + 1 });
  }
}
