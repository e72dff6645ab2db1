/**
 * Waiting for a notification and reading again: what a server says has changed is looked at, and is an event when it is different. A
 * server that keeps quiet is looked at now and then all the same, so the latest state is never missed for long
 * (SEP: When a peer lacks the extension).
 */
import { sleep, type Clock } from '../../../../protocol/lib/clock.ts';
import { LocalError } from '../../../../protocol/wire/errors.ts';
import type { Offer, Mode, ModeContext, ModeYield } from '../../types.ts';
import { Differences, latestStateOnly } from './differences.ts';
import { ChangeWaiter } from './change-waiter.ts';
import { subscribeToChanges } from './subscribe-to-changes.ts';
import { look } from './look.ts';
import { isAnnounced, subjectOf, type Subject } from './subject.ts';

/** So many changes that were found without being announced, in a row, show that the doorbell does not work. One may cross its notification. */
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
  const asking = { signal, timeoutMs: tuning.silenceMs };
  const differences = new Differences(subject.name, { mark, clock });
  const doorbell = new ChangeWaiter();
  const takeDown = await subscribeToChanges(doorbell, connection, subject, { ...asking, clock });
  try {
    // What changed before the bell was hung did not ring.
    let unannounced = 0;
    yield* differences.tell(await look(connection, subject, asking));
    for (;;) {
      const lookedAt = clock.now();
      const heard = await doorbell.heard(clock, tuning.silenceMs, signal);
      if (heard === 'ended') return;
      await restOf(tuning.pollFloorMs, lookedAt, clock, signal);
      signal.throwIfAborted();
      doorbell.answer();
      const observation = await look(connection, subject, asking);
      if (heard === 'ring') unannounced = 0;
      else if (differences.isNew(observation)) unannounced += 1;
      yield* differences.tell(observation);
      if (unannounced >= UNANNOUNCED_MAX)
        throw new LocalError('timeout', 'Changes are not announced any more.', {
          reason: 'silence',
        });
    }
  } finally {
    takeDown();
  }
}

/** Waits until so much time has passed since; the clock may have jumped. */
async function restOf(ms: number, since: number, clock: Clock, signal: AbortSignal): Promise<void> {
  const rest = since + ms - clock.now();
  if (rest > 0) await sleep(clock, Math.min(rest, ms), signal);
}
