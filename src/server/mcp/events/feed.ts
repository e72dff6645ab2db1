/**
 * Where a poll or a stream begins. Both read one log for each principal, name and arguments, kept for as long as they come; it is found by
 * what it follows, and the client's cursor says where in it the client stands.
 */
import type { BindableEngine, Caller } from '../../engine/verbs.ts';
import { WireError } from '../../../protocol/wire/errors.ts';
import type { Position, Selection, Subscription } from '../../../protocol/wire/schema.ts';
import { implicitSubscription } from '../implicit-subscription.ts';
import { placeOf, type Place } from './cursor.ts';
import { LogEnded } from './errors.ts';
import type { StartPoint, EventSelection } from '../../../protocol/events/types.ts';

/** Long enough for a client that is away for a night. The server's own bounds on lifetimes come on top. */
const LEASE_MS = 24 * 3600_000;

/** A log, and where reading it begins. */
export interface Start {
  readonly log: Subscription;
  readonly after: Position;
  /** The client said where it stands, and reading cannot begin there. */
  readonly truncated: boolean;
}

/** The selection as the engine takes it. */
export const selectionOf = ({
  name,
  arguments: args = {},
}: EventSelection): Required<Selection> => ({ name, arguments: args });

/** The log of this selection; called again, it extends the lease when that is worth it. */
export async function feedOf(
  engine: BindableEngine,
  caller: Caller,
  selection: Selection,
  now: number,
): Promise<Subscription> {
  return (await implicitSubscription(engine, caller, 'events', selection, LEASE_MS, now))
    .subscription;
}

/**
 * Finds or makes the log. Without a cursor reading begins behind everything that was accepted before the call. Rejects as
 * `triggers/subscribe` does, and with `LogEnded` when the cursor's own log was ended by the server.
 */
export async function begin(
  engine: BindableEngine,
  caller: Caller,
  params: EventSelection & StartPoint,
  now: number,
): Promise<Start> {
  const { cursor = null, maxAgeMs } = params;
  const place = cursor === null ? null : placeOf(cursor);
  if (cursor === null) await engine.settled();
  const log = await feedOf(engine, caller, selectionOf(params), now);
  if (cursor === null)
    return { log, after: { epoch: log.epoch, sequence: log.head }, truncated: false };
  const known = place !== null && (await isOf(engine, caller, place, log));
  const after = { epoch: log.epoch, sequence: known ? place.sequence : log.acked };
  if (maxAgeMs === undefined) return { log, after, truncated: !known };
  const floor = await engine.seek(caller, log.subscriptionId, now - maxAgeMs);
  if (floor.sequence <= after.sequence) return { log, after, truncated: !known };
  return { log, after: floor, truncated: true };
}

/** Whether a place is in this life of this log. */
async function isOf(
  engine: BindableEngine,
  caller: Caller,
  { subscriptionId, epoch, sequence }: Place,
  log: Subscription,
): Promise<boolean> {
  if (subscriptionId === log.subscriptionId) return epoch === log.epoch && sequence <= log.head;
  await refuseEnded(engine, caller, subscriptionId);
  return false;
}

/** A log that the server ended says so once more to who comes back to it; that the client let one go is no news. */
async function refuseEnded(
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
