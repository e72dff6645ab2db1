/**
 * The tool that acknowledges and reads on: a pull, in the words of somebody who has tools and nothing else (SEP: Pull). What it answers is the
 * log as every other drain tells it: the same numbers, order, gaps and positions.
 */
import type {
  Event,
  Gap,
  GapReason,
  Position,
  PullResult,
} from '../../../../spec-schema/draft/schema.ts';
import { WireError } from '../../../protocol/wire/errors.ts';
import { isFresh } from '../implicit-subscription.ts';
import { answered, counted, inWords, type ToolAnswer, type ToolContext } from './answer.ts';
import type { CheckArguments, Checked, NextCall, Reset, WatchedEvent } from './schemas.ts';
import { own } from './watch.ts';

export async function check(
  context: ToolContext,
  { watchId, done, maxEvents }: CheckArguments,
): Promise<ToolAnswer> {
  const { engine, caller, leaseMs, now } = context;
  const { subscription, selection } = await own(context, watchId);
  if (!isFresh(subscription, now))
    await engine.update(caller, { subscriptionId: watchId, ttlMs: leaseMs });
  const { delivery, reason } = await read(context, watchId, done, maxEvents);
  const { epoch, after, events, gaps = [], head, expiresAt } = delivery;
  const behind = done !== undefined && reason === null && done.sequence < subscription.acked;
  const reset: Reset | null =
    done === undefined || (reason === null && !behind)
      ? null
      : { reason: reason ?? 'behind', done, from: { epoch, sequence: after } };
  const position: Position = {
    epoch,
    sequence: Math.max(after, events.at(-1)?.sequence ?? 0, gaps.at(-1)?.to ?? 0),
  };
  const next: NextCall = {
    tool: context.names.check,
    arguments: { watchId, done: position },
    // What is handled should be acknowledged at once.
    afterMs: position.sequence > after ? 0 : delivery.nextPollMs,
  };
  const checked: Checked = {
    watchId,
    trigger: selection.name,
    events: events.map(shownOf),
    gaps,
    position,
    remaining: head - position.sequence,
    expiresAt,
    ...(reset === null ? {} : { reset }),
    next,
  };
  return answered(checked, inLines(checked));
}

interface Read {
  readonly delivery: PullResult;
  /** Why `done` was not taken; null = it was. */
  readonly reason: 'epoch' | 'beyond' | null;
}

/** A position that cannot be taken acknowledges nothing, and must not strand who has nothing else to call: the answer begins after what is acknowledged. */
async function read(
  { engine, caller, answerBytes }: ToolContext,
  watchId: string,
  done: Position | undefined,
  maxEvents: number | undefined,
): Promise<Read> {
  const pull = async (position: object): Promise<PullResult> =>
    engine.pull(
      caller,
      { subscriptionId: watchId, ...position, ...(maxEvents === undefined ? {} : { maxEvents }) },
      undefined,
      answerBytes,
    );
  try {
    return {
      delivery: await pull(done === undefined ? {} : { ack: done, after: done }),
      reason: null,
    };
  } catch (error) {
    const stale = done !== undefined && error instanceof WireError && error.is('Conflict');
    if (!stale) throw error;
    return { delivery: await pull({}), reason: error.data.kind === 'epoch' ? 'epoch' : 'beyond' };
  }
}

const shownOf = ({ sequence, eventId, name, timestamp, data }: Event): WatchedEvent => ({
  sequence,
  eventId,
  name,
  timestamp,
  data,
});

/* ----------------------------------------------------------------------------------------------- in words */

const GAPS: Readonly<Record<GapReason, string>> = {
  retention: 'the server keeps events only for so long, and these were not read in time',
  abandoned: 'the server gave up delivering them',
  rejected: 'they were refused by whoever received them',
  too_large: 'they are larger than this server can deliver',
  redacted: 'their content was removed',
};

const RESETS: Readonly<Record<Reset['reason'], (reset: Reset) => string>> = {
  epoch: ({ from }) =>
    `Attention: the server lost part of this log, and its numbering began anew (epoch ${from.epoch}). Your "done" is of an older epoch: it acknowledged nothing. Events may come again under new numbers; compare eventId to tell what you have handled.`,
  beyond: ({ from }) =>
    `Attention: your "done" is beyond everything that was sent to you. It acknowledged nothing, and this answer begins after number ${from.sequence}, which is the last one acknowledged. Use the position of an answer as it is.`,
  behind: () =>
    'Attention: your "done" is older than what has been acknowledged already, by you or in another conversation. This answer begins after it all the same, so events come again.',
};

function inLines({
  trigger,
  events,
  gaps,
  position,
  remaining,
  reset,
  next,
  expiresAt,
}: Checked): string[] {
  const items = [
    ...events.map((event) => ({ sequence: event.sequence, line: JSON.stringify(event) })),
    ...gaps.map((gap) => ({ sequence: gap.from, line: gapLine(gap) })),
  ].sort((a, b) => a.sequence - b.sequence);
  return [
    ...(reset === undefined ? [] : [RESETS[reset.reason](reset)]),
    ...(items.length === 0
      ? [
          `Nothing new of ${trigger}.`,
          `Next: call ${inWords(next)}, not before ${Math.ceil(next.afterMs / 1000)} s from now${expiresAt === null ? '' : ` and before ${expiresAt}, when the watch ends`}.`,
        ]
      : [
          `${trigger}: ${counted(events.length, 'event')}${gaps.length === 0 ? '' : ` and ${counted(gaps.length, 'gap')}`}, up to number ${position.sequence}, in order. ${remaining === 0 ? 'Nothing else is waiting.' : `${remaining} more are waiting.`}`,
          ...items.map(({ line }) => line),
          `Next: once all of this is handled, call ${inWords(next)}. That acknowledges it and returns what follows; without "done" the same comes again.`,
        ]),
  ];
}

const gapLine = ({ from, to, reason }: Gap): string =>
  `Gap: ${from === to ? `number ${from}` : `numbers ${from} to ${to}`} will never come (${reason}): ${GAPS[reason]}.`;
