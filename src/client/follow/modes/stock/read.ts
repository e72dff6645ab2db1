/**
 * Reading again and again, as often as the server says that it may be different: `ttlMs` of the result, from 2026-07-28 on. MCP has
 * no conditional read, so each look fetches everything and a hash tells whether it is the same (SEP: When a peer lacks the extension).
 */
import { sleep } from '../../../../protocol/lib/clock.ts';
import type { Offer, Mode, ModeContext, ModeYield } from '../../types.ts';
import { Differences, latestStateOnly } from './differences.ts';
import { look } from './look.ts';
import type { Observation } from './observation.ts';
import { isReadable, subjectOf, type Subject } from './subject.ts';

/** Longer than this no promise is trusted. */
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
  const differences = new Differences(subject.name, { mark, clock });
  for (;;) {
    const observation = await look(connection, subject, { signal, timeoutMs: tuning.silenceMs });
    yield* differences.tell(observation);
    await sleep(clock, pauseAfter(observation, tuning), signal);
    signal.throwIfAborted();
  }
}

/** Milliseconds until the next look. A `ttlMs` of 0 means that nothing may be cached, not that it changes all the time. */
export function pauseAfter(
  { ttlMs }: Pick<Observation, 'ttlMs'>,
  { pollMs, pollFloorMs }: Pick<ModeContext['tuning'], 'pollMs' | 'pollFloorMs'>,
): number {
  return Math.max(pollFloorMs, ttlMs ? Math.min(ttlMs, TTL_MS_MAX) : pollMs);
}
