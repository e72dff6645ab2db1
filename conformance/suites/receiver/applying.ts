/** Applying deliveries, and what is answered (SEP: Applying a delivery, Answers). */
import assert from 'node:assert/strict';
import { withUnknownMembers } from '../../runner/client/newer.ts';
import { NotApplicable } from '../../runner/looks.ts';
import { receiverScenario, type ReceiverTest } from '../../runner/receiver/scenario.ts';
import { DELIVERY_METHOD } from '../../runner/wire/sender.ts';

/** Answered with exactly this. */
async function acknowledges(t: ReceiverTest, delivery: object, ack: number): Promise<void> {
  const { status, body } = await t.settled(delivery);
  assert.deepEqual({ status, ack: body?.ack }, { status: 200, ack });
}

const events = async (t: ReceiverTest) =>
  (await t.applied()).filter(({ applied }) => applied === 'event');

export const applying = [
  receiverScenario({
    name: 'applying: in order, repeated, not next',
    about:
      'Deliveries as a right server sends them, and as they come after a lost answer, a second drain or a restored backup.',
    checks: [
      'ans-receiver-ack',
      'dlv-repeat',
      'recv-duplicate',
      'recv-missing',
      'recv-missing-fetch',
      'ans-receiver-missing',
    ],
    async run(t) {
      const { log } = t;
      await t.check('ans-receiver-ack', 'a delivery of three events is acknowledged with 3', () =>
        t.deliver(3),
      );
      await t.check('ans-receiver-ack', 'a heartbeat is acknowledged with its `after`', () =>
        acknowledges(t, log.heartbeat(3), 3),
      );
      await t.check(
        'ans-receiver-ack',
        'one whose last is below what is applied is acknowledged with its last',
        () => acknowledges(t, { ...log.delivery(0), events: log.events.slice(0, 2) }, 2),
      );
      await t.check('dlv-repeat', 'the same delivery again is acknowledged again', () =>
        acknowledges(t, log.delivery(0), 3),
      );
      log.append(1);
      await t.check('dlv-repeat', 'and one that repeats two numbers and has a new one', () =>
        acknowledges(t, log.delivery(1), 4),
      );
      log.acked = 4;
      log.appendGap(2);
      log.append(1);
      await t.check('ans-receiver-ack', 'a gap counts as applied once it was told', () =>
        acknowledges(t, log.delivery(4), 7),
      );
      log.acked = 7;

      log.append(3);
      const early = await t.send(log.delivery(8));
      await t.check(
        'recv-missing',
        'a delivery after 8 is not acknowledged when only 7 numbers are applied',
        () => {
          assert.ok(
            early.status !== 200 || !(early.body?.ack > 7),
            `HTTP ${early.status} ${JSON.stringify(early.body)}`,
          );
        },
      );
      await t.check('ans-receiver-missing', 'it is refused with 503', () =>
        assert.equal(early.status, 503),
      );
      await t.check('recv-missing-fetch', 'pulling is the part of its client', () => {
        throw new NotApplicable(
          'a receiver pulls nothing itself; `conformance client` looks at that',
        );
      });
      await t.check('recv-missing', 'the missing numbers are applied when they come', () =>
        acknowledges(t, log.delivery(7), 10),
      );

      await t.check(
        ['recv-duplicate', 'recv-missing'],
        'the application got every number once, in order',
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
    name: 'applying: a newer server',
    about: 'Deliveries with members that the receiver does not know, in every object.',
    checks: ['gen-ignore-unknown'],
    async run(t) {
      const { log } = t;
      log.append(2);
      log.appendGap(1);
      log.append(1);
      await t.check(
        'gen-ignore-unknown',
        'a delivery with unknown members is applied',
        async () => {
          const raw = JSON.stringify({
            jsonrpc: '2.0',
            method: DELIVERY_METHOD,
            params: withUnknownMembers(log.delivery(0)),
            newMember: true,
          });
          const { status, body } = await t.settled(log.delivery(0), { raw });
          assert.deepEqual({ status, ack: body?.ack }, { status: 200, ack: 4 });
        },
      );
    },
  }),
  receiverScenario({
    name: 'applying: a new epoch',
    about:
      'The server has lost its log; the rest comes again with other numbers, and late requests of the old log arrive.',
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
        'the application is told that the log was lost before it gets an event of the new epoch',
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
        'events that it had are not applied again under their new numbers',
        async () => {
          const ids = (await events(t)).map(({ eventId }) => eventId);
          assert.equal(new Set(ids).size, ids.length);
        },
      );
      const answered = await t.send(late);
      await t.check(
        'recv-left-epoch',
        'a late delivery of the epoch before is not acknowledged',
        () => {
          assert.ok(
            answered.status !== 200 || answered.body?.ack === undefined,
            `HTTP ${answered.status} ${JSON.stringify(answered.body)}`,
          );
        },
      );
      await t.check('recv-left-epoch', 'the new epoch goes on where it was', () => t.deliver(1));
      await t.check(
        'recv-left-epoch',
        'nothing of the late delivery reaches the application',
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
    about: 'The receiver dies and comes back.',
    checks: ['ack-client-durable', 'recv-duplicate'],
    needs: ['restart', 'applied'],
    async run(t) {
      const { log } = t;
      await t.deliver(3);
      await t.control.do('restart', {});
      await t.check('ack-client-durable', 'what it had acknowledged is still applied', async () =>
        assert.deepEqual(
          (await events(t)).map(({ sequence }) => sequence),
          [1, 2, 3],
        ),
      );
      await t.check(
        ['recv-duplicate', 'ack-client-durable'],
        'it knows where it was: what comes again is not applied again',
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
];
