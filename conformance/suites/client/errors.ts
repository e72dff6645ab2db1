/**
 * Errors: clients decide by code and data, not by the message (SEP: Errors, Recovery by the
 * client).
 */
import assert from 'node:assert/strict';
import { conflict, notFound, ErrorResponse } from '../../runner/client/exchange.ts';
import { clientScenario, type ClientTest } from '../../runner/client/scenario.ts';
import { NotShown } from '../../runner/observations.ts';

/** Rejects the next draining request. Resolves with the time of the response, in epoch ms. */
async function refuseNext(t: ClientTest, rejection: () => ErrorResponse): Promise<number> {
  let refusedAt = 0;
  const refuse = (): never => {
    refusedAt = Date.now();
    throw rejection();
  };
  t.server.answerPull(refuse);
  t.server.override('triggers/stream', (_params, correct) =>
    refusedAt === 0 ? refuse() : correct(),
  );
  t.server.stream?.abort();
  await t.until('the client to drain again', () => refusedAt !== 0);
  t.server.override('triggers/stream');
  t.server.answerPull(undefined);
  return refusedAt;
}

export const errors = [
  clientScenario({
    name: 'errors: with misleading messages',
    about: 'Errors whose message contradicts their code and data.',
    checks: ['err-client-unknown', 'rec-tell'],
    async run(t) {
      const { server } = t;
      const { log } = server;
      await t.follow();
      server.append(3);
      await t.untilAcked(3);

      const before = t.program.applied.length;
      const failedAt = await refuseNext(
        t,
        () =>
          new ErrorResponse(
            -32603,
            'Subscription not found. Call triggers/subscribe to create it.',
          ),
      );
      await t.check(
        'err-client-unknown',
        'after an internal error with the message of a lost subscription, the client continues from its position',
        async () => {
          const { epoch, sequence } = await t.nextDrain(failedAt + 1, 'the client to drain again');
          assert.deepEqual(
            { epoch, sequence, told: t.program.applied.slice(before) },
            { epoch: log.epoch, sequence: 3, told: [] },
          );
        },
      );

      // The server no longer has event 3, which the client has applied.
      log.events.length = 2;
      log.acked = 2;
      const rewoundAt = await refuseNext(t, () =>
        conflict(
          'position',
          log,
          'The position is of another epoch: the log has a new life. Start again from sequence 0 of data.epoch.',
        ),
      );
      await t.check(
        'err-client-unknown',
        'after the error for a position that is too high, with the message of a lost log, the client continues from `data.acked`',
        async () => {
          const { epoch, sequence } = await t.nextDrain(rewoundAt + 1, 'the client to drain again');
          assert.deepEqual({ epoch, sequence }, { epoch: log.epoch, sequence: 2 });
        },
      );
      server.append(1);
      await t.until('the client to continue', () => t.acks.at(-1)?.sequence === 3);

      const { epoch: lost } = log;
      log.acked = 0;
      log.loseEpoch();
      log.acked = 1;
      const lostAt = await refuseNext(t, () =>
        conflict(
          'epoch',
          log,
          'The position is beyond what exists or was sent. Use one at or below data.head, or data.sent to acknowledge.',
        ),
      );
      await t.check(
        'err-client-unknown',
        'after the error for a lost log, with the message of a position that is too high, the client continues from 0 of the new epoch',
        async () => {
          const { epoch, sequence } = await t.nextDrain(lostAt + 1, 'the client to drain again');
          assert.deepEqual({ epoch, sequence }, { epoch: log.epoch, sequence: 0 });
        },
      );
      await t.untilAcked(3);
      await t.check('rec-tell', 'the application learns of the lost log', () =>
        assert.ok(
          t.applied.some((line) => line.applied === 'lost' && line.epoch === lost),
          'the application did not learn of it',
        ),
      );

      const { epoch, head, acked } = log;
      log.end();
      const told = t.program.applied.length;
      const endedAt = await refuseNext(t, () =>
        notFound({ reason: 'expired', final: { epoch, head: head + 2, acked } }, 'Internal error'),
      );
      await t.check(
        'err-client-unknown',
        'after the error for an expired subscription, with the message of an internal error, the client subscribes again',
        async () => {
          await t.until('the client to subscribe again', () =>
            server.callsOf('triggers/subscribe').some(({ at }) => at >= endedAt),
          );
        },
      );
      await t.check('rec-tell', 'the application learns of the expired subscription', async () => {
        await t.until('the client to report it', () =>
          t.applied.slice(told).some(({ applied }) => applied === 'lost' || applied === 'ended'),
        );
      });
    },
  }),
  clientScenario({
    name: 'errors: already unsubscribed',
    about: 'The subscription has already ended when the client unsubscribes.',
    checks: ['err-client-unknown'],
    async run(t) {
      const { server } = t;
      const { log } = server;
      server.override('triggers/unsubscribe', () => {
        const { epoch, head, acked } = log;
        log.end();
        throw notFound(
          { reason: 'unsubscribed', final: { epoch, head, acked } },
          'Internal error. Send the request again.',
        );
      });
      await t.follow({ unsubscribeAfter: 2 });
      server.append(2);
      const unsubscribed = (): number => server.callsOf('triggers/unsubscribe').length;
      await t
        .until('the client to unsubscribe', () => unsubscribed() > 0)
        .catch(() => {
          throw new NotShown('The client does not unsubscribe after `unsubscribeAfter` events.');
        });
      await t.check(
        'err-client-unknown',
        'the client treats NotFound for `triggers/unsubscribe` as success: it calls the method once and exits with code 0',
        async () => {
          await t.until('the client to exit', () => t.program.ended !== undefined);
          assert.deepEqual(
            { asked: unsubscribed(), code: t.program.ended?.code },
            { asked: 1, code: 0 },
          );
        },
      );
    },
  }),
];
