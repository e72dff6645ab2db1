/** How long a client waits: for a stream that is quiet, for one that is dead, and before the next pull. */
import assert from 'node:assert/strict';
import { clientScenario } from '../../runner/client/scenario.ts';
import { HEARTBEAT_MS } from '../../runner/client/server.ts';
import { NotApplicable } from '../../runner/looks.ts';

/** What the program is asked to use, and what is usual where it does not. */
const TIMEOUT = { suggested: 2000, usual: 60_000 };
const SILENCE = { suggested: 3000, usual: 30_000 };
const NEXT_POLL_MS = 600;
/** Clocks and timers are not that exact. */
const EARLY = 0.9;

export const pace = [
  clientScenario({
    name: 'stream: quiet, then dead',
    about:
      'A stream with nothing but heartbeats outlives every request timeout; one without heartbeats is given up.',
    checks: ['stream-client-no-timeout', 'stream-client-dead'],
    async run(t) {
      const { server } = t;
      await t.drain('stream', {
        suggested: { requestTimeoutMs: TIMEOUT.suggested, streamSilenceMs: SILENCE.suggested },
      });
      server.append(1);
      await t.untilAcked(1);
      const { took } = t.program;
      const timeoutMs = took.has('requestTimeoutMs') ? TIMEOUT.suggested : TIMEOUT.usual;
      const silenceMs = took.has('streamSilenceMs') ? SILENCE.suggested : SILENCE.usual;
      const stream = await t.stream();
      await t.pause(timeoutMs * 1.2 - (Date.now() - stream.openedAt));
      await t.check(
        'stream-client-no-timeout',
        `a stream that is kept warm is still open after ${(timeoutMs * 1.2) / 1000} s`,
        () => {
          assert.deepEqual(
            { open: stream.open, cancelled: server.callsOf('notifications/cancelled').length },
            { open: true, cancelled: 0 },
          );
        },
      );

      const opened = server.streams.length;
      server.automatic = false;
      const silentAt = Date.now();
      await t.check(
        'stream-client-dead',
        `another one is opened after ${silenceMs / 1000} s of silence, and not long before`,
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
            `it has waited ${next.call.at - silentAt} ms only`,
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
    about: 'The server says when to ask again.',
    checks: ['pull-next-honoured'],
    async run(t) {
      const { server } = t;
      server.nextPollMs = NEXT_POLL_MS;
      await t.drain('pull', { suggested: { pullWaitMs: 0 } });
      server.append(1);
      // A pull that is for acknowledging only reads nothing.
      const pulls = () =>
        server.callsOf('triggers/pull').filter(({ params }) => params.maxEvents !== 0);
      const waits = () => pulls().some(({ params }) => params.waitMs > 0);
      await t.until('some pulls', () => pulls().length >= 4 || waits());
      if (waits()) throw new NotApplicable('the client pulls with `waitMs`');
      await t.check(
        'pull-next-honoured',
        `after nextPollMs ${NEXT_POLL_MS} it does not pull sooner`,
        () => {
          const waited = pulls()
            .slice(1)
            .map(({ at }, index) => ({
              ms: at - pulls()[index]!.answeredAt!,
              hasMore: pulls()[index]!.answer.result.hasMore as boolean,
            }))
            .filter(({ hasMore }) => !hasMore);
          const soonest = Math.min(...waited.map(({ ms }) => ms));
          assert.ok(soonest >= NEXT_POLL_MS * EARLY, `it has waited ${soonest} ms only`);
        },
      );
    },
  }),
];
