/** Applying deliveries, and their answers (SEP: Applying a delivery, Answers). */
import assert from 'node:assert/strict';
import { withUnknownMembers } from '../../runner/wire/unknown-members.ts';
import { NotApplicable } from '../../runner/observations.ts';
import { appliedNumbers } from '../../runner/client/program.ts';
import { receiverScenario, type ReceiverTest } from '../../runner/receiver/scenario.ts';
import { DELIVERY_METHOD } from '../../runner/wire/sender.ts';

/** Epochs that a reader has to remember after it left them. */
const LEFT_EPOCHS = 16;

/** Delivers until the answer is final, and asserts that it acknowledges exactly `ack`. */
async function acknowledges(t: ReceiverTest, delivery: object, ack: number): Promise<void> {
  const { status, body } = await t.settled(delivery);
  assert.deepEqual({ status, ackSequence: body?.ackSequence }, { status: 200, ackSequence: ack });
}

const events = async (t: ReceiverTest) =>
  (await t.applied()).filter(({ applied }) => applied === 'event');

export const applying = [
  receiverScenario({
    name: 'applying: in order, repeated, out of order',
    about:
      'Deliveries as a correct server sends them, also after a lost answer, from a second drain or after a restored backup.',
    checks: [
      'ans-receiver-ack',
      'recv-duplicate',
      'recv-missing',
      'recv-missing-fetch',
      'ans-receiver-missing',
    ],
    async run(t) {
      const { log } = t;
      await t.check(
        'ans-receiver-ack',
        'the receiver acknowledges a delivery of three events with 3',
        () => t.deliver(3),
      );
      await t.check(
        'ans-receiver-ack',
        'the receiver acknowledges a heartbeat with its `afterSequence`',
        () => acknowledges(t, log.heartbeat(3), 3),
      );
      await t.check(
        'ans-receiver-ack',
        'the receiver acknowledges an old delivery with its last sequence number',
        () => acknowledges(t, { ...log.delivery(0), events: log.events.slice(0, 2) }, 2),
      );
      await t.check('recv-duplicate', 'the receiver acknowledges a repeated delivery again', () =>
        acknowledges(t, log.delivery(0), 3),
      );
      log.append(1);
      await t.check(
        'recv-duplicate',
        'the receiver acknowledges a new event that follows repeated ones',
        () => acknowledges(t, log.delivery(1), 4),
      );
      log.acked = 4;
      log.appendGap(2);
      log.append(1);
      await t.check('ans-receiver-ack', 'the receiver acknowledges a gap that it handed on', () =>
        acknowledges(t, log.delivery(4), 7),
      );
      log.acked = 7;

      log.append(3);
      const early = await t.send(log.delivery(8));
      await t.check(
        'recv-missing',
        'the receiver, which has applied 7, does not acknowledge a delivery that starts after 8',
        () => {
          assert.ok(
            early.status !== 200 || !(early.body?.ackSequence > 7),
            `HTTP ${early.status} ${JSON.stringify(early.body)}`,
          );
        },
      );
      await t.check(
        'ans-receiver-missing',
        'the receiver answers missing sequence numbers with 503',
        () => assert.equal(early.status, 503),
      );
      await t.check(
        'recv-missing-fetch',
        "the receiver's client pulls the missing sequence numbers",
        () => {
          throw new NotApplicable('A receiver does not pull. The client suite checks this.');
        },
      );
      await t.check(
        'recv-missing',
        'the receiver applies the missing sequence numbers when they arrive',
        () => acknowledges(t, log.delivery(7), 10),
      );

      await t.check(
        ['recv-duplicate', 'recv-missing'],
        'the application gets every sequence number once, in order',
        async () => {
          assert.deepEqual(
            (await events(t)).map(({ sequence }) => sequence),
            [1, 2, 3, 4, 7, 8, 9, 10],
          );
        },
      );
    },
  }),
  receiverScenario({
    name: 'applying: another reader',
    about:
      'The client has acknowledged numbers by pull that the receiver has not applied, or the receiver was restored from a backup.',
    checks: ['recv-elsewhere'],
    async run(t) {
      const { log } = t;
      await t.deliver(3);
      log.append(2);
      log.acked = 5;
      await t.check(
        'recv-elsewhere',
        'the receiver acknowledges a delivery that follows numbers which another reader has acknowledged',
        () => t.deliver(2),
      );
      await t.check(
        'recv-elsewhere',
        'the application learns of every number that another reader has acknowledged, before the events after it',
        async () =>
          assert.deepEqual(appliedNumbers(await t.applied(), log.epoch), [1, 2, 3, 4, 5, 6, 7]),
      );
      log.append(1);
      log.acked = 8;
      await t.check(
        'recv-elsewhere',
        'the receiver acknowledges a heartbeat that follows such numbers',
        () => acknowledges(t, log.heartbeat(8), 8),
      );
    },
  }),
  receiverScenario({
    name: 'applying: a newer server',
    about:
      'Deliveries with unknown members in every object, and unknown values of open enumerations.',
    checks: ['gen-ignore-unknown'],
    async run(t) {
      const { log } = t;
      log.append(2);
      log.appendGap(1);
      log.append(1);
      await t.check(
        'gen-ignore-unknown',
        'the receiver applies a delivery with unknown members',
        async () => {
          const raw = JSON.stringify({
            jsonrpc: '2.0',
            method: DELIVERY_METHOD,
            params: withUnknownMembers(log.delivery(0)),
            newMember: true,
          });
          const { status, body } = await t.settled(log.delivery(0), { raw });
          assert.deepEqual(
            { status, ackSequence: body?.ackSequence },
            { status: 200, ackSequence: 4 },
          );
        },
      );
      log.appendGap(2, 'quarantined');
      log.append(1);
      await t.check(
        'gen-ignore-unknown',
        'the receiver applies a delivery with a gap for an unknown reason',
        async () => {
          const { status, body } = await t.settled(log.delivery(4));
          assert.deepEqual(
            { status, ackSequence: body?.ackSequence },
            { status: 200, ackSequence: 7 },
          );
        },
      );
    },
  }),
  receiverScenario({
    name: 'applying: a new epoch',
    about:
      'The server starts a new epoch: unacknowledged events arrive with new sequence numbers, and a late request of the old epoch follows.',
    checks: ['recv-epoch', 'recv-epoch-repeat', 'recv-left-epoch'],
    async run(t) {
      const { log } = t;
      await t.deliver(4);
      const { epoch } = log;
      const late = {
        ...log.delivery(0),
        head: 5,
        events: [...log.events, { ...t.next.events[0], sequence: 5 }],
      };
      log.acked = 2;
      log.loseEpoch();
      await t.deliver(1);
      await t.check(
        'recv-epoch',
        'the application learns of the lost log before it gets an event of the new epoch',
        async () => {
          const items = await t.applied();
          const lost = items.findIndex(({ applied }) => applied === 'lost');
          const first = items.findIndex((item) => item.applied === 'event' && item.epoch !== epoch);
          assert.deepEqual(
            [items[lost]?.epoch, items[lost]?.sequence, lost < first],
            [epoch, 4, true],
          );
        },
      );
      await t.check(
        'recv-epoch-repeat',
        'the receiver does not apply an event again under its new sequence number',
        async () => {
          const ids = (await events(t)).map(({ eventId }) => eventId);
          assert.equal(new Set(ids).size, ids.length);
        },
      );
      const answered = await t.send(late);
      await t.check(
        'recv-left-epoch',
        'the receiver does not acknowledge a late delivery of the old epoch',
        () => {
          assert.ok(
            answered.status !== 200 || answered.body?.ackSequence === undefined,
            `HTTP ${answered.status} ${JSON.stringify(answered.body)}`,
          );
        },
      );
      await t.check(
        'recv-left-epoch',
        'the receiver continues in the new epoch after the late delivery',
        () => t.deliver(1),
      );
      for (let left = 1; left < LEFT_EPOCHS; left += 1) {
        log.loseEpoch();
        await t.deliver(1);
      }
      const again = await t.send(late);
      await t.check(
        'recv-left-epoch',
        `the receiver does not acknowledge it after it has left ${LEFT_EPOCHS} epochs either`,
        () => {
          assert.ok(
            again.status !== 200 || again.body?.ackSequence === undefined,
            `HTTP ${again.status} ${JSON.stringify(again.body)}`,
          );
        },
      );
      await t.check(
        'recv-left-epoch',
        'the application gets no event of the late delivery',
        async () =>
          assert.deepEqual(
            (await t.applied()).filter(({ eventId }) => eventId?.startsWith('refused-')),
            [],
          ),
      );
    },
  }),
  receiverScenario({
    name: 'applying: a restart',
    about: 'The receiver is killed and starts again.',
    checks: ['ack-client-durable', 'recv-duplicate'],
    needs: ['restart', 'applied'],
    async run(t) {
      const { log } = t;
      await t.deliver(3);
      await t.control.do('restart', {});
      await t.check('ack-client-durable', 'the receiver keeps what it acknowledged', async () =>
        assert.deepEqual(
          (await events(t)).map(({ sequence }) => sequence),
          [1, 2, 3],
        ),
      );
      await t.check(
        ['recv-duplicate', 'ack-client-durable'],
        'the receiver keeps its position and does not apply repeated events again',
        async () => {
          await acknowledges(t, log.delivery(0), 3);
          await t.deliver(1);
          assert.deepEqual(
            (await events(t)).map(({ sequence }) => sequence),
            [1, 2, 3, 4],
          );
        },
      );
    },
  }),
  receiverScenario({
    name: 'applying: a repeated end',
    about: 'The answer to a termination notice was lost, and the server repeats the notice.',
    checks: ['end-receiver'],
    async run(t) {
      await t.deliver(1);
      const notice = { ...t.log.heartbeat(1), terminated: { reason: 'revoked' } };
      for (const what of ['a termination notice', 'the same notice again'])
        await t.check('end-receiver', `the receiver accepts ${what}`, async () => {
          const { status } = await t.settled(notice);
          assert.ok(status >= 200 && status < 300, `HTTP ${status}`);
        });
    },
  }),
];
