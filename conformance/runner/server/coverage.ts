/** The sequence numbers that deliveries of any drain cover. */
import { RpcError, type Json, type Session } from '../wire/session.ts';
import { lastOf } from './callback-endpoint.ts';
import type { ServerTest } from './scenario.ts';
import type { StreamReader } from './stream-reader.ts';

/** A sequence number and its gap reason. */
export type GapNumber = readonly [sequence: number, reason: string];

/**
 * Multiple of the announced retention that a scenario emits before it expects a trimmed log, because
 * a server may trim late.
 */
export const WELL_BEYOND = 8;

/** Sequence numbers of the events, in the order received. */
export const sequencesOf = (deliveries: readonly Json[]): number[] =>
  deliveries.flatMap(({ events }) => (events ?? []).map(({ sequence }: Json) => sequence));

/** Sequence numbers of the gaps, in the order received. */
export const gapsOf = (deliveries: readonly Json[]): GapNumber[] =>
  deliveries.flatMap(({ gaps }) =>
    (gaps ?? []).flatMap(({ from, to, reason }: Json) =>
      upTo(from, to).map((sequence): GapNumber => [sequence, reason]),
    ),
  );

/** Every covered sequence number in ascending order, with repetitions. */
export const coveredBy = (deliveries: readonly Json[]): number[] =>
  [...sequencesOf(deliveries), ...gapsOf(deliveries).map(([sequence]) => sequence)].sort(
    (a, b) => a - b,
  );

/** `from` … `to`, both included. */
export const upTo = (from: number, to: number): number[] =>
  Array.from({ length: Math.max(0, to - from + 1) }, (_, at) => from + at);

/** Sequence numbers as text, `1-3, 5`. Repeated numbers repeat. */
export function spans(numbers: readonly number[]): string {
  const found: [from: number, to: number][] = [];
  for (const number of numbers) {
    const last = found.at(-1);
    if (last !== undefined && number === last[1] + 1) last[1] = number;
    else found.push([number, number]);
  }
  return found.map(([from, to]) => (from === to ? String(from) : `${from}-${to}`)).join(', ');
}

/** Gaps as text, by reason: `1-130 retention`. */
export const gapSpans = (gaps: readonly GapNumber[]): string =>
  [...new Set(gaps.map(([, reason]) => reason))]
    .map(
      (reason) =>
        `${spans(gaps.filter((gap) => gap[1] === reason).map(([sequence]) => sequence))} ${reason}`,
    )
    .join(', ');

/** Pulls from `after` until `hasMore` is false, and returns the results. Throws after 100 of them. */
export async function readAll(
  mcp: Session,
  subscriptionId: string,
  after: Json,
  params: object = {},
): Promise<Json[]> {
  const deliveries: Json[] = [];
  for (let from = after; deliveries.length < 100;) {
    const answer = await mcp.request(
      'triggers/pull',
      { subscriptionId, after: from, ...params },
      { validated: false },
    );
    deliveries.push(answer);
    if (answer.hasMore !== true) return deliveries;
    from = { epoch: answer.epoch, sequence: lastOf(answer) };
  }
  throw new Error('100 results of triggers/pull did not reach the end of the log');
}

/** Resolves when the head of the log reaches this sequence number. */
export const untilHead = (
  t: ServerTest,
  subscriptionId: string,
  head: number,
  mcp: Session = t.mcp,
): Promise<unknown> =>
  t.until(
    `sequence number ${head} to be assigned`,
    async () => (await mcp.request('triggers/get', { subscriptionId })).head >= head,
  );

/** Throws when a stream was rejected or dropped: it cannot deliver the awaited event any more. */
export function requireUnbroken(stream: StreamReader): void {
  const { error, broke } = stream.ended ?? {};
  if (error !== undefined)
    throw new Error(`the stream was rejected with error ${error.code}: ${error.message}`);
  if (broke !== undefined) throw new Error(`the stream was dropped: ${String(broke)}`);
}

/** Resolves when the stream covers this sequence number. Throws when it is rejected or dropped. */
export const untilStreamed = (
  t: ServerTest,
  stream: StreamReader,
  sequence: number,
): Promise<unknown> =>
  t.until(`sequence number ${sequence} on the stream`, () => {
    requireUnbroken(stream);
    return stream.deliveries.some((delivery) => lastOf(delivery) >= sequence);
  });

/**
 * Resolves when a delivery of the stream contains this sequence number. A heartbeat whose position
 * is at or after it does not count.
 */
export const untilCarried = (
  t: ServerTest,
  stream: StreamReader,
  sequence: number,
): Promise<unknown> =>
  t.until(`sequence number ${sequence} on the stream`, () => {
    requireUnbroken(stream);
    return stream.deliveries.some(
      (delivery) => delivery.afterSequence < sequence && lastOf(delivery) >= sequence,
    );
  });

/**
 * The error that a request of any method is answered with; closes a stream that opens. Throws when
 * the request succeeds.
 */
export async function errorOf(
  t: ServerTest,
  method: string,
  params: Json,
  mcp: Session = t.mcp,
): Promise<RpcError> {
  if (method !== 'triggers/stream') return mcp.errorOf(method, params);
  const stream = await t.stream(params, mcp);
  await t.until(
    'a first message on the stream',
    () => stream.messages.length > 0 || stream.ended !== undefined,
  );
  stream.close();
  const { error } = stream.ended ?? {};
  if (error === undefined) throw new Error('triggers/stream was not rejected');
  return new RpcError(error, 200);
}
