/** Waiting times of a client: on a quiet stream, on a dead one, and before the next pull. */
import assert from 'node:assert/strict';
import { clientScenario } from '../../runner/client/scenario.ts';
import { HEARTBEAT_MS } from '../../runner/client/server.ts';
import { NotApplicable } from '../../runner/observations.ts';

/** Limits in ms: the ones that the program should adopt, and the usual ones when it does not. */
const TIMEOUT = { suggested: 2000, usual: 60_000 };
const SILENCE = { suggested: 3000, usual: 30_000 };
const NEXT_POLL_MS = 600;
/** A wait is long enough from this share of the required time on: tolerance for timers. */
const EARLY = 0.9;

export const pace = [
  clientScenario({
    name: 'stream: quiet, then dead',
    about:
      'The client keeps a stream with heartbeats open past its request timeout, and replaces one without heartbeats.',
    checks: ['stream-client-no-timeout', 'stream-client-dead'],
    async run(t) {
      const { server } = t;
      await t.drain('stream', {
        suggested: { requestTimeoutMs: TIMEOUT.suggested, streamSilenceMs: SILENCE.suggested },
      });
      server.append(1);
      await t.untilAcked(1);
      const { adopted: took } = t.program;
      const timeoutMs = took.has('requestTimeoutMs') ? TIMEOUT.suggested : TIMEOUT.usual;
      const silenceMs = took.has('streamSilenceMs') ? SILENCE.suggested : SILENCE.usual;
      const stream = await t.stream();
      await t.pause(timeoutMs * 1.2 - (Date.now() - stream.openedAt));
      await t.check(
        'stream-client-no-timeout',
        `a stream with heartbeats is still open after ${(timeoutMs * 1.2) / 1000} s`,
        () => {
          assert.deepEqual(
            { open: stream.open, canceled: server.callsOf('notifications/cancelled').length },
            { open: true, canceled: 0 },
          );
        },
      );

      const opened = server.streams.length;
      server.automatic = false;
      const silentAt = Date.now();
      await t.check(
        'stream-client-dead',
        `the client opens another stream after ${silenceMs / 1000} s of silence, and not much earlier`,
        async () => {
          await t.until(
            'the client to open another stream',
            () => server.streams.length > opened,
            silenceMs + t.patienceMs,
          );
          const next = server.streams[opened]!;
          const { epoch } = server.log;
          assert.ok(
            next.call.at - silentAt >= silenceMs * EARLY - HEARTBEAT_MS,
            `the client waited only ${next.call.at - silentAt} ms`,
          );
          assert.deepEqual(next.call.params.after ?? { epoch, sequence: server.log.acked }, {
            epoch,
            sequence: 1,
          });
        },
      );
    },
  }),
  clientScenario({
    name: 'pull: asking again',
    about: 'The client waits for `nextPollMs` before the next pull.',
    checks: ['pull-next-honoured'],
    async run(t) {
      const { server } = t;
      server.nextPollMs = NEXT_POLL_MS;
      await t.drain('pull', { suggested: { pullWaitMs: 0 } });
      server.append(1);
      // A pull that only acknowledges reads nothing.
      const pulls = () =>
        server.callsOf('triggers/pull').filter(({ params }) => params.maxEvents !== 0);
      const waits = () => pulls().some(({ params }) => params.waitMs > 0);
      await t.until('some pulls', () => pulls().length >= 4 || waits());
      if (waits()) throw new NotApplicable('The client pulls with `waitMs`.');
      await t.check(
        'pull-next-honoured',
        `the client waits nextPollMs ${NEXT_POLL_MS} before the next pull`,
        () => {
          const waited = pulls()
            .slice(1)
            .map(({ at }, index) => ({
              ms: at - pulls()[index]!.answeredAt!,
              hasMore: pulls()[index]!.answer.result.hasMore as boolean,
            }))
            .filter(({ hasMore }) => !hasMore);
          const soonest = Math.min(...waited.map(({ ms }) => ms));
          assert.ok(soonest >= NEXT_POLL_MS * EARLY, `the client waited only ${soonest} ms`);
        },
      );
    },
  }),
];
