/**
 * Identifiers, audience and unwatched times, which the source of an event decides, and the present
 * state at the start of a log (SEP: The log, Trigger types).
 */
import assert from 'node:assert/strict';
import { gapsOf, readAll, untilHead } from '../../runner/server/coverage.ts';
import { scenario, type ServerTest } from '../../runner/server/scenario.ts';
import type { Json, Session } from '../../runner/wire/session.ts';

/** Reads a whole log. */
async function whole(t: ServerTest, log: Json, head: number, mcp?: Session): Promise<Json[]> {
  const { subscriptionId, epoch } = log;
  if (mcp === undefined) await untilHead(t, subscriptionId, head);
  return readAll(mcp ?? t.mcp, subscriptionId, { epoch, sequence: 0 });
}
const valuesOf = (deliveries: readonly Json[]): number[] =>
  deliveries.flatMap(({ events }) => events.map(({ data }: Json) => data.n));

export const sources = [
  scenario({
    name: 'log: sources',
    about: 'Events of two sources with the same identifier are two events.',
    checks: ['log-once'],
    needs: { verbs: ['emit'], types: ['plain'] },
    async run(t) {
      const name = t.control.type('plain');
      const subscription = await t.subscribe();
      const topic = t.topicOf(subscription);
      const [shared, own] = [t.unique('event'), t.unique('event')];
      const from = (scope: string, eventId: string, n: number) => ({
        scope,
        name,
        eventId,
        data: { topic, n },
      });
      await t.control.do('emit', {
        events: [
          from('tenant-a', shared, 1),
          from('tenant-b', shared, 2),
          from('tenant-b', shared, 90),
          from('tenant-a', own, 3),
        ],
      });
      await t.check(
        'log-once',
        'an identifier that two sources use names two events, and a repetition within one source appends nothing',
        async () =>
          assert.deepEqual(
            (await whole(t, subscription, 3)).flatMap(({ events }) =>
              events.map(({ eventId, data }: Json) => [eventId, data.n]),
            ),
            [
              [shared, 1],
              [shared, 2],
              [own, 3],
            ],
            '`eventId` and `data.n` of the log:',
          ),
      );
    },
  }),

  scenario({
    name: 'log: audience',
    about: 'An event with an audience enters the logs of these principals only.',
    checks: ['log-all-matching'],
    needs: { verbs: ['emit'], types: ['plain'] },
    async run(t) {
      const name = t.control.type('plain');
      const other = await t.as('other');
      const mine = await t.subscribe();
      const topic = t.topicOf(mine);
      const theirs = await other.request('triggers/subscribe', {
        key: t.unique(),
        select: mine.select,
      });
      t.defer(() =>
        other.request('triggers/unsubscribe', { subscriptionId: theirs.subscriptionId }),
      );
      await t.control.do('emit', {
        events: [
          { name, audience: ['other'], data: { topic, n: 1 } },
          { name, data: { topic, n: 2 } },
          { name, audience: ['main'], data: { topic, n: 3 } },
          { name, audience: [], data: { topic, n: 4 } },
          { name, audience: ['other', 'main'], data: { topic, n: 5 } },
        ],
      });
      await untilHead(t, mine.subscriptionId, 3);
      for (const [whose, log, session, expected] of [
        ['this', mine, t.mcp, [2, 3, 5]],
        ['the other', theirs, other, [1, 2, 5]],
      ] as const) {
        await t.check(
          'log-all-matching',
          `the log of ${whose} principal has the events whose audience has it, and those without an audience`,
          async () =>
            assert.deepEqual(
              valuesOf(await whole(t, log, expected.length, session)),
              expected,
              '`data.n` of the log:',
            ),
        );
      }
    },
  }),

  scenario({
    name: 'log: the present state',
    about: 'The first event of a new log of a level-triggered type is the present state.',
    checks: ['type-initial'],
    needs: { verbs: ['emit'], types: ['initial'] },
    async run(t) {
      const name = t.control.type('initial');
      const topic = t.unique('topic');
      const select = [{ name, arguments: { topic } }];
      const emit = (n: number) => t.control.do('emit', { events: [{ name, data: { topic, n } }] });
      const fresh = await t.subscribe({ select });
      await emit(5);
      await emit(6);
      const late = await t.subscribe({ select });
      await emit(7);
      await t.mcp.request('triggers/subscribe', { key: late.key, select });
      for (const [log, what, expected] of [
        [fresh, 'before the first event is the initial one', [0, 5, 6, 7]],
        [late, 'after two events is that of the second, and a renewal appends nothing', [6, 7]],
      ] as const) {
        await t.check('type-initial', `the present state ${what}`, async () =>
          assert.deepEqual(
            valuesOf(await whole(t, log, expected.length)),
            expected,
            '`data.n` of the log:',
          ),
        );
      }
    },
  }),

  scenario({
    name: 'log: an unwatched source',
    about:
      'A time in which the source was not watched is a gap in every log that its events could have matched.',
    checks: ['log-unwatched'],
    needs: { verbs: ['emit', 'unwatch'], types: ['plain'] },
    // The log of every other scenario gets a gap too.
    alone: true,
    async run(t) {
      const name = t.control.type('plain');
      const [mine, elsewhere] = [await t.subscribe(), await t.subscribe()];
      const topic = t.topicOf(mine);
      await t.emit(topic, 1);
      await t.control.do('unwatch', { name, arguments: { topic } });
      await t.control.do('unwatch', { name });
      await t.emit(topic, 1, { from: 4 });
      for (const [log, what, head, gaps] of [
        [mine, 'a log with this topic, between the events', 4, [2, 3]],
        [elsewhere, 'a log with another topic, which one of two gaps concerns', 1, [1]],
      ] as const) {
        await t.check('log-unwatched', `the gaps are in ${what}`, async () =>
          assert.deepEqual(
            gapsOf(await whole(t, log, head)),
            gaps.map((sequence) => [sequence, 'unwatched']),
            'gaps:',
          ),
        );
      }
    },
  }),
];
