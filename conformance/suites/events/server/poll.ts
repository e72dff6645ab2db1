/** Polls: where they start, what they return, and how they report lost events. */
import assert from 'node:assert/strict';
import {
  eventsScenario,
  numbersOf,
  type Events,
  type Followed,
} from '../../../runner/events/scenario.ts';
import type { Json } from '../../../runner/wire/session.ts';
import { isCursor, isOccurrence, isText } from './shapes.ts';

/** The most events that the type `short` of the control interface keeps. */
const SHORT_EVENTS = 20;
/** Many times the retention, because a server may trim late. */
const EMITTED = 10 * SHORT_EVENTS;

/** Polls from a cursor, at most 15 events each, until `hasMore` is false. Returns the results. */
async function readOn(events: Events, followed: Followed, cursor: Json): Promise<Json[]> {
  const answers: Json[] = [];
  for (let hasMore = true; hasMore && answers.length < EMITTED;) {
    const answer = await events.poll(followed, { cursor, maxEvents: 15 });
    answers.push(answer);
    ({ cursor, hasMore } = answer);
  }
  return answers;
}

export const poll = [
  eventsScenario({
    name: 'poll: start',
    about: 'A poll without a cursor starts at the present.',
    checks: [
      'poll-bootstraps-subscription',
      'poll-result-shape',
      'cursor-null-starts-from-now',
      'cursor-absent-equals-null',
      'cursor-consistency',
      'max-age-ms-ignored-when-cursor-null',
    ],
    modes: ['poll'],
    verbs: ['emit'],
    async run(t, events) {
      const followed = events.topic();
      const first = await t.check(
        'poll-bootstraps-subscription',
        'the first poll returns a cursor and no events',
        async () => {
          const result = await events.poll(followed, { cursor: null });
          assert.deepEqual(result.events, [], 'events:');
          isText(result.cursor, 'the cursor');
          return result;
        },
      );
      await t.check('poll-result-shape', 'a poll result has every member', () => {
        const { events: some, cursor, truncated, hasMore, nextPollMs } = first ?? {};
        assert.ok(Array.isArray(some), 'events is not a list');
        isCursor(cursor);
        assert.deepEqual(
          [typeof truncated, typeof hasMore],
          ['boolean', 'boolean'],
          'types of truncated and hasMore:',
        );
        assert.ok(
          Number.isInteger(nextPollMs) && nextPollMs >= 0,
          `nextPollMs is ${JSON.stringify(nextPollMs)}`,
        );
      });
      await events.emit(followed, 3);
      const [, , third] = await events.pollAll(followed, first?.cursor, 3);
      await t.check(
        'cursor-null-starts-from-now',
        'a poll without a cursor returns no earlier events',
        async () => {
          const again = await events.poll(followed, { cursor: null });
          assert.deepEqual([again.events, again.truncated], [[], false], 'events and truncated:');
          await events.emit(followed, 1, { from: 4 });
          assert.deepEqual(
            numbersOf(await events.pollAll(followed, again.cursor, 1)),
            [4],
            'events after its cursor:',
          );
          assert.equal(third?.data.n, 3);
        },
      );
      await t.check('cursor-absent-equals-null', 'an absent cursor counts as null', async () => {
        const { cursor, events: none } = await events.poll(followed);
        assert.deepEqual(none, [], 'events:');
        isText(cursor, 'the cursor');
      });
      await t.check(
        'max-age-ms-ignored-when-cursor-null',
        'a poll with maxAgeMs but without a cursor returns no earlier events',
        async () => {
          const { events: none, truncated } = await events.poll(followed, {
            cursor: null,
            maxAgeMs: 3_600_000,
          });
          assert.deepEqual([none, truncated], [[], false], 'events and truncated:');
        },
      );
      await t.check(
        'cursor-consistency',
        'either every result has a cursor or none has',
        async () => {
          const kinds = new Set<string>();
          for (const params of [
            { cursor: null },
            {},
            { cursor: first?.cursor },
            { cursor: first?.cursor, maxEvents: 1 },
          ])
            kinds.add((await events.poll(followed, params)).cursor == null ? 'null' : 'a cursor');
          assert.equal([...kinds].join(' and '), [...kinds][0], 'kinds of cursor:');
        },
      );
    },
  }),

  eventsScenario({
    name: 'poll: pages',
    about: 'Events come in order from the cursor, at most maxEvents at a time.',
    checks: [
      'occurrence-shape',
      'occurrence-event-id-from-upstream',
      'poll-max-events-cap',
      'poll-stateless-request',
      'poll-order',
    ],
    modes: ['poll'],
    verbs: ['emit'],
    async run(t, events) {
      const followed = events.topic();
      const begin = await events.begin(followed);
      const upstream = t.unique('upstream');
      await events.emit(followed, 4);
      await t.control.do('emit', {
        events: [{ name: followed.name, eventId: upstream, data: { ...followed.arguments, n: 5 } }],
      });
      const all = await events.pollAll(followed, begin, 5);
      await t.check('occurrence-shape', 'a polled event has all its members', () => {
        for (const one of all) isOccurrence(one, followed.name);
      });
      await t.check(
        'occurrence-event-id-from-upstream',
        'the eventId is the identifier of the upstream',
        () => assert.equal(all[4]?.eventId, upstream, 'eventId:'),
      );
      await t.check('poll-order', 'five events arrive in order', () =>
        assert.deepEqual(numbersOf(all), [1, 2, 3, 4, 5]),
      );
      await t.check(
        'poll-max-events-cap',
        'a poll for two of five events has hasMore, and its cursor leads to the rest',
        async () => {
          const some = await events.poll(followed, { cursor: begin, maxEvents: 2 });
          assert.deepEqual(
            [numbersOf(some.events), some.hasMore],
            [[1, 2], true],
            'events and hasMore of the first two:',
          );
          const rest = await events.poll(followed, { cursor: some.cursor, maxEvents: 50 });
          assert.deepEqual(
            [numbersOf(rest.events), rest.hasMore],
            [[3, 4, 5], false],
            'events and hasMore of the rest:',
          );
        },
      );
      await t.check(
        'poll-stateless-request',
        'the same cursor returns the same events again, also in another session',
        async () => {
          for (const mcp of [t.mcp, await t.open('2026-07-28')])
            assert.deepEqual(
              numbersOf(
                (await events.poll(followed, { cursor: begin, maxEvents: 50 }, mcp)).events,
              ),
              [1, 2, 3, 4, 5],
            );
        },
      );
    },
  }),

  eventsScenario({
    name: 'poll: trimmed events',
    about: 'A cursor older than the retained events is not an error; the result reports the loss.',
    checks: ['replay-ceiling-sets-truncated', 'truncated-returns-fresh-cursor'],
    verbs: ['emit'],
    types: ['short'],
    async run(t, events) {
      const followed = events.topic(t.control.type('short'));
      const begin = await events.begin(followed);
      await events.emit(followed, EMITTED);
      await t.until('the last event to be polled', async () => {
        const all = await readOn(events, followed, begin);
        return numbersOf(all.flatMap((answer) => answer.events)).at(-1) === EMITTED;
      });
      const [first, ...rest] = await readOn(events, followed, begin);
      await t.check(
        'replay-ceiling-sets-truncated',
        `the first result is truncated when ${EMITTED} events exceed a retention of about ${SHORT_EVENTS}`,
        () => {
          assert.ok(
            first?.events[0]?.data.n !== 1,
            'the very first event was returned, so nothing is missing',
          );
          assert.equal(first?.truncated, true, 'truncated:');
        },
      );
      await t.check(
        'truncated-returns-fresh-cursor',
        'the truncated result has a new cursor, from which reading continues without a gap',
        () => {
          isText(first?.cursor, 'the cursor');
          assert.ok(first?.cursor !== begin, 'the cursor is still the old one');
          const numbers = numbersOf([first, ...rest].flatMap((answer) => answer?.events));
          assert.deepEqual(
            numbers,
            numbers.map((_, at) => EMITTED - numbers.length + 1 + at),
            'events after it:',
          );
          assert.deepEqual(
            rest.filter(({ truncated }) => truncated),
            [],
            'truncated answers after the new cursor:',
          );
        },
      );
    },
  }),

  eventsScenario({
    name: 'poll: age',
    about: 'A client that was offline can limit the age of the events that it receives.',
    checks: ['max-age-ms-sets-truncated'],
    modes: ['poll'],
    verbs: ['emit', 'advance'],
    alone: true,
    async run(t, events) {
      const followed = events.topic();
      const begin = await events.begin(followed);
      await events.emit(followed, 2);
      await events.pollAll(followed, begin, 2);
      await t.control.do('advance', { ms: 120_000 });
      await events.emit(followed, 1, { from: 3 });
      await t.check(
        'max-age-ms-sets-truncated',
        'maxAgeMs skips two old events, returns the new one and sets truncated',
        async () => {
          const answer = await t.until('the new event', async () => {
            const one = await events.poll(followed, { cursor: begin, maxAgeMs: 60_000 });
            return one.events.length > 0 && one;
          });
          assert.deepEqual(
            [numbersOf(answer.events), answer.truncated],
            [[3], true],
            'events and truncated:',
          );
          const plain = await events.poll(followed, { cursor: begin });
          assert.deepEqual(
            [numbersOf(plain.events), plain.truncated],
            [[1, 2, 3], false],
            'events and truncated without maxAgeMs:',
          );
          const wide = await events.poll(followed, { cursor: begin, maxAgeMs: 3_000_000 });
          assert.deepEqual(
            [numbersOf(wide.events), wide.truncated],
            [[1, 2, 3], false],
            'events and truncated with a maxAgeMs that skips nothing:',
          );
        },
      );
    },
  }),
];
