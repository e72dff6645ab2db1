/**
 * The mode `read`: reads at intervals. From 2026-07-28 on the server can name the interval, as
 * `ttlMs` of the result. MCP has no conditional read, so every read fetches everything, and the
 * hash shows a change (SEP: When a peer lacks the extension).
 */
import { sleep } from '../../../../protocol/lib/clock.ts';
import { latestStateOnly } from '../../guarantee.ts';
import type { Mode, ModeContext, ModeYield, Offer } from '../../types.ts';
import { ChangeDetector, observe, type Observation } from './observation.ts';
import { isReadable, subjectOf, type Subject } from './subject.ts';

/** Longest interval, whatever the server names. */
const TTL_MS_MAX = 86_400_000;

/** `resources/read`, or one of the lists. */
export const readMode: Mode = {
  name: 'read',
  offer(connection, target) {
    const subject = subjectOf(target);
    const isOffered = subject !== null && isReadable(subject, connection.serverCapabilities);
    return Promise.resolve<Offer | null>(
      isOffered
        ? { guarantee: latestStateOnly('read'), run: (context) => run(subject, context) }
        : null,
    );
  },
};

async function* run(
  subject: Subject,
  { connection, clock, signal, mark, tuning }: ModeContext,
): AsyncGenerator<ModeYield, void> {
  const differences = new ChangeDetector(subject.name, { mark, clock });
  for (;;) {
    const observation = await observe(connection, subject, { signal, timeoutMs: tuning.silenceMs });
    yield* differences.detect(observation);
    await sleep(clock, pauseAfter(observation, tuning), signal);
    signal.throwIfAborted();
  }
}

/**
 * Milliseconds until the next read. A `ttlMs` of 0 forbids caching; it does not say that the state
 * changes all the time.
 */
export function pauseAfter(
  { ttlMs }: Pick<Observation, 'ttlMs'>,
  { pollMs, pollFloorMs }: Pick<ModeContext['tuning'], 'pollMs' | 'pollFloorMs'>,
): number {
  return Math.max(pollFloorMs, ttlMs ? Math.min(ttlMs, TTL_MS_MAX) : pollMs);
}
