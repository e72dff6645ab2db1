/** What deliveries cover, number by number, whichever drain brought them. */
import { RpcError, type Json, type Session } from '../wire/session.ts';
import { lastOf } from './callback-endpoint.ts';
import type { ServerTest } from './scenario.ts';
import type { StreamReader } from './stream-reader.ts';

/** A number of a log, and why it is a gap. */
export type GapNumber = readonly [sequence: number, reason: string];

/** A log is not expected to be trimmed at once when it has more than it promises to keep: when it has so many times as much. */
export const WELL_BEYOND = 8;

/** Numbers that came as events, in the order they came. */
export const sequencesOf = (deliveries: readonly Json[]): number[] =>
  deliveries.flatMap(({ events }) => (events ?? []).map(({ sequence }: Json) => sequence));

/** Numbers that came as gaps, one by one, in the order they came. */
export const gapsOf = (deliveries: readonly Json[]): GapNumber[] =>
  deliveries.flatMap(({ gaps }) =>
    (gaps ?? []).flatMap(({ from, to, reason }: Json) =>
      upTo(from, to).map((sequence): GapNumber => [sequence, reason]),
    ),
  );

/** Every number that is covered, ascending, each as often as it is. */
export const coveredBy = (deliveries: readonly Json[]): number[] =>
  [...sequencesOf(deliveries), ...gapsOf(deliveries).map(([sequence]) => sequence)].sort(
    (a, b) => a - b,
  );

/** `from` … `to`, both included. */
export const upTo = (from: number, to: number): number[] =>
  Array.from({ length: Math.max(0, to - from + 1) }, (_, at) => from + at);

/** Numbers as a person writes them, `1-3, 5`; one that comes twice stands there twice. */
export function spans(numbers: readonly number[]): string {
  const found: [from: number, to: number][] = [];
  for (const number of numbers) {
    const last = found.at(-1);
    if (last !== undefined && number === last[1] + 1) last[1] = number;
    else found.push([number, number]);
  }
  return found.map(([from, to]) => (from === to ? String(from) : `${from}-${to}`)).join(', ');
}

/** Gaps as a person writes them, by reason: `1-130 retention`. */
export const gapSpans = (gaps: readonly GapNumber[]): string =>
  [...new Set(gaps.map(([, reason]) => reason))]
    .map(
      (reason) =>
        `${spans(gaps.filter((gap) => gap[1] === reason).map(([sequence]) => sequence))} ${reason}`,
    )
    .join(', ');

/** Pulls on from `after` until a result has no more. Throws when that takes more than 100 results. */
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
  throw new Error('100 results of triggers/pull did not come to the end of the log');
}

/** Resolves when the log has come to this number. */
export const numbered = (
  t: ServerTest,
  subscriptionId: string,
  head: number,
  mcp: Session = t.mcp,
): Promise<unknown> =>
  t.until(
    `number ${head} to be assigned`,
    async () => (await mcp.request('triggers/get', { subscriptionId })).head >= head,
  );

/** A stream that was refused, or broke off, cannot bring what is waited for. */
export function requireSound(stream: StreamReader): void {
  const { error, broke } = stream.ended ?? {};
  if (error !== undefined)
    throw new Error(`the stream was refused with error ${error.code}: ${error.message}`);
  if (broke !== undefined) throw new Error(`the stream broke off: ${String(broke)}`);
}

/** Resolves when the stream has covered this number. Throws when it is refused or breaks, because nothing can come then. */
export const streamed = (t: ServerTest, stream: StreamReader, sequence: number): Promise<unknown> =>
  t.until(`number ${sequence} on the stream`, () => {
    requireSound(stream);
    return stream.deliveries.some((delivery) => lastOf(delivery) >= sequence);
  });

/** Resolves when a delivery of the stream has carried this number: one that only stands behind it, as a heartbeat does, is not enough. */
export const carried = (t: ServerTest, stream: StreamReader, sequence: number): Promise<unknown> =>
  t.until(`number ${sequence} on the stream`, () => {
    requireSound(stream);
    return stream.deliveries.some(
      (delivery) => delivery.after < sequence && lastOf(delivery) >= sequence,
    );
  });

/** The error that a request is answered with, of whichever method: a stream that opens is closed again. Throws when there is none. */
export async function refusalOf(
  t: ServerTest,
  method: string,
  params: Json,
  mcp: Session = t.mcp,
): Promise<RpcError> {
  if (method !== 'triggers/stream') return mcp.refusal(method, params);
  const stream = await t.stream(params, mcp);
  await t.until(
    'a first message on the stream',
    () => stream.messages.length > 0 || stream.ended !== undefined,
  );
  stream.close();
  const { error } = stream.ended ?? {};
  if (error === undefined) throw new Error('triggers/stream was not refused');
  return new RpcError(error, 200);
}
