/** Polls: where they begin, what they hand over, and what they say about events that cannot be had any more. */
import assert from 'node:assert/strict';
import {
  eventsScenario,
  numbersOf,
  type Events,
  type Followed,
} from '../../../runner/events/scenario.ts';
import type { Json } from '../../../runner/wire/session.ts';
import { isCursor, isOccurrence, isText } from './shapes.ts';

/** The type `short` of the control interface keeps no more. */
const SHORT_EVENTS = 20;
/** A server may keep more than it says, for a while. */
const EMITTED = 10 * SHORT_EVENTS;

/** The answers to polls from a cursor on, until there is no more, a few events each. */
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
    name: 'poll: beginning',
    about: 'A client that has no cursor begins now.',
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
        'the first poll has a cursor and no events',
        async () => {
          const result = await events.poll(followed, { cursor: null });
          assert.deepEqual(result.events, [], 'events:');
          isText(result.cursor, 'the cursor');
          return result;
        },
      );
      await t.check('poll-result-shape', 'every member is there', () => {
        const { events: some, cursor, truncated, hasMore, nextPollMs } = first ?? {};
        assert.ok(Array.isArray(some), 'events is no list');
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
        'a poll without a cursor has nothing of what happened before',
        async () => {
          const again = await events.poll(followed, { cursor: null });
          assert.deepEqual([again.events, again.truncated], [[], false], 'events and truncated:');
          await events.emit(followed, 1, { from: 4 });
          assert.deepEqual(
            numbersOf(await events.pollAll(followed, again.cursor, 1)),
            [4],
            'what its cursor brings:',
          );
          assert.equal(third?.data.n, 3);
        },
      );
      await t.check('cursor-absent-equals-null', 'an absent cursor is a null one', async () => {
        const { cursor, events: none } = await events.poll(followed);
        assert.deepEqual(none, [], 'events:');
        isText(cursor, 'the cursor');
      });
      await t.check(
        'max-age-ms-ignored-when-cursor-null',
        'maxAgeMs brings nothing back',
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
        'the type has cursors in every answer or in none',
        async () => {
          const kinds = new Set<string>();
          for (const params of [
            { cursor: null },
            {},
            { cursor: first?.cursor },
            { cursor: first?.cursor, maxEvents: 1 },
          ])
            kinds.add((await events.poll(followed, params)).cursor == null ? 'null' : 'a cursor');
          assert.equal([...kinds].join(' and '), [...kinds][0], 'what came as cursor:');
        },
      );
    },
  }),

  eventsScenario({
    name: 'poll: reading on',
    about: 'Events come in order from the cursor on, as many at a time as the client wants.',
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
      await t.check('occurrence-shape', 'a polled event has its members', () => {
        for (const one of all) isOccurrence(one, followed.name);
      });
      await t.check(
        'occurrence-event-id-from-upstream',
        'the identifier of the upstream is the eventId',
        () => assert.equal(all[4]?.eventId, upstream, 'eventId:'),
      );
      await t.check('poll-order', 'five events come in their order', () =>
        assert.deepEqual(numbersOf(all), [1, 2, 3, 4, 5]),
      );
      await t.check(
        'poll-max-events-cap',
        'two of five, the cursor between them and the rest, and that there is more',
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
        'the same cursor again has the same events, also in another session',
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
    name: 'poll: what is not kept',
    about:
      'A cursor that lies before what the server still has is no error: the answer says that something is missing.',
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
        `of ${EMITTED} events where about ${SHORT_EVENTS} are kept, the first answer is truncated`,
        () => {
          assert.ok(
            first?.events[0]?.data.n !== 1,
            'the very first event came, so nothing is missing',
          );
          assert.equal(first?.truncated, true, 'truncated:');
        },
      );
      await t.check(
        'truncated-returns-fresh-cursor',
        'it has another cursor, from which reading goes on without a gap',
        () => {
          isText(first?.cursor, 'the cursor');
          assert.ok(first?.cursor !== begin, 'it has the cursor that was too old');
          const numbers = numbersOf([first, ...rest].flatMap((answer) => answer?.events));
          assert.deepEqual(
            numbers,
            numbers.map((_, at) => EMITTED - numbers.length + 1 + at),
            'events from there on:',
          );
          assert.deepEqual(
            rest.filter(({ truncated }) => truncated),
            [],
            'answers behind the fresh cursor that are truncated:',
          );
        },
      );
    },
  }),

  eventsScenario({
    name: 'poll: age',
    about: 'A client that was away says how old an event may be.',
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
        'of two old events and a young one the young one comes, and that something was skipped',
        async () => {
          const answer = await t.until('the young event', async () => {
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
            'the same without maxAgeMs:',
          );
          const wide = await events.poll(followed, { cursor: begin, maxAgeMs: 3_000_000 });
          assert.deepEqual(
            [numbersOf(wide.events), wide.truncated],
            [[1, 2, 3], false],
            'the same with a maxAgeMs that skips nothing:',
          );
        },
      );
    },
  }),
];
