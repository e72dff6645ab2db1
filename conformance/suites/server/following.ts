/**
 * Helpers for scenarios about callbacks: a log with waiting events, and waits for the result of an
 * attempt.
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
 * A subscription whose callback finds `count` events waiting, because they are appended while it is
 * paused. The server decides how many of them its first request contains.
 */
export async function loaded(
  t: ServerTest,
  endpoint: CallbackEndpoint,
  count: number,
  params: Json = {},
  data: object = {},
): Promise<Json> {
  const subscription = await t.subscribe({ callback: endpoint.callback, ...params });
  const { subscriptionId } = subscription;
  await t.mcp.request('triggers/update', { subscriptionId, paused: true });
  await t.emit(t.topicOf(subscription), count, { data });
  await t.until(
    `${count} events to be appended`,
    async () => (await t.mcp.request('triggers/get', { subscriptionId })).head >= count,
  );
  await t.mcp.request('triggers/update', { subscriptionId, paused: false });
  return subscription;
}

/** The subscription after this many failures in a row. */
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

export const delivery = (t: ServerTest, endpoint: CallbackEndpoint, n: number): Promise<Hit> =>
  t.until(`delivery ${n} at the callback`, () => endpoint.deliveries[n - 1]);
export const arrived = (
  t: ServerTest,
  endpoint: CallbackEndpoint,
  sequence: number,
): Promise<Json> =>
  t.until(`event ${sequence} at the callback`, () =>
    endpoint.events.find((event) => event.sequence === sequence),
  );
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
    throw new NotApplicable('the server sends one event at a time');
  return hit;
}

/** The server's clock, in milliseconds, at this moment of the kit's clock. */
export const serverTime = (t: ServerTest, at = Date.now()): number => at + t.control.aheadMs;

/** A plain selection without events. */
export const quiet = (t: ServerTest): Json => [
  { name: t.control.type('plain'), arguments: { topic: t.unique('topic') } },
];

/**
 * The error of a call with a callback. When the server limits failed verifications, the clock is
 * advanced; without the verb `advance` the check is not shown.
 */
export async function rejection(t: ServerTest, method: string, params: Json): Promise<RpcError> {
  for (let tries = 0; ; tries += 1) {
    const refused = await t.mcp.errorOf(method, params);
    const { code, data } = refused;
    if (code !== -32025 || typeof data?.retryAfterMs !== 'number' || tries === 3) return refused;
    await t.control.do('advance', { ms: data.retryAfterMs + 1 });
  }
}
