/**
 * The start of a poll or a stream: finds or creates the implicit subscription for a principal, name
 * and arguments, and decides from the client's cursor where to read.
 */
import type { BindableEngine, Caller } from '../../engine/verbs.ts';
import { WireError } from '../../../protocol/wire/errors.ts';
import type { Position, Selection, Subscription } from '../../../protocol/wire/schema.ts';
import { implicitSubscription } from '../implicit-subscription.ts';
import { parseCursor, type CursorPosition } from './occurrence.ts';
import { LogEnded } from './errors.ts';
import type { StartPoint, EventSelection } from '../../../protocol/events/types.ts';

/** The lifetime to request for a log; the engine clamps it to the server's bounds. */
const LOG_TTL_MS = 24 * 3600_000;

/** A log, and the position to read it from. */
export interface Start {
  readonly log: Subscription;
  readonly after: Position;
  /** Whether the client sent a cursor and reading starts elsewhere. */
  readonly truncated: boolean;
}

/** The selection in the engine's form. */
export const selectionOf = ({
  name,
  arguments: args = {},
}: EventSelection): Required<Selection> => ({ name, arguments: args });

/** Finds or creates the log of a selection, and renews it when it is due. */
export async function logOf(
  engine: BindableEngine,
  caller: Caller,
  selection: Selection,
  now: number,
): Promise<Subscription> {
  return (await implicitSubscription(engine, caller, 'events', selection, LOG_TTL_MS, now))
    .subscription;
}

/**
 * Finds or creates the log, decides where to read from, and counts what the client skips as sent,
 * so that the events after it can be acknowledged. Rejects as {@link startOf} does.
 */
export async function begin(
  engine: BindableEngine,
  caller: Caller,
  params: EventSelection & StartPoint,
  now: number,
): Promise<Start> {
  const start = await startOf(engine, caller, params, now);
  await engine.skip(caller, start.log.subscriptionId, start.after);
  return start;
}

/**
 * Finds or creates the log and decides where to read from. Without a cursor, reading starts after
 * everything that was accepted before the call. With one, it starts there, or at the acknowledged
 * position if the cursor is not of this log and epoch; `maxAgeMs` then skips older events. Rejects
 * as `triggers/subscribe` does, and with `LogEnded` when the server ended the log of the cursor.
 */
async function startOf(
  engine: BindableEngine,
  caller: Caller,
  params: EventSelection & StartPoint,
  now: number,
): Promise<Start> {
  const { cursor = null, maxAgeMs } = params;
  const position = cursor === null ? null : parseCursor(cursor);
  if (cursor === null) await engine.settled();
  const log = await logOf(engine, caller, selectionOf(params), now);
  if (cursor === null)
    return { log, after: { epoch: log.epoch, sequence: log.head }, truncated: false };
  const known = position !== null && (await isInLog(engine, caller, position, log));
  const after = { epoch: log.epoch, sequence: known ? position.sequence : log.acked };
  if (maxAgeMs === undefined) return { log, after, truncated: !known };
  const floor = await engine.seek(caller, log.subscriptionId, now - maxAgeMs);
  if (floor.sequence <= after.sequence) return { log, after, truncated: !known };
  return { log, after: floor, truncated: true };
}

/** Whether a position exists in the current epoch of this log. */
async function isInLog(
  engine: BindableEngine,
  caller: Caller,
  { subscriptionId, epoch, sequence }: CursorPosition,
  log: Subscription,
): Promise<boolean> {
  if (subscriptionId === log.subscriptionId) return epoch === log.epoch && sequence <= log.head;
  await throwIfEnded(engine, caller, subscriptionId);
  return false;
}

/**
 * Rejects with `LogEnded` for a log that the server ended. A log that expired or that the client
 * ended is replaced without an error.
 */
async function throwIfEnded(
  engine: BindableEngine,
  caller: Caller,
  subscriptionId: string,
): Promise<void> {
  try {
    await engine.get(caller, { subscriptionId });
  } catch (error) {
    if (!(error instanceof WireError) || !error.is('NotFound')) throw error;
    const { reason } = error.data;
    if (reason !== undefined && reason !== 'expired' && reason !== 'unsubscribed')
      throw new LogEnded(reason);
  }
}
