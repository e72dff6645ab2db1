/**
 * The tool `check`: a pull that acknowledges the previous answer and returns the next events (SEP:
 * triggers/pull). Numbers, order, gaps and positions are the same as on every other drain.
 */
import type {
  TriggerEvent,
  Gap,
  GapReason,
  Position,
  PullResult,
} from '../../../../spec-schema/draft/schema.ts';
import { WireError } from '../../../protocol/wire/errors.ts';
import { needsRenewal } from '../implicit-subscription.ts';
import { toolAnswer, plural, callText, type ToolAnswer, type ToolContext } from './answer.ts';
import type { CheckArguments, Checked, NextCall, Reset, WatchedEvent } from './schemas.ts';
import { ownWatch } from './watch.ts';

export async function check(
  context: ToolContext,
  { watchId, done, maxEvents }: CheckArguments,
): Promise<ToolAnswer> {
  const { engine, caller, implicitTtlMs, now } = context;
  const { subscription, selection } = await ownWatch(context, watchId);
  if (needsRenewal(subscription, now))
    await engine.update(caller, { subscriptionId: watchId, ttlMs: implicitTtlMs });
  const { delivery, reason } = await read(context, watchId, done, maxEvents);
  const { epoch, afterSequence: after, events, gaps = [], head, expiresAt } = delivery;
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
    // An answer with events or gaps should be acknowledged as soon as it is handled.
    afterMs: position.sequence > after ? 0 : delivery.nextPollMs,
  };
  const checked: Checked = {
    watchId,
    trigger: selection.name,
    events: events.map(eventOf),
    gaps,
    position,
    remaining: head - position.sequence,
    expiresAt: expiresAt ?? null,
    ...(reset === null ? {} : { reset }),
    next,
  };
  return toolAnswer(checked, linesOf(checked));
}

interface Read {
  readonly delivery: PullResult;
  /** Why the server rejected `done`; null = it did not. */
  readonly reason: 'epoch' | 'beyond' | null;
}

/**
 * Pulls from `done`. If the server rejects that position, pulls from the acknowledged position
 * instead and acknowledges nothing: a caller with only tools could not recover from an error.
 */
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

const eventOf = ({
  sequence,
  eventId,
  name,
  timestamp,
  acceptedAt,
  data,
}: TriggerEvent): WatchedEvent => ({
  sequence,
  eventId,
  name,
  timestamp,
  acceptedAt,
  data,
});

/* ----------------------------------------------------------------------------------------------- text */

const GAPS: Readonly<Record<GapReason, string>> = {
  retention: 'the server keeps events for a limited time, and these were not read in time',
  skipped: 'a callback passed over them',
  rejected: 'the receiver rejected them',
  too_large: 'they are larger than this server can deliver',
  invalid: 'their data does not match the description of the trigger type',
  unwatched: 'the server could not watch the source for a time, and something may have happened',
  redacted: 'their content was removed',
};

const RESETS: Readonly<Record<Reset['reason'], (reset: Reset) => string>> = {
  epoch: ({ from }) =>
    `Attention: the server lost part of this log and restarted its numbering (epoch ${from.epoch}). Your "done" belongs to an older epoch: it acknowledged nothing. Events may come again under new numbers; compare eventId to see what you have handled.`,
  beyond: ({ from }) =>
    `Attention: your "done" is beyond everything that was sent to you. It acknowledged nothing. This answer starts after number ${from.sequence}, the last acknowledged one. Copy the position of an answer unchanged.`,
  behind: () =>
    'Attention: your "done" is older than what you, perhaps in another conversation, have acknowledged already. This answer starts after your "done", so events come again.',
};

function linesOf({
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
          `${trigger}: no new events.`,
          `Next: call ${callText(next)} after at least ${Math.ceil(next.afterMs / 1000)} s${expiresAt === null ? '' : `, and before the watch ends at ${expiresAt}`}.`,
        ]
      : [
          `${trigger}: ${plural(events.length, 'event')}${gaps.length === 0 ? '' : ` and ${plural(gaps.length, 'gap')}`}, up to number ${position.sequence}, in order. ${remaining === 0 ? 'No more are waiting.' : `${remaining} more are waiting.`}`,
          ...items.map(({ line }) => line),
          `Next: once all of this is handled, call ${callText(next)}. That acknowledges it and returns what follows. Without "done" the same events come again.`,
        ]),
  ];
}

const gapLine = ({ from, to, reason }: Gap): string =>
  `Gap: ${from === to ? `number ${from}` : `numbers ${from} to ${to}`} will never come (${reason}): ${GAPS[reason]}.`;
