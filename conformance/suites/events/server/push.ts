/** Push: one request whose response is a stream of notifications. */
import assert from 'node:assert/strict';
import { eventsScenario, notes, numbersOf } from '../../../runner/events/scenario.ts';
import { SUBSCRIPTION_META, type Json } from '../../../runner/wire/session.ts';
import { isCursor, isOccurrence, isText } from './shapes.ts';

/** More streams than a usual limit on concurrent requests. */
const MANY_STREAMS = 24;
/** Longest pause between two heartbeats. */
const HEARTBEAT_MS = 30_000;
const HALF_MINUTES = 2;
/** Time to watch for messages that must not come. */
const QUIET_MS = 300;

const kindsOf = ({ messages }: { readonly messages: readonly Json[] }): string[] =>
  messages.map(({ method, id }) => method ?? `the answer to ${id}`);

export const push = [
  eventsScenario({
    name: 'push: a stream',
    about: 'A stream states where it starts, then sends events in order and nothing else.',
    checks: [
      'stream-active-confirmation',
      'stream-subscription-id-meta',
      'stream-event-notification',
      'stream-order',
      'stream-carries-only-event-notifications',
      'stream-resumes-from-cursor',
      'cursor-null-starts-from-now',
      'occurrence-shape',
      'occurrence-event-id-from-upstream',
    ],
    modes: ['push'],
    verbs: ['emit'],
    async run(t, events) {
      const followed = events.topic();
      const before = await events.stream(followed);
      await events.emit(followed, 2);
      await events.streamed(before, 2);
      const [stream, beside] = [
        await events.stream(followed, { cursor: null }),
        await events.stream(events.topic()),
      ];
      await t.check(
        'stream-active-confirmation',
        'the first message is notifications/events/active with a cursor and truncated',
        () => {
          const [first] = stream.messages;
          assert.equal(first?.method, 'notifications/events/active', 'the first message:');
          isText(first.params?.['cursor'], 'the cursor');
          assert.equal(first.params?.['truncated'], false, 'truncated:');
        },
      );
      const upstream = t.unique('upstream');
      await events.emit(followed, 2, { from: 3 });
      await t.control.do('emit', {
        events: [{ name: followed.name, eventId: upstream, data: { ...followed.arguments, n: 5 } }],
      });
      const came =
        (await t.check(
          'stream-event-notification',
          'an event is a notification with an occurrence and a cursor',
          async () => {
            const found = await events.streamed(stream, 3);
            for (const { cursor } of found) isText(cursor, 'the cursor of an event');
            return found;
          },
        )) ?? [];
      await t.check('occurrence-shape', 'a streamed event has all its members', () => {
        assert.ok(came.length > 0, 'no event arrived');
        for (const one of came) isOccurrence(one, followed.name);
      });
      await t.check(
        'occurrence-event-id-from-upstream',
        'the eventId is the identifier of the upstream',
        () => assert.equal(came[2]?.eventId, upstream, 'eventId:'),
      );
      await t.check(
        'cursor-null-starts-from-now',
        'the stream sends no event from before it was opened',
        () => assert.equal(came[0]?.data.n, 3, 'the first event:'),
      );
      await t.check('stream-order', 'three events arrive in order', () =>
        assert.deepEqual(numbersOf(came), [3, 4, 5]),
      );
      await t.check('stream-subscription-id-meta', 'each message names the request', () => {
        for (const { method, params } of stream.messages as Json[])
          assert.equal(
            params?._meta?.[SUBSCRIPTION_META],
            stream.requestId,
            `${method}, ${SUBSCRIPTION_META}:`,
          );
      });
      await t.check(
        'stream-resumes-from-cursor',
        'a new stream from the cursor of the second event sends the third',
        async () => {
          const again = await events.stream(followed, { cursor: came[1]?.cursor });
          assert.deepEqual(numbersOf(await events.streamed(again, 1)), [5]);
          assert.equal(notes(again, 'active')[0]?.truncated, false, 'truncated of active:');
        },
      );
      await t.check(
        'stream-carries-only-event-notifications',
        'the stream carries event notifications of its own subscription only',
        async () => {
          await t.pause(QUIET_MS);
          for (const one of [stream, beside])
            assert.deepEqual(
              kindsOf(one).filter(
                (kind) =>
                  !/^notifications\/events\/(active|event|heartbeat|error|terminated)$/.test(kind),
              ),
              [],
            );
          assert.deepEqual(notes(beside, 'event'), [], 'events of another topic:');
        },
      );
    },
  }),

  eventsScenario({
    name: 'push: a gap',
    about: 'The stream reports a lost event at the place of the event.',
    checks: ['stream-gap-resends-active'],
    modes: ['push', 'poll'],
    verbs: ['emit', 'redact'],
    async run(t, events) {
      const followed = events.topic();
      const begin = await events.begin(followed);
      await events.emit(followed, 1);
      const eventId = t.unique('forgotten');
      await t.control.do('emit', {
        events: [{ name: followed.name, eventId, data: { ...followed.arguments, n: 2 } }],
      });
      await events.emit(followed, 1, { from: 3 });
      await events.pollAll(followed, begin, 3);
      await t.control.do('redact', { name: followed.name, eventId });
      await t.check(
        'stream-gap-resends-active',
        'the stream sends active with truncated in place of a lost event',
        async () => {
          const stream = await events.stream(followed, { cursor: begin });
          const [first] = await events.streamed(stream, 2);
          const told = stream.messages.map(({ method, params }: Json) =>
            method?.endsWith('/event')
              ? params.data.n
              : `${method?.split('/').at(-1)} ${params?.truncated}`,
          );
          assert.deepEqual(told, ['active false', 1, 'active true', 3]);
          const { cursor } = notes(stream, 'active')[1];
          isText(cursor, 'the cursor of the second active');
          assert.ok(
            cursor !== first!.cursor,
            'the second active has the cursor of the event before it',
          );
        },
      );
    },
  }),

  eventsScenario({
    name: 'push: many streams',
    about: 'Streams stay open for long, so they do not count as concurrent requests.',
    checks: ['stream-exempt-from-concurrency-cap'],
    modes: ['push'],
    async run(t, events) {
      await t.check(
        'stream-exempt-from-concurrency-cap',
        `${MANY_STREAMS} streams are open at once, and other requests are answered`,
        async () => {
          const streams = await Promise.all(
            Array.from({ length: MANY_STREAMS }, () => events.stream(events.topic())),
          );
          await events.list();
          assert.equal(
            streams.filter(
              ({ ended, messages }) =>
                ended === undefined && messages[0]?.method === 'notifications/events/active',
            ).length,
            MANY_STREAMS,
            'open streams:',
          );
        },
      );
    },
  }),

  eventsScenario({
    name: 'push: heartbeats',
    about: 'A quiet stream sends heartbeats.',
    checks: [
      'stream-heartbeat-required',
      'stream-heartbeat-interval',
      'stream-heartbeat-carries-cursor',
    ],
    modes: ['push'],
    verbs: ['advance'],
    alone: true,
    async run(t, events) {
      const stream = await events.stream(events.topic());
      const beats = (): Json[] => notes(stream, 'heartbeat');
      const seen: number[] = [];
      for (let n = 0; n < HALF_MINUTES; n += 1) {
        await t.control.do('advance', { ms: HEARTBEAT_MS });
        await t
          .until('a heartbeat', () => beats().length > (seen.at(-1) ?? 0), 1000)
          .catch(() => undefined);
        seen.push(beats().length);
      }
      await t.check(
        'stream-heartbeat-required',
        `a quiet stream sends heartbeats within ${(HALF_MINUTES * HEARTBEAT_MS) / 1000} s`,
        () => assert.ok(beats().length > 0, `the stream sent ${JSON.stringify(kindsOf(stream))}`),
      );
      await t.check(
        'stream-heartbeat-interval',
        'a quiet stream sends at least one heartbeat each half minute',
        () =>
          assert.equal(
            seen.filter((count, at) => count > (seen[at - 1] ?? 0)).length,
            HALF_MINUTES,
            'half minutes with a heartbeat:',
          ),
      );
      await t.check('stream-heartbeat-carries-cursor', 'a heartbeat carries a cursor', () => {
        assert.ok(beats().length > 0, 'the stream sent no heartbeat message');
        for (const beat of beats()) {
          assert.ok('cursor' in beat, `the heartbeat is ${JSON.stringify(beat)}`);
          isCursor(beat.cursor);
          assert.equal(
            typeof beat.cursor,
            typeof notes(stream, 'active')[0]?.cursor,
            'the kind of cursor of active:',
          );
        }
      });
    },
  }),
];
