/**
 * The mode `listen`: waits for a change notification and reads again; a different state is an
 * event. A silent server is read at intervals too, so the latest state is never missed for long
 * (SEP: When a peer lacks the extension).
 */
import { sleep, type Clock } from '../../../../protocol/lib/clock.ts';
import { LocalError } from '../../../../protocol/wire/errors.ts';
import { latestStateOnly } from '../../guarantee.ts';
import type { Mode, ModeContext, ModeYield, Offer } from '../../types.ts';
import { ChangeWaiter, subscribeToChanges } from './change-notifications.ts';
import { ChangeDetector, observe } from './observation.ts';
import { isAnnounced, subjectOf, type Subject } from './subject.ts';

/**
 * Unannounced changes in a row after which notifications count as broken. A single change may have
 * crossed its notification.
 */
const UNANNOUNCED_MAX = 2;

/** `subscriptions/listen`, or `resources/subscribe` and `list_changed` before 2026-07-28. */
export const listenMode: Mode = {
  name: 'listen',
  offer(connection, target) {
    const subject = subjectOf(target);
    const isOffered = subject !== null && isAnnounced(subject, connection.serverCapabilities);
    return Promise.resolve<Offer | null>(
      isOffered
        ? { guarantee: latestStateOnly('listen'), run: (context) => run(subject, context) }
        : null,
    );
  },
};

async function* run(
  subject: Subject,
  { connection, clock, signal, mark, tuning }: ModeContext,
): AsyncGenerator<ModeYield, void> {
  const callOptions = { signal, timeoutMs: tuning.silenceMs };
  const differences = new ChangeDetector(subject.name, { mark, clock });
  const waiter = new ChangeWaiter();
  const unsubscribe = await subscribeToChanges(waiter, connection, subject, {
    ...callOptions,
    clock,
  });
  try {
    // The first read is not counted: it may show a change from before the subscription.
    let unannounced = 0;
    yield* differences.detect(await observe(connection, subject, callOptions));
    for (;;) {
      const readAt = clock.now();
      const outcome = await waiter.wait(clock, tuning.silenceMs, signal);
      if (outcome === 'ended') return;
      await restOf(tuning.pollFloorMs, readAt, clock, signal);
      signal.throwIfAborted();
      waiter.reset();
      const observation = await observe(connection, subject, callOptions);
      if (outcome === 'notified') unannounced = 0;
      else if (differences.isChanged(observation)) unannounced += 1;
      yield* differences.detect(observation);
      if (unannounced >= UNANNOUNCED_MAX)
        throw new LocalError(
          'timeout',
          'The server no longer announces changes. Subscribe to them again.',
          {
            reason: 'silence',
          },
        );
    }
  } finally {
    unsubscribe();
  }
}

/**
 * Waits until `ms` have passed since `since`; never longer than `ms`, because the clock may have
 * jumped.
 */
async function restOf(ms: number, since: number, clock: Clock, signal: AbortSignal): Promise<void> {
  const rest = since + ms - clock.now();
  if (rest > 0) await sleep(clock, Math.min(rest, ms), signal);
}
