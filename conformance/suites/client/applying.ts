/**
 * Applying deliveries: repeated and out-of-order ones, a new epoch, and late deliveries of the old
 * epoch (SEP: Applying a delivery).
 */
import assert from 'node:assert/strict';
import { clientScenario, type ClientTest } from '../../runner/client/scenario.ts';
import type { Json } from '../../runner/wire/session.ts';

/**
 * Sends the value of `make` as the next delivery, whatever the client asks for. Resolves with the
 * time of sending, in epoch milliseconds.
 */
type Sender = (t: ClientTest, make: () => Json) => Promise<number>;

const SENDERS: Readonly<Record<'stream' | 'pull', Sender>> = {
  stream: async (t, make) => {
    const stream = await t.stream();
    t.server.automatic = false;
    stream.send(make());
    t.server.automatic = true;
    return Date.now();
  },
  pull: async (t, make) => {
    let sentAt = 0;
    t.server.answerPull(() => {
      sentAt = Date.now();
      return { ...make(), hasMore: false, nextPollMs: 50 };
    });
    await t.until('the next pull', () => sentAt !== 0);
    return sentAt;
  },
};

const numbers = (t: ClientTest, epoch: string): number[] =>
  t.applied
    .filter((line) => line.applied === 'event' && line.epoch === epoch)
    .map(({ sequence }) => sequence!);

export const applying = (['stream', 'pull'] as const).map((drain) =>
  clientScenario({
    name: `${drain}: applying deliveries`,
    about: 'The client applies every sequence number once and in order, whatever it receives.',
    checks: [
      'recv-duplicate',
      'recv-missing',
      'recv-missing-fetch',
      'recv-epoch',
      'recv-left-epoch',
      'recv-epoch-repeat',
    ],
    async run(t) {
      const { server } = t;
      const send = SENDERS[drain];
      await t.drain(drain);
      server.append(3);
      await t.untilAcked(3);

      await t.check(
        'recv-duplicate',
        'the client acknowledges a new event that follows repeated ones',
        async () => {
          await send(t, () => {
            server.append(1);
            return server.log.delivery(1);
          });
          await t.untilAcked(4);
        },
      );

      const { epoch } = server.log;
      const sentAt = await send(t, () => {
        server.append(3);
        return server.log.delivery(5);
      });
      const asked = () =>
        t.draining.find(({ at, params }) => at >= sentAt && (params.after?.sequence ?? 4) <= 4);
      await t
        .until(
          'the client to ask for the missing sequence numbers',
          () => asked() !== undefined || t.acked > 4,
        )
        .catch(() => undefined);
      await t.check(
        'recv-missing',
        'the client, which has applied 4, does not apply a delivery that starts after 5',
        () => {
          assert.deepEqual(
            t.acks.filter(({ at, sequence }) => sequence > 4 && at < (asked()?.at ?? Infinity)),
            [],
            'sequence numbers above 4 were acknowledged first',
          );
        },
      );
      await t.check(
        'recv-missing-fetch',
        'the client asks for the missing sequence numbers from its own position',
        () => {
          const { after = { epoch, sequence: 4 } } =
            asked()?.params ?? assert.fail('the client did not ask for them');
          assert.deepEqual(after, { epoch, sequence: 4 });
        },
      );
      await t.check(
        'recv-missing',
        'the client continues once the missing sequence numbers arrive',
        () => t.untilAcked(7),
      );
      await t.check(
        ['recv-duplicate', 'recv-missing'],
        'the application gets every sequence number once, in order',
        () => assert.deepEqual(numbers(t, epoch), [1, 2, 3, 4, 5, 6, 7]),
      );

      // The server has lost the last two acknowledgements, so it sends events 6 and 7 again as 1
      // and 2.
      const before = [...server.log.events];
      server.log.acked = 5;
      server.log.loseEpoch();
      server.stream?.finish();
      await t.untilAcked(2);
      server.append(1);
      await t.untilAcked(3);
      await t.check(
        'recv-epoch',
        'the application learns of the lost log before it gets an event of the new epoch',
        () => {
          const lost = t.applied.findIndex(({ applied }) => applied === 'lost');
          const first = t.applied.findIndex(
            (line) => line.applied === 'event' && line.epoch !== epoch,
          );
          assert.deepEqual(
            [t.applied[lost]?.epoch, t.applied[lost]?.sequence, lost < first],
            [epoch, 7, true],
          );
        },
      );
      await t.check(
        'recv-epoch-repeat',
        'the client does not apply an event again under its new sequence number',
        () => {
          const ids = t.applied
            .filter(({ applied }) => applied === 'event')
            .map(({ eventId }) => eventId);
          assert.equal(new Set(ids).size, ids.length);
        },
      );

      const late = {
        sequence: 8,
        eventId: 'event-late',
        name: 'conformance.plain',
        timestamp: '2026-01-01T00:00:00.000Z',
        acceptedAt: '2026-01-01T00:00:00.000Z',
        data: {},
      };
      const lateAt = await send(t, () => ({
        ...server.log.heartbeat(0),
        epoch,
        head: 8,
        events: [...before, late],
      }));
      await t.check(
        'recv-left-epoch',
        'the client continues in the new epoch after a late delivery of the old one',
        async () => {
          server.append(1);
          await t.untilAcked(4);
        },
      );
      await t.check('recv-left-epoch', 'the client does not acknowledge the late delivery', () =>
        assert.deepEqual(
          t.acks.filter((ack) => ack.epoch === epoch && ack.at >= lateAt),
          [],
        ),
      );
      await t.check('recv-left-epoch', 'the application gets no event of the late delivery', () =>
        assert.equal(
          t.applied.some(({ eventId }) => eventId === 'event-late'),
          false,
        ),
      );
    },
  }),
);
