/**
 * How a doorbell is hung at a server: as a `subscriptions/listen` stream from 2026-07-28 on; before, by `resources/subscribe` and by
 * listening to what the session pushes. A server that took it on and cannot ring any more is an error, never silence.
 */
import { TIMER_MAX_MS, type Clock } from '../../../../protocol/lib/clock.ts';
import { LocalError } from '../../../../protocol/wire/errors.ts';
import type { Connection } from '../../../sdk/connection.ts';
import { subscribeResource, unsubscribeResource, type AskOptions } from '../../../sdk/mcp-calls.ts';
import type { ChangeWaiter } from './change-waiter.ts';
import { isHonored, isAnnouncedBy, type ListenFilter, type Subject } from './subject.ts';

const ACKNOWLEDGED = 'notifications/subscriptions/acknowledged';
/** Taking a subscription back is a courtesy. */
const RELEASE_TIMEOUT_MS = 5000;

export interface SubscribeToChangesOptions extends AskOptions {
  readonly clock: Clock;
}

/** Resolves with what takes the bell down, once it can ring. Rejects with `not_supported` when the server does not take it on, or as a call does. */
export function subscribeToChanges(
  doorbell: ChangeWaiter,
  connection: Connection,
  subject: Subject,
  options: SubscribeToChangesOptions,
): Promise<() => void> {
  return (connection.isModern ? onStream : onSession)(doorbell, connection, subject, options);
}

async function onStream(
  doorbell: ChangeWaiter,
  connection: Connection,
  subject: Subject,
  { signal, timeoutMs, clock }: SubscribeToChangesOptions,
): Promise<() => void> {
  const stop = new AbortController();
  const takeDown = (): void => stop.abort();
  const honored = new Promise<ListenFilter>((resolve, reject) => {
    const late = (): void =>
      reject(
        new LocalError('timeout', 'The server did not acknowledge subscriptions/listen in time.', {
          reason: 'acknowledgement',
        }),
      );
    const cancel = clock.after(timeoutMs, late);
    const acknowledged = (filter: unknown): void => {
      cancel();
      resolve(Object(filter) as ListenFilter);
    };
    connection
      .stream(
        'subscriptions/listen',
        { notifications: subject.filter },
        {
          signal: AbortSignal.any([signal, stop.signal]),
          // Nothing is sent while nothing changes, so silence does not show that the stream is dead.
          silenceMs: TIMER_MAX_MS,
          notifications: [ACKNOWLEDGED, subject.notification],
          onNotification: (method, params) => {
            if (method === ACKNOWLEDGED)
              acknowledged((Object(params) as { notifications?: unknown }).notifications);
            else if (isAnnouncedBy(subject, method, params)) doorbell.ring();
          },
        },
      )
      .then(
        () => {
          doorbell.end();
          acknowledged({});
        },
        (error: unknown) => {
          cancel();
          doorbell.fail(error);
          reject(error);
        },
      );
  });
  try {
    if (isHonored(subject, await honored)) return takeDown;
  } catch (error) {
    takeDown();
    throw error;
  }
  takeDown();
  throw new LocalError(
    'not_supported',
    `The server does not send ${subject.notification} on subscriptions/listen.`,
    { reason: 'not_honored' },
  );
}

async function onSession(
  doorbell: ChangeWaiter,
  connection: Connection,
  subject: Subject,
  { signal, timeoutMs }: SubscribeToChangesOptions,
): Promise<() => void> {
  const deafen = [
    connection.onNotification((method, params) => {
      if (isAnnouncedBy(subject, method, params)) doorbell.ring();
    }),
    connection.onInterrupted((error) => doorbell.fail(error)),
  ];
  const takeDown = (): void => {
    for (const off of deafen) off();
  };
  try {
    await connection.pushable({ signal });
    if (subject.uri === undefined) return takeDown;
    const release = await subscribed(connection, subject.uri, { signal, timeoutMs });
    return () => {
      takeDown();
      release(doorbell.isHung);
    };
  } catch (error) {
    takeDown();
    throw error;
  }
}

/** Resolves with what is to be called when it is not needed any more; `live`: whether the session is still the one that has subscribed. */
async function subscribed(
  connection: Connection,
  uri: string,
  options: AskOptions,
): Promise<(live: boolean) => void> {
  await subscribeResource(connection, uri, options);
  const { followers: counts } = connection.shared;
  counts.set(uri, (counts.get(uri) ?? 0) + 1);
  return (live) => {
    const left = counts.get(uri)! - 1;
    if (left > 0) return void counts.set(uri, left);
    counts.delete(uri);
    if (live)
      unsubscribeResource(connection, uri, {
        signal: AbortSignal.timeout(RELEASE_TIMEOUT_MS),
        timeoutMs: RELEASE_TIMEOUT_MS,
      }).catch(() => undefined);
  };
}
