/**
 * Asks a server of `events/*` to announce changes of its list of event types. From 2026-07-28 on it
 * does so only on a `subscriptions/listen` whose filter has `eventsListChanged`; before that, on
 * the session (SEP-3415). A client that listens for notifications on the connection receives the
 * announcement.
 */
import { EVENTS_LIST_CHANGED } from '../../../../protocol/events/names.ts';
import { sleep, TIMER_MAX_MS, type Clock } from '../../../../protocol/lib/clock.ts';
import { Backoff, isTransient } from '../../../recovery.ts';
import type { Connection } from '../../../sdk/connection.ts';
import { members } from './messages.ts';

const ACKNOWLEDGED = 'notifications/subscriptions/acknowledged';

/**
 * Listens until the returned function is called. The followers on one connection share one stream.
 * A server that does not accept the filter is not asked again until every follower has left.
 */
export function listenForListChanges(connection: Connection, clock: Clock): () => void {
  const { shared } = connection;
  const listener = (shared.eventsListener ??= startListener(connection, clock));
  listener.followers += 1;
  let hasLeft = false;
  return () => {
    if (hasLeft) return;
    hasLeft = true;
    listener.followers -= 1;
    if (listener.followers > 0) return;
    shared.eventsListener = undefined;
    listener.stop();
  };
}

function startListener(
  connection: Connection,
  clock: Clock,
): { followers: number; readonly stop: () => void } {
  const stop = new AbortController();
  void listen(connection, clock, stop.signal);
  return { followers: 0, stop: () => stop.abort() };
}

async function listen(connection: Connection, clock: Clock, stop: AbortSignal): Promise<void> {
  const backoff = new Backoff();
  for (;;) {
    const isWorthwhile = await listenOnce(connection, stop, () => backoff.reset());
    if (stop.aborted || !isWorthwhile) return;
    await sleep(clock, backoff.next(), stop);
    if (stop.aborted) return;
  }
}

/** Listens until the stream ends. Resolves with whether to listen again. */
async function listenOnce(
  connection: Connection,
  stop: AbortSignal,
  onHonored: () => void,
): Promise<boolean> {
  const leave = new AbortController();
  let isHonored = false;
  try {
    await connection.stream(
      'subscriptions/listen',
      { notifications: { eventsListChanged: true } },
      {
        signal: AbortSignal.any([stop, leave.signal]),
        // A list that does not change is silent.
        silenceMs: TIMER_MAX_MS,
        notifications: [ACKNOWLEDGED, EVENTS_LIST_CHANGED],
        onNotification: (method, params) => {
          if (method !== ACKNOWLEDGED) return;
          isHonored = members(members(params)['notifications'])['eventsListChanged'] === true;
          if (isHonored) onHonored();
          else leave.abort();
        },
      },
    );
  } catch (error) {
    return !leave.signal.aborted && (isHonored || isTransient(error));
  }
  return isHonored;
}
