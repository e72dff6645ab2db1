/** The delivery message on every drain (SEP: Delivery). */
import assert from 'node:assert/strict';
import { lastOf } from '../../runner/server/callback-endpoint.ts';
import {
  gapsOf,
  untilHead,
  readAll,
  sequencesOf,
  spans,
  untilStreamed,
} from '../../runner/server/coverage.ts';
import { scenario, type Drain } from '../../runner/server/scenario.ts';
import type { Json } from '../../runner/wire/session.ts';

const HEAD = 12;
/** The last sequence number that is a gap. */
const GAPS_END = 7;

/** The deliveries of one drain, in order. */
interface Drained {
  readonly drain: string;
  readonly deliveries: readonly Json[];
}

/** Calls `look` with each delivery and a name of it for error messages. */
const each = (all: readonly Drained[], look: (delivery: Json, which: string) => void): void => {
  for (const { drain, deliveries } of all)
    deliveries.forEach((delivery, at) => look(delivery, `delivery ${at + 1} by ${drain}`));
};

/** The ranges of events and gaps, in order. */
const ranges = ({ events, gaps }: Json): (readonly [from: number, to: number])[] => [
  ...events.map(({ sequence }: Json) => [sequence, sequence]),
  ...(gaps ?? []).map(({ from, to }: Json) => [from, to]),
];

export const delivery = [
  scenario({
    name: 'delivery: on every drain',
    about:
      'Each delivery covers a range without a hole, sequence numbers ascend on each drain, and an event is the same object everywhere.',
    checks: ['dlv-coverage', 'dlv-same-object'],
    needs: { verbs: ['emit', 'redact'], types: ['plain'] },
    async run(t) {
      const offers = (drain: Drain): boolean => t.offers(drain);
      const endpoint = offers('callback') ? await t.endpoint() : undefined;
      // The first answers, an error and a partial ack, make the server repeat events. The third one
      // makes it send a delivery without gaps.
      if (endpoint !== undefined) {
        endpoint.answer = ({ delivery: one }, n) => {
          if (n === 1) return { status: 503 };
          const last = [one.afterSequence + 1, Math.min(lastOf(one), GAPS_END)][n - 2];
          return { body: { ackSequence: last ?? lastOf(one) } };
        };
      }
      const subscription = await t.subscribe(
        endpoint === undefined ? {} : { callback: endpoint.callback },
      );
      const { subscriptionId, epoch } = subscription;
      const [topic, name, start] = [
        t.topicOf(subscription),
        t.control.type('plain'),
        { epoch, sequence: 0 },
      ];
      if (t.declares('pause'))
        await t.mcp.request('triggers/update', { subscriptionId, paused: true });
      const stream = offers('stream')
        ? await t.stream({ subscriptionId, after: start, window: { events: 100 } })
        : undefined;
      const eventId = t.unique('event');
      await t.emit(topic, 4);
      await t.control.do('emit', { events: [{ name, eventId, data: { topic, n: 5 } }] });
      await t.emit(topic, 2, { from: 6, data: { pad: 'x'.repeat(250_000) } });
      await t.emit(topic, HEAD - 7, { from: 8 });
      await untilHead(t, subscriptionId, HEAD);
      if (stream !== undefined) await untilStreamed(t, stream, HEAD);
      await t.control.do('redact', { name, eventId });
      if (t.declares('pause'))
        await t.mcp.request('triggers/update', { subscriptionId, paused: false });
      if (endpoint !== undefined)
        await t.until(
          'the callback to receive everything',
          async () => (await t.mcp.request('triggers/get', { subscriptionId })).acked === HEAD,
        );
      const later = offers('stream') ? await t.stream({ subscriptionId, after: start }) : undefined;
      if (later !== undefined) await untilStreamed(t, later, HEAD);
      const pulled = [
        ...(await readAll(t.mcp, subscriptionId, start, { maxEvents: 3 })),
        await t.mcp.request(
          'triggers/pull',
          { subscriptionId, after: { epoch, sequence: HEAD } },
          { validated: false },
        ),
      ];
      const called = endpoint?.deliveries.map((hit) => hit.delivery) ?? [];
      const all: readonly Drained[] = [
        { drain: 'pull', deliveries: pulled },
        { drain: 'stream', deliveries: stream?.deliveries ?? [] },
        { drain: 'another stream', deliveries: later?.deliveries ?? [] },
        { drain: 'callback', deliveries: called },
      ];

      await t.check(
        'dlv-coverage',
        'a delivery covers each sequence number from afterSequence + 1 to its last once',
        () =>
          each(all, (one, which) => {
            let position: number = one.afterSequence;
            for (const [from, to] of ranges(one).sort(([a], [b]) => a - b)) {
              assert.equal(from, position + 1, `${which} covers ${position} and then`);
              position = to;
            }
          }),
      );
      await t.check('dlv-coverage', 'the events and the gaps of a delivery each ascend', () =>
        each(all, (one, which) => {
          const numbers = sequencesOf([one]);
          assert.equal(
            spans(numbers),
            spans(numbers.toSorted((a, b) => a - b)),
            `events of ${which}:`,
          );
          let last = 0;
          for (const { from, to } of one.gaps ?? []) {
            assert.ok(
              from > last && to >= from,
              `${which} has a gap from ${from} to ${to} after one that ends at ${last}`,
            );
            last = to;
          }
        }),
      );
      await t.check('dlv-coverage', 'no delivery covers a sequence number above its head', () =>
        each(all, (one, which) =>
          assert.ok(
            lastOf(one) <= one.head,
            `${which} ends at ${lastOf(one)}, but its head is ${one.head}`,
          ),
        ),
      );
      await t.check('dlv-coverage', '`gaps` is absent without a gap', () =>
        each(all, (one, which) =>
          assert.ok(
            one.gaps === undefined || one.gaps.length > 0,
            `${which} has an empty \`gaps\``,
          ),
        ),
      );
      await t.check('dlv-coverage', 'new sequence numbers ascend on each drain', () => {
        for (const { drain, deliveries } of all) {
          const fresh: number[] = [];
          for (const one of deliveries) {
            const numbers = [
              ...sequencesOf([one]),
              ...gapsOf([one]).map(([sequence]) => sequence),
            ].sort((a, b) => a - b);
            fresh.push(...numbers.filter((sequence) => !fresh.includes(sequence)));
          }
          assert.equal(
            spans(fresh),
            spans(fresh.toSorted((a, b) => a - b)),
            `sequence numbers by ${drain}, at their first occurrence:`,
          );
        }
      });
      await t.check('dlv-same-object', 'an event is the same object on every drain', () => {
        const objects = new Map<number, Json>();
        each(all, (one, which) => {
          for (const event of one.events) {
            const known = objects.get(event.sequence);
            if (known === undefined) objects.set(event.sequence, event);
            else
              assert.deepEqual(
                event,
                known,
                `sequence number ${event.sequence} of ${which}, compared with its first occurrence:`,
              );
          }
        });
      });
      await t.check('dlv-coverage', 'every delivery has head and acked', () =>
        each(all, (one, which) => {
          for (const member of ['head', 'acked'])
            assert.ok(
              Number.isSafeInteger(one[member]),
              `\`${member}\` of ${which} is ${JSON.stringify(one[member])}`,
            );
        }),
      );
    },
  }),

  scenario({
    name: 'delivery: head and acked',
    about: 'Every delivery reports head and acked, also when it contains no events.',
    checks: ['dlv-coverage'],
    needs: { verbs: ['emit'], types: ['plain'] },
    async run(t) {
      const subscription = await t.subscribe();
      const { subscriptionId, epoch } = subscription;
      const topic = t.topicOf(subscription);
      const at = (sequence: number) => ({ epoch, sequence });
      await t.emit(topic, 3);
      await untilHead(t, subscriptionId, 3);
      const pull = async (params: object = {}): Promise<Json> =>
        t.mcp.request('triggers/pull', { subscriptionId, ...params }, { validated: false });
      const where = ({ head, acked }: Json) => ({ head, acked });
      await t.check('dlv-coverage', 'a pull that reads nothing has head and acked', async () => {
        await pull();
        assert.deepEqual(where(await pull({ maxEvents: 0, ack: at(1) })), { head: 3, acked: 1 });
        assert.deepEqual(where(await pull({ after: at(3) })), { head: 3, acked: 1 });
      });
      await t.check(
        'dlv-coverage',
        'a pull of one of several events has head and acked',
        async () => assert.deepEqual(where(await pull({ maxEvents: 1 })), { head: 3, acked: 1 }),
      );
      await t.check(
        'dlv-coverage',
        'each delivery of a stream has the current head and acked',
        async () => {
          if (!t.offers('stream')) return;
          const stream = await t.stream({ subscriptionId, window: { events: 1 } });
          await untilStreamed(t, stream, 2);
          await t.mcp.request('triggers/ack', { subscriptionId, position: at(2) });
          await untilStreamed(t, stream, 3);
          const [second, third] = [2, 3].map((sequence) =>
            stream.deliveries.find((one) => sequencesOf([one]).includes(sequence)),
          );
          assert.deepEqual(
            [where(second), where(third)],
            [
              { head: 3, acked: 1 },
              { head: 3, acked: 2 },
            ],
            '`head` and `acked` with events 2 and 3:',
          );
        },
      );
    },
  }),
];
