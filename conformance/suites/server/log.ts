/**
 * The log: which events get sequence numbers, in which order, and what survives a crash (SEP: The
 * log, Epochs).
 */
import assert from 'node:assert/strict';
import {
  coveredBy,
  gapsOf,
  untilHead,
  readAll,
  errorOf,
  sequencesOf,
  spans,
  untilStreamed,
  WELL_BEYOND,
} from '../../runner/server/coverage.ts';
import { scenario, type ServerTest } from '../../runner/server/scenario.ts';
import type { Json } from '../../runner/wire/session.ts';

const EPOCH = /^[A-Za-z0-9_-]{8,64}$/;

/** Emits events with these ids, in this order; their `n` counts from `from`. */
async function occur(
  t: ServerTest,
  topic: string,
  ids: readonly string[],
  from = 1,
  name = t.control.type('plain'),
): Promise<void> {
  await t.control.do('emit', {
    events: ids.map((eventId, at) => ({ name, eventId, data: { topic, n: from + at } })),
  });
}

/** Unique event ids. */
const ids = (t: ServerTest, count: number): string[] =>
  Array.from({ length: count }, () => t.unique('event'));
const eventsOf = (deliveries: readonly Json[]): Json[] =>
  deliveries.flatMap(({ events }) => events);
const idsOf = (deliveries: readonly Json[]): string[] =>
  eventsOf(deliveries).map(({ eventId }) => eventId);
/** The events with the members that may never change. */
const named = (deliveries: readonly Json[]): Json[] =>
  eventsOf(deliveries).map(({ sequence, eventId, name, timestamp, acceptedAt, data }) => ({
    sequence,
    eventId,
    name,
    timestamp,
    acceptedAt,
    data,
  }));

export const log = [
  scenario({
    name: 'log: numbers',
    about:
      'Every matching log contains each event once, numbered 1, 2, 3 in the order of acceptance, and a sequence number always names the same event.',
    checks: ['log-contiguous', 'log-all-matching', 'log-once', 'log-stable'],
    needs: { verbs: ['emit'], types: ['plain'] },
    async run(t) {
      const plain = t.control.type('plain');
      const first = await t.subscribe();
      const topic = t.topicOf(first);
      const second = await t.subscribe({
        select: [
          ...(t.declares('multiSelect')
            ? [{ name: plain, arguments: { topic: t.unique('topic') } }]
            : []),
          { name: plain, arguments: { topic } },
        ],
      });
      const elsewhere = await t.subscribe();
      const everything = await t.subscribe({ select: [{ name: plain }] });
      const occurred = ids(t, 10);
      await occur(t, topic, occurred.slice(0, 6));
      // Repeats two events of the log, with other data.
      await occur(t, topic, [occurred[1]!, occurred[4]!], 90);
      await occur(t, topic, occurred.slice(6), 7);
      const read = ({ subscriptionId, epoch }: Json, params: object = {}): Promise<Json[]> =>
        readAll(t.mcp, subscriptionId, { epoch, sequence: 0 }, params);
      for (const { subscriptionId } of [first, second]) await untilHead(t, subscriptionId, 10);

      await t.check(
        'log-contiguous',
        'ten events, read in pages of three, have the sequence numbers 1 to 10',
        async () =>
          assert.equal(
            spans(sequencesOf(await read(first, { maxEvents: 3 }))),
            '1-10',
            'sequence numbers:',
          ),
      );
      await t.check(
        'log-contiguous',
        'the events are in the order in which they were emitted',
        async () => {
          const order = eventsOf(await read(first))
            .map(({ data }) => data.n)
            .filter((n) => n < 90);
          assert.deepEqual(
            order,
            order.toSorted((a, b) => a - b),
            '`data.n`:',
          );
        },
      );
      await t.check(
        'log-all-matching',
        'each matching log has all events, and another log has none',
        async () => {
          for (const subscription of [first, second]) {
            const held = new Set(idsOf(await read(subscription)));
            assert.equal(
              occurred.filter((id) => !held.has(id)).length,
              0,
              'events missing in a matching log:',
            );
          }
          assert.equal(
            (await t.mcp.request('triggers/get', { subscriptionId: elsewhere.subscriptionId }))
              .head,
            0,
            '`head` of a log without matches:',
          );
        },
      );
      await t.check(
        'log-all-matching',
        'the log of a selection without arguments has all events',
        async () => {
          // It also has what other scenarios emit.
          const held = new Set(idsOf(await read(everything)));
          assert.equal(
            occurred.filter((id) => !held.has(id)).length,
            0,
            'events missing in the log without arguments:',
          );
        },
      );
      await t.check('log-once', 'a repeated eventId appends nothing', async () => {
        for (const subscription of [first, second]) {
          const held = idsOf(await read(subscription));
          assert.equal(held.length, new Set(held).size, 'events of a log with different ids:');
        }
      });
      await t.check(
        'log-stable',
        'a sequence number names the same event in each read and on every drain',
        async () => {
          const once = named(await read(first));
          await t.pause(20);
          assert.deepEqual(named(await read(first, { maxEvents: 4 })), once);
          if (!t.offers('stream')) return;
          const stream = await t.stream({ subscriptionId: first.subscriptionId });
          await untilStreamed(t, stream, 10);
          assert.deepEqual(named(stream.deliveries), once);
        },
      );
    },
  }),

  scenario({
    name: 'log: no silent loss',
    about: 'Every sequence number stays in the log until it is acknowledged.',
    checks: ['log-no-silent-loss'],
    needs: { verbs: ['emit'], types: ['short'] },
    async run(t) {
      const name = t.control.type('short');
      const subscription = await t.subscribe({
        select: [{ name, arguments: { topic: t.unique('topic') } }],
      });
      const { subscriptionId, epoch, retention } = subscription;
      const topic = t.topicOf(subscription);
      const at = (sequence: number) => ({ epoch, sequence });
      await t.emit(topic, 8, { name });
      await untilHead(t, subscriptionId, 8);
      await t.mcp.request('triggers/pull', { subscriptionId });
      await t.mcp.request('triggers/ack', { subscriptionId, position: at(3) });
      const head = WELL_BEYOND * retention.maxEvents;
      await t.emit(topic, head - 9, { from: 9, name });
      await t.emit(topic, 1, { from: head, name, data: { pad: 'x'.repeat(250_000) } });
      await untilHead(t, subscriptionId, head);
      await t.check(
        'log-no-silent-loss',
        `of ${head} events, with a retention of ${retention.maxEvents} and one too large, each unacknowledged sequence number is an event or a gap`,
        async () => {
          assert.equal(
            spans(coveredBy(await readAll(t.mcp, subscriptionId, at(3)))),
            `4-${head}`,
            'sequence numbers covered by pulls:',
          );
        },
      );
      await t.check(
        'log-no-silent-loss',
        'a stream covers each unacknowledged sequence number too',
        async () => {
          if (!t.offers('stream')) return;
          const stream = await t.stream({ subscriptionId });
          await untilStreamed(t, stream, head);
          assert.equal(
            spans(coveredBy(stream.deliveries)),
            `4-${head}`,
            'sequence numbers covered by a stream:',
          );
        },
      );
    },
  }),

  scenario({
    name: 'log: epochs',
    about: 'Each log has its own epoch, which no action of a client changes.',
    checks: ['log-epoch-rotate'],
    needs: { verbs: ['emit'], types: ['plain'] },
    async run(t) {
      const made: Json[] = [];
      const key = t.unique();
      for (const params of [{}, {}, { key }]) made.push(await t.subscribe(params));
      await t.mcp.request('triggers/unsubscribe', { subscriptionId: made[2].subscriptionId });
      made.push(await t.subscribe({ key, select: made[2].select }));
      await t.check(
        'log-epoch-rotate',
        'an epoch has 8 to 64 characters of letters, digits, _ and -',
        () => {
          for (const { epoch } of made)
            assert.match(epoch, EPOCH, `an epoch is ${JSON.stringify(epoch)}`);
        },
      );
      await t.check(
        'log-epoch-rotate',
        'four logs have four epochs, also when a key is reused',
        () =>
          assert.equal(
            new Set(made.map(({ epoch }) => epoch)).size,
            made.length,
            'different epochs:',
          ),
      );

      const { subscriptionId, epoch, select, key: own } = made[0];
      const happens: readonly (readonly [what: string, act: () => Promise<unknown>])[] = [
        [
          'events were appended',
          async () => {
            await t.emit(select[0].arguments.topic, 3);
            await untilHead(t, subscriptionId, 3);
          },
        ],
        [
          'the log was read and acknowledged',
          async () => {
            await t.mcp.request('triggers/pull', { subscriptionId });
            await t.mcp.request('triggers/pull', { subscriptionId, ack: { epoch, sequence: 3 } });
          },
        ],
        [
          'the subscription was paused and resumed',
          async () => {
            for (const paused of t.declares('pause') ? [true, false] : [])
              await t.mcp.request('triggers/update', { subscriptionId, paused });
          },
        ],
        [
          'the selection changed',
          () =>
            t.mcp.request('triggers/update', {
              subscriptionId,
              select: [{ name: t.control.type('plain'), arguments: { topic: t.unique('topic') } }],
            }),
        ],
        [
          'the selection changed back',
          () => t.mcp.request('triggers/update', { subscriptionId, select }),
        ],
        [
          'the subscription was renewed',
          () => t.mcp.request('triggers/subscribe', { key: own, select }),
        ],
      ];
      for (const [what, act] of happens) {
        await t.check('log-epoch-rotate', `the epoch is the same after ${what}`, async () => {
          await act();
          assert.equal(
            (await t.mcp.request('triggers/get', { subscriptionId })).epoch,
            epoch,
            '`epoch`:',
          );
        });
      }
    },
  }),

  scenario({
    name: 'log: a crash',
    about:
      'A crash changes nothing in a durable log: lifetime, epoch, sequence numbers, gaps and acknowledgement stay.',
    checks: [
      'ttl-survives',
      'log-epoch-rotate',
      'log-contiguous',
      'log-stable',
      'log-once',
      'log-no-silent-loss',
      'ack-only-said',
      'gap-final',
      'log-durable-sent',
    ],
    needs: { verbs: ['emit', 'crash', 'redact'], types: ['plain'], durable: true },
    alone: true,
    async run(t) {
      const subscription = await t.subscribe();
      const { subscriptionId, epoch } = subscription;
      const topic = t.topicOf(subscription);
      const start = { epoch, sequence: 0 };
      const unacknowledged = await t.subscribe({ select: subscription.select });
      const occurred = ids(t, 6);
      await occur(t, topic, occurred);
      for (const log of [subscriptionId, unacknowledged.subscriptionId]) await untilHead(t, log, 6);
      await t.mcp.request('triggers/pull', {
        subscriptionId: unacknowledged.subscriptionId,
        maxEvents: 5,
      });
      await t.control.do('redact', { name: t.control.type('plain'), eventId: occurred[3]! });
      await t.mcp.request('triggers/pull', { subscriptionId });
      await t.mcp.request('triggers/ack', { subscriptionId, position: { epoch, sequence: 2 } });
      const [before, read] = [
        await t.mcp.request('triggers/get', { subscriptionId }),
        await readAll(t.mcp, subscriptionId, start),
      ];
      await t.control.do('crash', {});

      const [after, again] = [
        await t.mcp.request('triggers/get', { subscriptionId }),
        await readAll(t.mcp, subscriptionId, start),
      ];
      await t.check(
        'log-durable-sent',
        'what was pulled before the crash can be acknowledged without reading it again, and nothing beyond the head',
        async () => {
          const log = unacknowledged.subscriptionId;
          const at = (sequence: number) => ({ epoch: unacknowledged.epoch, sequence });
          assert.equal(
            (await t.mcp.request('triggers/ack', { subscriptionId: log, position: at(5) })).acked,
            5,
            '`acked`:',
          );
          const { data } = await errorOf(t, 'triggers/ack', {
            subscriptionId: log,
            position: at(7),
          });
          assert.equal(data?.kind, 'position', '`data.kind` of an acknowledgement above the head:');
        },
      );
      await t.check('ttl-survives', 'the subscription exists with the same lifetime', () => {
        assert.deepEqual(
          [after.key, after.ttlMs, after.expiresAt],
          [before.key, before.ttlMs, before.expiresAt],
          '`key`, `ttlMs` and `expiresAt`:',
        );
      });
      await t.check('log-epoch-rotate', 'a durable log has the same epoch', () =>
        assert.equal(after.epoch, epoch, '`epoch`:'),
      );
      await t.check('ack-only-said', 'acknowledged events stay acknowledged', () =>
        assert.equal(after.acked, 2, '`acked`:'),
      );
      await t.check('log-stable', 'each sequence number names the same event', () =>
        assert.deepEqual(named(again), named(read)),
      );
      await t.check('gap-final', 'a gap stays a gap', () =>
        assert.deepEqual(gapsOf(again), gapsOf(read), 'gaps:'),
      );
      await t.check('log-no-silent-loss', 'all six sequence numbers are present', () =>
        assert.equal(spans(coveredBy(again)), '1-6', 'covered sequence numbers:'),
      );
      await occur(t, topic, [occurred[0]!, occurred[5]!], 90);
      await occur(t, topic, ids(t, 1), 7);
      await untilHead(t, subscriptionId, 7);
      const further = await readAll(t.mcp, subscriptionId, { epoch, sequence: 6 });
      await t.check('log-contiguous', 'sequence numbers continue after the crash', () =>
        assert.equal(sequencesOf(further)[0], 7, 'the first sequence number after the crash:'),
      );
      await t.check('log-once', 'repeating an event from before the crash appends nothing', () => {
        const repeated = idsOf(further).filter((id) => occurred.includes(id));
        assert.deepEqual(repeated, [], 'events that were appended again:');
      });
    },
  }),

  scenario({
    name: 'log: lost writes',
    about:
      'After a store lost writes, the log starts a new epoch with the remaining events and rejects positions of the old one.',
    checks: ['log-epoch-rotate', 'log-epoch-renumber', 'log-epoch-streams', 'etag-config'],
    needs: { verbs: ['emit', 'remember', 'lose', 'redact'], types: ['plain'] },
    alone: true,
    async run(t) {
      const subscription = await t.subscribe();
      const { subscriptionId, epoch: old } = subscription;
      const topic = t.topicOf(subscription);
      const occurred = ids(t, 6);
      await occur(t, topic, occurred);
      await untilHead(t, subscriptionId, 6);
      await t.control.do('redact', { name: t.control.type('plain'), eventId: occurred[3]! });
      await t.mcp.request('triggers/pull', { subscriptionId });
      await t.mcp.request('triggers/ack', {
        subscriptionId,
        position: { epoch: old, sequence: 2 },
      });
      await t.control.do('remember', {});
      // `lose` discards the writes from here on.
      await occur(t, topic, ids(t, 2), 7);
      await untilHead(t, subscriptionId, 8);
      await t.mcp.request('triggers/pull', { subscriptionId });
      await t.mcp.request('triggers/ack', {
        subscriptionId,
        position: { epoch: old, sequence: 5 },
      });
      const streams = t.offers('stream');
      const before = streams ? await t.stream({ subscriptionId }) : undefined;
      if (before !== undefined) await untilStreamed(t, before, 8);
      await t.control.do('lose', {});

      const now = await t.mcp.request('triggers/get', { subscriptionId });
      const { epoch } = now;
      await t.check('etag-config', 'the ETag changes with the epoch', () =>
        assert.notEqual(now.etag, subscription.etag, '`etag`:'),
      );
      await t.check('log-epoch-rotate', 'the log has another epoch', () =>
        assert.notEqual(epoch, old, 'the epoch is the same'),
      );
      await t.check('log-epoch-rotate', 'positions of the old epoch are rejected', async () => {
        for (const [method, params] of [
          ['triggers/pull', { after: { epoch: old, sequence: 1 } }],
          ['triggers/ack', { position: { epoch: old, sequence: 1 } }],
          ...(streams
            ? [['triggers/stream', { after: { epoch: old, sequence: 1 } }] as const]
            : []),
        ] as const) {
          assert.equal(
            (await errorOf(t, method, { subscriptionId, ...params })).data?.kind,
            'epoch',
            `\`data.kind\` of the error of ${method}:`,
          );
        }
      });
      await t.check('log-epoch-rotate', 'the new epoch is valid and unused', () => {
        assert.match(epoch, EPOCH, `the epoch is ${JSON.stringify(epoch)}`);
        assert.notEqual(epoch, old);
      });
      await t.check(
        'log-epoch-renumber',
        'in the new epoch nothing is acknowledged, and the unacknowledged events and gaps have the sequence numbers from 1, in their old order',
        async () => {
          assert.deepEqual([now.acked, now.head], [0, 4], '`acked` and `head`:');
          const rest = await readAll(t.mcp, subscriptionId, { epoch, sequence: 0 });
          assert.deepEqual(
            eventsOf(rest).map(({ sequence, eventId }) => [sequence, eventId]),
            [
              [1, occurred[2]],
              [3, occurred[4]],
              [4, occurred[5]],
            ],
            'events of the new epoch:',
          );
          assert.deepEqual(gapsOf(rest), [[2, 'redacted']], 'gaps of the new epoch:');
        },
      );
      await t.check(
        'log-epoch-streams',
        'the stream of the old epoch ends, and no stream carries two epochs',
        async () => {
          if (before === undefined) return;
          const after = await t.stream({ subscriptionId, after: { epoch, sequence: 0 } });
          await untilStreamed(t, after, 4);
          await t.until('the end of the stream that was open', () => before.ended);
          for (const stream of [before, after])
            assert.equal(
              new Set(stream.deliveries.map((delivery) => delivery.epoch)).size,
              1,
              'epochs of one stream:',
            );
        },
      );
    },
  }),
];
