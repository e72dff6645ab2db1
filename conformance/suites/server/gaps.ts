/** Sequence numbers that become gaps (SEP: Retention, Gaps). */
import assert from 'node:assert/strict';
import { NotShown } from '../../runner/observations.ts';
import { lastOf } from '../../runner/server/callback-endpoint.ts';
import {
  coveredBy,
  gapsOf,
  gapSpans,
  untilHead,
  readAll,
  sequencesOf,
  spans,
  untilStreamed,
  upTo,
  WELL_BEYOND,
  type GapNumber,
} from '../../runner/server/coverage.ts';
import { scenario, type ServerTest } from '../../runner/server/scenario.ts';
import type { Json } from '../../runner/wire/session.ts';

const REASONS = new Set([
  'retention',
  'skipped',
  'rejected',
  'too_large',
  'invalid',
  'unwatched',
  'redacted',
]);
const EVENT_BYTES_MAX = 245_760;
/** Longer than any wait between two attempts. */
const ATTEMPTS_MS = 310_000;
/** More attempts than any server makes before it skips an event. */
const ATTEMPTS_MAX = 10;
const SLACK_MS = 60_000;
/** The share of the age by which a server may trim late; it may never trim early. */
const LATE = 0.25;

/** Subscribes to the type `short`. Returns the subscription and functions on its log. */
async function shortLog(t: ServerTest, params: object = {}) {
  const name = t.control.type('short');
  const subscription = await t.subscribe({
    select: [{ name, arguments: { topic: t.unique('topic') } }],
    ...params,
  });
  const { subscriptionId, epoch, retention } = subscription;
  return {
    subscription,
    subscriptionId,
    retention,
    emit: async (count: number, from: number): Promise<void> => {
      await t.emit(t.topicOf(subscription), count, { from, name });
      await untilHead(t, subscriptionId, from + count - 1);
    },
    read: (): Promise<Json[]> => readAll(t.mcp, subscriptionId, { epoch, sequence: 0 }),
    oldest: async (): Promise<number> =>
      (await t.mcp.request('triggers/get', { subscriptionId })).oldest,
  };
}

/** Throws `NotShown` when nothing was trimmed. */
function trimmed(read: readonly Json[], oldest: number): void {
  if (oldest === 1 && sequencesOf(read)[0] === 1)
    throw new NotShown('The server has trimmed nothing yet.');
}

/** Asserts that the log is covered up to `head`, with gaps exactly where it was trimmed. */
function announced(read: readonly Json[], oldest: number, head: number): void {
  trimmed(read, oldest);
  assert.equal(spans(coveredBy(read)), `1-${head}`, 'sequence numbers covered from 0:');
  assert.equal(
    gapSpans(gapsOf(read)),
    gapSpans(upTo(1, oldest - 1).map((sequence) => [sequence, 'retention'])),
    `gaps while \`oldest\` is ${oldest}:`,
  );
}

export const gaps = [
  scenario({
    name: 'gaps: a full log',
    about: 'A log keeps what it announces, and reports what it trims as a gap.',
    checks: ['gap-retention-announced', 'gap-oldest'],
    needs: { verbs: ['emit'], types: ['short'] },
    async run(t) {
      const {
        emit,
        read,
        oldest,
        retention: { maxEvents },
      } = await shortLog(t);
      await emit(maxEvents, 1);
      await t.check(
        'gap-retention-announced',
        `the ${maxEvents} events that the log announces to keep are present`,
        async () =>
          assert.equal(spans(sequencesOf(await read())), `1-${maxEvents}`, 'events in the log:'),
      );
      await t.check('gap-oldest', '`oldest` is 1 before anything is trimmed', async () =>
        assert.equal(await oldest(), 1, '`oldest`:'),
      );
      const head = WELL_BEYOND * maxEvents;
      await emit(head - maxEvents, maxEvents + 1);
      const [all, lowest] = [await read(), await oldest()];
      await t.check(
        'gap-retention-announced',
        `the newest ${maxEvents} of ${head} events are present`,
        () => {
          const held = new Set(sequencesOf(all));
          assert.equal(
            spans(upTo(head - maxEvents + 1, head).filter((sequence) => !held.has(sequence))),
            '',
            'missing sequence numbers:',
          );
        },
      );
      await t.check(
        'gap-retention-announced',
        'trimmed events are a gap of reason "retention"',
        () => announced(all, lowest, head),
      );
      await t.check('gap-oldest', '`oldest` is the number after the last trimmed one', () => {
        trimmed(all, lowest);
        assert.equal(
          lowest,
          sequencesOf(all)[0],
          '`oldest`, compared with the first readable sequence number:',
        );
      });
      const mixed = await shortLog(t);
      await mixed.emit(1, 1);
      // Data that does not fit the type is a gap, which takes no place of an event.
      const data = { topic: t.topicOf(mixed.subscription), n: 'none' };
      await t.control.do('emit', { events: [{ name: t.control.type('short'), data }] });
      await mixed.emit(maxEvents - 1, 2);
      await t.check(
        'gap-retention-announced',
        `a log of ${maxEvents} events and a gap keeps all events`,
        async () => {
          await untilHead(t, mixed.subscriptionId, maxEvents + 1);
          assert.equal(
            spans(sequencesOf(await mixed.read())),
            `1, 3-${maxEvents + 1}`,
            'events in the log:',
          );
        },
      );
    },
  }),

  scenario({
    name: 'gaps: retention by bytes',
    about: 'A log keeps as many bytes as it announces, and reports what it trims beyond them.',
    checks: ['gap-retention-announced'],
    needs: { verbs: ['emit'], types: ['short'] },
    async run(t) {
      const { subscription, subscriptionId, read, oldest, retention } = await shortLog(t);
      const { maxBytes } = retention;
      const name = t.control.type('short');
      const emit = (count: number, from: number): Promise<void> =>
        t.emit(t.topicOf(subscription), count, { from, name, data: { pad: 'x'.repeat(100_000) } });
      await emit(1, 1);
      await untilHead(t, subscriptionId, 1);
      const { sequence: _, ...event } = (await read())[0].events[0];
      // The later events are longer by the digits of `n` and of their ids.
      const size = Buffer.byteLength(JSON.stringify(event)) + 50;
      const count = Math.floor((maxBytes ?? 0) / size);
      const head = WELL_BEYOND * count;
      await t.check(
        'gap-retention-announced',
        `the newest ${count} events, which take less than the announced ${maxBytes} bytes, are present`,
        async () => {
          if (maxBytes === undefined)
            throw new NotShown('the type with the short retention announces no bound of bytes');
          assert.ok(count >= 2, `maxBytes is ${maxBytes}: less than two events of ${size} bytes`);
          for (let from = 2; from <= head; from += 5)
            await emit(Math.min(5, head - from + 1), from);
          await untilHead(t, subscriptionId, head);
          assert.equal(
            spans(sequencesOf(await read()).slice(-count)),
            `${head - count + 1}-${head}`,
            'the newest events:',
          );
        },
      );
      await t.check(
        'gap-retention-announced',
        'events trimmed for the number of bytes are a gap of reason "retention"',
        async () => {
          if (maxBytes === undefined)
            throw new NotShown('the type with the short retention announces no bound of bytes');
          const { all, lowest } = await t.until('a log without further trimming', async () => {
            const [before, whole, after] = [await oldest(), await read(), await oldest()];
            return before === after ? { all: whole, lowest: before } : undefined;
          });
          announced(all, lowest, head);
        },
      );
    },
  }),

  scenario({
    name: 'gaps: retention by age',
    about: 'An unacknowledged event stays in the log until it reaches the announced age.',
    checks: ['gap-retention-announced', 'gap-oldest'],
    needs: { verbs: ['emit', 'advance'], types: ['short'] },
    alone: true,
    async run(t) {
      const {
        emit,
        read,
        oldest,
        subscription,
        retention: { maxAgeMs },
      } = await shortLog(t, { noExpiry: true });
      if (subscription.ttlMs !== null && subscription.ttlMs < 2 * maxAgeMs)
        throw new NotShown(
          `The server grants no lifetime of twice the ${maxAgeMs} ms for which it keeps events.`,
        );
      await emit(4, 1);
      await t.control.do('advance', { ms: maxAgeMs - SLACK_MS });
      await t.check(
        'gap-retention-announced',
        `${SLACK_MS / 1000} s before the announced age all events are present`,
        async () => assert.equal(spans(sequencesOf(await read())), '1-4', 'events in the log:'),
      );
      await emit(2, 5);
      await t.control.do('advance', { ms: SLACK_MS + Math.ceil(LATE * maxAgeMs) });
      const { all, lowest } = await t.until('a log without further trimming', async () => {
        const [before, whole, after] = [await oldest(), await read(), await oldest()];
        return before === after ? { all: whole, lowest: before } : undefined;
      });
      await t.check(
        'gap-retention-announced',
        'events trimmed by age are a gap of reason "retention"',
        () => announced(all, lowest, 6),
      );
      await t.check('gap-oldest', '`oldest` is the number after the last trimmed one', () => {
        trimmed(all, lowest);
        assert.equal(
          lowest,
          sequencesOf(all)[0],
          '`oldest`, compared with the first readable sequence number:',
        );
      });
      await t.check('gap-retention-announced', 'younger events are still present', () =>
        assert.deepEqual(
          sequencesOf(all).filter((sequence) => sequence > 4),
          [5, 6],
          'younger events:',
        ),
      );
    },
  }),

  scenario({
    name: 'gaps: several types',
    about: 'A log over several trigger types has the shortest of their retentions.',
    checks: ['gap-effective'],
    needs: { options: ['multiSelect'], types: ['plain', 'short'] },
    async run(t) {
      const names = [t.control.type('plain'), t.control.type('short')];
      const types: Json[] = (await t.mcp.pages('triggers/list')).flatMap(
        ({ triggers }) => triggers,
      );
      const least = (of: readonly string[]): Json => {
        const kept = types
          .filter(({ name }) => of.includes(name))
          .map(({ retention }) => retention);
        return {
          maxAgeMs: Math.min(...kept.map(({ maxAgeMs }) => maxAgeMs)),
          maxEvents: Math.min(...kept.map(({ maxEvents }) => maxEvents)),
          ...(kept.some(({ maxBytes }) => maxBytes !== undefined)
            ? { maxBytes: Math.min(...kept.map(({ maxBytes }) => maxBytes ?? Infinity)) }
            : {}),
        };
      };
      for (const chosen of [[names[0]!], [names[1]!], names, names.toReversed()]) {
        await t.check(
          'gap-effective',
          `\`retention\` of a log over ${chosen.join(' and ')} is the shortest of the types`,
          async () => {
            const { retention } = await t.subscribe({
              select: chosen.map((name) => ({ name, arguments: { topic: 'any' } })),
            });
            assert.deepEqual(
              retention,
              least(chosen),
              '`retention`, compared with the minimum of each member over the types:',
            );
          },
        );
      }
    },
  }),

  scenario({
    name: 'gaps: size',
    about: 'An event of 240 KiB is delivered; an event of one byte more is a gap in every log.',
    checks: ['gap-too-large'],
    needs: { verbs: ['emit'], types: ['plain'] },
    async run(t) {
      const first = await t.subscribe();
      const second = await t.subscribe({ select: first.select });
      const topic = t.topicOf(first);
      const [name, timestamp] = [t.control.type('plain'), '2026-01-01T00:00:00.000Z'];
      const occur = (n: number, pad: string): Promise<unknown> =>
        t.control.do('emit', {
          events: [{ name, eventId: t.unique('event'), timestamp, data: { topic, n, pad } }],
        });
      const read = async ({ subscriptionId, epoch }: Json): Promise<Json[]> =>
        readAll(t.mcp, subscriptionId, { epoch, sequence: 0 });
      await occur(1, '');
      await untilHead(t, first.subscriptionId, 1);
      const { sequence: _, ...event } = (await read(first))[0].events[0];
      const room = EVENT_BYTES_MAX - Buffer.byteLength(JSON.stringify(event));
      await occur(2, 'x'.repeat(room));
      await occur(3, 'x'.repeat(room + 1));
      // The limit counts bytes, not characters.
      await occur(4, 'é'.repeat(Math.ceil((room + 1) / 2)));
      await occur(5, '');
      for (const [which, log] of [
        ['one log', first],
        ['another log', second],
      ] as const) {
        await t.check(
          'gap-too-large',
          `in ${which}, an event of ${EVENT_BYTES_MAX} bytes is delivered, and a larger one is a gap, also in two-byte characters`,
          async () => {
            await untilHead(t, log.subscriptionId, 5);
            const all = await read(log);
            assert.deepEqual(
              [sequencesOf(all), gapsOf(all)],
              [
                [1, 2, 5],
                [
                  [3, 'too_large'],
                  [4, 'too_large'],
                ],
              ],
              'sequence numbers of events and of gaps:',
            );
          },
        );
      }
    },
  }),

  scenario({
    name: 'gaps: redacted content',
    about: 'A redacted sequence number is a permanent gap on every drain.',
    checks: ['gap-same-everywhere', 'gap-final'],
    needs: { verbs: ['emit', 'redact'], types: ['plain'] },
    async run(t) {
      const subscription = await t.subscribe();
      const log = { ...subscription, name: t.control.type('plain') };
      const another = await t.subscribe({ select: subscription.select });
      const ids = Array.from({ length: 5 }, () => t.unique('event'));
      await t.control.do('emit', {
        events: ids.map((eventId, at) => ({
          name: log.name,
          eventId,
          data: { topic: t.topicOf(log), n: at + 1 },
        })),
      });
      await untilHead(t, log.subscriptionId, 5);
      await readAll(t.mcp, log.subscriptionId, { epoch: log.epoch, sequence: 0 });
      for (const eventId of [ids[1]!, ids[2]!])
        await t.control.do('redact', { name: log.name, eventId });
      // Another log with the same events: the content is gone from both.
      for (const one of [log, { ...another, name: log.name }])
        await everywhere(
          t,
          one,
          [
            [2, 'redacted'],
            [3, 'redacted'],
          ],
          5,
        );
    },
  }),

  scenario({
    name: 'gaps: rejected by a callback',
    about:
      'Events that the callback rejects or cannot take, or that are redacted before delivery, are gaps on every drain.',
    checks: ['gap-same-everywhere', 'gap-final'],
    needs: { verbs: ['emit', 'redact'], types: ['plain'], drains: ['callback'] },
    async run(t) {
      const endpoint = await t.endpoint();
      const rejects = t.declares('reject');
      endpoint.answer = ({ delivery }) => {
        const numbers = sequencesOf([delivery]);
        if (rejects && numbers.includes(2))
          return {
            body: {
              ackSequence: delivery.afterSequence,
              reject: { sequence: delivery.afterSequence + 1, reason: 'never' },
            },
          };
        return numbers.includes(3) ? { status: 413 } : { body: { ackSequence: lastOf(delivery) } };
      };
      const subscription = await t.subscribe({ callback: endpoint.callback });
      const { subscriptionId } = subscription;
      const topic = t.topicOf(subscription);
      const acked = (sequence: number): Promise<unknown> =>
        t.until(
          `sequence number ${sequence} to be acknowledged by the callback`,
          async () => (await t.mcp.request('triggers/get', { subscriptionId })).acked >= sequence,
        );
      for (const n of [1, 2, 3, 4]) {
        await t.emit(topic, 1, {
          from: n,
          ...(n === 4 ? { data: { pad: 'x'.repeat(250_000) } } : {}),
        });
        await acked(n);
      }
      // Without its callback, the log gets a gap before the next request.
      await t.mcp.request('triggers/update', { subscriptionId, removeCallback: true });
      const eventId = t.unique('event');
      const name = t.control.type('plain');
      await t.control.do('emit', {
        events: [
          { name, eventId, data: { topic, n: 5 } },
          { name, data: { topic, n: 6 } },
        ],
      });
      await untilHead(t, subscriptionId, 6);
      await t.control.do('redact', { name, eventId });
      await t.mcp.request('triggers/update', { subscriptionId, callback: endpoint.callback });
      await acked(6);

      const expected: readonly GapNumber[] = [
        ...(rejects ? ([[2, 'rejected']] as const) : []),
        [3, 'too_large'],
        [4, 'too_large'],
        [5, 'redacted'],
      ];
      const delivered = endpoint.deliveries.map(({ delivery }) => delivery);
      await t.check('gap-same-everywhere', 'the callback receives each gap', () =>
        assert.deepEqual(gapsOf(delivered), expected, 'gaps that were sent to the callback:'),
      );
      await t.check('gap-final', 'no gap of the callback arrives as an event later', () => {
        const gone = new Set<number>();
        for (const delivery of delivered) {
          for (const sequence of sequencesOf([delivery]))
            assert.ok(
              !gone.has(sequence),
              `sequence number ${sequence} arrived as an event after a gap`,
            );
          for (const [sequence] of gapsOf([delivery])) gone.add(sequence);
        }
      });
      await everywhere(t, subscription, expected, 6);
    },
  }),

  scenario({
    name: 'gaps: skipped events',
    about: 'An event that a callback passed over is a gap of reason "skipped" on every drain.',
    checks: ['gap-same-everywhere'],
    needs: {
      verbs: ['emit', 'advance'],
      types: ['plain'],
      drains: ['callback'],
      options: ['skip'],
    },
    alone: true,
    async run(t) {
      const endpoint = await t.endpoint();
      endpoint.answer = ({ delivery }) =>
        delivery.events.length > 0 ? { status: 500 } : { body: { ackSequence: lastOf(delivery) } };
      const subscription = await t.subscribe({
        callback: { ...endpoint.callback, skipAfterMs: ATTEMPTS_MS },
        noExpiry: true,
      });
      const { subscriptionId, epoch } = subscription;
      await t.emit(t.topicOf(subscription), 1);
      const told = (): boolean =>
        gapsOf(endpoint.deliveries.map(({ delivery }) => delivery)).length > 0;
      for (let attempts = 1; attempts <= ATTEMPTS_MAX && !told(); attempts += 1) {
        await t.until(
          `attempt ${attempts} at the callback`,
          () => endpoint.deliveries.length >= attempts,
        );
        await t.control.do('advance', { ms: ATTEMPTS_MS });
      }
      await t.until('the callback to receive the gap', told);
      const gap: readonly GapNumber[] = [[1, 'skipped']];
      await t.check('gap-same-everywhere', 'the callback receives the gap', () =>
        assert.deepEqual(
          gapsOf(endpoint.deliveries.map(({ delivery }) => delivery)).slice(0, 1),
          gap,
          'gaps that were sent to the callback:',
        ),
      );
      await t.check('gap-same-everywhere', 'pulls return the gap', async () =>
        assert.deepEqual(
          gapsOf(await readAll(t.mcp, subscriptionId, { epoch, sequence: 0 })),
          gap,
          'gaps in pulls:',
        ),
      );
    },
  }),
];

/** Checks the gaps of a log: reads it from its start by pull and by stream, twice each. */
async function everywhere(
  t: ServerTest,
  { subscriptionId, epoch }: Json,
  expected: readonly GapNumber[],
  head: number,
): Promise<void> {
  const start = { epoch, sequence: 0 };
  const pulls = await readAll(t.mcp, subscriptionId, start);
  await t.check('gap-same-everywhere', 'pulls return each gap', () =>
    assert.deepEqual(gapsOf(pulls), expected, 'gaps in pulls:'),
  );
  const streamedOnce = async (): Promise<Json[]> => {
    const stream = await t.stream({ subscriptionId, after: start });
    await untilStreamed(t, stream, head);
    stream.close();
    return stream.deliveries;
  };
  const offered = t.offers('stream');
  const streams: Json[] = [];
  await t.check('gap-same-everywhere', 'streams send each gap', async () => {
    if (!offered) return;
    streams.push(...(await streamedOnce()));
    assert.deepEqual(gapsOf(streams), expected, 'gaps on a stream:');
  });
  await t.check('gap-final', 'no gap becomes an event when the log is read again', async () => {
    const again = [
      ...(await readAll(t.mcp, subscriptionId, start, { maxEvents: 2 })),
      ...(offered ? await streamedOnce() : []),
    ];
    const gone = new Set(expected.map(([sequence]) => sequence));
    assert.deepEqual(
      sequencesOf(again).filter((sequence) => gone.has(sequence)),
      [],
      'sequence numbers that were gaps and then events:',
    );
  });
  await t.check('gap-same-everywhere', 'each gap has one of the five reasons', () => {
    for (const [sequence, reason] of gapsOf([...pulls, ...streams]))
      assert.ok(
        REASONS.has(reason),
        `the reason of sequence number ${sequence} is ${JSON.stringify(reason)}`,
      );
  });
}
