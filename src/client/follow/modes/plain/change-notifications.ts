/**
 * Change notifications of plain MCP. From 2026-07-28 on they come by `subscriptions/listen`; before
 * that by `resources/subscribe` and on the stream of the session. A subscription that breaks is an
 * error, never silence.
 */
import { TIMER_MAX_MS, type Clock } from '../../../../protocol/lib/clock.ts';
import { LocalError } from '../../../../protocol/wire/errors.ts';
import type { Connection } from '../../../sdk/connection.ts';
import {
  subscribeResource,
  unsubscribeResource,
  type McpCallOptions,
} from '../../../sdk/mcp-calls.ts';
import { isAnnouncedBy, isHonored, type ListenFilter, type Subject } from './subject.ts';

const ACKNOWLEDGED = 'notifications/subscriptions/acknowledged';
/** Longest wait for `resources/unsubscribe`, which the server can do without. */
const RELEASE_TIMEOUT_MS = 5000;

/**
 * `quiet`: no notification arrived in time. `ended`: the server ended the notifications without an
 * error.
 */
type WaitOutcome = 'notified' | 'quiet' | 'ended';

/**
 * Waits for change notifications. A notification says that something has changed, not what, so one
 * read answers several of them.
 */
export class ChangeWaiter {
  #isNotified = false;
  #end: 'ended' | { readonly error: unknown } | undefined;
  #wake: (() => void) | undefined;

  /** Whether a notification can still come. */
  get isOpen(): boolean {
    return this.#end === undefined;
  }

  notify(): void {
    this.#isNotified = true;
    this.#wake?.();
  }

  end(): void {
    this.#end ??= 'ended';
    this.#wake?.();
  }

  fail(error: unknown): void {
    this.#end ??= { error };
    this.#wake?.();
  }

  /** Forgets the notifications so far. Call it before the read that answers them. */
  reset(): void {
    this.#isNotified = false;
  }

  /**
   * Waits for a notification, at most `withinMs`, or until `signal` fires. Rejects with the error
   * of {@link fail}.
   */
  async wait(clock: Clock, withinMs: number, signal: AbortSignal): Promise<WaitOutcome> {
    if (!this.#isNotified && this.isOpen && !signal.aborted) {
      await new Promise<void>((resolve) => {
        const cancel = clock.after(withinMs, resolve);
        this.#wake = () => {
          cancel();
          resolve();
        };
        signal.addEventListener('abort', this.#wake, { once: true });
      });
      signal.removeEventListener('abort', this.#wake!);
    }
    if (typeof this.#end === 'object') throw this.#end.error;
    if (this.#isNotified) return 'notified';
    return this.#end ?? 'quiet';
  }
}

interface SubscribeToChangesOptions extends McpCallOptions {
  readonly clock: Clock;
}

/**
 * Subscribes to the changes of a subject. Resolves with the function that unsubscribes. Rejects
 * with `not_supported` when the server does not accept the subscription, or as a call does.
 */
export function subscribeToChanges(
  waiter: ChangeWaiter,
  connection: Connection,
  subject: Subject,
  options: SubscribeToChangesOptions,
): Promise<() => void> {
  return (connection.isModern ? listenOnStream : listenOnSession)(
    waiter,
    connection,
    subject,
    options,
  );
}

async function listenOnStream(
  waiter: ChangeWaiter,
  connection: Connection,
  subject: Subject,
  { signal, timeoutMs, clock }: SubscribeToChangesOptions,
): Promise<() => void> {
  const stop = new AbortController();
  const unsubscribe = (): void => stop.abort();
  const honored = new Promise<ListenFilter>((resolve, reject) => {
    const late = (): void =>
      reject(
        new LocalError(
          'timeout',
          'The server did not acknowledge subscriptions/listen in time. Try again, or read at intervals.',
          {
            reason: 'acknowledgement',
          },
        ),
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
          // A server without changes sends nothing, so silence does not show that the stream is
          // dead.
          silenceMs: TIMER_MAX_MS,
          notifications: [ACKNOWLEDGED, subject.notification],
          onNotification: (method, params) => {
            if (method === ACKNOWLEDGED)
              acknowledged((Object(params) as { notifications?: unknown }).notifications);
            else if (isAnnouncedBy(subject, method, params)) waiter.notify();
          },
        },
      )
      .then(
        () => {
          waiter.end();
          acknowledged({});
        },
        (error: unknown) => {
          cancel();
          waiter.fail(error);
          reject(error);
        },
      );
  });
  try {
    if (isHonored(subject, await honored)) return unsubscribe;
  } catch (error) {
    unsubscribe();
    throw error;
  }
  unsubscribe();
  throw new LocalError(
    'not_supported',
    `The server does not send ${subject.notification} on subscriptions/listen. Read at intervals instead.`,
    { reason: 'not_honored' },
  );
}

async function listenOnSession(
  waiter: ChangeWaiter,
  connection: Connection,
  subject: Subject,
  { signal, timeoutMs }: SubscribeToChangesOptions,
): Promise<() => void> {
  const removers = [
    connection.onNotification((method, params) => {
      if (isAnnouncedBy(subject, method, params)) waiter.notify();
    }),
    connection.onInterrupted((error) => waiter.fail(error)),
  ];
  const removeListeners = (): void => {
    for (const remove of removers) remove();
  };
  try {
    await connection.pushReady({ signal });
    if (subject.uri === undefined) return removeListeners;
    const release = await shareSubscription(connection, subject.uri, { signal, timeoutMs });
    return () => {
      removeListeners();
      release(waiter.isOpen);
    };
  } catch (error) {
    removeListeners();
    throw error;
  }
}

/**
 * Subscribes the session to a resource. The server keeps one subscription per session and resource,
 * so the followers that use it are counted. Resolves with the function that releases this use; its
 * `isAlive` says whether the session that has subscribed is still open.
 */
async function shareSubscription(
  connection: Connection,
  uri: string,
  options: McpCallOptions,
): Promise<(isAlive: boolean) => void> {
  await subscribeResource(connection, uri, options);
  const { resourceFollowers: counts } = connection.shared;
  counts.set(uri, (counts.get(uri) ?? 0) + 1);
  return (isAlive) => {
    const left = counts.get(uri)! - 1;
    if (left > 0) return void counts.set(uri, left);
    counts.delete(uri);
    if (isAlive)
      unsubscribeResource(connection, uri, {
        signal: AbortSignal.timeout(RELEASE_TIMEOUT_MS),
        timeoutMs: RELEASE_TIMEOUT_MS,
      }).catch(() => undefined);
  };
}
